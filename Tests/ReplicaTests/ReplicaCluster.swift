import FoundationEssentials
import Protocol
import Raft
import Registry
import Replica
import Units

/// Servers with a perfect network and disks that answer at once, in virtual time.
final class ReplicaCluster {
    var replicas: [NodeID: Replica] = [:]
    var ids: [NodeID] = []
    var cut: Set<NodeID> = []
    var now: UInt64 = 0
    var wallTime: UInt64 = 1_700_000_000_000_000_000
    var results: [UInt64: LogResult] = [:]
    var refusals: [UInt64: (reason: RefusalReason, mayApply: Bool)] = [:]
    var renewed: [UInt64: Bool] = [:]
    var administered: [UInt64: RefusalReason?] = [:]
    var readable: Set<UInt64> = []
    var halts: [String] = []
    var snapshots: [SnapshotMeta] = []
    var snapshotsFail = false
    var failedSnapshots = 0
    private var snapshotRows: [NodeID: [UInt8]] = [:]
    var settings = ReplicaSettings()
    private var mail: [Message] = []
    private var nextToken: UInt64 = 0

    init(servers: Int, settings: ReplicaSettings = ReplicaSettings()) {
        self.settings = settings
        let members = (1...servers).map {
            Member(id: NodeID(random: UInt64($0) << 32), name: "server-\($0)", address: "127.0.0.\($0):8300")
        }
        for member in members { self.start(member.id, founded: Configuration(voters: members)) }
    }

    func start(_ id: NodeID, founded: Configuration?) {
        var restored = RestoredState()
        if let founded {
            restored.hardState = HardState(term: Term(1))
            restored.lastIndex = LogIndex(1)
            restored.termRuns = [RestoredState.TermRun(first: LogIndex(1), term: Term(1))]
            restored.configurations = [(LogIndex(1), founded)]
            restored.tail = [Entry(term: Term(1), index: LogIndex(1), payload: .configuration(founded))]
        }
        self.replicas[id] = Replica(
            id: id, settings: self.settings, restored: restored, registry: Registry(), seed: id.rawValue,
            now: self.instant)
        self.ids.append(id)
    }

    /// The server comes back with its newest snapshot and nothing else of its log.
    func restartFromSnapshot(_ id: NodeID) throws {
        guard let meta = self.snapshots.last, let rows = self.snapshotRows[id], let before = self.replicas[id] else {
            return
        }
        var restored = RestoredState()
        restored.hardState = HardState(term: before.raft.term)
        restored.snapshot = meta
        restored.firstIndex = meta.index.next
        restored.lastIndex = meta.index
        restored.termBeforeFirst = meta.term
        self.replicas[id] = Replica(
            id: id, settings: self.settings, restored: restored, registry: try Registry(encodedRows: rows),
            seed: id.rawValue &+ self.now, now: self.instant)
    }

    var instant: Instant { Instant(nanoseconds: self.now * 1_000_000) }
    var leader: NodeID? { self.ids.first { self.replicas[$0]?.isLeader == true && !self.cut.contains($0) } }
    var leaderRegistry: Registry { self.leader.flatMap { self.replicas[$0]?.registry } ?? Registry() }

    func run(milliseconds: UInt64) {
        let end = self.now + milliseconds
        while self.now < end {
            self.now += 10
            self.wallTime += 10_000_000
            for id in self.ids { self.step(id, .tick) }
            self.settle()
        }
    }

    func electLeader() { for _ in 0..<50 where self.leader == nil || !self.isSettled { self.run(milliseconds: 100) } }
    private var isSettled: Bool { self.leader.flatMap { self.replicas[$0]?.raft.hasCommittedInTerm } ?? false }

    func settle() { while !self.mail.isEmpty { self.settleOnce() } }

    /// Delivers what is on its way now, and not what follows from it.
    func settleOnce() {
        let letters = self.mail
        self.mail = []
        for letter in letters where !self.cut.contains(letter.to) && !self.cut.contains(letter.from) {
            self.step(letter.to, .message(letter))
        }
    }

    func step(_ id: NodeID, _ input: ReplicaInput) {
        guard var replica = self.replicas[id] else { return }
        var directives: [ReplicaDirective] = []
        replica.step(input, at: self.instant, wallTime: self.wallTime, into: &directives)
        replica.flush(at: self.instant, wallTime: self.wallTime, into: &directives)
        self.replicas[id] = replica
        for directive in directives {
            switch directive {
            case .persist(let batch): self.step(id, .persisted(batch: batch.id))
            case .send(let message): self.mail.append(message)
            case .answer(let token, let result): self.results[token] = result
            case .refuse(let token, let reason, let mayApply): self.refusals[token] = (reason, mayApply)
            case .readable(let tokens): self.readable.formUnion(tokens)
            case .sessionRenewed(let token, let found): self.renewed[token] = found
            case .administered(let token, let reason): self.administered[token] = .some(reason)
            case .halt(let reason): self.halts.append(reason)
            case .takeSnapshot where self.snapshotsFail:
                self.failedSnapshots += 1
                self.step(id, .snapshotWritten(nil))
            case .takeSnapshot(let request):
                let meta = SnapshotMeta(
                    index: request.index, term: request.term, configuration: request.configuration,
                    configurationIndex: request.configurationIndex, totalBytes: 1, sha256: [], chain: [])
                self.snapshots.append(meta)
                self.snapshotRows[id] = request.registry.encodedRows()
                self.step(id, .snapshotWritten(meta))
            case .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot, .compact, .readRefused,
                .publish, .leadership, .trace:
                break
            }
        }
    }

    // MARK: - Requests

    func token() -> UInt64 {
        self.nextToken += 1
        return self.nextToken
    }

    /// Proposes at the leader (or at `id`) and runs until there is an answer.
    @discardableResult
    func propose(
        _ command: LogCommand, at id: NodeID? = nil, client: UInt64 = 0, sequence: UInt64 = 0, lowest: UInt64 = 0
    ) -> LogResult? {
        guard let target = id ?? self.leader else { return nil }
        var envelope = LogEnvelope()
        envelope.command = command
        envelope.client = client
        envelope.sequence = sequence
        envelope.lowestOutstanding = lowest
        let token = self.token()
        self.step(target, .propose(token: token, envelope: envelope))
        self.settle()
        return self.results[token]
    }

    func put(_ key: String, _ value: String) -> LogCommand {
        var command = LogCommand()
        command.kvPut.key = .init(key.utf8)
        command.kvPut.value = .init(value.utf8)
        return command
    }
}
