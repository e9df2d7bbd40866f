import Cluster

/// `/v1/status/…`, and the root.
enum StatusHandlers {
    static func leader(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let address = await api.cluster.leaderAddress()
        return .json(request) { $0.string(address) }
    }

    static func peers(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let addresses = await api.cluster.peerAddresses()
        return .json(request) { $0.strings(addresses) }
    }

    static func root(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var response = APIResponse.text(
            200,
            "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart.")
        response.isRouted = false
        return response
    }

    static func accessListsDisabled(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        throw APIError(401, "ACL support disabled")
    }
}
