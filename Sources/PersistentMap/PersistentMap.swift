/// An ordered map with value semantics whose copies cost one reference: a B+ tree with nodes of up to 32 entries, of
/// which a change copies only the path from the root to one leaf, and not even that where nobody else looks.
///
/// Look-ups, changes and bounds take O(log n); a scan takes O(log n + what it visits). Iteration is in ascending order
/// of the keys, always. A copy never sees what happens to the map that it was copied from.
public struct PersistentMap<Key: Comparable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline var root: MapNode<Key, Value>
    @usableFromInline var entryCount: Int

    @inlinable
    public init() {
        self.root = MapNode(keys: [], values: [], children: [])
        self.entryCount = 0
    }

    /// Number of entries.
    @inlinable public var count: Int { self.entryCount }
    @inlinable public var isEmpty: Bool { self.entryCount == 0 }

    /// Setting nil removes the key.
    @inlinable
    public subscript(key: Key) -> Value? {
        get { self.get(key) }
        set {
            if let newValue { self.set(key, newValue) } else { self.remove(key) }
        }
    }

    @inlinable
    public func get(_ key: Key) -> Value? {
        var node = self.root
        while !node.children.isEmpty { node = node.children[node.childSlot(key)] }
        let slot = node.lowerSlot(key)
        return slot < node.keys.count && node.keys[slot] == key ? node.values[slot] : nil
    }

    @inlinable
    public func contains(_ key: Key) -> Bool {
        var node = self.root
        while !node.children.isEmpty { node = node.children[node.childSlot(key)] }
        let slot = node.lowerSlot(key)
        return slot < node.keys.count && node.keys[slot] == key
    }

    /// Returns the value that stood there before. The key that stood there first is kept.
    @inlinable @discardableResult
    public mutating func set(_ key: Key, _ value: Value) -> Value? {
        if !isKnownUniquelyReferenced(&self.root) { self.root = self.root.copy() }
        let (replaced, split) = self.root.set(key, value)
        if let split {
            self.root = MapNode(keys: [split.key], values: [], children: [self.root, split.node])
        }
        if replaced == nil { self.entryCount += 1 }
        return replaced
    }

    /// Returns the removed value; nil, and no work done, when the key is absent.
    @inlinable @discardableResult
    public mutating func remove(_ key: Key) -> Value? {
        guard self.contains(key) else { return nil }
        if !isKnownUniquelyReferenced(&self.root) { self.root = self.root.copy() }
        let old = self.root.remove(key)
        if self.root.children.count == 1 { self.root = self.root.children[0] }
        self.entryCount -= 1
        return old
    }

    @inlinable
    public mutating func removeAll() { self = PersistentMap() }

    /// The entry with the smallest key.
    @inlinable
    public var first: (key: Key, value: Value)? {
        var node = self.root
        while let child = node.children.first { node = child }
        return node.keys.isEmpty ? nil : (node.keys[0], node.values[0])
    }

    /// The entry with the largest key.
    @inlinable
    public var last: (key: Key, value: Value)? {
        var node = self.root
        while let child = node.children.last { node = child }
        let slot = node.keys.count - 1
        return slot < 0 ? nil : (node.keys[slot], node.values[slot])
    }

    /// The first entry whose key is not smaller than `key`.
    @inlinable
    public func lowerBound(_ key: Key) -> (key: Key, value: Value)? {
        var found: (key: Key, value: Value)?
        _ = self.root.forEach(from: key) { foundKey, value in
            found = (foundKey, value)
            return false
        }
        return found
    }

    /// The first entry whose key is larger than `key`.
    @inlinable
    public func upperBound(_ key: Key) -> (key: Key, value: Value)? {
        var found: (key: Key, value: Value)?
        _ = self.root.forEach(from: key) { foundKey, value in
            if !(key < foundKey) { return true }
            found = (foundKey, value)
            return false
        }
        return found
    }

    /// Every entry in ascending order.
    @inlinable
    public func forEach(_ body: (Key, Value) throws -> Void) rethrows {
        _ = try self.root.forEach(from: nil) { key, value in
            try body(key, value)
            return true
        }
    }

    /// In ascending order from the first key that is not smaller than `bound`, until `body` answers false.
    @inlinable
    public func forEach(from bound: Key, _ body: (Key, Value) throws -> Bool) rethrows {
        _ = try self.root.forEach(from: bound, body)
    }

    /// In ascending order over `low ..< high`, until `body` answers false.
    @inlinable
    public func forEach(from low: Key, below high: Key, _ body: (Key, Value) throws -> Bool) rethrows {
        _ = try self.root.forEach(from: low) { key, value in
            key < high ? try body(key, value) : false
        }
    }

    /// True when the tree's inner promises hold (order, widths, equal depth, the count); for tests.
    public var isWellFormed: Bool {
        var seen = 0
        self.forEach { _, _ in seen += 1 }
        return seen == self.entryCount && self.root.checkedDepth(isRoot: true, low: nil, high: nil) != nil
    }
}

extension PersistentMap: Sequence {
    public struct Iterator: IteratorProtocol {
        /// The path to the next leaf: an inner node and the child to visit next.
        @usableFromInline var path: [(node: MapNode<Key, Value>, next: Int)]
        @usableFromInline var leaf: MapNode<Key, Value>
        @usableFromInline var slot = 0

        @inlinable
        init(root: MapNode<Key, Value>) {
            self.path = []
            self.leaf = root
            self.descend(from: root)
        }

        @inlinable
        mutating func descend(from node: MapNode<Key, Value>) {
            var node = node
            while let child = node.children.first {
                self.path.append((node, 1))
                node = child
            }
            self.leaf = node
            self.slot = 0
        }

        @inlinable
        public mutating func next() -> (key: Key, value: Value)? {
            while self.slot >= self.leaf.keys.count {
                guard let (node, child) = self.path.last else { return nil }
                if child < node.children.count {
                    self.path[self.path.count - 1].next += 1
                    self.descend(from: node.children[child])
                } else {
                    self.path.removeLast()
                }
            }
            defer { self.slot += 1 }
            return (self.leaf.keys[self.slot], self.leaf.values[self.slot])
        }
    }

    /// Over the map as it is now; later changes are not seen.
    @inlinable
    public func makeIterator() -> Iterator { Iterator(root: self.root) }

    @inlinable public var underestimatedCount: Int { self.entryCount }
}
