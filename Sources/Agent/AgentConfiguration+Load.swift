import HCL
import Units

extension AgentConfiguration {
    /// The configuration that `agent`'s arguments describe: defaults, under files in the order given (a folder's files
    /// in lexical order), under flags. Maps merge, lists append, anything else is replaced.
    public static func load(
        arguments: [String], machine: Machine = .current
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        let parsed = try AgentFlags.parse(arguments)
        var reader = ConfigurationReader()
        if parsed.development { reader.lay(self.developmentLayer) }
        for source in parsed.sources {
            switch source {
            case .file(let path): try reader.read(path: path, format: parsed.format)
            case .directory(let path): try reader.read(directory: path, format: parsed.format)
            case .fragment(let text): try reader.read(Array(text.utf8), syntax: .hcl, name: "-hcl")
            }
        }
        try reader.lay(parsed.values.placed, .flags)
        return try self.make(from: reader, development: parsed.development, machine: machine)
    }

    /// Reads files and folders as `load` does, for `validate`: all that a start would say, without starting.
    /// - Parameter format: nil goes by each file's name.
    public static func validate(
        paths: [String], format: Format? = nil, machine: Machine = .current
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        var reader = ConfigurationReader()
        for path in paths { try reader.read(path: path, format: format?.syntax) }
        return try self.make(from: reader, development: false, machine: machine)
    }

    /// What `-config-format` may say.
    public enum Format: String, Sendable, CaseIterable {
        case hcl
        case json
        var syntax: HCLDocument.Syntax { self == .hcl ? .hcl : .json }
    }

    private static let developmentLayer = ConfigurationValue.object([
        "server": .bool(true), "bootstrap_expect": .integer(1), "bind_addr": .text("127.0.0.1"),
        "log_level": .text("DEBUG"), "ports": .object(["grpc": .integer(8502)]),
    ])

    private static func make(
        from reader: ConfigurationReader, development: Bool, machine: Machine
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        do throws(AgentConfigurationError) {
            return try self.made(from: reader, development: development, machine: machine)
        } catch .invalid(let key, let why, nil) {
            // Where the key was last written; nowhere for defaults and flags.
            throw .invalid(key: key, why: why, place: reader.origins[key])
        }
    }

    private static func made(
        from reader: ConfigurationReader, development: Bool, machine: Machine
    ) throws(AgentConfigurationError) -> AgentConfiguration {
        var made = AgentConfiguration()
        made.development = development
        made.warnings = reader.warnings
        made.written = reader.tree
        try made.takeIdentity(reader, machine)
        try made.takeAddresses(reader, machine)
        try made.takeJoin(reader, machine)
        try made.takeTimings(reader)
        try made.takeLimits(reader)
        try made.takeNames(reader)
        try made.takeHTTPS(reader)
        try made.takeUnixSockets(reader)
        if let complaint = made.complaint { throw complaint }
        try made.takeDefinitions(reader)
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
                throw .invalid(key: "bootstrap", why: "can't be used together with bootstrap_expect", place: nil)
            }
            self.bootstrapExpect = 1
        }
        let directory = reader.text("data_dir") ?? ""
        self.dataDirectory =
            directory.isEmpty || directory.hasPrefix("/") ? directory : machine.workingDirectory + "/" + directory
        self.nodeName = reader.text("node_name") ?? machine.hostName
        self.nodeMeta = reader.textMap("node_meta")
        self.datacenter = (reader.text("datacenter") ?? "dc1").lowercased()
        self.domain = Self.domain(reader.text("domain") ?? "consul")
        self.alternativeDomain = Self.domain(reader.text("alt_domain") ?? "")
        self.leaveOnTerminate = reader.flag("leave_on_terminate") ?? !self.server
        self.skipLeaveOnInterrupt = reader.flag("skip_leave_on_interrupt") ?? self.server
        self.logJSON = reader.flag("log_json") ?? false
        if let name = reader.text("log_level") {
            let upper = name.uppercased() == "ERR" ? "ERROR" : name.uppercased()
            guard let level = LogLevel(rawValue: upper) else {
                throw .invalid(
                    key: "log_level", why: "must be trace, debug, info, warn or error, not \(name)", place: nil)
            }
            self.logLevel = level
        }
    }

    private static func domain(_ text: String) -> String {
        var domain = text.lowercased()
        while domain.hasSuffix(".") { domain.removeLast() }
        return domain
    }

    private mutating func takeAddresses(
        _ reader: ConfigurationReader, _ machine: Machine
    ) throws(AgentConfigurationError) {
        self.bindAddress = try Self.address(reader, "bind_addr", machine) ?? "0.0.0.0"
        if let all = try Self.addresses(reader, "client_addr", machine) { self.clientAddresses = all }
        self.addresses.http = try Self.addresses(reader, "addresses.http", machine) ?? []
        self.addresses.https = try Self.addresses(reader, "addresses.https", machine) ?? []
        self.addresses.dns = try Self.addresses(reader, "addresses.dns", machine) ?? []
        self.addresses.grpc = try Self.addresses(reader, "addresses.grpc", machine) ?? []
        self.ports.http = try Self.port(reader, "ports.http", standard: 8500)
        self.ports.https = try Self.port(reader, "ports.https", standard: nil)
        self.ports.dns = try Self.port(reader, "ports.dns", standard: 8600)
        self.ports.grpc = try Self.port(reader, "ports.grpc", standard: nil)
        guard let serverPort = try Self.port(reader, "ports.server", standard: 8300) else {
            throw .invalid(key: "ports.server", why: "can't be turned off", place: nil)
        }
        self.ports.server = serverPort
        if let advertised = try Self.address(reader, "advertise_addr", machine) {
            self.advertiseAddress = advertised
        } else if !Self.isUnspecified(self.bindAddress) {
            self.advertiseAddress = self.bindAddress
        } else {
            self.advertiseAddress = try Self.choose(machine.addresses, sixes: self.bindAddress.contains(":"))
        }
    }

    /// The one address that others may reach this machine at, private ones before public ones; several are for a person to
    /// choose from.
    private static func choose(_ all: [String], sixes: Bool) throws(AgentConfigurationError) -> String {
        let reachable = all.filter { $0.contains(":") == sixes }
        let inner = reachable.filter(Network.isPrivate)
        let candidates = inner.isEmpty ? reachable : inner
        switch candidates.count {
        case 0:
            throw .invalid(
                key: "advertise_addr", why: "this machine has no address to advertise; set it, or bind_addr", place: nil
            )
        case 1:
            return candidates[0]
        default:
            throw .invalid(
                key: "advertise_addr",
                why: "this machine has several addresses (\(candidates.joined(separator: ", "))); "
                    + "choose one with advertise_addr or bind_addr", place: nil)
        }
    }

    /// Addresses with spaces between, templates replaced by what they yield. Nil for a missing key.
    private static func addresses(
        _ reader: ConfigurationReader, _ key: String, _ machine: Machine
    ) throws(AgentConfigurationError) -> [String]? {
        guard let text = reader.text(key) else { return nil }
        let all = try self.expanded(text, key, machine).split(whereSeparator: \.isWhitespace).map(String.init)
        if all.isEmpty { throw .invalid(key: key, why: "\(text) yields no address on this machine", place: nil) }
        return all
    }

    private static func address(
        _ reader: ConfigurationReader, _ key: String, _ machine: Machine
    ) throws(AgentConfigurationError) -> String? {
        guard let all = try self.addresses(reader, key, machine) else { return nil }
        guard all.count == 1 else {
            throw .invalid(key: key, why: "must be one address, not \(all.joined(separator: ", "))", place: nil)
        }
        return all[0]
    }

    private static func expanded(
        _ text: String, _ key: String, _ machine: Machine
    ) throws(AgentConfigurationError) -> String {
        do throws(SocketTemplates.Failure) {
            return SocketTemplates.isTemplate(text)
                ? try SocketTemplates(interfaces: machine.interfaces).expanded(text) : text
        } catch {
            throw .invalid(key: key, why: error.text, place: nil)
        }
    }

    private static func port(
        _ reader: ConfigurationReader, _ key: String, standard: Int?
    ) throws(AgentConfigurationError) -> Int? {
        guard let value = try reader.count(key) else { return standard }
        if value == -1 { return nil }
        guard (1...65_535).contains(value) else {
            throw .invalid(
                key: key, why: "must be a port from 1 to 65535, or -1 to turn it off, not \(value)", place: nil)
        }
        return value
    }

    private mutating func takeJoin(
        _ reader: ConfigurationReader, _ machine: Machine
    ) throws(AgentConfigurationError) {
        for key in ["retry_join", "start_join"] {
            for text in reader.texts(key) {
                if SocketTemplates.isTemplate(text) {
                    self.retryJoin += try Self.expanded(text, key, machine).split(separator: " ").map(String.init)
                } else {
                    self.retryJoin.append(text)
                }
            }
        }
        self.joinToken = reader.text("join_token")
        self.joinTokenFile = reader.text("join_token_file")
    }

    private mutating func takeTimings(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        if let multiplier = try reader.count("performance.raft_multiplier") {
            guard (1...10).contains(multiplier) else {
                throw .invalid(
                    key: "performance.raft_multiplier", why: "must be from 1 to 10, not \(multiplier)", place: nil)
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
                throw .invalid(key: "performance.event_loops", why: "must be from 1 to 1024, not \(loops)", place: nil)
            }
            self.performance.eventLoops = loops
        }
        try reader.take("performance.leave_drain_time", into: &self.performance.leaveDrainTime)
        try reader.take("session_ttl_min", into: &self.sessionTTLMin)
        try reader.take("default_query_time", into: &self.defaultQueryTime)
        try reader.take("max_query_time", into: &self.maxQueryTime)
    }

    private mutating func takeLimits(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        try reader.take("limits.rpc_handshake_timeout", into: &self.limits.rpcHandshakeTimeout)
        try reader.take("limits.kv_max_value_size", into: &self.limits.kvMaxValueSize)
        try reader.take("limits.txn_max_req_len", into: &self.limits.txnMaxRequestLength)
        try reader.take("check_update_interval", into: &self.checks.updateInterval)
        try reader.take("check_output_max_size", into: &self.checks.outputMaxSize)
        self.checks.enableScripts = reader.flag("enable_script_checks") ?? false
        self.checks.enableLocalScripts = reader.flag("enable_local_script_checks") ?? self.checks.enableScripts
    }

    private mutating func takeNames(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        self.dns.allowStale = reader.flag("dns_config.allow_stale") ?? true
        try reader.take("dns_config.max_stale", into: &self.dns.maxStale)
        self.dns.enableTruncate = reader.flag("dns_config.enable_truncate") ?? false
        self.dns.disableCompression = reader.flag("dns_config.disable_compression") ?? false
        self.http.blockEndpoints = reader.texts("http_config.block_endpoints")
        self.http.allowsUnprintablePaths = reader.flag("disable_http_unprintable_char_filter") ?? false
        self.dns.recursors = reader.texts("recursors")
        try reader.take("dns_config.recursor_timeout", into: &self.dns.recursorTimeout)
        self.dns.recursorStrategy = reader.text("dns_config.recursor_strategy") ?? "sequential"
        try reader.take("dns_config.node_ttl", into: &self.dns.nodeTTL)
        for (name, text) in reader.textMap("dns_config.service_ttl") {
            guard let ttl = GoDuration.parse(text) else {
                throw .invalid(key: "dns_config.service_ttl.\(name)", why: GoDuration.complaint(text), place: nil)
            }
            self.dns.serviceTTL[name] = ttl
        }
        self.dns.onlyPassing = reader.flag("dns_config.only_passing") ?? false
        try reader.take("dns_config.udp_answer_limit", into: &self.dns.udpAnswerLimit)
        try reader.take("dns_config.a_record_limit", into: &self.dns.aRecordLimit)
        self.dns.nodeMetaTXT = reader.flag("dns_config.enable_additional_node_meta_txt") ?? true
        try reader.take("dns_config.soa.refresh", into: &self.dns.soa.refresh)
        try reader.take("dns_config.soa.retry", into: &self.dns.soa.retry)
        try reader.take("dns_config.soa.expire", into: &self.dns.soa.expire)
        try reader.take("dns_config.soa.min_ttl", into: &self.dns.soa.minTTL)
    }
}
