import PersistentMap
import Units

/// One row of a registry, for storing it and reading it back.
public enum Row: Sendable, Equatable {
    case kv(KVEntry)
    /// Where a key or a deleted tree's prefix used to be; `wallTime` in nanoseconds since 1970.
    case tombstone(key: ByteKey, index: UInt64, wallTime: UInt64)
    /// Nobody may lock the key until this wall time, nanoseconds since 1970.
    case lockDelay(key: ByteKey, until: UInt64)
    case session(Session)
    case node(Node)
    case service(ServiceInstance)
    case check(HealthCheck)
    /// "kv", "sessions", "nodes", "services", "checks", "service-extinction", "restore".
    case tableIndex(name: String, index: UInt64)
    /// The name in ASCII small letters.
    case serviceIndex(name: ByteKey, index: UInt64)
    case dedupClient(client: UInt64, floor: UInt64, kept: UInt64, seenWall: UInt64, seenIndex: UInt64)
    /// The result in an encoding of ours.
    case dedupResult(client: UInt64, sequence: UInt64, result: [UInt8])
    case revokedNode(id: UInt64, name: String)
    /// A restore under way, followed by its chunks in order of their offsets.
    case restoreStaging(id: UInt64, totalBytes: UInt64, hash: [UInt8], seenWall: UInt64)
    case restoreChunk(offset: UInt64, bytes: [UInt8])
    /// The state's hash after an earlier index: 16 bytes.
    case hashMark(index: UInt64, hash: [UInt8])
    /// "applied-index", "applied-term", "newest-wall-time", "feature-level", "sweep-client" (8 bytes, big-endian),
    /// "sweep-lock-delay".
    case meta(key: String, value: [UInt8])
}

/// Which rows a stream carries.
public enum RowScope: Sendable {
    /// All that another server needs to go on from here.
    case everything
    /// What a backup restores: keys, sessions, nodes, services, checks.
    case restorable
}

extension Registry {
    /// Every row, table by table, in order of the keys. Loaded into an empty registry in the same order they make an
    /// equal one: equal hashes and equal behaviour.
    public func forEachRow(_ scope: RowScope = .everything, _ body: (Row) throws -> Void) rethrows {
        if scope == .everything { try self.forEachMetaRow(body) }
        for (_, hashed) in self.kv.rows { try body(.kv(hashed.row)) }
        for (_, hashed) in self.sessions.rows { try body(.session(hashed.row)) }
        for (_, hashed) in self.nodes.rows { try body(.node(hashed.row)) }
        for (_, hashed) in self.services.rows { try body(.service(hashed.row)) }
        for (_, hashed) in self.checks.rows { try body(.check(hashed.row)) }
        if scope == .everything { try self.forEachBackgroundRow(body) }
    }

    private func forEachMetaRow(_ body: (Row) throws -> Void) rethrows {
        try body(.meta(key: "applied-index", value: bigEndian(self.appliedIndex.rawValue)))
        try body(.meta(key: "applied-term", value: bigEndian(self.appliedTerm.rawValue)))
        try body(.meta(key: "newest-wall-time", value: bigEndian(self.newestWallTime)))
        try body(.meta(key: "feature-level", value: bigEndian(UInt64(self.featureLevel))))
        try body(.meta(key: "sweep-client", value: bigEndian(self.sweepClient)))
        try body(.meta(key: "sweep-lock-delay", value: self.sweepLockDelay.bytes))
        for (name, index) in self.tableIndexes.named { try body(.tableIndex(name: name, index: index)) }
    }

    private func forEachBackgroundRow(_ body: (Row) throws -> Void) rethrows {
        for (key, hashed) in self.tombstones.rows {
            try body(.tombstone(key: key, index: hashed.row.index, wallTime: hashed.row.wallTime))
        }
        for (key, hashed) in self.lockDelays.rows { try body(.lockDelay(key: key, until: hashed.row.until)) }
        for (name, hashed) in self.serviceIndexes.rows { try body(.serviceIndex(name: name, index: hashed.row)) }
        for (client, hashed) in self.clients.rows {
            let window = hashed.row
            try body(
                .dedupClient(
                    client: client, floor: window.floor, kept: window.kept, seenWall: window.seenWall,
                    seenIndex: window.seenIndex))
        }
        for (key, hashed) in self.results.rows {
            var writer = RowWriter()
            hashed.row.write(to: &writer)
            try body(.dedupResult(client: key.client, sequence: key.sequence, result: writer.output))
        }
        for (id, hashed) in self.revoked.rows { try body(.revokedNode(id: id, name: hashed.row.name)) }
        if let staging = self.staging {
            try body(
                .restoreStaging(
                    id: staging.id, totalBytes: staging.totalBytes, hash: staging.hash, seenWall: staging.seenWall))
            for (offset, hashed) in staging.chunks.rows {
                try body(.restoreChunk(offset: offset, bytes: hashed.row.bytes))
            }
        }
        for (index, hash) in self.marks { try body(.hashMark(index: index, hash: Self.hashBytes(hash))) }
    }

    /// A registry from rows in the order in which `forEachRow` gave them.
    public init(rows: some Sequence<Row>) throws(RegistryError) {
        self.init()
        for row in rows { try self.load(row) }
    }

    /// Puts one row where it belongs, with all that leads to it.
    public mutating func load(_ row: Row) throws(RegistryError) {
        switch row {
        case .kv(let entry): self.loadKey(entry)
        case .tombstone(let key, let index, let wallTime):
            self.loadTombstone(key, Tombstone(index: index, wallTime: wallTime))
        case .lockDelay(let key, let until): self.lockDelays.set(key, LockDelay(until: until))
        case .session(let session): self.loadSession(session)
        case .node(let node): self.loadNode(node)
        case .service(let service): self.loadService(service)
        case .check(let check): self.loadCheck(check)
        case .tableIndex(let name, let index):
            guard self.tableIndexes.set(name, index) else { throw .badRow("a table named \(quoted(name))") }
        case .serviceIndex(let name, let index): self.serviceIndexes.set(name, index)
        case .dedupClient(let client, let floor, let kept, let seenWall, let seenIndex):
            self.clients.set(
                client, ClientWindow(floor: floor, kept: kept, seenWall: seenWall, seenIndex: seenIndex))
        case .dedupResult(let client, let sequence, let result):
            var reader = RowReader(result)
            self.results.set(ResultKey(client: client, sequence: sequence), try StoredResult(&reader))
        case .revokedNode(let id, let name): self.revoked.set(id, RevokedNode(name: name))
        case .restoreStaging(let id, let totalBytes, let hash, let seenWall):
            self.staging = RestoreStaging(id: id, totalBytes: totalBytes, hash: hash, seenWall: seenWall)
        case .restoreChunk(let offset, let bytes):
            guard self.staging?.received == offset else {
                throw .badRow("a restore's chunk at \(offset), out of order")
            }
            self.staging?.append(bytes)
        case .hashMark(let index, let hash):
            guard let number = Self.hashNumber(hash) else { throw .badRow("a hash of \(hash.count) bytes") }
            self.marks.set(index, number)
        case .meta(let key, let value): try self.loadMeta(key, value)
        }
    }

    private mutating func loadMeta(_ key: String, _ value: [UInt8]) throws(RegistryError) {
        if key == "sweep-lock-delay" {
            self.sweepLockDelay = ByteKey(value)
            return
        }
        guard value.count == 8 else { throw .badRow("\(quoted(key)) of \(value.count) bytes") }
        let number = value.reduce(0) { $0 << 8 | UInt64($1) }
        switch key {
        case "applied-index": self.appliedIndex = LogIndex(number)
        case "applied-term": self.appliedTerm = Term(number)
        case "newest-wall-time": self.newestWallTime = number
        case "feature-level": self.featureLevel = UInt32(truncatingIfNeeded: number)
        case "sweep-client": self.sweepClient = number
        default: throw .badRow("an unknown value \(quoted(key))")
        }
    }
}

private func bigEndian(_ number: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) }
}
