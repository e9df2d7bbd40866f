import NIOCore

private let alphabet: [UInt8] = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

extension ByteBuffer {
    /// Standard base64 with padding (RFC 4648 §4).
    mutating func writeBase64(_ bytes: some Collection<UInt8>) {
        let done: Void? = bytes.withContiguousStorageIfAvailable { self.writeBase64(contiguous: $0) }
        if done == nil { Array(bytes).withUnsafeBufferPointer { self.writeBase64(contiguous: $0) } }
    }

    private mutating func writeBase64(contiguous input: UnsafeBufferPointer<UInt8>) {
        let size = (input.count + 2) / 3 * 4
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { output in
            alphabet.withUnsafeBufferPointer { letters in
                var from = 0
                var to = 0
                while from + 3 <= input.count {
                    let group = UInt32(input[from]) << 16 | UInt32(input[from + 1]) << 8 | UInt32(input[from + 2])
                    output[to] = letters[Int(group >> 18)]
                    output[to + 1] = letters[Int(group >> 12 & 63)]
                    output[to + 2] = letters[Int(group >> 6 & 63)]
                    output[to + 3] = letters[Int(group & 63)]
                    from += 3
                    to += 4
                }
                let left = input.count - from
                if left > 0 {
                    let group = UInt32(input[from]) << 16 | (left == 2 ? UInt32(input[from + 1]) << 8 : 0)
                    output[to] = letters[Int(group >> 18)]
                    output[to + 1] = letters[Int(group >> 12 & 63)]
                    output[to + 2] = left == 2 ? letters[Int(group >> 6 & 63)] : UInt8(ascii: "=")
                    output[to + 3] = UInt8(ascii: "=")
                }
            }
            return size
        }
    }

    /// Decimal digits without a `String` in between.
    mutating func writeDecimal(_ value: UInt64) {
        if value < 10 {
            self.writeInteger(UInt8(ascii: "0") + UInt8(value))
            return
        }
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits += 1
            rest /= 10
        }
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: digits) { output in
            var value = value
            var position = digits
            while position > 0 {
                position -= 1
                output[position] = UInt8(ascii: "0") + UInt8(value % 10)
                value /= 10
            }
            return digits
        }
    }
}

enum Base64 {
    /// Decodes standard base64 with padding; line breaks are skipped, as by Go. On bad input the error says at which
    /// byte, in Go's words.
    static func decode(_ text: String) throws(JSONError) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(text.utf8.count / 4 * 3)
        var group: UInt32 = 0
        var filled = 0
        var padding = 0
        var position = 0
        for byte in text.utf8 {
            defer { position += 1 }
            if byte == 0x0A || byte == 0x0D { continue }
            if byte == UInt8(ascii: "=") {
                padding += 1
                if filled + padding > 4 || filled < 2 { throw self.illegal(position) }
                continue
            }
            guard padding == 0, let value = self.value(byte) else { throw self.illegal(position) }
            group = group << 6 | UInt32(value)
            filled += 1
            if filled == 4 {
                output.append(UInt8(truncatingIfNeeded: group >> 16))
                output.append(UInt8(truncatingIfNeeded: group >> 8))
                output.append(UInt8(truncatingIfNeeded: group))
                group = 0
                filled = 0
            }
        }
        if filled > 0 {
            if filled + padding != 4 { throw self.illegal(position) }
            if filled == 2 { output.append(UInt8(truncatingIfNeeded: group >> 4)) }
            if filled == 3 {
                output.append(UInt8(truncatingIfNeeded: group >> 10))
                output.append(UInt8(truncatingIfNeeded: group >> 2))
            }
        }
        return output
    }

    private static func illegal(_ position: Int) -> JSONError {
        JSONError("illegal base64 data at input byte \(position)")
    }

    private static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
