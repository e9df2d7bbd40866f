import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Units

/// This process's outbound connections, one per address.
public final class PeerPool: Sendable {
    private struct State: Sendable {
        var connections: [PeerAddress: PeerConnection] = [:]
        /// The same by the text that was asked for: no address is parsed twice on the way of a message.
        var byText: [String: PeerConnection] = [:]
        var isShutDown = false

        /// Several spellings may name one address; there are few, and no more than this many are kept.
        mutating func note(_ connection: PeerConnection, as text: String, limit: Int) {
            if self.byText.count < limit { self.byText[text] = connection }
        }
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
        if let known = self.state.withLockedValue({ $0.byText[address] }) { return known }
        let parsed = try PeerAddress(address)
        let limit = self.surroundings.settings.poolConnectionsMax
        let result = self.state.withLockedValue { state -> Result<(PeerConnection, isNew: Bool), TransportError> in
            if state.isShutDown { return .failure(.shutDown) }
            if let connection = state.connections[parsed] {
                state.note(connection, as: address, limit: limit)
                return .success((connection, isNew: false))
            }
            guard state.connections.count < limit else {
                return .failure(.overloaded("more than \(limit) peers"))
            }
            let connection = PeerConnection(parsed, on: self.group.next(), self.surroundings)
            state.connections[parsed] = connection
            state.note(connection, as: address, limit: limit)
            return .success((connection, isNew: true))
        }
        let (connection, isNew) = try result.get()
        if isNew { connection.start() }
        return connection
    }

    /// Closes the connection to an address and forgets it.
    public func close(_ address: String) {
        guard let parsed = try? PeerAddress(address) else { return }
        let connection = self.state.withLockedValue { state in
            state.byText = state.byText.filter { $0.value.address != parsed.description }
            return state.connections.removeValue(forKey: parsed)
        }
        connection?.close()
    }

    /// Addresses with a connection, up or not, sorted.
    public var addresses: [String] {
        self.state.withLockedValue { $0.connections.keys.map(\.description) }.sorted()
    }

    /// Closes everything; the pool can't be used again.
    public func shutdown() {
        let connections = self.state.withLockedValue { state in
            state.isShutDown = true
            state.byText.removeAll()
            defer { state.connections.removeAll() }
            return Array(state.connections.values)
        }
        for connection in connections { connection.close() }
    }
}
