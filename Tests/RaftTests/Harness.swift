import Raft
import Units

/// A few servers in virtual time, with a network and disks that misbehave as told. Everything follows from the seed.
final class Harness {
    struct Faults {
        var drop = 0
        var duplicate = 0
        var delayMax: UInt64 = 5
        var persistMax: UInt64 = 8
        var crash = 0
        var partition = 0
        var membership = 0
        var transfer = 0
        var snapshotEvery: UInt64 = 20
    }

    struct Server {
        var node: RaftNode
        var disk: Disk
        var isUp = true
        var group = 0
        var lives = 0
    }

    /// What survives a crash.
    struct Disk {
        var hardState = HardState()
        var entries: [Entry] = []
        var snapshot: SnapshotMeta?
        var snapshotState: UInt64 = 0
        var first: LogIndex { self.entries.first?.index ?? LogIndex((self.snapshot?.index.rawValue ?? 0) + 1) }
        var waiting: [(at: UInt64, batch: PersistBatch)] = []
        var applied = LogIndex.zero
        var state: UInt64 = 0
        var received: (meta: SnapshotMeta, state: UInt64)?
    }

    struct Flight {
        var at: UInt64
        var order: UInt64
        var message: Message
    }

    var servers: [NodeID: Server] = [:]
    var ids: [NodeID] = []
    var flights: [Flight] = []
    var now: UInt64 = 0
    var random: Dice
    var faults: Faults
    var order: UInt64 = 0
    var settings = RaftSettings()
    var token: UInt64 = 0
    // What must hold.
    var leaders: [UInt64: NodeID] = [:]
    var appliedAt: [UInt64: Payload] = [:]
    var stateAt: [UInt64: UInt64] = [0: 0]
    var acknowledged: Set<UInt64> = []
    var highestCommit = LogIndex.zero
    var openReads: [UInt64: LogIndex] = [:]
    var readsAnswered = 0
    var commits = 0
    var elections = 0
    var snapshotsInstalled = 0
    var membershipChanges = 0
    var nextID: UInt64 = 10
    var violations: [String] = []

    init(seed: UInt64, servers count: Int, faults: Faults) {
        self.random = Dice(seed: seed)
        self.faults = faults
        self.settings.appendEntriesMax = 1 + Int(self.random.below(20))
        self.settings.inflightMessagesMax = 1 + Int(self.random.below(8))
        self.settings.snapshotChunkBytes = ByteCount(16)
        if self.random.below(2) == 0 { self.settings.cachedBytes = ByteCount(64) }
        let members = (1...count).map { Member(id: NodeID(UInt64($0)), name: "s\($0)") }
        for member in members {
            var disk = Disk()
            disk.hardState = HardState(term: Term(1))
            disk.entries = [
                Entry(term: Term(1), index: LogIndex(1), payload: .configuration(Configuration(voters: members)))
            ]
            self.start(member.id, disk)
        }
    }

    var instant: Instant { Instant(nanoseconds: self.now * 1_000_000) }

    func start(_ id: NodeID, _ disk: Disk) {
        var restored = RestoredState()
        restored.hardState = disk.hardState
        restored.snapshot = disk.snapshot
        restored.firstIndex = disk.first
        restored.lastIndex = disk.entries.last?.index ?? disk.first.previous
        restored.termBeforeFirst = Term(self.termBefore[disk.first.rawValue] ?? 0)
        if disk.entries.isEmpty { restored.termBeforeFirst = disk.snapshot?.term ?? .zero }
        for entry in disk.entries {
            if restored.termRuns.last?.term != entry.term {
                restored.termRuns.append(RestoredState.TermRun(first: entry.index, term: entry.term))
            }
            if case .configuration(let configuration) = entry.payload {
                restored.configurations.append((entry.index, configuration))
            }
        }
        restored.tail = disk.entries
        var fresh = disk
        fresh.applied = disk.snapshot?.index ?? .zero
        fresh.state = disk.snapshotState
        fresh.waiting = []
        fresh.received = nil
        let node = RaftNode(
            id: id, settings: self.settings, restored: restored, seed: self.random.next(), now: self.instant)
        self.servers[id] = Server(node: node, disk: fresh, group: self.servers[id]?.group ?? 0)
        if !self.ids.contains(id) { self.ids.append(id) }
    }

    /// Term of the entry before an index that was once a log's first.
    var termBefore: [UInt64: UInt64] = [:]

    // MARK: - Running

    func run(milliseconds: UInt64) {
        let end = self.now + milliseconds
        while self.now < end, self.violations.isEmpty {
            self.now += 1
            self.deliver()
            for id in self.ids where self.servers[id]?.isUp == true {
                self.finishWrites(id)
                if self.now % 10 == 0 { self.step(id, [.tick]) }
            }
            if self.now % 7 == 0 { self.client() }
            self.misbehave()
        }
    }

    private func deliver() {
        let due = self.flights.filter { $0.at <= self.now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
        guard !due.isEmpty else { return }
        self.flights.removeAll { $0.at <= self.now }
        for flight in due {
            guard let to = self.servers[flight.message.to], let from = self.servers[flight.message.from],
                to.isUp, to.group == from.group
            else { continue }
            self.step(flight.message.to, [.message(flight.message)])
        }
    }

    private func finishWrites(_ id: NodeID) {
        while let server = self.servers[id], let first = server.disk.waiting.first, first.at <= self.now {
            self.servers[id]?.disk.waiting.removeFirst()
            self.write(first.batch, id)
            self.step(id, [.persisted(batch: first.batch.id)])
        }
    }

    private func write(_ batch: PersistBatch, _ id: NodeID) {
        if let from = batch.truncateFrom { self.servers[id]?.disk.entries.removeAll { $0.index >= from } }
        for entry in batch.entries {
            if let last = self.servers[id]?.disk.entries.last, last.index.next != entry.index {
                self.violations.append("\(id): entry \(entry.index) written after \(last.index)")
            }
            self.servers[id]?.disk.entries.append(entry)
        }
        if let hardState = batch.hardState { self.servers[id]?.disk.hardState = hardState }
    }

    func step(_ id: NodeID, _ inputs: [Input]) {
        guard var server = self.servers[id] else { return }
        var directives: [Directive] = []
        for input in inputs { server.node.step(input, at: self.instant, into: &directives) }
        server.node.flush(at: self.instant, into: &directives)
        self.servers[id] = server
        self.obey(directives, id)
        self.check(id)
    }

    private func send(_ message: Message) {
        if self.random.below(100) < UInt64(self.faults.drop) { return }
        self.order += 1
        self.flights.append(
            Flight(at: self.now + 1 + self.random.below(self.faults.delayMax), order: self.order, message: message))
        if self.random.below(100) < UInt64(self.faults.duplicate) { self.send(message) }
    }

    private func obey(_ directives: [Directive], _ id: NodeID) {
        for directive in directives {
            switch directive {
            case .persist(let batch):
                let earliest = self.servers[id]?.disk.waiting.last?.at ?? 0
                let at = max(earliest, self.now + self.random.below(self.faults.persistMax + 1))
                self.servers[id]?.disk.waiting.append((at, batch))
            case .send(let message): self.send(message)
            case .apply(let entries): self.apply(entries, id)
            case .fetchEntries(let peer, let from, let to, _):
                let found = self.servers[id]?.disk.entries.filter { $0.index >= from && $0.index <= to } ?? []
                self.step(id, [.entriesFetched(peer: peer, from: from, entries: found)])
            case .readSnapshotChunk(let peer, let meta, let offset, _):
                let isThere = self.servers[id]?.disk.snapshot == meta
                let size = min(16, meta.totalBytes - offset)
                self.step(
                    id,
                    [
                        .snapshotChunkRead(
                            peer: peer, meta: meta, offset: offset,
                            data: isThere ? [UInt8](repeating: 1, count: Int(size)) : nil, checksum: 0,
                            isLast: offset + size == meta.totalBytes)
                    ])
            case .storeSnapshotChunk(let chunk, let from):
                let known = self.servers[id]?.disk.received
                var have = known?.meta == chunk.meta ? known?.state ?? 0 : 0
                if chunk.offset == have { have += UInt64(chunk.data.count) }
                self.servers[id]?.disk.received = (chunk.meta, have)
                self.step(id, [.snapshotChunkStored(meta: chunk.meta, nextOffset: have, from: from)])
            case .installSnapshot(let meta, let from): self.install(meta, from: from, id)
            case .proposed, .transferDone, .transferRefused, .membershipRefused, .proposalRefused: break
            case .membershipChanged: self.membershipChanges += 1
            case .readReady(let tokens, let index):
                for token in tokens {
                    if let needed = self.openReads.removeValue(forKey: token) {
                        self.readsAnswered += 1
                        if index < needed {
                            self.violations.append("read at \(index), \(needed) was committed before it")
                        }
                    }
                }
            case .readRefused(let tokens, _): for token in tokens { self.openReads[token] = nil }
            case .trace(let event):
                if case .becameLeader(let term) = event {
                    self.elections += 1
                    if let other = self.leaders[term.rawValue], other != id {
                        self.violations.append("term \(term) has leaders \(other) and \(id)")
                    }
                    self.leaders[term.rawValue] = id
                }
                if case .snapshotInstalled = event { self.snapshotsInstalled += 1 }
            }
        }
    }

    private func install(_ meta: SnapshotMeta, from: NodeID, _ id: NodeID) {
        // Batches that were asked for before are on disk first.
        for (_, batch) in self.servers[id]?.disk.waiting ?? [] { self.write(batch, id) }
        let done = self.servers[id]?.disk.waiting.last?.batch.id
        self.servers[id]?.disk.waiting = []
        if let done { self.step(id, [.persisted(batch: done)]) }
        let matches =
            self.servers[id]?.disk.entries.contains { $0.index == meta.index && $0.term == meta.term } ?? false
        if matches {
            self.servers[id]?.disk.entries.removeAll { $0.index <= meta.index }
        } else {
            self.servers[id]?.disk.entries = []
        }
        self.termBefore[meta.index.rawValue + 1] = meta.term.rawValue
        self.servers[id]?.disk.snapshot = meta
        self.servers[id]?.disk.snapshotState = self.stateAt[meta.index.rawValue] ?? 0
        self.servers[id]?.disk.applied = meta.index
        self.servers[id]?.disk.state = self.stateAt[meta.index.rawValue] ?? 0
        self.step(id, [.snapshotInstalled(meta: meta, succeeded: true, from: from)])
    }

    private func apply(_ entries: [Entry], _ id: NodeID) {
        for entry in entries {
            guard let disk = self.servers[id]?.disk else { return }
            if entry.index != disk.applied.next {
                self.violations.append("\(id) applies \(entry.index) after \(disk.applied)")
            }
            if let other = self.appliedAt[entry.index.rawValue] {
                if other != entry.payload { self.violations.append("index \(entry.index) applied as two things") }
            } else {
                self.appliedAt[entry.index.rawValue] = entry.payload
                self.commits += 1
                self.checkDurable(entry, appliedBy: id)
            }
            let state = disk.state &* 31 &+ entry.index.rawValue &+ entry.term.rawValue
            if let known = self.stateAt[entry.index.rawValue], known != state {
                self.violations.append("state at \(entry.index) differs on \(id)")
            }
            self.stateAt[entry.index.rawValue] = state
            self.servers[id]?.disk.applied = entry.index
            self.servers[id]?.disk.state = state
        }
        if let last = entries.last {
            self.highestCommit = max(self.highestCommit, last.index)
            self.step(id, [.applied(last.index)])
            self.snapshotIfDue(id)
        }
    }

    /// What is applied anywhere is on a quorum's disks.
    private func checkDurable(_ entry: Entry, appliedBy applier: NodeID) {
        let holders = self.ids.filter { id in
            guard let disk = self.servers[id]?.disk else { return false }
            return disk.entries.contains { $0.index == entry.index && $0.term == entry.term }
                || (disk.snapshot?.index ?? .zero) >= entry.index
        }
        guard let node = self.servers[applier]?.node else { return }
        // The newest configuration in the leader's log counts, for all entries; it may have moved on since the commit.
        let counted = [node.configuration, node.configuration(at: node.configurationIndex.previous).0]
        let isHeld = counted.contains { Quorum.result(in: $0) { holders.contains($0) ? true : nil } == .won }
        if !isHeld { self.violations.append("\(entry.index) committed without a durable quorum: \(holders)") }
    }

    private func snapshotIfDue(_ id: NodeID) {
        guard let server = self.servers[id], self.faults.snapshotEvery > 0 else { return }
        let last = server.disk.snapshot?.index.rawValue ?? 0
        guard server.disk.applied.rawValue >= last + self.faults.snapshotEvery else { return }
        let index = server.disk.applied
        // Only what is on this disk is thrown away.
        guard let entry = server.disk.entries.first(where: { $0.index == index }) else { return }
        let (configuration, configurationIndex) = server.node.configuration(at: index)
        let meta = SnapshotMeta(
            index: index, term: entry.term, configuration: configuration, configurationIndex: configurationIndex,
            totalBytes: 40, sha256: [UInt8(id.rawValue & 0xFF)], chain: [])
        let through = LogIndex(index.rawValue - min(index.rawValue, self.random.below(8)))
        if let before = server.disk.entries.first(where: { $0.index == through }) {
            self.termBefore[through.rawValue + 1] = before.term.rawValue
        }
        self.servers[id]?.disk.snapshot = meta
        self.servers[id]?.disk.snapshotState = server.disk.state
        self.servers[id]?.disk.entries.removeAll { $0.index <= through }
        self.step(id, [.snapshotTaken(meta: meta, compactedTo: through)])
    }

    // MARK: - What happens to them

    private func client() {
        guard let id = self.pick(self.ids.filter { self.servers[$0]?.isUp == true }) else { return }
        self.token += 1
        if self.random.below(3) == 0 {
            self.openReads[self.token] = self.highestCommit
            self.step(id, [.readIndex(token: self.token)])
        } else {
            let payload = withUnsafeBytes(of: self.token.bigEndian) { Array($0) }
            self.step(id, [.propose(token: self.token, payloads: [payload])])
        }
    }

    func pick(_ from: [NodeID]) -> NodeID? { from.isEmpty ? nil : from[Int(self.random.below(UInt64(from.count)))] }

    private func misbehave() {
        if self.random.below(10_000) < UInt64(self.faults.crash) {
            if let id = self.pick(self.ids) { self.crash(id) }
        }
        if self.random.below(10_000) < UInt64(self.faults.partition) {
            for id in self.ids { self.servers[id]?.group = Int(self.random.below(2)) }
        }
        if self.random.below(10_000) < UInt64(self.faults.partition) {
            for id in self.ids { self.servers[id]?.group = 0 }
        }
        if self.random.below(10_000) < UInt64(self.faults.membership) { self.changeMembership() }
        if self.random.below(10_000) < UInt64(self.faults.transfer), let id = self.leader {
            self.token += 1
            self.step(id, [.transferLeadership(token: self.token, to: self.pick(self.ids))])
        }
        for id in self.ids where self.servers[id]?.isUp == false && self.random.below(1500) == 0 { self.restart(id) }
    }

    func crash(_ id: NodeID) { self.servers[id]?.isUp = false }

    func restart(_ id: NodeID) {
        guard let server = self.servers[id], !server.isUp else { return }
        self.start(id, server.disk)
    }

    var leader: NodeID? {
        self.ids.filter { self.servers[$0]?.isUp == true && self.servers[$0]?.node.role == .leader }
            .max { (self.servers[$0]?.node.term ?? .zero) < (self.servers[$1]?.node.term ?? .zero) }
    }

    private func changeMembership() {
        guard let id = self.leader, let configuration = self.servers[id]?.node.configuration else { return }
        self.token += 1
        switch self.random.below(3) {
        case 0 where self.ids.count < 9:
            self.nextID += 1
            let new = NodeID(self.nextID)
            self.start(new, Disk())
            self.step(
                id,
                [
                    .changeMembership(
                        token: self.token, MembershipChange(addLearners: [Member(id: new, name: "n\(new)")]))
                ])
        case 1:
            if let learner = configuration.learners.first {
                var change = MembershipChange(promote: [learner.id])
                if configuration.voters.count > 3 { change.remove = [configuration.voters[0].id] }
                self.step(id, [.changeMembership(token: self.token, change)])
            }
        default:
            if configuration.voters.count > 3, let gone = self.pick(configuration.voters.map(\.id)) {
                self.step(id, [.changeMembership(token: self.token, MembershipChange(remove: [gone]))])
            }
        }
    }

    func heal() {
        self.faults = Faults(delayMax: 3, persistMax: 2, snapshotEvery: self.faults.snapshotEvery)
        for id in self.ids {
            self.servers[id]?.group = 0
            self.restart(id)
        }
    }

    private func check(_ id: NodeID) {
        guard let node = self.servers[id]?.node else { return }
        if node.commitIndex > node.lastIndex { self.violations.append("\(id) commits beyond its log") }
        if node.role == .leader, node.isQuarantined { self.violations.append("\(id) leads in quarantine") }
    }
}

struct Dice {
    private var state: UInt64
    init(seed: UInt64) { self.state = seed &* 0x2545_F491_4F6C_DD1D &+ 0x1234_5678 }
    mutating func next() -> UInt64 {
        self.state ^= self.state << 13
        self.state ^= self.state >> 7
        self.state ^= self.state << 17
        return self.state
    }
    mutating func below(_ limit: UInt64) -> UInt64 { limit == 0 ? 0 : (self.next() >> 11) % limit }
}
