/// A parsed pattern.
indirect enum PatternNode: Sendable {
    case empty
    case scalar(UInt32)
    case any
    case anyButNewline
    case oneOf(ScalarClass)
    case assertion(Assertion)
    /// `index` from 1; nil for a group that captures nothing.
    case group(PatternNode, index: Int)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    /// `most` nil: without end.
    case repetition(PatternNode, least: Int, most: Int?, isGreedy: Bool)
}

enum Assertion: Sendable {
    case textStart, textEnd, lineStart, lineEnd, wordBoundary, noWordBoundary

    /// Between two scalars of the text; nil is an end of it.
    func holds(_ before: Unicode.Scalar?, _ after: Unicode.Scalar?) -> Bool {
        switch self {
        case .textStart: before == nil
        case .textEnd: after == nil
        case .lineStart: before == nil || before == "\n"
        case .lineEnd: after == nil || after == "\n"
        case .wordBoundary: isWord(before) != isWord(after)
        case .noWordBoundary: isWord(before) == isWord(after)
        }
    }
}

/// ASCII letters, digits and `_`, as RE2 has it.
private func isWord(_ scalar: Unicode.Scalar?) -> Bool {
    guard let scalar else { return false }
    return wordRanges.contains { $0.contains(scalar.value) }
}
