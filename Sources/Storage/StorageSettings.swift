import Units

/// What tunes the log's storage. Every bound has a name.
public struct StorageSettings: Sendable, Equatable {
    /// A checkpoint is due when the write-ahead log holds this many pages of 4 KiB.
    public var checkpointPages: Int = 1000
    /// Added to `checkpointPages`, and different on each server (say -300 ... 300, from the node's id): checkpoints
    /// stall the disk for some milliseconds, and a quorum should not stall together.
    public var checkpointPagesOffset: Int = 0
    /// SQLite's page cache.
    public var cacheBytes: ByteCount = .mebibytes(16)
    /// The write-ahead log's file shrinks to this after a checkpoint.
    public var walBytesMax: ByteCount = .mebibytes(16)
    /// Size of the file `reserve`, given up when the disk is full so that votes, truncation and compaction still work.
    /// Zero keeps none.
    public var reserveBytes: ByteCount = .mebibytes(16)
    /// How much of the log's end `recover` returns in memory at least; all that no snapshot covers is returned anyway.
    public var tailBytes: ByteCount = .mebibytes(16)
    /// Most rows that one call of `compact` deletes in one transaction.
    public var compactionRowsMax: Int = 1024

    public init() {}

    /// The first setting that makes no sense, with its name; nil when all do.
    public var complaint: String? {
        if self.checkpointPages + self.checkpointPagesOffset < 8 {
            return "checkpointPages plus checkpointPagesOffset must be at least 8"
        }
        if self.cacheBytes < .kibibytes(64) { return "cacheBytes must be at least 64 KiB" }
        if self.walBytesMax < .kibibytes(64) { return "walBytesMax must be at least 64 KiB" }
        if self.reserveBytes < ByteCount(0) { return "reserveBytes must not be negative" }
        if self.tailBytes < ByteCount(0) { return "tailBytes must not be negative" }
        if self.compactionRowsMax < 1 { return "compactionRowsMax must be at least 1" }
        return nil
    }
}
