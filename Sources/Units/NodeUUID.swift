extension NodeID {
    /// Makes a node id of 64 random bits: the UUID's version nibble is set to 8 (RFC 9562 §5.8), so that the id and the
    /// node's UUID carry the same information. Never `none`.
    public init(random bits: UInt64) {
        self.init((bits & 0xFFFF_FFFF_FFFF_0FFF) | 0x0000_0000_0000_8000)
    }

    /// The node's UUID, 36 characters: the id is its first eight bytes, the rest follows from the id.
    public var uuid: String {
        var mixed = self.rawValue &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        let tail = NodeID((mixed & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000).description
        let head = self.description
        let digits = Array((head + tail).utf8)
        var text = ""
        text.reserveCapacity(36)
        for (position, digit) in digits.enumerated() {
            if position == 8 || position == 12 || position == 16 || position == 20 { text.append("-") }
            text.unicodeScalars.append(Unicode.Scalar(digit))
        }
        return text
    }

    /// The id inside a node's UUID; nil when the text is not one that `uuid` made.
    public init?(uuid: String) {
        let head = uuid.utf8.filter { $0 != UInt8(ascii: "-") }.prefix(16)
        guard head.count == 16, let value = UInt64(String(decoding: Array(head), as: UTF8.self), radix: 16) else {
            return nil
        }
        self.init(value)
        guard self.uuid == uuid else { return nil }
    }
}
