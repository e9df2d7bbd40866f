import PersistentMap
import Units

extension Registry {
    /// `GET /v1/catalog/nodes`: in order of their names.
    public func allNodes() -> Answer<[Node]> {
        var nodes: [Node] = []
        nodes.reserveCapacity(self.nodes.count)
        self.nodes.forEach { _, node in nodes.append(node) }
        return Answer(value: nodes, index: self.tableIndexes.nodes, watch: [.all(.nodes)])
    }

    /// Without regard to ASCII case.
    public func node(named name: String) -> Answer<Node?> {
        let key = foldedKey(name)
        return Answer(
            value: self.nodes.get(key), index: self.tableIndexes.nodes, watch: [WatchKey(table: .nodes, key: key)])
    }

    /// By its UUID.
    public func node(withID id: String) -> Answer<Node?> {
        let node = id.isEmpty ? nil : self.nodesByID.get(foldedKey(id)).flatMap { self.nodes.get($0) }
        return Answer(value: node, index: self.tableIndexes.nodes, watch: [.all(.nodes)])
    }

    /// `GET /v1/catalog/node/:node`; nil for an unknown node.
    public func nodeServices(_ name: String) -> Answer<NodeServices?> {
        let value = self.nodes.get(foldedKey(name)).map { NodeServices(node: $0, services: self.instances(on: name)) }
        return Answer(
            value: value, index: max(self.tableIndexes.nodes, self.tableIndexes.services),
            watch: [
                WatchKey(table: .nodes, key: foldedKey(name)),
                WatchKey(table: .services, key: servicesOnNodeWatchKey(name)),
            ])
    }

    /// `GET /v1/catalog/services`: in bytewise order of the names, each with the union of its instances' tags.
    public func allServices() -> Answer<[ServiceSummary]> {
        Answer(
            value: self.summaries { _ in true }, index: self.tableIndexes.services, watch: [.all(.services)])
    }

    /// The same over the instances that `isIncluded` lets through (`filter`, `node-meta`). A change of a node may let
    /// others through.
    public func services(where isIncluded: (CatalogInstance) -> Bool) -> Answer<[ServiceSummary]> {
        Answer(
            value: self.summaries(where: isIncluded), index: max(self.tableIndexes.services, self.tableIndexes.nodes),
            watch: [.all(.services), .all(.nodes)])
    }

    private func summaries(where isIncluded: (CatalogInstance) -> Bool) -> [ServiceSummary] {
        var summaries: [ServiceSummary] = []
        // Names that differ only in case stand beside each other, few of them: a search from the end finds them.
        self.servicesByName.forEach { key in
            guard let service = self.services.get(key), let node = self.nodes.get(foldedKey(service.node)),
                isIncluded(CatalogInstance(node: node, service: service))
            else { return }
            var slot = summaries.count - 1
            while slot >= 0, sameFolded(summaries[slot].name, service.name), summaries[slot].name != service.name {
                slot -= 1
            }
            if slot >= 0, summaries[slot].name == service.name {
                summaries[slot].tags += service.tags
            } else {
                summaries.append(ServiceSummary(name: service.name, tags: service.tags))
            }
        }
        for slot in summaries.indices { summaries[slot].tags = Self.sortedUnion(summaries[slot].tags) }
        summaries.sort { utf8Precedes($0.name, $1.name) }
        return summaries
    }

    private static func sortedUnion(_ tags: [String]) -> [String] {
        var union: [String] = []
        for tag in tags.sorted(by: utf8Precedes) where union.last != tag { union.append(tag) }
        return union
    }

    /// `GET /v1/catalog/service/:name`: healthy or not, those that carry every one of `tags`, in order of node and id.
    public func instances(ofService name: String, tags: [String] = []) -> Answer<[CatalogInstance]> {
        var found: [CatalogInstance] = []
        self.forEachInstance(of: name, tags: tags) { found.append(CatalogInstance(node: $0, service: $1)) }
        return self.serviceAnswer(found, name)
    }

    /// `GET /v1/health/service/:name`; with `passingOnly` those alone whose every check passes.
    public func health(
        ofService name: String, tags: [String] = [], passingOnly: Bool = false
    ) -> Answer<[ServiceHealth]> {
        var found: [ServiceHealth] = []
        self.forEachInstance(of: name, tags: tags) { node, service in
            var checks: [HealthCheck] = []
            var own: [HealthCheck] = []
            self.checks.forEach(prefix: onNodePrefix(node.name)) { _, check in
                if check.serviceID.isEmpty {
                    checks.append(check)
                } else if sameFolded(check.serviceID, service.id) {
                    own.append(check)
                }
                return true
            }
            checks += own
            let health = ServiceHealth(node: node, service: service, checks: checks)
            if !passingOnly || health.status == .passing { found.append(health) }
        }
        return self.serviceAnswer(found, name)
    }

    /// `GET /v1/health/checks/:service`: the service's checks, not its nodes'.
    public func checks(ofService name: String) -> Answer<[HealthCheck]> {
        var found: [HealthCheck] = []
        self.forEachInstance(of: name, tags: []) { node, service in
            self.checks.forEach(prefix: onNodePrefix(node.name)) { _, check in
                if sameFolded(check.serviceID, service.id) { found.append(check) }
                return true
            }
        }
        return self.serviceAnswer(found, name)
    }

    /// `GET /v1/health/node/:node`: the node's own checks and its services'.
    public func checks(onNode node: String) -> Answer<[HealthCheck]> {
        Answer(
            value: self.nodeChecks(node), index: self.tableIndexes.checks,
            watch: [WatchKey(table: .checks, key: foldedKey(node))])
    }

    /// `GET /v1/health/state/:state`; nil is `any`. In order of node and id.
    public func checks(inState status: CheckStatus?) -> Answer<[HealthCheck]> {
        var found: [HealthCheck] = []
        if let status {
            self.checksByStatus.forEach(in: status.key) { key in
                if let check = self.checks.get(key) { found.append(check) }
            }
        } else {
            self.checks.forEach { _, check in found.append(check) }
        }
        return Answer(value: found, index: self.tableIndexes.checks, watch: [.all(.checks)])
    }

    /// Nodes, services (names), instances, checks: for metrics and `operator usage`.
    public var catalogCounts: (nodes: Int, services: Int, instances: Int, checks: Int) {
        (self.nodes.count, self.serviceIndexes.count, self.services.count, self.checks.count)
    }

    private func forEachInstance(of name: String, tags: [String], _ body: (Node, ServiceInstance) -> Void) {
        self.servicesByName.forEach(in: foldedKey(name)) { key in
            if let service = self.services.get(key), let node = self.nodes.get(foldedKey(service.node)),
                tags.allSatisfy({ tag in service.tags.contains { sameFolded($0, tag) } })
            {
                body(node, service)
            }
        }
    }

    private func serviceAnswer<Value: Sendable>(_ value: Value, _ name: String) -> Answer<Value> {
        let key = foldedKey(name)
        return Answer(value: value, index: self.serviceIndex(key), watch: [WatchKey(table: .services, key: key)])
    }

    /// The index of every answer about the service. It changes with each change of what these answer.
    public func serviceIndex(named name: String) -> UInt64 { max(self.serviceIndex(foldedKey(name)), 1) }

    /// That of `allServices`.
    public var servicesIndex: UInt64 { max(self.tableIndexes.services, 1) }

    /// That of `services(where:)`.
    public var servicesAndNodesIndex: UInt64 { max(self.tableIndexes.services, self.tableIndexes.nodes, 1) }

    /// The service's own index; of a service without instances, the latest extinction; before the first extinction, the
    /// catalog's.
    func serviceIndex(_ name: ByteKey) -> UInt64 {
        let index = self.serviceIndexes.get(name) ?? self.tableIndexes.serviceExtinction
        return index > 0 ? index : max(self.tableIndexes.nodes, self.tableIndexes.services, self.tableIndexes.checks)
    }
}

// MARK: - The cluster's own

extension Registry {
    /// True for a server or agent whose certificates are refused.
    public func isRevoked(_ node: NodeID) -> Bool { self.revoked.contains(node.rawValue) }

    /// Every revoked node with the name it had, in order of the ids.
    public var revokedNodes: [(id: NodeID, name: String)] {
        self.revoked.rows.map { (NodeID($0.key), $0.value.row.name) }
    }
}

struct RevokedNode: Sendable, Equatable {
    var name: String
}
