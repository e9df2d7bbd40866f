import Foundation
import Units

extension AgentConfiguration {
    /// What the machine says of itself; handed in so that tests don't depend on theirs.
    public struct Machine: Sendable {
        public var hostName: String
        /// Addresses of the interfaces that are up, without loopback and link-local ones.
        public var addresses: [String]
        public var workingDirectory: String

        public init(hostName: String, addresses: [String], workingDirectory: String) {
            self.hostName = hostName
            self.addresses = addresses
            self.workingDirectory = workingDirectory
        }
    }

    /// The configuration that `agent`'s arguments describe: defaults, under files in the order given (a folder's files
    /// in lexical order), under flags. Maps merge, lists append, anything else is replaced.
    public static func load(
        arguments: [String], machine: Machine = .current
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        let parsed = try AgentFlags.parse(arguments)
        var reader = ConfigurationReader()
        if parsed.development { reader.lay(developmentLayer, source: "-dev") }
        for source in parsed.sources {
            switch source {
            case .file(let path): try reader.read(file: path)
            case .directory(let path): try reader.read(directory: path)
            }
        }
        try reader.check(parsed.values, source: "flags")
        return try make(from: reader, development: parsed.development, machine: machine)
    }

    /// Reads files and folders as `load` does, for `validate`: all that a start would say, without starting.
    public static func validate(
        paths: [String], machine: Machine = .current
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        var reader = ConfigurationReader()
        for path in paths {
            var isDirectory: ObjCBool = false
            let found = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            if found, isDirectory.boolValue { try reader.read(directory: path) } else { try reader.read(file: path) }
        }
        return try make(from: reader, development: false, machine: machine)
    }

    private static let developmentLayer = ConfigurationValue.object([
        "server": .bool(true), "bootstrap_expect": .integer(1), "bind_addr": .text("127.0.0.1"),
        "log_level": .text("DEBUG"), "ports": .object(["grpc": .integer(8502)]),
    ])

    private static func make(
        from reader: ConfigurationReader, development: Bool, machine: Machine
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        var made = AgentConfiguration()
        made.development = development
        made.warnings = reader.warnings
        try made.takeIdentity(reader, machine)
        try made.takeAddresses(reader, machine)
        try made.takeJoin(reader)
        try made.takeTimings(reader)
        try made.takeLimits(reader)
        try made.takeFaces(reader)
        made.serviceDefinitions = reader.documents("service") + reader.documents("services")
        made.checkDefinitions = reader.documents("check") + reader.documents("checks")
        if let complaint = made.complaint { throw complaint }
        made.warnings += made.remarks
        return made
    }

    private mutating func takeIdentity(
        _ reader: ConfigurationReader, _ machine: Machine
    ) throws(AgentConfigurationError) {
        self.server = reader.flag("server") ?? false
        self.bootstrapExpect = try reader.count("bootstrap_expect") ?? 0
        if reader.flag("bootstrap") == true {
            if self.bootstrapExpect > 1 {
                throw .invalid(key: "bootstrap", why: "can't be used together with bootstrap_expect")
            }
            self.bootstrapExpect = 1
        }
        let directory = reader.text("data_dir") ?? ""
        self.dataDirectory =
            directory.isEmpty || directory.hasPrefix("/") ? directory : machine.workingDirectory + "/" + directory
        self.nodeName = reader.text("node_name") ?? machine.hostName
        self.nodeMeta = reader.textMap("node_meta")
        self.datacenter = (reader.text("datacenter") ?? "dc1").lowercased()
        var domain = (reader.text("domain") ?? "consul").lowercased()
        while domain.hasSuffix(".") { domain.removeLast() }
        self.domain = domain
        self.leaveOnTerminate = reader.flag("leave_on_terminate") ?? !self.server
        self.skipLeaveOnInterrupt = reader.flag("skip_leave_on_interrupt") ?? self.server
        self.logJSON = reader.flag("log_json") ?? false
        if let name = reader.text("log_level") {
            let upper = name.uppercased() == "ERR" ? "ERROR" : name.uppercased()
            guard let level = LogLevel(rawValue: upper) else {
                throw .invalid(key: "log_level", why: "must be trace, debug, info, warn or error, not \(name)")
            }
            self.logLevel = level
        }
    }

    private mutating func takeAddresses(
        _ reader: ConfigurationReader, _ machine: Machine
    ) throws(AgentConfigurationError) {
        self.bindAddress = reader.text("bind_addr") ?? "0.0.0.0"
        if let text = reader.text("client_addr") { self.clientAddresses = Self.words(text) }
        self.addresses.http = Self.words(reader.text("addresses.http") ?? "")
        self.addresses.dns = Self.words(reader.text("addresses.dns") ?? "")
        self.addresses.grpc = Self.words(reader.text("addresses.grpc") ?? "")
        self.ports.http = try Self.port(reader, "ports.http", standard: 8500)
        self.ports.dns = try Self.port(reader, "ports.dns", standard: 8600)
        self.ports.grpc = try Self.port(reader, "ports.grpc", standard: nil)
        guard let serverPort = try Self.port(reader, "ports.server", standard: 8300) else {
            throw .invalid(key: "ports.server", why: "can't be turned off")
        }
        self.ports.server = serverPort
        if let advertised = reader.text("advertise_addr") {
            self.advertiseAddress = advertised
        } else if self.bindAddress != "0.0.0.0", self.bindAddress != "::" {
            self.advertiseAddress = self.bindAddress
        } else {
            self.advertiseAddress = try Self.choose(machine.addresses, sixes: self.bindAddress == "::")
        }
    }

    /// The one address that others may reach this machine at; several are for a person to choose from.
    private static func choose(_ all: [String], sixes: Bool) throws(AgentConfigurationError) -> String {
        let candidates = all.filter { $0.contains(":") == sixes }
        switch candidates.count {
        case 0:
            throw .invalid(key: "advertise_addr", why: "this machine has no address to advertise; set it, or bind_addr")
        case 1:
            return candidates[0]
        default:
            throw .invalid(
                key: "advertise_addr",
                why: "this machine has several addresses (\(candidates.joined(separator: ", "))); "
                    + "choose one with advertise_addr or bind_addr")
        }
    }

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }

    private static func port(
        _ reader: ConfigurationReader, _ key: String, standard: Int?
    ) throws(AgentConfigurationError) -> Int? {
        guard let value = try reader.count(key) else { return standard }
        if value == -1 { return nil }
        guard (1...65_535).contains(value) else {
            throw .invalid(key: key, why: "must be a port from 1 to 65535, or -1 to turn it off, not \(value)")
        }
        return value
    }

    private mutating func takeJoin(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        self.retryJoin = reader.texts("retry_join") + reader.texts("start_join")
        self.retryInterval = try reader.duration("retry_interval") ?? self.retryInterval
        self.retryMax = try reader.count("retry_max") ?? 0
        self.joinToken = reader.text("join_token")
        self.joinTokenFile = reader.text("join_token_file")
    }

    private mutating func takeTimings(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        if let multiplier = try reader.count("performance.raft_multiplier") {
            guard (1...10).contains(multiplier) else {
                throw .invalid(key: "performance.raft_multiplier", why: "must be from 1 to 10, not \(multiplier)")
            }
            let factor = UInt64(multiplier)
            self.raft.heartbeatInterval = .milliseconds(100 * factor)
            self.raft.electionTimeoutMin = .milliseconds(1000 * factor)
            self.raft.electionTimeoutMax = .milliseconds(2000 * factor)
        }
        try reader.take("raft.heartbeat_interval", into: &self.raft.heartbeatInterval)
        try reader.take("raft.election_timeout_min", into: &self.raft.electionTimeoutMin)
        try reader.take("raft.election_timeout_max", into: &self.raft.electionTimeoutMax)
        try reader.take("raft_snapshot_threshold", into: &self.raft.snapshotThreshold)
        try reader.take("raft_trailing_logs", into: &self.raft.trailingLogs)
        try reader.take("raft.snapshot_threshold", into: &self.raft.snapshotThreshold)
        try reader.take("raft.trailing_logs", into: &self.raft.trailingLogs)
        if let loops = try reader.count("performance.event_loops") {
            guard (1...1024).contains(loops) else {
                throw .invalid(key: "performance.event_loops", why: "must be from 1 to 1024, not \(loops)")
            }
            self.performance.eventLoops = loops
        }
        try reader.take("performance.leave_drain_time", into: &self.performance.leaveDrainTime)
        try reader.take("performance.rpc_hold_timeout", into: &self.performance.rpcHoldTimeout)
        try reader.take("session_ttl_min", into: &self.sessionTTLMin)
        try reader.take("default_query_time", into: &self.defaultQueryTime)
        try reader.take("max_query_time", into: &self.maxQueryTime)
    }

    private mutating func takeLimits(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        try reader.take("limits.http_max_conns_per_client", into: &self.limits.httpMaxConnectionsPerClient)
        try reader.take("limits.rpc_max_conns_per_client", into: &self.limits.rpcMaxConnectionsPerClient)
        try reader.take("limits.rpc_handshake_timeout", into: &self.limits.rpcHandshakeTimeout)
        try reader.take("limits.rpc_client_timeout", into: &self.limits.rpcClientTimeout)
        try reader.take("limits.kv_max_value_size", into: &self.limits.kvMaxValueSize)
        try reader.take("limits.txn_max_req_len", into: &self.limits.txnMaxRequestLength)
        try reader.take("check_update_interval", into: &self.checks.updateInterval)
        try reader.take("check_output_max_size", into: &self.checks.outputMaxSize)
        self.checks.discardOutput = reader.flag("discard_check_output") ?? false
        self.checks.enableScripts = reader.flag("enable_script_checks") ?? false
        self.checks.enableLocalScripts = reader.flag("enable_local_script_checks") ?? self.checks.enableScripts
    }

    private mutating func takeFaces(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        self.dns.allowStale = reader.flag("dns_config.allow_stale") ?? true
        try reader.take("dns_config.max_stale", into: &self.dns.maxStale)
        try reader.take("dns_config.node_ttl", into: &self.dns.nodeTTL)
        for (name, text) in reader.textMap("dns_config.service_ttl") {
            guard let ttl = GoDuration.parse(text) else {
                throw .invalid(key: "dns_config.service_ttl.\(name)", why: GoDuration.complaint(text))
            }
            self.dns.serviceTTL[name] = ttl
        }
        self.dns.enableTruncate = reader.flag("dns_config.enable_truncate") ?? false
        self.dns.onlyPassing = reader.flag("dns_config.only_passing") ?? false
        try reader.take("dns_config.udp_answer_limit", into: &self.dns.udpAnswerLimit)
        try reader.take("dns_config.a_record_limit", into: &self.dns.aRecordLimit)
        self.dns.nodeMetaTXT = reader.flag("dns_config.enable_additional_node_meta_txt") ?? true
        self.dns.disableCompression = reader.flag("dns_config.disable_compression") ?? false
        try reader.take("dns_config.soa.refresh", into: &self.dns.soa.refresh)
        try reader.take("dns_config.soa.retry", into: &self.dns.soa.retry)
        try reader.take("dns_config.soa.expire", into: &self.dns.soa.expire)
        try reader.take("dns_config.soa.min_ttl", into: &self.dns.soa.minTTL)
        self.http.responseHeaders = reader.textMap("http_config.response_headers")
        self.http.blockEndpoints = reader.texts("http_config.block_endpoints")
        self.http.allowWriteFrom = reader.texts("http_config.allow_write_http_from")
    }
}
