import PersistentMap
import Units

/// Where a row's canonical form goes: into its hash, or into a row stream. One form for both, so that what is hashed is
/// what is sent.
protocol RowSink {
    mutating func number(_ value: UInt64)
    mutating func bytes(_ value: [UInt8])
    mutating func text(_ value: String)
}

extension RowSink {
    mutating func texts(_ values: [String]) {
        self.number(UInt64(values.count))
        for value in values { self.text(value) }
    }

    mutating func map(_ value: StringMap) {
        self.number(UInt64(value.pairs.count))
        for pair in value.pairs {
            self.text(pair.key)
            self.text(pair.value)
        }
    }
}

protocol CanonicalRow: Sendable {
    /// Every field in a fixed order, indexes included.
    func write<Sink: RowSink>(to sink: inout Sink)
}

/// Two lanes of 64 bits, each folded by a full-width multiplication per word. It is there to find servers whose states
/// differ by mistake; it is no defence against somebody who looks for collisions.
struct RowHasher: RowSink {
    private var first: UInt64
    private var second: UInt64

    init(seed: UInt64) {
        self.first = 0x243F_6A88_85A3_08D3 ^ seed
        self.second = 0x1319_8A2E_0370_7344 &+ seed
    }

    @inline(__always)
    mutating func number(_ value: UInt64) {
        let left = (self.first ^ value).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        let right = (self.second &+ value).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        // The other lane's old value keeps a lane alive whose product is zero.
        let turned = (self.second << 23) | (self.second >> 41)
        self.second = (right.high ^ right.low) &+ ((self.first << 29) | (self.first >> 35))
        self.first = (left.high ^ left.low) &+ turned
    }

    mutating func bytes(_ value: [UInt8]) {
        value.withUnsafeBytes { self.raw($0) }
    }

    mutating func text(_ value: String) {
        var value = value
        value.withUTF8 { self.raw(UnsafeRawBufferPointer($0)) }
    }

    private mutating func raw(_ bytes: UnsafeRawBufferPointer) {
        self.number(UInt64(bytes.count))
        var offset = 0
        while offset + 8 <= bytes.count {
            self.number(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        if offset < bytes.count {
            var tail: UInt64 = 0
            var shift: UInt64 = 0
            while offset < bytes.count {
                tail |= UInt64(bytes[offset]) << shift
                shift += 8
                offset += 1
            }
            self.number(tail)
        }
    }

    func finished() -> UInt128 {
        var last = self
        last.number(0xA409_3822_299F_31D0)
        last.number(0x082E_FA98_EC4E_6C89)
        return UInt128(last.first) << 64 | UInt128(last.second)
    }
}

/// A row on the heap: a table's nodes hold one reference to it, so that copying a node costs the same however many texts
/// its rows have.
final class HashedRow<Row: CanonicalRow>: Sendable {
    let row: Row
    let hash: UInt128

    init(row: Row, hash: UInt128) {
        self.row = row
        self.hash = hash
    }
}

/// A table that keeps the sum, modulo 2¹²⁸, of its rows' hashes: it says the same in whatever order rows came and went.
struct HashedTable<Key: Comparable & CanonicalRow, Row: CanonicalRow>: Sendable {
    private(set) var rows = PersistentMap<Key, HashedRow<Row>>()
    private(set) var hash: UInt128 = 0
    /// Tells equal rows of different tables apart.
    let seed: UInt64

    init(seed: UInt64) { self.seed = seed }

    var count: Int { self.rows.count }
    var isEmpty: Bool { self.rows.isEmpty }

    func get(_ key: Key) -> Row? { self.rows.get(key)?.row }
    func contains(_ key: Key) -> Bool { self.rows.contains(key) }
    /// The key that stands in the table, to be shared; `key` when there is none.
    func storedKey(_ key: Key) -> Key {
        guard let stored = self.rows.lowerBound(key)?.key, stored == key else { return key }
        return stored
    }

    mutating func set(_ key: Key, _ row: Row) {
        let hash = self.rowHash(key, row)
        let replaced = self.rows.set(key, HashedRow(row: row, hash: hash))
        self.hash = self.hash &+ hash &- (replaced?.hash ?? 0)
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Row? {
        guard let removed = self.rows.remove(key) else { return nil }
        self.hash = self.hash &- removed.hash
        return removed.row
    }

    func forEach(_ body: (Key, Row) -> Void) {
        self.rows.forEach { body($0, $1.row) }
    }

    /// The sum made anew from every row; what `hash` must equal.
    func recomputedHash() -> UInt128 {
        var sum: UInt128 = 0
        self.rows.forEach { key, hashed in sum = sum &+ self.rowHash(key, hashed.row) }
        return sum
    }

    private func rowHash(_ key: Key, _ row: Row) -> UInt128 {
        var hasher = RowHasher(seed: self.seed)
        key.write(to: &hasher)
        row.write(to: &hasher)
        return hasher.finished()
    }
}

extension HashedTable where Key == ByteKey {
    /// In order over the keys with this prefix until `body` answers false.
    func forEach(prefix: ByteKey, _ body: (ByteKey, Row) -> Bool) {
        self.rows.forEach(prefix: prefix) { body($0, $1.row) }
    }
}

extension ByteKey: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) { sink.bytes(self.bytes) }
}

extension UInt64: CanonicalRow {
    func write<Sink: RowSink>(to sink: inout Sink) { sink.number(self) }
}

/// One hash for each table of a registry at an index.
public struct StateHashes: Sendable, Equatable {
    public var kv: UInt128 = 0
    public var tombstones: UInt128 = 0
    public var lockDelays: UInt128 = 0
    public var sessions: UInt128 = 0
    public var nodes: UInt128 = 0
    public var services: UInt128 = 0
    public var checks: UInt128 = 0
    /// The indexes per table and per service.
    public var indexes: UInt128 = 0
    /// The dedup windows.
    public var clients: UInt128 = 0
    /// Feature level, revoked nodes and a restore under way.
    public var cluster: UInt128 = 0

    /// With the names under which they are shown, in a fixed order.
    public var named: [(name: String, hash: UInt128)] {
        [
            ("kv", self.kv), ("tombstones", self.tombstones), ("lock-delays", self.lockDelays),
            ("sessions", self.sessions), ("nodes", self.nodes), ("services", self.services), ("checks", self.checks),
            ("indexes", self.indexes), ("clients", self.clients), ("cluster", self.cluster),
        ]
    }

    /// Over all tables: 16 bytes.
    public var combined: [UInt8] { Self.digest(self.named.map(\.hash)) }

    /// Over what a backup restores (keys, sessions, nodes, services, checks): 16 bytes. Stands in a RestoreBegin's
    /// `sha256` field.
    public var restorable: [UInt8] {
        Self.digest([self.kv, self.sessions, self.nodes, self.services, self.checks])
    }

    private static func digest(_ hashes: [UInt128]) -> [UInt8] {
        var hasher = RowHasher(seed: UInt64(hashes.count))
        for hash in hashes {
            hasher.number(UInt64(truncatingIfNeeded: hash >> 64))
            hasher.number(UInt64(truncatingIfNeeded: hash))
        }
        let finished = hasher.finished()
        return (0..<16).map { UInt8(truncatingIfNeeded: finished >> (120 - 8 * $0)) }
    }
}
