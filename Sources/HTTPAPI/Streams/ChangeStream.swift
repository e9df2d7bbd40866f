import NIOCore
import Units

/// `GET …?stream`: the rows of a list, and then each that changes, as Server-Sent Events (HTML Standard §9.2).
///
/// - `reset`, `{"Index":n}`: forget what you have, all rows follow. Comes first, unless the client resumes.
/// - `put`, a row as the list has it: new, or in place of the one with the same identity.
/// - `delete`, the fields that tell the row from others.
/// - `ready`, `{"Index":n}`: what was sent is the whole list at this index.
///
/// The id stands on the last event of what belongs together, and names the rows' content. A client that comes back with
/// it, in `Last-Event-ID` or `?index`, and has missed nothing gets `ready` at once; one that was cut off in the middle has
/// an older id, or none. A comment is sent when nothing has changed for a while.
///
/// It is a blocking query that is asked again and again, and so promises what that promises: a row that changes twice
/// in quick succession may be seen once, its last state is always seen. An agent asks its server.
///
/// `@unchecked Sendable` is right: the connection's one task asks for one piece after the other.
final class ChangeStream: @unchecked Sendable {
    private let api: HTTPAPI
    private let request: APIRequest
    private let kind: ListKind
    private let path: String
    /// What the client's rows are by now: by identity, a digest of the row. Bytes, since `String` takes texts for one that
    /// have different bytes.
    private var known: [ByteKey: UInt64] = [:]
    private var index: UInt64
    private var next: ByteBuffer?

    /// Rows of one stream: whoever wants more asks for a part of the list.
    private static let rowsMax = 200_000
    private static let wait = 20
    private static let pause = Nanoseconds.seconds(1)
    /// Between changes and the next look: a list that changes all the time is not made anew for each change.
    private static let interval = Nanoseconds.milliseconds(50)

    /// - Throws: 400 for what is no such list; 429 when too many requests wait already.
    init(_ api: HTTPAPI, _ request: APIRequest) throws(APIError) {
        let path = String(decoding: request.target.utf8.prefix { $0 != UInt8(ascii: "?") }, as: UTF8.self)
        let decoded = String(decoding: request.path, as: UTF8.self)
        guard request.method == .get, let kind = ListKind(path: decoded, request.query) else {
            throw APIError(
                400,
                "?stream: the changes of this path can't be followed; "
                    + "those of keys, nodes, services, health, checks and sessions can")
        }
        // Before anything is set: an object that was begun only is not told that it ends.
        try api.startWaiting()
        self.api = api
        self.request = request
        self.kind = kind
        self.path = path
        self.index = 0
    }

    deinit { self.api.endWaiting() }

    /// The answer's head with the stream behind it, or the list's refusal.
    func response() async throws(APIError) -> APIResponse {
        let wanted = self.request.lastEventID.isEmpty ? self.request.query["index"] : self.request.lastEventID
        let answer = await self.api.respond(to: try self.question(after: nil))
        guard let rows = self.rows(of: answer) else { return answer }
        if rows.count > Self.rowsMax {
            let bound = "at most \(Self.rowsMax) can be followed: ask for a part of them"
            throw APIError(400, "?stream: \(rows.count) rows, \(bound)")
        }
        self.index = Self.index(of: answer)
        var events = self.changes(rows)
        if wanted == self.id {
            events = []
        } else {
            events.insert(Event(name: "reset", data: self.position), at: 0)
        }
        events.append(Event(name: "ready", data: self.position))
        // Whatever id the client came with, it does not stand for rows that are to be forgotten.
        self.next = self.encoded(events, forgetsID: events.count > 1)
        var response = APIResponse().with("Content-Type", "text/event-stream").with("Cache-Control", "no-store")
        response.stream = BodyStream { await self.piece() }
        return response
    }

    // MARK: - Pieces

    private var isOver: Bool { Task.isCancelled || self.request.connection?.ending != nil }

    /// The next events, or a comment; nil when the client has gone or this server stops. A long list must not hold up the
    /// other connections of this one's event loop.
    private func piece() async -> ByteBuffer? {
        if let first = self.next {
            self.next = nil
            return first
        }
        return await withTaskExecutorPreference(self.api.surroundings.executor ?? globalConcurrentExecutor) {
            await self.look()
        }
    }

    private func look() async -> ByteBuffer? {
        guard await self.request.pause(Self.interval), !self.isOver,
            let question = try? self.question(after: self.index)
        else { return nil }
        let answer = await self.api.respond(to: question)
        if self.isOver { return nil }
        guard let rows = self.rows(of: answer) else {
            // No leader, most of all: the connection stays, and the client sees that it is not forgotten.
            guard await self.request.pause(Self.pause) else { return nil }
            return ByteBuffer(string: ": \(answer.status), asks again\n\n")
        }
        // It has grown too long: who comes back is told so.
        if rows.count > Self.rowsMax { return nil }
        self.index = Self.index(of: answer)
        let events = self.changes(rows)
        return events.isEmpty ? ByteBuffer(string: ": \(self.index)\n\n") : self.encoded(events, forgetsID: false)
    }

    /// The list's own request, without what makes it a stream.
    private func question(after index: UInt64?) throws(APIError) -> APIRequest {
        let dropped = ["stream", "index", "wait", "pretty"]
        var parameters = self.request.query.parameters.filter { !dropped.contains($0.name) }
        if let index {
            parameters.append(.init(name: "index", value: "\(index)"))
            parameters.append(.init(name: "wait", value: "\(Self.wait)s"))
        }
        var question = self.request
        question.target = self.path
        for (position, parameter) in parameters.enumerated() {
            let pair = "\(percentEncoded(parameter.name))=\(percentEncoded(parameter.value))"
            question.target += position == 0 ? "?\(pair)" : "&\(pair)"
        }
        guard let target = try? RequestTarget(question.target) else { throw APIError(400, "400 Bad Request") }
        question.query = target.query
        question.acceptsGzip = false
        return question
    }

    // MARK: - Differences

    /// nil when the answer is a refusal. Of a key that is not there, which is 404 with an index, there are no rows.
    private func rows(of answer: APIResponse) -> [(identity: JSONValue, row: JSONValue)]? {
        if answer.status == 404, Self.index(of: answer) > 0 { return [] }
        guard answer.status == 200, let value = try? JSONValue.parse(Array(answer.body.readableBytesView)) else {
            return nil
        }
        return self.kind.rows(of: value)
    }

    private struct Event {
        var name: StaticString
        var data: String
    }

    /// What leads from the rows that the client knows to these.
    private func changes(_ rows: [(identity: JSONValue, row: JSONValue)]) -> [Event] {
        var found: [ByteKey: UInt64] = [:]
        found.reserveCapacity(rows.count)
        var puts: [Event] = []
        for (identity, row) in rows {
            let name = ByteKey(Array(Self.text(identity).utf8))
            let text = Self.text(row)
            let digest = Self.digest(text)
            found[name] = digest
            if self.known[name] != digest { puts.append(Event(name: "put", data: text)) }
        }
        let gone = self.known.keys.filter { found[$0] == nil }.sorted()
        self.known = found
        return gone.map { Event(name: "delete", data: String(decoding: $0.bytes, as: UTF8.self)) } + puts
    }

    private var position: String { "{\"Index\":\(self.index)}" }

    /// The same for the same rows, on whatever server: an index alone may come back after a deletion is forgotten.
    private var id: String {
        let digest = self.known.values.reduce(UInt64(self.known.count)) { $0 &+ $1 }
        return "\(self.index)-\(String(digest, radix: 16))"
    }

    private func encoded(_ events: [Event], forgetsID: Bool) -> ByteBuffer {
        var buffer = ByteBuffer()
        for (position, event) in events.enumerated() {
            if position == 0, forgetsID { buffer.writeString("id:\n") }
            if position == events.count - 1 { buffer.writeString("id: \(self.id)\n") }
            buffer.writeString("event: \(event.name)\ndata: \(event.data)\n\n")
        }
        return buffer
    }

    /// FNV-1a over the bytes.
    private static func digest(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0100_0000_01B3 }
    }

    private static func text(_ value: JSONValue) -> String {
        var writer = JSONWriter(capacity: 256)
        writer.value(value)
        let buffer = writer.finish()
        // Compact JSON has no line ends of its own but the last.
        return String(decoding: buffer.readableBytesView.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    private static func index(of answer: APIResponse) -> UInt64 {
        if let index = answer.mark?.index { return max(index, 1) }
        return answer.headers.first { $0.name == "X-Consul-Index" }.flatMap { UInt64($0.value) } ?? 0
    }
}
