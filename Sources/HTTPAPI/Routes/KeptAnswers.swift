import Cluster
import NIOCore
import Registry
import Synchronization
import Units

/// Bodies that were written before, each with the index of the answer: as long as that is the same, so is the body. What
/// would exceed the bound empties it.
///
/// No body depends on who asks: whoever may not see all of a list has to be left out of this.
final class KeptAnswers: Sendable {
    private struct Entry {
        var index: UInt64
        var body: ByteBuffer
    }

    private struct State {
        /// By bytes: `String` takes texts for one that have different bytes.
        var entries: [[UInt8]: Entry] = [:]
        var bytes = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: ByteCount) { self.limit = limit.rawValue }

    func body(_ key: [UInt8], index: UInt64) -> ByteBuffer? {
        self.state.withLock { state in
            guard let entry = state.entries[key], entry.index == index else { return nil }
            return entry.body
        }
    }

    func keep(_ body: ByteBuffer, as key: [UInt8], index: UInt64) {
        let bytes = body.readableBytes + key.count + 128
        // A single one that takes much of the room would push all others out.
        if bytes > self.limit / 8 { return }
        self.state.withLock { state in
            if let earlier = state.entries.removeValue(forKey: key) {
                state.bytes -= earlier.body.readableBytes + key.count + 128
            }
            if state.bytes + bytes > self.limit { state = State() }
            state.entries[key] = Entry(index: index, body: body)
            state.bytes += bytes
        }
    }

    var bytes: Int { self.state.withLock { $0.bytes } }
}

extension APIRequest {
    /// What the body of a list depends on, beside the rows; nil for what is not kept.
    var keptKey: [UInt8]? {
        if self.query.isEmpty { return self.path }
        guard self.target.utf8.count <= 1024, !self.query.has("near") else { return nil }
        let others = ["index", "wait", "stale", "consistent", "cached", "max_stale", "token", "dc"]
        var key = self.path
        for parameter in self.query.parameters where !others.contains(parameter.name) {
            // With their lengths: no value can look like another parameter.
            for text in [parameter.name, parameter.value] {
                key += Array("?\(text.utf8.count):".utf8) + Array(text.utf8)
            }
        }
        return key
    }
}

extension HTTPAPI {
    /// As `read`, for lists that are asked for over and over.
    /// - Parameter index: the answer's index, at once; it changes with each change of the answer.
    func readKept<Value: Sendable>(
        _ request: APIRequest, index: (Registry) -> UInt64, _ query: (Registry) throws(APIError) -> Answer<Value>,
        _ reply: (Value, ReadMark) throws(APIError) -> APIResponse
    ) async throws(APIError) -> APIResponse {
        guard let key = request.keptKey else { return try await self.read(request, isCatalog: true, query, reply) }
        let options = try ReadOptions(request.query, self.settings)
        let view = try await self.view(request, options.consistency)
        let now = index(view.registry)
        if now > options.index, let body = self.kept.body(key, index: now) {
            let mark = self.catalogMark(request, options, view, index: now)
            return APIResponse(content: .json, body: body, mark: mark)
        }
        let response = try await self.read(request, isCatalog: true, from: view, query, reply)
        if response.status == 200, case .json = response.content, let index = response.mark?.index {
            self.kept.keep(response.body, as: key, index: index)
        }
        return response
    }
}
