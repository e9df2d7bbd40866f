import Protocol
import Registry
import Units

// What a leader's duties ask of the registry.
extension Registry {
    func check(_ id: String, onNode node: String) -> HealthCheck? {
        self.checks(onNode: node).value.first { $0.id == id }
    }

    func hasCheck(_ id: String, onNode node: String) -> Bool { self.check(id, onNode: node) != nil }

    func hasCriticalCheck(_ id: String, onNode node: String) -> Bool {
        self.check(id, onNode: node)?.status == .critical
    }

    /// A node that is heard of and does not stand as such: it is critical, or was registered without the check.
    func isMisjudged(_ id: String, aliveNode node: String) -> Bool {
        guard self.node(named: node).value != nil else { return false }
        return self.check(id, onNode: node)?.status != .passing
    }

    func hasSession(_ id: String) -> Bool { self.session(id).value != nil }

    func nodesWithCheck(_ id: String) -> [String] {
        self.allNodes().value.map(\.name).filter { self.hasCheck(id, onNode: $0) }
    }

    func nodesWithService(_ name: String) -> [String] {
        self.instances(ofService: name).value.map(\.node.name)
    }

    /// True when applying the registration of a server would change something.
    func lacks(_ register: LogRegister) -> Bool {
        guard let present = self.nodeServices(register.node.name).value else { return true }
        var node = Node(register.node)
        node.createIndex = present.node.createIndex
        node.modifyIndex = present.node.modifyIndex
        guard register.skipNodeUpdate || node == present.node,
            let service = present.services.first(where: { $0.id == register.service.id })
        else {
            return true
        }
        var wanted = ServiceInstance(register.service, node: register.node.name)
        wanted.createIndex = service.createIndex
        wanted.modifyIndex = service.modifyIndex
        return wanted != service || !register.checks.isEmpty
    }
}
