import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

struct InfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "info", abstract: "Shows an agent's figures")
    @OptionGroup var api: APIOptions

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
    @OptionGroup var api: APIOptions

    func run() async throws {
        _ = try await self.api.client().demand(.PUT, "/v1/agent/leave", failing: "Error leaving")
        Output.line("Graceful leave complete")
    }
}

struct ForceLeaveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "force-leave", abstract: "Removes a node that will not return")
    @OptionGroup var api: APIOptions
    @Flag(name: .customLong("prune"), help: "Forget the node wholly.") var prune = false
    @Argument(help: "The node's name.") var nodes: [String] = []

    func run() async throws {
        guard self.nodes.count == 1 else {
            throw CommandFailure("A single node name must be specified to force leave.")
        }
        _ = try await self.api.client().demand(
            .PUT, "/v1/agent/force-leave/" + Endpoint.percentEncoded(self.nodes[0], keeping: ""),
            query: self.prune ? [("prune", "1")] : [], failing: "Error force leaving")
    }
}

struct JoinCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "join", abstract: "Tells an agent of a server to join")
    @OptionGroup var api: APIOptions
    @Flag(name: .customLong("wan"), help: "Join another datacenter.") var wan = false
    @Argument(help: "Addresses.") var addresses: [String] = []

    func run() async throws {
        if self.addresses.isEmpty { throw CommandFailure("At least one address to join must be specified.") }
        let client = try self.api.client()
        var joined = 0
        for address in self.addresses {
            do {
                _ = try await client.demand(
                    .PUT, "/v1/agent/join/" + Endpoint.percentEncoded(address, keeping: ":"),
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
    @OptionGroup var api: APIOptions

    func run() async throws {
        _ = try await self.api.client().demand(.PUT, "/v1/agent/reload", failing: "Error reloading")
        Output.line("Configuration reload triggered")
    }
}

struct OperatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operator", abstract: "Tools for those who run the cluster", subcommands: [OperatorRaft.self])
}

struct OperatorRaft: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "raft", abstract: "Shows and changes which servers take part in consensus",
        subcommands: [RaftListPeers.self, RaftRecover.self, RaftRemovePeer.self, RaftTransferLeader.self])
}

struct RaftListPeers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list-peers", abstract: "Lists the servers")
    @OptionGroup var api: APIOptions

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
        enum CodingKeys: String, CodingKey {
            case id = "ID"
            case node = "Node"
            case address = "Address"
            case leader = "Leader"
            case voter = "Voter"
            case protocolVersion = "ProtocolVersion"
        }
    }

    func run() async throws {
        let answer = try await self.api.client().demand(
            .GET, "/v1/operator/raft/configuration", query: Listing.query(self.api, []), failing: "Error getting peers")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        let rows = try answer.decoded(Answer.self).servers.map { server in
            [
                server.node, server.id, server.address, server.leader ? "leader" : "follower", "\(server.voter)",
                server.protocolVersion ?? "3",
            ]
        }
        Output.print(table: [["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]] + rows)
    }
}

struct RaftRemovePeer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove-peer", abstract: "Removes a server")
    @OptionGroup var api: APIOptions
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
    @OptionGroup var api: APIOptions
    @Option(name: .customLong("id"), help: "The server to lead; the most current by default.") var id: String?

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/operator/raft/transfer-leader", query: self.id.map { [("id", $0)] } ?? [],
            failing: "Error transferring leadership")
        Output.line("Success")
    }
}

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Saves and restores the cluster's whole state",
        subcommands: [SnapshotInspect.self, SnapshotRestore.self, SnapshotSave.self])
}

struct SnapshotSave: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "save", abstract: "Saves the state to a file")
    @OptionGroup var api: APIOptions
    @Argument(help: "The file to write.") var files: [String] = []

    func run() async throws {
        guard self.files.count == 1 else { throw CommandFailure("This command takes one argument: FILE") }
        let client = try self.api.client()
        let response = try await client.open(.GET, "/v1/snapshot", query: [], body: nil, timeout: .minutes(10))
        guard response.status == .ok else {
            let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
            throw CommandFailure(
                "Error saving snapshot: Unexpected response code: \(response.status.code) (\(APIClient.trimmed(text)))")
        }
        let index = response.headers.first(name: "X-Consul-Index") ?? "unknown"
        try await self.write(response, to: self.files[0])
        Output.line("Saved and verified snapshot to index \(index)")
    }

    /// Beside the target first, so that a broken transfer leaves no file that looks like a snapshot.
    private func write(_ response: HTTPClientResponse, to path: String) async throws {
        let partial = path + ".unverified"
        let file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw CommandFailure("Error creating snapshot file: \(path): \(String(cString: strerror(errno)))")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        do {
            for try await piece in response.body { try handle.write(contentsOf: Data(piece.readableBytesView)) }
            try handle.synchronize()
            try handle.close()
        } catch {
            unlink(partial)
            throw CommandFailure("Error writing snapshot file: \(error)")
        }
        guard rename(partial, path) == 0 else {
            throw CommandFailure("Error renaming snapshot file: \(String(cString: strerror(errno)))")
        }
    }
}

struct SnapshotRestore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Replaces the cluster's state by a saved one")
    @OptionGroup var api: APIOptions
    @Argument(help: "The file to read.") var files: [String] = []

    func run() async throws {
        guard self.files.count == 1 else { throw CommandFailure("This command takes one argument: FILE") }
        guard let bytes = FileManager.default.contents(atPath: self.files[0]) else {
            throw CommandFailure("Error opening snapshot file: \(self.files[0]): no such file, or not readable")
        }
        let client = try self.api.client()
        let answer = try await client.send(.PUT, "/v1/snapshot", body: Array(bytes), timeout: .minutes(10))
        guard answer.status == 200 else {
            throw CommandFailure(
                "Error restoring snapshot: Unexpected response code: \(answer.status) (\(APIClient.trimmed(answer.text)))"
            )
        }
        Output.line("Restored snapshot")
    }
}

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
    @OptionGroup var api: APIOptions
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
    @OptionGroup var api: APIOptions
    @Option(name: .customLong("node"), help: "Only those of this node.") var node: String?

    func run() async throws {
        let path =
            self.node.map { "/v1/session/node/" + Endpoint.percentEncoded($0, keeping: "") } ?? "/v1/session/list"
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
    @OptionGroup var api: APIOptions
    @Argument(help: "The session's id.") var id: String

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/session/renew/" + Endpoint.percentEncoded(self.id, keeping: ""),
            failing: "Error renewing session")
        Output.line("Renewed session: \(self.id)")
    }
}

struct SessionDestroy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "destroy", abstract: "Ends a session")
    @OptionGroup var api: APIOptions
    @Argument(help: "The session's id.") var id: String

    func run() async throws {
        _ = try await self.api.client().demand(
            .PUT, "/v1/session/destroy/" + Endpoint.percentEncoded(self.id, keeping: ""),
            failing: "Error destroying session")
        Output.line("Destroyed session: \(self.id)")
    }
}
