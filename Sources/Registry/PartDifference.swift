import Units

// What leads from one part to another, as bytes: version, whether it begins with nothing, the applied index, the indexes
// of tables and services, the keys of rows that are gone, and the rows that are new or have changed.

private let version: UInt64 = 1

private enum PartTable: UInt64 {
    case nodes = 1
    case services, checks, keys, tombstones
}

extension RegistryPart {
    /// - Parameters:
    ///   - older: what the reader has; nil: nothing.
    ///   - bytesMax: of the encoded rows.
    /// - Returns: nil when it would be larger than `bytesMax`.
    public func difference(from older: RegistryPart?, bytesMax: Int) -> [UInt8]? {
        var writer = DifferenceWriter(bytesMax: bytesMax)
        writer.add(.nodes, self.nodes, older?.nodes) { Row.node($0) }
        writer.add(.services, self.services, older?.services) { Row.service($0) }
        writer.add(.checks, self.checks, older?.checks) { Row.check($0) }
        writer.add(.keys, self.keys, older?.keys) { Row.kv($0) }
        writer.addTombstones(self.tombstones, older?.tombstones)
        guard !writer.isTooLarge else { return nil }
        var head = RowWriter()
        head.number(version)
        head.number(older == nil ? 1 : 0)
        head.number(self.appliedIndex.rawValue)
        for (_, index) in self.tableIndexes.named { head.number(index) }
        head.number(UInt64(self.serviceIndexes.count))
        for (name, index) in self.serviceIndexes {
            head.bytes(name.bytes)
            head.number(index)
        }
        head.number(writer.goneCount)
        head.output += writer.gone.output
        head.number(writer.putCount)
        return head.output + writer.puts.output
    }
}

private struct DifferenceWriter {
    let bytesMax: Int
    var gone = RowWriter()
    var goneCount: UInt64 = 0
    var puts = RowWriter()
    var putCount: UInt64 = 0
    private var frame = RowWriter()

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    var isTooLarge: Bool { self.gone.output.count + self.puts.output.count > self.bytesMax }

    /// Both in order of their keys.
    mutating func add<Stored>(
        _ table: PartTable, _ rows: RegistryPart.Rows<Stored>, _ older: RegistryPart.Rows<Stored>?,
        _ row: (Stored) -> Row
    ) {
        self.merge(rows.rows, older?.rows ?? [], table) { _, stored in row(stored) }
    }

    mutating func addTombstones(_ rows: RegistryPart.Rows<Tombstone>, _ older: RegistryPart.Rows<Tombstone>?) {
        self.merge(rows.rows, older?.rows ?? [], .tombstones) { key, tombstone in
            .tombstone(key: key, index: tombstone.index, wallTime: tombstone.wallTime)
        }
    }

    private mutating func merge<Stored>(
        _ new: [(key: ByteKey, hashed: HashedRow<Stored>)], _ old: [(key: ByteKey, hashed: HashedRow<Stored>)],
        _ table: PartTable, _ row: (ByteKey, Stored) -> Row
    ) {
        var position = 0
        for (key, hashed) in new {
            if self.isTooLarge { return }
            while position < old.count, old[position].key < key {
                self.drop(table, old[position].key)
                position += 1
            }
            if position < old.count, old[position].key == key {
                position += 1
                if old[position - 1].hashed === hashed || old[position - 1].hashed.hash == hashed.hash { continue }
            }
            self.put(row(key, hashed.row))
        }
        for (key, _) in old[position...] { self.drop(table, key) }
    }

    private mutating func drop(_ table: PartTable, _ key: ByteKey) {
        self.gone.number(table.rawValue)
        self.gone.bytes(key.bytes)
        self.goneCount += 1
    }

    private mutating func put(_ row: Row) {
        self.frame.output.removeAll(keepingCapacity: true)
        row.write(to: &self.frame)
        self.puts.bytes(self.frame.output)
        self.putCount += 1
    }
}

// MARK: - Following

/// A registry that holds one topic alone, kept by differences; its queries answer as the whole registry's do for
/// whatever the topic covers.
public struct PartialRegistry: Sendable {
    public private(set) var registry = Registry()
    /// Bytes of all rows as they came, roughly what they take in memory.
    public private(set) var bytes = 0

    public init() {}

    /// `RegistryPart.digest` of the part that this holds.
    public var digest: [UInt8] {
        let hashes = self.registry.hashes
        return RegistryPart.digest([hashes.nodes, hashes.services, hashes.checks, hashes.kv, hashes.tombstones])
    }

    /// Throws `badRow` for bytes that can't be read; nothing has changed then.
    public mutating func take(_ difference: [UInt8]) throws(RegistryError) {
        var reader = RowReader(difference)
        guard try reader.number() == version else { throw .badRow("a difference of another version") }
        var next = try reader.number() == 1 ? PartialRegistry() : self
        try next.takeIndexes(&reader)
        for _ in 0..<(try reader.count()) {
            guard let table = PartTable(rawValue: try reader.number()) else { throw .badRow("an unknown table") }
            next.unload(ByteKey(try reader.bytes()), from: table)
        }
        for _ in 0..<(try reader.count()) {
            let frame = try reader.bytes()
            var row = RowReader(frame)
            try next.load(try Row(&row))
            next.bytes += frame.count
        }
        guard reader.isAtEnd else { throw .badRow("bytes after the end of a difference") }
        self = next
    }

    private mutating func takeIndexes(_ reader: inout RowReader) throws(RegistryError) {
        self.registry.appliedIndex = LogIndex(try reader.number())
        for (name, _) in self.registry.tableIndexes.named {
            _ = self.registry.tableIndexes.set(name, try reader.number())
        }
        self.registry.serviceIndexes = HashedTable(seed: self.registry.serviceIndexes.seed)
        for _ in 0..<(try reader.count()) {
            self.registry.serviceIndexes.set(ByteKey(try reader.bytes()), try reader.number())
        }
    }

    private mutating func load(_ row: Row) throws(RegistryError) {
        switch row {
        case .node(let node):
            self.unload(foldedKey(node.name), from: .nodes)
            self.registry.loadNode(node)
        case .service(let service):
            self.unload(onNodeKey(service.node, service.id), from: .services)
            self.registry.loadService(service)
        case .check(let check):
            self.unload(onNodeKey(check.node, check.id), from: .checks)
            self.registry.loadCheck(check)
        case .kv(let entry):
            self.unload(entry.key, from: .keys)
            self.registry.loadKey(entry)
        case .tombstone(let key, let index, let wallTime):
            self.unload(key, from: .tombstones)
            self.registry.loadTombstone(key, Tombstone(index: index, wallTime: wallTime))
        case .lockDelay, .session, .tableIndex, .serviceIndex, .dedupClient, .dedupResult, .revokedNode,
            .restoreStaging, .restoreChunk, .hashMark, .meta:
            throw .badRow("a row that belongs to no view")
        }
    }

    /// Takes one row away with all that leads to it.
    private mutating func unload(_ key: ByteKey, from table: PartTable) {
        let row: Row?
        switch table {
        case .nodes: row = self.registry.unloadNode(key).map { .node($0) }
        case .services: row = self.registry.unloadService(key).map { .service($0) }
        case .checks: row = self.registry.unloadCheck(key).map { .check($0) }
        case .keys: row = self.registry.unloadKey(key).map { .kv($0) }
        case .tombstones:
            row = self.registry.unloadTombstone(key).map {
                .tombstone(key: key, index: $0.index, wallTime: $0.wallTime)
            }
        }
        guard let row else { return }
        var writer = RowWriter()
        row.write(to: &writer)
        self.bytes -= writer.output.count
    }
}

extension Registry {
    fileprivate mutating func unloadNode(_ key: ByteKey) -> Node? {
        let node = self.nodes.remove(key)
        if let node, !node.id.isEmpty { self.nodesByID.remove(foldedKey(node.id)) }
        return node
    }

    fileprivate mutating func unloadService(_ key: ByteKey) -> ServiceInstance? {
        let service = self.services.remove(key)
        if let service { self.servicesByName.remove(key, from: foldedKey(service.name)) }
        return service
    }

    fileprivate mutating func unloadCheck(_ key: ByteKey) -> HealthCheck? {
        let check = self.checks.remove(key)
        if let check { self.checksByStatus.remove(key, from: check.status.key) }
        return check
    }

    fileprivate mutating func unloadKey(_ key: ByteKey) -> KVEntry? {
        let entry = self.kv.remove(key)
        if let entry, !entry.session.isEmpty { self.heldKeys.remove(heldKey(entry.session, entry.key)) }
        return entry
    }

    fileprivate mutating func unloadTombstone(_ key: ByteKey) -> Tombstone? {
        let tombstone = self.tombstones.remove(key)
        if let tombstone { self.tombstoneQueue.remove(TombstoneTurn(index: tombstone.index, key: key)) }
        return tombstone
    }
}
