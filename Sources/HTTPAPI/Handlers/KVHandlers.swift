import Cluster
import NIOCore
import Protocol
import Registry
import Units

/// `/v1/kv/:key` (Consul's API page KV). Keys are bytes: what stands after `/v1/kv/`, percent-decoded once and no more.
enum KVHandlers {
    static func get(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let key = ByteKey(Array(request.rest))
        if request.query.has("keys") { return try await self.keys(api, request, key) }
        if request.query.has("recurse") {
            return try await api.read(request, { $0.kvEntries(prefix: key) }) { entries, mark in
                self.reply(request, entries, mark)
            }
        }
        if key.isEmpty { throw .missingKey }
        return try await api.read(request, { $0.kvEntry(key) }) { self.reply(request, $0, $1) }
    }

    /// One key, answered at once.
    static func get(
        _ api: HTTPAPI, _ request: APIRequest, _ loop: any EventLoop, _ reply: @escaping Route.LoopReply
    ) throws(APIError) {
        let key = ByteKey(Array(request.rest))
        if key.isEmpty { throw .missingKey }
        let options = try ReadOptions(request.query, api.settings)
        api.cluster.view(options.consistency, timeout: api.settings.readTimeout) { view in
            loop.run {
                reply(
                    view.mapError { APIError($0) }.map { view in
                        let answer = view.registry.kvEntry(key)
                        return self.reply(request, answer.value, ReadMark(view, index: answer.index))
                    })
            }
        }
    }

    private static func reply(_ request: APIRequest, _ entry: KVEntry?, _ mark: ReadMark) -> APIResponse {
        guard let entry else { return APIResponse(status: 404, mark: mark) }
        if request.query.has("raw") { return self.raw(entry, mark) }
        return .json(request, mark: mark, capacity: entry.value.count * 4 / 3 + entry.key.count + 192) { writer in
            writer.array { $0.kvEntry(entry) }
        }
    }

    private static func reply(_ request: APIRequest, _ entries: [KVEntry], _ mark: ReadMark) -> APIResponse {
        if entries.isEmpty { return APIResponse(status: 404, mark: mark) }
        return .json(request, mark: mark, capacity: entries.count * 160) { writer in
            writer.array(entries) { $0.kvEntry($1) }
        }
    }

    /// A browser must not run what a key holds.
    private static func raw(_ entry: KVEntry, _ mark: ReadMark) -> APIResponse {
        APIResponse(content: .plain, body: ByteBuffer(bytes: entry.value), mark: mark)
            .with("Content-Security-Policy", "sandbox").with("X-Content-Type-Options", "nosniff")
    }

    private static func keys(
        _ api: HTTPAPI, _ request: APIRequest, _ prefix: ByteKey
    ) async throws(APIError) -> APIResponse {
        let separator = ByteKey(request.query.first("separator") ?? request.query["seperator"])
        return try await api.read(request, { $0.kvKeys(prefix: prefix, separator: separator) }) { keys, mark in
            if keys.isEmpty && !prefix.isEmpty { return APIResponse(status: 404, mark: mark) }
            return .json(request, mark: mark, capacity: keys.count * 32) { writer in
                writer.array(keys) { $0.string(bytes: $1.bytes) }
            }
        }
    }

    static func put(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        self.put(api, request, try await api.propose(try self.put(request), request))
    }

    static func put(
        _ api: HTTPAPI, _ request: APIRequest, _ loop: any EventLoop, _ reply: @escaping Route.LoopReply
    ) throws(APIError) {
        api.propose(try self.put(request), request, loop) { [request = request.withoutBody] result in
            reply(result.map { self.put(api, request, $0) })
        }
    }

    private static func put(_ request: APIRequest) throws(APIError) -> LogCommand {
        if request.rest.isEmpty { throw .missingKey }
        var put = LogKVPut()
        put.key = .init(request.rest)
        put.value = .init(request.body.readableBytesView)
        if !request.query.isEmpty { try self.readMode(request.query, into: &put) }
        var command = LogCommand()
        command.kind = .kvPut(put)
        return command
    }

    private static func put(_ api: HTTPAPI, _ request: APIRequest, _ result: LogResult) -> APIResponse {
        guard case .ok(true)? = result.kind else { return .bool(request, false) }
        let response = APIResponse.bool(request, true)
        guard let index = self.modifyIndex(api, request, result) else { return response }
        return response.with("X-Consul-ModifyIndex", String(index))
    }

    private static func readMode(_ query: Query, into put: inout LogKVPut) throws(APIError) {
        try self.refuseTogether(["cas", "acquire", "release"], query)
        if let text = query.first("flags") { put.flags = try goUInt(text) }
        if let text = query.first("cas") {
            put.mode = .putCas
            put.casIndex = try goUInt(text)
        }
        if let session = query.first("acquire") {
            put.mode = .putAcquire
            put.session = session
        }
        if let session = query.first("release") {
            put.mode = .putRelease
            put.session = session
        }
    }

    private static func refuseTogether(_ names: [String], _ query: Query) throws(APIError) {
        var found = 0
        for name in names where query.has(name) { found += 1 }
        if found > 1 { throw APIError(400, "Conflicting flags: \(query.encoded)") }
    }

    /// The index that this write gave the key; nil when it changed nothing, or another write came after it.
    private static func modifyIndex(_ api: HTTPAPI, _ request: APIRequest, _ result: LogResult) -> UInt64? {
        let entry = api.cluster.currentView?.registry.kvEntry(ByteKey(Array(request.rest))).value
        return entry?.modifyIndex == result.index ? result.index : nil
    }

    static func delete(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        self.delete(request, try await api.propose(try self.delete(request), request))
    }

    static func delete(
        _ api: HTTPAPI, _ request: APIRequest, _ loop: any EventLoop, _ reply: @escaping Route.LoopReply
    ) throws(APIError) {
        api.propose(try self.delete(request), request, loop) { reply($0.map { self.delete(request, $0) }) }
    }

    private static func delete(_ request: APIRequest) throws(APIError) -> LogCommand {
        var delete = LogKVDelete()
        delete.key = .init(request.rest)
        if request.query.has("recurse") {
            try self.refuseTogether(["recurse", "cas"], request.query)
            delete.mode = .deleteTree
        } else if request.rest.isEmpty {
            throw .missingKey
        }
        if let text = request.query.first("cas") {
            delete.mode = .deleteCas
            delete.casIndex = try goUInt(text)
        }
        var command = LogCommand()
        command.kind = .kvDelete(delete)
        return command
    }

    private static func delete(_ request: APIRequest, _ result: LogResult) -> APIResponse {
        guard case .ok(let done)? = result.kind else { return .bool(request, false) }
        return .bool(request, done)
    }
}
