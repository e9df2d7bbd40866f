import DNSCodec
import NIOCore
import NIOPosix
import Synchronization
import Units

/// Asks other name servers about what is not ours. Nothing is kept: each question goes out anew, from a port and under a
/// number of its own (RFC 5452 §9.2).
final class Recursors: Sendable {
    private let settings: DNSRecursionSettings
    private let group: any EventLoopGroup
    private let seed: @Sendable () -> UInt64
    private let pending = Mutex(0)

    init(settings: DNSRecursionSettings, group: any EventLoopGroup, seed: @escaping @Sendable () -> UInt64) {
        self.settings = settings
        self.group = group
        self.seed = seed
    }

    /// What the first recursor that knows says, under the query's number: "no such name" is knowledge, a failure and a
    /// refusal are not. Nil when none knows, or too many questions are under way.
    func ask(_ query: DNSMessage, overTCP: Bool) async -> DNSRecursorAnswer? {
        let mayAsk = self.pending.withLock { pending in
            if pending >= self.settings.maximumPending { return false }
            pending += 1
            return true
        }
        guard mayAsk else { return nil }
        defer { self.pending.withLock { $0 -= 1 } }
        var order = self.settings.recursors
        if self.settings.strategy == .random {
            var shuffle = ShuffleOrder(seed: self.seed())
            order = shuffle.shuffle(order)
        }
        for recursor in order {
            guard let answer = await self.ask(query, recursor, overTCP: overTCP) else { continue }
            let code = answer.message.responseCode
            if code == .noError || code == .nameError { return answer }
        }
        return nil
    }

    /// The addresses of a host; empty when nobody knows.
    func addresses(of name: DNSName, type: DNSRecordType) async -> [DNSRecord] {
        let query = DNSMessage(
            recursionDesired: true, questions: [DNSQuestion(name: name, type: type == .aaaa ? .aaaa : .a)],
            extension: DNSExtension(payloadSize: 1232))
        var answer = await self.ask(query, overTCP: false)
        if answer?.message.truncated == true { answer = await self.ask(query, overTCP: true) }
        let records = answer?.message.answers.filter { [.a, .aaaa, .cname].contains($0.data.type) } ?? []
        return Array(records.prefix(Self.maximumRecords))
    }

    private static let maximumRecords = 64

    private func ask(_ query: DNSMessage, _ recursor: DNSRecursor, overTCP: Bool) async -> DNSRecursorAnswer? {
        var question = query
        question.id = UInt16(truncatingIfNeeded: self.seed())
        guard let packet = try? question.encoded(),
            let address = try? SocketAddress(
                ipAddress: recursor.host, port: recursor.port)
        else { return nil }
        let loop = self.group.next()
        let promise = loop.makePromise(of: DNSRecursorAnswer.self)
        let timeout = TimeAmount.nanoseconds(Int64(clamping: self.settings.timeout.rawValue))
        let alarm = loop.scheduleTask(in: timeout) { promise.fail(ChannelError.connectTimeout(timeout)) }
        let opening =
            overTCP
            ? self.openStream(loop, address, packet, question, timeout, promise)
            : self.openDatagrams(loop, address, packet, question, promise)
        opening.whenFailure { promise.fail($0) }
        var answer = try? await promise.futureResult.get()
        alarm.cancel()
        opening.whenSuccess { $0.close(promise: nil) }
        answer?.restore(number: query.id)
        return answer
    }

    private func openDatagrams(
        _ loop: any EventLoop, _ address: SocketAddress, _ packet: [UInt8], _ question: DNSMessage,
        _ promise: EventLoopPromise<DNSRecursorAnswer>
    ) -> EventLoopFuture<any Channel> {
        DatagramBootstrap(group: loop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 65_535))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        RecursorDatagrams(question: question, promise: promise))
                }
            }
            // A connected socket takes datagrams of this one server only.
            .connect(to: address)
            .flatMap { channel in
                let envelope = AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: packet))
                return channel.writeAndFlush(envelope).map { channel }
            }
    }

    private func openStream(
        _ loop: any EventLoop, _ address: SocketAddress, _ packet: [UInt8], _ question: DNSMessage,
        _ timeout: TimeAmount, _ promise: EventLoopPromise<DNSRecursorAnswer>
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: loop)
            .connectTimeout(timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(RecursorStream(question: question, promise: promise))
                }
            }
            .connect(to: address)
            .flatMap { channel in
                var frame = ByteBuffer(integer: UInt16(packet.count))
                frame.writeBytes(packet)
                return channel.writeAndFlush(frame).map { channel }
            }
    }
}

/// What a recursor said: the message as read, and its bytes as they came.
struct DNSRecursorAnswer: Sendable {
    private(set) var message: DNSMessage
    private var bytes: [UInt8]

    /// Nil unless it answers the question. The number, the port and the name are all that tells an answer from a forgery.
    init?(_ bytes: [UInt8], to question: DNSMessage) {
        guard let message = try? DNSMessage(decoding: bytes), message.isResponse, message.id == question.id,
            message.questions == question.questions
        else { return nil }
        self.message = message
        self.bytes = bytes
    }

    mutating func restore(number: UInt16) {
        self.message.id = number
        self.bytes[0] = UInt8(number >> 8)
        self.bytes[1] = UInt8(number & 0xFF)
    }

    /// The bytes for a client that takes so many. Records may hold names that only their own message can explain
    /// (RFC 3597 §4): what is too large is not cut but left out, with TC.
    func packet(limit: Int) -> [UInt8]? {
        if self.bytes.count <= limit { return self.bytes }
        var cut = self.message
        cut.truncated = true
        (cut.answers, cut.authority, cut.additional) = ([], [], [])
        return try? cut.encoded(limit: limit)
    }
}

private final class RecursorDatagrams: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let question: DNSMessage
    private let promise: EventLoopPromise<DNSRecursorAnswer>

    init(question: DNSMessage, promise: EventLoopPromise<DNSRecursorAnswer>) {
        self.question = question
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Array(self.unwrapInboundIn(data).data.readableBytesView)
        // Anything else may come from somebody who guesses.
        if let answer = DNSRecursorAnswer(bytes, to: self.question) { self.promise.succeed(answer) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // "Port unreachable": this server will not answer.
        self.promise.fail(error)
        context.close(promise: nil)
    }
}

private final class RecursorStream: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let question: DNSMessage
    private let promise: EventLoopPromise<DNSRecursorAnswer>
    private var received = ByteBuffer()

    init(question: DNSMessage, promise: EventLoopPromise<DNSRecursorAnswer>) {
        self.question = question
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.received.writeBuffer(&bytes)
        guard let length = self.received.getInteger(at: 0, as: UInt16.self).map(Int.init),
            let frame = self.received.getBytes(at: 2, length: length)
        else { return }
        if let answer = DNSRecursorAnswer(frame, to: self.question) {
            self.promise.succeed(answer)
        } else {
            self.promise.fail(ChannelError.inputClosed)
        }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(ChannelError.eof)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(error)
        context.close(promise: nil)
    }
}
