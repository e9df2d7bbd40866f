import Units

/// What `PUT /v1/agent/service/register` or a configuration file says about a service (Consul's API page Agent/Service).
/// The HTTP API and the configuration decode it; `validate()` holds what both must refuse.
public struct ServiceDefinition: Sendable, Equatable {
    /// "" means: same as `name`. See `effectiveID`.
    public var id = ""
    public var name = ""
    public var kind = ""
    public var tags: [String] = []
    public var port: UInt32 = 0
    /// "" means: the node's address.
    public var address = ""
    public var socketPath = ""
    public var taggedAddresses: [String: TaggedAddress] = [:]
    public var meta: [String: String] = [:]
    public var enableTagOverride = false
    public var weightPassing: UInt32 = 1
    public var weightWarning: UInt32 = 1
    /// The inline `Check` and `Checks`, in the order written. Their ids and names are filled in by whoever registers:
    /// `service:<id>`, or `service:<id>:<n>` from 1 when there are several.
    public var checks: [CheckDefinition] = []
    /// Used for this service's synchronisation instead of the agent's own token; "" when absent.
    public var token = ""
    /// The `Proxy` block as canonical JSON; empty when absent.
    public var proxyJSON: [UInt8] = []
    /// The `Connect` block without `SidecarService`, as canonical JSON; empty when absent.
    public var connectJSON: [UInt8] = []
    /// `Connect.SidecarService`, decoded, as written: defaults not yet filled in. At most one.
    public var sidecar: [ServiceDefinition] = []

    public struct TaggedAddress: Sendable, Equatable {
        public var address: String
        public var port: UInt32
        public init(address: String, port: UInt32) {
            self.address = address
            self.port = port
        }
    }

    public init() {}

    public var effectiveID: String { self.id.isEmpty ? self.name : self.id }
}

/// What `PUT /v1/agent/check/register`, a service's inline check or a configuration file says about a check
/// (Consul's health check definitions). Times of zero mean "not given".
public struct CheckDefinition: Sendable, Equatable {
    /// "" means: same as `name` (or the service's automatic id for inline checks).
    public var id = ""
    public var name = ""
    public var notes = ""
    /// "" for a check of the node.
    public var serviceID = ""
    /// `passing`, `warning`, `critical`, or "" for the default, critical.
    public var status = ""
    public var token = ""

    public var ttl = Nanoseconds.zero
    /// Command and arguments of a script check (`Args`, alias `ScriptArgs`).
    public var args: [String] = []
    public var dockerContainerID = ""
    public var shell = ""
    public var http = ""
    public var method = ""
    public var header: [Header] = []
    public var body = ""
    public var disableRedirects = false
    public var tcp = ""
    public var tcpUseTLS = false
    public var udp = ""
    public var grpc = ""
    public var grpcUseTLS = false
    public var h2ping = ""
    /// True unless the definition says otherwise.
    public var h2pingUseTLS = true
    public var aliasNode = ""
    public var aliasService = ""
    public var osService = ""
    public var tlsServerName = ""
    public var tlsSkipVerify = false

    public var interval = Nanoseconds.zero
    public var timeout = Nanoseconds.zero
    public var deregisterCriticalServiceAfter = Nanoseconds.zero
    public var successBeforePassing: UInt32 = 0
    public var failuresBeforeWarning: UInt32 = 0
    public var failuresBeforeCritical: UInt32 = 0
    /// Bytes of output kept; 0 means the agent's limit (4096).
    public var outputMaxSize: Int32 = 0

    public struct Header: Sendable, Equatable {
        public var name: String
        public var values: [String]
        public init(name: String, values: [String]) {
            self.name = name
            self.values = values
        }
    }

    public init() {}

    public var effectiveID: String { self.id.isEmpty ? self.name : self.id }

    /// What the catalog shows as the check's `Type`; "" when no kind was given.
    public var type: String {
        if Maintenance.isMaintenance(checkID: self.id) { return "maintenance" }
        return self.types.first ?? ""
    }

    /// Every kind that the definition gives; one that can run gives one.
    var types: [String] {
        let given: [(String, Bool)] = [
            ("grpc", !self.grpc.isEmpty), ("http", !self.http.isEmpty), ("ttl", self.ttl > .zero),
            ("tcp", !self.tcp.isEmpty), ("udp", !self.udp.isEmpty), ("alias", self.isAlias),
            ("docker", self.isScript && !self.dockerContainerID.isEmpty),
            ("script", self.isScript && self.dockerContainerID.isEmpty), ("h2ping", !self.h2ping.isEmpty),
            ("os_service", !self.osService.isEmpty),
        ]
        return given.filter(\.1).map(\.0)
    }

    /// Runs a program, here or in a container.
    public var isScript: Bool { !self.args.isEmpty }
    public var isAlias: Bool { !self.aliasNode.isEmpty || !self.aliasService.isEmpty }
    public var isTTL: Bool { self.type == "ttl" }
}

extension CheckDefinition {
    /// Nil when the check can run; else why not, in the words that follow `Invalid check: `.
    public func validate() -> String? {
        let polled =
            !self.args.isEmpty || !self.http.isEmpty || !self.tcp.isEmpty || !self.udp.isEmpty
            || !self.grpc.isEmpty || !self.h2ping.isEmpty || !self.osService.isEmpty
        if self.interval > .zero && self.ttl > .zero {
            return "Interval and TTL cannot both be specified"
        }
        if polled && self.interval == .zero {
            return "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        }
        if polled && self.isAlias { return "Interval cannot be set for Alias checks" }
        if self.isAlias && self.ttl > .zero { return "TTL must be not be set for Alias checks" }
        if !polled && !self.isAlias && self.ttl == .zero { return "TTL must be > 0 for TTL checks" }
        if self.outputMaxSize < 0 { return "MaxOutputMaxSize must be positive" }
        if self.failuresBeforeWarning > self.failuresBeforeCritical {
            return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        }
        return nil
    }

    /// Whether `status` is one that a check may have, or "".
    public var hasValidStatus: Bool { ["", "passing", "warning", "critical"].contains(self.status) }
}

extension ServiceDefinition {
    /// Nil when the service may be registered; else the error's text for status 400.
    public func validate() -> String? {
        if self.name.isEmpty { return "Missing service name" }
        if ["0.0.0.0", "::", "[::]"].contains(self.address) { return "Invalid service address" }
        if self.weightPassing < 1 || self.weightPassing > 65535 || self.weightWarning > 65535 {
            return self.invalidWeights
        }
        if let problem = self.invalidMeta { return "Invalid Service Meta: \(problem)" }
        if self.port > 65535 { return "Validation failed: Port must be between 0 and 65535" }
        if !self.socketPath.isEmpty && self.port > 0 {
            return "Validation failed: SocketPath and Port can't both be set"
        }
        for check in self.checks {
            if let problem = check.validate() { return "Invalid check: \(problem)" }
            if !check.hasValidStatus { return "Status for checks must 'passing', 'warning', 'critical'" }
        }
        if let problem = self.invalidMesh { return problem }
        if let sidecar = self.sidecar.first {
            for check in sidecar.checks {
                if let problem = check.validate() { return "Invalid SidecarService: \(problem)" }
            }
        }
        return nil
    }

    private var invalidWeights: String {
        if self.weightPassing < 1 { return "Invalid Weights: Passing must be greater than 0" }
        return "Invalid Weights: DNS Weight must be between 0 and 65535"
    }

    /// Limits of Consul's metadata: 64 pairs, keys of 128 characters of `[A-Za-z0-9_-]`, values of 512 bytes.
    private var invalidMeta: String? {
        if self.meta.count > 64 { return "Node metadata cannot contain more than 64 key/value pairs" }
        // Sorted, so that the same definition always gets the same text.
        for (key, value) in self.meta.sorted(by: { ByteKey($0.key) < ByteKey($1.key) }) {
            if key.isEmpty { return "Couldn't load metadata pair ('', '\(value)'): Key cannot be blank" }
            let allowed = key.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
            let pair = "Couldn't load metadata pair ('\(key)', '\(value)'): "
            if !allowed { return pair + "Key contains invalid characters" }
            if key.utf8.count > 128 { return pair + "Key is too long (limit: 128 characters)" }
            if key.hasPrefix("consul-") && self.kind.isEmpty {
                return pair + "Key prefix 'consul-' is reserved for internal use"
            }
            if value.utf8.count > 512 { return pair + "Value is too long (limit: 512 characters)" }
        }
        return nil
    }
}
