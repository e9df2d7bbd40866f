import NIOCore

/// Answers datagrams, several at a time up to a bound; what comes beyond it is dropped and asked again.
final class DatagramAnswerer: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let limit: Int
    private let answer: @Sendable ([UInt8]) async -> [UInt8]
    private var pending = 0

    init(limit: Int, answer: @escaping @Sendable ([UInt8]) async -> [UInt8]) {
        self.limit = limit
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = self.unwrapInboundIn(data)
        guard self.pending < self.limit, context.channel.isWritable else { return }
        self.pending += 1
        let packet = Array(envelope.data.readableBytesView)
        let answer = self.answer
        let client = envelope.remoteAddress
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.makeFutureWithTask { await answer(packet) }.whenSuccess { bytes in
            let (handler, context) = bound.value
            handler.pending -= 1
            if bytes.isEmpty { return }
            let reply = AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: bytes))
            context.writeAndFlush(handler.wrapOutboundOut(reply), promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An ICMP error of one client's port is no reason to stop listening to the others.
    }
}

/// Answers length-framed messages (RFC 1035 §4.2.2) one after another in the order in which they came; clients may send
/// the next before the last is answered (RFC 7766 §6.2.1.1). While an answer is under way, or the client does not take
/// its answers, nothing more is read: a connection holds what one socket read brought, and a few answers.
final class StreamAnswerer: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let maximumQuerySize: Int
    private let idleTimeout: TimeAmount
    private let answer: @Sendable ([UInt8]) async -> [UInt8]
    private var received = ByteBuffer()
    private var isAnswering = false
    private var wantsRead = false
    private var inputClosed = false
    private var idle: Scheduled<Void>?
    private var lastAnswer: EventLoopFuture<Void>?

    init(maximumQuerySize: Int, idleTimeout: TimeAmount, answer: @escaping @Sendable ([UInt8]) async -> [UInt8]) {
        self.maximumQuerySize = maximumQuerySize
        self.idleTimeout = idleTimeout
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        self.startIdle(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.idle?.cancel()
        context.fireChannelInactive()
    }

    func read(context: ChannelHandlerContext) {
        if self.isAnswering || !context.channel.isWritable {
            self.wantsRead = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.goOn(context)
        context.fireChannelWritabilityChanged()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.received.writeBuffer(&bytes)
        self.takeQuestion(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent {
            self.inputClosed = true
            // What it sent before is answered first.
            self.takeQuestion(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func takeQuestion(_ context: ChannelHandlerContext) {
        if self.isAnswering || !context.channel.isWritable { return }
        guard let length = self.received.getInteger(at: self.received.readerIndex, as: UInt16.self).map(Int.init) else {
            self.closeIfDone(context)
            return
        }
        if length > self.maximumQuerySize || length < 12 {
            context.close(promise: nil)
            return
        }
        guard self.received.readableBytes >= 2 + length else {
            self.closeIfDone(context)
            return
        }
        self.received.moveReaderIndex(forwardBy: 2)
        let packet = self.received.readBytes(length: length) ?? []
        self.received.discardReadBytes()
        self.isAnswering = true
        self.idle?.cancel()
        let answer = self.answer
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.makeFutureWithTask { await answer(packet) }.whenSuccess { bytes in
            let (handler, context) = bound.value
            handler.finish(bytes, context)
        }
    }

    private func finish(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        self.isAnswering = false
        guard context.channel.isActive else { return }
        if !bytes.isEmpty {
            var frame = context.channel.allocator.buffer(capacity: bytes.count + 2)
            frame.writeInteger(UInt16(bytes.count))
            frame.writeBytes(bytes)
            self.lastAnswer = context.writeAndFlush(self.wrapOutboundOut(frame))
        }
        self.startIdle(context)
        self.goOn(context)
    }

    /// The next question that is here already, or more from the socket.
    private func goOn(_ context: ChannelHandlerContext) {
        self.takeQuestion(context)
        if !self.isAnswering, self.wantsRead, context.channel.isWritable {
            self.wantsRead = false
            context.read()
        }
    }

    private func closeIfDone(_ context: ChannelHandlerContext) {
        guard self.inputClosed else { return }
        guard let last = self.lastAnswer else {
            context.close(promise: nil)
            return
        }
        // Answers may still wait for room in the socket; closing would throw them away.
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        last.whenComplete { _ in bound.value.close(promise: nil) }
    }

    private func startIdle(_ context: ChannelHandlerContext) {
        self.idle?.cancel()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        self.idle = context.eventLoop.scheduleTask(in: self.idleTimeout) {
            bound.value.close(promise: nil)
        }
    }
}
