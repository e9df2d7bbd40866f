import Crypto
import Units

/// The log's hash chain: each entry's link is the first 16 bytes of SHA-256 over the link before it, the entry's index,
/// term, kind and bytes. Equal links at equal indexes mean equal logs up to there, and one changed bit anywhere below
/// changes every link above.
struct Chain: Hashable, Sendable {
    private var high: UInt64
    private var low: UInt64

    /// What stands before entry 1.
    static let start = Chain(high: 0, low: 0)
    static let byteCount = 16

    private init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// nil unless there are exactly 16 bytes.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self = bytes.withUnsafeBytes { buffer in
            Chain(
                high: UInt64(bigEndian: buffer.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: buffer.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        for word in [self.high, self.low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return bytes
    }

    /// The sixteen bytes, in place.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withUnsafeBytes(of: (self.high.bigEndian, self.low.bigEndian), body)
    }

    func link(index: LogIndex, term: Term, kind: UInt8, data: UnsafeRawBufferPointer) -> Chain {
        var hash = SHA256()
        let head = (
            self.high.bigEndian, self.low.bigEndian, index.rawValue.bigEndian, term.rawValue.bigEndian,
            UInt64(kind).bigEndian
        )
        withUnsafeBytes(of: head) { hash.update(bufferPointer: $0) }
        hash.update(bufferPointer: data)
        return hash.finalize().withUnsafeBytes { digest in
            Chain(
                high: UInt64(bigEndian: digest.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: digest.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }
}
