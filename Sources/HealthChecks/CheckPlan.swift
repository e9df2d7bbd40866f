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

/// One check, ready to run.
public struct CheckPlan: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case http(HTTPProbe)
        case tcp(TCPProbe)
        case udp(UDPProbe)
        case grpc(GRPCProbe)
        case h2ping(H2PingProbe)
        case script(ScriptProbe)
        case osService(OSServiceProbe)
        case docker(DockerProbe)
        /// Critical once `remaining` has passed without a report of the application; `lastOutput` is shown with it.
        case ttl(remaining: Nanoseconds, lastOutput: String)

        /// How long one probe may take when its definition does not say.
        public var defaultTimeout: Nanoseconds {
            switch self {
            case .http, .tcp, .udp, .grpc, .h2ping, .ttl: .seconds(10)
            case .script, .osService, .docker: .seconds(30)
            }
        }
    }

    public var id: String
    public var kind: Kind
    /// Between the end of a probe and the start of the next; without meaning for TTL.
    public var interval: Nanoseconds
    /// For one probe.
    public var timeout: Nanoseconds
    /// Bytes of a reply's body or of a program's output that are kept: the last ones.
    public var outputLimit: Int
    public var successBeforePassing: UInt32
    public var failuresBeforeWarning: UInt32
    public var failuresBeforeCritical: UInt32

    public static let defaultOutputLimit = 4096

    /// - Parameter timeout: zero is the kind's default.
    public init(
        id: String, kind: Kind, interval: Nanoseconds = .seconds(10), timeout: Nanoseconds = .zero,
        outputLimit: Int = CheckPlan.defaultOutputLimit, successBeforePassing: UInt32 = 0,
        failuresBeforeWarning: UInt32 = 0, failuresBeforeCritical: UInt32 = 0
    ) {
        self.id = id
        self.kind = kind
        self.interval = interval
        self.timeout = timeout > .zero ? timeout : kind.defaultTimeout
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
