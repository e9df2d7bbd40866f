/// A key of raw bytes, ordered bytewise. Swift's `String` compares by canonical equivalence, under which "é" and
/// "e" + U+0301 are one key; Consul's keys are bytes.
public struct ByteKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]

    @inlinable public init(_ bytes: [UInt8]) { self.bytes = bytes }
    @inlinable public init(_ text: String) { self.bytes = Array(text.utf8) }

    @inlinable public var count: Int { self.bytes.count }
    @inlinable public var isEmpty: Bool { self.bytes.isEmpty }

    /// True when the first bytes of this key are `prefix`; every key starts with the empty prefix.
    @inlinable public func hasPrefix(_ prefix: ByteKey) -> Bool {
        self.bytes.count >= prefix.bytes.count && self.bytes.starts(with: prefix.bytes)
    }

    /// The smallest key that is larger than every key with this prefix; nil when there is none (empty, or all 0xFF).
    public var endOfPrefix: ByteKey? {
        var end = self.bytes
        while let last = end.last {
            if last < 0xFF {
                end[end.count - 1] = last + 1
                return ByteKey(end)
            }
            end.removeLast()
        }
        return nil
    }

    @inlinable public static func == (left: ByteKey, right: ByteKey) -> Bool { left.bytes == right.bytes }

    @inlinable public static func < (left: ByteKey, right: ByteKey) -> Bool {
        left.bytes.withUnsafeBufferPointer { leftBytes in
            right.bytes.withUnsafeBufferPointer { rightBytes in
                let shared = min(leftBytes.count, rightBytes.count)
                var position = 0
                while position < shared {
                    let leftByte = leftBytes[position]
                    let rightByte = rightBytes[position]
                    if leftByte != rightByte { return leftByte < rightByte }
                    position += 1
                }
                return leftBytes.count < rightBytes.count
            }
        }
    }

    /// The key as text; bytes that are not UTF-8 show as U+FFFD.
    public var description: String { String(decoding: self.bytes, as: UTF8.self) }
}
