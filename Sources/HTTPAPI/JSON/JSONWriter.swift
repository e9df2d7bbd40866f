import NIOCore

/// Writes JSON as Go's encoder does, straight into a byte buffer: the same field order as the calls, the same escapes
/// (`<`, `>`, `&`, U+2028 and U+2029 too; bytes that are not UTF-8 become U+FFFD). Compact, or with four spaces and a
/// last newline when `pretty`. It does not check that the calls nest.
public struct JSONWriter {
    public private(set) var buffer: ByteBuffer
    private let pretty: Bool
    private var depth = 0
    /// Something was written since the last opening bracket or key: the next element needs a comma.
    private var needsComma = false
    private var afterKey = false

    public init(pretty: Bool = false, capacity: Int = 256) {
        self.buffer = ByteBuffer()
        self.buffer.reserveCapacity(capacity)
        self.pretty = pretty
    }

    /// The document: with `pretty`, ends in a newline.
    public consuming func finish() -> ByteBuffer {
        if self.pretty { self.buffer.writeInteger(UInt8(ascii: "\n")) }
        return self.buffer
    }

    // MARK: structure

    public mutating func object(_ body: (inout JSONWriter) throws -> Void) rethrows {
        self.open(UInt8(ascii: "{"))
        try body(&self)
        self.close(UInt8(ascii: "}"))
    }

    public mutating func array(_ body: (inout JSONWriter) throws -> Void) rethrows {
        self.open(UInt8(ascii: "["))
        try body(&self)
        self.close(UInt8(ascii: "]"))
    }

    /// `[…]` of the elements, `[]` when there are none.
    public mutating func array<Elements: Sequence>(
        _ elements: Elements, _ write: (inout JSONWriter, Elements.Element) -> Void
    ) {
        self.array { writer in
            for element in elements { write(&writer, element) }
        }
    }

    public mutating func key(_ name: StaticString) {
        self.beginElement()
        self.buffer.writeInteger(UInt8(ascii: "\""))
        self.buffer.writeStaticString(name)
        self.endKey()
    }

    /// A name that comes from data.
    public mutating func key(text name: String) {
        self.beginElement()
        self.writeQuoted(name)
        if self.pretty { self.buffer.writeStaticString(": ") } else { self.buffer.writeInteger(UInt8(ascii: ":")) }
        self.afterKey = true
    }

    private mutating func endKey() {
        self.buffer.writeStaticString(self.pretty ? "\": " : "\":")
        self.afterKey = true
    }

    private mutating func open(_ bracket: UInt8) {
        self.beginElement()
        self.buffer.writeInteger(bracket)
        self.depth += 1
        self.needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        self.depth -= 1
        // An empty pair stays together: `[]`, `{}`.
        if self.pretty && self.needsComma { self.newline() }
        self.buffer.writeInteger(bracket)
        self.needsComma = true
    }

    @inline(__always)
    private mutating func beginElement() {
        if self.afterKey {
            self.afterKey = false
            return
        }
        if self.needsComma { self.buffer.writeInteger(UInt8(ascii: ",")) }
        if self.pretty && self.depth > 0 { self.newline() }
        self.needsComma = true
    }

    private mutating func newline() {
        self.buffer.writeInteger(UInt8(ascii: "\n"))
        self.buffer.writeRepeatingByte(UInt8(ascii: " "), count: 4 * self.depth)
    }

    // MARK: values

    public mutating func null() {
        self.beginElement()
        self.buffer.writeStaticString("null")
        self.needsComma = true
    }

    public mutating func bool(_ value: Bool) {
        self.beginElement()
        self.buffer.writeStaticString(value ? "true" : "false")
        self.needsComma = true
    }

    public mutating func number(_ value: UInt64) {
        self.beginElement()
        self.buffer.writeDecimal(value)
        self.needsComma = true
    }

    public mutating func number(_ value: Int) {
        self.beginElement()
        if value < 0 { self.buffer.writeInteger(UInt8(ascii: "-")) }
        self.buffer.writeDecimal(UInt64(value.magnitude))
        self.needsComma = true
    }

    /// Whole numbers without a fraction, as Go writes them.
    public mutating func number(_ value: Double) {
        if value == value.rounded(), value.magnitude < 1e15 {
            self.number(Int(value))
        } else {
            self.raw(value.isFinite ? "\(value)" : "0")
        }
    }

    public mutating func string(_ value: String) {
        self.beginElement()
        self.writeQuoted(value)
        self.needsComma = true
    }

    public mutating func string(bytes: [UInt8]) {
        self.beginElement()
        self.buffer.writeInteger(UInt8(ascii: "\""))
        bytes.withUnsafeBufferPointer { self.writeEscaped($0) }
        self.buffer.writeInteger(UInt8(ascii: "\""))
        self.needsComma = true
    }

    /// Bytes as base64; `null` when there are none, as Go writes an empty slice of a value.
    public mutating func base64(_ bytes: some Collection<UInt8>) {
        if bytes.isEmpty { return self.null() }
        self.beginElement()
        self.buffer.writeInteger(UInt8(ascii: "\""))
        self.buffer.writeBase64(bytes)
        self.buffer.writeInteger(UInt8(ascii: "\""))
        self.needsComma = true
    }

    /// A JSON text that is already written, compact. With `pretty` it is laid out anew.
    public mutating func raw(json: [UInt8]) {
        if self.pretty, let value = try? JSONValue.parse(json) {
            self.value(value)
        } else {
            self.beginElement()
            self.buffer.writeBytes(json)
            self.needsComma = true
        }
    }

    private mutating func raw(_ text: String) {
        self.beginElement()
        self.buffer.writeString(text)
        self.needsComma = true
    }

    public mutating func value(_ value: JSONValue) {
        switch value {
        case .null: self.null()
        case .bool(let flag): self.bool(flag)
        case .number(let text): self.raw(text)
        case .string(let text): self.string(text)
        case .array(let elements): self.array(elements) { $0.value($1) }
        case .object(let fields):
            self.object { writer in
                for field in fields {
                    writer.key(text: field.name)
                    writer.value(field.value)
                }
            }
        }
    }

    // MARK: text

    private mutating func writeQuoted(_ text: String) {
        self.buffer.writeInteger(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { self.writeEscaped($0) }
        self.buffer.writeInteger(UInt8(ascii: "\""))
    }

    private mutating func writeEscaped(_ bytes: UnsafeBufferPointer<UInt8>) {
        var plainFrom = 0
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            if byte < 0x80 {
                if byte >= 0x20, byte != 0x22, byte != 0x5C, byte != 0x3C, byte != 0x3E, byte != 0x26 {
                    position += 1
                    continue
                }
                self.buffer.writeBytes(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[plainFrom..<position]))
                self.writeEscape(byte)
                position += 1
                plainFrom = position
                continue
            }
            let length = utf8Length(bytes, at: position)
            let isSeparator =
                length == 3 && byte == 0xE2 && bytes[position + 1] == 0x80
                && (bytes[position + 2] == 0xA8 || bytes[position + 2] == 0xA9)
            if length > 0 && !isSeparator {
                position += length
                continue
            }
            self.buffer.writeBytes(
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[plainFrom..<position]))
            if isSeparator {
                self.buffer.writeStaticString(bytes[position + 2] == 0xA8 ? "\\u2028" : "\\u2029")
                position += 3
            } else {
                self.buffer.writeStaticString("\\ufffd")
                position += 1
            }
            plainFrom = position
        }
        self.buffer.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[plainFrom..<position]))
    }

    private mutating func writeEscape(_ byte: UInt8) {
        switch byte {
        case 0x22: self.buffer.writeStaticString("\\\"")
        case 0x5C: self.buffer.writeStaticString("\\\\")
        case 0x0A: self.buffer.writeStaticString("\\n")
        case 0x0D: self.buffer.writeStaticString("\\r")
        case 0x09: self.buffer.writeStaticString("\\t")
        default:
            self.buffer.writeStaticString("\\u00")
            self.buffer.writeInteger(hexDigits[Int(byte >> 4)])
            self.buffer.writeInteger(hexDigits[Int(byte & 15)])
        }
    }
}

private let hexDigits: [UInt8] = Array("0123456789abcdef".utf8)

/// Length of the well-formed UTF-8 sequence that starts at `position` with a byte ≥ 0x80; 0 when there is none.
@inline(__always)
func utf8Length(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int) -> Int {
    let first = bytes[position]
    func continuation(_ offset: Int) -> UInt8? {
        guard position + offset < bytes.count else { return nil }
        let byte = bytes[position + offset]
        return byte & 0xC0 == 0x80 ? byte : nil
    }
    switch first {
    case 0xC2...0xDF:
        return continuation(1) == nil ? 0 : 2
    case 0xE0...0xEF:
        guard let second = continuation(1), continuation(2) != nil else { return 0 }
        if first == 0xE0 && second < 0xA0 { return 0 }
        if first == 0xED && second > 0x9F { return 0 }
        return 3
    case 0xF0...0xF4:
        guard let second = continuation(1), continuation(2) != nil, continuation(3) != nil else { return 0 }
        if first == 0xF0 && second < 0x90 { return 0 }
        if first == 0xF4 && second > 0x8F { return 0 }
        return 4
    default:
        return 0
    }
}
