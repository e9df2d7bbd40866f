import Certificates
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Protocol
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// How an agent gets its first certificate. It trusts no one but a server whose chain leads to the CA that its token
/// pins.
public enum JoinClient {
    public struct Joined: Sendable {
        public let credentials: NodeCredentials
        /// `host:port` of the cluster's servers, as the answering server knows them.
        public let serverAddresses: [String]
    }

    /// Asks the servers at `addresses`, one after another, for a certificate as agent `name`. Each has `joinTimeout`.
    /// Throws what the last one answered, or the first thing that no other server would see otherwise.
    public static func join(
        _ addresses: [String], token tokenText: String, name: String, nodeID: NodeID, key: NodeKey,
        group: any EventLoopGroup, settings: TransportSettings = TransportSettings(), now: UnixSeconds = .now(),
        logger: Logger
    ) async throws(TransportError) -> Joined {
        let request: Request
        do {
            let token = try JoinToken.parse(tokenText, expecting: .agent, now: now)
            let identity = try NodeIdentity(clusterID: token.clusterID, role: .agent, name: name, nodeID: nodeID)
            request = Request(
                token: token, identity: identity, key: key, csr: try key.certificateRequest(name: name), now: now)
        } catch {
            throw .joinRefused("\(error)")
        }
        var last = TransportError.joinRefused("no server address given")
        for address in addresses {
            do throws(TransportError) {
                return try await Self.ask(address, request, group, settings)
            } catch {
                logger.warning("no certificate yet", metadata: ["address": "\(address)", "reason": "\(error)"])
                last = error
            }
        }
        throw last
    }

    private struct Request: Sendable {
        let token: JoinToken
        let identity: NodeIdentity
        let key: NodeKey
        let csr: [UInt8]
        let now: UnixSeconds

        var wire: PeerRequest {
            var signing = PeerSignCertificate()
            signing.csrDer = Data(self.csr)
            signing.token = self.token.text
            signing.name = self.identity.name
            signing.nodeID = self.identity.nodeID.rawValue
            signing.role = self.identity.role.rawValue
            var request = PeerRequest()
            request.signCertificate = signing
            return request
        }

        /// Takes an answer only if its certificate is what was asked for, by the CA that the token pins.
        func credentials(_ answer: PeerSignedCertificate) throws(CertificatesError) -> NodeCredentials {
            let credentials = try NodeCredentials(
                certificateDER: Array(answer.certificateDer), key: self.key, caDER: Array(answer.caDer))
            let chain = [credentials.certificateDER, credentials.caDER]
            guard try CertificateVerifier(token: self.token).verify(chainDER: chain, now: self.now) == self.identity
            else {
                throw .untrustedCertificate("it is for \(credentials.identity), not for \(self.identity)")
            }
            return credentials
        }
    }

    private static func ask(
        _ address: String, _ request: Request, _ group: any EventLoopGroup, _ settings: TransportSettings
    ) async throws(TransportError) -> Joined {
        let parsed = try PeerAddress(address)
        guard let payload = request.wire.encoded() else { throw .joinRefused("the request can't be encoded") }
        let tls = try TransportSecurity.joinContext()
        let verifier = CertificateVerifier(token: request.token)
        let eventLoop = group.next()
        let answer = eventLoop.makePromise(of: PeerResponse.self)
        let deadline = eventLoop.scheduleTask(in: settings.joinTimeout.timeAmount) {
            answer.fail(TransportError.timedOut(sent: true))
        }
        defer { deadline.cancel() }
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(settings.connectTimeout.timeAmount)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let peer = VerifiedPeer()
                    let now = request.now
                    let handler = try NIOSSLClientHandler(context: tls, serverHostname: nil) { certificates, promise in
                        promise.succeed(peer.verify(certificates, with: verifier, now: now))
                    }
                    try channel.pipeline.syncOperations.addHandlers(
                        handler, JoinHandler(payload, verified: peer, answer: answer, address: address))
                }
            }
        let connected =
            parsed.socketAddress.map { bootstrap.connect(to: $0) }
            ?? bootstrap.connect(host: parsed.host, port: parsed.port)
        connected.whenFailure { answer.fail(TransportError.unreachable(address: address, reason: "\($0)")) }
        do {
            let response = try await answer.futureResult.get()
            connected.whenSuccess { $0.close(promise: nil) }
            return try Self.joined(response, request)
        } catch let error as TransportError {
            connected.whenSuccess { $0.close(promise: nil) }
            throw error
        } catch {
            throw .unreachable(address: address, reason: "\(error)")
        }
    }

    private static func joined(_ response: PeerResponse, _ request: Request) throws(TransportError) -> Joined {
        guard response.error.isEmpty else { throw .joinRefused(response.error) }
        guard case .certificate(let answer) = response.kind else {
            throw .joinRefused("the server's answer holds no certificate")
        }
        do {
            return Joined(
                credentials: try request.credentials(answer), serverAddresses: Array(answer.serverAddresses.prefix(64)))
        } catch {
            throw .joinRefused("the server's certificate is not usable: \(error)")
        }
    }
}

/// Sends one request over a bootstrap connection and waits for its answer.
private final class JoinHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let payload: [UInt8]
    private let verified: VerifiedPeer
    private let answer: EventLoopPromise<PeerResponse>
    private let address: String
    private var reader = FrameReader(limit: TransportSettings().frameBytesBeforeGreeting.rawValue)

    init(_ payload: [UInt8], verified: VerifiedPeer, answer: EventLoopPromise<PeerResponse>, address: String) {
        self.payload = payload
        self.verified = verified
        self.answer = answer
        self.address = address
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated) = event as? TLSUserEvent {
            self.secured(negotiated, context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// The token goes out only to a server of the pinned cluster.
    private func secured(_ negotiated: String?, _ context: ChannelHandlerContext) {
        guard negotiated == ApplicationProtocol.join, self.verified.identity?.role == .server else {
            self.answer.fail(TransportError.refused(address: self.address, reason: "this is no server of the cluster"))
            return
        }
        var buffer = context.channel.allocator.buffer(capacity: self.payload.count + FrameWriter.overhead)
        FrameWriter.write(.request, call: 1, payload: self.payload, into: &buffer)
        context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.reader.append(self.unwrapInboundIn(data))
        do {
            while let frame = try self.reader.next() { self.received(frame) }
        } catch {
            self.answer.fail(TransportError.unreachable(address: self.address, reason: "\(error)"))
            context.close(promise: nil)
        }
    }

    private func received(_ frame: FrameReader.Frame) {
        guard case .message(let message) = frame else { return }
        switch message.kind {
        case .response(let response): self.answer.succeed(response)
        case .hello(let hello) where !hello.refusal.isEmpty:
            self.answer.fail(TransportError.refused(address: self.address, reason: hello.refusal))
        case .hello, .raft, .request, .cancel, nil:
            self.answer.fail(TransportError.unreachable(address: self.address, reason: "an unexpected frame"))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let reason = self.verified.failure ?? "\(error)"
        self.answer.fail(TransportError.unreachable(address: self.address, reason: reason))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let reason = self.verified.failure ?? "the server closed the connection"
        self.answer.fail(TransportError.unreachable(address: self.address, reason: reason))
        context.fireChannelInactive()
    }
}
