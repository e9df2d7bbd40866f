import PersistentMap
import Units

extension Registry {
    /// `GET /v1/kv/:key`. A missing key carries the highest index of all keys and tombstones.
    public func kvEntry(_ key: ByteKey) -> Answer<KVEntry?> {
        let entry = self.kv.get(key)
        return Answer(
            value: entry, index: entry?.modifyIndex ?? self.tableIndexes.kv, watch: [WatchKey(table: .kv, key: key)])
    }

    /// `?recurse`: in bytewise order. The index is the highest under the prefix, tombstones included; of all keys where
    /// there is neither, or where the prefix is empty.
    public func kvEntries(prefix: ByteKey) -> Answer<[KVEntry]> {
        var entries: [KVEntry] = []
        var highest: UInt64 = 0
        self.kv.forEach(prefix: prefix) { _, entry in
            entries.append(entry)
            highest = max(highest, entry.modifyIndex)
            return true
        }
        return self.prefixAnswer(entries, prefix, highest)
    }

    /// `?keys`: in bytewise order; with a separator, whatever follows its first occurrence after the prefix is cut off
    /// and what then is equal stands once.
    public func kvKeys(prefix: ByteKey, separator: ByteKey = ByteKey([])) -> Answer<[ByteKey]> {
        var keys: [ByteKey] = []
        var highest: UInt64 = 0
        self.kv.forEach(prefix: prefix) { key, entry in
            highest = max(highest, entry.modifyIndex)
            let shown = Self.cut(key, after: separator, from: prefix.count)
            if keys.last != shown { keys.append(shown) }
            return true
        }
        return self.prefixAnswer(keys, prefix, highest)
    }

    /// Number of keys.
    public var kvCount: Int { self.kv.count }

    private func prefixAnswer<Value: Sendable>(_ value: Value, _ prefix: ByteKey, _ highest: UInt64) -> Answer<Value> {
        var index = self.tableIndexes.kv
        if !prefix.isEmpty {
            var under = highest
            self.tombstones.forEach(prefix: prefix) { _, tombstone in
                under = max(under, tombstone.index)
                return true
            }
            if under > 0 { index = max(under, self.tableIndexes.restore) }
        }
        return Answer(value: value, index: index, watch: [WatchKey(table: .kv, key: prefix, isPrefix: true)])
    }

    private static func cut(_ key: ByteKey, after separator: ByteKey, from start: Int) -> ByteKey {
        guard !separator.isEmpty, key.count >= start + separator.count else { return key }
        let bytes = key.bytes
        for position in start...(bytes.count - separator.count)
        where bytes[position..<(position + separator.count)].elementsEqual(separator.bytes) {
            return ByteKey(Array(bytes[..<(position + separator.count)]))
        }
        return key
    }
}
