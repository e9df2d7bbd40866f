/// CRC-32C (Castagnoli, RFC 3720 appendix B.4), in software: eight table look-ups for eight bytes. Finds every error of
/// one to three bits and every burst of up to 32 bits; it is no defence against somebody who means harm.
public enum CRC32C {
    /// The checksum of `bytes`; of nothing it is 0, of the nine digits "123456789" it is 0xE3069283.
    public static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.withUnsafeBytes { Self.extend(0, with: $0) }
    }

    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { Self.extend(0, with: bytes) }

    /// The checksum of what `checksum` stands for, followed by `bytes`.
    public static func extend(_ checksum: UInt32, with bytes: UnsafeRawBufferPointer) -> UInt32 {
        Self.tables.withUnsafeBufferPointer { tables in
            var crc = ~checksum
            var position = 0
            while position + 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                let low = UInt32(truncatingIfNeeded: word) ^ crc
                let high = UInt32(truncatingIfNeeded: word >> 32)
                // Table k holds the effect of a byte that is followed by k zero bytes.
                crc =
                    tables[7 * 256 + Int(low & 0xFF)] ^ tables[6 * 256 + Int((low >> 8) & 0xFF)]
                    ^ tables[5 * 256 + Int((low >> 16) & 0xFF)] ^ tables[4 * 256 + Int(low >> 24)]
                crc ^=
                    tables[3 * 256 + Int(high & 0xFF)] ^ tables[2 * 256 + Int((high >> 8) & 0xFF)]
                    ^ tables[1 * 256 + Int((high >> 16) & 0xFF)] ^ tables[Int(high >> 24)]
                position += 8
            }
            while position < bytes.count {
                crc = tables[Int((crc ^ UInt32(bytes[position])) & 0xFF)] ^ (crc >> 8)
                position += 1
            }
            return ~crc
        }
    }

    /// The polynomial 0x1EDC6F41, bits reversed.
    private static let polynomial: UInt32 = 0x82F6_3B78

    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = (crc & 1) == 1 ? (crc >> 1) ^ Self.polynomial : crc >> 1 }
            tables[byte] = crc
        }
        for table in 1..<8 {
            for byte in 0..<256 {
                let shorter = tables[(table - 1) * 256 + byte]
                tables[table * 256 + byte] = tables[Int(shorter & 0xFF)] ^ (shorter >> 8)
            }
        }
        return tables
    }()
}
