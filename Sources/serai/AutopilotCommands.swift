import ArgumentParser
import Foundation
import Units

struct OperatorAutopilot: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "autopilot", abstract: "Shows and changes how servers are looked after",
        subcommands: [AutopilotGet.self, AutopilotSet.self, AutopilotState.self])
}

/// Autopilot's settings as the API has them (Consul's API page Operator).
struct AutopilotConfiguration: Codable {
    var CleanupDeadServers: Bool
    var LastContactThreshold: String
    var MaxTrailingLogs: UInt64
    var MinQuorum: UInt
    var ServerStabilizationTime: String
    var RedundancyZoneTag: String
    var DisableUpgradeMigration: Bool
    var UpgradeVersionTag: String
    var CreateIndex: UInt64?
    var ModifyIndex: UInt64?

    static let path = "/v1/operator/autopilot/configuration"

    static let consulDefaults = AutopilotConfiguration(
        CleanupDeadServers: true, LastContactThreshold: "200ms", MaxTrailingLogs: 250, MinQuorum: 0,
        ServerStabilizationTime: "10s", RedundancyZoneTag: "", DisableUpgradeMigration: false, UpgradeVersionTag: "")

    var lines: [String] {
        [
            "CleanupDeadServers = \(self.CleanupDeadServers)", "LastContactThreshold = \(self.LastContactThreshold)",
            "MaxTrailingLogs = \(self.MaxTrailingLogs)", "MinQuorum = \(self.MinQuorum)",
            "ServerStabilizationTime = \(self.ServerStabilizationTime)",
            "RedundancyZoneTag = \"\(self.RedundancyZoneTag)\"",
            "DisableUpgradeMigration = \(self.DisableUpgradeMigration)",
            "UpgradeVersionTag = \"\(self.UpgradeVersionTag)\"",
        ]
    }
}

struct AutopilotGet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "get-config", abstract: "Shows the settings")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, AutopilotConfiguration.path, query: Listing.query(self.api, []),
            failing: "Error querying Autopilot configuration")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        try answer.decoded(AutopilotConfiguration.self).lines.forEach(Output.line)
    }
}

struct AutopilotSet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-config", abstract: "Changes the settings that are given")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(
        name: .customLong("cleanup-dead-servers"),
        help: .init("Remove dead servers when new ones join.", valueName: "true|false"))
    var cleanup: String?
    @Option(
        name: .customLong("last-contact-threshold"),
        help: .init("A server is unhealthy when it has not heard the leader for this long.", valueName: "duration"))
    var lastContact: String?
    @Option(
        name: .customLong("max-trailing-logs"),
        help: .init("A server is unhealthy when it is this many entries behind.", valueName: "count"))
    var trailing: UInt64?
    @Option(
        name: .customLong("min-quorum"),
        help: .init("Remove no dead server when fewer than this would be left.", valueName: "count"))
    var minimum: UInt?
    @Option(
        name: .customLong("server-stabilization-time"),
        help: .init("A new server votes once it was healthy for this long.", valueName: "duration"))
    var stabilization: String?
    @Option(name: .customLong("disable-upgrade-migration"), help: .hidden) var migration: String?
    @Option(name: .customLong("redundancy-zone-tag"), help: .hidden) var zoneTag: String?
    @Option(name: .customLong("upgrade-version-tag"), help: .hidden) var versionTag: String?

    func run() async throws {
        // What is wrong with the flags is told before anybody is asked.
        var settings = AutopilotConfiguration.consulDefaults
        try self.change(&settings)
        let client = try self.api.client()
        let known = try await client.demand(
            .GET, AutopilotConfiguration.path, failing: "Error querying Autopilot configuration")
        settings = try known.decoded(AutopilotConfiguration.self)
        try self.change(&settings)
        // Between the reading and the writing somebody else may have changed it.
        let index = settings.ModifyIndex ?? 0
        let answer = try await client.demand(
            .PUT, AutopilotConfiguration.path, query: [("cas", "\(index)")],
            body: Array(try JSONEncoder().encode(settings)), failing: "Error setting Autopilot configuration")
        guard APIClient.trimmed(answer.text) == "true" else {
            throw CommandFailure("Configuration could not be atomically updated, please try again")
        }
        Output.line("Configuration updated!")
    }

    private func change(_ settings: inout AutopilotConfiguration) throws {
        if let value = try Self.truth(self.cleanup, "cleanup-dead-servers") { settings.CleanupDeadServers = value }
        if let value = try Self.duration(self.lastContact, "last-contact-threshold") {
            settings.LastContactThreshold = value
        }
        if let trailing { settings.MaxTrailingLogs = trailing }
        if let minimum { settings.MinQuorum = minimum }
        if let value = try Self.duration(self.stabilization, "server-stabilization-time") {
            settings.ServerStabilizationTime = value
        }
        if let value = try Self.truth(self.migration, "disable-upgrade-migration") {
            settings.DisableUpgradeMigration = value
        }
        if let zoneTag { settings.RedundancyZoneTag = zoneTag }
        if let versionTag { settings.UpgradeVersionTag = versionTag }
    }

    private static func truth(_ text: String?, _ flag: String) throws -> Bool? {
        guard let text else { return nil }
        guard let value = Arguments.truth(text) else {
            throw CommandFailure("invalid boolean value \"\(text)\" for -\(flag): must be true or false")
        }
        return value
    }

    private static func duration(_ text: String?, _ flag: String) throws -> String? {
        guard let text else { return nil }
        guard let value = GoDuration.parse(text) else {
            throw CommandFailure("invalid value \"\(text)\" for flag -\(flag): must be a duration such as 200ms")
        }
        return GoDuration.format(value)
    }
}

struct AutopilotState: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "state", abstract: "Shows which servers are healthy, and how many may be lost")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    private struct State: Decodable {
        var Healthy: Bool
        var FailureTolerance: Int
        var OptimisticFailureTolerance: Int?
        var Servers: [String: Server]
        var Leader: String
        var Voters: [String]?
    }

    private struct Server: Decodable {
        var Name: String
        var Address: String
        var Version: String?
        var Status: String?
        var NodeType: String?
        var NodeStatus: String?
        var Healthy: Bool
        var LastContact: String?
        var LastTerm: UInt64?
        var LastIndex: UInt64?
    }

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, "/v1/operator/autopilot/state", query: Listing.query(self.api, []),
            failing: "Error querying Autopilot state")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        let state = try answer.decoded(State.self)
        Output.line(
            """
            Healthy:                      \(state.Healthy)
            Failure Tolerance:            \(state.FailureTolerance)
            Optimistic Failure Tolerance: \(state.OptimisticFailureTolerance ?? state.FailureTolerance)
            Leader:                       \(state.Leader)
            Voters:
            """)
        for voter in state.Voters ?? [] { Output.line("   \(voter)") }
        Output.line("Servers:")
        for (id, server) in state.Servers.sorted(by: { $0.key < $1.key }) { Output.line(self.text(id, server)) }
    }

    private func text(_ id: String, _ server: Server) -> String {
        """
           \(id)
              Name:            \(server.Name)
              Address:         \(server.Address)
              Version:         \(server.Version ?? "")
              Status:          \(server.Status ?? "")
              Node Type:       \(server.NodeType ?? "")
              Node Status:     \(server.NodeStatus ?? "")
              Healthy:         \(server.Healthy)
              Last Contact:    \(server.LastContact ?? "")
              Last Term:       \(server.LastTerm ?? 0)
              Last Index:      \(server.LastIndex ?? 0)
        """
    }
}

struct OperatorUsage: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "Shows how much a cluster holds", subcommands: [UsageInstances.self])
}

struct UsageInstances: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "instances", abstract: "Counts services and their instances, by datacenter")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("all-datacenters"), help: "Ask every datacenter.") var everywhere = false
    @Flag(name: .customLong("billable"), help: "Only what Consul's enterprise edition is paid by.") var billable = false
    @Flag(name: .customLong("connect"), help: "Only what belongs to the service mesh.") var connect = false

    private struct Answer: Decodable {
        var Usage: [String: Counts]
    }

    private struct Counts: Decodable {
        var Nodes: Int?
        var Services: Int?
        var ServiceInstances: Int?
        var ConnectServiceInstances: [String: Int]?
        var BillableServiceInstances: Int?
    }

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, "/v1/operator/usage",
            query: Listing.query(self.api, self.everywhere ? [("global", nil)] : []), failing: "Error fetching usage")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        let all = try answer.decoded(Answer.self).Usage.sorted { $0.key < $1.key }
        if !self.connect {
            let total = all.reduce(0) { $0 + ($1.value.BillableServiceInstances ?? 0) }
            Output.line("Billable Service Instances Total: \(total)")
            Output.print(
                table: [["Datacenter", "Nodes", "Services", "Service instances"]]
                    + all.map { name, counts in
                        [name, "\(counts.Nodes ?? 0)", "\(counts.Services ?? 0)", "\(counts.ServiceInstances ?? 0)"]
                    })
        }
        if !self.billable {
            if !self.connect { Output.line("") }
            Output.print(
                table: [["Datacenter", "Type", "Connect service instances"]]
                    + all.flatMap { name, counts in
                        (counts.ConnectServiceInstances ?? [:]).sorted { $0.key < $1.key }
                            .map { [name, $0.key, "\($0.value)"] }
                    })
        }
    }
}
