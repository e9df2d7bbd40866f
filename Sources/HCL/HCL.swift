// HCL 1 and JSON, the two syntaxes of Consul's configuration files, read into one tree of values.
//
// HCL here is the language of hashicorp/hcl v1, as its readme and its specification describe it: keys with values,
// blocks with labels, lists, text with escapes, heredocs, numbers and comments. What it stands for is known to the
// reader of the tree alone: durations, sizes and addresses stay text.

/// Reads configuration documents.
public enum HCLDocument {
    public enum Syntax: Sendable, CaseIterable {
        case hcl
        case json
    }

    /// What a document may cost; one beyond a bound is refused with the bound's value.
    public struct Limits: Sendable {
        public var bytes = 4 << 20
        /// Objects, lists and labels within each other.
        public var depth = 64
        public init() {}
    }

    /// The document's outermost object.
    ///
    /// A document that is said to be HCL and begins with `{` is read as JSON, as hashicorp/hcl does.
    /// - Parameter file: how errors call the document.
    public static func parse(
        _ bytes: [UInt8], syntax: Syntax, file: String, limits: Limits = Limits()
    ) throws(HCLError) -> HCLValue {
        guard bytes.count <= limits.bytes else {
            throw HCLError(
                file: file, position: .start, problem: "the file has \(bytes.count) bytes",
                expected: "at most \(limits.bytes)")
        }
        let cursor = Cursor(bytes, file: file)
        try cursor.demandUTF8()
        switch syntax {
        case .json:
            return try self.json(cursor, limits)
        case .hcl:
            var ahead = cursor
            ahead.skipBlanks()
            if ahead.current == UInt8(ascii: "{") { return try self.json(cursor, limits) }
            var parser = HCLParser(cursor, depth: limits.depth)
            return try parser.document()
        }
    }

    private static func json(_ cursor: Cursor, _ limits: Limits) throws(HCLError) -> HCLValue {
        var parser = JSONDocumentParser(cursor, depth: limits.depth)
        return try parser.document()
    }
}

/// Why a document was refused: `file:line:column: problem, expected …`.
public struct HCLError: Error, Sendable, Equatable, CustomStringConvertible {
    public var file: String
    public var position: HCLPosition
    public var problem: String
    /// What would have been right there; "" where nothing more helpful can be said.
    public var expected: String

    public init(file: String, position: HCLPosition, problem: String, expected: String = "") {
        self.file = file
        self.position = position
        self.problem = problem
        self.expected = expected
    }

    public var description: String {
        "\(self.file):\(self.position): \(self.problem)" + (self.expected.isEmpty ? "" : ", expected \(self.expected)")
    }
}
