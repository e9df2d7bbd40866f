import Protocol
import Raft
import Registry
import Units

/// What can happen to a server. Tokens pair a request with its answer; they are the shell's, and unique.
public enum ReplicaInput: Sendable {
    /// Time has passed; sent at least every 10 ms.
    case tick
    case message(Message)
    /// The storage has made the batch durable.
    case persisted(batch: UInt64)
    case entriesFetched(peer: NodeID, from: LogIndex, entries: [Entry])
    case snapshotChunkRead(
        peer: NodeID, meta: SnapshotMeta, offset: UInt64, data: [UInt8]?, checksum: UInt32, isLast: Bool)
    case snapshotChunkStored(meta: SnapshotMeta, nextOffset: UInt64, from: NodeID)
    /// A received snapshot is whole, durable, and the log was replaced by it; nil when it could not be used.
    case snapshotLoaded(meta: SnapshotMeta, registry: Registry?, from: NodeID)
    /// The snapshot that `.takeSnapshot` asked for is durable; nil when it failed.
    case snapshotWritten(SnapshotMeta?)
    case peerUnreachable(NodeID)
    case diskFull(Bool)

    /// Replicate a command. Answered by `.answer`, or by `.refuse` when this server does not lead.
    case propose(token: UInt64, envelope: LogEnvelope)
    /// Answered by `.readable` once the registry here holds everything that was acknowledged before the question.
    case read(token: UInt64)
    case renewSession(token: UInt64, id: String)
    /// These agents hold a lease at some server; told to the leader.
    case leasesHeld(names: [String])
    /// Take a server in: as a learner first; promoted when it has caught up, in one joint change with the removal of
    /// its older incarnation (the same name).
    case join(token: UInt64, Member)
    case changeMembership(token: UInt64, MembershipChange)
    case transferLeadership(token: UInt64, to: NodeID?)
    /// Make a snapshot now, whatever the threshold says.
    case snapshotNow
}

/// What the shell must do, in this order.
public enum ReplicaDirective: Sendable {
    case persist(PersistBatch)
    case send(Message)
    case fetchEntries(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
    case readSnapshotChunk(peer: NodeID, meta: SnapshotMeta, offset: UInt64, maxBytes: Int)
    case storeSnapshotChunk(Message.SnapshotChunk, from: NodeID)
    case installSnapshot(SnapshotMeta, from: NodeID)
    /// Write the state, an immutable value, to a snapshot file while writing goes on.
    case takeSnapshot(SnapshotRequest)
    /// Entries up to here are no longer needed on disk.
    case compact(through: LogIndex)

    case answer(token: UInt64, LogResult)
    /// `mayApply`: the command may be in the log and may still take effect, so a retry must carry the same sequence.
    case refuse(token: UInt64, RefusalReason, mayApply: Bool)
    case readable(tokens: [UInt64])
    case readRefused(tokens: [UInt64], RefusalReason)
    case sessionRenewed(token: UInt64, found: Bool)
    /// nil reason: done.
    case administered(token: UInt64, RefusalReason?)

    /// The registry has changed: publish it, wake who watches.
    case publish(touched: [Touch], everything: Bool)
    case leadership(leader: NodeID?, term: Term, isLeader: Bool)
    case trace(TraceEvent)
    /// This server must stop: what it holds differs from its peers', or it met a command it does not know.
    case halt(String)
}

/// A snapshot to be written.
public struct SnapshotRequest: Sendable {
    public var registry: Registry
    public var index: LogIndex
    public var term: Term
    public var configuration: Configuration
    public var configurationIndex: LogIndex
}
