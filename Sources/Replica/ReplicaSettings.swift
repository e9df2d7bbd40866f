import Raft
import Units

/// What tunes a replica. Validated when made.
public struct ReplicaSettings: Sendable, Equatable {
    public var raft = RaftSettings()
    /// A snapshot is made when this many entries were applied since the last one, or as many as half of the state's rows
    /// when that is more: writing all rows again then costs at most two rows for each entry, however large the state is.
    /// (As many as all rows would never come where each entry adds one.)
    public var snapshotThreshold: Int = 65_536
    /// A snapshot is also made when the entries since the last one hold this much, or as much as that snapshot when it is
    /// larger: few large values must not let the log grow without bound.
    public var snapshotThresholdBytes: ByteCount = .mebibytes(256)
    /// Entries kept in the log behind a snapshot, so that a follower a little behind needs no snapshot.
    public var trailingLogs: Int = 10_240
    /// The leader proposes a comparison of state hashes each time this many entries were applied. The registry
    /// remembers its hash at multiples of 1,024, so this is one.
    public var stateHashInterval: UInt64 = 1024
    /// A node that nobody has heard of for this long turns critical.
    public var nodeLease: Nanoseconds = .seconds(10)
    /// A session is destroyed when this many of its TTLs have passed without renewal (Consul's doubling).
    public var sessionTTLFactor: UInt64 = 2
    public var datacenter = "dc1"
    /// The largest entry. One that the transport's frame of 16 MiB can't carry would never reach another server, nor
    /// would anything after it.
    public var largestEntry: ByteCount = .mebibytes(15)
    /// A server that joined as a learner must have kept up this long before it is promoted.
    public var promotionDelay: Nanoseconds = .milliseconds(500)

    public init() {}

    /// - Parameters:
    ///   - entries, bytes: applied since the last snapshot, which had `snapshotBytes`.
    ///   - rows: of the state now.
    package func snapshotIsDue(entries: Int, bytes: UInt64, rows: Int, snapshotBytes: UInt64) -> Bool {
        entries >= max(self.snapshotThreshold, rows / 2)
            || bytes >= max(UInt64(self.snapshotThresholdBytes.rawValue), snapshotBytes)
    }

    /// The first setting that makes no sense, with its name; nil when all do.
    public var complaint: String? {
        if let complaint = self.raft.complaint { return complaint }
        if self.snapshotThreshold < 1 { return "snapshot_threshold must be at least 1" }
        if self.trailingLogs < 0 { return "trailing_logs must not be negative" }
        if self.stateHashInterval == 0 || self.stateHashInterval % 1024 != 0 {
            return "state_hash_interval must be a multiple of 1024"
        }
        return nil
    }
}
