import NIOCore
import Units

/// Notices that the other side is gone though TCP has not. Bound to one connection's event loop.
///
/// Bytes that arrive count as life. While this side can't write because the socket is full, bytes that leave count too:
/// a large answer on a slow line keeps the line busy in one direction for longer than the idle time. Bytes that leave
/// while there is room count for nothing, since the kernel takes them for a peer that is long gone.
final class Liveness {
    private var lastSign = NIODeadline.now()
    private var lastKeepAlive = NIODeadline.now()
    private let settings: TransportSettings

    /// Longer writes are cut into such pieces, so that progress can be seen.
    static let sliceBytes = 256 * 1024

    init(_ settings: TransportSettings) { self.settings = settings }

    func bytesArrived() { self.lastSign = .now() }

    var isDead: Bool { NIODeadline.now() - self.lastSign >= self.settings.idleTimeout.timeAmount }

    /// True once per keep-alive interval.
    func keepAliveIsDue() -> Bool {
        let now = NIODeadline.now()
        guard now - self.lastKeepAlive >= self.settings.keepAliveInterval.timeAmount else { return false }
        self.lastKeepAlive = now
        return true
    }

    /// How often to look: often enough that an idle connection goes at most a quarter late.
    var checkInterval: TimeAmount {
        let idle = Int64(clamping: self.settings.idleTimeout.rawValue)
        let keepAlive = Int64(clamping: self.settings.keepAliveInterval.rawValue)
        return .nanoseconds(max(1_000_000, min(idle, keepAlive) / 4))
    }

    /// Writes and flushes; must be called on the channel's event loop.
    func write(_ buffer: ByteBuffer, to context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil) {
        var rest = buffer
        let channel = context.channel
        while rest.readableBytes > Self.sliceBytes, let slice = rest.readSlice(length: Self.sliceBytes) {
            let written = context.eventLoop.makePromise(of: Void.self)
            written.futureResult.assumeIsolated().whenSuccess { if !channel.isWritable { self.lastSign = .now() } }
            context.write(NIOAny(slice), promise: written)
        }
        context.writeAndFlush(NIOAny(rest), promise: promise)
    }
}
