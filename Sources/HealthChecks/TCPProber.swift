import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Units

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Makes a connection and closes it again. A name with addresses of both families gets both tried.
struct TCPProber: Sendable {
    private let target: TCPProbe
    private let plan: CheckPlan
    private let group: any EventLoopGroup

    init(probe: TCPProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.group = group
    }

    @Sendable func probe() async -> ProbeResult {
        do {
            try await withProbeDeadline(self.plan.timeout) { try await self.connect() }
            return ProbeResult(status: .passing, output: "TCP connect \(self.target.target): Success")
        } catch {
            let reason = ConnectFailure.reason(error)
            return ProbeResult(status: .critical, output: "dial tcp \(self.target.target): \(reason)")
        }
    }

    private func connect() async throws {
        let loop = self.group.next()
        let secured = loop.makePromise(of: Void.self)
        let tls = self.target.tls
        let name = tls?.serverName ?? self.target.host
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(self.plan.timeout.timeAmount)
            .channelInitializer { channel in
                guard let tls else { return channel.eventLoop.makeSucceededVoidFuture() }
                return channel.eventLoop.makeCompletedFuture {
                    try TCPProber.secure(channel, tls: tls, name: name, promise: secured)
                }
            }
        do {
            let channel = try await bootstrap.connect(host: self.target.host, port: self.target.port).get()
            if tls == nil { secured.succeed() }
            do {
                try await withTaskCancellationHandler {
                    try await secured.futureResult.get()
                } onCancel: {
                    channel.close(promise: nil)
                }
                try? await channel.close()
            } catch {
                try? await channel.close()
                throw error
            }
        } catch {
            secured.fail(error)
            throw error
        }
    }

    private static func secure(_ channel: any Channel, tls: ProbeTLS, name: String, promise: EventLoopPromise<Void>)
        throws
    {
        var configuration = TLSConfiguration.makeClientConfiguration()
        if tls.skipVerify { configuration.certificateVerification = .none }
        let context = try NIOSSLContext(configuration: configuration)
        // An address is no name to ask for (RFC 6066 §3).
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        let handler = try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name)
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.pipeline.syncOperations.addHandler(HandshakeWaiter(promise: promise))
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
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}

/// Why a connection was not made, as Go's dialer says it: scripts look for these words.
enum ConnectFailure {
    static func reason(_ error: any Error) -> String {
        switch error {
        case is ProbeTimedOut: return "i/o timeout"
        case let error as NIOConnectionError:
            if let single = error.connectionErrors.first { return reason(single.error) }
            if error.dnsAError != nil || error.dnsAAAAError != nil { return "lookup \(error.host): no such host" }
            return "no address to connect to"
        case let error as IOError: return "connect: \(text(of: error))"
        case let error as ChannelError:
            if case .connectTimeout = error { return "i/o timeout" }
            return "\(error)"
        default: return "\(error)"
        }
    }

    private static func text(of error: IOError) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "connection refused"
        case EHOSTUNREACH: "no route to host"
        case ENETUNREACH: "network is unreachable"
        case ECONNRESET: "connection reset by peer"
        case ETIMEDOUT: "connection timed out"
        default: error.description
        }
    }
}
