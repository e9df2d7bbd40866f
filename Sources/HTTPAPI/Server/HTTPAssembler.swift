import NIOCore
import NIOHTTP1

/// What a connection's task receives: one element per request, however many packets it came in.
enum Incoming: Sendable {
    case request(HTTPRequestHead, ByteBuffer)
    /// Its body follows as `chunk`s and one `end`.
    case streamed(HTTPRequestHead)
    case chunk(ByteBuffer)
    case end
    /// The body is larger than the route takes: `size` bytes were announced, or read so far. It is not read further.
    case tooLarge(HTTPRequestHead, size: Int)
}

/// What a connection's task sends: whole responses, already encoded.
enum Outgoing: Sendable {
    /// Head and body; the connection closes afterwards when `closes`.
    case response(head: ByteBuffer, body: ByteBuffer, closes: Bool)
    case part(ByteBuffer)
    /// What closes the body.
    case end(ByteBuffer, closes: Bool)
}

/// How a request's body is taken.
enum BodyRule: Sendable, Equatable {
    case collect(limit: Int)
    case stream
}

/// Puts decoded request parts together, and watches over the connection: its end, its idleness, a shutdown. Bounded by
/// one body of the route's limit; further pipelined requests wait in the socket.
final class HTTPAssembler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = Incoming
    typealias OutboundIn = Outgoing
    typealias OutboundOut = ByteBuffer

    private enum State {
        case idle
        case collecting(HTTPRequestHead, ByteBuffer, limit: Int)
        case streaming
        /// What still comes in is dropped: the connection is closing.
        case discarding
    }

    /// Answers a request without the connection's task: calls the reply once, on the event loop. False: nothing has
    /// happened.
    typealias LoopResponder =
        @Sendable (
            HTTPRequestHead, ByteBuffer, any EventLoop, @escaping @Sendable (APIResponse) -> Void
        ) -> Bool

    private let rule: @Sendable (HTTPRequestHead) -> BodyRule
    private let responder: LoopResponder
    /// Headers that go with every answer.
    private let policy: String
    private let signal: ConnectionSignal
    private let limits: ConnectionLimits
    private var state = State.idle
    /// Requests handed on and not answered yet.
    private var unanswered = 0
    /// A request is being answered on this loop. What comes in meanwhile waits here, as it does while the client does not
    /// take its answers, and the socket is not read while more than a few wait: answers go out in the order of the
    /// requests.
    private var isAnswering = false
    private var isPassing = false
    /// Of the unanswered requests, those that went to the connection's task.
    private var inTask = 0
    private var waiting: CircularBuffer<Incoming> = []
    private var readIsHeld = false
    /// The socket is asked for more, and nothing has come since.
    private var awaitsInput = false
    private static let waitingMax = 16
    /// Up to this size head and body go out in one piece.
    private static let copiedBodyMax = 4096
    /// The connection closes as soon as no request is open.
    private var isDraining = false
    /// Nothing is written any more; what was is on its way.
    private var isClosing = false
    private var lastActivity = NIODeadline.now()
    /// Bytes of answers that the socket had not taken when it was last looked.
    private var untaken = 0
    private var idleCheck: Scheduled<Void>?
    private var parting: Scheduled<Void>?

    init(
        signal: ConnectionSignal, limits: ConnectionLimits, policy: String,
        rule: @escaping @Sendable (HTTPRequestHead) -> BodyRule, responder: @escaping LoopResponder
    ) {
        self.signal = signal
        self.limits = limits
        self.policy = policy
        self.rule = rule
        self.responder = responder
    }

    // MARK: reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.lastActivity = .now()
        self.awaitsInput = false
        switch self.unwrapInboundIn(data) {
        case .head(let head): self.receive(head: head, context: context)
        case .body(let piece): self.receive(piece: piece, context: context)
        case .end: self.receiveEnd(context: context)
        }
    }

    private func receive(head: HTTPRequestHead, context: ChannelHandlerContext) {
        if case .discarding = self.state { return }
        switch self.rule(head) {
        case .stream:
            self.state = .streaming
            self.continueIfAsked(head, context: context)
            self.handOn(.streamed(head), context: context)
        case .collect(let limit):
            if let announced = head.contentLength, announced > limit {
                self.state = .discarding
                self.handOn(.tooLarge(head, size: announced), context: context)
            } else {
                self.state = .collecting(head, ByteBuffer(), limit: limit)
                self.continueIfAsked(head, context: context)
            }
        }
    }

    private func receive(piece: ByteBuffer, context: ChannelHandlerContext) {
        switch self.state {
        case .collecting(let head, var body, let limit):
            let size = body.readableBytes + piece.readableBytes
            if size > limit {
                self.state = .discarding
                self.handOn(.tooLarge(head, size: size), context: context)
                return
            }
            // Two references would make the append copy.
            self.state = .idle
            if body.readableBytes == 0 {
                body = piece
            } else {
                var piece = piece
                body.writeBuffer(&piece)
            }
            self.state = .collecting(head, body, limit: limit)
        case .streaming: self.pass(.chunk(piece), context: context)
        case .idle, .discarding: break
        }
    }

    private func receiveEnd(context: ChannelHandlerContext) {
        switch self.state {
        case .collecting(let head, let body, limit: _):
            self.state = .idle
            self.handOn(.request(head, body), context: context)
        case .streaming:
            self.state = .idle
            self.pass(.end, context: context)
        case .idle, .discarding: break
        }
    }

    private func handOn(_ incoming: Incoming, context: ChannelHandlerContext) {
        self.unanswered += 1
        self.pass(incoming, context: context)
    }

    private func pass(_ incoming: Incoming, context: ChannelHandlerContext) {
        if self.isAnswering || !self.waiting.isEmpty || !context.channel.isWritable {
            self.waiting.append(incoming)
        } else {
            self.dispatch(incoming, context)
        }
    }

    /// To the loop's responder when nothing before it is unanswered, else to the connection's task, in order.
    private func dispatch(_ incoming: Incoming, _ context: ChannelHandlerContext) {
        switch incoming {
        case .request(let head, let body):
            if self.inTask == 0, self.answerOnLoop(head, body, context) { return }
            self.inTask += 1
        case .streamed, .tooLarge: self.inTask += 1
        case .chunk, .end: break
        }
        context.fireChannelRead(self.wrapInboundOut(incoming))
    }

    // MARK: answering on the loop

    private func answerOnLoop(_ head: HTTPRequestHead, _ body: ByteBuffer, _ context: ChannelHandlerContext) -> Bool {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let isHead = head.method == .HEAD
        let closes = !head.isKeepAlive
        self.isAnswering = true
        let isTaken = self.responder(head, body, context.eventLoop) { response in
            let (assembler, context) = bound.value
            // The connection may be gone.
            guard assembler.isAnswering else { return }
            let isLast = closes || response.closes || assembler.signal.ending == .draining
            assembler.write(response, withoutBody: isHead, closes: isLast, context)
            // Not before: what the flush sets off must not answer others ahead of a close.
            assembler.isAnswering = false
            assembler.passWaiting(context)
        }
        if !isTaken { self.isAnswering = false }
        return isTaken
    }

    private func write(_ response: APIResponse, withoutBody: Bool, closes: Bool, _ context: ChannelHandlerContext) {
        self.lastActivity = .now()
        var head = response.encodedHead(
            contentLength: response.body.readableBytes, closes: closes, policy: self.policy)
        var body = response.body
        if withoutBody || body.readableBytes == 0 {
            context.write(self.wrapOutboundOut(head), promise: nil)
        } else if body.readableBytes <= Self.copiedBodyMax {
            head.writeBuffer(&body)
            context.write(self.wrapOutboundOut(head), promise: nil)
        } else {
            context.write(self.wrapOutboundOut(head), promise: nil)
            context.write(self.wrapOutboundOut(body), promise: nil)
        }
        context.flush()
        self.answered(closes: closes, context: context)
    }

    /// Those that waited, until one of them is again being answered here. An answer that is there at once comes back to
    /// here while this runs: it leaves the rest to the loop below.
    private func passWaiting(_ context: ChannelHandlerContext) {
        if self.isPassing { return }
        self.isPassing = true
        while !self.isAnswering, context.channel.isWritable, let next = self.waiting.popFirst() {
            self.dispatch(next, context)
        }
        self.isPassing = false
        // The connection's task gets what was read once reading is said to be complete.
        if self.inTask > 0 { context.fireChannelReadComplete() }
        if self.readIsHeld, self.waiting.count < Self.waitingMax {
            self.readIsHeld = false
            self.ask(context)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.passWaiting(context) }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if self.waiting.count >= Self.waitingMax { self.readIsHeld = true } else { self.ask(context) }
    }

    private func ask(_ context: ChannelHandlerContext) {
        if !self.awaitsInput {
            self.awaitsInput = true
            // Until now it was this side that took its time.
            self.lastActivity = .now()
        }
        context.read()
    }

    /// RFC 9110 §10.1.1; not while an earlier answer is due, which must come first.
    private func continueIfAsked(_ head: HTTPRequestHead, context: ChannelHandlerContext) {
        guard self.unanswered == 0, let expect = head.headers.first(name: "expect"),
            equalsIgnoringCase(expect.utf8, "100-continue".utf8)
        else { return }
        let text = ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")
        context.writeAndFlush(self.wrapOutboundOut(text), promise: nil)
    }

    // MARK: writing

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        self.lastActivity = .now()
        switch self.unwrapOutboundIn(data) {
        case .response(let head, let body, let closes):
            if body.readableBytes == 0 {
                context.write(self.wrapOutboundOut(head), promise: promise)
            } else {
                context.write(self.wrapOutboundOut(head), promise: nil)
                context.write(self.wrapOutboundOut(body), promise: promise)
            }
            self.inTask -= 1
            self.answered(closes: closes, context: context)
        case .part(let part):
            context.write(self.wrapOutboundOut(part), promise: promise)
        case .end(let last, let closes):
            context.write(self.wrapOutboundOut(last), promise: promise)
            self.inTask -= 1
            self.answered(closes: closes, context: context)
        }
    }

    private func answered(closes: Bool, context: ChannelHandlerContext) {
        self.unanswered -= 1
        if closes || (self.isDraining && self.unanswered == 0) {
            context.flush()
            self.lingerThenClose(context: context)
        }
    }

    /// Closing at once with unread input would reset the connection before the client has read the answer; and before the
    /// answer has left this process there is nothing yet to read.
    private func lingerThenClose(context: ChannelHandlerContext) {
        self.state = .discarding
        self.isClosing = true
        self.waiting.removeAll()
        let channel = context.channel
        let linger = self.limits.linger
        let sent = context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.whenComplete { _ in
            channel.eventLoop.scheduleTask(in: linger) { channel.close(promise: nil) }
        }
        context.close(mode: .output, promise: sent)
    }

    // MARK: the connection's end

    func handlerAdded(context: ChannelHandlerContext) {
        self.scheduleIdleCheck(context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.idleCheck?.cancel()
        self.forget()
    }

    private func forget() {
        self.parting?.cancel()
        self.isAnswering = false
        self.waiting.removeAll()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.idleCheck?.cancel()
        self.forget()
        self.signal.end(.closed)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { self.signal.end(.closed) }
        if event is ChannelShouldQuiesceEvent {
            // From here on answers say that they are the last.
            self.signal.end(.draining)
            self.closeWhenIdle(after: self.limits.parting, context: context)
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func closeWhenIdle(after time: TimeAmount, context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.parting = context.eventLoop.scheduleTask(in: time) {
            let (assembler, context) = loopBound.value
            assembler.isDraining = true
            if assembler.unanswered == 0 { assembler.lingerThenClose(context: context) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError else {
            self.signal.end(.closed)
            context.close(promise: nil)
            return
        }
        self.state = .discarding
        // What came in order before the damage is answered first.
        self.isDraining = true
        if self.unanswered > 0 { return }
        let text =
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            + "Content-Length: 15\r\n\r\n400 Bad Request"
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        self.lingerThenClose(context: context)
    }

    /// A connection that neither waits for an answer of ours nor says anything is closed; so is one whose request does
    /// not come to its end.
    private func scheduleIdleCheck(context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        self.idleCheck = context.eventLoop.scheduleTask(in: self.limits.idleCheckInterval) {
            let (assembler, context) = loopBound.value
            assembler.noteWhatWasTaken(context: context)
            if assembler.isOverdue(isWritable: context.channel.isWritable) {
                context.close(promise: nil)
            } else {
                assembler.scheduleIdleCheck(context: context)
            }
        }
    }

    /// A reader that takes a large answer bit by bit is at work, however long it takes.
    private func noteWhatWasTaken(context: ChannelHandlerContext) {
        let untaken = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if untaken < self.untaken { self.lastActivity = .now() }
        self.untaken = untaken
    }

    private func isOverdue(isWritable: Bool) -> Bool {
        let passed = NIODeadline.now() - self.lastActivity
        // A reader that takes nothing of its answer holds memory for it.
        if (!isWritable || self.isClosing) && passed > self.limits.writing { return true }
        if self.unanswered > 0 {
            // Its answer waits for the rest of its body.
            guard case .streaming = self.state, self.unanswered == 1, self.awaitsInput else { return false }
            return passed > self.limits.reading
        }
        switch self.state {
        case .idle: return passed > self.limits.idle
        case .collecting, .streaming, .discarding: return passed > self.limits.reading
        }
    }
}

extension HTTPRequestHead {
    /// Nil when absent or not a number.
    var contentLength: Int? { self.headers.first(name: "content-length").flatMap { Int($0) } }
}
