extension PatternParser {
    /// What a backslash outside a class begins.
    mutating func escaped() throws(PatternError) -> PatternNode {
        let start = self.position
        let assertion: Assertion? =
            switch self.peek(1) {
            case "A": .textStart
            case "z": .textEnd
            case "b": .wordBoundary
            case "B": .noWordBoundary
            default: nil
            }
        if let assertion {
            self.position = start + 2
            return .assertion(assertion)
        }
        var set = ScalarClass(folds: self.flags.foldsCase)
        if try self.namedSet(into: &set) { return .oneOf(set) }
        return self.literal(try self.escapedScalar())
    }

    /// `\d`, `\pL` and the like, inside a class or outside; false, and nothing is read, where none stands.
    private mutating func namedSet(into set: inout ScalarClass) throws(PatternError) -> Bool {
        guard self.current == "\\", let letter = self.peek(1) else { return false }
        let start = self.position
        switch letter {
        case "d", "D": set.insert(digitRanges, inverted: letter == "D")
        case "s", "S": set.insert(spaceRanges, inverted: letter == "S")
        case "w", "W": set.insert(wordRanges, inverted: letter == "W")
        case "p", "P":
            self.position += 2
            var isInverted = letter == "P"
            let name = try self.propertyName(from: start, &isInverted)
            guard let bits = categoryBits(name) else { throw self.error(.invalidClassRange, from: start) }
            set.categories.append(.init(bits: bits, isInverted: isInverted))
            return true
        default: return false
        }
        self.position += 2
        return true
    }

    private mutating func propertyName(from start: Int, _ isInverted: inout Bool) throws(PatternError) -> String {
        guard let first = self.current else { throw self.error(.invalidClassRange, from: start) }
        self.position += 1
        if first != "{" { return String(Character(first)) }
        if self.take("^") { isInverted.toggle() }
        var name = ""
        while let scalar = self.current, scalar != "}" {
            name.unicodeScalars.append(scalar)
            self.position += 1
        }
        guard self.take("}") else { throw self.error(.invalidClassRange, from: start) }
        return name
    }

    /// One scalar behind a backslash.
    private mutating func escapedScalar() throws(PatternError) -> Unicode.Scalar {
        let start = self.position
        self.position += 1
        guard let scalar = self.current else { throw self.error(.trailingBackslash, self.position..<self.position) }
        self.position += 1
        switch scalar {
        case "a": return "\u{07}"
        case "f": return "\u{0C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "v": return "\u{0B}"
        case "x": return try self.hexadecimal(from: start)
        case "0"..."7": return try self.octal(scalar, from: start)
        default:
            let isName = digitRanges.contains { $0.contains(scalar.value) } || scalar.properties.isAlphabetic
            guard scalar.isASCII, !isName else { throw self.error(.invalidEscape, from: start) }
            return scalar
        }
    }

    /// Up to three octal digits; a single one that is not zero would be a reference to a group, which there is not.
    private mutating func octal(_ first: Unicode.Scalar, from start: Int) throws(PatternError) -> Unicode.Scalar {
        var value = first.value - 0x30
        var digits = 1
        while digits < 3, let digit = self.current, ("0"..."7").contains(digit) {
            value = value * 8 + digit.value - 0x30
            digits += 1
            self.position += 1
        }
        guard first == "0" || digits > 1, let scalar = Unicode.Scalar(value) else {
            throw self.error(.invalidEscape, from: start)
        }
        return scalar
    }

    /// `\x7F` or `\x{10FFFF}`.
    private mutating func hexadecimal(from start: Int) throws(PatternError) -> Unicode.Scalar {
        let isBraced = self.take("{")
        var value: UInt32 = 0
        var digits = 0
        while isBraced || digits < 2 {
            guard let scalar = self.current else { throw self.error(.invalidEscape, from: start) }
            if isBraced && digits > 0 && scalar == "}" { break }
            self.position += 1
            guard let digit = Character(scalar).hexDigitValue, scalar.isASCII else {
                throw self.error(.invalidEscape, from: start)
            }
            value = value * 16 + UInt32(digit)
            digits += 1
            if value > 0x10FFFF { throw self.error(.invalidEscape, from: start) }
        }
        if isBraced { self.position += 1 }
        guard let scalar = Unicode.Scalar(value) else { throw self.error(.invalidEscape, from: start) }
        return scalar
    }

    /// `[…]`.
    mutating func characterClass() throws(PatternError) -> ScalarClass {
        let start = self.position
        self.position += 1
        var set = ScalarClass(isNegated: self.take("^"), folds: self.flags.foldsCase)
        var isFirst = true
        while isFirst || self.current != "]" {
            isFirst = false
            if try self.posixSet(into: &set) { continue }
            if try self.namedSet(into: &set) { continue }
            let low = self.position
            let first = try self.classScalar(of: start)
            var last = first
            if self.current == "-", let next = self.peek(1), next != "]" {
                self.position += 1
                last = try self.classScalar(of: start)
                if last < first { throw self.error(.invalidClassRange, from: low) }
            }
            set.ranges.append(first.value...last.value)
        }
        self.position += 1
        return set
    }

    private mutating func classScalar(of start: Int) throws(PatternError) -> Unicode.Scalar {
        guard let scalar = self.current else {
            throw self.error(.missingBracket, start..<self.scalars.count)
        }
        if scalar == "\\" { return try self.escapedScalar() }
        self.position += 1
        return scalar
    }

    /// `[:alpha:]` inside a class.
    private mutating func posixSet(into set: inout ScalarClass) throws(PatternError) -> Bool {
        guard self.current == "[", self.peek(1) == ":" else { return false }
        let start = self.position
        var end = start + 2
        // No name is longer; a pattern of nothing but "[:" is not to be read to its end at each.
        let bound = min(start + 34, self.scalars.count)
        while end + 1 < bound, !(self.scalars[end] == ":" && self.scalars[end + 1] == "]") { end += 1 }
        guard end + 1 < bound else { return false }
        var name = ""
        name.unicodeScalars.append(contentsOf: self.scalars[(start + 2)..<end])
        self.position = end + 2
        let isInverted = name.hasPrefix("^")
        guard let ranges = posixRanges(isInverted ? String(name.dropFirst()) : name) else {
            throw self.error(.invalidClassRange, from: start)
        }
        set.insert(ranges, inverted: isInverted)
        return true
    }
}
