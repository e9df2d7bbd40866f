import PersistentMap
import Protocol
import Units

/// A backup on its way through the log. It is part of the state, so that a snapshot taken half-way carries it.
struct RestoreStaging: Sendable {
    let id: UInt64
    let totalBytes: UInt64
    /// `StateHashes.restorable` of what the stream holds.
    let hash: [UInt8]
    var seenWall: UInt64
    private(set) var received: UInt64 = 0
    private(set) var chunks = HashedTable<UInt64, RestoreChunk>(seed: 12)

    init(id: UInt64, totalBytes: UInt64, hash: [UInt8], seenWall: UInt64) {
        self.id = id
        self.totalBytes = totalBytes
        self.hash = hash
        self.seenWall = seenWall
    }

    mutating func append(_ bytes: [UInt8]) {
        self.chunks.set(self.received, RestoreChunk(bytes: bytes))
        self.received += UInt64(bytes.count)
    }
}

struct RestoreChunk: CanonicalRow {
    var bytes: [UInt8]
    func write<Sink: RowSink>(to sink: inout Sink) { sink.bytes(self.bytes) }
}

extension Registry {
    /// A backup may not be larger: 1 GiB.
    public static let largestRestore: UInt64 = 1 << 30

    /// A new restore takes the place of one that was not finished.
    mutating func applyRestoreBegin(_ begin: LogRestoreBegin, _ context: ApplyContext) throws(CommandFailure) {
        guard begin.totalBytes <= Self.largestRestore else {
            throw .invalid("a backup of \(begin.totalBytes) bytes is larger than \(Self.largestRestore)")
        }
        guard begin.sha256.count == 16 else { throw .invalid("the hash of a backup has 16 bytes") }
        self.staging = RestoreStaging(
            id: begin.id, totalBytes: begin.totalBytes, hash: begin.sha256.array, seenWall: context.now)
    }

    mutating func applyRestoreChunk(_ chunk: LogRestoreChunk, _ context: ApplyContext) throws(CommandFailure) {
        guard let staging = self.staging, staging.id == chunk.id else {
            throw .refused(.failureNotFound, "no restore \(chunk.id) is under way")
        }
        guard chunk.offset == staging.received else {
            throw .invalid("a piece at \(chunk.offset) where \(staging.received) comes next")
        }
        guard !chunk.data.isEmpty, UInt64(chunk.data.count) <= staging.totalBytes - staging.received else {
            throw .invalid("a piece of \(chunk.data.count) bytes at \(chunk.offset) of \(staging.totalBytes)")
        }
        self.staging?.append(chunk.data.array)
        self.staging?.seenWall = context.now
    }

    /// Keys, sessions and catalog become the backup's; dedup windows, revoked nodes and the feature level stay, since
    /// they belong to this cluster's log.
    mutating func applyRestoreCommit(
        _ commit: LogRestoreCommit, _ context: inout ApplyContext
    ) throws(CommandFailure) {
        guard let staging = self.staging, staging.id == commit.id else {
            throw .refused(.failureNotFound, "no restore \(commit.id) is under way")
        }
        guard staging.received == staging.totalBytes else {
            throw .invalid("\(staging.received) of \(staging.totalBytes) bytes have arrived")
        }
        self.staging = nil
        var restored: Registry
        do {
            restored = try Self.decodeRestorable(staging)
        } catch {
            throw .invalid(error.description)
        }
        guard restored.hashes.restorable == staging.hash else {
            throw .invalid("the backup's rows do not have the hash that it names")
        }
        restored.limitIndexes(to: context.index)
        self.adopt(restored, context.index)
        for table in Table.allCases { context.touch(table, ByteKey([]), isPrefix: true) }
        context.everythingTouched = true
    }

    private static func decodeRestorable(_ staging: RestoreStaging) throws(RegistryError) -> Registry {
        var restored = Registry()
        var decoder = RowStreamDecoder()
        for (_, chunk) in staging.chunks.rows {
            decoder.feed(chunk.row.bytes)
            while let row = try decoder.next() {
                switch row {
                case .kv, .session, .node, .service, .check: try restored.load(row)
                case .tombstone, .lockDelay, .tableIndex, .serviceIndex, .dedupClient, .dedupResult, .revokedNode,
                    .restoreStaging, .restoreChunk, .hashMark, .meta:
                    break
                }
            }
        }
        try decoder.finish()
        return restored
    }

    /// Rows keep their own indexes. But a backup of another cluster may name indexes that this log has yet to reach; a
    /// later write would then get a number that an earlier state of the same key had, and a compare-and-set would hold
    /// where it must not. Those rows count as written now.
    private mutating func limitIndexes(to limit: UInt64) {
        for (_, hashed) in self.kv.rows { if let row = limited(hashed.row, to: limit) { self.loadKey(row) } }
        for (_, hashed) in self.sessions.rows { if let row = limited(hashed.row, to: limit) { self.loadSession(row) } }
        for (_, hashed) in self.nodes.rows { if let row = limited(hashed.row, to: limit) { self.loadNode(row) } }
        for (_, hashed) in self.services.rows { if let row = limited(hashed.row, to: limit) { self.loadService(row) } }
        for (_, hashed) in self.checks.rows { if let row = limited(hashed.row, to: limit) { self.loadCheck(row) } }
    }

    /// Every table and every service counts as changed now, so that no index stays equal over different content.
    private mutating func adopt(_ restored: Registry, _ index: UInt64) {
        self.kv = restored.kv
        self.heldKeys = restored.heldKeys
        self.sessions = restored.sessions
        self.sessionsByNode = restored.sessionsByNode
        self.sessionsByCheck = restored.sessionsByCheck
        self.nodes = restored.nodes
        self.nodesByID = restored.nodesByID
        self.services = restored.services
        self.servicesByName = restored.servicesByName
        self.checks = restored.checks
        self.checksByStatus = restored.checksByStatus
        self.tombstones = restored.tombstones
        self.tombstoneQueue = restored.tombstoneQueue
        self.lockDelays = restored.lockDelays
        self.sweepLockDelay = restored.sweepLockDelay
        self.serviceIndexes = restored.serviceIndexes
        for (_, hashed) in self.services.rows { self.serviceIndexes.set(foldedKey(hashed.row.name), index) }
        self.tableIndexes = TableIndexes(
            kv: index, sessions: index, nodes: index, services: index, checks: index, serviceExtinction: index,
            restore: index)
    }
}

private protocol IndexedRow {
    var createIndex: UInt64 { get set }
    var modifyIndex: UInt64 { get set }
}

extension KVEntry: IndexedRow {}
extension Session: IndexedRow {}
extension Node: IndexedRow {}
extension ServiceInstance: IndexedRow {}
extension HealthCheck: IndexedRow {}

/// The row with indexes of at most `limit`; nil when they are so already.
private func limited<Row: IndexedRow>(_ row: Row, to limit: UInt64) -> Row? {
    guard max(row.createIndex, row.modifyIndex) > limit else { return nil }
    var row = row
    row.createIndex = min(row.createIndex, limit)
    row.modifyIndex = min(row.modifyIndex, limit)
    return row
}
