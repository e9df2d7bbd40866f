import Cluster
import DNSCodec
import Logging
import NIOCore
import NIOPosix
import Registry
import Synchronization
import Units

/// Listens for DNS over UDP and TCP. A server answers from its own state, however old unless told otherwise (`?stale`, as
/// Consul's DNS does); an agent hands the packet to its server. Names that are not ours go to the recursors.
public final class DNSServer: Sendable {
    /// What answers from the state; a reload puts another in its place.
    var responder: DNSResponder { self.present.withLock { $0 } }
    private let present: Mutex<DNSResponder>
    let listener: DNSListenerSettings
    let cluster: any ClusterAccess
    private let group: any EventLoopGroup
    let logger: Logger
    let seed: @Sendable () -> UInt64
    let wallTime: @Sendable () -> UInt32
    private let connections: Connections
    /// Nil: there are none.
    let recursors: Recursors?
    private let state = Mutex(State())

    private struct State {
        var started = false
        var udp: (any Channel)?
        var tcp: (any Channel)?
    }

    /// - Parameters:
    ///   - seed: drawn for each answer's order.
    ///   - wallTime: seconds since 1970.
    public init(
        settings: DNSSettings, listener: DNSListenerSettings, cluster: any ClusterAccess,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger,
        seed: @escaping @Sendable () -> UInt64, wallTime: @escaping @Sendable () -> UInt32
    ) {
        var settings = settings
        settings.offersRecursion = !listener.recursion.recursors.isEmpty
        self.present = Mutex(DNSResponder(settings: settings))
        self.recursors =
            settings.offersRecursion ? Recursors(settings: listener.recursion, group: group, seed: seed) : nil
        self.listener = listener
        self.cluster = cluster
        self.group = group
        self.logger = logger
        self.seed = seed
        self.wallTime = wallTime
        self.connections = Connections(limit: listener.maximumConnections)
    }

    /// Answers by other settings from now on; whom to ask about names of others stays as it was at the start.
    public func take(_ settings: DNSSettings) {
        var settings = settings
        settings.offersRecursion = self.recursors != nil
        let responder = DNSResponder(settings: settings)
        self.present.withLock { $0 = responder }
    }

    // MARK: - life cycle

    /// Binds both sockets; nothing listens when it throws.
    public func start() async throws(DNSServerError) {
        let isFirst = self.state.withLock { state in
            defer { state.started = true }
            return !state.started
        }
        if !isFirst { throw .alreadyStarted }
        do {
            let udp = try await self.bindUDP()
            self.state.withLock { $0.udp = udp }
            let tcp = try await self.bindTCP()
            self.state.withLock { $0.tcp = tcp }
        } catch {
            await self.stop()
            throw .bindFailed(address: "\(self.listener.host):\(self.listener.port)", reason: "\(error)")
        }
    }

    /// Closes the sockets and every connection.
    public func stop() async {
        let channels = self.state.withLock { state in
            defer { (state.udp, state.tcp) = (nil, nil) }
            return [state.udp, state.tcp].compactMap { $0 }
        }
        // A channel that is closed already is what we want.
        for channel in channels { try? await channel.close() }
        self.connections.closeAll()
    }

    /// The port that was bound; nil before the start.
    public var udpPort: Int? { self.state.withLock { $0.udp?.localAddress?.port } }
    public var tcpPort: Int? { self.state.withLock { $0.tcp?.localAddress?.port } }

    private func bindUDP() async throws -> any Channel {
        let limit = self.listener.maximumPendingQueries
        return try await DatagramBootstrap(group: self.group)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        DatagramAnswerer(limit: limit) { [weak self] packet in
                            await self?.answer(packet: packet, overTCP: false) ?? []
                        })
                }
            }
            .bind(host: self.listener.host, port: self.listener.port).get()
    }

    private func bindTCP() async throws -> any Channel {
        let connections = self.connections
        let listener = self.listener
        return try await ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [weak self] channel in
                guard connections.enter(channel) else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture {
                    let idle = TimeAmount.nanoseconds(Int64(clamping: listener.idleTimeout.rawValue))
                    try channel.pipeline.syncOperations.addHandlers(
                        StreamAnswerer(maximumQuerySize: listener.maximumQuerySize, idleTimeout: idle) {
                            [weak self] packet in
                            await self?.answer(packet: packet, overTCP: true) ?? []
                        })
                }
            }
            .bind(host: self.listener.host, port: self.listener.port).get()
    }
}

/// The open connections, up to a bound.
final class Connections: Sendable {
    private let limit: Int
    private let open = Mutex<[ObjectIdentifier: any Channel]>([:])

    init(limit: Int) { self.limit = limit }

    /// False when there are as many as there may be. A connection that is let in leaves by itself when it closes.
    func enter(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let entered = self.open.withLock { open in
            if open.count >= self.limit { return false }
            open[key] = channel
            return true
        }
        if entered {
            channel.closeFuture.whenComplete { [self] _ in _ = self.open.withLock { $0.removeValue(forKey: key) } }
        }
        return entered
    }

    func closeAll() {
        let channels = self.open.withLock { Array($0.values) }
        for channel in channels { channel.close(promise: nil) }
    }
}
