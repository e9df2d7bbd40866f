import Cluster
import Units

/// Looks at what a running server keeps on disk. On an agent both throw `ClusterError.notAServer`.
public protocol DebugAccess: Sendable {
    /// Entries from `from` on, the newest when nil; fewer than `count` when they are large.
    func log(from: LogIndex?, count: Int) async throws(ClusterError) -> LogLook
    /// Newest first.
    func snapshots() async throws(ClusterError) -> [SnapshotLook]
}

/// Where there is nothing to look at.
public struct NoDebugAccess: DebugAccess {
    public init() {}
    public func log(from: LogIndex?, count: Int) async throws(ClusterError) -> LogLook { throw .notAServer }
    public func snapshots() async throws(ClusterError) -> [SnapshotLook] { throw .notAServer }
}
