/// Why a filter expression is refused; the texts are go-bexpr's, which Consul's clients know.
public enum FilterError: Error, Sendable, Equatable {
    /// It can't be read.
    case syntax(String)
    /// It does not fit the rows: an unknown selector, an operator or a value of the wrong kind, a bad pattern.
    case mismatch(String)
    /// It is larger than an expression may be (`FilterExpression.Limit`).
    case tooLarge(String)

    public var text: String {
        switch self {
        case .syntax(let text), .mismatch(let text), .tooLarge(let text): text
        }
    }
}

/// Go's `strconv.Quote`.
func goQuoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "\u{07}": quoted += "\\a"
        case "\u{08}": quoted += "\\b"
        case "\u{0C}": quoted += "\\f"
        case "\n": quoted += "\\n"
        case "\r": quoted += "\\r"
        case "\t": quoted += "\\t"
        case "\u{0B}": quoted += "\\v"
        case "\u{00}"..."\u{1F}", "\u{7F}":
            let digits = String(scalar.value, radix: 16)
            quoted += "\\x" + (digits.count == 1 ? "0" : "") + digits
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
