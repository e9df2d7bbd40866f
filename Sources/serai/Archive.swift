/// Files as one file: tar (POSIX ustar) in gzip (RFC 1952) whose blocks are stored as they are (RFC 1951 §3.2.4).
package enum Archive {
    /// - Parameter time: of every file, in seconds since 1970.
    package static func tar(_ files: [(name: String, bytes: [UInt8])], at time: UInt64) -> [UInt8] {
        var result: [UInt8] = []
        for file in files {
            result += self.header(file.name, size: file.bytes.count, time: time)
            result += file.bytes
            result += [UInt8](repeating: 0, count: (512 - file.bytes.count % 512) % 512)
        }
        return result + [UInt8](repeating: 0, count: 1024)
    }

    private static func header(_ name: String, size: Int, time: UInt64) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: some Sequence<UInt8>, at offset: Int, atMost count: Int) {
            for (place, byte) in text.enumerated() where place < count { block[offset + place] = byte }
        }
        func octal(_ value: UInt64, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: max(0, digits - text.utf8.count)) + text).utf8)
        }
        put(name.utf8, at: 0, atMost: 99)
        put(octal(0o600, 7), at: 100, atMost: 7)
        put(octal(0, 7), at: 108, atMost: 7)
        put(octal(0, 7), at: 116, atMost: 7)
        put(octal(UInt64(size), 11), at: 124, atMost: 11)
        put(octal(time, 11), at: 136, atMost: 11)
        block[156] = UInt8(ascii: "0")
        put("ustar\0".utf8, at: 257, atMost: 6)
        put("00".utf8, at: 263, atMost: 2)
        // The sum counts its own eight bytes as spaces.
        put([UInt8](repeating: UInt8(ascii: " "), count: 8), at: 148, atMost: 8)
        let sum = block.reduce(UInt64(0)) { $0 + UInt64($1) }
        put(octal(sum, 6) + [0], at: 148, atMost: 7)
        return block
    }

    package static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
        var rest = bytes[...]
        repeat {
            let piece = rest.prefix(0xffff)
            rest = rest.dropFirst(piece.count)
            let count = UInt16(piece.count)
            result += [rest.isEmpty ? 1 : 0] + self.littleEndian(count) + self.littleEndian(~count)
            result += piece
        } while !rest.isEmpty
        return result + self.littleEndian(self.crc32(bytes))
            + self.littleEndian(UInt32(truncatingIfNeeded: bytes.count))
    }

    private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
    }

    package static func crc32(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { self.table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ ($0 >> 8) }
    }
}
