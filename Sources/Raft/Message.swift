import Units

/// One message between two servers. `term` is the sender's, except in pre-votes, where it is the term the sender
/// would campaign in.
public struct Message: Sendable, Equatable {
    public var from: NodeID
    public var to: NodeID
    public var term: Term
    public var body: Body

    public init(from: NodeID, to: NodeID, term: Term, body: Body) {
        self.from = from
        self.to = to
        self.term = term
        self.body = body
    }

    public enum Body: Sendable, Equatable {
        /// `pre`: asks whether a vote would be granted, changes no state (dissertation §9.6). `transfer`: the leader
        /// asked for this campaign, so leases do not hold it back (dissertation §3.10).
        case voteRequest(lastIndex: LogIndex, lastTerm: Term, pre: Bool, transfer: Bool)
        case voteResponse(granted: Bool, pre: Bool)
        case append(Append)
        case appendResponse(AppendResponse)
        case snapshotChunk(SnapshotChunk)
        case snapshotResponse(SnapshotResponse)
        /// Campaign now, without waiting (dissertation §3.10).
        case timeoutNow
        /// A follower asks for a read index for all its waiters at once; `context` only pairs the answer with the
        /// question, it confirms nothing.
        /// `confirms`: the sender follows the receiver in this term, and its word counts: its disk lost nothing.
        case readIndexRequest(context: UInt64, confirms: Bool)
        case readIndexResponse(context: UInt64, index: LogIndex, refused: Bool)
    }

    /// Replication and heartbeat in one: a heartbeat has no entries.
    public struct Append: Sendable, Equatable {
        public var previousIndex: LogIndex
        public var previousTerm: Term
        public var entries: [Entry]
        /// The leader's commit index; a follower commits at most `previousIndex + entries.count` by this message.
        public var commit: LogIndex
        /// The newest read position the leader wants confirmed; issued by the leader, rising within its term.
        public var readPosition: UInt64
        /// Counts the leader's messages to this follower; echoed, so that late answers can be told from new ones.
        public var sequence: UInt64
        /// The leader has heard that the receiver is in quarantine, and counts nothing that it said before.
        public var knowsQuarantine: Bool

        public init(
            previousIndex: LogIndex, previousTerm: Term, entries: [Entry], commit: LogIndex, readPosition: UInt64,
            sequence: UInt64, knowsQuarantine: Bool = false
        ) {
            self.previousIndex = previousIndex
            self.previousTerm = previousTerm
            self.entries = entries
            self.commit = commit
            self.readPosition = readPosition
            self.sequence = sequence
            self.knowsQuarantine = knowsQuarantine
        }
    }

    public struct AppendResponse: Sendable, Equatable {
        public var rejected: Bool
        /// Accepted: everything up to here equals the leader's log and is durable on the sender.
        public var matchIndex: LogIndex
        /// Rejected: where the leader should try next, and the term the follower has there.
        public var hintIndex: LogIndex
        public var hintTerm: Term
        /// Highest read position seen in this term.
        public var readPosition: UInt64
        public var sequence: UInt64
        /// What the follower has applied, for operators' tables.
        public var applied: LogIndex
        /// The sender's disk may have lost acknowledged entries: it counts in no quorum until it has caught up.
        public var quarantined: Bool

        public init(
            rejected: Bool, matchIndex: LogIndex, hintIndex: LogIndex, hintTerm: Term, readPosition: UInt64,
            sequence: UInt64, applied: LogIndex, quarantined: Bool
        ) {
            self.rejected = rejected
            self.matchIndex = matchIndex
            self.hintIndex = hintIndex
            self.hintTerm = hintTerm
            self.readPosition = readPosition
            self.sequence = sequence
            self.applied = applied
            self.quarantined = quarantined
        }
    }

    /// A piece of a snapshot file. The receiver answers with the next offset it wants, so a broken transfer resumes.
    public struct SnapshotChunk: Sendable, Equatable {
        public var meta: SnapshotMeta
        public var offset: UInt64
        public var data: [UInt8]
        /// CRC-32C of `data`.
        public var checksum: UInt32
        public var isLast: Bool

        public init(meta: SnapshotMeta, offset: UInt64, data: [UInt8], checksum: UInt32, isLast: Bool) {
            self.meta = meta
            self.offset = offset
            self.data = data
            self.checksum = checksum
            self.isLast = isLast
        }
    }

    public struct SnapshotResponse: Sendable, Equatable {
        public var snapshotIndex: LogIndex
        public var nextOffset: UInt64
        public var installed: Bool
        /// The receiver could not use it (checksum of the whole file); start again with a fresh snapshot.
        public var refused: Bool

        public init(snapshotIndex: LogIndex, nextOffset: UInt64, installed: Bool, refused: Bool) {
            self.snapshotIndex = snapshotIndex
            self.nextOffset = nextOffset
            self.installed = installed
            self.refused = refused
        }
    }
}
