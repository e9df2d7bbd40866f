import Units

/// Text by text, kept as pairs in bytewise order of their keys, so that two equal maps are one array, one encoding and
/// one hash on every server.
public struct StringMap: Sendable, Equatable {
    public struct Pair: Sendable, Equatable {
        public let key: String
        public let value: String

        public init(key: String, value: String) {
            self.key = key
            self.value = value
        }
    }

    public let pairs: [Pair]

    public static let empty = StringMap([])

    /// The order given does not matter; of two pairs with one key the later one stays.
    public init(_ pairs: [Pair]) {
        if pairs.count < 2 {
            self.pairs = pairs
            return
        }
        var kept: [Pair] = []
        kept.reserveCapacity(pairs.count)
        let sorted = pairs.enumerated().sorted { left, right in
            if utf8Precedes(left.element.key, right.element.key) { return true }
            if utf8Precedes(right.element.key, left.element.key) { return false }
            return left.offset < right.offset
        }
        for (_, pair) in sorted {
            if let last = kept.last, last.key.utf8.elementsEqual(pair.key.utf8) { kept.removeLast() }
            kept.append(pair)
        }
        self.pairs = kept
    }

    public init(_ dictionary: [String: String]) {
        self.init(dictionary.map { Pair(key: $0.key, value: $0.value) })
    }

    public subscript(key: String) -> String? {
        self.pairs.first { $0.key == key }?.value
    }

    public var isEmpty: Bool { self.pairs.isEmpty }
}

/// Bytewise order of the UTF-8 forms; `String`'s own `<` compares by canonical equivalence.
@inlinable
public func utf8Precedes(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}

/// One key of the KV store.
public struct KVEntry: Sendable, Equatable {
    public var key: ByteKey
    public var value: [UInt8]
    /// Opaque to us; the client's.
    public var flags: UInt64
    /// How often the key went from unlocked to locked.
    public var lockIndex: UInt64
    /// The session that holds the key; "" for none.
    public var session: String
    public var createIndex: UInt64
    public var modifyIndex: UInt64

    public init(
        key: ByteKey, value: [UInt8], flags: UInt64 = 0, lockIndex: UInt64 = 0, session: String = "",
        createIndex: UInt64 = 0, modifyIndex: UInt64 = 0
    ) {
        self.key = key
        self.value = value
        self.flags = flags
        self.lockIndex = lockIndex
        self.session = session
        self.createIndex = createIndex
        self.modifyIndex = modifyIndex
    }
}

/// What happens to a session's keys when it is invalidated or destroyed.
public enum SessionBehavior: UInt8, Sendable {
    case release = 0
    case delete = 1
}

public struct Session: Sendable, Equatable {
    public var id: String
    public var name: String
    public var node: String
    /// Check ids on `node`; one that turns critical or is removed invalidates the session.
    public var nodeChecks: [String]
    public var serviceChecks: [String]
    /// As asked for; at most 60 s of it are applied.
    public var lockDelay: Nanoseconds
    public var behavior: SessionBehavior
    /// Zero for a session without TTL. Expiry is the leader's business.
    public var ttl: Nanoseconds
    /// The TTL as its client wrote it.
    public var ttlText: String
    public var createIndex: UInt64
    public var modifyIndex: UInt64

    public init(
        id: String, name: String = "", node: String, nodeChecks: [String] = [], serviceChecks: [String] = [],
        lockDelay: Nanoseconds = .zero, behavior: SessionBehavior = .release, ttl: Nanoseconds = .zero,
        ttlText: String = "", createIndex: UInt64 = 0, modifyIndex: UInt64 = 0
    ) {
        self.id = id
        self.name = name
        self.node = node
        self.nodeChecks = nodeChecks
        self.serviceChecks = serviceChecks
        self.lockDelay = lockDelay
        self.behavior = behavior
        self.ttl = ttl
        self.ttlText = ttlText
        self.createIndex = createIndex
        self.modifyIndex = modifyIndex
    }
}
