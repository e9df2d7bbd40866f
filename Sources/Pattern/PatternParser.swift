/// Reads a pattern. Its errors are those of Go's `regexp/syntax`, with the same fragments.
struct PatternParser {
    struct Flags {
        var foldsCase = false
        var dotTakesNewline = false
        var isMultiline = false
        var isUngreedy = false
    }

    /// What was read, with the product of the counts of the repetitions inside it.
    private struct Piece {
        var node: PatternNode
        var weight = 1
    }

    let scalars: [Unicode.Scalar]
    var position = 0
    var flags = Flags()
    private(set) var groupNames: [String?] = []

    init(_ text: String) { self.scalars = Array(text.unicodeScalars) }

    /// Nil at the end.
    var current: Unicode.Scalar? { self.peek(0) }

    func peek(_ ahead: Int) -> Unicode.Scalar? {
        self.position + ahead < self.scalars.count ? self.scalars[self.position + ahead] : nil
    }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard self.current == scalar else { return false }
        self.position += 1
        return true
    }

    func error(_ code: PatternError.Code, from start: Int) -> PatternError {
        self.error(code, start..<self.position)
    }

    func error(_ code: PatternError.Code, _ range: Range<Int>) -> PatternError {
        let range = range.clamped(to: 0..<self.scalars.count)
        var fragment = ""
        fragment.unicodeScalars.append(contentsOf: self.scalars[range])
        return PatternError(code: code, fragment: fragment, offset: range.lowerBound)
    }

    private var whole: Range<Int> { 0..<self.scalars.count }

    mutating func parse() throws(PatternError) -> PatternNode {
        let piece = try self.alternatives(depth: 0)
        if self.current != nil { throw self.error(.unexpectedParenthesis, self.whole) }
        return piece.node
    }

    private mutating func alternatives(depth: Int) throws(PatternError) -> Piece {
        var pieces = [try self.sequence(depth: depth)]
        while self.take("|") { pieces.append(try self.sequence(depth: depth)) }
        let weight = pieces.map(\.weight).max() ?? 1
        return Piece(node: pieces.count == 1 ? pieces[0].node : .alternatives(pieces.map(\.node)), weight: weight)
    }

    private mutating func sequence(depth: Int) throws(PatternError) -> Piece {
        var pieces: [Piece] = []
        /// Where the operator began that stands right before.
        var lastOperator: Int?
        while let scalar = self.current, scalar != "|", scalar != ")" {
            let start = self.position
            if let (least, most) = try self.repetition() {
                let isLazy = self.take("?")
                if let lastOperator { throw self.error(.invalidRepeatOperator, from: lastOperator) }
                guard let piece = pieces.popLast() else { throw self.error(.missingRepeatArgument, from: start) }
                let weight = piece.weight * max(least, most ?? least, 1)
                if weight > Pattern.Limit.repeatCount { throw self.error(.invalidRepeatSize, from: start) }
                let isGreedy = isLazy == self.flags.isUngreedy
                let node = PatternNode.repetition(piece.node, least: least, most: most, isGreedy: isGreedy)
                pieces.append(Piece(node: node, weight: weight))
                lastOperator = start
                continue
            }
            lastOperator = nil
            if self.peek(0) == "\\" && self.peek(1) == "Q" {
                self.quoted().forEach { pieces.append(Piece(node: $0)) }
            } else if let piece = try self.atom(depth: depth) {
                pieces.append(piece)
            }
        }
        let weight = pieces.map(\.weight).max() ?? 1
        if pieces.isEmpty { return Piece(node: .empty) }
        return Piece(node: pieces.count == 1 ? pieces[0].node : .sequence(pieces.map(\.node)), weight: weight)
    }

    // MARK: repetitions

    /// Nil, and nothing is read, where no operator stands.
    private mutating func repetition() throws(PatternError) -> (least: Int, most: Int?)? {
        switch self.current {
        case "*":
            self.position += 1
            return (0, nil)
        case "+":
            self.position += 1
            return (1, nil)
        case "?":
            self.position += 1
            return (0, 1)
        case "{": return try self.counts()
        default: return nil
        }
    }

    /// `{n}`, `{n,}`, `{n,m}`; anything else that begins with a brace is text.
    private mutating func counts() throws(PatternError) -> (least: Int, most: Int?)? {
        let start = self.position
        self.position += 1
        guard let least = self.number() else {
            self.position = start
            return nil
        }
        var most: Int? = least
        if self.take(",") { most = self.current == "}" ? nil : self.number() ?? -1 }
        guard most != -1, self.take("}") else {
            self.position = start
            return nil
        }
        let limit = Pattern.Limit.repeatCount
        if least > limit || (most ?? least) > limit || (most ?? least) < least {
            throw self.error(.invalidRepeatSize, from: start)
        }
        return (least, most)
    }

    /// Digits without leading zeros; more than a pattern may say becomes just more than that.
    private mutating func number() -> Int? {
        let start = self.position
        var value = 0
        while let digit = self.current?.properties.numericType == .decimal ? self.current : nil, digit.isASCII {
            value = min(value * 10 + Int(digit.value - 0x30), Pattern.Limit.repeatCount + 1)
            self.position += 1
        }
        let count = self.position - start
        return count == 0 || (count > 1 && self.scalars[start] == "0") ? nil : value
    }

    // MARK: atoms

    /// Nil for what only sets flags.
    private mutating func atom(depth: Int) throws(PatternError) -> Piece? {
        let start = self.position
        guard let scalar = self.current else { return nil }
        switch scalar {
        case "(": return try self.group(depth: depth)
        case "[": return Piece(node: .oneOf(try self.characterClass()))
        case "\\": return Piece(node: try self.escaped())
        default: break
        }
        self.position = start + 1
        switch scalar {
        case ".": return Piece(node: self.flags.dotTakesNewline ? .any : .anyButNewline)
        case "^": return Piece(node: .assertion(self.flags.isMultiline ? .lineStart : .textStart))
        case "$": return Piece(node: .assertion(self.flags.isMultiline ? .lineEnd : .textEnd))
        default: return Piece(node: self.literal(scalar))
        }
    }

    func literal(_ scalar: Unicode.Scalar) -> PatternNode {
        guard self.flags.foldsCase, scalar.properties.isCased else { return .scalar(scalar.value) }
        var ranges = [scalar.value...scalar.value]
        for mapping in [scalar.properties.lowercaseMapping, scalar.properties.uppercaseMapping] {
            guard mapping.unicodeScalars.count == 1, let other = mapping.unicodeScalars.first else { continue }
            ranges.append(other.value...other.value)
        }
        return .oneOf(ScalarClass(ranges: ranges, folds: true))
    }

    /// `\Q…\E`, or to the end.
    private mutating func quoted() -> [PatternNode] {
        self.position += 2
        var nodes: [PatternNode] = []
        while let scalar = self.current {
            if scalar == "\\" && self.peek(1) == "E" {
                self.position += 2
                break
            }
            nodes.append(self.literal(scalar))
            self.position += 1
        }
        return nodes
    }

    private mutating func group(depth: Int) throws(PatternError) -> Piece? {
        let start = self.position
        self.position += 1
        let outside = self.flags
        var index: Int?
        if self.current == "?" {
            if let name = try self.groupName(from: start) {
                index = try self.newGroup(name, from: start)
            } else if try self.groupFlags(from: start) {
                return nil
            }
        } else {
            index = try self.newGroup(nil, from: start)
        }
        guard depth < Pattern.Limit.nesting else { throw self.error(.nestingDepth, self.whole) }
        var piece = try self.alternatives(depth: depth + 1)
        guard self.take(")") else { throw self.error(.missingParenthesis, self.whole) }
        self.flags = outside
        if let index { piece.node = .group(piece.node, index: index) }
        return piece
    }

    private mutating func newGroup(_ name: String?, from start: Int) throws(PatternError) -> Int {
        self.groupNames.append(name)
        guard self.groupNames.count <= Pattern.Limit.groups else { throw self.error(.large, from: start) }
        return self.groupNames.count
    }
}
