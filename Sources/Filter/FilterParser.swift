/// Reads an expression: `or` binds less than `and`, that less than `not`.
struct FilterParser {
    var cursor: FilterCursor
    private(set) var patterns = 0

    init(_ text: String) { self.cursor = FilterCursor(text) }

    mutating func parse() throws(FilterError) -> FilterNode {
        _ = self.cursor.blanks()
        if let node = try self.alternatives(depth: 0) {
            _ = self.cursor.blanks()
            if self.cursor.isAtEnd && self.cursor.problems.isEmpty { return node }
            if !self.cursor.isAtEnd { self.cursor.missedEnd() }
        }
        throw .syntax(self.cursor.explanation)
    }

    private mutating func alternatives(depth: Int) throws(FilterError) -> FilterNode? {
        guard let first = try self.conjunction(depth: depth) else { return nil }
        var nodes = [first]
        while let next = try self.operand("or", { parser throws(FilterError) in try parser.conjunction(depth: depth) })
        {
            nodes.append(next)
        }
        return nodes.count == 1 ? first : .any(nodes)
    }

    private mutating func conjunction(depth: Int) throws(FilterError) -> FilterNode? {
        guard let first = try self.negation(depth: depth) else { return nil }
        var nodes = [first]
        while let next = try self.operand("and", { parser throws(FilterError) in try parser.negation(depth: depth) }) {
            nodes.append(next)
        }
        return nodes.count == 1 ? first : .all(nodes)
    }

    /// What stands behind one more `and` or `or`; nil, and nothing is read, where none does.
    private mutating func operand(
        _ word: StaticString, _ read: (inout FilterParser) throws(FilterError) -> FilterNode?
    ) throws(FilterError) -> FilterNode? {
        let start = self.cursor.offset
        if self.cursor.blanks(), self.cursor.take(word), self.cursor.blanks(), let node = try read(&self) {
            return node
        }
        self.cursor.offset = start
        return nil
    }

    private mutating func negation(depth: Int) throws(FilterError) -> FilterNode? {
        var starts = [self.cursor.offset]
        while self.cursor.take("not"), self.cursor.blanks() { starts.append(self.cursor.offset) }
        // A selector may begin with these letters, or be called so: then one "not" less is a negation.
        while let start = starts.popLast() {
            self.cursor.offset = start
            if let node = try self.group(depth: depth) { return starts.count % 2 == 0 ? node : .not(node) }
        }
        return nil
    }

    private mutating func group(depth: Int) throws(FilterError) -> FilterNode? {
        let start = self.cursor.offset
        guard self.cursor.take("(") else { return self.match() }
        guard depth < FilterExpression.Limit.nesting else {
            let limit = FilterExpression.Limit.nesting
            throw .tooLarge("A filter expression may have \(limit) parentheses inside one another, this one has more")
        }
        _ = self.cursor.blanks()
        if let node = try self.alternatives(depth: depth + 1) {
            _ = self.cursor.blanks()
            if self.cursor.take(")") { return node }
            self.cursor.problem("Unmatched parentheses", rule: "grouping")
        }
        self.cursor.offset = start
        return nil
    }

    // MARK: comparisons

    private mutating func match() -> FilterNode? {
        let start = self.cursor.offset
        if let selector = self.selector(takesPointers: true) {
            let end = self.cursor.offset
            for (comparison, words) in Self.selectorFirst {
                self.cursor.offset = end
                guard self.words(words, comparison), let value = self.value() else { continue }
                return self.node(selector, comparison, value)
            }
            for (comparison, words) in Self.selectorAlone {
                self.cursor.offset = end
                if self.words(words, comparison, endsBlank: false) { return self.node(selector, comparison, "") }
            }
        }
        self.cursor.offset = start
        if let value = self.value() {
            let end = self.cursor.offset
            for (comparison, words) in Self.valueFirst {
                self.cursor.offset = end
                guard self.words(words, comparison) else { continue }
                if let selector = self.selector(takesPointers: true) { return self.node(selector, comparison, value) }
                self.cursor.problem("Invalid selector", rule: "match")
            }
        }
        self.cursor.offset = start
        return nil
    }

    private mutating func node(
        _ selector: [String], _ comparison: FilterMatch.Operator, _ value: String
    ) -> FilterNode {
        if comparison == .matches || comparison == .notMatches { self.patterns += 1 }
        return .match(FilterMatch(selector: selector, comparison: comparison, value: value))
    }

    private static let selectorFirst: [(FilterMatch.Operator, [StaticString])] = [
        (.equal, ["=="]), (.notEqual, ["!="]), (.isIn, ["contains"]), (.notIn, ["not", "contains"]),
        (.matches, ["matches"]), (.notMatches, ["not", "matches"]),
    ]
    private static let selectorAlone: [(FilterMatch.Operator, [StaticString])] = [
        (.isEmpty, ["is", "empty"]), (.isNotEmpty, ["is", "not", "empty"]),
    ]
    private static let valueFirst: [(FilterMatch.Operator, [StaticString])] = [
        (.isIn, ["in"]), (.notIn, ["not", "in"]),
    ]

    /// An operator's words with blanks around them; signs need none.
    private mutating func words(
        _ words: [StaticString], _ comparison: FilterMatch.Operator, endsBlank: Bool = true
    ) -> Bool {
        let isSign = comparison == .equal || comparison == .notEqual
        for word in words {
            let isBlank = self.cursor.blanks()
            guard isBlank || isSign, self.cursor.take(word) else { return false }
        }
        guard endsBlank else { return true }
        return self.cursor.blanks() || isSign
    }
}
