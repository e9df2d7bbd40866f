import Foundation

/// A JSON value of a configuration file. Objects have no order: nothing may depend on it.
public enum ConfigurationValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case list([ConfigurationValue])
    case object([String: ConfigurationValue])

    /// Reads one JSON document; the error's text says what is wrong and, where known, at which line.
    public static func parse(_ bytes: Data) throws(AgentConfigurationError.JSONError) -> ConfigurationValue {
        do {
            return try JSONDecoder().decode(ConfigurationValue.self, from: bytes)
        } catch DecodingError.dataCorrupted(let context) {
            throw .init(text: Self.describe(context))
        } catch {
            throw .init(text: "\(error)")
        }
    }

    private static func describe(_ context: DecodingError.Context) -> String {
        guard let underlying = context.underlyingError as? NSError,
            let detail = underlying.userInfo["NSDebugDescription"] as? String
        else { return context.debugDescription }
        return detail
    }

    /// Compact JSON with sorted keys: equal values give equal text.
    public var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(self) else { return "null" }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What people call this kind of value, for error texts.
    var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "true or false"
        case .integer: "a whole number"
        case .number: "a number"
        case .text: "text"
        case .list: "a list"
        case .object: "an object"
        }
    }

    /// This value with `over` laid upon it: objects merge key by key, lists append, everything else is replaced.
    func merged(with over: ConfigurationValue) -> ConfigurationValue {
        switch (self, over) {
        case (.object(let below), .object(let above)):
            .object(below.merging(above) { $0.merged(with: $1) })
        case (.list(let below), .list(let above)):
            .list(below + above)
        default:
            over
        }
    }

    /// A tree that holds `leaf` at the dotted `path` and nothing else.
    static func nested(_ path: String, _ leaf: ConfigurationValue) -> ConfigurationValue {
        path.split(separator: ".").reversed().reduce(leaf) { .object([String($1): $0]) }
    }

    /// The value at a dotted path; nil when any step is missing.
    func value(at path: String) -> ConfigurationValue? {
        var current = self
        for step in path.split(separator: ".") {
            guard case .object(let fields) = current, let next = fields[String(step)] else { return nil }
            current = next
        }
        return current
    }
}

extension ConfigurationValue: Codable {
    public init(from decoder: any Decoder) throws {
        if let fields = try? decoder.container(keyedBy: AnyKey.self) {
            var object: [String: ConfigurationValue] = [:]
            for key in fields.allKeys {
                object[key.stringValue] = try fields.decode(ConfigurationValue.self, forKey: key)
            }
            self = .object(object)
            return
        }
        if var items = try? decoder.unkeyedContainer() {
            var list: [ConfigurationValue] = []
            while !items.isAtEnd { list.append(try items.decode(ConfigurationValue.self)) }
            self = .list(list)
            return
        }
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let value = try? single.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? single.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? single.decode(Double.self) {
            self = .number(value)
        } else {
            self = .text(try single.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .object(let object):
            var fields = encoder.container(keyedBy: AnyKey.self)
            for (key, value) in object { try fields.encode(value, forKey: AnyKey(key)) }
        case .list(let list):
            var items = encoder.unkeyedContainer()
            for value in list { try items.encode(value) }
        case .null:
            var single = encoder.singleValueContainer()
            try single.encodeNil()
        case .bool(let value):
            var single = encoder.singleValueContainer()
            try single.encode(value)
        case .integer(let value):
            var single = encoder.singleValueContainer()
            try single.encode(value)
        case .number(let value):
            var single = encoder.singleValueContainer()
            try single.encode(value)
        case .text(let value):
            var single = encoder.singleValueContainer()
            try single.encode(value)
        }
    }

    private struct AnyKey: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(_ text: String) { self.stringValue = text }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}
