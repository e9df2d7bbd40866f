/// A regular expression that is matched in linear time: the syntax of RE2 as Go's `regexp` takes it (RE2's page Syntax),
/// without scripts (`\p{Greek}`; general categories such as `\pL` are there). It is run as a simulated NFA: the time of a
/// search is bounded by the program's length times the text's, and nothing in a pattern makes it go back.
public struct Pattern: Sendable {
    /// What a pattern may cost.
    public enum Limit {
        /// UTF-8 bytes of a pattern.
        public static let length = 64 * 1024
        public static let instructions = 10_000
        /// Groups inside groups.
        public static let nesting = 200
        public static let groups = 200
        /// In `{n,m}`; also the product of those inside one another.
        public static let repeatCount = 1000
    }

    public let text: String
    /// Of the capturing groups in order of their opening parentheses; nil for one without a name.
    public let groupNames: [String?]
    let program: Program

    public init(_ text: String) throws(PatternError) {
        guard text.utf8.count <= Limit.length else {
            throw PatternError(code: .large, fragment: "\(text.prefix(16))…", offset: 0)
        }
        var parser = PatternParser(text)
        let node = try parser.parse()
        var compiler = PatternCompiler()
        do throws(PatternCompiler.TooLarge) {
            self.program = try compiler.compile(node, groups: parser.groupNames.count)
        } catch {
            throw PatternError(code: .large, fragment: text, offset: 0)
        }
        self.text = text
        self.groupNames = parser.groupNames
    }

    /// Whether some part of `text` matches.
    public func matches(in text: String) -> Bool {
        var search = Search(self.program)
        return search.finds(in: text)
    }

    /// The leftmost match, with its groups; where several begin there, the one that Perl would prefer.
    public func firstMatch(in text: String) -> Match? {
        var search = CapturingSearch(self.program)
        guard let slots = search.find(in: text) else { return nil }
        return Match(ranges: slots, names: self.groupNames)
    }

    /// How many instructions a search looks at.
    package func steps(in text: String) -> Int {
        var search = Search(self.program)
        _ = search.finds(in: text)
        return search.steps
    }

    package var instructionCount: Int { self.program.instructions.count }
}

extension Pattern {
    public struct Match: Sendable {
        public let range: Range<String.Index>
        /// Of the capturing groups, from 1 on at position 0; nil for one that took no part.
        public let groups: [Range<String.Index>?]
        private let names: [String?]

        init?(ranges: [String.Index?], names: [String?]) {
            guard ranges.count >= 2, let start = ranges[0], let end = ranges[1] else { return nil }
            self.range = start..<end
            self.groups = (1..<max(ranges.count / 2, 1)).map { group in
                guard let start = ranges[2 * group], let end = ranges[2 * group + 1] else { return nil }
                return start..<end
            }
            self.names = names
        }

        /// The range of the first group of this name; nil when there is none, or it took no part.
        public subscript(name: String) -> Range<String.Index>? {
            self.names.firstIndex(of: name).flatMap { self.groups[$0] }
        }
    }
}
