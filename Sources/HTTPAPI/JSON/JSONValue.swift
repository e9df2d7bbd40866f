/// A parsed JSON document. Numbers keep their text, so that 64-bit integers lose nothing; objects keep the order and
/// the repetitions of their fields.
public enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// As written; valid by RFC 8259 §6.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Field])

    public struct Field: Sendable, Equatable {
        public var name: String
        public var value: JSONValue
        public init(name: String, value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// What Go's messages call it.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "bool"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    public var isNull: Bool { self == .null }
}

/// Why a body was refused, in the words that Go's decoder uses: clients and scripts match on them.
public struct JSONError: Error, Sendable, Equatable {
    public var text: String
    public init(_ text: String) { self.text = text }
}

extension JSONValue {
    /// Reads the first JSON value of `bytes`; what follows it is ignored, as by Go's stream decoder.
    /// - Parameter maximumDepth: nesting beyond it is refused, so that hostile input can't exhaust the stack.
    public static func parse(_ bytes: [UInt8], maximumDepth: Int = 128) throws(JSONError) -> JSONValue {
        var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
        return try parser.parseDocument()
    }

    public static func parse(_ text: String) throws(JSONError) -> JSONValue {
        try self.parse(Array(text.utf8))
    }
}
