import Units

extension PersistentMap where Key == ByteKey {
    /// Every entry whose key starts with `prefix`, in ascending bytewise order, until `body` answers false.
    @inlinable
    public func forEach(prefix: ByteKey, _ body: (ByteKey, Value) throws -> Bool) rethrows {
        try self.forEach(from: prefix) { key, value in
            key.hasPrefix(prefix) ? try body(key, value) : false
        }
    }

    /// True when at least one key starts with `prefix`.
    @inlinable
    public func containsPrefix(_ prefix: ByteKey) -> Bool {
        self.lowerBound(prefix)?.key.hasPrefix(prefix) ?? false
    }

    /// The keys that start with `prefix`, in ascending order.
    @inlinable
    public func keys(prefix: ByteKey) -> [ByteKey] {
        var keys: [ByteKey] = []
        self.forEach(prefix: prefix) { key, _ in
            keys.append(key)
            return true
        }
        return keys
    }
}
