import NIOCore
import Registry

/// A path and method with who answers it. A pattern that ends in `*` takes every path that starts with what stands
/// before it, and the path without the last slash; the rest of the path is the handler's.
struct Route: Sendable {
    typealias Handler = @Sendable (HTTPAPI, APIRequest) async throws(APIError) -> APIResponse
    /// The hot way, without a task: runs on the event loop, and so does `reply`, once.
    typealias LoopHandler = @Sendable (HTTPAPI, APIRequest, any EventLoop, @escaping LoopReply) throws(APIError) -> Void
    typealias LoopReply = @Sendable (Result<APIResponse, APIError>) -> Void

    var method: APIMethod
    var pattern: StaticString
    var resource: AccessRequest.Resource
    var handler: Handler
    /// For requests that are quick (`APIRequest.isQuick`); nil where none is.
    var onLoop: LoopHandler?
    /// Answered by whichever process was asked; all others an agent forwards to a server.
    var isLocal = false
    /// A local route that a server answers to its agents too.
    var isOpenToAgents = false
    /// What an agent has to follow to answer such a request itself; nil where it can't.
    var topic: (@Sendable (APIRequest) -> ViewTopic?)?

    /// The same route, with a hot way for quick requests.
    func onLoop(_ handler: @escaping LoopHandler) -> Route {
        var route = self
        route.onLoop = handler
        return route
    }

    /// The same route, which an agent may answer from a view.
    func viewed(_ topic: @escaping @Sendable (APIRequest) -> ViewTopic?) -> Route {
        var route = self
        route.topic = topic
        return route
    }

    /// A read whose answer has the headers of a read however it ends.
    var isMarkedRead: Bool {
        self.method == .get && [.node, .service, .session].contains(self.resource)
    }

    /// The same route, open to agents.
    var openToAgents: Route {
        var route = self
        route.isOpenToAgents = true
        return route
    }

    static func get(
        _ pattern: StaticString, of resource: AccessRequest.Resource, _ handler: @escaping Handler
    ) -> Route { Route(method: .get, pattern: pattern, resource: resource, handler: handler) }

    static func put(
        _ pattern: StaticString, of resource: AccessRequest.Resource, _ handler: @escaping Handler
    ) -> Route { Route(method: .put, pattern: pattern, resource: resource, handler: handler) }

    static func post(
        _ pattern: StaticString, of resource: AccessRequest.Resource, _ handler: @escaping Handler
    ) -> Route { Route(method: .post, pattern: pattern, resource: resource, handler: handler) }

    static func delete(
        _ pattern: StaticString, of resource: AccessRequest.Resource, _ handler: @escaping Handler
    ) -> Route { Route(method: .delete, pattern: pattern, resource: resource, handler: handler) }
}

/// Every route, found by the decoded path. Of several patterns that fit, the longest counts.
struct RouteTable: Sendable {
    struct Entry: Sendable {
        var pattern: [UInt8]
        var isPrefix: Bool
        /// `OPTIONS,GET,PUT`, in the order the routes were given.
        var allow = "OPTIONS"
        var routes: [Route] = []

        /// How many bytes of the path the pattern takes; nil when it does not fit.
        func match(_ path: [UInt8]) -> Int? {
            let count = self.pattern.count
            if path.count < count {
                // `/v1/kv` is `/v1/kv/` with an empty key.
                let fits = self.isPrefix && path.count == count - 1 && self.pattern.starts(with: path)
                return fits ? path.count : nil
            }
            if !self.isPrefix && path.count != count { return nil }
            return path.starts(with: self.pattern) ? count : nil
        }

        func route(_ method: APIMethod) -> Route? {
            let wanted = method == .head ? APIMethod.get : method
            return self.routes.first { $0.method == wanted }
        }
    }

    /// By the byte after `/v1/`; all other paths are under 0.
    private var entries: [[Entry]] = Array(repeating: [], count: 128)

    init(cluster: [Route], local: [Route]) {
        for route in cluster { self.add(route) }
        for route in local {
            var route = route
            route.isLocal = true
            self.add(route)
        }
        for position in self.entries.indices {
            self.entries[position].sort { $0.pattern.count > $1.pattern.count }
        }
    }

    private mutating func add(_ route: Route) {
        var pattern = Array("\(route.pattern)".utf8)
        let isPrefix = pattern.last == UInt8(ascii: "*")
        if isPrefix { pattern.removeLast() }
        let bucket = Self.bucket(pattern)
        var entry = Entry(pattern: pattern, isPrefix: isPrefix)
        let known = self.entries[bucket].firstIndex { $0.pattern == pattern && $0.isPrefix == isPrefix }
        if let known { entry = self.entries[bucket].remove(at: known) }
        entry.allow += "," + route.method.name
        entry.routes.append(route)
        self.entries[bucket].append(entry)
    }

    private static func bucket(_ path: [UInt8]) -> Int {
        path.count > 4 && path.hasPrefix("/v1/") && path[4] < 128 ? Int(path[4]) : 0
    }

    func find(_ path: [UInt8]) -> (entry: Entry, matched: Int)? {
        let entries = self.entries[Self.bucket(path)]
        for entry in entries {
            guard let matched = entry.match(path) else { continue }
            // `/v1/acl/policy` is a route of its own beside `/v1/acl/policy/*`.
            if matched < entry.pattern.count, let own = entries.first(where: { !$0.isPrefix && $0.pattern == path }) {
                return (own, matched)
            }
            return (entry, matched)
        }
        return nil
    }
}
