/// An IP address as its bytes, read from and written to text without any resolver.
enum IPAddress: Hashable, Sendable {
    case v4([UInt8])
    case v6([UInt8])

    /// Dotted decimal, or RFC 4291 §2.2 text with `::` and a dotted ending; no zone. Nil for all else, host names
    /// among it.
    init?(_ text: String) {
        if let bytes = IPAddress.v4Bytes(Array(text.utf8)[...]) {
            self = .v4(bytes)
        } else if let bytes = IPAddress.v6Bytes(Array(text.utf8)) {
            self = .v6(bytes)
        } else {
            return nil
        }
    }

    var bytes: [UInt8] {
        switch self {
        case .v4(let bytes), .v6(let bytes): bytes
        }
    }

    /// Eight or thirty-two hexadecimal digits.
    var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: self.bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 0xF)]] }, as: UTF8.self)
    }

    /// The opposite of `hex`.
    init?(hex text: String) {
        let digits = Array(text.utf8).map(IPAddress.nibble)
        guard digits.count == 8 || digits.count == 32 else { return nil }
        var bytes: [UInt8] = []
        for position in stride(from: 0, to: digits.count, by: 2) {
            guard let upper = digits[position], let lower = digits[position + 1] else { return nil }
            bytes.append(upper << 4 | lower)
        }
        self = bytes.count == 4 ? .v4(bytes) : .v6(bytes)
    }

    static func nibble(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func v4Bytes(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.count) else { return nil }
            var value = 0
            for digit in part {
                guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
                value = value * 10 + Int(digit - UInt8(ascii: "0"))
            }
            guard let byte = UInt8(exactly: value) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static func v6Bytes(_ text: [UInt8]) -> [UInt8]? {
        let colon = UInt8(ascii: ":")
        guard text.count <= 45, text.contains(colon) else { return nil }
        var gap: Int?
        for position in text.indices.dropLast() where text[position] == colon && text[position + 1] == colon {
            // A second gap, or three colons in a row.
            if gap != nil { return nil }
            gap = position
        }
        guard let gap else {
            let bytes = IPAddress.groups(text[...])
            return bytes?.count == 16 ? bytes : nil
        }
        guard let head = IPAddress.groups(text[..<gap]), let tail = IPAddress.groups(text[(gap + 2)...]),
            head.count + tail.count <= 14
        else { return nil }
        return head + Array(repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// Groups between colons; a dotted IPv4 address may be the last.
    private static func groups(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        if text.isEmpty { return [] }
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var bytes: [UInt8] = []
        for (position, part) in parts.enumerated() {
            if position == parts.count - 1, part.contains(UInt8(ascii: ".")) {
                guard let dotted = self.v4Bytes(part) else { return nil }
                bytes += dotted
                continue
            }
            guard (1...4).contains(part.count) else { return nil }
            var value: UInt16 = 0
            for byte in part {
                guard let digit = self.nibble(byte) else { return nil }
                value = value << 4 | UInt16(digit)
            }
            bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
        }
        return bytes
    }
}
