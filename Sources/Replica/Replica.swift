import DequeModule
import Protocol
import Raft
import Registry
import Units

/// One server's protocol state: consensus, the replicated registry and what only a leader decides, as one value.
///
/// The shell calls `step` for each thing that happened, then `flush` once, then obeys the directives in order. It
/// decides nothing, so that the simulator, which is another shell, runs exactly this.
public struct Replica: Sendable {
    public let id: NodeID
    public let settings: ReplicaSettings
    public package(set) var raft: RaftNode
    public package(set) var registry: Registry
    /// Index of the newest durable snapshot; zero when there is none.
    public package(set) var snapshotIndex: LogIndex
    /// True once this server knows what is committed and has applied it: from then on it may answer stale reads. Never
    /// true before a leader was heard in this life.
    public package(set) var isReady = false
    /// The commit index that must be applied before `isReady`; nil until a leader has told one.
    package var readyAt: LogIndex?

    package var proposals = Deque<PendingProposal>()
    /// The envelope of the proposal that is being handed to Raft right now.
    package var proposing: LogEnvelope?
    package var reads = Deque<PendingRead>()
    package var snapshotInProgress = false
    /// After one that could not be written: the entry at which the next is tried.
    package var snapshotRetryAt = LogIndex.zero
    /// Payloads applied since the last snapshot was begun, and the size of the last one.
    package var bytesSinceSnapshot: UInt64 = 0
    package var snapshotBytes: UInt64 = 0
    package var duties: LeaderDuties?
    package var clock = LeaderClock()
    package var touched: [Touch] = []
    package var everythingTouched = false
    package var appliedInStep = false
    package var knownLeader: NodeID?
    package var knownTerm = Term.zero
    package var wasLeader = false
    package var halted = false
    package var scratch: [Directive] = []
    package var nextInternalToken: UInt64 = 1 << 63

    package struct PendingProposal: Sendable {
        var index: LogIndex
        var term: Term
        var token: UInt64
        var envelope: LogEnvelope
    }

    package struct PendingRead: Sendable {
        var index: LogIndex
        var tokens: [UInt64]
    }

    /// - Parameters:
    ///   - restored: what the log holds; its snapshot, if any, is what `registry` was loaded from.
    ///   - seed: for the election timeouts; different on each start.
    public init(
        id: NodeID, settings: ReplicaSettings, restored: RestoredState, registry: Registry, seed: UInt64, now: Instant
    ) {
        let snapshotIndex = restored.snapshot?.index ?? .zero
        invariant(
            registry.appliedIndex == snapshotIndex,
            "registry at \(registry.appliedIndex), snapshot at \(snapshotIndex)")
        self.id = id
        self.settings = settings
        self.registry = registry
        self.snapshotIndex = snapshotIndex
        self.snapshotBytes = restored.snapshot?.totalBytes ?? 0
        self.raft = RaftNode(id: id, settings: settings.raft, restored: restored, seed: seed, now: now)
    }

    public var isLeader: Bool { self.raft.role == .leader }

    /// One thing that happened. `wallTime` is the wall clock in nanoseconds since 1970, used by a leader to stamp entries.
    public mutating func step(
        _ input: ReplicaInput, at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]
    ) {
        if self.halted { return }
        switch input {
        case .tick:
            self.raftStep(.tick, at: now, into: &directives)
            self.performDuties(at: now, wallTime: wallTime, into: &directives)
        case .message(let message):
            self.raftStep(.message(message), at: now, into: &directives)
        case .persisted(let batch):
            self.raftStep(.persisted(batch: batch), at: now, into: &directives)
        case .entriesFetched(let peer, let from, let entries):
            self.raftStep(.entriesFetched(peer: peer, from: from, entries: entries), at: now, into: &directives)
        case .snapshotChunkRead(let peer, let meta, let offset, let data, let checksum, let isLast):
            self.raftStep(
                .snapshotChunkRead(
                    peer: peer, meta: meta, offset: offset, data: data, checksum: checksum, isLast: isLast),
                at: now, into: &directives)
        case .snapshotChunkStored(let meta, let nextOffset, let from):
            self.raftStep(
                .snapshotChunkStored(meta: meta, nextOffset: nextOffset, from: from), at: now, into: &directives)
        case .snapshotLoaded(let meta, let registry, let from):
            self.snapshotLoaded(meta, registry: registry, from: from, at: now, into: &directives)
        case .snapshotWritten(let meta):
            self.snapshotWritten(meta, at: now, into: &directives)
        case .peerUnreachable(let peer):
            self.raftStep(.peerUnreachable(peer), at: now, into: &directives)
        case .diskFull(let full):
            self.raftStep(.diskFull(full), at: now, into: &directives)
        case .propose(let token, let envelope):
            self.propose(envelope, token: token, at: now, wallTime: wallTime, into: &directives)
        case .read(let token):
            self.raftStep(.readIndex(token: token), at: now, into: &directives)
        case .renewSession(let token, let id):
            self.renewSession(id, token: token, at: now, into: &directives)
        case .leasesHeld(let names):
            self.leasesHeld(names, at: now)
        case .join(let token, let member):
            self.join(member, token: token, at: now, into: &directives)
        case .changeMembership(let token, let change):
            self.raftStep(.changeMembership(token: token, change), at: now, into: &directives)
        case .transferLeadership(let token, let to):
            self.raftStep(.transferLeadership(token: token, to: to), at: now, into: &directives)
        case .snapshotNow:
            self.takeSnapshot(into: &directives)
        }
    }

    /// Sends what the steps before it gathered: one append per peer, one persist batch, one publication.
    public mutating func flush(at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]) {
        if self.halted { return }
        self.scratch.removeAll(keepingCapacity: true)
        var emitted = self.scratch
        self.raft.flush(at: now, into: &emitted)
        self.translate(&emitted, at: now, into: &directives)
        self.scratch = emitted
        self.noteLeadership(at: now, wallTime: wallTime, into: &directives)
        if self.appliedInStep {
            self.appliedInStep = false
            self.raftStep(.applied(self.registry.appliedIndex), at: now, into: &directives)
            directives.append(.publish(touched: self.touched, everything: self.everythingTouched))
            self.touched.removeAll(keepingCapacity: true)
            self.everythingTouched = false
            self.releaseReads(into: &directives)
            self.snapshotIfDue(into: &directives)
        }
        self.noteReadiness(into: &directives)
    }

    /// When a tick is next useful.
    public var nextDeadline: Instant { self.raft.nextDeadline }

    // MARK: - Raft's directives

    mutating func raftStep(_ input: Input, at now: Instant, into directives: inout [ReplicaDirective]) {
        var emitted: [Directive] = []
        self.raft.step(input, at: now, into: &emitted)
        self.translate(&emitted, at: now, into: &directives)
    }

    private mutating func translate(
        _ emitted: inout [Directive], at now: Instant, into directives: inout [ReplicaDirective]
    ) {
        for directive in emitted {
            switch directive {
            case .persist(let batch): directives.append(.persist(batch))
            case .send(let message): directives.append(.send(message))
            case .apply(let entries): self.apply(entries, at: now, into: &directives)
            case .fetchEntries(let peer, let from, let to, let maxBytes):
                directives.append(.fetchEntries(peer: peer, from: from, to: to, maxBytes: maxBytes))
            case .readSnapshotChunk(let peer, let meta, let offset, let maxBytes):
                directives.append(.readSnapshotChunk(peer: peer, meta: meta, offset: offset, maxBytes: maxBytes))
            case .storeSnapshotChunk(let chunk, let from):
                directives.append(.storeSnapshotChunk(chunk, from: from))
            case .installSnapshot(let meta, let from):
                directives.append(.installSnapshot(meta, from: from))
            case .proposed(let token, let first, let term):
                self.proposed(token: token, at: first, term: term)
            case .proposalRefused(let token, let reason):
                self.proposalRefused(token: token, reason, into: &directives)
            case .readReady(let tokens, let index):
                self.reads.append(PendingRead(index: index, tokens: tokens))
                self.releaseReads(into: &directives)
            case .readRefused(let tokens, let reason):
                directives.append(.readRefused(tokens: tokens, reason))
            case .membershipChanged(let token):
                self.administered(token: token, nil, into: &directives)
            case .membershipRefused(let token, let reason):
                self.administered(token: token, reason, into: &directives)
            case .transferDone(let token):
                self.administered(token: token, nil, into: &directives)
            case .transferRefused(let token, let reason):
                self.administered(token: token, reason, into: &directives)
            case .trace(let event):
                directives.append(.trace(event))
            }
        }
        emitted.removeAll(keepingCapacity: true)
    }

    /// Tokens with the top bit set are the replica's own questions; nobody waits for their answers.
    private mutating func administered(
        token: UInt64, _ reason: RefusalReason?, into directives: inout [ReplicaDirective]
    ) {
        if token & Self.internalBit == 0 {
            directives.append(.administered(token: token, reason))
        } else {
            self.duties?.membershipAnswered(token: token, reason)
        }
    }

    static let internalBit: UInt64 = 1 << 63

    mutating func internalToken() -> UInt64 {
        self.nextInternalToken += 1
        return self.nextInternalToken
    }

    // MARK: - Reads

    private mutating func releaseReads(into directives: inout [ReplicaDirective]) {
        guard !self.reads.isEmpty else { return }
        let applied = self.registry.appliedIndex
        var ready: [UInt64] = []
        var waiting = Deque<PendingRead>()
        for read in self.reads {
            if read.index <= applied { ready += read.tokens } else { waiting.append(read) }
        }
        self.reads = waiting
        if !ready.isEmpty { directives.append(.readable(tokens: ready)) }
    }

    private mutating func noteReadiness(into directives: inout [ReplicaDirective]) {
        if self.isReady { return }
        if self.readyAt == nil, self.raft.leader != nil, self.raft.commitIndex > .zero {
            self.readyAt = self.raft.commitIndex
        }
        if let readyAt = self.readyAt, self.registry.appliedIndex >= readyAt {
            self.isReady = true
            directives.append(.publish(touched: [], everything: true))
        }
    }
}
