import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Stands between two ends and does to their connection what networks do: cuts it in the middle of a frame, or swallows
/// everything while both ends believe to be connected.
final class Proxy: Sendable {
    enum Mode: Sendable, Equatable {
        case forward
        case swallow
        /// Cuts every connection once so many more bytes have gone through, in both directions together.
        case cut(after: Int)
    }

    private let listener: any Channel
    private let mode: NIOLockedValueBox<Mode>
    private let open: NIOLockedValueBox<[any Channel]>

    private init(
        _ listener: any Channel, _ mode: NIOLockedValueBox<Mode>, _ open: NIOLockedValueBox<[any Channel]>
    ) {
        self.listener = listener
        self.mode = mode
        self.open = open
    }

    static func start(to port: Int) async throws -> Proxy {
        let mode = NIOLockedValueBox(Mode.forward)
        let open = NIOLockedValueBox<[any Channel]>([])
        let listener = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                open.withLockedValue { $0.append(near) }
                // Both halves on one event loop, so that they may touch each other.
                return ClientBootstrap(group: near.eventLoop)
                    .channelOption(.autoRead, value: false)
                    .connect(host: "127.0.0.1", port: port)
                    .flatMap { far in
                        open.withLockedValue { $0.append(far) }
                        return near.eventLoop.makeCompletedFuture {
                            try near.pipeline.syncOperations.addHandler(Glue(far, mode))
                            try far.pipeline.syncOperations.addHandler(Glue(near, mode))
                        }.flatMap {
                            near.setOption(.autoRead, value: true).and(far.setOption(.autoRead, value: true)).map { _ in
                            }
                        }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return Proxy(listener, mode, open)
    }

    var address: String { "127.0.0.1:\(self.listener.localAddress?.port ?? 0)" }

    func set(_ mode: Mode) { self.mode.withLockedValue { $0 = mode } }

    /// Cuts what is open now.
    func cut() {
        let channels = self.open.withLockedValue { channels in
            defer { channels.removeAll() }
            return channels
        }
        for channel in channels { channel.close(promise: nil) }
    }

    func stop() async {
        try? await self.listener.close().get()
        self.cut()
    }

    private final class Glue: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let mode: NIOLockedValueBox<Mode>

        init(_ other: any Channel, _ mode: NIOLockedValueBox<Mode>) {
            self.other = other
            self.mode = mode
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = self.unwrapInboundIn(data)
            let allowed = self.mode.withLockedValue { mode -> Int? in
                switch mode {
                case .forward: return bytes.readableBytes
                case .swallow: return 0
                case .cut(let rest):
                    mode = .cut(after: max(0, rest - bytes.readableBytes))
                    return rest > bytes.readableBytes ? bytes.readableBytes : nil
                }
            }
            guard let allowed else {
                self.mode.withLockedValue { $0 = .forward }
                // The first part of what came is still passed on.
                self.other.writeAndFlush(
                    bytes.getSlice(at: bytes.readerIndex, length: bytes.readableBytes / 2) ?? bytes
                )
                .whenComplete { [other = self.other] _ in other.close(promise: nil) }
                context.close(promise: nil)
                return
            }
            if allowed > 0 { self.other.writeAndFlush(bytes, promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.other.close(promise: nil)
            context.fireChannelInactive()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
