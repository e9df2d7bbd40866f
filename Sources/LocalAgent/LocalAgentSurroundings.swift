import Protocol
import Registry
import Units

/// What the catalog holds of one node.
public struct CatalogNode: Sendable, Equatable {
    public var node: LogNode
    public var services: [LogService]
    public var checks: [LogCheck]

    public init(node: LogNode, services: [LogService], checks: [LogCheck]) {
        self.node = node
        self.services = services
        self.checks = checks
    }
}

extension CatalogNode {
    /// Nil when the registry has no such node.
    public init?(_ name: String, in registry: Registry) {
        guard let found = registry.nodeServices(name).value else { return nil }
        self.init(
            node: found.node.message, services: found.services.map(\.message),
            checks: registry.checks(onNode: name).value.map(\.message))
    }
}

/// Reads the catalog's rows of a node: a server from its own registry, an agent through its server. The answer shows
/// every write that was confirmed before: an older one could take a change for made that has been undone since.
public protocol CatalogReader: Sendable {
    /// Nil when the catalog has no such node.
    func node(_ name: String) async throws -> CatalogNode?
}

/// What the HTTP API asks of the agent as a whole and the local agent passes on.
public protocol AgentFacilities: Sendable {
    func members(wide: Bool) async -> [Member]
    func description() async -> AgentDescription
    func metrics() async -> [Metric]
    func join(_ address: String) async throws(LocalAgentError)
    func leave() async throws(LocalAgentError)
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError)
    func reload() async throws(LocalAgentError)
}

/// A row of this machine's own state. The bytes are JSON of this room's making; a store keeps them as they are.
public struct StoredRow: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case service
        case check
        /// A TTL check's last report.
        case checkState = "check_state"
        /// A service or check that was deregistered here while the catalog may still show it.
        case removal
    }

    public var kind: Kind
    public var id: String
    public var bytes: [UInt8]

    public init(kind: Kind, id: String, bytes: [UInt8]) {
        self.kind = kind
        self.id = id
        self.bytes = bytes
    }
}

public enum StoredChange: Sendable, Equatable {
    case put(StoredRow)
    case remove(kind: StoredRow.Kind, id: String)
}

/// Keeps this machine's registrations over a restart. Ids are compared bytewise.
public protocol LocalStateStore: Sendable {
    /// All rows, in any order.
    func load() async throws -> [StoredRow]
    /// All changes or none, in order, durable on return.
    func apply(_ changes: [StoredChange]) async throws
}
