import Units

/// What a watch can stand on.
public enum Table: UInt8, Sendable, Hashable, CaseIterable {
    /// Keys as they are.
    case kv
    /// Session ids.
    case sessions
    /// Node names in ASCII lower case.
    case nodes
    /// Service names in ASCII lower case, touched by all that changes what a health query of the service answers; and
    /// a zero byte with a node's name, touched when the services of that node change.
    case services
    /// Node names in ASCII lower case: the checks of that node.
    case checks
}

/// What a query looked at: a key, or every key with a prefix, of one table.
public struct WatchKey: Sendable, Hashable {
    public var table: Table
    public var key: ByteKey
    public var isPrefix: Bool

    public init(table: Table, key: ByteKey, isPrefix: Bool = false) {
        self.table = table
        self.key = key
        self.isPrefix = isPrefix
    }

    /// Every key of a table.
    public static func all(_ table: Table) -> WatchKey {
        WatchKey(table: table, key: ByteKey([]), isPrefix: true)
    }

    /// True when the change may alter what a query that handed out this key answers. A woken waiter asks again and
    /// goes on waiting when the answer's index has not moved.
    public func isTouched(by touch: Touch) -> Bool {
        guard self.table == touch.table else { return false }
        if self.isPrefix, touch.key.hasPrefix(self.key) { return true }
        if touch.isPrefix, self.key.hasPrefix(touch.key) { return true }
        return self.key == touch.key
    }
}

/// What an applied command changed: a key of a table, or every key with a prefix (a delete of a KV tree).
public struct Touch: Sendable, Hashable {
    public var table: Table
    public var key: ByteKey
    public var isPrefix: Bool

    public init(table: Table, key: ByteKey, isPrefix: Bool = false) {
        self.table = table
        self.key = key
        self.isPrefix = isPrefix
    }
}

/// A query's answer.
public struct Answer<Value: Sendable>: Sendable {
    public var value: Value
    /// What `X-Consul-Index` says; never 0. It may go back after a restore, or when tombstones are collected.
    public var index: UInt64
    /// Where a change may alter the answer.
    public var watch: [WatchKey]

    public init(value: Value, index: UInt64, watch: [WatchKey]) {
        self.value = value
        self.index = max(index, 1)
        self.watch = watch
    }

    public func map<Other: Sendable>(_ transform: (Value) -> Other) -> Answer<Other> {
        Answer<Other>(value: transform(self.value), index: self.index, watch: self.watch)
    }
}

extension Answer: Equatable where Value: Equatable {}
