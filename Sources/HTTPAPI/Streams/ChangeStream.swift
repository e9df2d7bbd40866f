import NIOCore
import Units

/// `GET …?stream`: the rows of a list, and then each that changes, as Server-Sent Events (HTML Standard §9.2).
///
/// - `reset`, `{"Index":n}`: forget what you have, all rows follow. Comes first, unless the client resumes.
/// - `put`, a row as the list has it: new, or in place of the one with the same identity.
/// - `delete`, the fields that tell the row from others.
/// - `ready`, `{"Index":n}`: what was sent is the whole list at this index.
///
/// Each event's id is the index. A client that comes back with the last one, in `Last-Event-ID` or `?index`, and has
/// missed nothing gets `ready` at once. A comment is sent when nothing has changed for a while.
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
    /// What the client's rows are by now: by identity, a digest of the row.
    private var known: [String: Int] = [:]
    private var index: UInt64
    private var next: ByteBuffer?

    /// Rows of one stream: whoever wants more asks for a part of the list.
    private static let rowsMax = 200_000
    private static let wait = 20
    private static let pause = Nanoseconds.seconds(1)

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
        let resumed = UInt64(wanted)
        if !wanted.isEmpty, resumed == nil { throw APIError(400, "Invalid index") }
        let answer = await self.api.respond(to: try self.question(after: nil))
        guard let rows = self.rows(of: answer) else { return answer }
        if rows.count > Self.rowsMax {
            let bound = "at most \(Self.rowsMax) can be followed: ask for a part of them"
            throw APIError(400, "?stream: \(rows.count) rows, \(bound)")
        }
        self.index = Self.index(of: answer)
        let events = self.events(rows)
        var first = ByteBuffer()
        if resumed != self.index {
            self.write(event: "reset", data: self.position, to: &first)
            first.writeImmutableBuffer(events)
        }
        self.write(event: "ready", data: self.position, to: &first)
        self.next = first
        var response = APIResponse().with("Content-Type", "text/event-stream").with("Cache-Control", "no-store")
        response.stream = BodyStream { await self.piece() }
        return response
    }

    // MARK: - Pieces

    private var isOver: Bool { Task.isCancelled || self.request.connection?.ending != nil }

    /// The next events, or a comment; nil when the client has gone or this server stops.
    private func piece() async -> ByteBuffer? {
        if let first = self.next {
            self.next = nil
            return first
        }
        guard !self.isOver, let question = try? self.question(after: self.index) else { return nil }
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
        let events = self.events(rows)
        return events.readableBytes > 0 ? events : ByteBuffer(string: ": \(self.index)\n\n")
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

    /// What leads from the rows that the client knows to these.
    private func events(_ rows: [(identity: JSONValue, row: JSONValue)]) -> ByteBuffer {
        var found: [String: Int] = [:]
        found.reserveCapacity(rows.count)
        var puts = ByteBuffer()
        for (identity, row) in rows {
            let name = Self.text(identity)
            let text = Self.text(row)
            let digest = text.hashValue
            found[name] = digest
            if self.known[name] != digest { self.write(event: "put", data: text, to: &puts) }
        }
        var events = ByteBuffer()
        for name in self.known.keys.filter({ found[$0] == nil }).sorted() {
            self.write(event: "delete", data: name, to: &events)
        }
        events.writeImmutableBuffer(puts)
        self.known = found
        return events
    }

    private var position: String { "{\"Index\":\(self.index)}" }

    private func write(event: StaticString, data: String, to buffer: inout ByteBuffer) {
        buffer.writeString("id: \(self.index)\nevent: \(event)\ndata: \(data)\n\n")
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
