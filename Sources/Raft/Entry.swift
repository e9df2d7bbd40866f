import Units

/// What an entry carries. The payload's bytes are opaque here; `Replica` knows them as a `Log_Envelope`.
public enum Payload: Sendable, Equatable {
    /// Appended by a new leader so that something of its own term can commit (dissertation §6.4).
    case noop
    case command([UInt8])
    /// Counts from the moment it is appended, committed or not (dissertation §4.1).
    case configuration(Configuration)

    /// Bytes that count towards the inflight and uncommitted limits.
    public var byteCount: Int {
        switch self {
        case .noop: 0
        case .command(let bytes): bytes.count
        case .configuration(let configuration): 64 * configuration.allMembers.count
        }
    }
}

/// One entry of the replicated log.
public struct Entry: Sendable, Equatable {
    public var term: Term
    public var index: LogIndex
    public var payload: Payload

    public init(term: Term, index: LogIndex, payload: Payload) {
        self.term = term
        self.index = index
        self.payload = payload
    }
}

/// What must outlive a crash besides the log: one record, written in the same transaction as entries.
public struct HardState: Sendable, Equatable {
    public var term: Term
    /// Whom this node voted for in `term`; nil for nobody yet. Reset only when the term rises.
    public var vote: NodeID?

    public init(term: Term = .zero, vote: NodeID? = nil) {
        self.term = term
        self.vote = vote
    }
}

/// A snapshot's description: the state after applying every entry up to `index`.
public struct SnapshotMeta: Sendable, Equatable {
    public var index: LogIndex
    public var term: Term
    public var configuration: Configuration
    /// Where `configuration` stood in the log.
    public var configurationIndex: LogIndex
    /// Size of the snapshot file in bytes.
    public var totalBytes: UInt64
    /// SHA-256 of the whole file; checked before a received snapshot is used.
    public var sha256: [UInt8]
    /// The log's hash chain at `index`, so that the chain goes on from there.
    public var chain: [UInt8]

    public init(
        index: LogIndex, term: Term, configuration: Configuration, configurationIndex: LogIndex, totalBytes: UInt64,
        sha256: [UInt8], chain: [UInt8]
    ) {
        self.index = index
        self.term = term
        self.configuration = configuration
        self.configurationIndex = configurationIndex
        self.totalBytes = totalBytes
        self.sha256 = sha256
        self.chain = chain
    }
}
