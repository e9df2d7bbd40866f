import ArgumentParser
import Foundation
import Units

struct KVCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv", abstract: "Reads and writes keys",
        subcommands: [KVDelete.self, KVExport.self, KVGet.self, KVImport.self, KVPut.self])
}

/// A key as the API gives it.
struct KVRow: Decodable {
    var key: String
    var value: String?
    var flags: UInt64
    var session: String?
    var lockIndex: UInt64
    var createIndex: UInt64
    var modifyIndex: UInt64

    enum CodingKeys: String, CodingKey {
        case key = "Key"
        case value = "Value"
        case flags = "Flags"
        case session = "Session"
        case lockIndex = "LockIndex"
        case createIndex = "CreateIndex"
        case modifyIndex = "ModifyIndex"
    }

    var bytes: [UInt8] { self.value.flatMap { Data(base64Encoded: $0) }.map(Array.init) ?? [] }
}

enum KVPath {
    /// One leading slash is dropped, as Consul's command does: `/a` is the key `a`. The key `/a` is written `//a`.
    static func of(_ key: String) -> String {
        "/v1/kv/" + PercentEncoding.of(key.hasPrefix("/") ? key.dropFirst() : key[...], keeping: "/")
    }

    static func one(_ arguments: [String], what: String, emptyAllowed: Bool) throws -> String {
        if arguments.count > 1 {
            throw CommandFailure("Too many arguments (expected 1, got \(arguments.count))")
        }
        guard let key = arguments.first else {
            if emptyAllowed { return "" }
            throw CommandFailure("Error! Missing \(what) argument")
        }
        return key
    }

    /// `@file`, `-` for standard input, or the text itself.
    static func data(_ argument: String) throws -> [UInt8] {
        if argument == "-" { return Files.standardInput() }
        guard argument.hasPrefix("@") else { return Array(argument.utf8) }
        do throws(FileFailure) {
            return try Files.read(String(argument.dropFirst()))
        } catch {
            throw CommandFailure("Error! Failed to read file: \(error.text)")
        }
    }
}

struct KVGet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Shows a key's value, or the keys under a prefix")

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("base64"), help: "Show values in base 64.") var base64 = false
    @Flag(name: .customLong("detailed"), help: "Show indexes, flags and the lock too.") var detailed = false
    @Flag(name: .customLong("keys"), help: "List the keys under the prefix.") var keys = false
    @Flag(name: .customLong("recurse"), help: "Show all keys under the prefix.") var recurse = false
    @Flag(name: .customLong("raw"), help: "The value's bytes alone, without a newline behind them.") var raw = false
    @Option(name: .customLong("separator"), help: "List keys only up to this text.") var separator = "/"
    @Argument(help: .init("Key or prefix.", valueName: "key")) var arguments: [String] = []

    func run() async throws {
        let key = try KVPath.one(self.arguments, what: "KEY", emptyAllowed: self.keys || self.recurse)
        if key.isEmpty, !self.keys, !self.recurse { throw CommandFailure("Error! Missing KEY argument") }
        let client = try self.api.client()
        var query: [(String, String?)] = []
        if self.keys {
            query = [("keys", nil), ("separator", self.separator)]
        } else if self.recurse {
            query = [("recurse", nil)]
        }
        if self.api.format == .json { query.append(("pretty", nil)) }
        let answer = try await client.send(.GET, KVPath.of(key), query: query)
        switch answer.status {
        case 200: break
        case 404 where self.keys || self.recurse:
            if self.api.format == .json { Output.line("[]") }
            return
        case 404:
            throw CommandFailure("Error! No key exists at: \(key)")
        default:
            throw CommandFailure(
                "Error querying agent: Unexpected response code: \(answer.status) (\(APIClient.trimmed(answer.text)))")
        }
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        if self.keys { return try answer.decoded([String].self).forEach(Output.line) }
        let entries = try answer.decoded([KVRow].self)
        if self.recurse { self.showAll(entries) } else if let entry = entries.first { self.show(entry) }
    }

    private func shown(_ entry: KVRow) -> [UInt8] {
        self.base64 ? Array((entry.value ?? "").utf8) : entry.bytes
    }

    private func show(_ entry: KVRow) {
        if self.detailed { return Output.line(self.details(entry)) }
        Output.bytes(self.shown(entry) + (self.raw ? [] : [UInt8(ascii: "\n")]))
    }

    private func showAll(_ entries: [KVRow]) {
        if self.detailed { return Output.line(entries.map(self.details).joined(separator: "\n\n")) }
        for entry in entries {
            Output.bytes(Array(entry.key.utf8) + [UInt8(ascii: ":")] + self.shown(entry) + [UInt8(ascii: "\n")])
        }
    }

    private func details(_ entry: KVRow) -> String {
        Output.table([
            ["CreateIndex", "    \(entry.createIndex)"], ["Flags", "    \(entry.flags)"], ["Key", "    \(entry.key)"],
            ["LockIndex", "    \(entry.lockIndex)"], ["ModifyIndex", "    \(entry.modifyIndex)"],
            ["Session", "    \(entry.session ?? "-")"],
            ["Value", "    \(String(decoding: self.shown(entry), as: UTF8.self))"],
        ])
    }
}

struct KVPut: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "put", abstract: "Writes a key")

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("acquire"), help: "Take the key's lock for -session.") var acquire = false
    @Flag(name: .customLong("release"), help: "Give up the lock that -session holds.") var release = false
    @Flag(name: .customLong("base64"), help: "The data is base 64.") var base64 = false
    @Flag(name: .customLong("cas"), help: "Write only if the key still has -modify-index (0: does not exist).")
    var cas = false
    @Option(name: .customLong("modify-index"), help: "The ModifyIndex that -cas compares with.") var modifyIndex:
        UInt64?
    @Option(name: .customLong("flags"), help: "Number kept with the key.") var flags: UInt64 = 0
    @Option(name: .customLong("session"), help: "Session that -acquire and -release act for.") var session: String?
    @Argument(help: .init("The key, and its data: text, @file, or - for standard input.", valueName: "key and data"))
    var arguments: [String] = []

    func run() async throws {
        guard let key = self.arguments.first else { throw CommandFailure("Error! Missing KEY argument") }
        if self.arguments.count > 2 {
            throw CommandFailure("Error! Too many arguments (expected 1 or 2, got \(self.arguments.count))")
        }
        if key.hasPrefix("/"), !key.hasPrefix("//") {
            throw CommandFailure(
                "Error! Failed writing data: Invalid key. Key must not begin with a '/': \(key) (//key writes /key)")
        }
        if self.acquire || self.release, self.session == nil {
            throw CommandFailure("Error! Missing -session (required with -acquire and -release)")
        }
        if self.acquire, self.release { throw CommandFailure("Error! Cannot specify both -acquire and -release") }
        if self.cas, self.modifyIndex == nil { throw CommandFailure("Must specify -modify-index with -cas!") }
        var query: [(String, String?)] = []
        if self.flags != 0 { query.append(("flags", "\(self.flags)")) }
        if self.cas, let index = self.modifyIndex { query.append(("cas", "\(index)")) }
        if self.acquire { query.append(("acquire", self.session)) }
        if self.release { query.append(("release", self.session)) }
        let answer = try await self.api.client().demand(
            .PUT, KVPath.of(key), query: query, body: try self.body(), failing: "Error! Failed writing data")
        if APIClient.trimmed(answer.text) == "true" { return Output.line(self.success(key)) }
        if self.cas { throw CommandFailure("Error! Did not write to \(key): CAS failed") }
        if self.acquire { throw CommandFailure("Error! Lock is already held on: \(key)") }
        throw CommandFailure("Error! Did not release lock")
    }

    private func body() throws -> [UInt8] {
        let data = self.arguments.count == 2 ? try KVPath.data(self.arguments[1]) : []
        guard self.base64 else { return data }
        guard let decoded = Data(base64Encoded: Data(data)) else {
            throw CommandFailure("Error! Cannot base 64 decode data")
        }
        return Array(decoded)
    }

    private func success(_ key: String) -> String {
        if self.acquire { return "Success! Lock acquired on: \(key)" }
        if self.release { return "Success! Lock released on: \(key)" }
        return "Success! Data written to: \(key)"
    }
}

struct KVDelete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Deletes a key, or all under a prefix")

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("recurse"), help: "Delete all keys with this prefix.") var recurse = false
    @Flag(name: .customLong("cas"), help: "Delete only if the key still has -modify-index.") var cas = false
    @Option(name: .customLong("modify-index"), help: "The ModifyIndex that -cas compares with.") var modifyIndex:
        UInt64?
    @Argument(help: .init("Key or prefix.", valueName: "key")) var arguments: [String] = []

    func run() async throws {
        let key = try KVPath.one(self.arguments, what: "KEY", emptyAllowed: self.recurse)
        if key.isEmpty, !self.recurse { throw CommandFailure("Error! Missing KEY argument") }
        if self.cas, self.recurse { throw CommandFailure("Cannot specify both -cas and -recurse!") }
        if self.cas, self.modifyIndex == nil { throw CommandFailure("Must specify -modify-index with -cas!") }
        var query: [(String, String?)] = []
        if self.recurse { query.append(("recurse", nil)) }
        if self.cas, let index = self.modifyIndex { query.append(("cas", "\(index)")) }
        let answer = try await self.api.client().demand(
            .DELETE, KVPath.of(key), query: query, failing: "Error! Did not delete key \(key)")
        guard APIClient.trimmed(answer.text) == "true" else {
            throw CommandFailure("Error! Did not delete key \(key): CAS failed")
        }
        Output.line(self.recurse ? "Success! Deleted keys with prefix: \(key)" : "Success! Deleted key: \(key)")
    }
}

struct KVExport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Writes the keys under a prefix as JSON")

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Argument(help: .init("Prefix; everything by default.", valueName: "prefix")) var arguments: [String] = []

    func run() async throws {
        let prefix = try KVPath.one(self.arguments, what: "KEY", emptyAllowed: true)
        let answer = try await self.api.client().send(.GET, KVPath.of(prefix), query: [("recurse", nil)])
        if answer.status == 404 { return Output.line("[]") }
        guard answer.status == 200 else {
            throw CommandFailure(
                "Error querying agent: Unexpected response code: \(answer.status) (\(APIClient.trimmed(answer.text)))")
        }
        let items = try answer.decoded([KVRow].self).map { entry in
            "\t{\n\t\t\"key\": \(Self.quoted(entry.key)),\n\t\t\"flags\": \(entry.flags),\n"
                + "\t\t\"value\": \"\(entry.value ?? "")\"\n\t}"
        }
        Output.line(items.isEmpty ? "[]" : "[\n" + items.joined(separator: ",\n") + "\n]")
    }

    private static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }
}

struct KVImport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "import", abstract: "Writes the keys that export gave")

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("prefix"), help: "Put this before every key.") var prefix = ""
    @Argument(help: .init("JSON, @file, or - for standard input.", valueName: "data")) var arguments: [String] = []

    private struct Item: Decodable {
        var key: String
        var flags: UInt64?
        var value: String?
    }

    func run() async throws {
        let argument = try KVPath.one(self.arguments, what: "DATA", emptyAllowed: false)
        let items: [Item]
        do {
            items = try JSONDecoder().decode([Item].self, from: Data(try KVPath.data(argument)))
        } catch is DecodingError {
            throw CommandFailure(
                "Cannot unmarshal data: it is not what export writes, a JSON list of {\"key\", \"flags\", \"value\"}")
        }
        let client = try self.api.client()
        for item in items {
            let key = self.prefix.isEmpty ? item.key : self.prefix + (self.prefix.hasSuffix("/") ? "" : "/") + item.key
            guard let value = Data(base64Encoded: item.value ?? "") else {
                throw CommandFailure("Error base 64 decoding value for key \(key)")
            }
            _ = try await client.demand(
                .PUT, KVPath.of(key), query: [("flags", "\(item.flags ?? 0)")], body: Array(value),
                failing: "Error! Failed writing data for key \(key)")
            Output.line("Imported: \(key)")
        }
    }
}
