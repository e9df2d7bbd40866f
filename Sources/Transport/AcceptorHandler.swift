import Certificates
import Logging
import NIOCore
import NIOTLS
import Protocol
import Raft
import Units

/// The accepting end of one connection: TLS, greeting, then calls and Raft messages in, answers out. Lives on the
/// connection's event loop.
final class AcceptorHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What all connections of a listener share.
    struct Surroundings: Sendable {
        let security: TransportSecurity
        let local: LocalPeer
        let handler: any PeerHandler
        let settings: TransportSettings
        let logger: Logger
        let registry: AcceptedConnections
    }

    private enum Phase {
        case securing
        case greeting(NodeIdentity)
        case ready(RemotePeer)
        /// Bootstrap: no certificate, signing requests only.
        case joining
        case closed
    }

    private let surroundings: Surroundings
    private let verified: VerifiedPeer
    private let number: UInt64
    private let liveness: Liveness
    private var phase = Phase.securing
    private var reader: FrameReader
    private var raftBurst: [Raft.Message] = []
    private var replies: Replies?
    private var context: ChannelHandlerContext?
    private var deadline: Scheduled<Void>?
    private var isDraining = false
    private var isSecured = false
    private var joinRequests = 0
    private var logger: Logger

    init(_ surroundings: Surroundings, verified: VerifiedPeer, number: UInt64) {
        self.surroundings = surroundings
        self.verified = verified
        self.number = number
        self.liveness = Liveness(surroundings.settings)
        self.reader = FrameReader(limit: surroundings.settings.frameBytesBeforeGreeting.rawValue)
        self.logger = surroundings.logger
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.logger[metadataKey: "remote"] = "\(context.remoteAddress?.description ?? "unknown")"
        let settings = self.surroundings.settings
        self.replies = Replies(self, on: context.eventLoop, limit: settings.inboundCallsMax)
        self.closeAfter(settings.handshakeTimeout, "TLS or greeting took too long")
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.ended() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent {
            self.secured(negotiated, context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .closed = self.phase { return }
        self.liveness.bytesArrived()
        self.reader.append(self.unwrapInboundIn(data))
        do {
            while !self.isClosed, let frame = try self.reader.next() { self.received(frame, context) }
        } catch {
            self.turnAway("\(error)", context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !self.raftBurst.isEmpty, case .ready(let peer) = self.phase {
            let burst = self.raftBurst
            self.raftBurst = []
            self.surroundings.handler.received(raft: burst, from: peer.identity)
        }
        context.fireChannelReadComplete()
    }

    /// A peer that does not take its answers gets no more requests read: what it can make this process hold is bounded.
    /// The connecting side never stops reading, so the two ends can't wait for each other.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        context.channel.setOption(.autoRead, value: isWritable).assumeIsolated().whenFailure { _ in
            context.close(promise: nil)
        }
        if isWritable { self.drainReplies() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.ended()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !self.isClosed {
            self.logger.info("connection failed", metadata: ["reason": "\(self.verified.failure ?? "\(error)")"])
        }
        context.close(promise: nil)
    }

    private var isClosed: Bool {
        if case .closed = self.phase { return true }
        return false
    }

    /// The connection is gone, or about to go.
    private func ended() {
        let phase = self.phase
        self.phase = .closed
        self.deadline?.cancel()
        self.replies?.close()
        self.raftBurst = []
        // Breaks the cycle handler → replies → handler.
        self.replies = nil
        self.context = nil
        if case .ready(let peer) = phase {
            self.logger.debug("connection closed")
            self.surroundings.handler.peerDown(peer)
        }
    }

    private func closeAfter(_ delay: Nanoseconds, _ reason: String) {
        guard let context = self.context else { return }
        self.deadline?.cancel()
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: delay.timeAmount) {
            self.turnAway(reason, context)
        }
    }

    // MARK: Before the peer is known

    private func secured(_ negotiated: String?, _ context: ChannelHandlerContext) {
        guard case .securing = self.phase else { return }
        self.isSecured = true
        switch negotiated {
        case ApplicationProtocol.join:
            self.phase = .joining
            self.closeAfter(self.surroundings.settings.joinTimeout, "joining took too long")
        case ApplicationProtocol.peer:
            guard let identity = self.verified.identity else {
                self.turnAway("a certificate of this cluster is required", context)
                return
            }
            self.logger[metadataKey: "peer"] = "\(identity)"
            self.phase = .greeting(identity)
        default:
            self.turnAway("no common protocol", context)
        }
    }

    private func received(_ frame: FrameReader.Frame, _ context: ChannelHandlerContext) {
        switch (self.phase, frame) {
        case (.closed, _): break
        case (.securing, _): self.turnAway("bytes before TLS was done", context)
        case (.greeting(let identity), .message(let message)): self.greeted(message, identity, context)
        case (.greeting, .keepAlive): self.turnAway("the first frame must be a greeting", context)
        case (.joining, .message(let message)): self.asked(message, context)
        case (.joining, .keepAlive): break
        case (.ready, .keepAlive): self.echoKeepAlive(context)
        case (.ready(let peer), .message(let message)): self.received(message, from: peer, context)
        }
    }

    private func greeted(_ frame: PeerFrame, _ identity: NodeIdentity, _ context: ChannelHandlerContext) {
        guard case .hello(let hello) = frame.kind else {
            self.turnAway("the first frame must be a greeting", context)
            return
        }
        let security = self.surroundings.security
        let own = security.identity
        if let reason = Greeting.complaint(about: hello, certified: identity, own: own, security: security) {
            self.turnAway(reason, context)
            return
        }
        // The other side finds out that it talks to itself from this answer's node id.
        self.write(hello: Greeting.hello(own, self.surroundings.local), context)
        let peer = Greeting.remote(hello, identity, connection: self.number)
        self.phase = .ready(peer)
        self.reader.limit = self.surroundings.settings.frameBytes.rawValue
        self.deadline?.cancel()
        self.surroundings.registry.identified(self.number, as: identity)
        self.logger.debug("peer accepted", metadata: ["address": "\(peer.rpcAddress)"])
        self.surroundings.handler.peerUp(peer)
        self.watch(context)
    }

    /// Looks for silence from time to time, and whether the peer is still welcome.
    private func watch(_ context: ChannelHandlerContext) {
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: self.liveness.checkInterval) {
            guard case .ready(let peer) = self.phase else { return }
            if self.liveness.isDead {
                self.turnAway("nothing was heard for \(self.surroundings.settings.idleTimeout)", context)
            } else if let reason = self.surroundings.security.complaint(about: self.verified, peer.identity) {
                self.turnAway(reason, context)
            } else {
                self.watch(context)
            }
        }
    }

    private static let joinRequestsMax = 4

    private func asked(_ frame: PeerFrame, _ context: ChannelHandlerContext) {
        guard case .request(let request) = frame.kind, case .signCertificate(let signing) = request.kind,
            frame.call != 0
        else {
            self.turnAway("only certificates can be asked for without a certificate", context)
            return
        }
        self.joinRequests += 1
        guard self.joinRequests <= Self.joinRequestsMax else {
            self.turnAway("too many requests", context)
            return
        }
        let handler = self.surroundings.handler
        self.start(frame.call, context) { await handler.sign(signing) }
    }

    // MARK: From a known peer

    private func received(_ frame: PeerFrame, from peer: RemotePeer, _ context: ChannelHandlerContext) {
        switch frame.kind {
        case .raft(let wire): self.received(raft: wire, from: peer.identity, context)
        case .request(let request): self.received(request, call: frame.call, from: peer.identity, context)
        case .cancel: self.replies?.cancel(frame.call)
        case .hello: self.turnAway("a second greeting", context)
        case .response: self.turnAway("an answer to no question", context)
        case nil:
            // A later version's frame: one-way ones are skipped, calls are answered.
            if frame.call != 0 { self.replies?.refuse(frame.call, .failure(501, "unknown kind of frame")) }
        }
    }

    private func received(raft wire: PeerRaftMessage, from peer: NodeIdentity, _ context: ChannelHandlerContext) {
        guard peer.role == .server else {
            self.turnAway("an agent must not speak Raft", context)
            return
        }
        do throws(RaftWireError) {
            let message = try RaftWire.decode(wire)
            guard message.from == peer.nodeID else {
                self.turnAway("a Raft message from \(message.from) came from \(peer.nodeID)", context)
                return
            }
            // Sent to a node that had this address before: Raft gets over the loss.
            guard message.to == self.surroundings.security.identity.nodeID else { return }
            self.raftBurst.append(message)
        } catch {
            self.turnAway("malformed Raft message: \(error)", context)
        }
    }

    private func received(
        _ request: PeerRequest, call: UInt64, from peer: NodeIdentity, _ context: ChannelHandlerContext
    ) {
        guard call != 0, let replies = self.replies else {
            self.turnAway("a request without a number", context)
            return
        }
        let handler = self.surroundings.handler
        guard self.admit(call, context) else { return }
        let reply: @Sendable (PeerResponse) -> Void = { replies.finish(call, $0) }
        let isTaken =
            switch request.kind {
            case .propose(let proposal): handler.propose(proposal.envelope, from: peer, reply: reply)
            case .http(let http): handler.answer(http, from: peer, on: context.eventLoop, reply: reply)
            default: false
            }
        if !isTaken { self.run(call, replies) { await handler.handle(request, from: peer) } }
    }

    private func admit(_ call: UInt64, _ context: ChannelHandlerContext) -> Bool {
        guard let replies = self.replies else { return false }
        switch replies.begin(call) {
        case .admitted: return true
        case .duplicate:
            self.turnAway("call number \(call) is used twice", context)
            return false
        case .full:
            let limit = self.surroundings.settings.inboundCallsMax
            replies.refuse(call, .failure(429, "more than \(limit) calls at the same time", notProposed: true))
            return false
        }
    }

    private func start(
        _ call: UInt64, _ context: ChannelHandlerContext, _ answer: @escaping @Sendable () async -> PeerResponse
    ) {
        guard self.admit(call, context), let replies = self.replies else { return }
        self.run(call, replies, answer)
    }

    private func run(_ call: UInt64, _ replies: Replies, _ answer: @escaping @Sendable () async -> PeerResponse) {
        let task = Task { replies.finish(call, await answer()) }
        replies.note(task, for: call)
    }

    // MARK: Writing

    private static let batchBytes = 256 * 1024

    /// Writes the answers that are there while the socket takes them. The rest waits for it, and counts as running.
    func drainReplies() {
        guard !self.isDraining, let context = self.context, let replies = self.replies else { return }
        self.isDraining = true
        defer { self.isDraining = false }
        while context.channel.isWritable {
            var buffer = context.channel.allocator.buffer(capacity: 4096)
            while buffer.readableBytes < Self.batchBytes, let (call, response) = replies.next() {
                FrameWriter.write(.response, call: call, payload: self.bounded(response), into: &buffer)
            }
            if buffer.readableBytes == 0 { return }
            self.liveness.write(buffer, to: context)
        }
    }

    private func bounded(_ response: PeerResponse) -> [UInt8] {
        let limit = self.surroundings.settings.frameBytes.rawValue - FrameWriter.overhead
        if let bytes = response.encoded(), bytes.count <= limit { return bytes }
        let text = "the answer is larger than the \(limit) bytes that a frame can carry"
        return PeerResponse.failure(500, text).encoded() ?? []
    }

    private func echoKeepAlive(_ context: ChannelHandlerContext) {
        // Nobody needs a sign of life while bytes wait to be written, and a queue of them would grow.
        guard context.channel.isWritable else { return }
        var buffer = context.channel.allocator.buffer(capacity: 4)
        FrameWriter.writeKeepAlive(into: &buffer)
        self.liveness.write(buffer, to: context)
    }

    private func write(
        hello: PeerHello, _ context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil
    ) {
        guard let bytes = hello.encoded() else { return }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count + FrameWriter.overhead)
        FrameWriter.write(.hello, call: 0, payload: bytes, into: &buffer)
        self.liveness.write(buffer, to: context, promise: promise)
    }

    /// Says why and closes. What the peer sends from now on is not read.
    private func turnAway(_ reason: String, _ context: ChannelHandlerContext) {
        if self.isClosed { return }
        self.logger.warning("connection closed by this side", metadata: ["reason": "\(reason)"])
        guard self.isSecured else {
            self.ended()
            context.close(promise: nil)
            return
        }
        self.ended()
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        self.write(hello: Greeting.refusal(reason), context, promise: written)
        // A peer that does not read must not keep the connection: it has this long to take the text.
        context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { context.close(promise: nil) }
    }
}
