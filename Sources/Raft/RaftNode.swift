import DequeModule
import Units

/// One server's part in Raft, as a value: inputs in, directives out, nothing else. `docs/raft-contract.md` says what
/// must be durable before what is sent, what may overlap, and where this departs from the dissertation.
///
/// The shell calls `step` for everything that happened, then `flush` once, then obeys the directives in order.
public struct RaftNode: Sendable {
    public enum Role: Sendable, Equatable { case follower, preCandidate, candidate, leader }

    enum State: Sendable {
        case follower(FollowerState)
        case preCandidate(CandidateState)
        case candidate(CandidateState)
        case leader(LeaderState)
    }

    struct FollowerState: Sendable {
        /// Reads that wait to be asked for, and the question that is on its way.
        var waitingReads: [UInt64] = []
        var askedReads: AskedReads?
    }

    struct AskedReads: Sendable {
        var context: UInt64
        var tokens: [UInt64]
        var sentAt: Instant
        /// How long an answer is waited for.
        var patience: Nanoseconds
    }

    struct CandidateState: Sendable {
        var votes: [(voter: NodeID, granted: Bool)] = []
        /// The leader asked for this campaign.
        var isTransfer = false
        /// The own vote counts once this batch is durable.
        var ownVoteBatch: UInt64?
    }

    public let id: NodeID
    public let settings: RaftSettings
    var random: SplitMix64
    var hardState: HardState
    var log: Log
    var configurations: ConfigurationHistory
    var state: State = .follower(FollowerState())
    public internal(set) var leader: NodeID?
    public internal(set) var commitIndex: LogIndex
    /// What the state machine has reported.
    public internal(set) var appliedIndex: LogIndex
    /// What it was told to apply.
    var handedIndex: LogIndex
    var isFetchingToApply = false
    /// Newest snapshot on this server's disk.
    var snapshot: SnapshotMeta?
    /// The snapshot that is being loaded; appends wait.
    var installing: SnapshotMeta?
    /// Set while in quarantine; how far the disk says that it once went.
    public internal(set) var quarantinedUntil: LogIndex?
    /// The commit index that a leader told when it first showed that it knows of the quarantine, and its term.
    var healing: (term: Term, commit: LogIndex)?
    var isDiskFull = false

    // Durability: what is gathered for the next batch, what is on its way to disk, who waits for it.
    var pending = PendingBatch()
    var nextBatch: UInt64 = 1
    var batches: Deque<BatchOnItsWay> = []
    var durableIndex: LogIndex
    var held: [HeldMessage] = []

    var electionDeadline: Instant
    public internal(set) var lastLeaderContact: Instant
    var nextContext: UInt64
    /// Directives of the present call.
    var out: [Directive] = []

    /// - Parameter seed: for election timeouts; another one on each start, so that servers don't move in step.
    public init(id: NodeID, settings: RaftSettings, restored: RestoredState, seed: UInt64, now: Instant) {
        invariant(settings.complaint == nil, settings.complaint ?? "")
        self.id = id
        self.settings = settings
        self.random = SplitMix64(seed: seed)
        self.hardState = restored.hardState
        self.log = Log(restored: restored)
        self.configurations = ConfigurationHistory(restored: restored)
        self.snapshot = restored.snapshot
        let snapshotIndex = restored.snapshot?.index ?? .zero
        invariant(
            snapshotIndex.next >= restored.firstIndex && snapshotIndex <= restored.lastIndex,
            "snapshot at \(snapshotIndex), log from \(restored.firstIndex) to \(restored.lastIndex)")
        self.commitIndex = snapshotIndex
        self.appliedIndex = snapshotIndex
        self.handedIndex = snapshotIndex
        self.durableIndex = restored.lastIndex
        self.quarantinedUntil = restored.quarantinedUntil
        self.electionDeadline = now
        self.lastLeaderContact = now
        self.nextContext = 0
        self.nextContext = self.random.next() >> 1
        self.electionDeadline = now + self.randomElectionTimeout()
    }

    // MARK: - What others may look at

    public var role: Role {
        switch self.state {
        case .follower: .follower
        case .preCandidate: .preCandidate
        case .candidate: .candidate
        case .leader: .leader
        }
    }
    public var term: Term { self.hardState.term }
    public var vote: NodeID? { self.hardState.vote }
    public var lastIndex: LogIndex { self.log.lastIndex }
    public var lastTerm: Term { self.log.lastTerm }
    public var firstIndex: LogIndex { self.log.firstIndex }
    /// Everything up to here is on this server's disk.
    public var persistedIndex: LogIndex { self.durableIndex }
    /// The newest configuration in the log, committed or not: the one that counts.
    public var configuration: Configuration { self.configurations.current.configuration }
    public var configurationIndex: LogIndex { self.configurations.current.index }
    public var isQuarantined: Bool { self.quarantinedUntil != nil }
    public var uncommittedBytes: Int {
        if case .leader(let leader) = self.state { leader.uncommittedBytes } else { 0 }
    }
    /// Of a leader: what it knows of every other member, sorted by id.
    public var progress: [(id: NodeID, progress: Progress)] {
        if case .leader(let leader) = self.state { leader.peers } else { [] }
    }
    public func matchIndex(of peer: NodeID) -> LogIndex? {
        guard case .leader(let leader) = self.state, let position = leader.position(of: peer) else { return nil }
        return leader.peers[position].progress.matchIndex
    }
    public func lastContact(with peer: NodeID) -> Instant? {
        guard case .leader(let leader) = self.state, let position = leader.position(of: peer) else { return nil }
        return leader.peers[position].progress.lastContact
    }
    /// A learner that could be promoted now.
    public func isCaughtUp(_ peer: NodeID) -> Bool {
        guard let progress = self.progress(of: peer), !progress.isQuarantined else { return false }
        return progress.state == .replicate
            && self.commitIndex.distance(from: progress.matchIndex) <= self.settings.promotionLagMax
    }
    /// A copy, window and all: not for the hot path.
    func progress(of peer: NodeID) -> Progress? {
        guard case .leader(let leader) = self.state, let position = leader.position(of: peer) else { return nil }
        return leader.peers[position].progress
    }
    /// A leader that has committed an entry of its own term knows what is committed.
    public var hasCommittedInTerm: Bool {
        if case .leader(let leader) = self.state { self.commitIndex >= leader.firstOwnIndex } else { false }
    }
    /// The configuration in force at an index, and where it stands.
    public func configuration(at index: LogIndex) -> (Configuration, LogIndex) {
        let entry = self.configurations.at(index)
        return (entry.configuration, entry.index)
    }

    /// When a tick is next useful.
    public var nextDeadline: Instant {
        switch self.state {
        case .leader(let leader): leader.nextHeartbeat
        case .follower, .preCandidate, .candidate: self.electionDeadline
        }
    }

    // MARK: - Inputs

    public mutating func step(_ input: Input, at now: Instant, into directives: inout [Directive]) {
        switch input {
        case .tick: self.tick(at: now)
        case .message(let message): self.receive(message, at: now)
        case .propose(let token, let payloads): self.propose(payloads, token: token)
        case .readIndex(let token): self.readIndex(token: token, at: now)
        case .persisted(let batch): self.persisted(batch, at: now)
        case .applied(let index):
            invariant(index <= self.handedIndex, "applied \(index), handed out up to \(self.handedIndex)")
            self.appliedIndex = max(self.appliedIndex, index)
        case .entriesFetched(let peer, let from, let entries): self.fetched(entries, from: from, for: peer, at: now)
        case .snapshotChunkRead(let peer, let meta, let offset, let data, let checksum, let isLast):
            self.chunkRead(for: peer, meta, offset: offset, data: data, checksum: checksum, isLast: isLast, at: now)
        case .snapshotChunkStored(let meta, let nextOffset, let from):
            self.chunkStored(meta, nextOffset: nextOffset, from: from, at: now)
        case .snapshotInstalled(let meta, let succeeded, let from):
            self.snapshotInstalled(meta, succeeded: succeeded, from: from, at: now)
        case .snapshotTaken(let meta, let compactedTo): self.snapshotTaken(meta, compactedTo: compactedTo)
        case .changeMembership(let token, let change): self.changeMembership(change, token: token, at: now)
        case .transferLeadership(let token, let to): self.transferLeadership(to: to, token: token, at: now)
        case .peerUnreachable(let peer): self.peerUnreachable(peer)
        case .diskFull(let full): self.diskFull(full, at: now)
        }
        self.handOut(into: &directives)
    }

    /// Emits what the steps before it gathered: appends first (the leader's disk works while they travel), then the
    /// persist batch, then what may be applied.
    public mutating func flush(at now: Instant, into directives: inout [Directive]) {
        if case .leader = self.state { self.replicate(at: now) }
        self.emitBatch(at: now)
        self.emitApply()
        if case .leader = self.state { self.stepDownIfRemoved(at: now) }
        self.log.trimCache(
            limit: self.settings.cachedBytes.rawValue,
            needed: min(self.handedIndex, self.durableIndex, self.commitIndex))
        self.handOut(into: &directives)
    }

    private mutating func handOut(into directives: inout [Directive]) {
        if self.out.isEmpty { return }
        directives += self.out
        self.out.removeAll(keepingCapacity: true)
    }

    private mutating func tick(at now: Instant) {
        switch self.state {
        case .leader: self.leaderTick(at: now)
        case .follower, .preCandidate, .candidate:
            self.retryReads(at: now)
            if now >= self.electionDeadline { self.campaign(at: now) }
        }
    }

    mutating func trace(_ event: TraceEvent) { self.out.append(.trace(event)) }

    mutating func randomElectionTimeout() -> Nanoseconds {
        self.random.duration(from: self.settings.electionTimeoutMin, to: self.settings.electionTimeoutMax)
    }

    // MARK: - Apply

    private mutating func emitApply() {
        guard self.installing == nil, self.handedIndex < self.commitIndex, !self.isFetchingToApply else { return }
        let from = self.handedIndex.next
        guard self.log.isCached(from) else {
            self.isFetchingToApply = true
            // What a newer leader rewrote stands in the cache; the disk may still hold what stood there before.
            self.out.append(
                .fetchEntries(
                    peer: self.id, from: from, to: min(self.commitIndex, self.log.cacheFirst.previous),
                    maxBytes: self.settings.cachedBytes.rawValue))
            return
        }
        let entries = self.log.entries(from: from, through: self.commitIndex, maxCount: .max, maxBytes: .max)
        self.handToApply(entries)
    }

    mutating func handToApply(_ entries: [Entry]) {
        guard let last = entries.last, entries[0].index == self.handedIndex.next else { return }
        invariant(last.index <= self.commitIndex, "apply \(last.index) beyond commit \(self.commitIndex)")
        invariant(
            self.log.term(at: last.index) ?? last.term == last.term,
            "apply \(last.index) of term \(last.term), the log has \(String(describing: self.log.term(at: last.index)))"
        )
        self.handedIndex = last.index
        self.out.append(.apply(entries))
    }
}

/// Every configuration that may still count: the snapshot's, and those in the log after it.
struct ConfigurationHistory: Sendable {
    struct Item: Sendable {
        var index: LogIndex
        var configuration: Configuration
    }

    /// Oldest first; never empty.
    private var items: [Item]

    init(restored: RestoredState) {
        self.items = [
            Item(
                index: restored.snapshot?.configurationIndex ?? .zero,
                configuration: restored.snapshot?.configuration ?? .empty)
        ]
        for (index, configuration) in restored.configurations where index > self.items[0].index {
            self.items.append(Item(index: index, configuration: configuration))
        }
    }

    var current: Item { self.items[self.items.count - 1] }

    func at(_ index: LogIndex) -> Item { self.items.last { $0.index <= index } ?? self.items[0] }

    mutating func append(_ configuration: Configuration, at index: LogIndex) {
        invariant(index > self.current.index, "configuration at \(index) after \(self.current.index)")
        self.items.append(Item(index: index, configuration: configuration))
    }

    /// True when a configuration went with the entries.
    mutating func truncate(from index: LogIndex) -> Bool {
        let before = self.items.count
        while self.items.count > 1, self.current.index >= index { self.items.removeLast() }
        return self.items.count < before
    }

    mutating func forget(before index: LogIndex) {
        while self.items.count > 1, self.items[1].index <= index { self.items.removeFirst() }
    }

    mutating func reset(to meta: SnapshotMeta) {
        self.items = [Item(index: meta.configurationIndex, configuration: meta.configuration)]
    }
}
