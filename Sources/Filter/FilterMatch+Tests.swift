import Pattern

// What a comparison asks of the field at the end of its selector.
extension FilterMatch {
    var wrongOperator: FilterError {
        .mismatch("Invalid match operator \"\(self.comparison.rawValue)\" for selector \(Self.name(self.selector))")
    }

    /// The part of the selector up to `depth` leads nowhere.
    func unknown(_ depth: Int) -> FilterError {
        .mismatch("Selector \(Self.name(self.selector[...min(depth, self.selector.count - 1)])) is not valid")
    }

    /// A field without parts is the end of a selector.
    func end(_ depth: Int) throws(FilterError) {
        if depth < self.selector.count { throw self.unknown(depth) }
    }

    /// What is answered for a row that has no such key or object.
    var holdsForMissing: Bool {
        switch self.comparison {
        case .equal, .isIn, .isNotEmpty: false
        // So Consul has it: a pattern matches what is not there, too.
        case .notEqual, .notIn, .isEmpty, .matches, .notMatches: true
        }
    }

    func stringTest(_ depth: Int) throws(FilterError) -> @Sendable (String) -> Bool {
        try self.end(depth)
        let value = self.value
        switch self.comparison {
        case .equal: return { same($0, value) }
        case .notEqual: return { !same($0, value) }
        case .isIn: return { contains($0, value) }
        case .notIn: return { !contains($0, value) }
        case .matches, .notMatches:
            let pattern = try self.pattern()
            let isWanted = self.comparison == .matches
            return { pattern.matches(in: $0) == isWanted }
        case .isEmpty, .isNotEmpty: throw self.wrongOperator
        }
    }

    private func pattern() throws(FilterError) -> Pattern {
        do throws(PatternError) {
            return try Pattern(self.value)
        } catch {
            throw .mismatch("Failed to compile regular expression \(goQuoted(self.value)): \(error)")
        }
    }

    /// The value of `==` or `!=`; every other operator is wrong.
    func equality<Value>(
        _ depth: Int, _ read: (String) throws(NumberProblem) -> Value
    ) throws(FilterError) -> Value {
        try self.end(depth)
        guard self.comparison == .equal || self.comparison == .notEqual else { throw self.wrongOperator }
        do throws(NumberProblem) {
            return try read(self.value)
        } catch {
            throw .mismatch(
                "Failed to coerce value \(goQuoted(self.value)) for selector \(Self.name(self.selector)): \(error.text)"
            )
        }
    }

    func emptinessTest<Row>(
        _ isEmpty: @escaping @Sendable (Row) -> Bool
    ) throws(FilterError) -> @Sendable (Row) -> Bool {
        switch self.comparison {
        case .isEmpty: return isEmpty
        case .isNotEmpty: return { !isEmpty($0) }
        case .equal, .notEqual, .isIn, .notIn, .matches, .notMatches: throw self.wrongOperator
        }
    }

    func containerTest<Row>(
        isEmpty: @escaping @Sendable (Row) -> Bool, holds: @escaping @Sendable (Row) -> Bool
    ) throws(FilterError) -> @Sendable (Row) -> Bool {
        switch self.comparison {
        case .isIn: return holds
        case .notIn: return { !holds($0) }
        case .isEmpty, .isNotEmpty, .equal, .notEqual, .matches, .notMatches: return try self.emptinessTest(isEmpty)
        }
    }
}

/// The same bytes; `String` would take "é" and "e" with an accent for one.
func same(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

func contains(_ text: String, _ part: String) -> Bool {
    let text = Array(text.utf8)
    let part = Array(part.utf8)
    guard let first = part.first else { return true }
    guard part.count <= text.count else { return false }
    return (0...(text.count - part.count)).contains { start in
        text[start] == first && text[start..<(start + part.count)].elementsEqual(part)
    }
}
