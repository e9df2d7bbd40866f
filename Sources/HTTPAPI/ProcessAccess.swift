import Logging
import NIOCore

/// The process and the machine that this API runs in.
public protocol ProcessAccess: Sendable {
    /// The log's lines from now on, of `level` and above, as text or one JSON object per line. Nil when as many follow it
    /// as may.
    func followLog(_ level: Logger.Level, asJSON: Bool) -> (any LogFollower)?
    /// Memory, processors, disk and system, in the shape of Consul's `/v1/agent/host`.
    func host() async -> JSONValue
}

/// One reader of the log; letting go of it ends its following.
public protocol LogFollower: AnyObject, Sendable {
    /// What has been logged since the last time, at least one line; nil when the task is cancelled. Who reads too slowly
    /// misses lines, and is told how many. One task at a time asks.
    func next() async -> ByteBuffer?
}

/// Where there is nothing to see.
public struct NoProcessAccess: ProcessAccess {
    public init() {}
    public func followLog(_ level: Logger.Level, asJSON: Bool) -> (any LogFollower)? { nil }
    public func host() async -> JSONValue { .object([]) }
}
