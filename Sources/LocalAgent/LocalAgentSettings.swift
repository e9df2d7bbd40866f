import HealthChecks
import Units

/// What tunes the local agent. Values out of their range are brought into it when a `LocalAgent` is made.
public struct LocalAgentSettings: Sendable {
    public var nodeName: String
    /// UUID, 36 characters.
    public var nodeUUID: String
    public var datacenter: String
    /// What other machines reach this node at; the catalog's node address.
    public var address: String
    public var taggedAddresses: [String: String]
    /// All of the node's metadata in the catalog, the keys that Consul writes itself (`consul-version`,
    /// `consul-network-segment`) included: a catalog that says otherwise is overwritten.
    public var nodeMeta: [String: String]

    /// Between full syncs, plus a random part of the same length (Consul's page on anti-entropy).
    public var syncInterval = Nanoseconds.seconds(60)
    /// After a failed full sync, plus a random part of the same length.
    public var failedSyncInterval = Nanoseconds.seconds(15)
    /// After a failed partial sync: the first wait, doubled up to `retryMaximum`.
    public var retryMinimum = Nanoseconds.milliseconds(250)
    public var retryMaximum = Nanoseconds.seconds(15)
    /// How long one write to the catalog may take.
    public var proposeTimeout = Nanoseconds.seconds(20)
    /// An output that changed while the status did not waits this long, plus up to a half more; zero: not at all.
    public var checkUpdateInterval = Nanoseconds.seconds(300)
    /// Between looks for services that have been critical too long.
    public var reapInterval = Nanoseconds.seconds(30)
    /// Lower `DeregisterCriticalServiceAfter` values are raised to this.
    public var minimumDeregisterAfter = Nanoseconds.seconds(60)
    /// Lower check intervals are raised to this.
    public var minimumCheckInterval = Nanoseconds.seconds(1)
    /// Bytes of a check's output that are kept.
    public var checkOutputLimit = 4096
    /// Checks that run a program, registered over the API: whoever reaches it runs what he likes as this process's user.
    public var allowsScripts = false
    /// The same, from configuration files.
    public var allowsLocalScripts = false
    /// The Docker engine that container checks ask: `unix:///path` or `tcp://host:port`.
    public var dockerEngine = DockerProbe.defaultEngine
    /// The least time between two looks at the catalog for an alias of another node.
    public var aliasPause = Nanoseconds.milliseconds(200)
    /// Ports that sidecars without one get, lowest first.
    public var sidecarPorts: ClosedRange<UInt32> = 21_000...21_255

    public var maximumServices = 4096
    public var maximumChecks = 8192
    /// Registrations and reports that wait for the local state's disk; more are refused.
    public var maximumPendingWrites = 1024
    /// Callers of `waitForChange` at the same time; more are answered after a second without a change.
    public var maximumWaiters = 4096
    /// Commands in one write to the catalog.
    public var maximumSyncBatch = 64
    /// Bytes of one write to the catalog, unless a single command is larger.
    public var maximumSyncBytes = ByteCount.mebibytes(1)

    /// Where the spreading of check starts and syncs comes from.
    public var seed: UInt64
    /// Nanoseconds since 1970: a TTL's end outlives a restart only by the wall clock.
    public var wallClock: @Sendable () -> UInt64

    public init(
        nodeName: String, nodeUUID: String, datacenter: String, address: String,
        taggedAddresses: [String: String] = [:],
        nodeMeta: [String: String] = [:], seed: UInt64, wallClock: @escaping @Sendable () -> UInt64
    ) {
        self.nodeName = nodeName
        self.nodeUUID = nodeUUID
        self.datacenter = datacenter
        self.address = address
        self.taggedAddresses = taggedAddresses
        self.nodeMeta = nodeMeta
        self.seed = seed
        self.wallClock = wallClock
    }

    func inRange() -> LocalAgentSettings {
        var settings = self
        settings.retryMinimum = max(settings.retryMinimum, .milliseconds(1))
        settings.retryMaximum = max(settings.retryMaximum, settings.retryMinimum)
        settings.reapInterval = max(settings.reapInterval, .milliseconds(10))
        settings.syncInterval = max(settings.syncInterval, .milliseconds(10))
        settings.failedSyncInterval = max(settings.failedSyncInterval, .milliseconds(10))
        settings.minimumCheckInterval = max(settings.minimumCheckInterval, .milliseconds(1))
        settings.checkOutputLimit = max(0, min(settings.checkOutputLimit, 65_536))
        settings.maximumSyncBatch = max(1, min(settings.maximumSyncBatch, 256))
        settings.maximumServices = max(1, settings.maximumServices)
        settings.maximumChecks = max(1, settings.maximumChecks)
        settings.maximumPendingWrites = max(1, settings.maximumPendingWrites)
        return settings
    }
}

/// A small generator for spreading work in time (SplitMix64); not for secrets.
struct Spread: Sendable {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, `limit`.
    mutating func below(_ limit: Nanoseconds) -> Nanoseconds {
        limit == .zero ? .zero : Nanoseconds(self.next() % limit.rawValue)
    }
}
