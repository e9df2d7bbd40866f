import Foundation
import HTTPAPI
import LocalAgent
import NIOCore
import Units

/// Everything an agent is told before it starts: from flags, files and defaults, checked as a whole. Made by
/// `AgentConfiguration.load`; a value that exists has passed `complaint`.
///
/// Keys and flags are Consul's where they mean the same; the few of our own are `join_token`, `join_token_file` and
/// `raft`.
public struct AgentConfiguration: Sendable, Equatable {
    /// A server takes part in consensus; otherwise this is a client agent.
    public var server = false
    /// `-dev`: one open server on loopback whose state ends with the process.
    public var development = false
    /// How many servers found the cluster together; 0 on a server that joins one, and on agents.
    public var bootstrapExpect = 0
    /// Absolute. Empty only with `development`, where the agent makes a temporary directory.
    public var dataDirectory = ""
    public var nodeName = ""
    public var nodeMeta: [String: String] = [:]
    public var datacenter = "dc1"
    /// Where DNS names live, without the trailing dot.
    public var domain = "consul"
    /// A second such domain; "" when there is none.
    public var alternativeDomain = ""

    /// IP address the server RPC listens on.
    public var bindAddress = "0.0.0.0"
    /// IP addresses that HTTP, DNS and gRPC listen on unless `addresses` says otherwise.
    public var clientAddresses = ["127.0.0.1"]
    public var addresses = Addresses()
    /// What others are told to reach this node at: an IP address, never `0.0.0.0` or `::`.
    public var advertiseAddress = ""
    public var ports = Ports()

    /// Servers to look for, as written: `host`, `host:port`, `[v6]:port`.
    public var retryJoin: [String] = []
    public var joinToken: String?
    /// Read at start; its content is never logged.
    public var joinTokenFile: String?

    public var logLevel: LogLevel = .info
    public var logJSON = false
    /// On SIGTERM: leave the cluster rather than only stop. Default: agents do, servers don't.
    public var leaveOnTerminate = true
    /// On SIGINT: only stop. Default: servers do, agents leave.
    public var skipLeaveOnInterrupt = false

    public var raft = RaftTuning()
    public var performance = Performance()
    public var limits = Limits()
    public var dns = DNSSettings()
    public var http = HTTPSettings()
    /// There when `ports.https` is.
    public var https: TLSListenerSettings?
    public var unixSockets = UnixSocketPermissions()
    public var checks = CheckSettings()

    /// The least TTL a session may ask for.
    public var sessionTTLMin: Nanoseconds = .seconds(10)
    public var defaultQueryTime: Nanoseconds = .seconds(300)
    public var maxQueryTime: Nanoseconds = .seconds(600)

    /// `service` and `services` of all files in the order read; each has passed `validate()`, no id twice.
    public var serviceDefinitions: [ServiceDefinition] = []
    /// `check` and `checks`, likewise.
    public var checkDefinitions: [CheckDefinition] = []
    public var watches: [WatchDefinition] = []

    /// What was accepted but has no effect here, to be logged at start: `FILE:3:1: gossip_lan has no effect: …`.
    public var warnings: [String] = []
    /// The keys as they were written, files and flags together.
    var written: ConfigurationValue = .object([:])

    public init() {}

    public enum LogLevel: String, Sendable, CaseIterable {
        case trace = "TRACE"
        case debug = "DEBUG"
        case info = "INFO"
        case warn = "WARN"
        case error = "ERROR"
    }

    /// Nil: nothing listens there (`-1`).
    public struct Ports: Sendable, Equatable {
        public var http: Int? = 8500
        public var https: Int?
        public var dns: Int? = 8600
        public var grpc: Int?
        public var server = 8300
        public init() {}
    }

    /// Listen addresses of one face; empty: `clientAddresses`.
    public struct Addresses: Sendable, Equatable {
        public var http: [String] = []
        public var https: [String] = []
        public var dns: [String] = []
        public var grpc: [String] = []
        public init() {}
    }

    /// Timings of consensus, all ours. `performance.raft_multiplier` stretches those that `raft` doesn't name.
    public struct RaftTuning: Sendable, Equatable {
        public var heartbeatInterval: Nanoseconds = .milliseconds(100)
        public var electionTimeoutMin: Nanoseconds = .milliseconds(1000)
        public var electionTimeoutMax: Nanoseconds = .milliseconds(2000)
        /// A snapshot is taken once this many entries were applied since the last.
        public var snapshotThreshold = 65_536
        /// Entries kept behind a snapshot, for followers that lag a little.
        public var trailingLogs = 10_240
        public init() {}
    }

    public struct Performance: Sendable, Equatable {
        /// How long a leaving agent stays up for requests under way.
        public var leaveDrainTime: Nanoseconds = .seconds(5)
        /// Threads that serve connections. One processor is left to the replica and the log: a thread more than that
        /// wakes for less at a time, which makes each write dearer (`docs/benchmarks.md`).
        public var eventLoops = max(1, System.coreCount - 1)
        public init() {}
    }

    public struct Limits: Sendable, Equatable {
        public var rpcHandshakeTimeout: Nanoseconds = .seconds(5)
        public var kvMaxValueSize: ByteCount = .kibibytes(512)
        public var txnMaxRequestLength: ByteCount = .kibibytes(512)
        public init() {}
    }

    public struct DNSSettings: Sendable, Equatable {
        public var allowStale = true
        public var maxStale: Nanoseconds = .seconds(87_600 * 3600)
        public var enableTruncate = false
        public var disableCompression = false
        /// `address` or `address:port`.
        public var recursors: [String] = []
        public var recursorTimeout: Nanoseconds = .seconds(2)
        /// `sequential` or `random`.
        public var recursorStrategy = "sequential"
        public var nodeTTL: Nanoseconds = .zero
        /// By service name; `*` and `prefix*` match many, the longest wins.
        public var serviceTTL: [String: Nanoseconds] = [:]
        public var onlyPassing = false
        public var udpAnswerLimit = 3
        /// 0: no limit.
        public var aRecordLimit = 0
        public var nodeMetaTXT = true
        public var soa = SOA()
        public struct SOA: Sendable, Equatable {
            /// Seconds.
            public var refresh = 3600
            public var retry = 600
            public var expire = 86_400
            public var minTTL = 0
            public init() {}
        }
        public init() {}
    }

    public struct HTTPSettings: Sendable, Equatable {
        /// Path prefixes that answer 403.
        public var blockEndpoints: [String] = []
        /// Paths with characters that can't be printed are taken.
        public var allowsUnprintablePaths = false
        public init() {}
    }

    public struct CheckSettings: Sendable, Equatable {
        /// Checks of type script that the HTTP API registers.
        public var enableScripts = false
        /// Checks of type script in configuration files.
        public var enableLocalScripts = false
        /// Output that changes alone is synced no more often than this.
        public var updateInterval: Nanoseconds = .seconds(300)
        public var outputMaxSize: ByteCount = ByteCount(4096)
        public init() {}
    }
}

extension AgentConfiguration {
    public var httpAddresses: [String] { self.addresses.http.isEmpty ? self.clientAddresses : self.addresses.http }
    public var httpsAddresses: [String] { self.addresses.https.isEmpty ? self.clientAddresses : self.addresses.https }
    public var dnsAddresses: [String] { self.addresses.dns.isEmpty ? self.clientAddresses : self.addresses.dns }
    public var grpcAddresses: [String] { self.addresses.grpc.isEmpty ? self.clientAddresses : self.addresses.grpc }

    /// The key that seals secrets in log and snapshots; mode 0600, made by the agent on its first start.
    public var clusterKeyFile: String { self.dataDirectory + "/cluster.key" }

    /// `retryJoin` as host and port; a missing port is the server port.
    public var joinAddresses: [(host: String, port: Int)] {
        self.retryJoin.compactMap { HostAndPort.parse($0, defaultPort: self.ports.server) }
    }
}
