import Units

/// SplitMix64: what election timeouts are drawn from. Seeded, so that a run can be repeated.
struct SplitMix64: Sendable {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Uniform in `low ..< high` but for a bias below 2^-32 for ranges of seconds.
    mutating func duration(from low: Nanoseconds, to high: Nanoseconds) -> Nanoseconds {
        Nanoseconds(low.rawValue + self.next() % (high.rawValue - low.rawValue))
    }
}
