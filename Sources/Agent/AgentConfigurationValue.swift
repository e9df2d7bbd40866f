import HCL

/// A value of a configuration file. Objects have no order: nothing may depend on it.
public enum ConfigurationValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
    case list([ConfigurationValue])
    case object([String: ConfigurationValue])

    /// Compact JSON with sorted keys: equal values give equal text.
    public var json: String { self.placed.json }

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

    /// The same with places, for what was read from no file.
    var placed: HCLValue {
        switch self {
        case .null: HCLValue(.null)
        case .bool(let flag): HCLValue(.bool(flag))
        case .integer(let number): HCLValue(.integer(number))
        case .number(let number): HCLValue(.number(number))
        case .text(let text): HCLValue(.text(text))
        case .list(let items): HCLValue(.list(items.map(\.placed)))
        case .object(let fields):
            // Sorted, so that of several mistakes the same one is always named first.
            HCLValue(.object(fields.sorted { $0.key < $1.key }.map { HCLField($0.key, $0.value.placed) }))
        }
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
