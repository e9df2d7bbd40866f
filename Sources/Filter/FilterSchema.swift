import Pattern

/// The fields of a kind of row, by the names that selectors use. An expression is checked against it once; what comes out
/// asks a row for the fields that the expression names and for no other.
public struct FilterSchema<Row: Sendable>: Sendable {
    private let fields: [String: FilterField<Row>]

    public init(_ fields: [String: FilterField<Row>]) { self.fields = fields }

    public func filter(_ expression: FilterExpression) throws(FilterError) -> RowFilter<Row> {
        RowFilter(test: try self.test(expression.root))
    }

    private func test(_ node: FilterNode) throws(FilterError) -> @Sendable (Row) -> Bool {
        switch node {
        case .match(let match): return try self.test(match, at: 0)
        case .not(let inner):
            let test = try self.test(inner)
            return { !test($0) }
        case .all(let nodes):
            let tests = try self.tests(nodes)
            return { row in tests.allSatisfy { $0(row) } }
        case .any(let nodes):
            let tests = try self.tests(nodes)
            return { row in tests.contains { $0(row) } }
        }
    }

    private func tests(_ nodes: [FilterNode]) throws(FilterError) -> [@Sendable (Row) -> Bool] {
        var tests: [@Sendable (Row) -> Bool] = []
        for node in nodes { tests.append(try self.test(node)) }
        return tests
    }

    func test(_ match: FilterMatch, at depth: Int) throws(FilterError) -> @Sendable (Row) -> Bool {
        guard depth < match.selector.count else { throw match.wrongOperator }
        guard let field = self.fields[match.selector[depth]] else { throw match.unknown(depth) }
        return try field.test(match, depth + 1)
    }
}

/// A checked expression.
public struct RowFilter<Row: Sendable>: Sendable {
    let test: @Sendable (Row) -> Bool

    public func admits(_ row: Row) -> Bool { self.test(row) }
}

/// One field of a row. A list of rows matches when one of them does. What a row does not have (a key of a map, an object)
/// is equal to nothing, in nothing and empty.
public struct FilterField<Row: Sendable>: Sendable {
    /// `depth` is how much of the selector led here.
    let test: @Sendable (_ match: FilterMatch, _ depth: Int) throws(FilterError) -> @Sendable (Row) -> Bool

    public static func string(_ value: @escaping @Sendable (Row) -> String) -> Self {
        Self { match, depth throws(FilterError) in
            let test = try match.stringTest(depth)
            return { test(value($0)) }
        }
    }

    public static func integer(_ value: @escaping @Sendable (Row) -> Int64) -> Self {
        Self { match, depth throws(FilterError) in
            let wanted = try match.equality(depth) { text throws(NumberProblem) in try goInteger(text) }
            let isEqual = match.comparison == .equal
            return { (value($0) == wanted) == isEqual }
        }
    }

    public static func number(_ value: @escaping @Sendable (Row) -> Double) -> Self {
        Self { match, depth throws(FilterError) in
            let wanted = try match.equality(depth) { text throws(NumberProblem) in
                guard let number = Double(text) else { throw NumberProblem("ParseFloat", text, "invalid syntax") }
                return number
            }
            let isEqual = match.comparison == .equal
            return { (value($0) == wanted) == isEqual }
        }
    }

    public static func boolean(_ value: @escaping @Sendable (Row) -> Bool) -> Self {
        Self { match, depth throws(FilterError) in
            let wanted = try match.equality(depth) { text throws(NumberProblem) in try goBoolean(text) }
            let isEqual = match.comparison == .equal
            return { (value($0) == wanted) == isEqual }
        }
    }

    public static func strings(_ values: @escaping @Sendable (Row) -> [String]) -> Self {
        Self { match, depth throws(FilterError) in
            try match.end(depth)
            let wanted = match.value
            return try match.containerTest(
                isEmpty: { values($0).isEmpty }, holds: { row in values(row).contains { same($0, wanted) } })
        }
    }

    /// A map of strings, of which only the key asked for is looked up.
    public static func map(
        _ value: @escaping @Sendable (Row, String) -> String?, isEmpty: @escaping @Sendable (Row) -> Bool
    ) -> Self {
        Self { match, depth throws(FilterError) in
            guard depth < match.selector.count else {
                let key = match.value
                return try match.containerTest(isEmpty: isEmpty, holds: { value($0, key) != nil })
            }
            let key = match.selector[depth]
            let test = try match.stringTest(depth + 1)
            let ifMissing = match.holdsForMissing
            return { row in value(row, key).map(test) ?? ifMissing }
        }
    }

    /// An object of fields of its own; nil where a row has none.
    public static func object<Part: Sendable>(
        _ part: @escaping @Sendable (Row) -> Part?, _ schema: FilterSchema<Part>
    ) -> Self {
        Self { match, depth throws(FilterError) in
            let test = try schema.test(match, at: depth)
            let ifMissing = match.holdsForMissing
            return { row in part(row).map(test) ?? ifMissing }
        }
    }

    public static func objects<Part: Sendable>(
        _ parts: @escaping @Sendable (Row) -> [Part], _ schema: FilterSchema<Part>
    ) -> Self {
        Self { match, depth throws(FilterError) in
            guard depth < match.selector.count else {
                return try match.emptinessTest { parts($0).isEmpty }
            }
            let test = try schema.test(match, at: depth)
            return { row in parts(row).contains(where: test) }
        }
    }

    /// A map of objects, such as tagged addresses.
    public static func objectMap<Part: Sendable>(
        _ part: @escaping @Sendable (Row, String) -> Part?, isEmpty: @escaping @Sendable (Row) -> Bool,
        _ schema: FilterSchema<Part>
    ) -> Self {
        Self { match, depth throws(FilterError) in
            guard depth < match.selector.count else {
                let key = match.value
                return try match.containerTest(isEmpty: isEmpty, holds: { part($0, key) != nil })
            }
            let key = match.selector[depth]
            let test = try schema.test(match, at: depth + 1)
            let ifMissing = match.holdsForMissing
            return { row in part(row, key).map(test) ?? ifMissing }
        }
    }
}
