import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Units

/// Accepts connections from servers and agents. Each gets TLS 1.3 with the cluster's certificates; there is no plain
/// mode.
public final class PeerListener: Sendable {
    private let channel: any Channel
    private let accepted: AcceptedConnections
    /// Where it listens; of use when port 0 was asked for.
    public let port: Int

    private init(_ channel: any Channel, _ accepted: AcceptedConnections, port: Int) {
        self.channel = channel
        self.accepted = accepted
        self.port = port
    }

    /// Listens on `address`, an IP address (`0.0.0.0` and `::` for all of this machine). Port 0 takes a free one.
    public static func start(
        address: String, port: Int, security: TransportSecurity, local: LocalPeer, handler: any PeerHandler,
        group: any EventLoopGroup, settings: TransportSettings = TransportSettings(), logger: Logger
    ) async throws(TransportError) -> PeerListener {
        if let complaint = settings.complaint { throw .invalidSetting(complaint) }
        let accepted = AcceptedConnections(limit: settings.listenerConnectionsMax)
        let surroundings = AcceptorHandler.Surroundings(
            security: security, local: local, handler: handler, settings: settings, logger: logger, registry: accepted)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { Self.prepare($0, surroundings) }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: .peer)
        do {
            let socket = try SocketAddress(ipAddress: address, port: port)
            let channel = try await bootstrap.bind(to: socket).get()
            return PeerListener(channel, accepted, port: channel.localAddress?.port ?? port)
        } catch {
            throw .bind(address: "\(address):\(port)", reason: "\(error)")
        }
    }

    private static func prepare(
        _ channel: any Channel, _ surroundings: AcceptorHandler.Surroundings
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            guard let number = surroundings.registry.add(channel) else {
                surroundings.logger.warning("connection refused: too many connections")
                throw TransportError.overloaded("too many connections")
            }
            channel.closeFuture.whenComplete { _ in surroundings.registry.remove(number) }
            let peer = VerifiedPeer()
            let tls = NIOSSLServerHandler(
                context: surroundings.security.contexts.server,
                customVerificationCallback: surroundings.security.verification(into: peer))
            try channel.pipeline.syncOperations.addHandlers(
                tls, AcceptorHandler(surroundings, verified: peer, number: number))
        }
    }

    /// Closes the connections of one node, for instance after it was revoked. It may come back unless it is refused.
    public func disconnect(_ node: NodeID) { self.accepted.close { $0?.nodeID == node } }

    /// Stops listening and closes every connection; returns when the socket is closed.
    public func shutdown() async {
        try? await self.channel.close().get()
        self.accepted.close { _ in true }
    }
}

/// The accepted connections of a listener, bounded.
final class AcceptedConnections: Sendable {
    private struct Connection: Sendable {
        let channel: any Channel
        var identity: NodeIdentity?
    }

    private struct State: Sendable {
        var open: [UInt64: Connection] = [:]
        var isShutDown = false
    }

    private let state = NIOLockedValueBox(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// nil when there are too many.
    func add(_ channel: any Channel) -> UInt64? {
        let number = ConnectionNumbers.next()
        return self.state.withLockedValue { state in
            guard state.open.count < self.limit else { return nil }
            state.open[number] = Connection(channel: channel)
            return number
        }
    }

    func identified(_ number: UInt64, as identity: NodeIdentity) {
        self.state.withLockedValue { $0.open[number]?.identity = identity }
    }

    func remove(_ number: UInt64) { self.state.withLockedValue { $0.open[number] = nil } }

    func close(where matches: (NodeIdentity?) -> Bool) {
        let channels = self.state.withLockedValue { state in
            state.open.values.filter { matches($0.identity) }.map(\.channel)
        }
        for channel in channels { channel.close(promise: nil) }
    }
}

/// Numbers that tell this process's connections apart.
enum ConnectionNumbers {
    private static let last = NIOLockedValueBox<UInt64>(0)

    static func next() -> UInt64 {
        self.last.withLockedValue { last in
            last += 1
            return last
        }
    }
}

extension ChannelOptions.Types.WriteBufferWaterMark {
    /// Large enough to keep a fast line busy between two turns of the event loop.
    static let peer = ChannelOptions.Types.WriteBufferWaterMark(low: 512 * 1024, high: 2 * 1024 * 1024)
}
