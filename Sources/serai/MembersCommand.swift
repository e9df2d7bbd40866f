import ArgumentParser
import Foundation
import Pattern

struct MembersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "members", abstract: "Lists the cluster's members")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("detailed"), help: "Show each member's tags.") var detailed = false
    @Flag(name: .customLong("wan"), help: "Members of all datacenters.") var wan = false
    @Option(name: .customLong("status"), help: "Only members whose status matches this regular expression.")
    var status = ".*"
    @Option(name: .customLong("segment"), help: .hidden) var segment = ""
    @Option(name: .customLong("filter"), help: "Only what matches this expression.") var filter: String?

    private struct Member: Decodable {
        var name: String
        var address: String
        var port: Int
        var tags: [String: String]
        var status: Int
        var protocolVersion: Int?
        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case address = "Addr"
            case port = "Port"
            case tags = "Tags"
            case status = "Status"
            case protocolVersion = "ProtocolCur"
        }
        /// Serf's numbers.
        var statusText: String {
            switch self.status {
            case 1: "alive"
            case 2: "leaving"
            case 3: "left"
            case 4: "failed"
            default: "none"
            }
        }
        var segment: String {
            guard let segment = self.tags["segment"], !segment.isEmpty else {
                return self.isServer ? "<all>" : "<default>"
            }
            return segment
        }
        var shownTags: [String: String] { self.tags.merging(["segment": self.segment]) { _, new in new } }
        var isServer: Bool { self.tags["role"] == "consul" }
        var place: String {
            self.address.contains(":") ? "[\(self.address)]:\(self.port)" : "\(self.address):\(self.port)"
        }
    }

    func run() async throws {
        guard let pattern = try? Pattern("^(?:\(self.status))$") else {
            throw CommandFailure("Failed to compile status regexp: \(self.status)")
        }
        var query: [(String, String?)] = self.wan ? [("wan", "1")] : []
        if !self.segment.isEmpty {
            throw CommandFailure("Error retrieving members: network segments belong to Consul's enterprise edition")
        }
        if let filter { query.append(("filter", filter)) }
        let answer = try await self.api.client().demand(
            .GET, "/v1/agent/members", query: query, failing: "Error retrieving members")
        let members = try answer.decoded([Member].self).filter { pattern.matches(in: $0.statusText) }
        // Consul's exit code for "none matches".
        if members.isEmpty { throw CommandFailure("", code: 2) }
        if self.api.format == .json { return try self.printJSON(answer, Set(members.map(\.name))) }
        let sorted = members.sorted { (!$0.isServer ? 1 : 0, $0.name) < (!$1.isServer ? 1 : 0, $1.name) }
        if self.detailed {
            let rows = sorted.map { member in
                [
                    member.name, member.place, member.statusText,
                    Listing.pairs(member.shownTags).replacingOccurrences(of: ", ", with: ","),
                ]
            }
            return Output.print(table: [["Node", "Address", "Status", "Tags"]] + rows)
        }
        let rows = sorted.map { member in
            [
                member.name, member.place, member.statusText, member.isServer ? "server" : "client",
                String((member.tags["build"] ?? "").prefix { $0 != ":" }), "\(member.protocolVersion ?? 2)",
                member.tags["dc"] ?? "", member.segment,
            ]
        }
        Output.print(table: [["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"]] + rows)
    }

    /// The API's own rows of those that are shown.
    private func printJSON(_ answer: APIResponse, _ names: Set<String>) throws {
        let all = try JSONSerialization.jsonObject(with: Data(answer.body)) as? [[String: Any]] ?? []
        let shown = all.filter { names.contains($0["Name"] as? String ?? "") }
        let options: JSONSerialization.WritingOptions = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        Output.line(
            String(decoding: try JSONSerialization.data(withJSONObject: shown, options: options), as: UTF8.self))
    }
}
