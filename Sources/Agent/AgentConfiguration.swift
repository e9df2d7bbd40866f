import Foundation
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
    public var retryInterval: Nanoseconds = .seconds(30)
    /// 0: for ever.
    public var retryMax = 0
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
    public var checks = CheckSettings()

    /// The least TTL a session may ask for.
    public var sessionTTLMin: Nanoseconds = .seconds(10)
    public var defaultQueryTime: Nanoseconds = .seconds(300)
    public var maxQueryTime: Nanoseconds = .seconds(600)

    /// `service` and `services` of all files in the order read: each one JSON object in Consul's form.
    public var serviceDefinitions: [ConfigurationValue] = []
    /// `check` and `checks`, likewise.
    public var checkDefinitions: [ConfigurationValue] = []

    /// What was accepted but has no effect here, to be logged at start: `gossip_lan: …`.
    public var warnings: [String] = []

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
        public var dns: Int? = 8600
        public var grpc: Int?
        public var server = 8300
        public init() {}
    }

    /// Listen addresses of one face; empty: `clientAddresses`.
    public struct Addresses: Sendable, Equatable {
        public var http: [String] = []
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
        /// How long a request waits for a leader.
        public var rpcHoldTimeout: Nanoseconds = .seconds(7)
        /// Threads that serve connections. One processor is left to the replica and the log: a thread more than that
        /// wakes for less at a time, which makes each write dearer (`docs/benchmarks.md`).
        public var eventLoops = max(1, System.coreCount - 1)
        public init() {}
    }

    public struct Limits: Sendable, Equatable {
        public var httpMaxConnectionsPerClient = 200
        public var rpcMaxConnectionsPerClient = 100
        public var rpcHandshakeTimeout: Nanoseconds = .seconds(5)
        public var rpcClientTimeout: Nanoseconds = .seconds(60)
        public var kvMaxValueSize: ByteCount = .kibibytes(512)
        public var txnMaxRequestLength: ByteCount = .kibibytes(512)
        public init() {}
    }

    public struct DNSSettings: Sendable, Equatable {
        public var allowStale = true
        public var maxStale: Nanoseconds = .seconds(87_600 * 3600)
        public var nodeTTL: Nanoseconds = .zero
        /// By service name; `*` and `prefix*` match many, the longest wins.
        public var serviceTTL: [String: Nanoseconds] = [:]
        public var enableTruncate = false
        public var onlyPassing = false
        public var udpAnswerLimit = 3
        /// 0: no limit.
        public var aRecordLimit = 0
        public var nodeMetaTXT = true
        public var disableCompression = false
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
        public var responseHeaders: [String: String] = [:]
        /// Path prefixes that answer 403.
        public var blockEndpoints: [String] = []
        /// CIDRs that may write; empty: all.
        public var allowWriteFrom: [String] = []
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
        public var discardOutput = false
        public init() {}
    }
}

extension AgentConfiguration {
    public var httpAddresses: [String] { self.addresses.http.isEmpty ? self.clientAddresses : self.addresses.http }
    public var dnsAddresses: [String] { self.addresses.dns.isEmpty ? self.clientAddresses : self.addresses.dns }
    public var grpcAddresses: [String] { self.addresses.grpc.isEmpty ? self.clientAddresses : self.addresses.grpc }

    /// The key that seals secrets in log and snapshots; mode 0600, made by the agent on its first start.
    public var clusterKeyFile: String { self.dataDirectory + "/cluster.key" }

    /// `retryJoin` as host and port; a missing port is the server port.
    public var joinAddresses: [(host: String, port: Int)] {
        self.retryJoin.compactMap { HostAndPort.parse($0, defaultPort: self.ports.server) }
    }
}

/// What is wrong with a configuration; `description` is the whole text for a person.
public enum AgentConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No such key; the nearest one that exists, if any is near.
    case unknownKey(key: String, nearest: String?, source: String)
    /// Consul has this key, we don't, and going on without would mislead.
    case lacking(key: String, why: String, source: String)
    case wrongKind(key: String, expected: String, found: String, source: String)
    case invalid(key: String, why: String)
    case unreadable(path: String, why: String)
    case malformed(path: String, why: String)
    case unknownFlag(flag: String, nearest: String?)
    case badFlag(flag: String, why: String)

    /// What JSON parsing found.
    public struct JSONError: Error, Sendable, Equatable {
        public var text: String
    }

    public var description: String {
        switch self {
        case .unknownKey(let key, let nearest, let source):
            "\(source): invalid config key \(key)" + (nearest.map { " (did you mean \($0)?)" } ?? "")
        case .lacking(let key, let why, let source):
            "\(source): \(key) is Consul's, but not in Serai: \(why)"
        case .wrongKind(let key, let expected, let found, let source):
            "\(source): \(key) must be \(expected), not \(found)"
        case .invalid(let key, let why):
            "\(key): \(why)"
        case .unreadable(let path, let why):
            "\(path): can't be read: \(why)"
        case .malformed(let path, let why):
            "\(path): not valid JSON: \(why)"
        case .unknownFlag(let flag, let nearest):
            "flag provided but not defined: -\(flag)" + (nearest.map { " (did you mean -\($0)?)" } ?? "")
        case .badFlag(let flag, let why):
            "-\(flag): \(why)"
        }
    }
}
