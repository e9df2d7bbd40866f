import HCL
import Units

/// Checks one layer against the vocabulary: unknown keys, kinds of values, keys of Consul's that we lack.
struct ConfigurationCleaner {
    let source: ConfigurationReader.Source
    private(set) var warnings: [String] = []
    private(set) var origins: [String: String] = [:]
    private(set) var services: [ConfigurationReader.Definition] = []
    private(set) var checks: [ConfigurationReader.Definition] = []
    private(set) var watches: [ConfigurationReader.Definition] = []

    init(source: ConfigurationReader.Source) { self.source = source }

    mutating func clean(_ layer: HCLValue) throws(AgentConfigurationError) -> ConfigurationValue {
        try self.block(layer, "", path: "")
    }

    private mutating func block(
        _ value: HCLValue, _ vocabulary: String, path: String
    ) throws(AgentConfigurationError) -> ConfigurationValue {
        guard let fields = try self.object(value, path: path).fields,
            let keys = ConfigurationKeys.vocabularies[vocabulary]
        else { return .object([:]) }
        var clean: [String: ConfigurationValue] = [:]
        for field in fields {
            // JSON has no comments; Consul's users write them under such keys.
            if field.name == "_comment" || field.name == "//" { continue }
            guard let key = keys[field.name] else { throw self.unknown(field, among: keys, path: path) }
            let name = keys.takesCamelCase ? Self.camelCase(key.name) : key.name
            let whole = path.isEmpty ? key.name : path + "." + key.name
            if field.value.content == .null { continue }
            if vocabulary.isEmpty, let kind = Definitions(rawValue: key.name) {
                try self.keep(field.value, kind, path: whole)
                continue
            }
            guard try self.isTaken(key, field, path: whole) else { continue }
            clean[name] = try self.value(field.value, key.shape, path: whole)
            if case .file = self.source { self.origins[whole] = self.source.place(field.position) }
        }
        // To the API `check` is one object; here it may stand several times.
        if vocabulary == "<service>", case .list(let single) = clean.removeValue(forKey: "Check") {
            clean["Checks"] = ConfigurationValue.list(single).merged(with: clean["Checks"] ?? .list([]))
        }
        return .object(clean)
    }

    /// Says what is ignored, and refuses what we lack.
    private mutating func isTaken(
        _ key: ConfigurationKey, _ field: HCLField, path: String
    ) throws(AgentConfigurationError) -> Bool {
        switch key.standing {
        case .used, .live, .spokenFor:
            return true
        case .ignored:
            if !key.names.isEmpty { _ = try self.value(field.value, key.shape, path: path) }
            self.warnings.append("\(self.source.place(field.position)): \(path) has no effect: \(key.about)")
            return false
        case .refused:
            guard Self.isOff(field.value) else {
                throw .lacking(key: path, why: key.about, place: self.source.place(field.position))
            }
            return false
        }
    }

    private func unknown(_ field: HCLField, among keys: ConfigurationVocabulary, path: String)
        -> AgentConfigurationError
    {
        let place = self.source.place(field.position)
        let isDefinition = ["service", "services", "check", "checks", "watches"].contains(path)
        if isDefinition, field.value.fields != nil, ConfigurationKeys.nearest(to: field.name, among: keys.names) == nil
        {
            return .invalid(
                key: path, why: "takes no label; write name = \"\(field.name)\" within the block", place: place)
        }
        let near = ConfigurationKeys.nearest(to: field.name.lowercased(), among: keys.names)
        let whole = path.isEmpty ? field.name : path + "." + field.name
        return .unknownKey(key: whole, nearest: near.map { path.isEmpty ? $0 : path + "." + $0 }, place: place)
    }

    // MARK: definitions

    private enum Definitions: String {
        case service, services, check, checks, watches

        var vocabulary: String {
            switch self {
            case .service, .services: "<service>"
            case .check, .checks: "<check>"
            case .watches: "<watch>"
            }
        }
    }

    private mutating func keep(
        _ value: HCLValue, _ kind: Definitions, path: String
    ) throws(AgentConfigurationError) {
        for item in try self.items(value, path: path) {
            let definition = ConfigurationReader.Definition(
                value: try self.block(item, kind.vocabulary, path: path), place: self.source.place(item.position))
            switch kind {
            case .service, .services: self.services.append(definition)
            case .check, .checks: self.checks.append(definition)
            case .watches: self.watches.append(definition)
            }
        }
    }

    /// `local_bind_port` is `LocalBindPort` to the API.
    private static func camelCase(_ name: String) -> String {
        name.split(separator: "_").map { $0 == "id" ? "ID" : $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    // MARK: values

    private mutating func value(
        _ value: HCLValue, _ shape: ConfigurationShape, path: String
    ) throws(AgentConfigurationError) -> ConfigurationValue {
        switch (shape, value.content) {
        case (.any, _), (.flag, .bool), (.count, .integer), (.text, .text):
            return Self.plain(value)
        case (.count, .number(let number)) where number.rounded() == number && abs(number) < 1e15:
            return .integer(Int64(number))
        case (.duration, .text(let text)):
            if !text.isEmpty, GoDuration.parse(text) == nil {
                throw .invalid(key: path, why: GoDuration.complaint(text), place: self.source.place(value.position))
            }
            return .text(text)
        case (.texts, .text):
            return .list([Self.plain(value)])
        case (.texts, .list(let items)):
            try self.demandTexts(items, path: path, shape)
            return Self.plain(value)
        case (.textMap, _):
            for field in try self.object(value, path: path).fields ?? [] {
                guard case .text = field.value.content else {
                    throw self.wrong(field.value, "text", path: path + "." + field.name)
                }
            }
            return Self.plain(try self.object(value, path: path))
        case (.textsMap, _):
            return try self.mapped(value, .texts, path: path)
        case (.map(let vocabulary), _):
            return try self.mapped(value, .block(vocabulary), path: path)
        case (.block(let vocabulary), _):
            return try self.block(value, vocabulary, path: path)
        case (.blocks(let vocabulary), _):
            var list: [ConfigurationValue] = []
            for item in try self.items(value, path: path) { list.append(try self.block(item, vocabulary, path: path)) }
            return .list(list)
        case (.flag, _), (.count, _), (.text, _), (.duration, _), (.texts, _):
            throw self.wrong(value, shape.words, path: path)
        }
    }

    private mutating func mapped(
        _ value: HCLValue, _ shape: ConfigurationShape, path: String
    ) throws(AgentConfigurationError) -> ConfigurationValue {
        var found: [String: ConfigurationValue] = [:]
        for field in try self.object(value, path: path).fields ?? [] {
            found[field.name] = try self.value(field.value, shape, path: path + "." + field.name)
        }
        return .object(found)
    }

    /// One object: HCL writes it as a list of one, too.
    private func object(_ value: HCLValue, path: String) throws(AgentConfigurationError) -> HCLValue {
        switch value.content {
        case .object:
            return value
        case .list(let items) where items.count == 1 && items[0].fields != nil:
            return items[0]
        case .list(let items) where items.count > 1 && items.allSatisfy({ $0.fields != nil }):
            let place = self.source.place(items[1].position)
            throw .invalid(
                key: path, why: "stands here again; one block is wanted, and \(items.count) are there", place: place)
        case .null, .bool, .integer, .number, .text, .list:
            throw self.wrong(value, "an object", path: path)
        }
    }

    private func items(_ value: HCLValue, path: String) throws(AgentConfigurationError) -> [HCLValue] {
        switch value.content {
        case .object:
            return [value]
        case .list(let items):
            for item in items where item.fields == nil { throw self.wrong(item, "an object in a list", path: path) }
            return items
        case .null, .bool, .integer, .number, .text:
            throw self.wrong(value, ConfigurationShape.blocks("").words, path: path)
        }
    }

    private func demandTexts(
        _ items: [HCLValue], path: String, _ shape: ConfigurationShape
    ) throws(AgentConfigurationError) {
        for item in items {
            guard case .text = item.content else { throw self.wrong(item, shape.words, path: path) }
        }
    }

    private func wrong(_ value: HCLValue, _ expected: String, path: String) -> AgentConfigurationError {
        .wrongKind(key: path, expected: expected, found: value.kind, place: self.source.place(value.position))
    }

    static func plain(_ value: HCLValue) -> ConfigurationValue {
        switch value.content {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .integer(let number): .integer(number)
        case .number(let number): .number(number)
        case .text(let text): .text(text)
        case .list(let items): .list(items.map(self.plain))
        case .object(let fields):
            .object(Dictionary(fields.map { ($0.name, self.plain($0.value)) }) { $1 })
        }
    }

    /// A block is off when it says so itself, whatever else it says.
    private static func isOff(_ value: HCLValue) -> Bool {
        switch value.content {
        case .null, .bool(false), .integer(0), .integer(-1), .text(""): true
        case .object(let fields): value["enabled"]?.content == .bool(false) || fields.allSatisfy { isOff($0.value) }
        case .list(let items): items.isEmpty
        case .bool, .integer, .number, .text: false
        }
    }
}
