import Foundation
import HCL
import Units

/// Lays configuration layers upon each other, each checked against the vocabulary first, and reads the result.
struct ConfigurationReader {
    /// All layers, merged; without service, check and watch definitions.
    private(set) var tree: ConfigurationValue = .object([:])
    private(set) var warnings: [String] = []
    /// Where each key was last set: `file:line:column`, by path. Flags leave no trace.
    private(set) var origins: [String: String] = [:]
    /// Definitions in the order read.
    private(set) var services: [Definition] = []
    private(set) var checks: [Definition] = []
    private(set) var watches: [Definition] = []

    struct Definition: Sendable {
        var value: ConfigurationValue
        var place: String
    }

    /// What a layer was read from.
    enum Source {
        case file(String)
        case flags

        func place(_ position: HCLPosition) -> String {
            switch self {
            case .file(let name): "\(name):\(position)"
            case .flags: "flags"
            }
        }
    }

    // MARK: files

    /// - Parameter format: nil goes by the name's ending; a file of another ending is passed over with a warning.
    mutating func read(file path: String, format: HCLDocument.Syntax?) throws(AgentConfigurationError) {
        guard let syntax = format ?? Self.syntax(of: path) else {
            self.warnings.append(
                "\(path): is passed over: the name must end in .hcl or .json, or -config-format must be given")
            return
        }
        let bytes: Data
        do {
            bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw .unreadable(path: path, why: Self.reason(error))
        }
        try self.read(Array(bytes), syntax: syntax, name: path)
    }

    /// Every file of the folder, in lexical order of their names; folders within are left.
    mutating func read(directory path: String, format: HCLDocument.Syntax?) throws(AgentConfigurationError) {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            throw .unreadable(path: path, why: Self.reason(error))
        }
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            let file = path + (path.hasSuffix("/") ? "" : "/") + name
            if !Self.isFolder(file) { try self.read(file: file, format: format) }
        }
    }

    /// A file or a folder, whichever it is.
    mutating func read(path: String, format: HCLDocument.Syntax?) throws(AgentConfigurationError) {
        if Self.isFolder(path) {
            try self.read(directory: path, format: format)
        } else {
            try self.read(file: path, format: format)
        }
    }

    mutating func read(_ bytes: [UInt8], syntax: HCLDocument.Syntax, name: String) throws(AgentConfigurationError) {
        let value: HCLValue
        do throws(HCLError) {
            value = try HCLDocument.parse(bytes, syntax: syntax, file: name)
        } catch {
            throw .malformed(error)
        }
        try self.lay(value, .file(name))
    }

    static func syntax(of path: String) -> HCLDocument.Syntax? {
        path.hasSuffix(".hcl") ? .hcl : path.hasSuffix(".json") ? .json : nil
    }

    private static func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }

    private static func reason(_ error: any Error) -> String {
        let known = error as NSError
        switch CocoaError.Code(rawValue: known.code) {
        case .fileReadNoSuchFile, .fileNoSuchFile: return "no such file or folder"
        case .fileReadNoPermission: return "permission denied"
        default: return known.localizedDescription
        }
    }

    // MARK: layers

    /// Checks a layer, normalises it (one text where a list is meant) and lays it on top: objects merge, lists append,
    /// anything else is replaced.
    mutating func lay(_ layer: HCLValue, _ source: Source) throws(AgentConfigurationError) {
        var cleaner = ConfigurationCleaner(source: source)
        let clean = try cleaner.clean(layer)
        self.tree = self.tree.merged(with: clean)
        self.warnings += cleaner.warnings
        self.origins.merge(cleaner.origins) { $1 }
        self.services += cleaner.services
        self.checks += cleaner.checks
        self.watches += cleaner.watches
    }

    /// What is known to be right.
    mutating func lay(_ layer: ConfigurationValue) { self.tree = self.tree.merged(with: layer) }

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

    func count(_ key: String) throws(AgentConfigurationError) -> Int? {
        guard case .integer(let value) = self.tree.value(at: key) else { return nil }
        guard value.magnitude < 1 << 40 else { throw .invalid(key: key, why: "\(value) is out of range", place: nil) }
        return Int(value)
    }

    func duration(_ key: String) throws(AgentConfigurationError) -> Nanoseconds? {
        guard let text = self.text(key) else { return nil }
        guard let value = GoDuration.parse(text) else {
            throw .invalid(key: key, why: GoDuration.complaint(text), place: nil)
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
            guard Self.isSix(host) else { return nil }
            if rest.isEmpty { return (host, defaultPort) }
            guard rest.hasPrefix(":"), let port = Self.port(rest.dropFirst()) else { return nil }
            return (host, port)
        }
        let colons = text.count { $0 == ":" }
        if colons == 0 { return text.isEmpty ? nil : (text, defaultPort) }
        if colons > 1 { return Self.isSix(text) ? (text, defaultPort) : nil }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let port = Self.port(parts[1]), !parts[0].isEmpty else { return nil }
        return (String(parts[0]), port)
    }

    /// With or without a zone.
    private static func isSix(_ text: String) -> Bool {
        text.contains(":") && AgentConfiguration.isAddress(String(text.prefix { $0 != "%" }))
    }

    private static func port(_ text: some StringProtocol) -> Int? {
        guard let port = Int(text), (1...65_535).contains(port) else { return nil }
        return port
    }
}
