import NIOCore
import NIOPosix

/// One connection: sends a request, waits for its answer, sends the next. Opens itself anew when it breaks.
///
/// `@unchecked Sendable` is right: it lives on the engine's event loop, where its channel lives too.
final class Connection: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    private let engine: Engine
    private let address: Address
    private var wire: any Wire
    private var channel: (any Channel)?
    private var pending: ByteBuffer?
    private var underWay: (ask: Ask, sentAt: NIODeadline)?
    private var timeout: Scheduled<Void>?
    private var closed = false

    /// A server that was killed refuses at once; asking again this soon finds it quickly and costs little.
    private static let reopenDelay = TimeAmount.milliseconds(20)

    init(engine: Engine, address: Address) {
        self.engine = engine
        self.address = address
        switch engine.workload.target {
        case .consulHTTP: self.wire = ConsulWire(workload: engine.workload, address: address)
        case .etcd: self.wire = EtcdWire(workload: engine.workload, address: address)
        }
    }

    func open() {
        guard !self.closed else { return }
        ClientBootstrap(group: self.engine.loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connectTimeout(.seconds(5))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .connect(host: self.address.host, port: self.address.port)
            .whenFailure { error in
                self.engine.failed("\(self.address.text): \(error)")
                self.reopen()
            }
    }

    private func reopen() {
        self.engine.loop.scheduleTask(in: Self.reopenDelay) { self.open() }
    }

    func close() {
        self.closed = true
        self.timeout?.cancel()
        self.channel?.close(promise: nil)
    }

    /// Sends the next request if none is under way.
    func goOn() {
        guard let channel, channel.isActive, self.underWay == nil else { return }
        self.send(channel)
    }

    func channelActive(context: ChannelHandlerContext) {
        self.channel = context.channel
        self.pending = nil
        if let greeting = self.wire.greeting() { context.channel.write(greeting, promise: nil) }
        self.send(context.channel)
    }

    private func send(_ channel: any Channel) {
        guard let ask = self.engine.nextAsk() else { return channel.flush() }
        var buffer = channel.allocator.buffer(capacity: 256 + self.engine.workload.valueBytes)
        self.wire.request(ask, into: &buffer)
        self.underWay = (ask, .now())
        channel.writeAndFlush(buffer, promise: nil)
        self.watch()
    }

    /// One timer for the connection, not one for each request: it looks again when its time has come.
    private func watch() {
        guard self.timeout == nil, let sentAt = self.underWay?.sentAt else { return }
        self.timeout = self.engine.loop.scheduleTask(deadline: sentAt + self.engine.plan.timeout) {
            self.timeout = nil
            guard let underWay = self.underWay else { return }
            if NIODeadline.now() - underWay.sentAt >= self.engine.plan.timeout {
                self.channel?.close(promise: nil)
            } else {
                self.watch()
            }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var arrived = self.unwrapInboundIn(data)
        if var kept = self.pending {
            kept.writeBuffer(&arrived)
            arrived = kept
            self.pending = nil
        }
        var output = ByteBuffer()
        reading: while arrived.readableBytes > 0 {
            do {
                switch try self.wire.read(&arrived, output: &output) {
                case .needsMore:
                    break reading
                case .answer(let complaint):
                    guard let done = self.underWay else { throw WireError(text: "an answer that nobody asked for") }
                    self.underWay = nil
                    self.engine.answered(done.ask, sentAt: done.sentAt, complaint: complaint)
                    if output.readableBytes > 0 {
                        context.channel.write(output, promise: nil)
                        output = ByteBuffer()
                    }
                    if self.underWay == nil { self.send(context.channel) }
                }
            } catch {
                self.engine.failed("\(self.address.text): \(error)")
                self.underWay = nil
                context.close(promise: nil)
                return
            }
        }
        if output.readableBytes > 0 { context.channel.writeAndFlush(output, promise: nil) }
        if arrived.readableBytes > 0 { self.pending = arrived }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.channel = nil
        if self.underWay != nil, !self.closed {
            self.underWay = nil
            self.engine.failed("\(self.address.text): the connection broke, or no answer came in time")
        }
        if !self.closed { self.reopen() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
