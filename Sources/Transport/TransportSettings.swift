import NIOCore
import Units

/// What tunes connections; every bound has a name. `complaint` names the first setting that makes no sense.
public struct TransportSettings: Sendable, Equatable {
    /// A longer frame closes the connection with a reason.
    public var frameBytes: ByteCount = .mebibytes(16)
    /// The same before the other side is known, and on bootstrap connections.
    public var frameBytesBeforeGreeting: ByteCount = .kibibytes(64)
    public var connectTimeout: Nanoseconds = .seconds(5)
    /// TLS and greeting together.
    public var handshakeTimeout: Nanoseconds = .seconds(5)
    /// A bootstrap connection lives no longer than this.
    public var joinTimeout: Nanoseconds = .seconds(10)
    /// A connection on which nothing arrives for so long is closed; finds half-open connections.
    public var idleTimeout: Nanoseconds = .seconds(10)
    /// How often the side that connected shows that it is alive.
    public var keepAliveInterval: Nanoseconds = .seconds(3)
    /// Reconnecting waits between these, doubling, with jitter.
    public var backoffMin: Nanoseconds = .milliseconds(50)
    public var backoffMax: Nanoseconds = .seconds(1)
    /// Raft messages that wait to be written to one peer; beyond either, the oldest that are not snapshot chunks go.
    public var raftQueueMessages: Int = 4096
    public var raftQueueBytes: ByteCount = .mebibytes(32)
    /// Calls on one connection that have no answer yet, and bytes of those not written yet.
    public var callsMax: Int = 16_384
    public var callQueueBytes: ByteCount = .mebibytes(64)
    /// Calls from one peer that this process answers at the same time; more are answered with 429.
    public var inboundCallsMax: Int = 8192
    public var listenerConnectionsMax: Int = 20_000
    public var poolConnectionsMax: Int = 256

    public init() {}

    public var complaint: String? {
        if self.frameBytes < .mebibytes(1) { return "frameBytes must be at least 1 MiB" }
        if self.frameBytes.rawValue > Int(Int32.max) { return "frameBytes must be below 2 GiB" }
        if self.frameBytesBeforeGreeting < .kibibytes(16) { return "frameBytesBeforeGreeting must be at least 16 KiB" }
        if self.connectTimeout == .zero { return "connectTimeout must be positive" }
        if self.handshakeTimeout == .zero { return "handshakeTimeout must be positive" }
        if self.joinTimeout == .zero { return "joinTimeout must be positive" }
        if self.keepAliveInterval == .zero { return "keepAliveInterval must be positive" }
        if self.idleTimeout <= self.keepAliveInterval { return "idleTimeout must exceed keepAliveInterval" }
        if self.backoffMin == .zero { return "backoffMin must be positive" }
        if self.backoffMax < self.backoffMin { return "backoffMax must not be below backoffMin" }
        if self.raftQueueMessages < 1 { return "raftQueueMessages must be at least 1" }
        if self.raftQueueBytes < .mebibytes(1) { return "raftQueueBytes must be at least 1 MiB" }
        if self.callsMax < 1 { return "callsMax must be at least 1" }
        if self.callQueueBytes < self.frameBytes { return "callQueueBytes must not be below frameBytes" }
        if self.inboundCallsMax < 1 { return "inboundCallsMax must be at least 1" }
        if self.listenerConnectionsMax < 1 { return "listenerConnectionsMax must be at least 1" }
        if self.poolConnectionsMax < 1 { return "poolConnectionsMax must be at least 1" }
        return nil
    }
}

extension Nanoseconds {
    var timeAmount: TimeAmount { .nanoseconds(Int64(clamping: self.rawValue)) }
}
