/// A place in an expression, and how far any attempt came: an expression that can't be read is told from there, as the
/// parser of Consul tells it.
struct FilterCursor {
    let bytes: [UInt8]
    var offset = 0
    /// The furthest place at which something was expected that did not stand there, and what.
    private var furthest = 0
    private var expected: Set<String> = []
    private var expectedEnd = false
    /// What is wrong wherever the rest leads, in the order in which it was found.
    private(set) var problems: [String] = []

    init(_ text: String) { self.bytes = Array(text.utf8) }

    var current: UInt8? { self.offset < self.bytes.count ? self.bytes[self.offset] : nil }
    var isAtEnd: Bool { self.offset >= self.bytes.count }

    private mutating func reachesFurthest() -> Bool {
        if self.offset > self.furthest {
            self.furthest = self.offset
            self.expected = []
            self.expectedEnd = false
        }
        return self.offset == self.furthest
    }

    mutating func missed(_ what: String) {
        if self.reachesFurthest() { self.expected.insert(what) }
    }

    mutating func missedEnd() {
        if self.reachesFurthest() { self.expectedEnd = true }
    }

    mutating func take(_ literal: StaticString) -> Bool {
        let length = literal.utf8CodeUnitCount
        let stands = literal.withUTF8Buffer { self.bytes[self.offset...].prefix(length).elementsEqual($0) }
        if stands { self.offset += length } else { self.missed(goQuoted("\(literal)")) }
        return stands
    }

    /// A byte of the class, which `name` names in errors.
    mutating func take(_ name: StaticString, _ isIn: (UInt8) -> Bool) -> Bool {
        guard let byte = self.current, isIn(byte) else {
            self.missed("\(name)")
            return false
        }
        self.offset += 1
        return true
    }

    /// At least one blank.
    mutating func blanks() -> Bool {
        let start = self.offset
        while self.take("[ \\t\\r\\n]", { $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }) {}
        return self.offset > start
    }

    mutating func problem(_ text: String, rule: String, at offset: Int? = nil) {
        let line = "\(self.place(offset ?? self.offset)): rule \"\(rule)\": \(text)"
        if !self.problems.contains(line) { self.problems.append(line) }
    }

    /// Why the expression could not be read.
    var explanation: String {
        if !self.problems.isEmpty { return self.problems.joined(separator: "\n") }
        var list = self.expected.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        if self.expectedEnd { list.append("EOF") }
        let last = list.popLast() ?? "EOF"
        let text = list.isEmpty ? last : list.joined(separator: ", ") + " or " + last
        return "\(self.place(self.furthest)): no match found, expected: \(text)"
    }

    /// Line, column and, in parentheses, byte. A line's end counts as the column 0 of the next.
    private func place(_ offset: Int) -> String {
        var line = 1
        var column = 0
        for byte in self.bytes.prefix(offset + 1) {
            if byte == 0x0A {
                line += 1
                column = 0
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        if offset >= self.bytes.count { column += 1 }
        return "\(line):\(column) (\(offset))"
    }
}
