import Cluster
import Protocol
import Registry
import Units

/// Reads a node's rows on a server, from its own state.
public struct ServerCatalogReader: CatalogReader {
    private let cluster: any ClusterAccess
    private let timeout: Nanoseconds

    public init(cluster: any ClusterAccess, timeout: Nanoseconds = .seconds(10)) {
        self.cluster = cluster
        self.timeout = timeout
    }

    public func node(_ name: String) async throws -> CatalogNode? {
        let view = try await self.cluster.view(.stale, timeout: self.timeout)
        return CatalogNode(name, in: view.registry)
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
