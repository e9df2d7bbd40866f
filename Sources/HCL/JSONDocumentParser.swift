/// JSON (RFC 8259) into the same tree as HCL, with positions. Of two fields of one name the later counts, as in Go.
struct JSONDocumentParser {
    private var cursor: Cursor
    private let depth: Int

    init(_ cursor: Cursor, depth: Int) {
        self.cursor = cursor
        self.depth = depth
    }

    mutating func document() throws(HCLError) -> HCLValue {
        self.cursor.skipBlanks()
        let value = try self.value(depth: 0)
        guard value.fields != nil else {
            throw self.cursor.error("the outermost value is \(value.kind)", expected: "an object", at: value.position)
        }
        self.cursor.skipBlanks()
        if self.cursor.current != nil {
            throw self.cursor.error("\(self.cursor.here) after the document", expected: "nothing more")
        }
        return value
    }

    private mutating func value(depth: Int) throws(HCLError) -> HCLValue {
        if depth > self.depth {
            throw self.cursor.error("more than \(self.depth) objects and lists within each other", expected: "fewer")
        }
        let position = self.cursor.position
        switch self.cursor.current {
        case UInt8(ascii: "{"):
            self.cursor.advance()
            return HCLValue(.object(try self.fields(of: position, depth: depth)), at: position)
        case UInt8(ascii: "["):
            self.cursor.advance()
            return HCLValue(.list(try self.items(of: position, depth: depth)), at: position)
        case UInt8(ascii: "\""):
            return HCLValue(.text(try self.string()), at: position)
        case .some(let byte) where isDigit(byte) || byte == UInt8(ascii: "-"):
            return HCLValue(try self.number(), at: position)
        case .some(let byte) where isWordStart(byte):
            return HCLValue(try self.word(at: position), at: position)
        default:
            throw self.cursor.error(self.cursor.here, expected: "a value")
        }
    }

    private mutating func word(at position: HCLPosition) throws(HCLError) -> HCLValue.Content {
        let here = self.cursor.here
        for (word, content) in [("true", HCLValue.Content.bool(true)), ("false", .bool(false)), ("null", .null)]
        where here == "'\(word)'" {
            self.cursor.advance(word.utf8.count)
            return content
        }
        throw self.cursor.error(
            "\(here) is no JSON value", expected: "true, false, null, a number or text in double quotes", at: position)
    }

    private mutating func fields(of opening: HCLPosition, depth: Int) throws(HCLError) -> [HCLField] {
        var list = FieldList()
        self.cursor.skipBlanks()
        if self.cursor.take(UInt8(ascii: "}")) { return [] }
        while true {
            self.cursor.skipBlanks()
            let position = self.cursor.position
            guard self.cursor.current == UInt8(ascii: "\"") else {
                throw self.unfinished("object", opening, or: "a key in double quotes")
            }
            let name = try self.string()
            self.cursor.skipBlanks()
            guard self.cursor.take(UInt8(ascii: ":")) else {
                throw self.cursor.error("\(self.cursor.here) after a key", expected: "':'")
            }
            self.cursor.skipBlanks()
            list.add(HCLField(name, try self.value(depth: depth + 1), at: position), joiningObjects: false)
            self.cursor.skipBlanks()
            if self.cursor.take(UInt8(ascii: ",")) { continue }
            if self.cursor.take(UInt8(ascii: "}")) { return list.fields }
            throw self.unfinished("object", opening, or: "',' or '}'")
        }
    }

    private mutating func items(of opening: HCLPosition, depth: Int) throws(HCLError) -> [HCLValue] {
        var items: [HCLValue] = []
        self.cursor.skipBlanks()
        if self.cursor.take(UInt8(ascii: "]")) { return [] }
        while true {
            self.cursor.skipBlanks()
            items.append(try self.value(depth: depth + 1))
            self.cursor.skipBlanks()
            if self.cursor.take(UInt8(ascii: ",")) { continue }
            if self.cursor.take(UInt8(ascii: "]")) { return items }
            throw self.unfinished("list", opening, or: "',' or ']'")
        }
    }

    private func unfinished(_ what: String, _ opening: HCLPosition, or expected: String) -> HCLError {
        self.cursor.current == nil
            ? self.cursor.error("the \(what) that begins at \(opening) does not end", expected: expected)
            : self.cursor.error(self.cursor.here, expected: expected)
    }

    // MARK: - text and numbers

    private mutating func string() throws(HCLError) -> String {
        let start = self.cursor.position
        self.cursor.advance()
        var text: [UInt8] = []
        while let byte = self.cursor.current {
            switch byte {
            case UInt8(ascii: "\""):
                self.cursor.advance()
                return String(decoding: text, as: UTF8.self)
            case 0..<0x20:
                throw self.cursor.error("\(self.cursor.here) within text", expected: "an escape such as \\n")
            case UInt8(ascii: "\\"):
                try self.escape(into: &text)
            default:
                text.append(byte)
                self.cursor.advance()
            }
        }
        throw self.cursor.error("the text that begins at \(start) does not end", expected: "'\"'")
    }

    private mutating func escape(into text: inout [UInt8]) throws(HCLError) {
        let position = self.cursor.position
        self.cursor.advance()
        switch self.cursor.current {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(self.cursor.current ?? 0)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            self.cursor.advance()
            let scalar = try self.scalar(from: position)
            text += Array(String(scalar).utf8)
            return
        default:
            throw self.cursor.error(
                "\\ before \(self.cursor.here)", expected: "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX",
                at: position)
        }
        self.cursor.advance()
    }

    /// A surrogate without its other half stands for U+FFFD.
    private mutating func scalar(from position: HCLPosition) throws(HCLError) -> Unicode.Scalar {
        let replacement: Unicode.Scalar = "\u{FFFD}"
        let first = try self.fourDigits(from: position)
        guard (0xD800..<0xDC00).contains(first), self.cursor.current == UInt8(ascii: "\\"),
            self.cursor.peek(1) == UInt8(ascii: "u")
        else { return Unicode.Scalar(first) ?? replacement }
        let before = self.cursor
        self.cursor.advance(2)
        let second = try self.fourDigits(from: position)
        guard (0xDC00..<0xE000).contains(second) else {
            self.cursor = before
            return replacement
        }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)) ?? replacement
    }

    private mutating func fourDigits(from position: HCLPosition) throws(HCLError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = hexValue(self.cursor.current) else {
                throw self.cursor.error(
                    "\(self.cursor.here) in an escape", expected: "4 hexadecimal digits", at: position)
            }
            value = value << 4 | digit
            self.cursor.advance()
        }
        return value
    }

    /// A whole number that 64 bits don't hold becomes a floating-point one.
    private mutating func number() throws(HCLError) -> HCLValue.Content {
        let position = self.cursor.position
        let start = self.cursor.offset
        _ = self.cursor.take(UInt8(ascii: "-"))
        let isLeadingZero = self.cursor.current == UInt8(ascii: "0")
        let whole = self.digits()
        var isFloating = false
        var isRight = whole > 0 && !(isLeadingZero && whole > 1)
        if self.cursor.take(UInt8(ascii: ".")) {
            isFloating = true
            isRight = self.digits() > 0 && isRight
        }
        if let byte = self.cursor.current, byte | 0x20 == UInt8(ascii: "e") {
            isFloating = true
            self.cursor.advance()
            if !self.cursor.take(UInt8(ascii: "+")) { _ = self.cursor.take(UInt8(ascii: "-")) }
            isRight = self.digits() > 0 && isRight
        }
        let text = String(decoding: self.cursor.bytes[start..<self.cursor.offset], as: UTF8.self)
        if isRight, !isFloating, let value = Int64(text) { return .integer(value) }
        if isRight, let value = Double(text), value.isFinite { return .number(value) }
        throw self.cursor.error("'\(text.prefix(40))' is no JSON number", expected: "a number that fits", at: position)
    }

    private mutating func digits() -> Int {
        let start = self.cursor.offset
        while let byte = self.cursor.current, isDigit(byte) { self.cursor.advance() }
        return self.cursor.offset - start
    }
}
