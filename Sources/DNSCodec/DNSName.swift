/// A domain name: labels of 1 to 63 arbitrary bytes, at most 255 bytes on the wire. Comparison and hashing fold ASCII
/// letters (RFC 4343); the case that a client wrote is kept, so that an answer echoes it.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Length-prefixed labels without the closing zero. A length byte is at most 63 and so never looks like a letter:
    /// folding the whole array folds the labels only.
    let wire: [UInt8]

    public static let root = DNSName(uncheckedWire: [])
    static let maximumWireLength = 255

    init(uncheckedWire: [UInt8]) { self.wire = uncheckedWire }

    /// Labels from left to right; none is the root.
    public init(labels: [[UInt8]]) throws(DNSCodecError) {
        var wire: [UInt8] = []
        for label in labels {
            try DNSName.append(label[...], to: &wire)
        }
        self.wire = wire
    }

    /// Text as RFC 1035 §5.1 writes it: `\.` and `\\` for a byte of a label, `\065` for a byte by number. A closing
    /// dot may be missing; the name is absolute either way.
    public init(_ text: String) throws(DNSCodecError) {
        var wire: [UInt8] = []
        var label: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        if bytes.elementsEqual([UInt8(ascii: ".")]) { bytes = [] }
        var endedByDot = true
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "."):
                try DNSName.append(label[...], to: &wire)
                label = []
                endedByDot = true
            case UInt8(ascii: "\\"):
                label.append(try DNSName.unescape(&bytes))
                endedByDot = false
            default:
                label.append(byte)
                endedByDot = false
            }
        }
        if !endedByDot { try DNSName.append(label[...], to: &wire) }
        self.wire = wire
    }

    static func append(_ label: ArraySlice<UInt8>, to wire: inout [UInt8]) throws(DNSCodecError) {
        if label.isEmpty { throw .emptyLabel }
        if label.count > 63 { throw .labelTooLong }
        // One more byte for the root's zero.
        if wire.count + label.count + 2 > DNSName.maximumWireLength { throw .nameTooLong }
        wire.append(UInt8(label.count))
        wire.append(contentsOf: label)
    }

    private static func unescape(_ bytes: inout ArraySlice<UInt8>) throws(DNSCodecError) -> UInt8 {
        guard let first = bytes.popFirst() else { throw .badEscape }
        guard let hundreds = DNSName.digit(first) else { return first }
        guard let tens = bytes.popFirst().flatMap(DNSName.digit), let ones = bytes.popFirst().flatMap(DNSName.digit)
        else {
            throw .badEscape
        }
        let value = hundreds * 100 + tens * 10 + ones
        guard let byte = UInt8(exactly: value) else { throw .badEscape }
        return byte
    }

    private static func digit(_ byte: UInt8) -> Int? {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int(byte - UInt8(ascii: "0")) : nil
    }

    /// Labels from left to right, as they were written.
    public var labels: [[UInt8]] {
        var labels: [[UInt8]] = []
        var position = 0
        while position < self.wire.count {
            let length = Int(self.wire[position])
            labels.append(Array(self.wire[position + 1..<position + 1 + length]))
            position += 1 + length
        }
        return labels
    }

    public var isRoot: Bool { self.wire.isEmpty }

    /// Bytes that the name takes without compression, the closing zero included.
    public var wireLength: Int { self.wire.count + 1 }

    /// This name with its ASCII letters in lower case.
    public var lowercased: DNSName { DNSName(uncheckedWire: self.wire.map(DNSName.fold)) }

    /// True when this name is `other` or lies below it. Every name lies below the root.
    public func isAtOrBelow(_ other: DNSName) -> Bool {
        var position = 0
        while self.wire.count - position > other.wire.count {
            position += 1 + Int(self.wire[position])
        }
        let suffix = self.wire[position...]
        return suffix.count == other.wire.count
            && zip(suffix, other.wire).allSatisfy { DNSName.fold($0) == DNSName.fold($1) }
    }

    /// This name followed by the labels of `other`.
    public func appending(_ other: DNSName) throws(DNSCodecError) -> DNSName {
        if self.wire.count + other.wireLength > DNSName.maximumWireLength { throw .nameTooLong }
        return DNSName(uncheckedWire: self.wire + other.wire)
    }

    static func fold(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte + 32 : byte
    }

    public static func == (left: DNSName, right: DNSName) -> Bool {
        left.wire.count == right.wire.count && zip(left.wire, right.wire).allSatisfy { fold($0) == fold($1) }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.wire.count)
        for byte in self.wire { hasher.combine(DNSName.fold(byte)) }
    }

    /// The text form with a closing dot; dots, backslashes and bytes that don't print are escaped.
    public var description: String {
        if self.isRoot { return "." }
        var text: [UInt8] = []
        for label in self.labels {
            for byte in label {
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "\\"):
                    text.append(UInt8(ascii: "\\"))
                    text.append(byte)
                case 0x21...0x7E:
                    text.append(byte)
                default:
                    let digits = [byte / 100, byte / 10 % 10, byte % 10].map { $0 + UInt8(ascii: "0") }
                    text.append(UInt8(ascii: "\\"))
                    text.append(contentsOf: digits)
                }
            }
            text.append(UInt8(ascii: "."))
        }
        return String(decoding: text, as: UTF8.self)
    }
}
