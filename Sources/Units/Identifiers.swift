/// A Raft term (dissertation §3.3): a logical clock that only rises. 0 means "before any election".
public struct Term: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ value: UInt64) { self.rawValue = value }
    public static let zero = Term(0)
    @inlinable public var next: Term { Term(self.rawValue + 1) }
    @inlinable public static func < (left: Term, right: Term) -> Bool { left.rawValue < right.rawValue }
    public var description: String { "\(self.rawValue)" }
}

/// A position in the replicated log, counted from 1. 0 stands before the first entry.
public struct LogIndex: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ value: UInt64) { self.rawValue = value }
    public static let zero = LogIndex(0)
    @inlinable public var next: LogIndex { LogIndex(self.rawValue + 1) }
    /// The index before this one; 0 stays 0.
    @inlinable public var previous: LogIndex { LogIndex(self.rawValue == 0 ? 0 : self.rawValue - 1) }
    @inlinable public func advanced(by count: Int) -> LogIndex { LogIndex(self.rawValue + UInt64(count)) }
    /// How many entries lie in `other ..< self`; 0 when `other` is not smaller.
    @inlinable public func distance(from other: LogIndex) -> Int {
        self.rawValue > other.rawValue ? Int(self.rawValue - other.rawValue) : 0
    }
    @inlinable public static func < (left: LogIndex, right: LogIndex) -> Bool { left.rawValue < right.rawValue }
    public var description: String { "\(self.rawValue)" }
}

/// One incarnation of a node: random, made with its data directory, never used again once that directory is gone.
/// It is the first eight bytes of the node's UUID. 0 means "nobody".
public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ value: UInt64) { self.rawValue = value }
    public static let none = NodeID(0)
    @inlinable public static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
    /// Sixteen hexadecimal digits.
    public var description: String {
        let digits = String(self.rawValue, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// A point on a monotonic clock that is handed in: nanoseconds since an arbitrary start. It never goes back.
public struct Instant: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(nanoseconds: UInt64) { self.rawValue = nanoseconds }
    public static let start = Instant(nanoseconds: 0)
    @inlinable public static func + (left: Instant, right: Nanoseconds) -> Instant {
        Instant(nanoseconds: left.rawValue + right.rawValue)
    }
    /// Time passed since `earlier`; zero when `earlier` is later.
    @inlinable public func since(_ earlier: Instant) -> Nanoseconds {
        Nanoseconds(self.rawValue > earlier.rawValue ? self.rawValue - earlier.rawValue : 0)
    }
    @inlinable public static func < (left: Instant, right: Instant) -> Bool { left.rawValue < right.rawValue }
    public var description: String { "\(self.rawValue)ns" }
}

/// A length of time in nanoseconds, never negative.
public struct Nanoseconds: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    @inlinable public init(_ value: UInt64) { self.rawValue = value }
    public static let zero = Nanoseconds(0)
    @inlinable public static func milliseconds(_ value: UInt64) -> Nanoseconds { Nanoseconds(value * 1_000_000) }
    @inlinable public static func seconds(_ value: UInt64) -> Nanoseconds { Nanoseconds(value * 1_000_000_000) }
    @inlinable public static func < (left: Nanoseconds, right: Nanoseconds) -> Bool { left.rawValue < right.rawValue }
    @inlinable public static func + (left: Nanoseconds, right: Nanoseconds) -> Nanoseconds {
        Nanoseconds(left.rawValue + right.rawValue)
    }
    public var description: String { "\(self.rawValue / 1_000_000)ms" }
}

/// A number of bytes.
public struct ByteCount: RawRepresentable, Hashable, Comparable, Sendable {
    public let rawValue: Int
    @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
    @inlinable public init(_ value: Int) { self.rawValue = value }
    public static func kibibytes(_ value: Int) -> ByteCount { ByteCount(value * 1024) }
    public static func mebibytes(_ value: Int) -> ByteCount { ByteCount(value * 1024 * 1024) }
    @inlinable public static func < (left: ByteCount, right: ByteCount) -> Bool { left.rawValue < right.rawValue }
}
