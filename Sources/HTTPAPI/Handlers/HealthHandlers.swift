import Cluster
import Registry
import Units

/// `/v1/health/…` (Consul's API page Health).
enum HealthHandlers {
    static func service(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = try self.serviceName(request)
        let filter = try request.filter(.health)
        let passing = try request.flag("passing") ?? false
        let tags = request.query.isEmpty ? [] : request.query.all("tag")
        let meta = MetaFilter(request.query)
        let query: (Registry) throws(APIError) -> Answer<[ServiceHealth]> = {
            $0.health(ofService: name, tags: tags, passingOnly: passing)
        }
        return try await api.readKept(request, index: { $0.serviceIndex(named: name) }, query) { instances, mark in
            .json(request, mark: mark, capacity: instances.count * 1024) { writer in
                writer.array(instances) { writer, instance in
                    guard meta.admits(instance.node), filter.admits(instance) else { return }
                    writer.object { writer in
                        writer.key("Node")
                        writer.node(instance.node)
                        writer.key("Service")
                        writer.service(instance.service)
                        writer.key("Checks")
                        writer.checks(instance.checks)
                    }
                }
            }
        }
    }

    static func node(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing node name") }
        return try await self.checks(api, request) { $0.checks(onNode: name) }
    }

    static func checks(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = try self.serviceName(request)
        return try await self.checks(api, request) { $0.checks(ofService: name) }
    }

    static func state(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let state = request.restText
        if state.isEmpty { throw APIError(400, "Missing check state") }
        return try await self.checks(api, request) { registry in
            if state == "any" { return registry.checks(inState: nil) }
            if let status = CheckStatus(rawValue: state) { return registry.checks(inState: status) }
            // No check is in a state that there is not.
            return registry.checks(inState: .critical).map { _ in [] }
        }
    }

    private static func checks(
        _ api: HTTPAPI, _ request: APIRequest, _ query: (Registry) -> Answer<[HealthCheck]>
    ) async throws(APIError) -> APIResponse {
        let meta = MetaFilter(request.query)
        let filter = try request.filter(.check)
        let filtered: (Registry) throws(APIError) -> Answer<[HealthCheck]> = { registry in
            let answer = query(registry)
            if meta.isEmpty { return answer }
            return answer.map { checks in
                checks.filter { check in registry.node(named: check.node).value.map { meta.admits($0) } ?? false }
            }
        }
        return try await api.read(request, isCatalog: true, filtered) { checks, mark in
            .json(request, mark: mark, capacity: checks.count * 320) { $0.checks(checks.filtered(by: filter)) }
        }
    }

    private static func serviceName(_ request: APIRequest) throws(APIError) -> String {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing service name") }
        return name
    }
}
