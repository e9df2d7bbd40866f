import Cluster
import LocalAgent
import NIOCore
import Registry
import Units

/// The rest of `/v1/agent/…`: the process itself (Consul's API page Agent).
enum AgentHandlers {
    static func description(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let description = await api.agent.description()
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
        try request.refuseFilter()
        let wide = try request.flag("wan") ?? false
        let members = await api.agent.members(wide: wide)
        return .json(request, capacity: members.count * 400) { writer in
            writer.array(members) { $0.member($1) }
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

    // MARK: metrics

    static func metrics(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var metrics = await api.agent.metrics()
        for (part, count) in api.counters.snapshot() {
            metrics.append(Metric(kind: .counter, name: "serai.http.\(part.name).reads", value: Double(count.reads)))
            metrics.append(Metric(kind: .counter, name: "serai.http.\(part.name).writes", value: Double(count.writes)))
            metrics.append(
                Metric(kind: .counter, name: "serai.http.\(part.name).refused", value: Double(count.refused)))
        }
        metrics.append(Metric(kind: .gauge, name: "serai.http.waiting", value: Double(api.waitingCount)))
        if request.query["format"] == "prometheus" { return self.prometheus(metrics) }
        return .json(request, capacity: 8192) { writer in
            writer.object { writer in
                writer.field("Timestamp", HTTPDate.goText(second: HTTPDate.now))
                writer.key("Gauges")
                writer.array(metrics.filter { $0.kind == .gauge }) { self.gauge($1, &$0) }
                writer.key("Points")
                writer.array { _ in }
                writer.key("Counters")
                writer.array(metrics.filter { $0.kind == .counter }) { self.counter($1, &$0) }
                writer.key("Samples")
                writer.array { _ in }
            }
        }
    }

    private static func gauge(_ metric: Metric, _ writer: inout JSONWriter) {
        writer.object {
            $0.field("Name", metric.name)
            $0.key("Value")
            $0.number(metric.value)
            $0.key("Labels")
            $0.object { _ in }
        }
    }

    /// Totals since the start, in Consul's shape: `Sum` is the total.
    private static func counter(_ metric: Metric, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("Name", metric.name)
            for name: StaticString in ["Count", "Sum"] {
                writer.key(name)
                writer.number(metric.value)
            }
            writer.key("Labels")
            writer.object { _ in }
        }
    }

    /// The text format of Prometheus, version 0.0.4.
    private static func prometheus(_ metrics: [Metric]) -> APIResponse {
        var body = ByteBuffer()
        for metric in metrics {
            var name = String(metric.name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
            if metric.kind == .counter { name += "_total" }
            body.writeString("# TYPE \(name) \(metric.kind == .gauge ? "gauge" : "counter")\n\(name) \(metric.value)\n")
        }
        return APIResponse(content: .plain, body: body)
    }
}
