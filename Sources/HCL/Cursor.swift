/// A place in a document's bytes that knows its line and column.
struct Cursor {
    let bytes: [UInt8]
    let file: String
    private(set) var offset = 0
    private(set) var position = HCLPosition.start

    init(_ bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
        // A byte order mark says nothing in UTF-8.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { self.offset = 3 }
    }

    /// Nil at the end.
    var current: UInt8? { self.offset < self.bytes.count ? self.bytes[self.offset] : nil }

    func peek(_ ahead: Int) -> UInt8? {
        self.offset + ahead < self.bytes.count ? self.bytes[self.offset + ahead] : nil
    }

    mutating func advance() {
        guard let byte = self.current else { return }
        self.offset += 1
        if byte == UInt8(ascii: "\n") {
            self.position = HCLPosition(line: self.position.line + 1, column: 1)
        } else if byte & 0xC0 != 0x80 {
            self.position.column += 1
        }
    }

    mutating func advance(_ count: Int) {
        for _ in 0..<count { self.advance() }
    }

    /// Steps over `byte` if it stands here.
    mutating func take(_ byte: UInt8) -> Bool {
        guard self.current == byte else { return false }
        self.advance()
        return true
    }

    mutating func skipBlanks() {
        while let byte = self.current, isBlank(byte) { self.advance() }
    }

    func error(_ problem: String, expected: String = "", at position: HCLPosition? = nil) -> HCLError {
        HCLError(file: self.file, position: position ?? self.position, problem: problem, expected: expected)
    }

    /// How errors call what stands here.
    var here: String {
        guard let byte = self.current else { return "the end of the file" }
        switch byte {
        case UInt8(ascii: "\n"), UInt8(ascii: "\r"): return "the end of the line"
        case 0x21...0x7E where !isWordByte(byte): return "'\(String(UnicodeScalar(byte)))'"
        case _ where isWordByte(byte):
            let word = self.bytes[self.offset...].prefix(24).prefix { isWordByte($0) }
            return "'\(String(decoding: word, as: UTF8.self))'"
        default:
            let scalar = String(decoding: self.bytes[self.offset...].prefix(4), as: UTF8.self).unicodeScalars.first
            let value = String(scalar?.value ?? 0, radix: 16, uppercase: true)
            return "character U+\(String(repeating: "0", count: max(0, 4 - value.count)))\(value)"
        }
    }

    func demandUTF8() throws(HCLError) {
        if String(validating: self.bytes, as: UTF8.self) != nil { return }
        var walker = self
        while walker.current != nil {
            let rest = self.bytes[walker.offset...].prefix(4)
            // The longest sequence is four bytes: a prefix of them that is valid steps over one scalar at least.
            guard
                let length = (1...rest.count).first(where: { String(validating: rest.prefix($0), as: UTF8.self) != nil }
                )
            else { break }
            walker.advance(length)
        }
        throw walker.error("the file is not UTF-8 from here on", expected: "UTF-8 text")
    }
}

func isBlank(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
}

func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// A letter, `_`, or a byte of a letter beyond ASCII.
func isWordStart(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) && byte < 0x80 || byte == UInt8(ascii: "_")
        || byte >= 0x80
}

func isWordByte(_ byte: UInt8) -> Bool {
    isWordStart(byte) || isDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
}

func hexValue(_ byte: UInt8?) -> UInt32? {
    switch byte {
    case .some(UInt8(ascii: "0")...UInt8(ascii: "9")): UInt32((byte ?? 0) - UInt8(ascii: "0"))
    case .some(UInt8(ascii: "a")...UInt8(ascii: "f")): UInt32((byte ?? 0) - UInt8(ascii: "a") + 10)
    case .some(UInt8(ascii: "A")...UInt8(ascii: "F")): UInt32((byte ?? 0) - UInt8(ascii: "A") + 10)
    default: nil
    }
}
