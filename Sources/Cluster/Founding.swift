import Logging
import Protocol
import Raft
import Replica
import Storage
import Synchronization
import Transport
import Units

/// The shell around `Bootstrap`: a server with an empty log asks around until it knows whether to found a cluster, to
/// wait for its founder, or to join one. Meanwhile it answers the same questions of others.
final class Founding: Sendable {
    private let me: Member
    private let settings: ServerSettings
    private let pool: PeerPool
    private let thread: BlockingThread
    private let desk: Desk
    private let logger: Logger
    private let shown: Mutex<Shown>
    private let raftHeard = Atomic(false)

    /// What probes see and what they tell.
    private struct Shown {
        var promisedTo: NodeID?
        /// Addresses to ask, in the order they were learned.
        var addresses: [String]
    }

    /// What is used on the blocking thread alone, so that each decision is durable before the next is made.
    // Sendable by confinement: touched only in closures that run on `thread`.
    private final class Desk: @unchecked Sendable {
        var bootstrap: Bootstrap
        let log: OpenedLog

        init(_ bootstrap: Bootstrap, _ log: OpenedLog) {
            self.bootstrap = bootstrap
            self.log = log
        }

        func keep(_ promise: Bootstrap.Promise) throws(StorageError) {
            try self.log.use { storage throws(StorageError) in
                try storage.setBootstrapPromise(
                    BootstrapPromise(
                        founder: promise.founder, ballot: promise.ballot, configuration: promise.configuration))
            }
        }
    }

    /// Between two rounds of questions.
    private static let pause = Nanoseconds.milliseconds(300)
    private static let probeTimeout = Nanoseconds.seconds(1)
    /// Addresses that are asked at most; others' probes teach new ones.
    private static let addressesMax = 64

    init(
        me: Member, settings: ServerSettings, log: OpenedLog, pool: PeerPool, thread: BlockingThread, logger: Logger
    ) throws(StorageError) {
        let kept = try log.use { storage throws(StorageError) in storage.bootstrapPromise }
        let promise = kept.map {
            Bootstrap.Promise(founder: $0.founder, ballot: $0.ballot, configuration: $0.configuration)
        }
        self.me = me
        self.settings = settings
        self.pool = pool
        self.thread = thread
        self.logger = logger
        self.desk = Desk(Bootstrap(me: me, expect: settings.expect, promise: promise), log)
        self.shown = Mutex(Shown(promisedTo: promise?.founder, addresses: []))
        for address in settings.join { self.learn(address) }
    }

    // MARK: - What others ask

    func answer(_ probe: PeerProbe) -> PeerResponse {
        self.learn(probe.address)
        var response = PeerResponse()
        response.probe.nodeID = self.me.id.rawValue
        response.probe.name = self.me.name
        response.probe.address = self.me.address
        response.probe.expect = UInt32(clamping: self.settings.expect)
        response.probe.promisedTo = self.shown.withLock { $0.promisedTo?.rawValue ?? 0 }
        return response
    }

    func answer(_ prepare: PeerPrepare) async -> PeerResponse {
        let asked = Bootstrap.Promise(
            founder: NodeID(prepare.founder), ballot: prepare.ballot, configuration: prepare.configuration.configuration
        )
        let desk = self.desk
        do {
            let (given, promise) = try await self.thread.run { () throws -> (Bool, Bootstrap.Promise?) in
                let given = desk.bootstrap.prepare(asked, logIsEmpty: desk.log.isEmpty)
                if given { try desk.keep(asked) }
                return (given, desk.bootstrap.promise)
            }
            self.show(promise)
            var response = PeerResponse()
            response.prepare.promised = given
            response.prepare.promisedTo = promise?.founder.rawValue ?? 0
            response.prepare.ballot = promise?.ballot ?? 0
            return response
        } catch {
            self.settings.fatal("a bootstrap promise could not be kept: \(error)")
            return .failure(500, "the promise could not be kept")
        }
    }

    private func show(_ promise: Bootstrap.Promise?) {
        self.shown.withLock { $0.promisedTo = promise?.founder }
    }

    /// Raft messages have arrived: a server with a log has this one in its configuration.
    func heardRaft() { self.raftHeard.store(true, ordering: .relaxed) }

    func learn(_ address: String) {
        guard !address.isEmpty, address != self.me.address else { return }
        self.shown.withLock { shown in
            guard shown.addresses.count < Self.addressesMax, !shown.addresses.contains(address) else { return }
            shown.addresses.append(address)
        }
    }

    private func forget(_ address: String) {
        self.pool.close(address)
        self.shown.withLock { shown in shown.addresses.removeAll { $0 == address } }
    }

    // MARK: - Rounds

    /// Returns when the log may be started: with its first entry, or blank, for a leader to fill. Throws when the disk
    /// fails, and on cancellation.
    func run() async throws {
        var lastReason = ""
        while true {
            try Task.checkCancellation()
            let desk = self.desk
            let generation = try await self.thread.run { desk.bootstrap.generation }
            let answers = await self.probeAll()
            switch try await self.step(answers, asked: generation) {
            case .wait(let reason):
                if reason != lastReason {
                    self.logger.info("no cluster yet", metadata: ["reason": "\(reason)"])
                    lastReason = reason
                }
            case .join:
                if await self.join(answers) { return self.leave(answers) }
            case .prepare(let promise):
                if try await self.found(promise) { return self.leave(answers) }
            case .forget:
                self.show(nil)
                continue
            }
            try await Task.sleep(nanoseconds: Self.pause.rawValue)
        }
    }

    private func step(_ answers: [PeerProbeAnswer], asked generation: UInt64) async throws -> Bootstrap.Step {
        let others = self.shown.withLock { $0.addresses }
        if self.settings.expect == 1, !others.isEmpty, !answers.contains(where: \.hasConfiguration_p) {
            // It might have lost its disk, and its cluster be out of reach for the moment.
            return .wait("bootstrap_expect is 1, but there may be a cluster at \(others.joined(separator: ", "))")
        }
        let desk = self.desk
        return try await self.thread.run { desk.bootstrap.round(answers.map(\.bootstrap), asked: generation) }
    }

    /// Connections to addresses that lead to a server by another name are not needed any more.
    private func leave(_ answers: [PeerProbeAnswer]) {
        let canonical = Set(answers.map(\.address))
        for address in self.pool.addresses where !canonical.contains(address) { self.pool.close(address) }
    }

    private func probeAll() async -> [PeerProbeAnswer] {
        var request = PeerRequest()
        request.probe.nodeID = self.me.id.rawValue
        request.probe.name = self.me.name
        request.probe.address = self.me.address
        request.probe.expect = UInt32(clamping: self.settings.expect)
        let asked = request
        let addresses = self.shown.withLock { $0.addresses }
        let answers = await withTaskGroup(of: PeerProbeAnswer?.self) { group in
            for address in addresses {
                group.addTask { await self.probe(address, asked) }
            }
            return await group.reduce(into: [PeerProbeAnswer]()) { if let answer = $1 { $0.append(answer) } }
        }
        // One server may be known by several addresses.
        var seen: Set<UInt64> = [self.me.id.rawValue]
        return answers.sorted { $0.nodeID < $1.nodeID }.filter { seen.insert($0.nodeID).inserted }
    }

    private func probe(_ address: String, _ request: PeerRequest) async -> PeerProbeAnswer? {
        do throws(TransportError) {
            let response = try await self.pool.call(request, to: address, timeout: Self.probeTimeout)
            guard case .probe(let answer) = response.kind else { return nil }
            for member in answer.configuration.configuration.allMembers { self.learn(member.address) }
            return answer
        } catch {
            switch error {
            case .thisNode, .invalidAddress: self.forget(address)
            default: self.logger.debug("no answer", metadata: ["address": "\(address)", "reason": "\(error)"])
            }
            return nil
        }
    }

    // MARK: - Steps

    /// A cluster exists: asks it to take this server in. True once it has, and speaks to this server.
    private func join(_ answers: [PeerProbeAnswer]) async -> Bool {
        let existing = answers.filter(\.hasConfiguration_p)
        if existing.contains(where: { $0.configuration.configuration.contains(self.me.id) }) {
            // Until they speak to this server it can still take part in another founding, should they lose their disks.
            return self.raftHeard.exchange(false, ordering: .relaxed)
        }
        guard let address = existing.map(\.leaderAddress).first(where: { !$0.isEmpty }) else { return false }
        var request = PeerRequest()
        request.joinCluster.member = PeerMember(self.me)
        do throws(TransportError) {
            let response = try await self.pool.call(request, to: address, timeout: .seconds(12))
            if response.error.isEmpty {
                self.logger.notice("taken in", metadata: ["leader": "\(address)"])
                return false
            }
            self.logger.warning("not taken in yet", metadata: ["leader": "\(address)", "reason": "\(response.error)"])
        } catch {
            self.logger.warning("not taken in yet", metadata: ["leader": "\(address)", "reason": "\(error)"])
        }
        return false
    }

    /// Gathers everyone's promise, then writes the first entry. True when it is durable.
    private func found(_ promise: Bootstrap.Promise) async throws -> Bool {
        let desk = self.desk
        try await self.thread.run { try desk.keep(promise) }
        self.show(promise)
        let others = promise.configuration.voters.filter { $0.id != self.me.id }
        let promised = await withTaskGroup(of: Bool.self) { group in
            for member in others {
                group.addTask { await self.ask(member, for: promise) }
            }
            return await group.reduce(into: 0) { if $1 { $0 += 1 } }
        }
        guard promised == others.count else { return false }
        let founded = try await self.thread.run { () throws -> Bool in
            guard desk.bootstrap.promise == promise else { return false }
            let founded = try desk.log.use { storage throws(StorageError) in try storage.found(promise.configuration) }
            if founded { try desk.log.reopen() }
            return founded
        }
        if founded {
            let names = promise.configuration.voters.map(\.name).joined(separator: ",")
            self.logger.notice("cluster founded", metadata: ["servers": "\(names)"])
        }
        return founded
    }

    private func ask(_ member: Member, for promise: Bootstrap.Promise) async -> Bool {
        var request = PeerRequest()
        request.prepare.founder = promise.founder.rawValue
        request.prepare.ballot = promise.ballot
        request.prepare.configuration = PeerConfiguration(promise.configuration)
        let response = await self.pool.ask(request, of: member.address, timeout: .seconds(2))
        guard case .prepare(let answer) = response?.kind else { return false }
        return answer.promised
    }
}

extension PeerProbeAnswer {
    fileprivate var bootstrap: Bootstrap.Answer {
        Bootstrap.Answer(
            member: Member(id: NodeID(self.nodeID), name: self.name, address: self.address), expect: Int(self.expect),
            hasConfiguration: self.hasConfiguration_p,
            promisedTo: self.promisedTo == 0 ? nil : NodeID(self.promisedTo))
    }
}
