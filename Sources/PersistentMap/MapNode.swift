/// One node of the B+ tree. A leaf has `values` as many as `keys` and no children; an inner node has one child more
/// than it has keys, and `keys[i]` is at most every key below `children[i + 1]` and larger than every key before it.
///
/// `@unchecked Sendable` is right: a node is changed only by a map that holds the one reference to it (checked on the
/// way down by `isKnownUniquelyReferenced`); a node that two maps share is copied first.
@usableFromInline
final class MapNode<Key: Comparable & Sendable, Value: Sendable>: @unchecked Sendable {
    // That nobody reads what another changes is what the one reference is for; it is not checked anew at each access.
    @exclusivity(unchecked) @usableFromInline var keys: [Key]
    @exclusivity(unchecked) @usableFromInline var values: [Value]
    @exclusivity(unchecked) @usableFromInline var children: [MapNode]

    @inlinable
    init(keys: [Key], values: [Value], children: [MapNode]) {
        self.keys = keys
        self.values = values
        self.children = children
    }

    @inlinable var isLeaf: Bool { self.children.isEmpty }

    /// What the size limits speak of: entries of a leaf, children of an inner node.
    @inlinable var width: Int { self.children.isEmpty ? self.keys.count : self.children.count }

    /// Shares the arrays until one of them is written.
    @inlinable
    func copy() -> MapNode {
        MapNode(keys: self.keys, values: self.values, children: self.children)
    }

    /// The first position whose key is not smaller than `key`.
    @inlinable
    func lowerSlot(_ key: Key) -> Int {
        var low = 0
        var high = self.keys.count
        while low < high {
            let middle = (low + high) >> 1
            if self.keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The child under which `key` stands or would stand.
    @inlinable
    func childSlot(_ key: Key) -> Int {
        var low = 0
        var high = self.keys.count
        while low < high {
            let middle = (low + high) >> 1
            if key < self.keys[middle] { high = middle } else { low = middle + 1 }
        }
        return low
    }

    @inlinable
    func makeChildUnique(_ slot: Int) {
        if !isKnownUniquelyReferenced(&self.children[slot]) {
            self.children[slot] = self.children[slot].copy()
        }
    }
}

/// What a split hands to the node above: a new right neighbour and the smallest key under it.
@usableFromInline
struct MapSplit<Key: Comparable & Sendable, Value: Sendable> {
    @usableFromInline var key: Key
    @usableFromInline var node: MapNode<Key, Value>

    @inlinable
    init(key: Key, node: MapNode<Key, Value>) {
        self.key = key
        self.node = node
    }
}

/// Nodes hold at most this many entries or children.
@inlinable var mapWidthLimit: Int { 32 }
/// A node narrower than this is joined with a neighbour.
@inlinable var mapWidthFloor: Int { 8 }

extension MapNode {
    /// Needs a node that nobody else refers to. Returns the value that stood there and a split to hand upwards.
    @inlinable
    func set(_ key: Key, _ value: Value) -> (replaced: Value?, split: MapSplit<Key, Value>?) {
        if self.children.isEmpty {
            let slot = self.lowerSlot(key)
            if slot < self.keys.count, self.keys[slot] == key {
                let old = self.values[slot]
                self.values[slot] = value
                return (old, nil)
            }
            self.keys.insert(key, at: slot)
            self.values.insert(value, at: slot)
            if self.keys.count <= mapWidthLimit { return (nil, nil) }
            return (nil, self.splitLeaf(appended: slot == self.keys.count - 1))
        }
        let slot = self.childSlot(key)
        self.makeChildUnique(slot)
        let (replaced, split) = self.children[slot].set(key, value)
        guard let split else { return (replaced, nil) }
        self.keys.insert(split.key, at: slot)
        self.children.insert(split.node, at: slot + 1)
        if self.children.count <= mapWidthLimit { return (replaced, nil) }
        return (replaced, self.splitInner(appended: slot == self.children.count - 2))
    }

    /// Keys that arrive in order leave full leaves behind: the new key alone goes to the right.
    @inlinable
    func splitLeaf(appended: Bool) -> MapSplit<Key, Value> {
        let middle = appended ? self.keys.count - 1 : self.keys.count / 2
        let right = MapNode(keys: Array(self.keys[middle...]), values: Array(self.values[middle...]), children: [])
        self.keys = Array(self.keys[..<middle])
        self.values = Array(self.values[..<middle])
        return MapSplit(key: right.keys[0], node: right)
    }

    @inlinable
    func splitInner(appended: Bool) -> MapSplit<Key, Value> {
        let middle = appended ? self.children.count - 2 : self.children.count / 2
        let between = self.keys[middle - 1]
        let right = MapNode(keys: Array(self.keys[middle...]), values: [], children: Array(self.children[middle...]))
        self.keys = Array(self.keys[..<(middle - 1)])
        self.children = Array(self.children[..<middle])
        return MapSplit(key: between, node: right)
    }

    /// Needs a node that nobody else refers to, and a key that is there (looked up first, so that removing an absent
    /// key copies nothing).
    @inlinable
    func remove(_ key: Key) -> Value? {
        if self.children.isEmpty {
            let slot = self.lowerSlot(key)
            guard slot < self.keys.count, self.keys[slot] == key else { return nil }
            self.keys.remove(at: slot)
            return self.values.remove(at: slot)
        }
        let slot = self.childSlot(key)
        self.makeChildUnique(slot)
        let old = self.children[slot].remove(key)
        if self.children[slot].width < mapWidthFloor, self.children.count > 1 {
            self.join(at: slot == 0 ? 0 : slot - 1)
        }
        return old
    }

    /// Joins the children at `slot` and `slot + 1` into one, or shares their entries evenly when one can't hold all.
    /// Both are built anew, so it does not matter who else refers to the old ones.
    @inlinable
    func join(at slot: Int) {
        let left = self.children[slot]
        let right = self.children[slot + 1]
        let together = MapNode(
            keys: left.isLeaf ? left.keys + right.keys : left.keys + [self.keys[slot]] + right.keys,
            values: left.values + right.values, children: left.children + right.children)
        self.children[slot] = together
        if together.width <= mapWidthLimit {
            self.keys.remove(at: slot)
            self.children.remove(at: slot + 1)
            return
        }
        let split = together.isLeaf ? together.splitLeaf(appended: false) : together.splitInner(appended: false)
        self.keys[slot] = split.key
        self.children[slot + 1] = split.node
    }

    /// In order from the first key that is not below `bound`; `body` answers false to stop. Returns false when stopped.
    @inlinable
    func forEach(from bound: Key?, _ body: (Key, Value) throws -> Bool) rethrows -> Bool {
        if self.children.isEmpty {
            var slot = bound.map { self.lowerSlot($0) } ?? 0
            while slot < self.keys.count {
                if try !body(self.keys[slot], self.values[slot]) { return false }
                slot += 1
            }
            return true
        }
        let first = bound.map { self.childSlot($0) } ?? 0
        if try !self.children[first].forEach(from: bound, body) { return false }
        var slot = first + 1
        while slot < self.children.count {
            if try !self.children[slot].forEach(from: nil, body) { return false }
            slot += 1
        }
        return true
    }

    /// For tests: depth of the tree when every promise of the layout holds, nil when one is broken.
    @usableFromInline
    func checkedDepth(isRoot: Bool, low: Key?, high: Key?) -> Int? {
        for index in self.keys.indices {
            if index > 0, !(self.keys[index - 1] < self.keys[index]) { return nil }
            if let low, self.keys[index] < low { return nil }
            if let high, !(self.keys[index] < high) { return nil }
        }
        if self.width > mapWidthLimit { return nil }
        if self.isLeaf { return self.values.count == self.keys.count ? 1 : nil }
        guard self.values.isEmpty, self.children.count == self.keys.count + 1 else { return nil }
        if isRoot, self.children.count < 2 { return nil }
        var depth: Int?
        for (index, child) in self.children.enumerated() {
            let below = child.checkedDepth(
                isRoot: false, low: index == 0 ? low : self.keys[index - 1],
                high: index == self.keys.count ? high : self.keys[index])
            guard let below, !child.keys.isEmpty || !child.children.isEmpty, depth == nil || depth == below else {
                return nil
            }
            depth = below
        }
        return depth.map { $0 + 1 }
    }
}
