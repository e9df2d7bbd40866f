import Pattern
import Testing

/// A pattern as a tree, matched by trying everything: slow and plain.
private indirect enum Tree {
    case letter(Character)
    case dot
    case start
    case end
    case both(Tree, Tree)
    case either(Tree, Tree)
    case star(Tree)
    case plus(Tree)
    case lazyStar(Tree)
    case optional(Tree)

    var text: String {
        switch self {
        case .letter(let letter): String(letter)
        case .dot: "."
        case .start: "^"
        case .end: "$"
        case .both(let left, let right): "\(left.text)\(right.text)"
        case .either(let left, let right): "(?:\(left.text)|\(right.text))"
        case .star(let inner): "(?:\(inner.text))*"
        case .plus(let inner): "(?:\(inner.text))+"
        case .lazyStar(let inner): "(?:\(inner.text))*?"
        case .optional(let inner): "(?:\(inner.text))?"
        }
    }

    /// Where a match that begins at `position` may end, the preferred first.
    func ends(_ text: [Character], _ position: Int) -> [Int] {
        switch self {
        case .letter(let letter): position < text.count && text[position] == letter ? [position + 1] : []
        case .dot: position < text.count ? [position + 1] : []
        case .start: position == 0 ? [position] : []
        case .end: position == text.count ? [position] : []
        case .both(let left, let right): left.ends(text, position).flatMap { right.ends(text, $0) }
        case .either(let left, let right): left.ends(text, position) + right.ends(text, position)
        case .star(let inner): Self.further(inner, text, position) + [position]
        case .lazyStar(let inner):
            [position]
                + inner.ends(text, position).filter { $0 > position }
                .flatMap { self.ends(text, $0) }
        case .plus(let inner): inner.ends(text, position).flatMap { Tree.star(inner).ends(text, $0) }
        case .optional(let inner): inner.ends(text, position) + [position]
        }
    }

    private static func further(_ inner: Tree, _ text: [Character], _ position: Int) -> [Int] {
        inner.ends(text, position).filter { $0 > position }.flatMap { Tree.star(inner).ends(text, $0) }
    }

    /// Whether a repetition in it repeats nothing, where engines differ about what is preferred.
    var repeatsNothing: Bool {
        switch self {
        case .letter, .dot, .start, .end: false
        case .both(let left, let right), .either(let left, let right): left.repeatsNothing || right.repeatsNothing
        case .star(let inner), .plus(let inner), .lazyStar(let inner): inner.isNullable || inner.repeatsNothing
        case .optional(let inner): inner.repeatsNothing
        }
    }

    var isNullable: Bool {
        switch self {
        case .letter, .dot: false
        case .start, .end, .star, .lazyStar, .optional: true
        case .both(let left, let right): left.isNullable && right.isNullable
        case .either(let left, let right): left.isNullable || right.isNullable
        case .plus(let inner): inner.isNullable
        }
    }

    static func all(depth: Int) -> [Tree] {
        let leaves: [Tree] = [.letter("a"), .letter("b"), .dot, .start, .end]
        guard depth > 0 else { return leaves }
        let smaller = Self.all(depth: depth - 1)
        var trees = smaller
        for left in smaller {
            trees += [.star(left), .plus(left), .lazyStar(left), .optional(left)]
            for right in leaves { trees += [.both(left, right), .either(left, right), .either(right, left)] }
        }
        return trees
    }
}

@Suite struct ModelTests {
    @Test func everySmallPatternMatchesAsTryingEverythingDoes() throws {
        var texts: [[Character]] = [[]]
        for length in 1...4 {
            texts += texts.filter { $0.count == length - 1 }.flatMap { [$0 + ["a"], $0 + ["b"]] }
        }
        #expect(texts.count == 31)
        let trees = Tree.all(depth: 2)
        #expect(trees.count > 1000)
        for tree in trees {
            let pattern = try Pattern(tree.text)
            for text in texts {
                let found = (0...text.count).lazy.compactMap { start in
                    tree.ends(text, start).first.map { start..<$0 }
                }.first
                let string = String(text)
                #expect(pattern.matches(in: string) == (found != nil), "\(tree.text) in \(string)")
                let match = pattern.firstMatch(in: string)?.range
                let start = match.map { string.distance(from: string.startIndex, to: $0.lowerBound) }
                #expect(start == found?.lowerBound, "\(tree.text) in \(string)")
                if tree.repeatsNothing { continue }
                let end = match.map { string.distance(from: string.startIndex, to: $0.upperBound) }
                #expect(end == found?.upperBound, "\(tree.text) in \(string)")
            }
        }
    }
}
