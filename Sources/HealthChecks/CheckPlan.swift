import Units

/// What a check says about its target. Ordered from best to worst.
public enum HealthStatus: String, Sendable, Hashable, CaseIterable, Comparable {
    case passing
    case warning
    case critical

    private var severity: Int {
        switch self {
        case .passing: 0
        case .warning: 1
        case .critical: 2
        }
    }

    public static func < (left: HealthStatus, right: HealthStatus) -> Bool { left.severity < right.severity }

    /// The worst of them; passing when there is none.
    public static func aggregate(_ statuses: some Sequence<HealthStatus>) -> HealthStatus {
        statuses.max() ?? .passing
    }
}

/// How a TLS connection of a probe is made.
public struct ProbeTLS: Sendable, Equatable {
    /// The name to ask for and to verify; nil is the host that is connected to.
    public var serverName: String?
    public var skipVerify: Bool

    public init(serverName: String? = nil, skipVerify: Bool = false) {
        self.serverName = serverName
        self.skipVerify = skipVerify
    }
}

/// Passing on 2xx, warning on 429, critical on everything else (Consul's health check definitions).
public struct HTTPProbe: Sendable, Equatable {
    public struct Header: Sendable, Equatable {
        public var name: String
        public var values: [String]

        public init(name: String, values: [String]) {
            self.name = name
            self.values = values
        }
    }

    /// `http://…` or `https://…`.
    public var url: String
    public var method: String
    public var headers: [Header]
    public var body: String
    public var followsRedirects: Bool
    public var tls: ProbeTLS

    public init(
        url: String, method: String = "GET", headers: [Header] = [], body: String = "", followsRedirects: Bool = true,
        tls: ProbeTLS = ProbeTLS()
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.body = body
        self.followsRedirects = followsRedirects
        self.tls = tls
    }
}

/// Passing when a connection is made (and, with `tls`, its handshake is done).
public struct TCPProbe: Sendable, Equatable {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    public var host: String
    public var port: Int
    public var tls: ProbeTLS?

    public init(host: String, port: Int, tls: ProbeTLS? = nil) {
        self.host = host
        self.port = port
        self.tls = tls
    }

    /// Splits `host:port` or `[v6]:port`; nil when it is neither.
    public init?(_ target: String, tls: ProbeTLS? = nil) {
        guard let colon = target.lastIndex(of: ":") else { return nil }
        var host = String(target[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, let port = UInt16(target[target.index(after: colon)...]), port > 0 else { return nil }
        self.init(host: host, port: Int(port), tls: tls)
    }

    /// `host:port`, IPv6 in brackets.
    public var target: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}

/// One check, ready to run.
public struct CheckPlan: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case http(HTTPProbe)
        case tcp(TCPProbe)
        /// Critical once `remaining` has passed without a report of the application; `lastOutput` is shown with it.
        case ttl(remaining: Nanoseconds, lastOutput: String)
    }

    public var id: String
    public var kind: Kind
    /// Between the end of a probe and the start of the next; without meaning for TTL.
    public var interval: Nanoseconds
    /// For one probe; zero is the default of 10 s.
    public var timeout: Nanoseconds
    /// Bytes of a reply's body that are kept: the last ones.
    public var outputLimit: Int
    public var successBeforePassing: UInt32
    public var failuresBeforeWarning: UInt32
    public var failuresBeforeCritical: UInt32

    public static let defaultTimeout = Nanoseconds.seconds(10)
    public static let defaultOutputLimit = 4096

    public init(
        id: String, kind: Kind, interval: Nanoseconds = .seconds(10), timeout: Nanoseconds = .zero,
        outputLimit: Int = CheckPlan.defaultOutputLimit, successBeforePassing: UInt32 = 0,
        failuresBeforeWarning: UInt32 = 0, failuresBeforeCritical: UInt32 = 0
    ) {
        self.id = id
        self.kind = kind
        self.interval = interval
        self.timeout = timeout > .zero ? timeout : CheckPlan.defaultTimeout
        self.outputLimit = max(0, outputLimit)
        self.successBeforePassing = successBeforePassing
        self.failuresBeforeWarning = failuresBeforeWarning
        self.failuresBeforeCritical = failuresBeforeCritical
    }
}

/// What a runner found. `run` is the number that its owner gave the runner: a report of an earlier one is stale.
public struct CheckReport: Sendable, Equatable {
    public var id: String
    public var run: UInt64
    public var status: HealthStatus
    public var output: String

    public init(id: String, run: UInt64, status: HealthStatus, output: String) {
        self.id = id
        self.run = run
        self.status = status
        self.output = output
    }
}

/// The check types that Consul knows and this version does not run. The one list; a registration of one is refused.
public enum UnsupportedCheckType: String, CaseIterable, Sendable {
    case script
    case docker
    case grpc
    case udp
    case alias
    case h2ping
    case osService = "os_service"

    /// The text of a refusal, after `Invalid check: `.
    public var refusal: String { "type \(self.rawValue) is not supported yet by this version" }
}
