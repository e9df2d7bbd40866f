import NIOCore
import NIOHTTP1
import Units

// From a socket's request to the routes' and back.
extension HTTPAPI {
    /// How the body of a request is taken; decided by its path, before the body is read.
    func bodyRule(for head: HTTPRequestHead) -> BodyRule {
        var uri = head.uri
        return uri.withUTF8 { bytes in
            if starts(bytes, with: "/v1/kv/") { return .collect(limit: self.settings.kvMaximumValue.rawValue) }
            if starts(bytes, with: "/v1/txn") { return .collect(limit: self.transactionLimit) }
            if head.method == .PUT, starts(bytes, with: "/v1/snapshot") { return .stream }
            return .collect(limit: self.settings.maximumBody.rawValue)
        }
    }

    /// A transaction may carry at least one value of the largest size.
    var transactionLimit: Int { max(self.settings.txnMaximumBody, self.settings.kvMaximumValue).rawValue }

    func refuseTooLarge(_ head: HTTPRequestHead, size: Int) -> APIResponse {
        var uri = head.uri
        let text = uri.withUTF8 { bytes in
            if starts(bytes, with: "/v1/kv/") {
                return self.tooLarge(size, self.settings.kvMaximumValue.rawValue, "kv_max_value_size")
            }
            if starts(bytes, with: "/v1/txn") { return self.tooLarge(size, self.transactionLimit, "txn_max_req_len") }
            return "Request body too large, max size: \(self.settings.maximumBody.rawValue) bytes"
        }
        var error = APIError(413, text)
        error.closes = true
        return error.response
    }

    func tooLarge(_ size: Int, _ limit: Int, _ setting: String) -> String {
        "Request body(\(size) bytes) too large, max size: \(limit) bytes. "
            + "See https://www.consul.io/docs/agent/options.html#\(setting)."
    }

    func respond(
        to head: HTTPRequestHead, body: ByteBuffer, stream: BodyStream?, connection: ConnectionSignal?
    ) async -> APIResponse {
        let request: APIRequest
        switch self.request(head, body: body, stream: stream, connection: connection) {
        case .success(let parsed): request = parsed
        case .failure(let error): return error.response
        }
        // A long list must not hold up the other connections of this one's event loop.
        let elsewhere = self.surroundings.executor ?? globalConcurrentExecutor
        if !request.isQuick {
            return await withTaskExecutorPreference(elsewhere) {
                let response = await self.respond(to: request)
                return request.acceptsGzip ? response.compressed : response
            }
        }
        let response = await self.respond(to: request)
        if !request.acceptsGzip { return response }
        if response.body.readableBytes <= APIResponse.compressedOnLoopMax { return response.compressed }
        return await withTaskExecutorPreference(elsewhere) { response.compressed }
    }

    func request(
        _ head: HTTPRequestHead, body: ByteBuffer, stream: BodyStream?, connection: ConnectionSignal?
    ) -> Result<APIRequest, APIError> {
        let target: RequestTarget
        do throws(RequestTarget.Malformed) {
            target = try RequestTarget(head.uri)
        } catch {
            switch error {
            case .path:
                var refusal = APIError(400, "400 Bad Request")
                refusal.closes = true
                refusal.isRouted = false
                return .failure(refusal)
            case .query: return .failure(APIError(500, ""))
            }
        }
        var request = APIRequest(
            method: APIMethod(head.method), target: head.uri, path: target.path, query: target.query, token: "",
            body: body, stream: stream, connection: connection)
        request.readHeaders(head.headers)
        return .success(request)
    }
}

extension APIRequest {
    /// One key, and nothing to wait for but the cluster: microseconds of work.
    var isQuick: Bool {
        guard self.path.hasPrefix("/v1/kv/") else { return false }
        return self.query.isEmpty || !["recurse", "keys", "index", "stream"].contains { self.query.has($0) }
    }
}

extension APIMethod {
    init(_ method: HTTPMethod) {
        switch method {
        case .GET: self = .get
        case .PUT: self = .put
        case .DELETE: self = .delete
        case .POST: self = .post
        case .HEAD: self = .head
        case .OPTIONS: self = .options
        default: self = .other(method.rawValue)
        }
    }
}

extension APIRequest {
    /// The token and the few other headers that matter. `?token` comes before `X-Consul-Token` before `Authorization`.
    mutating func readHeaders(_ headers: some Sequence<(name: String, value: String)>) {
        var header = ""
        var bearer = ""
        for (name, value) in headers {
            switch name.utf8.count {
            case 6 where equalsIgnoringCase(name.utf8, "accept".utf8):
                self.accept = value
            case 13 where equalsIgnoringCase(name.utf8, "authorization".utf8):
                bearer = Self.bearer(value)
            case 13 where equalsIgnoringCase(name.utf8, "cache-control".utf8):
                self.cacheControl = value
            case 13 where equalsIgnoringCase(name.utf8, "last-event-id".utf8):
                self.lastEventID = value
            case 14 where equalsIgnoringCase(name.utf8, "x-consul-token".utf8):
                header = value
            case 15 where equalsIgnoringCase(name.utf8, "idempotency-key".utf8):
                self.idempotencyKey = value
            case 15 where equalsIgnoringCase(name.utf8, "accept-encoding".utf8):
                self.acceptsGzip = gzipIsAccepted(value)
            case 18 where equalsIgnoringCase(name.utf8, "x-consul-namespace".utf8) && !value.isEmpty:
                self.namespace = value
            default: break
            }
        }
        self.token = self.query.first("token") ?? ""
        if self.token.isEmpty { self.token = header }
        if self.token.isEmpty { self.token = bearer }
    }

    /// The first word after `Bearer`, whatever its case.
    private static func bearer(_ value: String) -> String {
        let words = value.split(separator: " ")
        guard words.count >= 2, equalsIgnoringCase(words[0].utf8, "bearer".utf8) else { return "" }
        return String(words[1])
    }
}

private func starts(_ bytes: UnsafeBufferPointer<UInt8>, with prefix: StaticString) -> Bool {
    let count = prefix.utf8CodeUnitCount
    guard bytes.count >= count else { return false }
    for position in 0..<count where bytes[position] != prefix.utf8Start[position] { return false }
    return true
}
