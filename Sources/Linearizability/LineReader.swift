/// A value in a history line: flat JSON without fractions, nested objects or nulls.
enum LineValue {
    case number(UInt64)
    case string(String)
    case bool(Bool)
    case numbers([UInt64])
    case strings([String])

    func number(_ name: String) throws(LineError) -> UInt64 {
        if case .number(let value) = self { return value }
        throw LineError("\(name) must be a number")
    }
    func string(_ name: String) throws(LineError) -> String {
        if case .string(let value) = self { return value }
        throw LineError("\(name) must be a string")
    }
    func bool(_ name: String) throws(LineError) -> Bool {
        if case .bool(let value) = self { return value }
        throw LineError("\(name) must be true or false")
    }
    func numbers(_ name: String) throws(LineError) -> [UInt64] {
        if case .numbers(let value) = self { return value }
        throw LineError("\(name) must be a list of numbers")
    }
    func strings(_ name: String) throws(LineError) -> [String] {
        if case .strings(let value) = self { return value }
        // An empty list has no kind of its own.
        if case .numbers(let value) = self, value.isEmpty { return [] }
        throw LineError("\(name) must be a list of strings")
    }
}

/// Reads one line; every malformed byte is an error, none a trap.
struct LineReader {
    private let bytes: [UInt8]
    private var place = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func object() throws(LineError) -> [(String, LineValue)] {
        var fields: [(String, LineValue)] = []
        try self.expect("{")
        if self.take("}") { return try self.ended(fields) }
        while true {
            let name = try self.quoted()
            try self.expect(":")
            fields.append((name, try self.value()))
            if self.take("}") { return try self.ended(fields) }
            try self.expect(",")
        }
    }

    private mutating func ended(_ fields: [(String, LineValue)]) throws(LineError) -> [(String, LineValue)] {
        self.skipSpace()
        if self.place < self.bytes.count { throw LineError("text after the object") }
        return fields
    }

    private mutating func value() throws(LineError) -> LineValue {
        self.skipSpace()
        guard self.place < self.bytes.count else { throw LineError("the line ends too early") }
        switch self.bytes[self.place] {
        case UInt8(ascii: "\""): return .string(try self.quoted())
        case UInt8(ascii: "t"):
            try self.word("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try self.word("false")
            return .bool(false)
        case UInt8(ascii: "["):
            self.place += 1
            return try self.list()
        default: return .number(try self.number())
        }
    }

    private mutating func list() throws(LineError) -> LineValue {
        var numbers: [UInt64] = []
        var strings: [String] = []
        if self.take("]") { return .numbers([]) }
        self.skipSpace()
        let hasStrings = self.place < self.bytes.count && self.bytes[self.place] == UInt8(ascii: "\"")
        while true {
            if hasStrings { strings.append(try self.quoted()) } else { numbers.append(try self.number()) }
            if self.take("]") { return hasStrings ? .strings(strings) : .numbers(numbers) }
            try self.expect(",")
        }
    }

    private mutating func number() throws(LineError) -> UInt64 {
        self.skipSpace()
        var value: UInt64 = 0
        let start = self.place
        while self.place < self.bytes.count, (0x30...0x39).contains(self.bytes[self.place]) {
            let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(self.bytes[self.place] - 0x30))
            if overflowed || carried { throw LineError("a number is too large") }
            value = sum
            self.place += 1
        }
        if self.place == start { throw LineError("a value is not understood") }
        return value
    }

    private mutating func quoted() throws(LineError) -> String {
        try self.expect("\"")
        var text: [UInt8] = []
        while self.place < self.bytes.count {
            let byte = self.bytes[self.place]
            self.place += 1
            if byte == UInt8(ascii: "\"") {
                guard let string = String(validating: text, as: UTF8.self) else { throw LineError("not UTF-8") }
                return string
            }
            if byte == UInt8(ascii: "\\") {
                try self.escaped(into: &text)
            } else {
                text.append(byte)
            }
        }
        throw LineError("a string does not end")
    }

    private mutating func escaped(into text: inout [UInt8]) throws(LineError) {
        guard self.place < self.bytes.count else { throw LineError("a string does not end") }
        let byte = self.bytes[self.place]
        self.place += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "u"):
            var unit = try self.hexUnit()
            if (0xD800..<0xDC00).contains(unit) {
                try self.word("\\u")
                let low = try self.hexUnit()
                guard (0xDC00..<0xE000).contains(low) else { throw LineError("half a surrogate pair") }
                unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw LineError("half a surrogate pair") }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        default: throw LineError("an unknown escape")
        }
    }

    private mutating func hexUnit() throws(LineError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard self.place < self.bytes.count,
                let digit = Character(Unicode.Scalar(self.bytes[self.place])).hexDigitValue
            else { throw LineError("an unknown escape") }
            unit = unit << 4 | UInt32(digit)
            self.place += 1
        }
        return unit
    }

    private mutating func word(_ word: StaticString) throws(LineError) {
        let length = word.utf8CodeUnitCount
        let expected = UnsafeBufferPointer(start: word.utf8Start, count: length)
        guard self.place + length <= self.bytes.count,
            self.bytes[self.place..<self.place + length].elementsEqual(expected)
        else { throw LineError("a value is not understood") }
        self.place += length
    }

    private mutating func skipSpace() {
        while self.place < self.bytes.count, [0x20, 0x09, 0x0D].contains(self.bytes[self.place]) { self.place += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        self.skipSpace()
        guard self.place < self.bytes.count, UInt32(self.bytes[self.place]) == character.value else { return false }
        self.place += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(LineError) {
        if !self.take(character) { throw LineError("\(Character(character)) expected") }
    }
}
