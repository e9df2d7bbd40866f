import ArgumentParser
import Foundation
import Units

struct CatalogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catalog", abstract: "Lists datacenters, nodes and services",
        subcommands: [CatalogDatacenters.self, CatalogNodes.self, CatalogServices.self])
}

struct CatalogDatacenters: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "datacenters", abstract: "Lists datacenters")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, "/v1/catalog/datacenters", failing: "Error listing datacenters")
        let names = try answer.decoded([String].self)
        if self.api.format == .json { return Output.line(JSONText.list(names)) }
        names.forEach(Output.line)
    }
}

enum JSONText {
    static func list(_ items: [String]) -> String { (try? self.of(items)) ?? "[]" }

    /// Indented, with sorted keys.
    static func of(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
            .replacingOccurrences(of: "[\n\n]", with: "[]")
    }
}

/// Everything that lists something asks for JSON with `?pretty` when a program wants it, and passes it on as it is.
enum Listing {
    static func query(_ api: APIOptions, _ query: [(String, String?)]) -> [(String, String?)] {
        api.format == .json ? query + [("pretty", nil)] : query
    }

    /// `k=v` pairs as the API's `node-meta=k:v`.
    static func meta(_ pairs: [String]) throws -> [(String, String?)] {
        try pairs.map { text in
            let (key, value) = try self.pair(text, flag: "node-meta")
            return ("node-meta", "\(key):\(value)")
        }
    }

    /// Both sides of `key=value`.
    static func pair(_ text: String, flag: String) throws -> (String, String) {
        guard let sign = text.firstIndex(of: "=") else {
            throw CommandFailure(
                "invalid value \"\(text)\" for flag -\(flag): Missing \"=\" value in argument: \(text)")
        }
        return (String(text[..<sign]), String(text[text.index(after: sign)...]))
    }

    static func pairs(_ map: [String: String]?) -> String {
        (map ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
    }
}

struct CatalogNodes: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "nodes", abstract: "Lists nodes")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("detailed"), help: "Show tagged addresses and metadata too.") var detailed = false
    @Option(name: .customLong("service"), help: "Only nodes that provide this service.") var service: String?
    @Option(name: .customLong("near"), help: "Sort by distance to this node.") var near: String?
    @Option(name: .customLong("node-meta"), help: "Only nodes with key=value; repeatable.") var nodeMeta: [String] = []
    @Option(name: .customLong("filter"), help: "Only what matches this expression.") var filter: String?

    private struct Row: Decodable {
        var id: String
        var node: String
        var address: String
        var datacenter: String
        var taggedAddresses: [String: String]?
        var meta: [String: String]?
        var nodeMeta: [String: String]?
        enum CodingKeys: String, CodingKey {
            case id = "ID"
            case node = "Node"
            case address = "Address"
            case datacenter = "Datacenter"
            case taggedAddresses = "TaggedAddresses"
            case meta = "Meta"
            case nodeMeta = "NodeMeta"
        }
    }

    func run() async throws {
        var query = try Listing.meta(self.nodeMeta)
        if let near { query.append(("near", near)) }
        if let filter { query.append(("filter", filter)) }
        let path =
            self.service.map { "/v1/catalog/service/" + PercentEncoding.of($0) }
            ?? "/v1/catalog/nodes"
        let answer = try await self.api.client().demand(
            .GET, path, query: Listing.query(self.api, query), failing: "Error listing nodes")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        var rows = try answer.decoded([Row].self)
        if rows.isEmpty { return Output.error("No nodes match the given query - try expanding your search.") }
        if self.service != nil { rows = Self.withoutRepeats(rows) }
        let head = ["Node", "ID", "Address", "DC"] + (self.detailed ? ["TaggedAddresses", "Meta"] : [])
        Output.print(
            table: [head]
                + rows.map { row in
                    let short = [
                        row.node, self.detailed ? row.id : String(row.id.prefix(8)), row.address, row.datacenter,
                    ]
                    guard self.detailed else { return short }
                    return short + [Listing.pairs(row.taggedAddresses), Listing.pairs(row.meta ?? row.nodeMeta)]
                })
    }

    /// A node with several instances of the service stands once.
    private static func withoutRepeats(_ rows: [Row]) -> [Row] {
        var seen: Set<String> = []
        return rows.filter { seen.insert($0.node).inserted }.sorted { $0.node < $1.node }
    }
}

struct CatalogServices: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "services", abstract: "Lists services")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("tags"), help: "Show each service's tags.") var tags = false
    @Option(name: .customLong("node"), help: "Only services of this node.") var node: String?
    @Option(name: .customLong("node-meta"), help: "Only services on nodes with key=value; repeatable.")
    var nodeMeta: [String] = []

    private struct NodeServices: Decodable {
        var services: [String: Service]
        struct Service: Decodable {
            var name: String
            var tags: [String]?
            enum CodingKeys: String, CodingKey {
                case name = "Service"
                case tags = "Tags"
            }
        }
        enum CodingKeys: String, CodingKey { case services = "Services" }
    }

    func run() async throws {
        let client = try self.api.client()
        var query = try Listing.meta(self.nodeMeta)
        query = Listing.query(self.api, query)
        let failing = "Error listing services"
        let path = self.node.map { "/v1/catalog/node/" + PercentEncoding.of($0) }
        let answer = try await client.demand(.GET, path ?? "/v1/catalog/services", query: query, failing: failing)
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        var found: [String: Set<String>] = [:]
        if path != nil {
            let known = try answer.decoded(NodeServices?.self)
            for service in (known?.services ?? [:]).values {
                found[service.name, default: []].formUnion(service.tags ?? [])
            }
        } else {
            found = try answer.decoded([String: [String]].self).mapValues(Set.init)
        }
        if found.isEmpty { return Output.error("No services match the given query - try expanding your search.") }
        let rows = found.sorted { $0.key < $1.key }.map { name, tags in
            self.tags ? [name, "    " + tags.sorted().joined(separator: ",")] : [name]
        }
        Output.line(Output.table(rows))
    }
}
