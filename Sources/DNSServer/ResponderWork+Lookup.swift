import Registry
import Units

// The registry's queries, in the words of this room.

extension ResponderWork {
    func lookup(node name: String) -> Node? { self.registry.node(named: name).value }

    /// Every instance with its node and the checks of both, in the registry's order; empty for an unknown service.
    func lookup(service name: String) -> [ServiceHealth] { self.registry.health(ofService: name).value }

    func lookup(nodesAt address: IPAddress) -> [Node] {
        self.registry.allNodes().value.filter { IPAddress($0.address) == address }
    }

    /// Names of services with an instance that has this address for its own.
    func lookup(servicesAt address: IPAddress) -> [String] {
        let found = self.registry.services { instance in
            let own = instance.service.address
            return !own.isEmpty && IPAddress(own) == address
        }
        return found.value.map(\.name)
    }
}
