import Logging
import NIOCore

/// `/v1/agent/monitor` and `/v1/agent/host` (Consul's API page Agent).
enum ProcessHandlers {
    private static let levels: [String: Logger.Level] = [
        "trace": .trace, "debug": .debug, "info": .info, "warn": .warning, "err": .error, "error": .error,
    ]

    /// The log as it is written, until the client goes.
    static func monitor(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.query["loglevel"]
        guard let level = self.levels[name.isEmpty ? "info" : name.lowercased()] else {
            throw APIError(400, "Unknown log level: \(name)")
        }
        guard let follower = api.process.followLog(level, asJSON: request.query.has("logjson")) else {
            throw APIError(429, "too many follow this agent's log already", retryAfter: 10)
        }
        let connection = request.connection
        var response = APIResponse()
        response.stream = BodyStream {
            guard let connection else { return await follower.next() }
            if connection.ending != nil { return nil }
            return await connection.run { await follower.next() }
        }
        return response
    }

    static func host(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let host = await api.process.host()
        return .json(request, capacity: 4096) { $0.value(host) }
    }
}
