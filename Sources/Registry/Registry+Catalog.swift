import PersistentMap
import Protocol
import Units

extension Registry {
    /// All of it or nothing: node, service, checks. Parts that are stored already move no index.
    mutating func applyRegister(_ register: LogRegister, _ context: inout ApplyContext) throws(CommandFailure) {
        let before = self
        let touched = context.touched.count
        do {
            try self.register(register, &context)
        } catch {
            self = before
            context.touched.removeSubrange(touched...)
            throw error
        }
    }

    private mutating func register(_ register: LogRegister, _ context: inout ApplyContext) throws(CommandFailure) {
        var node = Node(register.node)
        guard !node.name.isEmpty, !node.address.isEmpty || register.skipNodeUpdate else {
            throw .invalid("Must provide node and address")
        }
        let existing = self.nodes.get(foldedKey(node.name))
        // Whoever judged the node did so before it was deregistered. Nobody could reach what this would bring back.
        if existing == nil, node.address.isEmpty { throw .invalid("Node \(quoted(node.name)) is not registered") }
        if existing == nil || !register.skipNodeUpdate {
            do {
                try self.ensureNode(&node, &context)
            } catch {
                throw error.prefixed("failed inserting node: ")
            }
        }
        if register.hasService {
            var service = ServiceInstance(register.service, node: node.name)
            guard !service.name.isEmpty else { throw .invalid("Must provide service name with ID") }
            if service.id.isEmpty { service.id = service.name }
            try self.ensureService(service, &context)
        }
        for message in register.checks {
            var check = try HealthCheck(message, at: context.index)
            if check.node.isEmpty { check.node = node.name }
            guard sameFolded(check.node, node.name) else {
                throw .invalid("check node \(quoted(check.node)) does not match node \(quoted(node.name))")
            }
            do {
                try self.ensureCheck(check, &context)
            } catch {
                throw error.prefixed("failed inserting check: ", " on node \(quoted(check.node))")
            }
        }
    }

    /// True also when there is nothing to remove.
    mutating func applyDeregister(_ deregister: LogDeregister, _ context: inout ApplyContext) throws(CommandFailure) {
        guard !deregister.node.isEmpty else { throw .invalid("Must provide node") }
        if !deregister.serviceID.isEmpty {
            self.removeService(deregister.serviceID, on: deregister.node, &context)
        } else if !deregister.checkID.isEmpty {
            self.removeCheck(deregister.checkID, on: deregister.node, &context)
        } else {
            self.removeNode(deregister.node, &context)
        }
    }
}

extension CommandFailure {
    func prefixed(_ prefix: String, _ suffix: String = "") -> CommandFailure {
        switch self {
        case .refused(let kind, let text): .refused(kind, prefix + text + suffix)
        case .stop: self
        }
    }
}

// MARK: - Nodes

extension Registry {
    /// A node is known by its id, and renamed when the id comes with another name; without an id, by its name. A
    /// request without an id leaves the node's id as it is.
    mutating func ensureNode(_ node: inout Node, _ context: inout ApplyContext) throws(CommandFailure) {
        var existing: Node?
        if !node.id.isEmpty {
            existing = self.nodesByID.get(foldedKey(node.id)).flatMap { self.nodes.get($0) }
            if let known = existing {
                if !sameFolded(known.name, node.name) {
                    if let why = self.nameConflict(of: node, allowingNoID: false) {
                        let renaming = "Error while renaming Node ID: \(quoted(node.id)) (\(node.address)): "
                        throw .invalid(renaming + why)
                    }
                    self.removeNode(known.name, &context)
                }
            } else if let why = self.nameConflict(of: node, allowingNoID: true) {
                throw .invalid("Error while renaming Node ID: \(quoted(node.id)): \(why)")
            } else {
                self.removeDeadAgent(named: node.name, &context)
            }
        }
        let key = foldedKey(node.name)
        if existing == nil { existing = self.nodes.get(key) }
        node.createIndex = existing?.createIndex ?? context.index
        node.modifyIndex = existing?.modifyIndex ?? context.index
        if let existing {
            if node.id.isEmpty { node.id = existing.id }
            if node == existing { return }
        }
        node.modifyIndex = context.index
        self.loadNode(node)
        self.tableIndexes.nodes = context.index
        context.touch(.nodes, key)
        self.bumpServices(on: node.name, &context)
    }

    /// An agent that has lost its disk comes back under its name with another id, and knows nothing of what it had
    /// registered: nobody would ever check or remove that. A node without the agent's check was registered by hand, and
    /// keeps what it has.
    private mutating func removeDeadAgent(named name: String, _ context: inout ApplyContext) {
        guard let other = self.nodes.get(foldedKey(name)), !other.id.isEmpty,
            self.checks.contains(onNodeKey(other.name, Self.agentCheckID))
        else { return }
        self.removeNode(other.name, &context)
    }

    /// A name belongs to the node that has it as long as that node's agent is alive; a node without the agent's check
    /// was registered by hand and gives way.
    private func nameConflict(of node: Node, allowingNoID: Bool) -> String? {
        guard let other = self.nodes.get(foldedKey(node.name)), !sameFolded(other.id, node.id) else { return nil }
        let agentCheck = self.checks.get(onNodeKey(other.name, Self.agentCheckID))
        let isAlive = agentCheck.map { $0.status != .critical } ?? false
        guard isAlive, !(other.id.isEmpty && allowingNoID) else { return nil }
        return "Node name \(node.name) is reserved by node \(other.id) with name \(other.name) (\(other.address))"
    }

    /// The check that says whether a node's agent is alive.
    public static let agentCheckID = "serfHealth"

    mutating func removeNode(_ name: String, _ context: inout ApplyContext) {
        let key = foldedKey(name)
        guard self.nodes.contains(key) else { return }
        for service in self.instances(on: name) { self.removeService(service.id, on: name, &context) }
        for check in self.nodeChecks(name) { self.removeCheck(check.id, on: name, &context) }
        self.destroySessions(on: name, &context)
        if let node = self.nodes.remove(key), !node.id.isEmpty { self.nodesByID.remove(foldedKey(node.id)) }
        self.tableIndexes.nodes = context.index
        context.touch(.nodes, key)
    }

    mutating func loadNode(_ node: Node) {
        let key = foldedKey(node.name)
        if let earlier = self.nodes.get(key), !earlier.id.isEmpty { self.nodesByID.remove(foldedKey(earlier.id)) }
        self.nodes.set(key, node.pooled())
        if !node.id.isEmpty { self.nodesByID.set(foldedKey(node.id), key) }
    }
}

// MARK: - Services

extension Registry {
    mutating func ensureService(_ service: ServiceInstance, _ context: inout ApplyContext) throws(CommandFailure) {
        guard let node = self.nodes.get(foldedKey(service.node)) else { throw .invalid("Missing node registration") }
        var service = service
        service.node = node.name
        let existing = self.services.get(onNodeKey(service.node, service.id))
        service.createIndex = existing?.createIndex ?? context.index
        service.modifyIndex = existing?.modifyIndex ?? context.index
        if service == existing { return }
        service.modifyIndex = context.index
        self.loadService(service)
        self.tableIndexes.services = context.index
        context.touch(.services, servicesOnNodeWatchKey(service.node))
        self.bumpService(service.name, &context)
        guard let existing else { return }
        if !sameFolded(existing.name, service.name) { self.instanceLeft(existing.name, &context) }
        if existing.name != service.name || existing.tags != service.tags { self.retagChecks(of: service, &context) }
    }

    /// Checks carry their service's name and tags.
    private mutating func retagChecks(of service: ServiceInstance, _ context: inout ApplyContext) {
        for var check in self.nodeChecks(service.node) where sameFolded(check.serviceID, service.id) {
            check.serviceName = service.name
            check.serviceTags = service.tags
            check.modifyIndex = context.index
            self.loadCheck(check)
            self.tableIndexes.checks = context.index
            context.touch(.checks, foldedKey(service.node))
        }
    }

    mutating func removeService(_ id: String, on node: String, _ context: inout ApplyContext) {
        let key = onNodeKey(node, id)
        guard let service = self.services.get(key) else { return }
        for check in self.nodeChecks(node) where sameFolded(check.serviceID, id) {
            self.removeCheck(check.id, on: node, &context)
        }
        self.services.remove(key)
        self.servicesByName.remove(key, from: foldedKey(service.name))
        self.tableIndexes.services = context.index
        context.touch(.services, servicesOnNodeWatchKey(node))
        self.instanceLeft(service.name, &context)
    }

    /// A service that loses its last instance has no index of its own any more: whoever watches it gets the index of
    /// the latest extinction.
    private mutating func instanceLeft(_ name: String, _ context: inout ApplyContext) {
        if self.servicesByName.contains(foldedKey(name)) {
            self.bumpService(name, &context)
            return
        }
        self.serviceIndexes.remove(foldedKey(name))
        self.tableIndexes.serviceExtinction = context.index
        context.touch(.services, foldedKey(name))
    }

    mutating func bumpService(_ name: String, _ context: inout ApplyContext) {
        let key = foldedKey(name)
        if self.serviceIndexes.get(key) == context.index { return }
        self.serviceIndexes.set(key, context.index)
        context.touch(.services, key)
    }

    mutating func bumpServices(on node: String, _ context: inout ApplyContext) {
        for service in self.instances(on: node) { self.bumpService(service.name, &context) }
    }

    mutating func loadService(_ service: ServiceInstance) {
        let key = onNodeKey(service.node, service.id)
        let earlier = self.services.get(key)
        self.services.set(key, service.pooled())
        let name = foldedKey(service.name)
        if let earlier {
            let earlierName = foldedKey(earlier.name)
            if earlierName == name { return }
            self.servicesByName.remove(key, from: earlierName)
        }
        self.servicesByName.insert(self.services.storedKey(key), into: name)
    }

    /// In order of their ids.
    func instances(on node: String) -> [ServiceInstance] {
        var instances: [ServiceInstance] = []
        self.services.forEach(prefix: onNodePrefix(node)) { _, service in
            instances.append(service)
            return true
        }
        return instances
    }
}

// MARK: - Checks

extension Registry {
    /// A critical check takes the sessions with it that stand on it, also when it was critical before.
    mutating func ensureCheck(_ check: HealthCheck, _ context: inout ApplyContext) throws(CommandFailure) {
        guard let node = self.nodes.get(foldedKey(check.node)) else { throw .invalid("Missing node registration") }
        var check = check
        check.node = node.name
        if check.serviceID.isEmpty {
            check.serviceName = ""
            check.serviceTags = []
        } else {
            guard let service = self.services.get(onNodeKey(check.node, check.serviceID)) else {
                throw .invalid("Missing service registration")
            }
            check.serviceName = service.name
            check.serviceTags = service.tags
        }
        if check.status == .critical { self.destroySessions(boundTo: check.id, on: check.node, &context) }
        let existing = self.checks.get(onNodeKey(check.node, check.id))
        check.createIndex = existing?.createIndex ?? context.index
        check.modifyIndex = existing?.modifyIndex ?? context.index
        if check == existing { return }
        check.modifyIndex = context.index
        self.loadCheck(check)
        self.checkChanged(check, &context)
        if let existing, !sameFolded(existing.serviceID, check.serviceID) { self.bumpServices(of: existing, &context) }
    }

    mutating func removeCheck(_ id: String, on node: String, _ context: inout ApplyContext) {
        let key = onNodeKey(node, id)
        guard let check = self.checks.remove(key) else { return }
        self.checksByStatus.remove(key, from: check.status.key)
        self.destroySessions(boundTo: id, on: node, &context)
        self.checkChanged(check, &context)
    }

    private mutating func checkChanged(_ check: HealthCheck, _ context: inout ApplyContext) {
        self.tableIndexes.checks = context.index
        context.touch(.checks, foldedKey(check.node))
        self.bumpServices(of: check, &context)
    }

    /// A node's own check counts for every service on it.
    private mutating func bumpServices(of check: HealthCheck, _ context: inout ApplyContext) {
        if check.serviceID.isEmpty {
            self.bumpServices(on: check.node, &context)
        } else {
            self.bumpService(check.serviceName, &context)
        }
    }

    mutating func loadCheck(_ check: HealthCheck) {
        let key = onNodeKey(check.node, check.id)
        let earlier = self.checks.get(key)?.status
        self.checks.set(key, check.pooled())
        if earlier == check.status { return }
        if let earlier { self.checksByStatus.remove(key, from: earlier.key) }
        self.checksByStatus.insert(self.checks.storedKey(key), into: check.status.key)
    }

    /// Of the node and of its services, in order of their ids.
    func nodeChecks(_ node: String) -> [HealthCheck] {
        var checks: [HealthCheck] = []
        self.checks.forEach(prefix: onNodePrefix(node)) { _, check in
            checks.append(check)
            return true
        }
        return checks
    }
}
