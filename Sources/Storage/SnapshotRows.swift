import Registry
import Units

/// Rows into tables, one prepared insertion per table.
final class SnapshotRowWriter {
    private let insertions: [String: SQLiteStatement]
    private(set) var count: UInt64 = 0

    init(_ file: SQLiteFile) throws(SQLiteFailure) {
        var insertions: [String: SQLiteStatement] = [:]
        for (table, columns) in SnapshotSchema.loadOrder {
            insertions[table] = try file.prepare(SnapshotSchema.insertion(table, columns: columns))
        }
        self.insertions = insertions
    }

    func write(_ row: Row) throws(SQLiteFailure) {
        self.count += 1
        switch row {
        case .meta(let key, let value): try self.insert("registry_meta", .text(key), .blob(value))
        case .tableIndex(let name, let index): try self.insert("table_indexes", .text(name), .number(index))
        case .kv(let entry): try self.write(entry)
        case .session(let session): try self.write(session)
        case .node(let node): try self.write(node)
        case .service(let service): try self.write(service)
        case .check(let check): try self.write(check)
        case .tombstone(let key, let index, let wallTime):
            try self.insert("tombstones", .bytes(key.bytes), .number(index), .number(wallTime))
        case .lockDelay(let key, let until): try self.insert("lock_delays", .bytes(key.bytes), .number(until))
        case .serviceIndex(let name, let index): try self.insert("service_indexes", .bytes(name.bytes), .number(index))
        case .dedupClient(let client, let floor, let kept, let seenWall, let seenIndex):
            try self.insert(
                "dedup_clients", .number(client), .number(floor), .number(kept), .number(seenWall), .number(seenIndex))
        case .dedupResult(let client, let sequence, let result):
            try self.insert("dedup_results", .number(client), .number(sequence), .blob(result))
        case .revokedNode(let id, let name): try self.insert("revoked_nodes", .number(id), .text(name))
        case .restoreStaging(let id, let totalBytes, let hash, let seenWall):
            try self.insert("restore_staging", .number(id), .number(totalBytes), .blob(hash), .number(seenWall))
        case .restoreChunk(let offset, let bytes): try self.insert("restore_chunks", .number(offset), .blob(bytes))
        case .hashMark(let index, let hash): try self.insert("hash_marks", .number(index), .blob(hash))
        }
    }

    private enum Value {
        case text(String)
        /// Text where it is UTF-8.
        case bytes([UInt8])
        case blob([UInt8])
        case number(UInt64)
    }

    private func insert(_ table: String, _ values: Value...) throws(SQLiteFailure) {
        guard let statement = self.insertions[table] else { return }
        for (offset, value) in values.enumerated() {
            let position = CInt(offset + 1)
            switch value {
            case .text(let text): statement.bind(position, text)
            case .blob(let bytes): statement.bind(position, bytes)
            case .number(let number): statement.bind(position, number)
            case .bytes(let bytes):
                if (try? UTF8Span(validating: bytes.span)) != nil {
                    statement.bind(position, utf8: bytes)
                } else {
                    statement.bind(position, bytes)
                }
            }
        }
        try statement.run()
    }

    private static func json(_ list: [String]) -> Value { .text(SmallJSON.list(list.map { .text($0) }).encoded) }
    private static func json(_ map: StringMap) -> Value {
        .text(SmallJSON.object(map.pairs.map { .init(key: $0.key, value: .text($0.value)) }).encoded)
    }

    private func write(_ entry: KVEntry) throws(SQLiteFailure) {
        try self.insert(
            "kv", .bytes(entry.key.bytes), .bytes(entry.value), .number(entry.flags), .number(entry.lockIndex),
            .text(entry.session), .number(entry.createIndex), .number(entry.modifyIndex))
    }

    private func write(_ session: Session) throws(SQLiteFailure) {
        let behavior =
            switch session.behavior {
            case .release: "release"
            case .delete: "delete"
            }
        try self.insert(
            "sessions", .text(session.id), .text(session.name), .text(session.node), Self.json(session.nodeChecks),
            Self.json(session.serviceChecks), .number(session.lockDelay.rawValue), .text(behavior),
            .number(session.ttl.rawValue), .text(session.ttlText), .number(session.createIndex),
            .number(session.modifyIndex))
    }

    private func write(_ node: Node) throws(SQLiteFailure) {
        try self.insert(
            "nodes", .text(node.name), .text(node.id), .text(node.address), .text(node.datacenter),
            Self.json(node.taggedAddresses), Self.json(node.meta), .number(node.createIndex), .number(node.modifyIndex))
    }

    private func write(_ service: ServiceInstance) throws(SQLiteFailure) {
        let addresses = SmallJSON.object(
            service.taggedAddresses.map {
                .init(key: $0.tag, value: .list([.text($0.address), .number(UInt64($0.port))]))
            })
        try self.insert(
            "services", .text(service.node), .text(service.id), .text(service.name), .text(service.kind),
            Self.json(service.tags), .text(service.address), .number(UInt64(service.port)), .text(addresses.encoded),
            Self.json(service.meta), .number(UInt64(service.weightPassing)), .number(UInt64(service.weightWarning)),
            .number(service.enableTagOverride ? 1 : 0), .text(service.socketPath), .bytes(service.proxyJSON),
            .bytes(service.connectJSON), .number(service.createIndex), .number(service.modifyIndex))
    }

    private func write(_ check: HealthCheck) throws(SQLiteFailure) {
        try self.insert(
            "checks", .text(check.node), .text(check.id), .text(check.name), .text(check.status.rawValue),
            .text(check.notes), .text(check.output), .text(check.serviceID), .text(check.serviceName),
            Self.json(check.serviceTags), .text(check.type), .text(check.interval), .text(check.timeout),
            .bytes(check.definitionJSON), .number(check.createIndex), .number(check.modifyIndex))
    }
}

/// Tables back into rows.
enum SnapshotRowReader {
    /// One row of `table`; the statement stands on it.
    static func row(_ table: String, _ at: SQLiteStatement) throws(StorageError) -> Row {
        switch table {
        case "registry_meta": return .meta(key: at.text(0), value: at.bytes(1))
        case "table_indexes": return .tableIndex(name: at.text(0), index: at.unsigned(1))
        case "kv":
            return .kv(
                KVEntry(
                    key: ByteKey(at.bytes(0)), value: at.bytes(1), flags: at.unsigned(2), lockIndex: at.unsigned(3),
                    session: at.text(4), createIndex: at.unsigned(5), modifyIndex: at.unsigned(6)))
        case "sessions": return .session(try Self.session(at))
        case "nodes":
            return .node(
                Node(
                    id: at.text(1), name: at.text(0), address: at.text(2), datacenter: at.text(3),
                    taggedAddresses: try Self.map(at.text(4)), meta: try Self.map(at.text(5)),
                    createIndex: at.unsigned(6), modifyIndex: at.unsigned(7)))
        case "services": return .service(try Self.service(at))
        case "checks": return .check(try Self.check(at))
        case "tombstones": return .tombstone(key: ByteKey(at.bytes(0)), index: at.unsigned(1), wallTime: at.unsigned(2))
        case "lock_delays": return .lockDelay(key: ByteKey(at.bytes(0)), until: at.unsigned(1))
        case "service_indexes": return .serviceIndex(name: ByteKey(at.bytes(0)), index: at.unsigned(1))
        case "dedup_clients":
            return .dedupClient(
                client: at.unsigned(0), floor: at.unsigned(1), kept: at.unsigned(2), seenWall: at.unsigned(3),
                seenIndex: at.unsigned(4))
        case "dedup_results":
            return .dedupResult(client: at.unsigned(0), sequence: at.unsigned(1), result: at.bytes(2))
        case "revoked_nodes": return .revokedNode(id: at.unsigned(0), name: at.text(1))
        case "restore_staging":
            return .restoreStaging(
                id: at.unsigned(0), totalBytes: at.unsigned(1), hash: at.bytes(2), seenWall: at.unsigned(3))
        case "restore_chunks": return .restoreChunk(offset: at.unsigned(0), bytes: at.bytes(1))
        case "hash_marks": return .hashMark(index: at.unsigned(0), hash: at.bytes(1))
        default: throw .corrupt("a snapshot's table \(table)")
        }
    }

    private static func session(_ at: SQLiteStatement) throws(StorageError) -> Session {
        let behavior: SessionBehavior
        switch at.text(6) {
        case "release": behavior = .release
        case "delete": behavior = .delete
        case let other: throw .corrupt("session behavior \(other)")
        }
        return Session(
            id: at.text(0), name: at.text(1), node: at.text(2), nodeChecks: try Self.list(at.text(3)),
            serviceChecks: try Self.list(at.text(4)), lockDelay: Nanoseconds(at.unsigned(5)), behavior: behavior,
            ttl: Nanoseconds(at.unsigned(7)), ttlText: at.text(8), createIndex: at.unsigned(9),
            modifyIndex: at.unsigned(10))
    }

    private static func service(_ at: SQLiteStatement) throws(StorageError) -> ServiceInstance {
        ServiceInstance(
            node: at.text(0), id: at.text(1), name: at.text(2), kind: at.text(3), tags: try Self.list(at.text(4)),
            address: at.text(5), port: try Self.small(at, 6), taggedAddresses: try Self.addresses(at.text(7)),
            meta: try Self.map(at.text(8)), weightPassing: try Self.small(at, 9), weightWarning: try Self.small(at, 10),
            enableTagOverride: at.bool(11), socketPath: at.text(12), proxyJSON: at.bytes(13), connectJSON: at.bytes(14),
            createIndex: at.unsigned(15), modifyIndex: at.unsigned(16))
    }

    private static func check(_ at: SQLiteStatement) throws(StorageError) -> HealthCheck {
        guard let status = CheckStatus(rawValue: at.text(3)) else { throw .corrupt("check status \(at.text(3))") }
        return HealthCheck(
            node: at.text(0), id: at.text(1), name: at.text(2), status: status, notes: at.text(4), output: at.text(5),
            serviceID: at.text(6), serviceName: at.text(7), serviceTags: try Self.list(at.text(8)), type: at.text(9),
            interval: at.text(10), timeout: at.text(11), definitionJSON: at.bytes(12), createIndex: at.unsigned(13),
            modifyIndex: at.unsigned(14))
    }

    private static func small(_ at: SQLiteStatement, _ column: CInt) throws(StorageError) -> UInt32 {
        guard let value = UInt32(exactly: at.integer(column)) else {
            throw .corrupt("the number \(at.integer(column))")
        }
        return value
    }

    private static func list(_ text: String) throws(StorageError) -> [String] {
        guard case .list(let items) = SmallJSON(text) else { throw .corrupt("a list in a snapshot: \(text)") }
        var list: [String] = []
        for item in items {
            guard case .text(let text) = item else { throw .corrupt("a list in a snapshot: \(text)") }
            list.append(text)
        }
        return list
    }

    private static func map(_ text: String) throws(StorageError) -> StringMap {
        guard case .object(let pairs) = SmallJSON(text) else { throw .corrupt("a map in a snapshot: \(text)") }
        var list: [StringMap.Pair] = []
        for pair in pairs {
            guard case .text(let value) = pair.value else { throw .corrupt("a map in a snapshot: \(text)") }
            list.append(StringMap.Pair(key: pair.key, value: value))
        }
        return StringMap(list)
    }

    private static func addresses(_ text: String) throws(StorageError) -> [TaggedServiceAddress] {
        guard case .object(let pairs) = SmallJSON(text) else { throw .corrupt("addresses in a snapshot: \(text)") }
        var list: [TaggedServiceAddress] = []
        for pair in pairs {
            guard case .list(let parts) = pair.value, parts.count == 2, case .text(let address) = parts[0],
                case .number(let number) = parts[1], let port = UInt32(exactly: number)
            else { throw .corrupt("addresses in a snapshot: \(text)") }
            list.append(TaggedServiceAddress(tag: pair.key, address: address, port: port))
        }
        return list
    }
}
