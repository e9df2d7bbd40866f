import Filter
import LocalAgent
import Protocol
import Registry
import Units

/// `/v1/agent/check…` (Consul's API page Agent).
enum AgentCheckHandlers {
    static func list(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try self.filter(request)
        let state = await api.agent.state()
        return .json(request, capacity: state.checks.count * 320) { writer in
            writer.object { writer in
                for check in state.checks {
                    let row = check.row(in: state)
                    guard filter.admits(row) else { continue }
                    writer.key(text: check.id)
                    writer.check(row)
                }
            }
        }
    }

    /// Of what does not fit the rows Consul gives the reason alone here.
    private static func filter(_ request: APIRequest) throws(APIError) -> RowFilter<HealthCheck>? {
        guard let text = request.query.first("filter"), !text.isEmpty else { return nil }
        do throws(FilterError) {
            return try FilterSchema.check.filter(try FilterExpression(text))
        } catch .mismatch(let text) {
            throw APIError(500, text)
        } catch {
            return try request.filter(.check)
        }
    }

    static func register(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let definition = try request.decode { json throws(JSONError) in try DefinitionDecoder.check(json) }
        if definition.name.isEmpty { throw APIError(400, "Missing check name") }
        if !definition.hasValidStatus { throw APIError(400, "Bad check status") }
        if let problem = definition.validate() { throw APIError(400, "Invalid check: \(problem)") }
        do throws(LocalAgentError) {
            try await api.agent.registerCheck(definition)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    static func deregister(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = try self.id(request)
        do throws(LocalAgentError) {
            try await api.agent.deregisterCheck(id)
        } catch {
            throw APIError(error)
        }
        return .empty
    }

    private static func id(_ request: APIRequest) throws(APIError) -> String {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing check ID") }
        return id
    }

    static func pass(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        try await self.report(api, request, "passing")
    }

    static func warn(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        try await self.report(api, request, "warning")
    }

    static func fail(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        try await self.report(api, request, "critical")
    }

    private static func report(
        _ api: HTTPAPI, _ request: APIRequest, _ status: String
    ) async throws(APIError) -> APIResponse {
        try await self.update(api, try self.id(request), status, request.query["note"])
    }

    static func update(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = try self.id(request)
        let (status, output) = try request.decode { json throws(JSONError) in
            let fields = try JSONFields(json, type: "agent.checkUpdate", snake: true)
            return (try fields.string("Status"), try fields.string("Output"))
        }
        if !["passing", "warning", "critical"].contains(status) {
            throw APIError(400, "Invalid check status: '\(status)'")
        }
        return try await self.update(api, id, status, output)
    }

    private static func update(
        _ api: HTTPAPI, _ id: String, _ status: String, _ output: String
    ) async throws(APIError) -> APIResponse {
        do throws(LocalAgentError) {
            try await api.agent.updateCheck(id, status: status, output: output)
        } catch {
            throw APIError(error)
        }
        return .empty
    }
}
