import Cluster
import LocalAgent
import Protocol
import Units

/// `/v1/operator/…` (Consul's API pages Snapshot, Operator).
enum OperatorHandlers {
    /// Consul's would be 200 ms; heartbeats alone come more seldom here, so a server counts as reachable for a second.
    static let lastContactThreshold = Nanoseconds.seconds(1)
    /// Entries that a server may be behind the leader.
    static let maximumTrailingLogs: UInt64 = 250

    private static func status(_ api: HTTPAPI) async throws(APIError) -> PeerRaftStatus {
        do throws(ClusterError) {
            return try await api.cluster.raftStatus()
        } catch {
            throw APIError(error)
        }
    }

    private static func perform(_ admin: PeerRaftAdmin, _ api: HTTPAPI) async throws(APIError) {
        do throws(ClusterError) {
            try await api.cluster.raftAdmin(admin)
        } catch {
            throw APIError(error)
        }
    }

    static func raftConfiguration(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let status = try await self.status(api)
        return .json(request) { writer in
            writer.object { writer in
                writer.key("Servers")
                writer.array(Server.all(status)) { writer, server in
                    writer.object { writer in
                        writer.field("ID", server.uuid)
                        writer.field("Node", server.member.name)
                        writer.field("Address", server.member.address)
                        writer.key("Leader")
                        writer.bool(server.isLeader)
                        writer.field("ProtocolVersion", "3")
                        writer.key("Voter")
                        writer.bool(server.isVoter)
                        writer.key("LastIndex")
                        writer.number(server.lastIndex)
                    }
                }
                writer.key("Index")
                writer.number(status.configurationIndex)
            }
        }
    }

    static func removePeer(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = request.query["id"]
        let address = request.query["address"]
        if id.isEmpty && address.isEmpty {
            throw APIError(
                400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
        }
        if !id.isEmpty && !address.isEmpty { throw APIError(400, "Must specify only one of ?id or ?address") }
        let servers = Server.all(try await self.status(api))
        let found = servers.first { id.isEmpty ? $0.member.address == address : $0.isCalled(id) }
        guard let found else {
            let what = id.isEmpty ? "address \"\(address)\"" : "id \"\(id)\""
            throw APIError(500, "\(what) was not found in the Raft configuration")
        }
        var admin = PeerRaftAdmin()
        admin.kind = .remove
        admin.nodeID = found.member.id
        admin.address = found.member.address
        admin.name = found.member.name
        try await self.perform(admin, api)
        return .empty
    }

    static func transferLeader(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var admin = PeerRaftAdmin()
        admin.kind = .transfer
        let id = request.query["id"]
        if !id.isEmpty {
            let servers = Server.all(try await self.status(api))
            guard let target = servers.first(where: { $0.isCalled(id) && $0.isVoter }) else {
                throw APIError(500, "id \"\(id)\" was not found in the Raft configuration")
            }
            admin.nodeID = target.member.id
            admin.address = target.member.address
            admin.name = target.member.name
        }
        try await self.perform(admin, api)
        return .json(request) { writer in
            writer.object {
                $0.key("Success")
                $0.bool(true)
            }
        }
    }

    /// 429 with the same body when the cluster is not healthy.
    static func autopilotHealth(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let status = try await self.status(api)
        let version = await api.agent.description().version
        let servers = Server.all(status)
        let voters = servers.filter(\.isVoter)
        let healthyVoters = voters.count { $0.isHealthy }
        let isHealthy = status.leader != 0 && servers.allSatisfy(\.isHealthy)
        return .json(request, status: isHealthy ? 200 : 429) { writer in
            writer.object { writer in
                writer.key("Healthy")
                writer.bool(isHealthy)
                writer.key("FailureTolerance")
                writer.number(max(0, healthyVoters - (voters.count / 2 + 1)))
                writer.key("Servers")
                writer.array(servers) { self.write($1, status, version, &$0) }
            }
        }
    }

    private static func write(_ server: Server, _ status: PeerRaftStatus, _ version: String, _ writer: inout JSONWriter)
    {
        writer.object { writer in
            writer.field("ID", server.uuid)
            writer.field("Name", server.member.name)
            writer.field("Address", server.member.address)
            writer.field("SerfStatus", server.isReachable ? "alive" : "failed")
            writer.field("Version", version)
            writer.key("Leader")
            writer.bool(server.isLeader)
            writer.field("LastContact", GoDuration.format(server.lastContact))
            writer.key("LastTerm")
            writer.number(status.term)
            writer.key("LastIndex")
            writer.number(server.lastIndex)
            writer.key("Healthy")
            writer.bool(server.isHealthy)
            writer.key("Voter")
            writer.bool(server.isVoter)
            // Nobody keeps the time since when; Go's zero time says so.
            writer.field("StableSince", "0001-01-01T00:00:00Z")
        }
    }
}

/// A server of the Raft configuration, with what the leader knows of it.
private struct Server {
    var member: PeerMember
    var isVoter: Bool
    var isLeader: Bool
    var lastIndex: UInt64
    var lastContact: Nanoseconds
    var isQuarantined: Bool
    /// Entries behind the leader.
    var lag: UInt64

    var isReachable: Bool { self.isLeader || self.lastContact <= OperatorHandlers.lastContactThreshold }
    var isHealthy: Bool {
        self.isReachable && !self.isQuarantined && self.lag <= OperatorHandlers.maximumTrailingLogs
    }

    var uuid: String { NodeID(self.member.id).uuid }

    func isCalled(_ id: String) -> Bool { id == self.uuid || id == NodeID(self.member.id).description }

    /// Voters first, in the configuration's order.
    static func all(_ status: PeerRaftStatus) -> [Server] {
        var seen: Set<UInt64> = []
        var servers: [Server] = []
        let configuration = status.configuration
        for (members, isVoter) in [
            (configuration.voters, true), (configuration.outgoing, true), (configuration.learners, false),
        ] {
            for member in members where seen.insert(member.id).inserted {
                servers.append(Server(member, isVoter: isVoter, status))
            }
        }
        return servers
    }

    private init(_ member: PeerMember, isVoter: Bool, _ status: PeerRaftStatus) {
        self.member = member
        self.isVoter = isVoter
        self.isLeader = member.id == status.leader
        let progress = status.progress.first { $0.id == member.id }
        self.lastIndex = self.isLeader ? status.lastIndex : progress?.matchIndex ?? 0
        self.lastContact = self.isLeader ? .zero : progress.map { .milliseconds($0.lastContactMs) } ?? .seconds(86_400)
        self.isQuarantined = progress?.quarantined ?? false
        self.lag = status.lastIndex > self.lastIndex ? status.lastIndex - self.lastIndex : 0
    }
}
