import Cluster
import NIOCore
import Registry
import Units

/// The request methods that routes know; any other keeps its name for the answer 405.
public enum APIMethod: Sendable, Equatable {
    case get, put, delete, post, head, options
    case other(String)

    init(_ name: String) {
        switch name {
        case "GET": self = .get
        case "PUT": self = .put
        case "DELETE": self = .delete
        case "POST": self = .post
        case "HEAD": self = .head
        case "OPTIONS": self = .options
        default: self = .other(name)
        }
    }

    var name: String {
        switch self {
        case .get: "GET"
        case .put: "PUT"
        case .delete: "DELETE"
        case .post: "POST"
        case .head: "HEAD"
        case .options: "OPTIONS"
        case .other(let name): name
        }
    }
}

/// Where the pieces of a large body come from, one at a time; nil at its end. Read by one task.
public struct BodyStream: Sendable {
    public var next: @Sendable () async throws -> ByteBuffer?
    public init(next: @escaping @Sendable () async throws -> ByteBuffer?) { self.next = next }
}

/// A request as the routes see it, whether it came over a socket or forwarded from an agent.
struct APIRequest: Sendable {
    var method: APIMethod
    /// As it stood in the request line; what is forwarded.
    var target: String
    /// Decoded.
    var path: [UInt8]
    /// How many bytes of the path the route's pattern took: the rest is the key, the id, the name.
    var matched = 0
    var query: Query
    /// The secret that the request carries: `?token`, `X-Consul-Token` or `Authorization: Bearer`; "" when none.
    var token: String
    /// Who the authorizer says is asking.
    var identity = ""
    /// `Accept`; "" when none.
    var accept = ""
    var acceptsGzip = false
    /// `Cache-Control`; "" when none.
    var cacheControl = ""
    /// `X-Consul-Namespace`; refused like `?ns`.
    var namespace = ""
    var body: ByteBuffer
    /// Set instead of `body` on routes that take a stream.
    var stream: BodyStream?
    /// Tells that the client went away; nil for forwarded requests, whose task is cancelled instead.
    var connection: ConnectionSignal?
    /// How the client, or the agent that forwarded this write, numbers it.
    var number: RequestNumber?
    /// `Last-Event-ID`, of a client that comes back to a stream; "" when none.
    var lastEventID = ""
    /// `Idempotency-Key`; "" when none.
    var idempotencyKey = ""
    /// Node name of the agent that forwarded this request; nil when it came to us directly.
    var origin: String?
    /// How long the agent that forwarded this request waits for the answer.
    var patience: Nanoseconds?
    /// It came over an agent's authenticated connection.
    var isFromAgent = false
    /// On an agent: the view that this is answered from.
    var topic: ViewTopic?
    /// That view was there before.
    var topicWasThere = true

    /// What follows the route's pattern, as bytes.
    var rest: ArraySlice<UInt8> { self.path[self.matched...] }

    /// What follows the route's pattern, as text: a name or an id.
    var restText: String { String(decoding: self.rest, as: UTF8.self) }

    var acceptsText: Bool { self.accept.hasPrefix("text/plain") }

    var isPretty: Bool { !self.query.isEmpty && self.query.has("pretty") }

    /// The body as JSON; `what` starts the error's text.
    func json(_ what: String = "Request decode failed: ") throws(APIError) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue.parse(Array(self.body.readableBytesView))
        } catch {
            throw APIError(400, what + error.text)
        }
    }

    /// Runs a reader of JSON fields, with its errors as status 400.
    func decode<Value>(
        _ what: String = "Request decode failed: ", _ read: (JSONValue) throws(JSONError) -> Value
    ) throws(APIError) -> Value {
        let json = try self.json(what)
        do throws(JSONError) {
            return try read(json)
        } catch {
            throw APIError(400, what + error.text)
        }
    }

    /// A boolean parameter: bare or any of Go's spellings; nil when absent.
    func flag(_ name: String) throws(APIError) -> Bool? {
        guard let value = self.query.first(name) else { return nil }
        if value.isEmpty { return true }
        guard let flag = goBool(value) else { throw APIError(400, "Invalid value for ?\(name)") }
        return flag
    }
}

/// `strconv.ParseBool`.
func goBool(_ text: String) -> Bool? {
    switch text {
    case "1", "t", "T", "true", "TRUE", "True": true
    case "0", "f", "F", "false", "FALSE", "False": false
    default: nil
    }
}

/// `strconv.ParseUint` in base 10, with its error's text.
func goUInt(_ text: String) throws(APIError) -> UInt64 {
    let isDigits = !text.isEmpty && text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    guard isDigits else { throw APIError(500, "strconv.ParseUint: parsing \"\(text)\": invalid syntax") }
    guard let value = UInt64(text) else {
        throw APIError(500, "strconv.ParseUint: parsing \"\(text)\": value out of range")
    }
    return value
}
