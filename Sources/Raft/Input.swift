import Units

/// What can happen to a node. Everything that it learns about the world comes in here, with the time it came at.
public enum Input: Sendable, Equatable {
    /// Time has passed; `now` is handed to `step`. Sent at least every 10 ms.
    case tick
    case message(Message)
    /// Append these payloads if this node leads; answered by `.proposed` or `.proposalRefused` with the same token.
    case propose(token: UInt64, payloads: [[UInt8]])
    /// Ask for a read index; answered by `.readReady` or `.readRefused` with the same token. On a follower it is
    /// batched into one question to the leader.
    case readIndex(token: UInt64)
    /// The storage has made the batch durable. Batches finish in order.
    case persisted(batch: UInt64)
    /// The state machine has applied up to here.
    case applied(LogIndex)
    /// Entries that `.fetchEntries` asked for. Empty when they are no longer in the log.
    case entriesFetched(peer: NodeID, from: LogIndex, entries: [Entry])
    /// The piece of the snapshot file that `.readSnapshotChunk` asked for; nil data when that file is gone.
    case snapshotChunkRead(
        peer: NodeID, meta: SnapshotMeta, offset: UInt64, data: [UInt8]?, checksum: UInt32, isLast: Bool)
    /// A received chunk is stored; `nextOffset` is what the file now holds.
    case snapshotChunkStored(meta: SnapshotMeta, nextOffset: UInt64, from: NodeID)
    /// `.installSnapshot` is done: the file was whole and the state is loaded, or not.
    case snapshotInstalled(meta: SnapshotMeta, succeeded: Bool, from: NodeID)
    /// This node has made a snapshot of its own; the log up to `compactedTo` is gone from disk.
    case snapshotTaken(meta: SnapshotMeta, compactedTo: LogIndex)
    /// Change the configuration if this node leads; answered with the same token.
    case changeMembership(token: UInt64, MembershipChange)
    /// Hand leadership to a voter, the most up-to-date one when nil.
    case transferLeadership(token: UInt64, to: NodeID?)
    /// The connection to a peer was lost or restored; makes probing prompt, decides nothing.
    case peerUnreachable(NodeID)
    /// This node's disk has no room, or has room again: without room it neither leads nor accepts entries.
    case diskFull(Bool)
}

/// One change of the configuration; any number of servers at once, through a joint configuration where voters change.
public struct MembershipChange: Sendable, Equatable {
    public var addLearners: [Member] = []
    /// Learners that become voters (promoted when they have caught up; refused before).
    public var promote: [NodeID] = []
    public var remove: [NodeID] = []

    public init(addLearners: [Member] = [], promote: [NodeID] = [], remove: [NodeID] = []) {
        self.addLearners = addLearners
        self.promote = promote
        self.remove = remove
    }
}

/// What the shell must do, in this order. See `docs/raft-contract.md`.
public enum Directive: Sendable, Equatable {
    /// Make durable in one transaction, in batch order, then hand in `.persisted(batch)`; only then the node itself
    /// releases the messages that speak for it.
    case persist(PersistBatch)
    case send(Message)
    /// Apply these entries, in order; hand in `.applied`.
    case apply([Entry])
    case fetchEntries(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
    case readSnapshotChunk(peer: NodeID, meta: SnapshotMeta, offset: UInt64, maxBytes: Int)
    case storeSnapshotChunk(Message.SnapshotChunk, from: NodeID)
    /// Check the received file, load the state from it, replace the log by it, durable; then `.snapshotInstalled`.
    case installSnapshot(SnapshotMeta, from: NodeID)
    /// A proposal's payloads stand in the log from `first` on, in this term.
    case proposed(token: UInt64, first: LogIndex, term: Term)
    case proposalRefused(token: UInt64, RefusalReason)
    /// A linearizable read may be answered from a state at `index` or later.
    case readReady(tokens: [UInt64], index: LogIndex)
    case readRefused(tokens: [UInt64], RefusalReason)
    case membershipChanged(token: UInt64)
    case membershipRefused(token: UInt64, RefusalReason)
    case transferDone(token: UInt64)
    case transferRefused(token: UInt64, RefusalReason)
    case trace(TraceEvent)
}

public struct PersistBatch: Sendable, Equatable {
    /// Rises by one with each batch.
    public var id: UInt64
    /// Remove entries from here on first; never at or below the commit index.
    public var truncateFrom: LogIndex?
    public var entries: [Entry]
    /// nil when neither term nor vote changed.
    public var hardState: HardState?
    /// The commit index when the batch was made, stored as a hint: not a promise, no sync is made for it alone.
    public var commitHint: LogIndex

    public init(id: UInt64, truncateFrom: LogIndex?, entries: [Entry], hardState: HardState?, commitHint: LogIndex) {
        self.id = id
        self.truncateFrom = truncateFrom
        self.entries = entries
        self.hardState = hardState
        self.commitHint = commitHint
    }
}

public enum RefusalReason: Sendable, Equatable {
    /// The leader, when known, so that the caller can go there.
    case notLeader(NodeID?)
    case lostLeadership
    /// Too many uncommitted bytes.
    case overloaded
    case diskFull
    case quarantined
    case membershipChangeInProgress
    /// No entry of this term is committed yet (dissertation §4.1's bug and its correction).
    case termNotCommitted
    case invalid(String)
    case timedOut
}

/// What happened, as values; shells make logs, metrics and simulator traces of them.
public enum TraceEvent: Sendable, Equatable {
    case becameFollower(term: Term, leader: NodeID?)
    case becamePreCandidate(term: Term)
    case becameCandidate(term: Term)
    case becameLeader(term: Term)
    case leaderChanged(NodeID?, term: Term)
    case configurationAppended(Configuration, at: LogIndex)
    case configurationCommitted(Configuration, at: LogIndex)
    case configurationRolledBack(Configuration, at: LogIndex)
    case steppedDown(term: Term, reason: String)
    case quarantineLifted(at: LogIndex)
    case snapshotSendStarted(peer: NodeID, index: LogIndex)
    case snapshotInstalled(index: LogIndex)
    case ignored(String)
}
