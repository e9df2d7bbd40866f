/// HCL by recursive descent. Every step goes forward or fails, so its time is linear in the document.
struct HCLParser {
    var cursor: Cursor
    private let depth: Int

    init(_ cursor: Cursor, depth: Int) {
        self.cursor = cursor
        self.depth = depth
    }

    mutating func document() throws(HCLError) -> HCLValue {
        let start = self.cursor.position
        let fields = try self.fields(of: nil, depth: 0)
        return HCLValue(.object(fields), at: start)
    }

    /// The items up to the closing brace, which is stepped over, or, of the whole document, up to its end.
    private mutating func fields(of opening: HCLPosition?, depth: Int) throws(HCLError) -> [HCLField] {
        var list = FieldList()
        var mayHaveComma = false
        while true {
            try self.skipSpace()
            switch self.cursor.current {
            case nil:
                guard let opening else { return list.fields }
                throw self.cursor.error("the object that begins at \(opening) does not end", expected: "'}'")
            case UInt8(ascii: "}"):
                if opening == nil { throw self.cursor.error("'}' without a '{'", expected: "a key") }
                self.cursor.advance()
                return list.fields
            case UInt8(ascii: ",") where mayHaveComma:
                self.cursor.advance()
                mayHaveComma = false
            default:
                list.add(try self.item(depth: depth), joiningObjects: true)
                mayHaveComma = true
            }
        }
    }

    /// `key = value`, or `key "label" { … }`: each label is an object within the one before.
    private mutating func item(depth: Int) throws(HCLError) -> HCLField {
        var names = [try self.name()]
        while true {
            try self.skipSpace()
            let depth = depth + names.count
            if depth > self.depth { throw self.tooDeep() }
            let position = self.cursor.position
            switch self.cursor.current {
            case UInt8(ascii: "=") where names.count == 1:
                self.cursor.advance()
                try self.skipSpace()
                return HCLField(names[0].name, try self.value(depth: depth), at: names[0].position)
            case UInt8(ascii: "="):
                throw self.cursor.error("'=' after a label", expected: "'{'")
            case UInt8(ascii: "{"):
                self.cursor.advance()
                let block = HCLValue(.object(try self.fields(of: position, depth: depth)), at: position)
                let value = names.dropFirst().reversed().reduce(block) { inner, label in
                    HCLValue(.object([HCLField(label.name, inner, at: label.position)]), at: label.position)
                }
                return HCLField(names[0].name, value, at: names[0].position)
            case UInt8(ascii: "\""):
                names.append(try self.name())
            case .some(let byte) where isWordStart(byte):
                names.append(try self.name())
            default:
                throw self.cursor.error(
                    "\(self.cursor.here) after the key \(names[0].name)",
                    expected: names.count == 1 ? "'=' and a value, or '{'" : "'{'")
            }
        }
    }

    private mutating func name() throws(HCLError) -> (name: String, position: HCLPosition) {
        let position = self.cursor.position
        guard let byte = self.cursor.current else { throw self.cursor.error("the file ends", expected: "a key") }
        if byte == UInt8(ascii: "\"") { return (try self.quoted(), position) }
        guard isWordStart(byte) else { throw self.cursor.error(self.cursor.here, expected: "a key") }
        return (self.word(), position)
    }

    mutating func word() -> String {
        let start = self.cursor.offset
        while let byte = self.cursor.current, isWordByte(byte) { self.cursor.advance() }
        return String(decoding: self.cursor.bytes[start..<self.cursor.offset], as: UTF8.self)
    }

    func tooDeep() -> HCLError {
        self.cursor.error("more than \(self.depth) objects and lists within each other", expected: "fewer")
    }

    // MARK: - values

    private mutating func value(depth: Int) throws(HCLError) -> HCLValue {
        if depth > self.depth { throw self.tooDeep() }
        let position = self.cursor.position
        switch self.cursor.current {
        case UInt8(ascii: "\""):
            return HCLValue(.text(try self.quoted()), at: position)
        case UInt8(ascii: "<"):
            return HCLValue(.text(try self.heredoc()), at: position)
        case UInt8(ascii: "{"):
            self.cursor.advance()
            return HCLValue(.object(try self.fields(of: position, depth: depth)), at: position)
        case UInt8(ascii: "["):
            self.cursor.advance()
            return HCLValue(.list(try self.items(of: position, depth: depth)), at: position)
        case .some(let byte) where isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "."):
            return HCLValue(try self.number(), at: position)
        case .some(let byte) where isWordStart(byte):
            switch self.word() {
            case "true": return HCLValue(.bool(true), at: position)
            case "false": return HCLValue(.bool(false), at: position)
            case let word:
                throw self.cursor.error(
                    "'\(word)' is no value",
                    expected: "a number, true, false, a list, an object or text in double quotes",
                    at: position)
            }
        default:
            throw self.cursor.error(self.cursor.here, expected: "a value")
        }
    }

    private mutating func items(of opening: HCLPosition, depth: Int) throws(HCLError) -> [HCLValue] {
        var items: [HCLValue] = []
        while true {
            try self.skipSpace()
            if self.cursor.take(UInt8(ascii: "]")) { return items }
            if self.cursor.current == nil {
                throw self.cursor.error("the list that begins at \(opening) does not end", expected: "']'")
            }
            items.append(try self.value(depth: depth + 1))
            try self.skipSpace()
            if self.cursor.take(UInt8(ascii: ",")) || self.cursor.current == nil { continue }
            if self.cursor.current != UInt8(ascii: "]") {
                throw self.cursor.error("\(self.cursor.here) after an element of a list", expected: "',' or ']'")
            }
        }
    }

    // MARK: - between

    /// Steps over blanks, ends of lines and comments.
    private mutating func skipSpace() throws(HCLError) {
        while let byte = self.cursor.current {
            if isBlank(byte) {
                self.cursor.advance()
            } else if byte == UInt8(ascii: "#") {
                self.skipLine()
            } else if byte == UInt8(ascii: "/"), self.cursor.peek(1) == UInt8(ascii: "/") {
                self.skipLine()
            } else if byte == UInt8(ascii: "/"), self.cursor.peek(1) == UInt8(ascii: "*") {
                try self.skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipLine() {
        while let byte = self.cursor.current, byte != UInt8(ascii: "\n") { self.cursor.advance() }
    }

    private mutating func skipComment() throws(HCLError) {
        let start = self.cursor.position
        self.cursor.advance(2)
        while self.cursor.current != nil {
            if self.cursor.current == UInt8(ascii: "*"), self.cursor.peek(1) == UInt8(ascii: "/") {
                self.cursor.advance(2)
                return
            }
            self.cursor.advance()
        }
        throw self.cursor.error("the comment that begins at \(start) does not end", expected: "'*/'")
    }
}
