import Units

/// The rows of a topic at one index, shared with the registry that they were taken from.
public struct RegistryPart: Sendable {
    struct Rows<Row: CanonicalRow>: Sendable {
        /// In order of the keys.
        private(set) var rows: [(key: ByteKey, hashed: HashedRow<Row>)] = []
        private(set) var hash: UInt128 = 0

        /// In order.
        mutating func append(_ key: ByteKey, _ hashed: HashedRow<Row>) {
            self.rows.append((key, hashed))
            self.hash &+= hashed.hash
        }
    }

    var nodes = Rows<Node>()
    var services = Rows<ServiceInstance>()
    var checks = Rows<HealthCheck>()
    var keys = Rows<KVEntry>()
    var tombstones = Rows<Tombstone>()
    var tableIndexes: TableIndexes
    /// Of the services that have rows here.
    var serviceIndexes: [(name: ByteKey, index: UInt64)] = []

    /// The last entry that the state had applied.
    public let appliedIndex: LogIndex
    /// Rises with each change of the topic; it may go back as an answer's index may.
    public var index: UInt64 = 0
    /// Where a change may alter the topic.
    public var watch: [WatchKey] = []

    init(_ registry: Registry) {
        self.tableIndexes = registry.tableIndexes
        self.appliedIndex = registry.appliedIndex
    }

    public var rowCount: Int {
        self.nodes.rows.count + self.services.rows.count + self.checks.rows.count + self.keys.rows.count
            + self.tombstones.rows.count
    }

    /// The same for the same rows, on whatever server; 16 bytes.
    public var digest: [UInt8] {
        RegistryPart.digest([
            self.nodes.hash, self.services.hash, self.checks.hash, self.keys.hash, self.tombstones.hash,
        ])
    }

    static func digest(_ hashes: [UInt128]) -> [UInt8] {
        var hasher = RowHasher(seed: 22)
        for hash in hashes {
            hasher.number(UInt64(truncatingIfNeeded: hash >> 64))
            hasher.number(UInt64(truncatingIfNeeded: hash))
        }
        return Registry.hashBytes(hasher.finished())
    }
}

// MARK: - Taking one out of a registry

extension Registry {
    /// Takes as long as the topic has rows.
    public func part(_ topic: ViewTopic) -> RegistryPart {
        var part = RegistryPart(self)
        switch topic {
        case .service(let name): self.addService(name, to: &part)
        case .node(let name): self.addNode(name, to: &part)
        case .nodes:
            self.addNodes(to: &part)
            part.index = self.tableIndexes.nodes
            part.watch = [.all(.nodes)]
        case .services:
            self.addNodes(to: &part)
            for (key, hashed) in self.services.rows { part.services.append(key, hashed) }
            part.index = max(self.tableIndexes.services, self.tableIndexes.nodes)
            part.watch = [.all(.services), .all(.nodes)]
        case .checks(let status):
            self.addChecks(status, to: &part)
            part.index = max(self.tableIndexes.checks, self.tableIndexes.nodes)
            part.watch = [.all(.checks), .all(.nodes)]
        case .keys(let prefix): self.addKeys(prefix, to: &part)
        }
        part.index = max(part.index, 1)
        return part
    }

    /// As long as this is the same, so is the topic's part, but for its applied index.
    public func mark(of topic: ViewTopic) -> [UInt128] {
        let indexes = self.tableIndexes
        switch topic {
        case .service, .node, .nodes, .services, .checks:
            return [
                self.nodes.hash, self.services.hash, self.checks.hash, self.serviceIndexes.hash,
                UInt128(indexes.nodes), UInt128(indexes.services), UInt128(indexes.checks),
                UInt128(indexes.serviceExtinction), UInt128(indexes.restore),
            ]
        case .keys:
            return [self.kv.hash, self.tombstones.hash, UInt128(indexes.kv), UInt128(indexes.restore)]
        }
    }

    private func addNodes(to part: inout RegistryPart) {
        for (key, hashed) in self.nodes.rows { part.nodes.append(key, hashed) }
    }

    private func addService(_ name: ByteKey, to part: inout RegistryPart) {
        var ids: [String] = []
        var node = ""
        // Instances stand in order of node and id, and so do the checks.
        self.servicesByName.forEach(in: name) { key in
            guard let service = self.services.rows.get(key) else { return }
            if !ids.isEmpty, !sameFolded(node, service.row.node) {
                self.addNode(node, withChecksOf: ids, to: &part)
                ids = []
            }
            node = service.row.node
            ids.append(service.row.id)
            part.services.append(key, service)
        }
        if !ids.isEmpty { self.addNode(node, withChecksOf: ids, to: &part) }
        if let index = self.serviceIndexes.get(name) { part.serviceIndexes = [(name, index)] }
        part.index = self.serviceIndex(name)
        part.watch = [WatchKey(table: .services, key: name)]
    }

    /// The node, its own checks and those of the services named.
    private func addNode(_ name: String, withChecksOf ids: [String], to part: inout RegistryPart) {
        let key = foldedKey(name)
        if let node = self.nodes.rows.get(key) { part.nodes.append(key, node) }
        let folded = Set(ids.map { foldedKey($0) })
        self.checks.rows.forEach(prefix: onNodePrefix(name)) { key, check in
            let service = check.row.serviceID
            if service.isEmpty || folded.contains(foldedKey(service)) { part.checks.append(key, check) }
            return true
        }
    }

    private func addNode(_ name: ByteKey, to part: inout RegistryPart) {
        let text = String(decoding: name.bytes, as: UTF8.self)
        if let node = self.nodes.rows.get(name) { part.nodes.append(name, node) }
        self.services.rows.forEach(prefix: onNodePrefix(text)) { key, service in
            part.services.append(key, service)
            return true
        }
        self.checks.rows.forEach(prefix: onNodePrefix(text)) { key, check in
            part.checks.append(key, check)
            return true
        }
        part.index = max(self.tableIndexes.nodes, self.tableIndexes.services, self.tableIndexes.checks)
        part.watch = [
            WatchKey(table: .nodes, key: name), WatchKey(table: .services, key: servicesOnNodeWatchKey(text)),
            WatchKey(table: .checks, key: name),
        ]
    }

    private func addChecks(_ status: CheckStatus?, to part: inout RegistryPart) {
        self.addNodes(to: &part)
        guard let status else {
            for (key, hashed) in self.checks.rows { part.checks.append(key, hashed) }
            return
        }
        self.checksByStatus.forEach(in: status.key) { key in
            if let check = self.checks.rows.get(key) { part.checks.append(key, check) }
        }
    }

    private func addKeys(_ prefix: ByteKey, to part: inout RegistryPart) {
        self.kv.rows.forEach(prefix: prefix) { key, entry in
            part.keys.append(key, entry)
            return true
        }
        self.tombstones.rows.forEach(prefix: prefix) { key, tombstone in
            part.tombstones.append(key, tombstone)
            return true
        }
        let answer = self.kvKeys(prefix: prefix)
        part.index = answer.index
        part.watch = answer.watch
    }
}
