import ArgumentParser
import Foundation

struct OperatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operator", abstract: "Tools for those who run the cluster",
        subcommands: [OperatorAutopilot.self, OperatorRaft.self, OperatorUsage.self])
}

struct OperatorRaft: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "raft", abstract: "Shows and changes which servers take part in consensus",
        subcommands: [RaftListPeers.self, RaftRecover.self, RaftRemovePeer.self, RaftTransferLeader.self])
}

struct RaftListPeers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list-peers", abstract: "Lists the servers")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("detailed"), help: "Show each server's last entry, and how far it is behind.")
    var detailed = false

    private struct Answer: Decodable {
        var servers: [Server]
        enum CodingKeys: String, CodingKey { case servers = "Servers" }
    }

    private struct Server: Decodable {
        var id: String
        var node: String
        var address: String
        var leader: Bool
        var voter: Bool
        var protocolVersion: String?
        var lastIndex: UInt64?
        enum CodingKeys: String, CodingKey {
            case id = "ID"
            case node = "Node"
            case address = "Address"
            case leader = "Leader"
            case voter = "Voter"
            case protocolVersion = "ProtocolVersion"
            case lastIndex = "LastIndex"
        }
    }

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, "/v1/operator/raft/configuration", query: Listing.query(self.api, []), failing: "Error getting peers")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        let servers = try answer.decoded(Answer.self).servers
        let leaderIndex = servers.first(where: \.leader)?.lastIndex ?? 0
        let rows = servers.map { server in
            [
                server.node, server.id, server.address, server.leader ? "leader" : "follower", "\(server.voter)",
                server.protocolVersion ?? "3",
            ] + (self.detailed ? self.progress(server, leaderIndex) : [])
        }
        let more = self.detailed ? ["Commit Index", "Trails Leader By"] : []
        Output.print(table: [["Node", "ID", "Address", "State", "Voter", "RaftProtocol"] + more] + rows)
    }

    private func progress(_ server: Server, _ leaderIndex: UInt64) -> [String] {
        let index = server.lastIndex ?? 0
        let lag = leaderIndex > index ? leaderIndex - index : 0
        return ["\(index)", server.leader ? "-" : "\(lag) commit\(lag == 1 ? "" : "s")"]
    }
}

struct RaftRemovePeer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove-peer", abstract: "Removes a server")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("id"), help: "The server's id.") var id: String?
    @Option(name: .customLong("address"), help: "The server's RPC address.") var address: String?

    func run() async throws {
        guard let (key, value) = self.id.map({ ("id", $0) }) ?? self.address.map({ ("address", $0) }) else {
            throw CommandFailure("Error removing peer: an address or id is required for the peer to remove")
        }
        if self.id != nil, self.address != nil {
            throw CommandFailure("Error removing peer: cannot give both an address and id")
        }
        _ = try await self.api.client().demand(
            .DELETE, "/v1/operator/raft/peer", query: [(key, value)], failing: "Error removing peer")
        Output.line("Removed peer with \(key) \"\(value)\"")
    }
}

struct RaftTransferLeader: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer-leader", abstract: "Hands leadership to another server")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("id"), help: "The server to lead; the most current by default.") var id: String?

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/operator/raft/transfer-leader", query: self.id.map { [("id", $0)] } ?? [],
            failing: "Error transferring leadership")
        Output.line("Success")
    }
}
