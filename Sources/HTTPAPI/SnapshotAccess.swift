import Cluster
import NIOCore

/// A backup on its way out: the index it was taken at, and its bytes.
public struct SnapshotArchive: Sendable {
    public var index: UInt64
    public var bytes: BodyStream

    public init(index: UInt64, bytes: BodyStream) {
        self.index = index
        self.bytes = bytes
    }
}

/// Takes and restores backups of the whole state. On an agent both throw `ClusterError.notAServer`.
public protocol SnapshotAccess: Sendable {
    /// `stale`: this server's own state, without asking the leader.
    func save(stale: Bool) async throws(ClusterError) -> SnapshotArchive
    /// Returns once the restored state is in force on this server. A damaged archive is refused with status 400.
    func restore(_ archive: BodyStream) async throws(ClusterError)
}
