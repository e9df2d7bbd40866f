import Units

/// What tunes the algorithm. Validated when made; every bound has a name.
public struct RaftSettings: Sendable, Equatable {
    public var heartbeatInterval: Nanoseconds = .milliseconds(100)
    /// Election timeouts are drawn from `electionTimeoutMin ..< electionTimeoutMax`.
    public var electionTimeoutMin: Nanoseconds = .milliseconds(1000)
    public var electionTimeoutMax: Nanoseconds = .milliseconds(2000)
    /// After a campaign that nobody won, the next begins within this range.
    public var splitVoteRetryMin: Nanoseconds = .milliseconds(50)
    public var splitVoteRetryMax: Nanoseconds = .milliseconds(300)
    public var inflightMessagesMax: Int = 64
    public var inflightBytes: ByteCount = .mebibytes(8)
    public var appendBytes: ByteCount = .mebibytes(1)
    public var appendEntriesMax: Int = 1024
    public var uncommittedBytes: ByteCount = .mebibytes(64)
    public var snapshotChunkBytes: ByteCount = .kibibytes(512)
    /// Recent entries kept in memory for followers; older ones are fetched from disk.
    public var cachedBytes: ByteCount = .mebibytes(16)
    /// Own appends older than this make a leader hand over, then step down; a node in that state does not campaign.
    public var storageStallMax: Nanoseconds = .milliseconds(1500)
    /// A learner this many entries behind or fewer may be promoted.
    public var promotionLagMax: Int = 1024
    public var readsPendingMax: Int = 65_536

    public init() {}

    /// The first setting that makes no sense, with its name; nil when all do.
    public var complaint: String? {
        if self.heartbeatInterval == .zero { return "heartbeatInterval must be positive" }
        if self.electionTimeoutMin <= self.heartbeatInterval {
            return "electionTimeoutMin must exceed heartbeatInterval"
        }
        if self.electionTimeoutMax <= self.electionTimeoutMin {
            return "electionTimeoutMax must exceed electionTimeoutMin"
        }
        if self.splitVoteRetryMax <= self.splitVoteRetryMin { return "splitVoteRetryMax must exceed splitVoteRetryMin" }
        if self.inflightMessagesMax < 1 { return "inflightMessagesMax must be at least 1" }
        if self.appendEntriesMax < 1 { return "appendEntriesMax must be at least 1" }
        return nil
    }
}

/// What a node finds on its disk when it starts.
public struct RestoredState: Sendable {
    public var hardState: HardState
    /// The snapshot the state machine was loaded from; nil for a node that never had one.
    public var snapshot: SnapshotMeta?
    /// Terms of the entries on disk: contiguous, from the first kept entry to the last, as runs of equal terms.
    public var firstIndex: LogIndex
    public var lastIndex: LogIndex
    public var termRuns: [TermRun]
    /// Term of the entry just before `firstIndex`; zero when `firstIndex` is 1.
    public var termBeforeFirst: Term
    /// The newest configurations in the log, oldest first (with index), beyond the snapshot's.
    public var configurations: [(index: LogIndex, configuration: Configuration)]
    /// Entries from the log's tail, to fill the cache and to apply; contiguous up to `lastIndex`.
    public var tail: [Entry]
    public var commitHint: LogIndex
    /// Set when the disk holds less than it once promised: how far it went. This server may not vote before it has healed.
    public var quarantinedUntil: LogIndex?

    public struct TermRun: Sendable, Equatable {
        public var first: LogIndex
        public var term: Term
        public init(first: LogIndex, term: Term) {
            self.first = first
            self.term = term
        }
    }

    public init() {
        self.hardState = HardState()
        self.snapshot = nil
        self.firstIndex = LogIndex(1)
        self.lastIndex = .zero
        self.termRuns = []
        self.termBeforeFirst = .zero
        self.configurations = []
        self.tail = []
        self.commitHint = .zero
        self.quarantinedUntil = nil
    }
}
