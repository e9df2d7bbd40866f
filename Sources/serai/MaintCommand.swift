import ArgumentParser
import Foundation
import Units

struct MaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maint", abstract: "Takes the node or a service out of use, and back")
    @OptionGroup(title: "HTTP API") var api: APIOptions
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
            self.service.map { "/v1/agent/service/maintenance/" + PercentEncoding.of($0) }
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
        let checks = try answer.decoded([String: Check].self).sorted { $0.key < $1.key }
        if self.api.format == .json {
            let shown = checks.filter { $0.key == "_node_maintenance" || $0.key.hasPrefix("_service_maintenance:") }
            return Output.line(
                try JSONText.of(
                    shown.map { ["Node": $1.node, "ServiceID": $1.serviceID, "Reason": $1.notes] }))
        }
        for (id, check) in checks {
            if id == "_node_maintenance" {
                Output.line("Node:\n  Name:   \(check.node)\n  Reason: \(check.notes)\n")
            } else if id.hasPrefix("_service_maintenance:") {
                Output.line("Service:\n  ID:     \(check.serviceID)\n  Reason: \(check.notes)\n")
            }
        }
    }
}
