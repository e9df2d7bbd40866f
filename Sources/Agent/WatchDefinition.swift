import Units

/// What a watch asks for and what it does with the answer (Consul's page on watches).
public struct WatchDefinition: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case key, keyprefix, services, nodes, service, checks, event

        /// For people. Events are not in this version's API.
        public static let offered = Self.allCases.filter { $0 != .event }.map(\.rawValue).joined(separator: ", ")
    }

    public enum Handler: Sendable, Equatable {
        /// A program and its arguments. It gets the answer as JSON on standard input and its index in `CONSUL_INDEX`.
        case script([String])
        case http(HTTPHandler)
        /// The answer is for whoever runs the watch.
        case none
    }

    /// A request with the answer as its body and the index as `X-Consul-Index`.
    public struct HTTPHandler: Sendable, Equatable {
        public var path = ""
        public var method = "POST"
        public var header: [String: [String]] = [:]
        public var timeout: Nanoseconds = .seconds(10)
        public var skipVerify = false
        public init() {}
    }

    public var kind = Kind.key
    public var key = ""
    public var prefix = ""
    public var service = ""
    public var tags: [String] = []
    public var passingOnly = false
    public var state = ""
    public var name = ""
    public var filter = ""
    public var isStale = false
    public var token = ""
    public var handler = Handler.none

    public init() {}

    /// What is missing or too much; nil when the watch can run.
    public var complaint: String? {
        switch self.kind {
        case .key where self.key.isEmpty: "Must specify a single key to watch"
        case .keyprefix where self.prefix.isEmpty: "Must specify a single prefix to watch"
        case .service where self.service.isEmpty: "Must specify a single service to watch"
        case .checks where !self.service.isEmpty && !self.state.isEmpty: "Cannot specify service and state"
        case .key, .keyprefix, .service, .checks, .services, .nodes, .event: nil
        }
    }

    /// What log lines and errors call it: `type key, key a/b`.
    public var title: String {
        let what: (String, String) =
            switch self.kind {
            case .key: ("key", self.key)
            case .keyprefix: ("prefix", self.prefix)
            case .service: ("service", self.service)
            case .checks: self.service.isEmpty ? ("state", self.state) : ("service", self.service)
            case .event: ("name", self.name)
            case .services, .nodes: ("", "")
            }
        return "type \(self.kind.rawValue)" + (what.1.isEmpty ? "" : ", \(what.0) \(what.1)")
    }

    /// Path and query of what is asked, without the index.
    public var target: String {
        var query: [(String, String?)] = []
        let path: String
        switch self.kind {
        case .key:
            path = "/v1/kv/" + PercentEncoding.of(self.key, keeping: "/")
        case .keyprefix:
            path = "/v1/kv/" + PercentEncoding.of(self.prefix, keeping: "/")
            query.append(("recurse", nil))
        case .services:
            path = "/v1/catalog/services"
        case .nodes:
            path = "/v1/catalog/nodes"
        case .service:
            path = "/v1/health/service/" + PercentEncoding.of(self.service)
            for tag in self.tags { query.append(("tag", tag)) }
            if self.passingOnly { query.append(("passing", nil)) }
        case .checks:
            path =
                self.service.isEmpty
                ? "/v1/health/state/" + PercentEncoding.of(self.state.isEmpty ? "any" : self.state)
                : "/v1/health/checks/" + PercentEncoding.of(self.service)
        case .event:
            path = "/v1/event/list"
            if !self.name.isEmpty { query.append(("name", self.name)) }
        }
        if !self.filter.isEmpty { query.append(("filter", self.filter)) }
        if self.isStale { query.append(("stale", nil)) }
        let text = query.map { name, value in name + (value.map { "=" + PercentEncoding.of($0) } ?? "") }
        return path + (text.isEmpty ? "" : "?" + text.joined(separator: "&"))
    }
}

extension WatchDefinition {
    /// A `watches` entry of a file, its keys and kinds checked already.
    init(_ value: ConfigurationValue, place: String) throws(AgentConfigurationError) {
        func text(_ key: String) -> String { if case .text(let text) = value.value(at: key) { text } else { "" } }
        func flag(_ key: String) -> Bool { value.value(at: key) == .bool(true) }
        func invalid(_ key: String, _ why: String) -> AgentConfigurationError {
            .invalid(key: key, why: why, place: place)
        }
        let type = text("type")
        if type.isEmpty { throw invalid("watches", "Watch type must be specified") }
        guard let kind = Kind(rawValue: type), kind != .event else {
            throw invalid("watches.type", "Unsupported watch type: \(type); \(Kind.offered) are offered")
        }
        self.init()
        self.kind = kind
        self.key = text("key")
        self.prefix = text("prefix")
        self.service = text("service")
        self.tags = Self.texts(value.value(at: "tag"))
        self.passingOnly = flag("passingonly")
        self.state = text("state")
        self.name = text("name")
        self.filter = text("filter")
        self.isStale = flag("stale")
        self.token = text("token")
        if let complaint { throw invalid("watches (\(self.title))", complaint) }
        do throws(HandlerFailure) {
            self.handler = try Self.handler(value, text)
        } catch {
            throw invalid("watches (\(self.title))", error.text)
        }
    }

    private struct HandlerFailure: Error { var text: String }

    private static func handler(
        _ value: ConfigurationValue, _ text: (String) -> String
    ) throws(HandlerFailure) -> Handler {
        let arguments = self.texts(value.value(at: "args"))
        let line = text("handler")
        switch text("handler_type") {
        case "http":
            if !arguments.isEmpty || !line.isEmpty { throw HandlerFailure(text: "Only one watch handler allowed") }
            return .http(try self.http(value.value(at: "http_handler_config")))
        case "", "script":
            if !arguments.isEmpty, !line.isEmpty { throw HandlerFailure(text: "Only one watch handler allowed") }
            if !arguments.isEmpty { return .script(arguments) }
            if !line.isEmpty { return .script(["/bin/sh", "-c", line]) }
            throw HandlerFailure(text: "Must define a watch handler: args, or handler_type = \"http\"")
        case let other:
            throw HandlerFailure(text: "Handler type '\(other)' not recognized; script and http are")
        }
    }

    private static func http(_ value: ConfigurationValue?) throws(HandlerFailure) -> HTTPHandler {
        var handler = HTTPHandler()
        guard let value, case .text(let path) = value.value(at: "path"), !path.isEmpty else {
            throw HandlerFailure(text: "http_handler_config.path must be set")
        }
        guard path.hasPrefix("http://") || path.hasPrefix("https://") else {
            throw HandlerFailure(text: "http_handler_config.path must begin with http:// or https://, not \(path)")
        }
        handler.path = path
        if case .text(let method) = value.value(at: "method"), !method.isEmpty { handler.method = method }
        if case .text(let time) = value.value(at: "timeout"), let time = GoDuration.parse(time), time > .zero {
            handler.timeout = time
        }
        if case .object(let fields) = value.value(at: "header") { handler.header = fields.mapValues { self.texts($0) } }
        handler.skipVerify = value.value(at: "tls_skip_verify") == .bool(true)
        return handler
    }

    private static func texts(_ value: ConfigurationValue?) -> [String] {
        switch value {
        case .text(let text): text.isEmpty ? [] : [text]
        case .list(let items): items.flatMap { self.texts($0) }
        case nil, .null, .bool, .integer, .number, .object: []
        }
    }
}
