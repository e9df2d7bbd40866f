/// Why a pattern is refused, and where. Codes and texts are those of Go's `regexp/syntax`, which Consul's clients know.
public struct PatternError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable {
        case invalidClassRange = "invalid character class range"
        case invalidEscape = "invalid escape sequence"
        case invalidNamedCapture = "invalid named capture"
        case invalidPerlOperator = "invalid or unsupported Perl syntax"
        case invalidRepeatOperator = "invalid nested repetition operator"
        case invalidRepeatSize = "invalid repeat count"
        case missingBracket = "missing closing ]"
        case missingParenthesis = "missing closing )"
        case missingRepeatArgument = "missing argument to repetition operator"
        case trailingBackslash = "trailing backslash at end of expression"
        case unexpectedParenthesis = "unexpected )"
        /// Of nested groups.
        case nestingDepth = "expression nests too deeply"
        /// Longer than a pattern may be, with more groups, or a program that is too big.
        case large = "expression too large"
    }

    public var code: Code
    /// The part of the pattern that is wrong.
    public var fragment: String
    /// Where the fragment begins, counted in Unicode scalars from 0.
    public var offset: Int

    public var description: String { "error parsing regexp: \(self.code.rawValue): `\(self.fragment)`" }
}
