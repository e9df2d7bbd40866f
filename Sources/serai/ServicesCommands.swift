import Agent
import ArgumentParser
import Foundation

struct ServicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "services", abstract: "Registers and deregisters services at the agent",
        subcommands: [ServicesDeregister.self, ServicesRegister.self])
}

/// Service definitions as files hold them, in the API's form.
enum ServiceFile {
    /// `{"service": {…}}`, `{"services": [{…}]}`, each key in snake_case or the API's spelling.
    static func definitions(_ path: String) throws -> [ConfigurationValue] {
        let bytes: Data
        if path == "-" {
            bytes = FileHandle.standardInput.readDataToEndOfFile()
        } else if let found = FileManager.default.contents(atPath: path) {
            bytes = found
        } else {
            throw CommandFailure("Error reading \(path): no such file, or not readable")
        }
        let document: ConfigurationValue
        do {
            document = try ConfigurationValue.parse(bytes)
        } catch {
            throw CommandFailure("Error reading \(path): not valid JSON: \(error.text)")
        }
        guard case .object(let fields) = document else {
            throw CommandFailure("Error reading \(path): must be an object")
        }
        var found: [ConfigurationValue] = []
        for (key, value) in fields {
            switch (key.lowercased(), value) {
            case ("service", .object): found.append(value)
            case ("services", .list(let items)): found += items
            default: throw CommandFailure("Error reading \(path): invalid key \(key); service or services is expected")
            }
        }
        if found.isEmpty { throw CommandFailure("Error reading \(path): no service in it") }
        return found.map { self.apiForm($0) }
    }

    /// Maps whose keys are the user's own, not ours to respell.
    private static let userMaps: Set<String> = ["meta", "header", "taggedaddresses", "nodemeta", "config"]

    /// `deregister_critical_service_after` becomes `DeregisterCriticalServiceAfter`; the API reads keys in any case.
    static func apiForm(_ value: ConfigurationValue) -> ConfigurationValue {
        switch value {
        case .object(let fields):
            var result: [String: ConfigurationValue] = [:]
            for (key, item) in fields {
                let name = key.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
                result[name] = self.userMaps.contains(name.lowercased()) ? item : self.apiForm(item)
            }
            return .object(result)
        case .list(let items):
            return .list(items.map(self.apiForm))
        case .null, .bool, .integer, .number, .text:
            return value
        }
    }

    static func text(_ key: String, in value: ConfigurationValue) -> String? {
        guard case .object(let fields) = value else { return nil }
        for (name, item) in fields where name.lowercased() == key {
            if case .text(let text) = item { return text }
        }
        return nil
    }
}

struct ServicesRegister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "register", abstract: "Registers services from files or flags")
    @OptionGroup var api: APIOptions
    @Option(name: .customLong("name"), help: "The service's name.") var name: String?
    @Option(name: .customLong("id"), help: "The instance's id; the name by default.") var id: String?
    @Option(name: .customLong("address"), help: "The instance's address; the node's by default.") var address: String?
    @Option(name: .customLong("port"), help: "The instance's port.") var port: Int?
    @Option(name: .customLong("tag"), help: "A tag; repeatable.") var tags: [String] = []
    @Option(name: .customLong("meta"), help: "key=value; repeatable.") var meta: [String] = []
    @Option(name: .customLong("kind"), help: "The service's kind.") var kind: String?
    @Argument(help: "Files of JSON; - is standard input.") var files: [String] = []

    func run() async throws {
        var definitions: [ConfigurationValue] = []
        for file in self.files { definitions += try ServiceFile.definitions(file) }
        if let flags = try self.fromFlags() {
            if !definitions.isEmpty { throw CommandFailure("Service registration takes files or flags, not both.") }
            definitions = [flags]
        }
        if definitions.isEmpty { throw CommandFailure("Service registration requires at least one argument or flags.") }
        let client = try self.api.client()
        for definition in definitions {
            let name = ServiceFile.text("name", in: definition) ?? ""
            _ = try await client.demand(
                .PUT, "/v1/agent/service/register", body: Array(definition.json.utf8),
                failing: "Error registering service \"\(name)\"")
            Output.line("Registered service: \(name)")
        }
    }

    private func fromFlags() throws -> ConfigurationValue? {
        guard let name else {
            if self.id != nil || self.address != nil || self.port != nil || !self.tags.isEmpty || !self.meta.isEmpty {
                throw CommandFailure("Service registration by flags needs -name.")
            }
            return nil
        }
        var fields: [String: ConfigurationValue] = ["Name": .text(name)]
        if let id { fields["ID"] = .text(id) }
        if let address { fields["Address"] = .text(address) }
        if let port { fields["Port"] = .integer(Int64(port)) }
        if let kind { fields["Kind"] = .text(kind) }
        if !self.tags.isEmpty { fields["Tags"] = .list(self.tags.map(ConfigurationValue.text)) }
        if !self.meta.isEmpty {
            var map: [String: ConfigurationValue] = [:]
            for pair in self.meta {
                let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else { throw CommandFailure("Invalid -meta \(pair): must be key=value") }
                map[String(parts[0])] = .text(String(parts[1]))
            }
            fields["Meta"] = .object(map)
        }
        return .object(fields)
    }
}

struct ServicesDeregister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deregister", abstract: "Deregisters services by files or -id")
    @OptionGroup var api: APIOptions
    @Option(name: .customLong("id"), help: "The instance's id.") var id: String?
    @Argument(help: "Files of JSON; - is standard input.") var files: [String] = []

    func run() async throws {
        var ids = self.id.map { [$0] } ?? []
        for file in self.files {
            for definition in try ServiceFile.definitions(file) {
                guard let id = ServiceFile.text("id", in: definition) ?? ServiceFile.text("name", in: definition) else {
                    throw CommandFailure("Error reading \(file): a service has neither id nor name")
                }
                ids.append(id)
            }
        }
        if ids.isEmpty { throw CommandFailure("Service deregistration requires at least one argument or -id.") }
        let client = try self.api.client()
        for id in ids {
            _ = try await client.demand(
                .PUT, "/v1/agent/service/deregister/" + Endpoint.percentEncoded(id, keeping: ""),
                failing: "Error deregistering service \"\(id)\"")
            Output.line("Deregistered service: \(id)")
        }
    }
}

struct MaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maint", abstract: "Takes the node or a service out of use, and back")
    @OptionGroup var api: APIOptions
    @Flag(name: .customLong("enable"), help: "Begin maintenance.") var enable = false
    @Flag(name: .customLong("disable"), help: "End maintenance.") var disable = false
    @Option(name: .customLong("reason"), help: "Why, for those who look.") var reason = ""
    @Option(name: .customLong("service"), help: "A service's id; the whole node by default.") var service: String?

    private struct Check: Decodable {
        var node: String
        var name: String
        var notes: String
        var serviceID: String
        var serviceName: String
        enum CodingKeys: String, CodingKey {
            case node = "Node"
            case name = "Name"
            case notes = "Notes"
            case serviceID = "ServiceID"
            case serviceName = "ServiceName"
        }
    }

    func run() async throws {
        let client = try self.api.client()
        if self.enable, self.disable { throw CommandFailure("Only one of -enable or -disable may be provided") }
        guard self.enable || self.disable else {
            if !self.reason.isEmpty { throw CommandFailure("Reason may only be provided with -enable") }
            return try await self.list(client)
        }
        if self.disable, !self.reason.isEmpty { throw CommandFailure("Reason may only be provided with -enable") }
        var query: [(String, String?)] = [("enable", self.enable ? "true" : "false")]
        if !self.reason.isEmpty { query.append(("reason", self.reason)) }
        let path =
            self.service.map { "/v1/agent/service/maintenance/" + Endpoint.percentEncoded($0, keeping: "") }
            ?? "/v1/agent/maintenance"
        let what = self.service == nil ? "node" : "service"
        _ = try await client.demand(
            .PUT, path, query: query, failing: "Error \(self.enable ? "enabling" : "disabling") \(what) maintenance")
        let state = self.enable ? "is now enabled" : "is now disabled"
        Output.line(
            self.service.map { "Service maintenance \(state) for \"\($0)\"" } ?? "Node maintenance \(state)")
    }

    private func list(_ client: APIClient) async throws {
        let answer = try await client.demand(.GET, "/v1/agent/checks", failing: "Error querying checks")
        for (id, check) in try answer.decoded([String: Check].self).sorted(by: { $0.key < $1.key }) {
            if id == "_node_maintenance" {
                Output.line("Node:\n  Name:   \(check.node)\n  Reason: \(check.notes)\n")
            } else if id.hasPrefix("_service_maintenance:") {
                Output.line("Service:\n  ID:     \(check.serviceID)\n  Reason: \(check.notes)\n")
            }
        }
    }
}
