import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Units

/// This process's outbound connections, one per address.
public final class PeerPool: Sendable {
    private struct State: Sendable {
        var connections: [PeerAddress: PeerConnection] = [:]
        var isShutDown = false
    }

    private let state = NIOLockedValueBox(State())
    private let group: any EventLoopGroup
    private let surroundings: PeerConnection.Surroundings

    /// `events` is called on event loops and must be quick.
    public init(
        security: TransportSecurity, local: LocalPeer, group: any EventLoopGroup,
        settings: TransportSettings = TransportSettings(), logger: Logger,
        events: @escaping @Sendable (PeerEvent) -> Void = { _ in }
    ) throws(TransportError) {
        if let complaint = settings.complaint { throw .invalidSetting(complaint) }
        self.group = group
        self.surroundings = PeerConnection.Surroundings(
            security: security, local: local, settings: settings, logger: logger, events: events)
    }

    /// The connection to `address` (`host:port`), started when there is none yet. It is kept up until `close`.
    public func connection(to address: String) throws(TransportError) -> PeerConnection {
        let parsed = try PeerAddress(address)
        let limit = self.surroundings.settings.poolConnectionsMax
        let result = self.state.withLockedValue { state -> Result<(PeerConnection, isNew: Bool), TransportError> in
            if state.isShutDown { return .failure(.shutDown) }
            if let connection = state.connections[parsed] { return .success((connection, isNew: false)) }
            guard state.connections.count < limit else {
                return .failure(.overloaded("more than \(limit) peers"))
            }
            let connection = PeerConnection(parsed, on: self.group.next(), self.surroundings)
            state.connections[parsed] = connection
            return .success((connection, isNew: true))
        }
        let (connection, isNew) = try result.get()
        if isNew { connection.start() }
        return connection
    }

    /// Closes the connection to an address and forgets it.
    public func close(_ address: String) {
        guard let parsed = try? PeerAddress(address) else { return }
        self.state.withLockedValue { $0.connections.removeValue(forKey: parsed) }?.close()
    }

    /// Addresses with a connection, up or not, sorted.
    public var addresses: [String] {
        self.state.withLockedValue { $0.connections.keys.map(\.description) }.sorted()
    }

    /// Closes everything; the pool can't be used again.
    public func shutdown() {
        let connections = self.state.withLockedValue { state in
            state.isShutDown = true
            defer { state.connections.removeAll() }
            return Array(state.connections.values)
        }
        for connection in connections { connection.close() }
    }
}
