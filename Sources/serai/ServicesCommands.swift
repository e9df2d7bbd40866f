import ArgumentParser
import HCL
import Units

struct ServicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "services", abstract: "Registers and deregisters services at the agent",
        subcommands: [ServicesDeregister.self, ServicesExport.self, ServicesRegister.self])
}

/// Service definitions as files hold them, in the API's form.
package enum ServiceFile {
    /// `{"service": {…}}`, `{"services": [{…}]}`, in JSON or HCL, each key in snake_case or the API's spelling.
    package static func definitions(_ path: String) throws -> [HCLValue] {
        let bytes: [UInt8]
        do throws(FileFailure) {
            bytes = path == "-" ? Files.standardInput() : try Files.read(path)
        } catch {
            throw CommandFailure("Error: config: Open failed on \(path). \(error.text)")
        }
        return try self.definitions(bytes, file: path)
    }

    package static func definitions(_ bytes: [UInt8], file: String) throws -> [HCLValue] {
        let document: HCLValue
        do throws(HCLError) {
            document = try HCLDocument.parse(bytes, syntax: file.hasSuffix(".json") ? .json : .hcl, file: file)
        } catch {
            throw CommandFailure("Error reading \(error)")
        }
        var found: [HCLValue] = []
        for field in document.fields ?? [] {
            guard ["service", "services"].contains(field.name.lowercased()) else {
                throw CommandFailure(
                    "Error reading \(file): invalid key \(field.name); service or services is expected")
            }
            switch field.value.content {
            case .object: found.append(field.value)
            case .list(let items): found += items
            case .null, .bool, .integer, .number, .text:
                throw CommandFailure("Error reading \(file): \(field.name) must be an object, not \(field.value.kind)")
            }
        }
        if found.isEmpty { throw CommandFailure("Error reading \(file): no service in it") }
        return found.map { self.apiForm($0) }
    }

    /// Maps whose keys are the user's own, not ours to respell.
    private static let userMaps: Set<String> = ["meta", "header", "taggedaddresses", "nodemeta", "config"]

    /// `deregister_critical_service_after` becomes `DeregisterCriticalServiceAfter`; the API reads keys in any case.
    static func apiForm(_ value: HCLValue) -> HCLValue {
        switch value.content {
        case .object(let fields):
            return HCLValue(
                .object(
                    fields.map { field in
                        let parts = field.name.split(separator: "_")
                        let name = parts.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
                        let isTheirs = self.userMaps.contains(name.lowercased())
                        return HCLField(name, isTheirs ? field.value : self.apiForm(field.value))
                    }))
        case .list(let items):
            return HCLValue(.list(items.map(self.apiForm)))
        case .null, .bool, .integer, .number, .text:
            return value
        }
    }

    /// The text of a field, in any case.
    package static func text(_ key: String, in value: HCLValue) -> String? {
        for field in value.fields ?? [] where field.name.lowercased() == key {
            if case .text(let text) = field.value.content { return text }
        }
        return nil
    }
}

struct ServicesRegister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "register", abstract: "Registers services from files or flags")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("name"), help: "The service's name.") var name: String?
    @Option(name: .customLong("id"), help: "The instance's id; the name by default.") var id: String?
    @Option(name: .customLong("address"), help: "The instance's address; the node's by default.") var address: String?
    @Option(name: .customLong("port"), help: "The instance's port.") var port: Int?
    @Option(name: .customLong("tag"), help: "A tag; repeatable.") var tags: [String] = []
    @Option(name: .customLong("meta"), help: "key=value; repeatable.") var meta: [String] = []
    @Option(name: .customLong("kind"), help: "The service's kind.") var kind: String?
    @Option(name: .customLong("tagged-address"), help: "tag=address or tag=address:port; repeatable.")
    var taggedAddresses: [String] = []
    @Argument(help: "Files of JSON or HCL; - is standard input.") var files: [String] = []

    func run() async throws {
        var definitions: [HCLValue] = []
        for file in self.files { definitions += try ServiceFile.definitions(file) }
        if let flags = try self.fromFlags() {
            if !definitions.isEmpty {
                throw CommandFailure("Service registration requires arguments or -id, not both.")
            }
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

    private func fromFlags() throws -> HCLValue? {
        guard let name, !name.isEmpty else {
            if self.id != nil || self.address != nil || self.port != nil || !self.tags.isEmpty || !self.meta.isEmpty {
                throw CommandFailure("Service registration requires at least one argument or flags: -name is missing.")
            }
            return nil
        }
        var fields = [HCLField("Name", HCLValue(.text(name)))]
        for (key, text) in [("ID", self.id), ("Address", self.address), ("Kind", self.kind)] {
            if let text { fields.append(HCLField(key, HCLValue(.text(text)))) }
        }
        if let port { fields.append(HCLField("Port", HCLValue(.integer(Int64(port))))) }
        if !self.tags.isEmpty {
            fields.append(HCLField("Tags", HCLValue(.list(self.tags.map { HCLValue(.text($0)) }))))
        }
        if !self.meta.isEmpty {
            let pairs = try self.meta.map { try Listing.pair($0, flag: "meta") }
            fields.append(HCLField("Meta", HCLValue(.object(pairs.map { HCLField($0.0, HCLValue(.text($0.1))) }))))
        }
        if !self.taggedAddresses.isEmpty {
            let pairs = try self.taggedAddresses.map { text in
                let (tag, address) = try Listing.pair(text, flag: "tagged-address")
                return HCLField(tag, try self.place(address))
            }
            fields.append(HCLField("TaggedAddresses", HCLValue(.object(pairs))))
        }
        return HCLValue(.object(fields))
    }

    /// `address`, `address:port` or `[address]:port`; the port is the service's own by default.
    private func place(_ text: String) throws -> HCLValue {
        var address = Substring(text)
        var port = Int64(self.port ?? 0)
        if let colon = text.lastIndex(of: ":"), text.hasPrefix("[") == (text[..<colon].last == "]"),
            text.hasPrefix("[") || text.firstIndex(of: ":") == colon
        {
            guard let number = UInt16(text[text.index(after: colon)...]) else {
                throw CommandFailure("invalid value \"\(text)\" for flag -tagged-address: no port after the colon")
            }
            address = text[..<colon]
            port = Int64(number)
        }
        if address.hasPrefix("["), address.hasSuffix("]") { address = address.dropFirst().dropLast() }
        return HCLValue(
            .object([
                HCLField("Address", HCLValue(.text(String(address)))), HCLField("Port", HCLValue(.integer(port))),
            ]))
    }
}

struct ServicesDeregister: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deregister", abstract: "Deregisters services by files or -id")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("id"), help: "The instance's id.") var id: String?
    @Argument(help: "Files of JSON or HCL; - is standard input.") var files: [String] = []

    func run() async throws {
        var ids = self.id.map { [$0] } ?? []
        if !ids.isEmpty, !self.files.isEmpty {
            throw CommandFailure("Service deregistration requires arguments or -id, not both.")
        }
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
                .PUT, "/v1/agent/service/deregister/" + PercentEncoding.of(id),
                failing: "Error deregistering service \"\(id)\"")
            Output.line("Deregistered service: \(id)")
        }
    }
}

struct ServicesExport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Says why services are not exported to other clusters", shouldDisplay: false)
    @Argument(parsing: .captureForPassthrough, help: .hidden) var arguments: [String] = []

    func run() async throws {
        throw CommandFailure(
            "Error! \(Serai.programName) services export is not offered: clusters can't be peered yet.")
    }
}
