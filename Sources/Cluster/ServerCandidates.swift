/// Addresses of servers that an agent knows, the next to try first.
package struct ServerCandidates: Sendable {
    /// Named by a person: kept, whatever the cluster says.
    private var given: Set<String>
    package private(set) var addresses: [String]
    private static let limit = 64

    package init(given: [String]) {
        self.given = Set(given)
        self.addresses = given
    }

    package mutating func give(_ address: String) {
        self.given.insert(address)
        self.append([address])
    }

    /// What the cluster's servers are now. Those that it named before and that are gone would cost time in every search,
    /// and in the end leave no room for the new ones.
    package mutating func learn(_ servers: [String]) {
        if servers.isEmpty { return }
        self.addresses.removeAll { !self.given.contains($0) && !servers.contains($0) }
        self.append(servers)
    }

    private mutating func append(_ servers: [String]) {
        for address in servers where !self.addresses.contains(address) && self.addresses.count < Self.limit {
            self.addresses.append(address)
        }
    }

    /// Whoever is asked goes to the end of the row, so that the next search begins with another.
    package mutating func asked(_ address: String) {
        guard let position = self.addresses.firstIndex(of: address) else { return }
        self.addresses.append(self.addresses.remove(at: position))
    }
}
