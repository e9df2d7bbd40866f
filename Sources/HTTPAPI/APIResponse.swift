import Cluster
import NIOCore
import Protocol
import Units

/// What the reply to a read says about the state that it was answered from.
struct ReadMark: Sendable, Equatable {
    /// `X-Consul-Index`; nil on reads that can't be waited on.
    var index: UInt64?
    var knownLeader: Bool
    var lastContact: Nanoseconds
    /// `X-Consul-Effective-Consistency`; catalog and health reads alone have it.
    var consistency: StaticString?
    /// What `?cached` was answered from; nil on other reads.
    var cache: Cache?

    struct Cache: Sendable, Equatable {
        var isHit: Bool
        var age: Nanoseconds
    }

    static func == (left: ReadMark, right: ReadMark) -> Bool {
        left.index == right.index && left.knownLeader == right.knownLeader && left.lastContact == right.lastContact
            && left.consistency?.description == right.consistency?.description
    }
}

extension ReadMark {
    init(_ view: ReadView, index: UInt64) {
        self.init(index: index, knownLeader: view.knownLeader, lastContact: view.lastContact)
    }
}

struct APIResponse: Sendable {
    enum Content: Sendable { case none, json, text, plain, prometheus, gzip }

    var status: Int
    var content: Content
    var body: ByteBuffer
    /// A body too large for memory; sent in chunks instead of `body`.
    var stream: BodyStream?
    var mark: ReadMark?
    /// Further headers, names as they go over the wire.
    var headers: [(name: String, value: String)] = []
    /// The connection can't be used any more: the request's body was not read to its end.
    var closes = false
    /// Nothing was put into the log for this request; an agent is told so.
    var isNotPlaced = false
    /// A route's answer, which may come compressed (`Vary`); other answers never do.
    var isRouted = true

    init(status: Int = 200, content: Content = .none, body: ByteBuffer = ByteBuffer(), mark: ReadMark? = nil) {
        self.status = status
        self.content = content
        self.body = body
        self.mark = mark
    }

    /// 200 without a body.
    static var empty: APIResponse { APIResponse() }

    static func json(
        _ request: APIRequest, status: Int = 200, mark: ReadMark? = nil, capacity: Int = 256,
        _ write: (inout JSONWriter) -> Void
    ) -> APIResponse {
        var writer = JSONWriter(pretty: request.isPretty, capacity: capacity)
        write(&writer)
        return APIResponse(status: status, content: .json, body: writer.finish(), mark: mark)
    }

    /// `true` or `false`.
    static func bool(_ request: APIRequest, _ value: Bool) -> APIResponse {
        self.json(request, capacity: 8) { $0.bool(value) }
    }

    static func text(_ status: Int, _ text: String) -> APIResponse {
        APIResponse(status: status, content: text.isEmpty ? .none : .text, body: ByteBuffer(string: text))
    }

    func with(_ name: String, _ value: String) -> APIResponse {
        var response = self
        response.headers.append((name, value))
        return response
    }

    /// Calls `add` with every header but the length, in the order that they are sent.
    func eachHeader(defaultPolicy: String, _ add: (StaticString?, String, String) -> Void) {
        switch self.content {
        case .none: break
        case .json: add("Content-Type", "", "application/json")
        case .text: add("Content-Type", "", "text/plain; charset=utf-8")
        case .plain: add("Content-Type", "", "text/plain")
        case .prometheus: add("Content-Type", "", "text/plain; version=0.0.4; charset=utf-8")
        case .gzip: add("Content-Type", "", "application/x-gzip")
        }
        if !defaultPolicy.isEmpty { add("X-Consul-Default-Acl-Policy", "", defaultPolicy) }
        if self.isRouted { add("Vary", "", "Accept-Encoding") }
        if let mark = self.mark {
            if let cache = mark.cache {
                if cache.isHit { add("Age", "", String(cache.age.rawValue / 1_000_000_000)) }
                add("X-Cache", "", cache.isHit ? "HIT" : "MISS")
            }
            if let consistency = mark.consistency {
                add("X-Consul-Effective-Consistency", "", consistency.description)
            }
            if let index = mark.index { add("X-Consul-Index", "", String(max(index, 1))) }
            add("X-Consul-Knownleader", "", mark.knownLeader ? "true" : "false")
            add("X-Consul-Lastcontact", "", String(mark.lastContact.rawValue / 1_000_000))
        }
        for header in self.headers { add(nil, header.name, header.value) }
    }
}
