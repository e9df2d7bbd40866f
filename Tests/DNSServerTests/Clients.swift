import NIOCore
import NIOPosix

/// Sends datagrams to a port of the loopback and gathers what comes back.
final class DatagramClient: Sendable {
    private let channel: any Channel
    private let remote: SocketAddress
    private let packets: AsyncStream<[UInt8]>

    init(port: Int) async throws {
        let (packets, continuation) = AsyncStream<[UInt8]>.makeStream(bufferingPolicy: .bufferingOldest(100))
        self.packets = packets
        self.remote = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        self.channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramCollector(continuation))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func send(_ bytes: [UInt8]) async throws {
        try await self.channel.writeAndFlush(
            AddressedEnvelope(remoteAddress: self.remote, data: ByteBuffer(bytes: bytes)))
    }

    func next() async -> [UInt8]? {
        for await packet in self.packets { return packet }
        return nil
    }

    func close() async throws { try await self.channel.close() }
}

private final class DatagramCollector: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let continuation: AsyncStream<[UInt8]>.Continuation

    init(_ continuation: AsyncStream<[UInt8]>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.continuation.yield(Array(self.unwrapInboundIn(data).data.readableBytesView))
    }
}

/// A TCP connection of length-framed messages; nil from `next` is its end.
final class StreamClient: Sendable {
    private let channel: any Channel
    private let messages: AsyncStream<[UInt8]>

    init(port: Int, reads: Bool = true) async throws {
        let (messages, continuation) = AsyncStream<[UInt8]>.makeStream(bufferingPolicy: .bufferingOldest(1000))
        self.messages = messages
        self.channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: reads)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamCollector(continuation))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
    }

    func send(_ bytes: [UInt8]) async throws { try await self.channel.writeAndFlush(ByteBuffer(bytes: bytes)) }
    func finishSending() async throws { try await self.channel.close(mode: .output) }

    func next() async -> [UInt8]? {
        for await message in self.messages { return message }
        return nil
    }

    func close() async throws { try await self.channel.close() }
}

private final class StreamCollector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let continuation: AsyncStream<[UInt8]>.Continuation
    private var received = ByteBuffer()

    init(_ continuation: AsyncStream<[UInt8]>.Continuation) { self.continuation = continuation }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.received.writeBuffer(&bytes)
        while let length = self.received.getInteger(at: self.received.readerIndex, as: UInt16.self),
            self.received.readableBytes >= 2 + Int(length)
        {
            self.received.moveReaderIndex(forwardBy: 2)
            self.continuation.yield(self.received.readBytes(length: Int(length)) ?? [])
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { self.continuation.finish() }
    }

    func channelInactive(context: ChannelHandlerContext) { self.continuation.finish() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.continuation.finish()
        context.close(promise: nil)
    }
}
