import Cluster
import LocalAgent
import Registry
import Units

/// The rest of `/v1/agent/…`: the process itself (Consul's API page Agent).
enum AgentHandlers {
    static func description(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var description = await api.agent.description()
        Self.count(await api.agent.state(), into: &description)
        let member = await api.agent.members(wide: false).first { $0.name == api.cluster.identity.nodeName }
        return .json(request, capacity: 4096) { writer in
            writer.object { writer in
                writer.key("Config")
                self.config(api, description, &writer)
                writer.key("DebugConfig")
                self.debugConfig(api, description, &writer)
                writer.key("Coord")
                writer.null()
                writer.key("Member")
                if let member { writer.member(member) } else { writer.null() }
                writer.key("Stats")
                self.stats(description, &writer)
                writer.key("Meta")
                writer.mapOrEmpty(.init(description.nodeMeta))
                // No value but objects may stand here: clients decode it as a map of maps.
            }
        }
    }

    private static func config(_ api: HTTPAPI, _ description: AgentDescription, _ writer: inout JSONWriter) {
        let identity = api.cluster.identity
        writer.object { writer in
            writer.field("Datacenter", identity.datacenter)
            writer.field("PrimaryDatacenter", identity.datacenter)
            writer.field("NodeName", identity.nodeName)
            writer.field("NodeID", identity.nodeUUID)
            writer.field("Revision", description.revision)
            writer.key("Server")
            writer.bool(identity.isServer)
            writer.field("Version", description.version)
            writer.field("BuildDate", description.buildDate)
            if let minimum = description.sessionTTLMinimum {
                writer.key("SessionTTLMin")
                writer.number(minimum.rawValue)
            }
        }
    }

    /// What clients look at, of Consul's several hundred entries.
    private static func debugConfig(_ api: HTTPAPI, _ description: AgentDescription, _ writer: inout JSONWriter) {
        let identity = api.cluster.identity
        let numbers: [(StaticString, Int)] = [
            ("GRPCPort", description.grpcPort), ("GRPCTLSPort", description.grpcTLSPort), ("DNSPort", identity.dnsPort),
            ("HTTPPort", identity.httpPort), ("ServerPort", identity.serverPort),
            ("KVMaxValueSize", api.settings.kvMaximumValue.rawValue),
            ("TxnMaxReqLen", api.settings.txnMaximumBody.rawValue),
        ]
        writer.object { writer in
            writer.field("Datacenter", identity.datacenter)
            writer.field("PrimaryDatacenter", identity.datacenter)
            writer.field("NodeName", identity.nodeName)
            writer.field("NodeID", identity.nodeUUID)
            writer.field("AdvertiseAddrLAN", identity.advertiseAddress)
            writer.field("ACLDefaultPolicy", api.settings.defaultPolicy)
            writer.key("ACLsEnabled")
            writer.bool(false)
            writer.field("DefaultQueryTime", GoDuration.format(api.settings.defaultWait))
            writer.field("MaxQueryTime", GoDuration.format(api.settings.maximumWait))
            writer.field("SessionTTLMin", GoDuration.format(description.sessionTTLMinimum ?? .zero))
            writer.field("Revision", description.revision)
            writer.key("ServerMode")
            writer.bool(identity.isServer)
            writer.key("ConnectEnabled")
            writer.bool(description.connectEnabled)
            for (name, number) in numbers {
                writer.key(name)
                writer.number(number)
            }
            writer.key("DNSAddrs")
            let address = "\(identity.advertiseAddress):\(identity.dnsPort)"
            writer.strings(identity.dnsPort > 0 ? ["tcp://\(address)", "udp://\(address)"] : [])
            writer.field("Version", description.version)
        }
    }

    /// What is registered here, among the agent's own numbers.
    private static func count(_ state: LocalState, into description: inout AgentDescription) {
        let counts: [(name: String, value: Int)] = [
            ("check_monitors", state.checks.count { $0.type == "script" || $0.type == "docker" }),
            ("check_ttls", state.checks.count { $0.type == "ttl" }), ("checks", state.checks.count),
            ("services", state.services.count),
        ]
        let values = counts.map { (name: $0.name, value: String($0.value)) }
        if let place = description.stats.firstIndex(where: { $0.section == "agent" }) {
            description.stats[place].values.insert(contentsOf: values, at: 0)
        } else {
            description.stats.insert(("agent", values), at: 0)
        }
    }

    private static func stats(_ description: AgentDescription, _ writer: inout JSONWriter) {
        writer.object { writer in
            for (section, values) in description.stats {
                writer.key(text: section)
                writer.object { writer in
                    for (name, value) in values {
                        writer.key(text: name)
                        writer.string(value)
                    }
                }
            }
        }
    }

    static func version(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let description = await api.agent.description()
        return .json(request) { writer in
            writer.object {
                $0.field("SHA", description.revision)
                $0.field("BuildDate", description.buildDate)
                $0.field("HumanVersion", description.version)
                $0.field("FIPS", "")
            }
        }
    }

    static func members(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try request.filter(.member)
        if !["", "_all"].contains(request.query["segment"]) {
            throw APIError(500, "Network segments are not supported in this version of Consul")
        }
        let wide = try request.flag("wan") ?? false
        let members = await api.agent.members(wide: wide)
        return .json(request, capacity: members.count * 400) { writer in
            writer.array(members.filtered(by: filter)) { $0.member($1) }
        }
    }

    static func join(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let address = request.restText
        if address.isEmpty { throw APIError(400, "Missing address to join") }
        do throws(LocalAgentError) {
            try await api.agent.join(address)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func leave(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        do throws(LocalAgentError) {
            try await api.agent.leave()
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func forceLeave(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing node name") }
        let prune = try request.flag("prune") ?? false
        do throws(LocalAgentError) {
            try await api.agent.forceLeave(name, prune: prune)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func reload(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        do throws(LocalAgentError) {
            try await api.agent.reload()
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func nodeMaintenance(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let enabled = try request.enable()
        do throws(LocalAgentError) {
            try await api.agent.setNodeMaintenance(enabled: enabled, reason: request.query["reason"])
        } catch {
            throw APIError(error)
        }
        return .empty
    }
}
