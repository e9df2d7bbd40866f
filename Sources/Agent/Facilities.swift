import Cluster
import Glibc
import HTTPAPI
import LocalAgent
import NIOCore
import NIOPosix
import Protocol
import Registry
import Replica
import Synchronization
import Units

/// What the HTTP API asks of the process as a whole.
final class Facilities: AgentFacilities {
    enum Role: Sendable {
        case server(Server)
        case agent(AgentLink)

        var cluster: any ClusterAccess {
            switch self {
            case .server(let server): server
            case .agent(let link): link
            }
        }
    }

    private let role: Role
    private let configuration: AgentConfiguration
    /// A reload may bring another.
    private let nodeMeta: Mutex<[String: String]>
    private let startedAt = SystemClock.now()
    private let doors = Mutex(Doors())

    /// Set once the whole agent is put together.
    struct Doors {
        var leave: (@Sendable () -> Void)?
        var reload: (@Sendable () async throws(LocalAgentError) -> Void)?
        var metrics: (@Sendable () async -> [Metric])?
        var outOfSync: (@Sendable () async -> Int)?
    }

    init(_ role: Role, _ configuration: AgentConfiguration) {
        self.role = role
        self.configuration = configuration
        self.nodeMeta = Mutex(configuration.nodeMeta)
    }

    func take(nodeMeta: [String: String]) { self.nodeMeta.withLock { $0 = nodeMeta } }

    func open(_ doors: Doors) { self.doors.withLock { $0 = doors } }

    // MARK: - Members

    func members(wide: Bool) async -> [Member] {
        switch self.role {
        case .server(let server): await self.members(of: server, wide: wide)
        case .agent(let link): await self.members(through: link, wide: wide)
        }
    }

    /// Nodes with a lease: servers and agents. What was registered by hand from outside is no member.
    private func members(of server: Server, wide: Bool) async -> [Member] {
        guard let view = try? await server.view(.stale, timeout: .seconds(2)) else { return [] }
        let registry = view.registry
        var members: [Member] = []
        for node in registry.allNodes().value {
            guard let health = registry.checks(onNode: node.name).value.first(where: { $0.id == Registry.agentCheckID })
            else { continue }
            let service = registry.nodeServices(node.name).value?.services.first { $0.id == "consul" }
            if wide, service == nil { continue }
            members.append(
                self.member(node, isAlive: health.status != .critical, serverPort: service?.port, wide: wide))
        }
        return members.sorted { $0.name < $1.name }
    }

    private func member(_ node: Node, isAlive: Bool, serverPort: UInt32?, wide: Bool) -> Member {
        var tags: [(name: String, value: String)] = [
            ("acls", "0"), ("build", "\(ReplicaVersion.reported):serai"), ("dc", node.datacenter), ("id", node.id),
        ]
        if let serverPort {
            if self.configuration.bootstrapExpect == 1 { tags.append(("bootstrap", "1")) }
            tags += [
                ("expect", "\(self.configuration.bootstrapExpect)"), ("port", "\(serverPort)"), ("raft_vsn", "3"),
                ("role", "consul"),
            ]
        } else {
            tags.append(("role", "node"))
        }
        tags += [("segment", ""), ("vsn", "2"), ("vsn_max", "3"), ("vsn_min", "2")]
        let name = wide ? "\(node.name).\(node.datacenter)" : node.name
        let port = serverPort.map(Int.init) ?? self.configuration.ports.server
        return Member(
            name: name, address: node.address, port: port, tags: tags, status: isAlive ? .alive : .failed)
    }

    /// An agent's server knows; its answer is the same list.
    private func members(through link: AgentLink, wide: Bool) async -> [Member] {
        var request = PeerHTTPRequest()
        request.method = "GET"
        request.target = wide ? "/v1/agent/members?wan=1" : "/v1/agent/members"
        guard let answer = try? await link.forward(request, timeout: .seconds(10)), answer.status == 200,
            case .array(let rows) = try? JSONValue.parse([UInt8](answer.body))
        else { return [] }
        return rows.compactMap { Self.member($0) }
    }

    private static func member(_ json: JSONValue) -> Member? {
        guard case .object(let fields) = json else { return nil }
        func text(_ name: String) -> String {
            if case .string(let value) = fields.first(where: { $0.name == name })?.value { value } else { "" }
        }
        func number(_ name: String) -> Int {
            if case .number(let value) = fields.first(where: { $0.name == name })?.value { Int(value) ?? 0 } else { 0 }
        }
        var tags: [(name: String, value: String)] = []
        if case .object(let pairs) = fields.first(where: { $0.name == "Tags" })?.value {
            for pair in pairs {
                if case .string(let value) = pair.value { tags.append((pair.name, value)) }
            }
        }
        let status = Member.Status(rawValue: UInt8(clamping: number("Status"))) ?? Member.Status.none
        return Member(name: text("Name"), address: text("Addr"), port: number("Port"), tags: tags, status: status)
    }

    // MARK: - The agent itself

    func description() async -> AgentDescription {
        let leader = await self.role.cluster.leaderAddress()
        let outOfSync = self.doors.withLock { $0.outOfSync }
        let behind = await outOfSync?() ?? 0
        var agent: [(name: String, value: String)] = [("out_of_sync", "\(behind)")]
        agent.append(("uptime_s", "\(SystemClock.now().since(self.startedAt).rawValue / 1_000_000_000)"))
        var stats: [(section: String, values: [(name: String, value: String)])] = [("agent", agent)]
        stats.append(
            ("build", [("prerelease", ""), ("revision", "serai"), ("version", ReplicaVersion.reported)]))
        switch self.role {
        case .agent(let link):
            stats.append(
                (
                    "consul",
                    [
                        ("acl", "disabled"), ("known_servers", "\(link.serverAddresses.count)"), ("server", "false"),
                        ("server_in_use", link.serverInUse),
                    ]
                ))
        case .server(let server):
            stats.append(
                (
                    "consul",
                    [
                        ("acl", "disabled"), ("bootstrap", "\(self.configuration.bootstrapExpect == 1)"),
                        ("known_datacenters", "1"),
                        ("leader", "\(server.isLeader)"), ("leader_addr", leader), ("server", "true"),
                    ]
                ))
            stats.append(("raft", await self.raftStats(server)))
        }
        stats.append(("runtime", Self.runtime))
        return AgentDescription(
            version: ReplicaVersion.reported, revision: "serai", buildDate: "2026-01-01T00:00:00Z",
            sessionTTLMinimum: self.configuration.sessionTTLMin, grpcPort: self.configuration.ports.grpc ?? -1,
            stats: stats, nodeMeta: self.nodeMeta.withLock { $0 }.merging(["consul-network-segment": ""]) { $1 })
    }

    private static let runtime: [(name: String, value: String)] = {
        let processors = "\(sysconf(Int32(_SC_NPROCESSORS_ONLN)))"
        #if arch(arm64)
        let architecture = "arm64"
        #else
        let architecture = "amd64"
        #endif
        return [("arch", architecture), ("cpu_count", processors), ("max_procs", processors), ("os", "linux")]
    }()

    private func raftStats(_ server: Server) async -> [(name: String, value: String)] {
        let status = await server.localRaftStatus()
        let voters = status.configuration.voters.count
        let state = server.isLeader ? "Leader" : "Follower"
        let vote = server.vote
        return [
            ("applied_index", "\(status.applied)"), ("commit_index", "\(status.commit)"),
            ("last_contact", server.isLeader ? "0" : GoDuration.format(server.lastLeaderContact)),
            ("last_log_index", "\(status.lastIndex)"),
            ("latest_configuration_index", "\(status.configurationIndex)"), ("num_peers", "\(max(0, voters - 1))"),
            ("protocol_version", "3"), ("protocol_version_max", "3"), ("protocol_version_min", "3"), ("state", state),
            ("state_hash", server.stateHash), ("term", "\(status.term)"),
            ("voted_for", vote.term == .zero ? "" : "\(vote.candidate?.uuid ?? "nobody") in term \(vote.term)"),
        ]
    }

    func metrics() async -> [Metric] {
        let metrics = self.doors.withLock { $0.metrics }
        return await metrics?() ?? []
    }

    // MARK: - What changes the agent

    func join(_ address: String) async throws(LocalAgentError) {
        let full = MemberText.withPort(address, self.configuration.ports.server)
        try await Self.reach(address, full)
        switch self.role {
        case .agent(let link): link.addServer(full)
        case .server(let server): server.addServer(full)
        }
    }

    /// Throws, in Consul's words, when nobody listens at the address.
    private static func reach(_ name: String, _ address: String) async throws(LocalAgentError) {
        let mark = address.lastIndex(of: ":") ?? address.endIndex
        let host = address[..<mark].filter { $0 != "[" && $0 != "]" }
        guard let port = Int(address[mark...].dropFirst()), (1...65_535).contains(port) else {
            throw .failed("1 error occurred:\n\t* Failed to parse \(name): its port is none\n\n")
        }
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(3)).connect(host: String(host), port: port).get()
            try? await channel.close().get()
        } catch {
            throw .failed("1 error occurred:\n\t* \(Self.why(error, String(host), "\(host):\(port)"))\n\n")
        }
    }

    private static func why(_ error: any Error, _ name: String, _ address: String) -> String {
        let failed = "Failed to join \(name): dial tcp \(address): "
        guard let error = error as? NIOConnectionError else { return failed + "\(error)" }
        guard let first = error.connectionErrors.first?.error else {
            return "Failed to resolve \(name): lookup \(error.host): no such host"
        }
        if let first = first as? IOError {
            return failed + "connect: \(String(cString: strerror(first.errnoCode)).lowercased())"
        }
        return failed + (first is ChannelError ? "i/o timeout" : "\(first)")
    }

    func leave() async throws(LocalAgentError) {
        guard let leave = self.doors.withLock({ $0.leave }) else { throw .failed("the agent is still starting") }
        leave()
    }

    func reload() async throws(LocalAgentError) {
        guard let reload = self.doors.withLock({ $0.reload }) else { throw .failed("the agent is still starting") }
        try await reload()
    }

    /// A node that will not return: a server leaves the configuration, any node leaves the catalog.
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError) {
        do throws(ClusterError) {
            switch self.role {
            case .agent(let link):
                var request = PeerHTTPRequest()
                request.method = "PUT"
                request.target = MemberText.forceLeaveTarget(name, prune: prune)
                let answer = try await link.forward(request, timeout: .seconds(20))
                if answer.status != 200 {
                    throw .refused(status: 500, text: String(decoding: answer.body, as: UTF8.self))
                }
            case .server(let server):
                guard try await server.forget(name) else { throw .notAServer }
            }
        } catch .notAServer {
            throw .unknownMember(name)
        } catch {
            throw .failed("\(error)")
        }
    }
}

/// Addresses and names of members, as they are written elsewhere.
package enum MemberText {
    /// `host:port` or `[v6]:port`, whichever of its forms an address was given in.
    package static func withPort(_ address: String, _ port: Int) -> String {
        if address.hasPrefix("[") { return address.contains("]:") ? address : "\(address):\(port)" }
        switch address.utf8.count(where: { $0 == UInt8(ascii: ":") }) {
        case 0: return "\(address):\(port)"
        case 1: return address
        default: return "[\(address)]:\(port)"
        }
    }

    /// A name may hold what has a meaning in a path.
    package static func forceLeaveTarget(_ name: String, prune: Bool) -> String {
        "/v1/agent/force-leave/" + PercentEncoding.of(name) + (prune ? "?prune=1" : "")
    }
}
