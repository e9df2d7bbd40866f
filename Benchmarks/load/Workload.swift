import NIOCore

/// Which keys and values a run touches. A value follows from its key's number, so that any answer can be checked.
struct Workload: Sendable {
    var target: TargetKind
    var operation: Operation
    var valueBytes: Int
    /// Nil: every put has a key of its own.
    var keyCount: Int?
    var prefix: String
    var verify: Bool

    /// Key numbers in an order without a pattern; each of `keyCount` comes equally often.
    func keyNumber(of position: Int) -> Int {
        guard let keyCount else { return position }
        // Fibonacci hashing spreads neighbours; the remainder keeps all within the loaded keys.
        return Int((UInt64(truncatingIfNeeded: position) &* 0x9E37_79B9_7F4A_7C15) % UInt64(keyCount))
    }

    func writeKey(_ number: Int, to buffer: inout ByteBuffer) {
        buffer.writeString(self.prefix)
        Self.writePadded(number, to: &buffer)
    }

    var keyLength: Int { self.prefix.utf8.count + 10 }

    private static func writePadded(_ number: Int, to buffer: inout ByteBuffer) {
        var rest = number
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 10) { digits in
            for position in stride(from: 9, through: 0, by: -1) {
                digits[position] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            }
            buffer.writeBytes(UnsafeRawBufferPointer(digits))
        }
    }

    /// Letters that follow from the number alone.
    func value(_ number: Int) -> [UInt8] {
        var state = UInt64(truncatingIfNeeded: number) &+ 0x2545_F491_4F6C_DD1D
        var bytes: [UInt8] = []
        bytes.reserveCapacity(self.valueBytes)
        while bytes.count < self.valueBytes {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            var word = state >> 8
            for _ in 0..<min(7, self.valueBytes - bytes.count) {
                bytes.append(UInt8(ascii: "a") + UInt8(truncatingIfNeeded: word & 15))
                word >>= 8
            }
        }
        return bytes
    }
}

/// What a request asks.
enum Ask {
    case put(Int)
    case get(Int)

    var number: Int {
        switch self {
        case .put(let number), .get(let number): number
        }
    }
}

enum Base64 {
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity((bytes.count + 2) / 3 * 4)
        var position = 0
        while position < bytes.count {
            let left = bytes.count - position
            let word =
                UInt32(bytes[position]) << 16 | (left > 1 ? UInt32(bytes[position + 1]) << 8 : 0)
                | (left > 2 ? UInt32(bytes[position + 2]) : 0)
            result.append(self.letters[Int(word >> 18)])
            result.append(self.letters[Int(word >> 12 & 63)])
            result.append(left > 1 ? self.letters[Int(word >> 6 & 63)] : UInt8(ascii: "="))
            result.append(left > 2 ? self.letters[Int(word & 63)] : UInt8(ascii: "="))
            position += 3
        }
        return result
    }
}
