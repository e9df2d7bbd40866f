private func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) }
private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

extension FilterParser {
    /// `A.B["key"]`, or a JSON pointer in quotes. Nil, and nothing is read, where none stands.
    mutating func selector(takesPointers: Bool) -> [String]? {
        let start = self.cursor.offset
        if takesPointers, self.cursor.current == UInt8(ascii: "\""), let pointer = self.pointer() { return pointer }
        self.cursor.offset = start
        guard let first = self.identifier() else { return nil }
        var path = [first]
        while true {
            let end = self.cursor.offset
            if self.cursor.take("."), let name = self.identifier() {
                path.append(name)
                continue
            }
            self.cursor.offset = end
            guard let key = self.key() else {
                self.cursor.offset = end
                return path
            }
            path.append(key)
        }
    }

    private mutating func identifier() -> String? {
        let start = self.cursor.offset
        guard self.cursor.take("[a-zA-Z]", isLetter) else { return nil }
        while self.cursor.take("[a-zA-Z0-9_]", { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }) {}
        return String(decoding: self.cursor.bytes[start..<self.cursor.offset], as: UTF8.self)
    }

    /// `["key"]`.
    private mutating func key() -> String? {
        guard self.cursor.take("[") else { return nil }
        _ = self.cursor.blanks()
        guard let key = self.string() else {
            self.cursor.problem("Invalid index", rule: "index")
            return nil
        }
        _ = self.cursor.blanks()
        if self.cursor.take("]") { return key }
        self.cursor.problem("Unclosed index expression", rule: "index")
        return nil
    }

    /// `"/A/B"`; `~1` and `~0` stand for `/` and `~` (RFC 6901).
    private mutating func pointer() -> [String]? {
        var end = self.cursor.offset + 1
        let bytes = self.cursor.bytes
        guard end < bytes.count, bytes[end] == UInt8(ascii: "/") else { return nil }
        while end < bytes.count, bytes[end] != UInt8(ascii: "\"") {
            let byte = bytes[end]
            guard isLetter(byte) || isDigit(byte) || byte >= 0x80 || "/-_.~|".utf8.contains(byte) else { return nil }
            end += 1
        }
        guard end < bytes.count else { return nil }
        let text = bytes[(self.cursor.offset + 2)..<end]
        let parts = text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if parts.contains(where: \.isEmpty) { return nil }
        self.cursor.offset = end + 1
        return parts.map { Self.unescaped($0) }
    }

    private static func unescaped(_ part: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var escaped = false
        for byte in part {
            if escaped {
                bytes += byte == UInt8(ascii: "1") ? [0x2F] : byte == UInt8(ascii: "0") ? [0x7E] : [0x7E, byte]
                escaped = false
            } else if byte == UInt8(ascii: "~") {
                escaped = true
            } else {
                bytes.append(byte)
            }
        }
        if escaped { bytes.append(UInt8(ascii: "~")) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A word, a number or a string. Nil, and nothing is read, where none stands.
    mutating func value() -> String? {
        let start = self.cursor.offset
        if let words = self.selector(takesPointers: false) { return words.joined(separator: ".") }
        self.cursor.offset = start
        if let number = self.number() { return number }
        self.cursor.offset = start
        return self.string()
    }

    private mutating func number() -> String? {
        let start = self.cursor.offset
        _ = self.cursor.take("-")
        if !self.cursor.take("0") {
            guard self.cursor.take("[1-9]", { isDigit($0) && $0 != UInt8(ascii: "0") }) else { return nil }
            while self.cursor.take("[0-9]", isDigit) {}
        }
        let whole = self.cursor.offset
        if self.cursor.take(".") {
            let point = self.cursor.offset
            while self.cursor.take("[0-9]", isDigit) {}
            if self.cursor.offset == point { self.cursor.offset = whole }
        }
        let end = self.cursor.offset
        let follows = self.cursor.blanks() || self.cursor.isAtEnd || self.cursor.current == UInt8(ascii: ")")
        self.cursor.offset = end
        guard follows else {
            self.cursor.problem("Invalid number literal", rule: "number")
            return nil
        }
        return String(decoding: self.cursor.bytes[start..<end], as: UTF8.self)
    }

    /// In double quotes with Go's escapes, or in backquotes as it stands.
    private mutating func string() -> String? {
        let start = self.cursor.offset
        let isRaw = self.cursor.take("`")
        guard isRaw || self.cursor.take("\"") else { return nil }
        let quote: UInt8 = isRaw ? 0x60 : 0x22
        guard let end = self.cursor.bytes[self.cursor.offset...].firstIndex(of: quote) else {
            self.cursor.offset = self.cursor.bytes.count
            self.cursor.problem("Unterminated string literal", rule: "string")
            return nil
        }
        let inside = self.cursor.bytes[self.cursor.offset..<end]
        self.cursor.offset = end + 1
        if isRaw { return String(decoding: inside.filter { $0 != 0x0D }, as: UTF8.self) }
        guard let text = unquoted(inside) else {
            self.cursor.problem("invalid syntax", rule: "string", at: start)
            return ""
        }
        return text
    }
}

/// Go's `strconv.Unquote` for what stands in double quotes; nil when an escape is wrong.
private func unquoted(_ bytes: ArraySlice<UInt8>) -> String? {
    var text: [UInt8] = []
    var rest = bytes
    while let byte = rest.popFirst() {
        if byte == 0x0A { return nil }
        guard byte == UInt8(ascii: "\\") else {
            text.append(byte)
            continue
        }
        guard let escape = rest.popFirst() else { return nil }
        switch escape {
        case UInt8(ascii: "a"): text.append(0x07)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "v"): text.append(0x0B)
        case UInt8(ascii: "\\"): text.append(escape)
        case UInt8(ascii: "x"):
            guard let value = number(&rest, digits: 2, radix: 16) else { return nil }
            text.append(UInt8(truncatingIfNeeded: value))
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            let digits = escape == UInt8(ascii: "u") ? 4 : 8
            guard let value = number(&rest, digits: digits, radix: 16), let scalar = Unicode.Scalar(value) else {
                return nil
            }
            text += Array(Character(scalar).utf8)
        case 0x30...0x37:
            guard let low = number(&rest, digits: 2, radix: 8) else { return nil }
            let value = UInt32(escape - 0x30) * 64 + low
            guard value < 256 else { return nil }
            text.append(UInt8(value))
        default: return nil
        }
    }
    return String(decoding: text, as: UTF8.self)
}

private func number(_ rest: inout ArraySlice<UInt8>, digits: Int, radix: UInt32) -> UInt32? {
    guard rest.count >= digits else { return nil }
    var value: UInt32 = 0
    for _ in 0..<digits {
        guard let digit = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }),
            digit < Int(radix)
        else { return nil }
        value = value &* radix &+ UInt32(digit)
    }
    return value
}
