import Certificates
import Logging
import NIOCore
import NIOTLS
import Protocol
import Raft
import Units

/// The connecting end of one connection: TLS, greeting, then Raft messages and calls out, answers in. Lives on the
/// connection's event loop and never stops reading.
final class InitiatorHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case securing
        case greeting(NodeIdentity)
        case ready(RemotePeer)
        case closed
    }

    private let connection: PeerConnection
    private let attempt: UInt64
    private let verified: VerifiedPeer
    private let liveness: Liveness
    private let settings: TransportSettings
    private var phase = Phase.securing
    private var reader: FrameReader
    private var context: ChannelHandlerContext?
    private var deadline: Scheduled<Void>?
    private var isDraining = false
    /// Until the channel is active whoever connects it reports its failure.
    private var wasActive = false
    /// Why the connection is about to end, once known.
    private var failure: TransportError?

    init(_ connection: PeerConnection, attempt: UInt64, verified: VerifiedPeer) {
        self.connection = connection
        self.attempt = attempt
        self.verified = verified
        self.settings = connection.surroundings.settings
        self.liveness = Liveness(self.settings)
        self.reader = FrameReader(limit: self.settings.frameBytesBeforeGreeting.rawValue)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// The deadline counts from here, not from `handlerAdded`: connecting has one of its own.
    func channelActive(context: ChannelHandlerContext) {
        self.wasActive = true
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: self.settings.handshakeTimeout.timeAmount) {
            self.fail("TLS or greeting took too long", context)
        }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent, case .securing = self.phase {
            self.secured(negotiated, context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .closed = self.phase { return }
        self.liveness.bytesArrived()
        self.reader.append(self.unwrapInboundIn(data))
        do {
            while self.failure == nil, let frame = try self.reader.next() { self.received(frame, context) }
        } catch {
            self.fail("\(error)", context)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.drain() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.ended(context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.ended(context) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(self.verified.failure ?? "\(error)", context)
    }

    private func fail(_ reason: String, _ context: ChannelHandlerContext) {
        self.fail(.unreachable(address: self.connection.address, reason: reason), context)
    }

    private func fail(_ error: TransportError, _ context: ChannelHandlerContext) {
        if self.failure == nil { self.failure = error }
        context.close(promise: nil)
    }

    private func ended(_ context: ChannelHandlerContext) {
        let phase = self.phase
        self.phase = .closed
        self.deadline?.cancel()
        self.context = nil
        switch phase {
        case .closed: break
        case .securing, .greeting:
            guard self.wasActive else { return }
            let reason = self.verified.failure ?? "the connection was closed during the handshake"
            let failure = self.failure ?? .unreachable(address: self.connection.address, reason: reason)
            self.connection.attemptFailed(self.attempt, context.channel, failure)
        case .ready(let peer):
            let reason =
                switch self.failure {
                case .unreachable(_, let reason), .refused(_, let reason): reason
                case let other?: other.description
                case nil: "closed by the other side"
                }
            self.connection.connectionLost(peer, reason: reason)
        }
    }

    // MARK: Greeting

    private func secured(_ negotiated: String?, _ context: ChannelHandlerContext) {
        guard negotiated == ApplicationProtocol.peer else {
            self.fail("no common protocol", context)
            return
        }
        guard let identity = self.verified.identity else {
            self.fail("the other side showed no certificate of this cluster", context)
            return
        }
        self.phase = .greeting(identity)
        let surroundings = self.connection.surroundings
        let hello = Greeting.hello(surroundings.security.identity, surroundings.local)
        guard let bytes = hello.encoded() else { return }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count + FrameWriter.overhead)
        FrameWriter.write(.hello, call: 0, payload: bytes, into: &buffer)
        self.liveness.write(buffer, to: context)
    }

    private func greeted(_ hello: PeerHello, _ identity: NodeIdentity, _ context: ChannelHandlerContext) {
        let surroundings = self.connection.surroundings
        let own = surroundings.security.identity
        let address = self.connection.address
        if let reason = Greeting.complaint(
            about: hello, certified: identity, own: own, security: surroundings.security)
        {
            self.fail(.refused(address: address, reason: reason), context)
            return
        }
        guard identity.role == .server else {
            self.fail(.refused(address: address, reason: "\(identity) is no server"), context)
            return
        }
        guard identity.nodeID != own.nodeID else {
            self.fail(.thisNode(address: address), context)
            return
        }
        let peer = Greeting.remote(hello, identity, connection: ConnectionNumbers.next())
        self.deadline?.cancel()
        self.reader.limit = self.settings.frameBytes.rawValue
        self.phase = .ready(peer)
        guard self.connection.greeted(self.attempt, context.channel, self, peer) else {
            self.phase = .closed
            context.close(promise: nil)
            return
        }
        self.watch(context)
        self.drain()
    }

    // MARK: Frames

    private func received(_ frame: FrameReader.Frame, _ context: ChannelHandlerContext) {
        guard case .message(let message) = frame else { return }
        if case .hello(let hello) = message.kind, !hello.refusal.isEmpty {
            self.fail(.refused(address: self.connection.address, reason: hello.refusal), context)
            return
        }
        switch (self.phase, message.kind) {
        case (.greeting(let identity), .hello(let hello)): self.greeted(hello, identity, context)
        case (.ready, .response(let response)): self.connection.answered(message.call, response)
        // A later version's one-way frame.
        case (.ready, nil) where message.call == 0: break
        case (.closed, _): break
        case (.securing, _), (.greeting, _), (.ready, _): self.fail("an unexpected frame", context)
        }
    }

    // MARK: Keeping alive

    private func watch(_ context: ChannelHandlerContext) {
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: self.liveness.checkInterval) {
            guard case .ready(let peer) = self.phase else { return }
            if self.liveness.isDead {
                self.fail("nothing was heard for \(self.settings.idleTimeout)", context)
                return
            }
            if let reason = self.connection.surroundings.security.complaint(about: self.verified, peer.identity) {
                self.fail(.refused(address: self.connection.address, reason: reason), context)
                return
            }
            // While bytes wait to be written there is no need for more.
            if self.liveness.keepAliveIsDue(), context.channel.isWritable {
                var buffer = context.channel.allocator.buffer(capacity: 4)
                FrameWriter.writeKeepAlive(into: &buffer)
                self.liveness.write(buffer, to: context)
            }
            self.watch(context)
        }
    }

    // MARK: Writing

    /// Writes what waits while the socket takes it, one flush for a batch. What the socket does not take stays in the
    /// bounded queues of the connection.
    func drain() {
        guard case .ready(let peer) = self.phase, !self.isDraining, let context = self.context else { return }
        self.isDraining = true
        defer { self.isDraining = false }
        while context.channel.isWritable {
            let batch = self.connection.nextBatch(for: peer)
            if batch.isEmpty { return }
            var buffer = context.channel.allocator.buffer(capacity: 4096)
            self.write(batch, to: peer, into: &buffer)
            self.liveness.write(buffer, to: context)
        }
    }

    private func write(_ batch: PeerConnection.Batch, to peer: RemotePeer, into buffer: inout ByteBuffer) {
        let limit = self.settings.frameBytes.rawValue - FrameWriter.overhead
        // A message for a node that had this address before is not sent to the one that has it now.
        for message in batch.raft where message.to == peer.identity.nodeID {
            guard let bytes = RaftWire.encode(message).encoded(), bytes.count <= limit else {
                self.connection.surroundings.logger.error("a Raft message is too large to send")
                continue
            }
            FrameWriter.write(.raft, call: 0, payload: bytes, into: &buffer)
        }
        for number in batch.cancels { FrameWriter.write(.cancel, call: number, payload: [], into: &buffer) }
        for (number, request) in batch.requests {
            FrameWriter.write(.request, call: number, payload: request, into: &buffer)
        }
    }
}
