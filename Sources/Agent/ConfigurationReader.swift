import Foundation
import Units

/// Lays configuration layers upon each other, each checked against the vocabulary first, and reads the result.
struct ConfigurationReader {
    private(set) var tree: ConfigurationValue = .object([:])
    private(set) var warnings: [String] = []

    mutating func read(file path: String) throws(AgentConfigurationError) {
        if path.hasSuffix(".hcl") {
            throw .unreadable(path: path, why: "HCL is not read; write it as JSON")
        }
        let bytes: Data
        do {
            bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw .unreadable(path: path, why: Self.reason(error))
        }
        let value: ConfigurationValue
        do {
            value = try ConfigurationValue.parse(bytes)
        } catch {
            throw .malformed(path: path, why: error.text)
        }
        guard case .object = value else {
            throw .malformed(path: path, why: "the outermost value must be an object, not \(value.kindName)")
        }
        try self.check(value, source: path)
    }

    /// Every `.json` file of the folder, in lexical order of their names; a `.hcl` file is an error, others are left.
    mutating func read(directory path: String) throws(AgentConfigurationError) {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw .unreadable(path: path, why: Self.reason(error))
        }
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            if name.hasSuffix(".json") || name.hasSuffix(".hcl") { try self.read(file: path + "/" + name) }
        }
    }

    private static func reason(_ error: any Error) -> String {
        let known = error as NSError
        switch CocoaError.Code(rawValue: known.code) {
        case .fileReadNoSuchFile, .fileNoSuchFile: return "no such file or folder"
        case .fileReadNoPermission: return "permission denied"
        default: return known.localizedDescription
        }
    }

    /// Checks a layer, normalises it (one text where a list is meant) and lays it on top.
    mutating func check(_ layer: ConfigurationValue, source: String) throws(AgentConfigurationError) {
        let clean = try self.cleaned(layer, .block(ConfigurationKeys.root), key: "", source: source)
        self.lay(clean, source: source)
    }

    mutating func lay(_ layer: ConfigurationValue, source: String) {
        self.tree = self.tree.merged(with: layer)
    }

    private mutating func cleaned(
        _ value: ConfigurationValue, _ shape: ConfigurationShape, key: String, source: String
    ) throws(AgentConfigurationError) -> ConfigurationValue {
        func wrong(_ expected: String) -> AgentConfigurationError {
            .wrongKind(key: key, expected: expected, found: value.kindName, source: source)
        }
        switch (shape, value) {
        case (.flag, .bool), (.count, .integer), (.text, .text), (.duration, .text), (.document, .object):
            return value
        case (.count, .number(let number)) where number.rounded() == number && abs(number) < 1e15:
            return .integer(Int64(number))
        case (.texts, .text):
            return .list([value])
        case (.texts, .list(let items)):
            for item in items {
                guard case .text = item else { throw wrong("a list of texts") }
            }
            return value
        case (.textMap, .object(let fields)):
            for (_, item) in fields {
                guard case .text = item else { throw wrong("an object whose values are texts") }
            }
            return value
        case (.documents, .list(let items)):
            for item in items {
                guard case .object = item else { throw wrong("a list of objects") }
            }
            return value
        case (.block(let keys), .object(let fields)):
            return try self.cleanedBlock(fields, keys, key: key, source: source)
        case (.ignored(let why), _):
            self.warnings.append("\(key): has no effect: \(why)")
            return value
        case (.lacking(let why), _):
            guard Self.isOff(value) else { throw .lacking(key: key, why: why, source: source) }
            return value
        case (.flag, _): throw wrong("true or false")
        case (.count, _): throw wrong("a whole number")
        case (.text, _): throw wrong("text")
        case (.duration, _): throw wrong("a duration such as \"10s\" or \"150ms\"")
        case (.texts, _): throw wrong("a list of texts")
        case (.textMap, _), (.document, _), (.block, _): throw wrong("an object")
        case (.documents, _): throw wrong("a list of objects")
        }
    }

    private mutating func cleanedBlock(
        _ fields: [String: ConfigurationValue], _ keys: [String: ConfigurationShape], key: String, source: String
    ) throws(AgentConfigurationError) -> ConfigurationValue {
        var clean: [String: ConfigurationValue] = [:]
        // Sorted, so that of several mistakes the same one is always named first.
        for (name, item) in fields.sorted(by: { $0.key < $1.key }) {
            // JSON has no comments; Consul's users write them under such keys.
            if name == "_comment" || name == "//" { continue }
            let path = key.isEmpty ? name : key + "." + name
            guard let shape = keys[name] else {
                let near = ConfigurationKeys.nearest(to: name, among: keys.keys)
                throw .unknownKey(
                    key: path, nearest: near.map { key.isEmpty ? $0 : key + "." + $0 }, source: source)
            }
            if item == .null { continue }
            clean[name] = try self.cleaned(item, shape, key: path, source: source)
        }
        if case .object(let document) = clean["service"] { clean["service"] = .list([.object(document)]) }
        if case .object(let document) = clean["check"] { clean["check"] = .list([.object(document)]) }
        return .object(clean)
    }

    private static func isOff(_ value: ConfigurationValue) -> Bool {
        switch value {
        case .null, .bool(false), .integer(0), .integer(-1), .text(""), .list([]): true
        case .object(let fields): fields.isEmpty
        case .bool, .integer, .number, .text, .list: false
        }
    }

    // MARK: reading what was checked

    func flag(_ key: String) -> Bool? {
        guard case .bool(let value) = self.tree.value(at: key) else { return nil }
        return value
    }

    /// Nil for a missing key and for empty text, which Consul takes for missing too.
    func text(_ key: String) -> String? {
        guard case .text(let value) = self.tree.value(at: key), !value.isEmpty else { return nil }
        return value
    }

    func texts(_ key: String) -> [String] {
        guard case .list(let items) = self.tree.value(at: key) else { return [] }
        return items.compactMap { if case .text(let text) = $0 { text } else { nil } }
    }

    func textMap(_ key: String) -> [String: String] {
        guard case .object(let fields) = self.tree.value(at: key) else { return [:] }
        return fields.compactMapValues { if case .text(let text) = $0 { text } else { nil } }
    }

    func documents(_ key: String) -> [ConfigurationValue] {
        guard case .list(let items) = self.tree.value(at: key) else { return [] }
        return items
    }

    func count(_ key: String) throws(AgentConfigurationError) -> Int? {
        guard case .integer(let value) = self.tree.value(at: key) else { return nil }
        guard abs(value) < 1 << 40 else { throw .invalid(key: key, why: "\(value) is out of range") }
        return Int(value)
    }

    func duration(_ key: String) throws(AgentConfigurationError) -> Nanoseconds? {
        guard let text = self.text(key) else { return nil }
        guard let value = GoDuration.parse(text) else {
            throw .invalid(key: key, why: GoDuration.complaint(text))
        }
        return value
    }

    func take(_ key: String, into target: inout Nanoseconds) throws(AgentConfigurationError) {
        if let value = try self.duration(key) { target = value }
    }

    func take(_ key: String, into target: inout Int) throws(AgentConfigurationError) {
        if let value = try self.count(key) { target = value }
    }

    func take(_ key: String, into target: inout ByteCount) throws(AgentConfigurationError) {
        if let value = try self.count(key) { target = ByteCount(value) }
    }
}

extension GoDuration {
    static func complaint(_ text: String) -> String {
        "\"\(text)\" is no duration; write a number with a unit, such as 10s, 150ms or 1h30m"
    }
}

/// `host`, `host:port`, `[v6]:port`, a bare IPv6 address.
enum HostAndPort {
    static func parse(_ text: String, defaultPort: Int) -> (host: String, port: Int)? {
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            if rest.isEmpty { return host.isEmpty ? nil : (host, defaultPort) }
            guard rest.hasPrefix(":"), let port = Self.port(rest.dropFirst()), !host.isEmpty else { return nil }
            return (host, port)
        }
        let colons = text.count { $0 == ":" }
        if colons == 0 { return text.isEmpty ? nil : (text, defaultPort) }
        if colons > 1 { return (text, defaultPort) }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let port = Self.port(parts[1]), !parts[0].isEmpty else { return nil }
        return (String(parts[0]), port)
    }

    private static func port(_ text: some StringProtocol) -> Int? {
        guard let port = Int(text), (1...65_535).contains(port) else { return nil }
        return port
    }
}
