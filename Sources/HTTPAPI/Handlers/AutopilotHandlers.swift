import Cluster
import Registry
import Units

/// The operator's routes about how servers are looked after, and those that have no meaning without gossip (Consul's API
/// page Operator).
enum AutopilotHandlers {
    /// What is in force; no server keeps other settings.
    static func configuration(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        .json(request) { writer in
            writer.object { writer in
                // Only an operator removes a server.
                writer.key("CleanupDeadServers")
                writer.bool(false)
                writer.field("LastContactThreshold", GoDuration.format(OperatorHandlers.lastContactThreshold))
                writer.key("MaxTrailingLogs")
                writer.number(OperatorHandlers.maximumTrailingLogs)
                writer.key("MinQuorum")
                writer.number(0)
                writer.field("ServerStabilizationTime", GoDuration.format(.zero))
                writer.field("RedundancyZoneTag", "")
                writer.key("DisableUpgradeMigration")
                writer.bool(false)
                writer.field("UpgradeVersionTag", "")
                writer.indexes(0, 0)
            }
        }
    }

    static func configure(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        if let text = request.query.first("cas"), UInt64(text) == nil {
            throw APIError(400, "Error parsing cas value: strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        }
        _ = try request.decode("Error parsing autopilot config: ") { json throws(JSONError) in
            let fields = try JSONFields(json, type: "api.AutopilotConfiguration")
            for name in ["LastContactThreshold", "ServerStabilizationTime"] { _ = try fields.duration(name) }
        }
        throw APIError(
            500,
            "autopilot's settings can't be changed on this server yet: what is in force is told by a GET of this path")
    }

    /// Servers and agents speak mutual TLS; there is no gossip, and so no key for it.
    static func keyring(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        if let text = request.query.first("relay-factor"), !text.isEmpty, !(0...5).contains(Int(text) ?? -1) {
            throw APIError(400, "Invalid relay-factor: Relay factor must be in range: [0, 5]")
        }
        if request.method != .get && request.method != .head {
            _ = try request.decode { json throws(JSONError) in
                try JSONFields(json, type: "agent.keyringArgs").string("Key")
            }
        }
        throw APIError(
            500,
            "Keyring is empty (encryption not enabled): there is no gossip to encrypt, servers and agents speak mutual TLS"
        )
    }

    private static let kinds = [
        "api-gateway", "connect-native", "connect-proxy", "ingress-gateway", "mesh-gateway", "terminating-gateway",
    ]

    static func usage(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let options = try ReadOptions(request.query, api.settings)
        let view = try await api.view(options.consistency)
        let counts = view.registry.catalogCounts
        let meshed = view.registry.meshCounts
        let mark = ReadMark(view, index: view.registry.appliedIndex.rawValue)
        return .json(request, mark: mark) { writer in
            writer.object { writer in
                writer.key("Usage")
                writer.object { writer in
                    writer.key(text: api.cluster.identity.datacenter)
                    writer.object { writer in
                        writer.key("Nodes")
                        writer.number(counts.nodes)
                        writer.key("Services")
                        writer.number(counts.services)
                        writer.key("ServiceInstances")
                        writer.number(counts.instances)
                        writer.key("ConnectServiceInstances")
                        writer.object { writer in
                            for kind in self.kinds {
                                writer.key(text: kind)
                                writer.number(meshed[kind] ?? 0)
                            }
                        }
                        writer.key("BillableServiceInstances")
                        writer.number(meshed["billable"] ?? 0)
                    }
                }
                writer.key("Index")
                writer.number(mark.index ?? 0)
                writer.key("LastContact")
                writer.number(mark.lastContact.rawValue)
                writer.key("KnownLeader")
                writer.bool(mark.knownLeader)
                writer.field("ConsistencyLevel", options.consistencyName.description)
            }
        }
    }
}

extension Registry {
    /// Instances by what they are to the mesh; `billable` are those of no kind but Consul's own.
    fileprivate var meshCounts: [String: Int] {
        var counts: [String: Int] = [:]
        for node in self.allNodes().value {
            for service in self.nodeServices(node.name).value?.services ?? [] {
                if !service.kind.isEmpty {
                    counts[service.kind, default: 0] += 1
                } else if service.name != "consul" {
                    counts["billable", default: 0] += 1
                }
                if service.isNative { counts["connect-native", default: 0] += 1 }
            }
        }
        return counts
    }
}

extension ServiceInstance {
    /// Speaks the mesh's protocol itself.
    var isNative: Bool {
        guard !self.connectJSON.isEmpty, case .object(let fields)? = try? JSONValue.parse(self.connectJSON) else {
            return false
        }
        return fields.contains(.init(name: "Native", value: .bool(true)))
    }
}
