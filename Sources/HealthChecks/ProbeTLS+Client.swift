import NIOCore
import NIOSSL
import NIOTLS

extension ProbeTLS {
    /// A client's side of TLS, made once for a prober: reading the machine's trusted roots takes milliseconds.
    struct Client: Sendable {
        private let context: NIOSSLContext
        /// Nil for an address, which is no name to ask for (RFC 6066 §3).
        private let serverName: String?

        fileprivate init(context: NIOSSLContext, serverName: String?) {
            self.context = context
            self.serverName = serverName
        }

        /// - Parameter promise: told how the handshake ended.
        func secure(_ channel: any Channel, promise: EventLoopPromise<Void>) throws {
            let handler = try NIOSSLClientHandler(context: self.context, serverHostname: self.serverName)
            try channel.pipeline.syncOperations.addHandler(handler)
            try channel.pipeline.syncOperations.addHandler(HandshakeWaiter(promise: promise))
        }
    }

    /// - Parameters:
    ///   - host: whose name is asked for and verified unless this says otherwise.
    ///   - protocols: offered by ALPN.
    func client(host: String, protocols: [String] = []) throws -> Client {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = protocols
        if self.skipVerify { configuration.certificateVerification = .none }
        let name = self.serverName ?? host
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        return Client(context: try NIOSSLContext(configuration: configuration), serverName: isAddress ? nil : name)
    }
}

/// Tells a promise how the TLS handshake ended.
private final class HandshakeWaiter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<Void>

    init(promise: EventLoopPromise<Void>) { self.promise = promise }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { self.promise.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(error)
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}
