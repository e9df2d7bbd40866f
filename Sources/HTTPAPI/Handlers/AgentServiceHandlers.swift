import Cluster
import LocalAgent
import NIOCore
import Protocol
import Units

/// `/v1/agent/service…` and the local health routes (Consul's API page Agent).
enum AgentServiceHandlers {
    static func list(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try request.filter(.service)
        let state = await api.agent.state()
        return .json(request, capacity: state.services.count * 300) { writer in
            writer.object { writer in
                for service in state.services where filter.admits(service.row) {
                    writer.key(text: service.id)
                    writer.agentService(service, datacenter: api.cluster.identity.datacenter)
                }
            }
        }
    }

    /// With `?hash=` it waits until the service differs from what that hash was given for.
    static func one(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing service ID") }
        let options = try ReadOptions(request.query, api.settings)
        let known = request.query["hash"]
        let deadline = ContinuousClock.now + .nanoseconds(Int64(options.wait.rawValue))
        var state = await api.agent.state()
        var current = try self.service(id, state, api)
        if !known.isEmpty && current.hash == known {
            try api.startWaiting()
            defer { api.endWaiting() }
            while current.hash == known {
                let left = deadline - .now
                if left <= .zero || request.connection?.ending == .draining { break }
                try await self.waitForChange(api, after: state.generation, left, request)
                state = await api.agent.state()
                current = try self.service(id, state, api)
            }
        }
        return APIResponse.json(request) {
            $0.agentService(current.service, datacenter: api.cluster.identity.datacenter, contentHash: current.hash)
        }.with("X-Consul-Contenthash", current.hash)
    }

    private static func service(
        _ id: String, _ state: LocalState, _ api: HTTPAPI
    ) throws(APIError) -> (service: LogService, hash: String) {
        guard let service = state.service(id) else { throw APIError(404, "unknown service ID: \(id)") }
        var writer = JSONWriter()
        writer.agentService(service, datacenter: api.cluster.identity.datacenter)
        return (service, contentHash(writer.finish().readableBytesView))
    }

    private static func waitForChange(
        _ api: HTTPAPI, after generation: UInt64, _ left: Duration, _ request: APIRequest
    ) async throws(APIError) {
        let agent = api.agent
        let timeout = Nanoseconds(left)
        let wait: @Sendable () async -> Void = { await agent.waitForChange(after: generation, timeout: timeout) }
        if let connection = request.connection { await connection.run(wait) } else { await wait() }
        if request.connection?.ending == .closed || Task.isCancelled { throw .clientGone }
    }

    static func register(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let definition = try request.decode { json throws(JSONError) in try DefinitionDecoder.service(json) }
        if let problem = definition.validate() { throw APIError(400, problem) }
        let replace = try request.flag("replace-existing-checks") ?? false
        do throws(LocalAgentError) {
            try await api.agent.registerService(definition, replaceExistingChecks: replace)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func deregister(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing service ID") }
        do throws(LocalAgentError) {
            try await api.agent.deregisterService(id)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func maintenance(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing service ID") }
        let enabled = try request.enable()
        do throws(LocalAgentError) {
            try await api.agent.setServiceMaintenance(id, enabled: enabled, reason: request.query["reason"])
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    // MARK: health

    static func healthByID(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing serviceID") }
        let state = await api.agent.state()
        guard let service = state.service(id) else {
            let reason = "ServiceId \(id) not found"
            if request.wantsText { return self.text(404, reason) }
            return APIResponse.json(request, status: 404) { writer in
                writer.object {
                    $0.field("AggregatedStatus", "critical")
                    $0.key("Service")
                    $0.null()
                    $0.key("Checks")
                    $0.null()
                }
            }.with("X-Consul-Reason", reason)
        }
        let status = AggregatedStatus(state.checks(of: service))
        if request.wantsText { return self.text(status.httpStatus, status.rawValue) }
        return APIResponse.json(request, status: status.httpStatus) {
            self.write(service, status, state, api, &$0)
        }.with("X-Consul-Reason", status.rawValue)
    }

    static func healthByName(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing service Name") }
        let state = await api.agent.state()
        let services = state.services.filter { $0.name == name }
        if services.isEmpty {
            let reason = "ServiceName \(name) Not Found"
            if request.wantsText { return self.text(404, reason) }
            return APIResponse.json(request, status: 404) { writer in writer.array { _ in } }
                .with("X-Consul-Reason", reason)
        }
        let statuses = services.map { AggregatedStatus(state.checks(of: $0)) }
        let worst = AggregatedStatus.worst(statuses)
        if request.wantsText { return self.text(worst.httpStatus, worst.rawValue) }
        return APIResponse.json(request, status: worst.httpStatus) { writer in
            writer.array(zip(services, statuses)) { self.write($1.0, $1.1, state, api, &$0) }
        }.with("X-Consul-Reason", worst.rawValue)
    }

    private static func write(
        _ service: LogService, _ status: AggregatedStatus, _ state: LocalState, _ api: HTTPAPI,
        _ writer: inout JSONWriter
    ) {
        writer.object { writer in
            writer.field("AggregatedStatus", status.rawValue)
            writer.key("Service")
            writer.agentService(service, datacenter: api.cluster.identity.datacenter)
            writer.key("Checks")
            writer.array(state.checks(of: service)) { writer, check in
                // Consul leaves these empty here, and here alone.
                var shown = check
                (shown.type, shown.interval, shown.timeout) = ("", "", "")
                writer.agentCheck(shown, in: state)
            }
        }
    }

    private static func text(_ status: Int, _ text: String) -> APIResponse {
        APIResponse(status: status, content: .plain, body: .init(string: text)).with("X-Consul-Reason", text)
    }
}

extension APIRequest {
    /// `?format=text`, or a request that accepts plain text first.
    var wantsText: Bool { self.query["format"] == "text" || self.acceptsText }

    /// `?enable=true|false` of the maintenance routes.
    func enable() throws(APIError) -> Bool {
        guard let text = self.query.first("enable") else { throw APIError(400, "Missing value for enable") }
        guard let enabled = goBool(text) else { throw APIError(400, "Invalid value for enable: \"\(text)\"") }
        return enabled
    }
}

/// FNV-1a of 64 bits, as 16 hexadecimal digits: opaque to clients, compared for equality alone.
func contentHash(_ bytes: some Sequence<UInt8>) -> String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in bytes {
        hash ^= UInt64(byte)
        hash = hash &* 0x0000_0100_0000_01B3
    }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

extension Nanoseconds {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self.init(UInt64(max(seconds, 0)) * 1_000_000_000 + UInt64(max(attoseconds, 0) / 1_000_000_000))
    }
}
