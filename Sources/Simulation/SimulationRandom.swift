/// The only source of chance in a simulation: xoshiro256**, seeded through SplitMix64. The same seed gives the same
/// numbers on every machine.
public struct SimulationRandom: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    public init(seed: UInt64) {
        var mixer = seed
        func next() -> UInt64 {
            mixer &+= 0x9E37_79B9_7F4A_7C15
            return Digest.mixed(mixer)
        }
        self.state = (next(), next(), next(), next())
    }

    /// A stream of its own for one concern, so that drawing more from one does not disturb the others.
    public init(seed: UInt64, concern: StaticString) {
        var digest = Digest()
        digest.add(seed)
        for byte in UnsafeBufferPointer(start: concern.utf8Start, count: concern.utf8CodeUnitCount) {
            digest.add(UInt64(byte))
        }
        self.init(seed: digest.value)
    }

    public mutating func next() -> UInt64 {
        func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
        let result = rotated(self.state.1 &* 5, 7) &* 9
        let shifted = self.state.1 << 17
        self.state.2 ^= self.state.0
        self.state.3 ^= self.state.1
        self.state.1 ^= self.state.2
        self.state.0 ^= self.state.3
        self.state.2 ^= shifted
        self.state.3 = rotated(self.state.3, 45)
        return result
    }

    /// 0 ..< bound; 0 when `bound` is not positive.
    public mutating func below(_ bound: Int) -> Int {
        bound > 0 ? Int(self.next().multipliedFullWidth(by: UInt64(bound)).high) : 0
    }

    public mutating func within(_ range: ClosedRange<UInt64>) -> UInt64 {
        let span = range.upperBound - range.lowerBound
        return span == .max ? self.next() : range.lowerBound + self.next().multipliedFullWidth(by: span + 1).high
    }

    public mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + self.below(range.upperBound - range.lowerBound + 1)
    }

    /// True with this probability. Draws a number even at 0 and 1, so that turning an option off leaves the rest of
    /// the stream where it was.
    public mutating func chance(_ probability: Double) -> Bool {
        Double(self.next() >> 11) * 0x1p-53 < probability
    }

    /// Close to exponential with this mean, by linear pieces between powers of two: no logarithm, whose last bit
    /// differs between libraries. Never above 45 means.
    public mutating func exponential(mean: UInt64) -> UInt64 {
        let whole = self.next().leadingZeroBitCount
        let fraction = Double(self.next() >> 11) * 0x1p-53
        return UInt64((Double(whole) + fraction) * 0.6667 * Double(mean))
    }

    public mutating func pick<Element>(_ choices: [Element]) -> Element? {
        choices.isEmpty ? nil : choices[self.below(choices.count)]
    }

    public mutating func shuffle<Element>(_ array: inout [Element]) {
        for last in stride(from: array.count - 1, to: 0, by: -1) { array.swapAt(last, self.below(last + 1)) }
    }
}

/// A 64-bit running hash of our own: the same in every process, unlike `Hasher`.
public struct Digest: Sendable, Equatable {
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    public init() {}
    public init(_ start: UInt64) { self.value = start }

    public static func mixed(_ value: UInt64) -> UInt64 {
        var mixed = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    public mutating func add(_ word: UInt64) {
        self.value = (self.value ^ word) &* 0x0000_0100_0000_01B3
        self.value ^= self.value >> 29
    }

    public mutating func add(_ bytes: [UInt8]) {
        self.add(UInt64(bytes.count))
        bytes.withUnsafeBytes { buffer in
            var place = 0
            while place + 8 <= buffer.count {
                self.add(UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt64.self)))
                place += 8
            }
            while place < buffer.count {
                self.add(UInt64(buffer[place]))
                place += 1
            }
        }
    }
}

/// CRC-32C (Castagnoli), as snapshot chunks and frames carry it.
public enum CRC32C {
    private static let table: [UInt32] = (0..<256 as Range<UInt32>).map { byte in
        (0..<8).reduce(byte) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }

    public static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { crc, byte in crc >> 8 ^ Self.table[Int((crc ^ UInt32(byte)) & 0xFF)] }
    }
}
