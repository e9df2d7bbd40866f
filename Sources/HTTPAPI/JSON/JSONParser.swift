/// A recursive-descent JSON parser over bytes. Every step either advances or fails, so its time is linear in the input.
struct JSONParser {
    private let bytes: [UInt8]
    private let maximumDepth: Int
    private var position = 0

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func parseDocument() throws(JSONError) -> JSONValue {
        self.skipSpace()
        if self.position == self.bytes.count { throw JSONError("EOF") }
        return try self.parseValue(depth: 0)
    }

    private mutating func parseValue(depth: Int) throws(JSONError) -> JSONValue {
        if depth > self.maximumDepth { throw JSONError("exceeded max depth") }
        switch try self.current() {
        case UInt8(ascii: "{"): return try self.parseObject(depth: depth)
        case UInt8(ascii: "["): return try self.parseArray(depth: depth)
        case UInt8(ascii: "\""): return .string(try self.parseString())
        case UInt8(ascii: "t"): return try self.parseWord("true", as: .bool(true))
        case UInt8(ascii: "f"): return try self.parseWord("false", as: .bool(false))
        case UInt8(ascii: "n"): return try self.parseWord("null", as: .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try self.parseNumber())
        default: throw self.unexpected("looking for beginning of value")
        }
    }

    private mutating func parseObject(depth: Int) throws(JSONError) -> JSONValue {
        self.position += 1
        var fields: [JSONValue.Field] = []
        self.skipSpace()
        if try self.current() == UInt8(ascii: "}") {
            self.position += 1
            return .object(fields)
        }
        while true {
            self.skipSpace()
            if try self.current() != UInt8(ascii: "\"") {
                throw self.unexpected("looking for beginning of object key string")
            }
            let name = try self.parseString()
            self.skipSpace()
            if try self.current() != UInt8(ascii: ":") { throw self.unexpected("after object key") }
            self.position += 1
            self.skipSpace()
            fields.append(.init(name: name, value: try self.parseValue(depth: depth + 1)))
            self.skipSpace()
            switch try self.current() {
            case UInt8(ascii: ","): self.position += 1
            case UInt8(ascii: "}"):
                self.position += 1
                return .object(fields)
            default: throw self.unexpected("after object key:value pair")
            }
        }
    }

    private mutating func parseArray(depth: Int) throws(JSONError) -> JSONValue {
        self.position += 1
        var elements: [JSONValue] = []
        self.skipSpace()
        if try self.current() == UInt8(ascii: "]") {
            self.position += 1
            return .array(elements)
        }
        while true {
            self.skipSpace()
            elements.append(try self.parseValue(depth: depth + 1))
            self.skipSpace()
            switch try self.current() {
            case UInt8(ascii: ","): self.position += 1
            case UInt8(ascii: "]"):
                self.position += 1
                return .array(elements)
            default: throw self.unexpected("after array element")
            }
        }
    }

    private mutating func parseWord(_ word: StaticString, as value: JSONValue) throws(JSONError) -> JSONValue {
        for offset in 0..<word.utf8CodeUnitCount {
            let expected = word.utf8Start[offset]
            if try self.current() != expected {
                let shown = Character(Unicode.Scalar(expected))
                throw self.unexpected("in literal \(word) (expecting '\(shown)')")
            }
            self.position += 1
        }
        return value
    }

    private mutating func parseNumber() throws(JSONError) -> String {
        let start = self.position
        if self.bytes[self.position] == UInt8(ascii: "-") { self.position += 1 }
        if try self.current() == UInt8(ascii: "0") {
            self.position += 1
        } else {
            try self.digits("in numeric literal")
        }
        if self.peek == UInt8(ascii: ".") {
            self.position += 1
            try self.digits("after decimal point in numeric literal")
        }
        if self.peek == UInt8(ascii: "e") || self.peek == UInt8(ascii: "E") {
            self.position += 1
            if self.peek == UInt8(ascii: "+") || self.peek == UInt8(ascii: "-") { self.position += 1 }
            try self.digits("in exponent of numeric literal")
        }
        return String(decoding: self.bytes[start..<self.position], as: UTF8.self)
    }

    /// One digit or more.
    private mutating func digits(_ place: String) throws(JSONError) {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(try self.current()) else { throw self.unexpected(place) }
        while let byte = self.peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { self.position += 1 }
    }

    private mutating func parseString() throws(JSONError) -> String {
        self.position += 1
        let start = self.position
        // Most strings have no escapes: they are taken in one piece.
        while let byte = self.peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
            self.position += 1
        }
        if self.peek == UInt8(ascii: "\"") {
            defer { self.position += 1 }
            return String(decoding: self.bytes[start..<self.position], as: UTF8.self)
        }
        var text = Array(self.bytes[start..<self.position])
        while true {
            let byte = try self.current()
            switch byte {
            case UInt8(ascii: "\""):
                self.position += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                self.position += 1
                try self.parseEscape(into: &text)
            case ..<0x20:
                throw self.unexpected("in string literal")
            default:
                text.append(byte)
                self.position += 1
            }
        }
    }

    private mutating func parseEscape(into text: inout [UInt8]) throws(JSONError) {
        let byte = try self.current()
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            self.position += 1
            var unit = try self.hexUnit()
            if (0xD800..<0xDC00).contains(unit), self.peek == UInt8(ascii: "\\"),
                self.position + 1 < self.bytes.count, self.bytes[self.position + 1] == UInt8(ascii: "u")
            {
                let before = self.position
                self.position += 2
                let low = try self.hexUnit()
                if (0xDC00..<0xE000).contains(low) {
                    unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    self.position = before
                }
            }
            let scalar = Unicode.Scalar(unit) ?? "\u{FFFD}"
            text.append(contentsOf: UTF8.encode(scalar) ?? .init())
            return
        default: throw self.unexpected("in string escape code")
        }
        self.position += 1
    }

    private mutating func hexUnit() throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = hexDigit(try self.current()) else {
                throw self.unexpected("in \\u hexadecimal character escape")
            }
            unit = unit << 4 | UInt32(digit)
            self.position += 1
        }
        return unit
    }

    private var peek: UInt8? { self.position < self.bytes.count ? self.bytes[self.position] : nil }

    private func current() throws(JSONError) -> UInt8 {
        guard self.position < self.bytes.count else { throw JSONError("unexpected EOF") }
        return self.bytes[self.position]
    }

    private mutating func skipSpace() {
        while let byte = self.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { self.position += 1 }
    }

    /// `invalid character 'b' looking for …`; the byte is shown as Go shows it.
    private func unexpected(_ place: String) -> JSONError {
        let byte = self.bytes[self.position]
        let shown =
            switch byte {
            case UInt8(ascii: "'"): "\\'"
            case UInt8(ascii: "\n"): "\\n"
            case UInt8(ascii: "\r"): "\\r"
            case UInt8(ascii: "\t"): "\\t"
            case UInt8(ascii: "\\"): "\\\\"
            case 0x20..<0x7F: String(Character(Unicode.Scalar(byte)))
            case 0x80...: String(Character(Unicode.Scalar(byte)))
            default: "\\x" + String(UInt16(byte) + 0x100, radix: 16).dropFirst()
            }
        return JSONError("invalid character '\(shown)' \(place)")
    }
}

@inline(__always)
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
