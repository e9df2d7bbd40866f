extension HCLParser {
    /// Text in double quotes. `${…}` is kept as it is, quotes and ends of lines within included.
    mutating func quoted() throws(HCLError) -> String {
        let start = self.cursor.position
        self.cursor.advance()
        var text: [UInt8] = []
        while let byte = self.cursor.current {
            switch byte {
            case UInt8(ascii: "\""):
                self.cursor.advance()
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\n"):
                throw self.cursor.error("the text that begins at \(start) does not end on its line", expected: "'\"'")
            case UInt8(ascii: "\\"):
                try self.escape(into: &text)
            case UInt8(ascii: "$") where self.cursor.peek(1) == UInt8(ascii: "{"):
                try self.interpolation(into: &text)
            default:
                text.append(byte)
                self.cursor.advance()
            }
        }
        throw self.cursor.error("the text that begins at \(start) does not end", expected: "'\"'")
    }

    private mutating func interpolation(into text: inout [UInt8]) throws(HCLError) {
        let start = self.cursor.position
        var open = 0
        while let byte = self.cursor.current {
            text.append(byte)
            self.cursor.advance()
            if byte == UInt8(ascii: "{") { open += 1 }
            if byte == UInt8(ascii: "}") {
                open -= 1
                if open == 0 { return }
            }
        }
        throw self.cursor.error("the ${ at \(start) does not end", expected: "'}'")
    }

    private mutating func escape(into text: inout [UInt8]) throws(HCLError) {
        let position = self.cursor.position
        self.cursor.advance()
        guard let byte = self.cursor.current else { return }
        switch byte {
        case UInt8(ascii: "a"): text.append(7)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "v"): text.append(11)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): text.append(byte)
        case UInt8(ascii: "x"): return try self.code(digits: 2, isScalar: false, from: position, into: &text)
        case UInt8(ascii: "u"): return try self.code(digits: 4, isScalar: true, from: position, into: &text)
        case UInt8(ascii: "U"): return try self.code(digits: 8, isScalar: true, from: position, into: &text)
        case UInt8(ascii: "0")...UInt8(ascii: "3"):
            return try self.octal(from: position, into: &text)
        default:
            throw self.cursor.error(
                "\\ before \(self.cursor.here)", expected: "one of \\\\ \\\" \\n \\t \\r \\uXXXX", at: position)
        }
        self.cursor.advance()
    }

    /// After `x`, `u` or `U`: so many hexadecimal digits, for a byte or for a Unicode scalar.
    private mutating func code(
        digits: Int, isScalar: Bool, from position: HCLPosition, into text: inout [UInt8]
    ) throws(HCLError) {
        self.cursor.advance()
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let digit = hexValue(self.cursor.current), value < 1 << 28 else {
                throw self.cursor.error(
                    "\(self.cursor.here) in an escape", expected: "\(digits) hexadecimal digits", at: position)
            }
            value = value << 4 | digit
            self.cursor.advance()
        }
        if !isScalar { return text.append(UInt8(truncatingIfNeeded: value)) }
        guard let scalar = Unicode.Scalar(value) else {
            throw self.cursor.error(
                "\(String(value, radix: 16)) is no Unicode character", expected: "one up to 10ffff, no surrogate",
                at: position)
        }
        text += Array(String(scalar).utf8)
    }

    private mutating func octal(from position: HCLPosition, into text: inout [UInt8]) throws(HCLError) {
        var value: UInt8 = 0
        for _ in 0..<3 {
            guard let byte = self.cursor.current, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(byte) else {
                throw self.cursor.error(
                    "\(self.cursor.here) in an escape", expected: "three octal digits", at: position)
            }
            value = value << 3 | (byte - UInt8(ascii: "0"))
            self.cursor.advance()
        }
        text.append(value)
    }

    // MARK: - heredocs

    /// `<<WORD`, lines, `WORD` on a line of its own; `<<-WORD` may have its end indented, and the lines lose as much of
    /// their indentation if all of them have it.
    mutating func heredoc() throws(HCLError) -> String {
        let start = self.cursor.position
        self.cursor.advance()
        guard self.cursor.take(UInt8(ascii: "<")) else {
            throw self.cursor.error("'<'", expected: "a value", at: start)
        }
        let isIndented = self.cursor.take(UInt8(ascii: "-"))
        guard let byte = self.cursor.current, isWordByte(byte) else {
            throw self.cursor.error("\(self.cursor.here) after <<", expected: "a word such as EOF")
        }
        let marker = Array(self.word().utf8)
        _ = self.cursor.take(UInt8(ascii: "\r"))
        guard self.cursor.take(UInt8(ascii: "\n")) else {
            throw self.cursor.error("\(self.cursor.here) after the heredoc's word", expected: "the end of the line")
        }
        var lines: [ArraySlice<UInt8>] = []
        while self.cursor.current != nil {
            let line = self.line()
            let indent = line.prefix { isIndented && ($0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t")) }
            var rest = line[indent.endIndex...]
            if rest.last == UInt8(ascii: "\r") { rest = rest.dropLast() }
            if rest.elementsEqual(marker) { return Self.joined(lines, without: indent) }
            lines.append(line)
            if !self.cursor.take(UInt8(ascii: "\n")) { break }
        }
        throw self.cursor.error(
            "the heredoc that begins at \(start) does not end",
            expected: "a line \(String(decoding: marker, as: UTF8.self))")
    }

    /// The rest of the line, without its end.
    private mutating func line() -> ArraySlice<UInt8> {
        let start = self.cursor.offset
        while let byte = self.cursor.current, byte != UInt8(ascii: "\n") { self.cursor.advance() }
        return self.cursor.bytes[start..<self.cursor.offset]
    }

    private static func joined(_ lines: [ArraySlice<UInt8>], without indent: ArraySlice<UInt8>) -> String {
        let dropped = lines.allSatisfy { $0.starts(with: indent) } ? indent.count : 0
        var text: [UInt8] = []
        for line in lines {
            text += line.dropFirst(dropped)
            text.append(UInt8(ascii: "\n"))
        }
        return String(decoding: text, as: UTF8.self)
    }

    // MARK: - numbers

    /// Whole numbers in base ten, sixteen (`0x`) or eight (a leading `0`), and floating-point ones.
    mutating func number() throws(HCLError) -> HCLValue.Content {
        let position = self.cursor.position
        let start = self.cursor.offset
        if self.cursor.current == UInt8(ascii: "-") { self.cursor.advance() }
        while let byte = self.cursor.current {
            let isExponentSign =
                (byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-"))
                && self.cursor.bytes[self.cursor.offset - 1] | 0x20 == UInt8(ascii: "e")
            guard isExponentSign || isWordByte(byte) && byte != UInt8(ascii: "-") else { break }
            self.cursor.advance()
        }
        let text = String(decoding: self.cursor.bytes[start..<self.cursor.offset], as: UTF8.self)
        guard let content = Self.number(text) else {
            let isDuration = text.utf8.count > 1 && text.utf8.last.map { !isDigit($0) } ?? false
            throw self.cursor.error(
                "'\(text.prefix(40))' is no number",
                expected: isDuration
                    ? "a number, or text in double quotes (\"\(text.prefix(40))\")" : "a number that fits",
                at: position)
        }
        return content
    }

    private static func number(_ text: String) -> HCLValue.Content? {
        let isNegative = text.utf8.first == UInt8(ascii: "-")
        let digits = isNegative ? text.dropFirst() : text[...]
        guard let first = digits.utf8.first, isDigit(first) || first == UInt8(ascii: ".") else { return nil }
        let sign = isNegative ? "-" : ""
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
            return Int64(sign + digits.dropFirst(2), radix: 16).map { .integer($0) }
        }
        if digits.utf8.allSatisfy(isDigit) {
            let radix = digits.utf8.count > 1 && first == UInt8(ascii: "0") ? 8 : 10
            return Int64(sign + digits, radix: radix).map { .integer($0) }
        }
        guard
            digits.utf8.allSatisfy({
                isDigit($0) || [UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-")].contains($0)
                    || $0 | 0x20 == UInt8(ascii: "e")
            }),
            let value = Double(text), value.isFinite
        else { return nil }
        return .number(value)
    }
}
