import Protocol
import Raft
import Registry
import Units

/// Sessions and locks as they must be after the committed entries, by what the API promises and not by what the registry
/// does: a mistake of the registry's is not made a second time here. It knows only what the simulated lock clients use.
struct SessionModel {
    struct Session: Equatable {
        var id: String
        var node: String
        var ttl: UInt64
        var lockDelay: UInt64
        var deletesKeys: Bool
        var isBoundToCheck: Bool
        var createIndex: UInt64
    }
    struct Lock: Equatable {
        var value: [UInt8]
        /// The session that holds it; "" for none.
        var holder: String
        var lockIndex: UInt64
        var createIndex: UInt64
        var modifyIndex: UInt64
    }
    enum Result: Equatable {
        case ok(Bool)
        case session(String)
        case failure
    }
    private struct Answer {
        var sequence: UInt64
        var result: Result
        var index: UInt64
    }

    /// In order of their ids.
    private(set) var sessions: [Session] = []
    private(set) var locks: [Lock?]
    /// The second keys of transactions: like locks that nobody holds.
    private var shadows: [Lock?]
    /// By key: until when, in the envelopes' time, nobody may lock it.
    private var delays: [UInt64]
    /// By host: whether it is registered, and whether its check is critical.
    private(set) var hosts: [(isThere: Bool, isCritical: Bool)]
    private var answers: [Answer]
    /// Times that a key was locked.
    private(set) var acquisitions = 0
    /// Times that a leader ended a session whose time was up.
    private(set) var expirations = 0

    static let longestDelay: UInt64 = 60 * SwarmOptions.second
    static let checkID = "alive"

    init(_ options: SwarmOptions) {
        self.locks = Array(repeating: nil, count: options.lockKeys)
        self.shadows = Array(repeating: nil, count: options.keys)
        self.delays = Array(repeating: 0, count: options.lockKeys)
        self.hosts = Array(repeating: (false, false), count: options.holders)
        self.answers = Array(repeating: Answer(sequence: 0, result: .failure, index: 0), count: options.holders)
    }

    static func key(_ number: Int) -> ByteKey { ByteKey("lock/\(number)") }
    static func shadow(_ number: Int) -> ByteKey { ByteKey("shadow/\(number)") }
    static func host(_ number: Int) -> String { "host-\(number)" }
    /// The clients that hold locks are requesters of their own.
    static func requester(_ holder: Int) -> UInt64 { 1_000 + UInt64(holder) }

    private func lock(_ bytes: some Collection<UInt8>) -> Int? {
        self.locks.indices.first { bytes.elementsEqual(Self.key($0).bytes) }
    }
    private func host(_ name: String) -> Int? { self.hosts.indices.first { name == Self.host($0) } }

    /// What a holder's request came to; nil when it was never applied, or a later one of its was.
    func answer(holder: Int, sequence: UInt64) -> (result: Result, index: UInt64)? {
        let known = self.answers[holder]
        return known.sequence == sequence ? (known.result, known.index) : nil
    }

    // MARK: - Entries

    /// - Returns: the sessions that the leader ended because their time was up.
    mutating func apply(_ envelope: LogEnvelope, index: UInt64, term: UInt64) -> [Session] {
        let client = Int(envelope.client) - Int(Self.requester(0))
        guard self.answers.indices.contains(client) else {
            guard envelope.client == 0, envelope.decidedInTerm == 0 || envelope.decidedInTerm == term,
                case .sessionDestroy(let destroy) = envelope.command.kind
            else { return [] }
            let ended = self.sessions.filter { destroy.ids.contains($0.id) }
            for session in ended { self.destroy(session.id, at: index, envelope.wallTimeNs) }
            self.expirations += ended.count
            return ended
        }
        guard envelope.sequence > self.answers[client].sequence else { return [] }
        let result = self.run(envelope.command, at: index, envelope.wallTimeNs)
        self.answers[client] = Answer(sequence: envelope.sequence, result: result, index: index)
        return []
    }

    private mutating func run(_ command: LogCommand, at index: UInt64, _ now: UInt64) -> Result {
        switch command.kind {
        case .kvPut(let put):
            guard let key = self.lock(put.key) else { return .failure }
            switch put.mode {
            case .putAcquire: return self.acquire(key, put, at: index, now)
            case .putRelease:
                guard let lock = self.locks[key], lock.holder == put.session else { return .ok(false) }
                self.store(key, [UInt8](put.value), holder: "", lock.lockIndex, at: index)
            default:
                let lock = self.locks[key]
                self.store(key, [UInt8](put.value), holder: lock?.holder ?? "", lock?.lockIndex ?? 0, at: index)
            }
            return .ok(true)
        case .sessionCreate(let create): return self.create(create, at: index)
        case .sessionDestroy(let destroy):
            for id in destroy.ids { self.destroy(id, at: index, now) }
            return .ok(true)
        case .register(let register):
            guard let host = self.host(register.node.name) else { return .failure }
            self.hosts[host].isThere = true
            for check in register.checks {
                self.hosts[host].isCritical = check.status == "critical"
                guard self.hosts[host].isCritical else { continue }
                for session in self.sessions where session.node == register.node.name && session.isBoundToCheck {
                    self.destroy(session.id, at: index, now)
                }
            }
            return .ok(true)
        case .deregister(let deregister):
            guard let host = self.host(deregister.node) else { return .failure }
            self.hosts[host] = (false, false)
            for session in self.sessions where session.node == deregister.node {
                self.destroy(session.id, at: index, now)
            }
            return .ok(true)
        default: return .failure
        }
    }

    private mutating func acquire(_ key: Int, _ put: LogKVPut, at index: UInt64, _ now: UInt64) -> Result {
        let until = self.delays[key]
        if now < until, until - now <= Self.longestDelay { return .ok(false) }
        guard self.sessions.contains(where: { $0.id == put.session }) else { return .failure }
        let lock = self.locks[key]
        var lockIndex = lock?.lockIndex ?? 0
        if let lock, !lock.holder.isEmpty {
            if lock.holder != put.session { return .ok(false) }
        } else {
            lockIndex += 1
            self.acquisitions += 1
        }
        self.store(key, [UInt8](put.value), holder: put.session, lockIndex, at: index)
        return .ok(true)
    }

    /// What is there already is not written again.
    private mutating func store(_ key: Int, _ value: [UInt8], holder: String, _ lockIndex: UInt64, at index: UInt64) {
        if let lock = self.locks[key], lock.value == value, lock.holder == holder, lock.lockIndex == lockIndex {
            return
        }
        self.locks[key] = Lock(
            value: value, holder: holder, lockIndex: lockIndex, createIndex: self.locks[key]?.createIndex ?? index,
            modifyIndex: index)
    }

    private mutating func create(_ create: LogSessionCreate, at index: UInt64) -> Result {
        guard let host = self.host(create.node), self.hosts[host].isThere,
            !self.sessions.contains(where: { $0.id == create.id }),
            create.nodeChecks.isEmpty || !self.hosts[host].isCritical
        else { return .failure }
        let session = Session(
            id: create.id, node: create.node, ttl: create.ttlNs, lockDelay: create.lockDelayNs,
            deletesKeys: create.behavior == .sessionDelete, isBoundToCheck: !create.nodeChecks.isEmpty,
            createIndex: index)
        let place = self.sessions.firstIndex { $0.id > session.id } ?? self.sessions.count
        self.sessions.insert(session, at: place)
        return .session(session.id)
    }

    private mutating func destroy(_ id: String, at index: UInt64, _ now: UInt64) {
        guard let place = self.sessions.firstIndex(where: { $0.id == id }) else { return }
        let session = self.sessions.remove(at: place)
        for key in self.locks.indices {
            guard let lock = self.locks[key], lock.holder == id else { continue }
            if session.deletesKeys {
                self.locks[key] = nil
            } else {
                self.store(key, lock.value, holder: "", lock.lockIndex, at: index)
            }
            if session.lockDelay > 0 { self.delays[key] = now + min(session.lockDelay, Self.longestDelay) }
        }
    }

    /// A transaction has written.
    mutating func shadow(_ key: Int, holds value: UInt64, at index: UInt64) {
        self.shadows[key] = Lock(
            value: Array("\(value)".utf8), holder: "", lockIndex: 0,
            createIndex: self.shadows[key]?.createIndex ?? index, modifyIndex: index)
    }

    // MARK: - Comparing

    /// Over the sessions and hosts, and over the locks.
    var digests: (sessions: UInt64, locks: UInt64) {
        var sessions = Digest()
        for session in self.sessions {
            sessions.add(Array(session.id.utf8))
            sessions.add(Array(session.node.utf8))
            sessions.add(session.ttl)
            sessions.add(session.lockDelay)
            sessions.add((session.deletesKeys ? 1 : 0) | (session.isBoundToCheck ? 2 : 0))
            sessions.add(session.createIndex)
        }
        for host in self.hosts { sessions.add((host.isThere ? 1 : 0) | (host.isCritical ? 2 : 0)) }
        var locks = Digest()
        for lock in self.locks + self.shadows { Self.add(lock, to: &locks) }
        return (sessions.value, locks.value)
    }

    static func add(_ lock: Lock?, to digest: inout Digest) {
        digest.add(lock == nil ? 0 : 1)
        guard let lock else { return }
        digest.add(lock.value)
        digest.add(Array(lock.holder.utf8))
        digest.add(lock.lockIndex)
        digest.add(lock.createIndex)
        digest.add(lock.modifyIndex)
    }
}

extension SessionModel {
    /// The same over what a server holds.
    static func digests(of registry: Registry, options: SwarmOptions) -> (sessions: UInt64, locks: UInt64) {
        var sessions = Digest()
        for session in registry.allSessions().value {
            sessions.add(Array(session.id.utf8))
            sessions.add(Array(session.node.utf8))
            sessions.add(session.ttl.rawValue)
            sessions.add(session.lockDelay.rawValue)
            sessions.add((session.behavior == .delete ? 1 : 0) | (session.nodeChecks.isEmpty ? 0 : 2))
            sessions.add(session.createIndex)
        }
        for holder in 0..<options.holders {
            let check = registry.checks(onNode: Self.host(holder)).value.first { $0.id == Self.checkID }
            let isThere = registry.node(named: Self.host(holder)).value != nil
            sessions.add((isThere ? 1 : 0) | (check?.status == .critical ? 2 : 0))
        }
        var locks = Digest()
        for key in (0..<options.lockKeys).map({ Self.key($0) }) + (0..<options.keys).map({ Self.shadow($0) }) {
            let lock = registry.kvEntry(key).value.map { entry in
                Lock(
                    value: entry.value, holder: entry.session, lockIndex: entry.lockIndex,
                    createIndex: entry.createIndex, modifyIndex: entry.modifyIndex)
            }
            Self.add(lock, to: &locks)
        }
        return (sessions.value, locks.value)
    }
}
