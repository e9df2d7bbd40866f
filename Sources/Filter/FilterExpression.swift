/// A filter expression as Consul's API takes it (Consul's API page Filtering; go-bexpr's grammar as of Consul 1.8, and of
/// later ones the selectors that are JSON pointers). What its selectors mean is a schema's to say.
public struct FilterExpression: Sendable {
    /// What an expression may cost.
    public enum Limit {
        /// UTF-8 bytes.
        public static let length = 8 * 1024
        /// Parentheses inside parentheses.
        public static let nesting = 100
        /// Operands of `matches` and `not matches`, each a program of its own.
        public static let patterns = 32
    }

    let root: FilterNode

    public init(_ text: String) throws(FilterError) {
        guard text.utf8.count <= Limit.length else {
            throw .tooLarge("A filter expression may have \(Limit.length) bytes, this one has \(text.utf8.count)")
        }
        var parser = FilterParser(text)
        let root = try parser.parse()
        guard parser.patterns <= Limit.patterns else {
            throw .tooLarge("A filter expression may match \(Limit.patterns) patterns, this one has \(parser.patterns)")
        }
        self.root = root
    }
}

indirect enum FilterNode: Sendable {
    case all([FilterNode])
    case any([FilterNode])
    case not(FilterNode)
    case match(FilterMatch)
}

/// One comparison.
public struct FilterMatch: Sendable {
    enum Operator: String, Sendable {
        // The raw values are the names that errors give them.
        case equal = "Equal"
        case notEqual = "Not Equal"
        case isIn = "In"
        case notIn = "Not In"
        case isEmpty = "Is Empty"
        case isNotEmpty = "Is Not Empty"
        case matches = "Matches"
        case notMatches = "Not Matches"
    }

    var selector: [String]
    var comparison: Operator
    /// "" where the operator takes none.
    var value: String

    /// How errors write a selector.
    static func name(_ selector: some Sequence<String>) -> String { goQuoted(selector.joined(separator: ".")) }
}
