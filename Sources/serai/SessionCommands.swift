import ArgumentParser
import Foundation
import Units

struct SessionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session", abstract: "Makes, lists, renews and destroys sessions",
        subcommands: [SessionCreate.self, SessionDestroy.self, SessionList.self, SessionRenew.self])
}

struct SessionRow: Decodable {
    var id: String
    var name: String?
    var node: String
    var behavior: String?
    var ttl: String?
    enum CodingKeys: String, CodingKey {
        case id = "ID"
        case name = "Name"
        case node = "Node"
        case behavior = "Behavior"
        case ttl = "TTL"
    }
}

struct SessionCreate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Makes a session and prints its id")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("name"), help: "A name for people.") var name = ""
    @Option(name: .customLong("node"), help: "The node it stands on; the agent's by default.") var node: String?
    @Option(name: .customLong("ttl"), help: "Lives this long without renewal, such as 15s.") var ttl: String?
    @Option(name: .customLong("lock-delay"), help: "Its locks stay locked this long after its end.")
    var lockDelay: String?
    @Option(name: .customLong("behavior"), help: "What its end does to its keys: release or delete.")
    var behavior: String?

    func run() async throws {
        var fields: [String: String] = [:]
        if !self.name.isEmpty { fields["Name"] = self.name }
        fields["Node"] = self.node
        fields["TTL"] = self.ttl
        fields["LockDelay"] = self.lockDelay
        fields["Behavior"] = self.behavior
        let answer = try await self.api.client().demand(
            .PUT, "/v1/session/create", body: Array(try JSONEncoder().encode(fields)), failing: "Error creating session"
        )
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        Output.line(try answer.decoded([String: String].self)["ID"] ?? "")
    }
}

struct SessionList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists sessions")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("node"), help: "Only those of this node.") var node: String?

    func run() async throws {
        let path =
            self.node.map { "/v1/session/node/" + PercentEncoding.of($0) } ?? "/v1/session/list"
        let answer = try await self.api.client().demand(
            .GET, path, query: Listing.query(self.api, []), failing: "Error listing sessions")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        let rows = try answer.decoded([SessionRow].self).map { row in
            [row.id, row.name ?? "", row.node, row.behavior ?? "", row.ttl ?? ""]
        }
        if rows.isEmpty { return Output.error("No sessions.") }
        Output.print(table: [["ID", "Name", "Node", "Behavior", "TTL"]] + rows)
    }
}

struct SessionRenew: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "renew", abstract: "Starts a session's TTL anew")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Argument(help: "The session's id.") var id: String

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/session/renew/" + PercentEncoding.of(self.id),
            failing: "Error renewing session")
        Output.line("Renewed session: \(self.id)")
    }
}

struct SessionDestroy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "destroy", abstract: "Ends a session")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Argument(help: "The session's id.") var id: String

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/session/destroy/" + PercentEncoding.of(self.id),
            failing: "Error destroying session")
        Output.line("Destroyed session: \(self.id)")
    }
}
