import ArgumentParser
import Foundation
import Units

struct InfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "info", abstract: "Shows an agent's figures")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    private struct Itself: Decodable {
        var stats: [String: [String: String]]
        enum CodingKeys: String, CodingKey { case stats = "Stats" }
    }

    func run() async throws {
        let answer = try await self.api.client().demand(.GET, "/v1/agent/self", failing: "Error querying agent")
        let stats = try answer.decoded(Itself.self).stats
        if self.api.format == .json {
            return Output.line(try JSONText.of(stats))
        }
        for (section, values) in stats.sorted(by: { $0.key < $1.key }) {
            Output.line("\(section):")
            for (key, value) in values.sorted(by: { $0.key < $1.key }) { Output.line("\t\(key) = \(value)") }
        }
    }
}

struct LeaveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leave", abstract: "Leaves the cluster and stops the agent")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    func run() async throws {
        _ = try await self.api.client().demand(.PUT, "/v1/agent/leave", failing: "Error leaving")
        Output.line("Graceful leave complete")
    }
}

struct ForceLeaveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "force-leave", abstract: "Removes a node that will not return")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("prune"), help: "Forget the node wholly.") var prune = false
    @Flag(name: .customLong("wan"), help: "A server of another datacenter.") var wan = false
    @Argument(help: "The node's name.") var nodes: [String] = []

    func run() async throws {
        guard self.nodes.count == 1 else {
            throw CommandFailure("A single node name must be specified to force leave.")
        }
        _ = try await self.api.client().demand(
            .PUT, "/v1/agent/force-leave/" + PercentEncoding.of(self.nodes[0]),
            query: (self.prune ? [("prune", "1")] : []) + (self.wan ? [("wan", "1")] : []),
            failing: "Error force leaving")
    }
}

struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "join", abstract: "Tells an agent of a server to join")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("wan"), help: "Join another datacenter.") var wan = false
    @Argument(help: "Addresses.") var addresses: [String] = []

    func run() async throws {
        if self.addresses.isEmpty { throw CommandFailure("At least one address to join must be specified.") }
        let client = try self.api.client()
        var joined = 0
        for address in self.addresses {
            do {
                _ = try await client.demand(
                    .PUT, "/v1/agent/join/" + PercentEncoding.of(address, keeping: ":"),
                    query: self.wan ? [("wan", "1")] : [], failing: "Error joining address '\(address)'")
                joined += 1
            } catch let failure as CommandFailure {
                Output.error(failure.text)
            }
        }
        if joined == 0 { throw CommandFailure("Failed to join any nodes.") }
        Output.line("Successfully joined cluster by contacting \(joined) nodes.")
    }
}

struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Makes an agent read its files again")
    @OptionGroup(title: "HTTP API") var api: APIOptions

    func run() async throws {
        _ = try await self.api.client().demand(.PUT, "/v1/agent/reload", failing: "Error reloading")
        Output.line("Configuration reload triggered")
    }
}
