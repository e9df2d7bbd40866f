import Protocol
import Units

/// What went wrong in the local agent; the HTTP API maps it to status and text.
public enum LocalAgentError: Error, Sendable, Equatable {
    /// 400 with this text.
    case invalid(String)
    /// 404 `Unknown service ID "x". Ensure that the service ID is passed, not the service name.`
    case unknownService(String)
    /// 404 `Unknown check ID "x". Ensure that the check ID is passed, not the check name.`
    case unknownCheck(String)
    /// 500 `CheckID "x" does not have associated TTL`
    case notTTL(String)
    /// 404 `ServiceID "x" does not exist`: a check was registered for it.
    case serviceOfCheckMissing(String)
    /// 500 `agent: No node found with name 'x'`
    case unknownMember(String)
    /// A bound was reached (registrations, pending updates): 429.
    case overloaded(String)
    /// 500 with this text.
    case failed(String)
}

/// One state of this machine's own registrations.
public struct LocalState: Sendable {
    /// Rises with every change of services or checks; 0 before the first.
    public var generation: UInt64
    /// Ordered by id, bytewise; only this agent's, in its catalog form (defaults filled in).
    public var services: [LogService]
    /// Ordered by id, bytewise. `status` and `output` are the present ones.
    public var checks: [LogCheck]

    public init(generation: UInt64, services: [LogService], checks: [LogCheck]) {
        self.generation = generation
        self.services = services
        self.checks = checks
    }
}

/// A node as `/v1/agent/members` shows it.
public struct Member: Sendable, Equatable {
    public enum Status: UInt8, Sendable { case none = 0, alive = 1, leaving = 2, left = 3, failed = 4 }
    public var name: String
    public var address: String
    public var port: Int
    /// In the order they are to be shown.
    public var tags: [(name: String, value: String)]
    public var status: Status

    public init(name: String, address: String, port: Int, tags: [(name: String, value: String)], status: Status) {
        self.name = name
        self.address = address
        self.port = port
        self.tags = tags
        self.status = status
    }

    public static func == (left: Member, right: Member) -> Bool {
        left.name == right.name && left.address == right.address && left.port == right.port
            && left.status == right.status
            && left.tags.elementsEqual(right.tags) { $0.name == $1.name && $0.value == $1.value }
    }
}

/// What `/v1/agent/self` says beyond the node's identity.
public struct AgentDescription: Sendable {
    /// Looks like a Consul release (`1.22.1`): Nomad and others compare it.
    public var version: String
    public var revision: String
    /// RFC 3339.
    public var buildDate: String
    /// Nil: no limit of its own; else shown as `Config.SessionTTLMin`.
    public var sessionTTLMinimum: Nanoseconds?
    public var grpcPort: Int
    public var grpcTLSPort: Int
    public var connectEnabled: Bool
    /// Section → name → value, all shown as text under `Stats`, in this order.
    public var stats: [(section: String, values: [(name: String, value: String)])]
    public var nodeMeta: [String: String]

    public init(
        version: String, revision: String, buildDate: String, sessionTTLMinimum: Nanoseconds? = nil, grpcPort: Int = -1,
        grpcTLSPort: Int = -1, connectEnabled: Bool = false,
        stats: [(section: String, values: [(name: String, value: String)])] = [], nodeMeta: [String: String] = [:]
    ) {
        self.version = version
        self.revision = revision
        self.buildDate = buildDate
        self.sessionTTLMinimum = sessionTTLMinimum
        self.grpcPort = grpcPort
        self.grpcTLSPort = grpcTLSPort
        self.connectEnabled = connectEnabled
        self.stats = stats
        self.nodeMeta = nodeMeta
    }
}

/// One number of `/v1/agent/metrics`.
public struct Metric: Sendable, Equatable {
    public enum Kind: Sendable { case gauge, counter }
    public var kind: Kind
    public var name: String
    public var value: Double

    public init(kind: Kind, name: String, value: Double) {
        self.kind = kind
        self.name = name
        self.value = value
    }
}

/// What the HTTP API's `/v1/agent/*` routes ask of this machine's agent. None of it is forwarded; all of it is answered
/// without a leader. Writes return once they are durable in the agent's local state; the catalog follows by itself.
public protocol LocalAgentAccess: Sendable {
    func state() async -> LocalState
    /// Returns once the generation differs from `generation`, or the time is over; at once when it does already.
    /// Cancelling the task ends it.
    func waitForChange(after generation: UInt64, timeout: Nanoseconds) async

    /// The definition has passed `validate()`. `replaceExistingChecks`: checks of the service that are not in the
    /// definition are removed.
    func registerService(_ definition: ServiceDefinition, replaceExistingChecks: Bool) async throws(LocalAgentError)
    /// Also removes its checks and its sidecar.
    func deregisterService(_ id: String) async throws(LocalAgentError)
    /// The definition has passed `validate()` and has a name.
    func registerCheck(_ definition: CheckDefinition) async throws(LocalAgentError)
    func deregisterCheck(_ id: String) async throws(LocalAgentError)
    /// What a TTL check's owner reports; `status` is `passing`, `warning` or `critical`. Restarts the TTL.
    func updateCheck(_ id: String, status: String, output: String) async throws(LocalAgentError)

    /// Check `_service_maintenance:<id>`; `reason` "" means the default text.
    func setServiceMaintenance(_ id: String, enabled: Bool, reason: String) async throws(LocalAgentError)
    /// Check `_node_maintenance`.
    func setNodeMaintenance(enabled: Bool, reason: String) async throws(LocalAgentError)

    /// `wide`: members of the wide-area pool (`?wan`): this datacenter's servers.
    func members(wide: Bool) async -> [Member]
    func description() async -> AgentDescription
    func metrics() async -> [Metric]

    func join(_ address: String) async throws(LocalAgentError)
    /// Starts a graceful leave; returns once it is under way.
    func leave() async throws(LocalAgentError)
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError)
    func reload() async throws(LocalAgentError)
}
