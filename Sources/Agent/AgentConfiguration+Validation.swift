import DNSServer
import Units

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

extension AgentConfiguration {
    /// The first thing that makes no sense, with its key; nil when all does.
    public var complaint: AgentConfigurationError? {
        self.identityComplaint ?? self.roleComplaint ?? self.addressComplaint ?? self.joinComplaint
            ?? self.timingComplaint ?? self.limitComplaint
    }

    private func no(_ key: String, _ why: String) -> AgentConfigurationError {
        .invalid(key: key, why: why, place: nil)
    }

    private var identityComplaint: AgentConfigurationError? {
        if self.dataDirectory.isEmpty, !self.development { return self.no("data_dir", "must be set") }
        if !(1...128).contains(self.nodeName.utf8.count)
            || !self.nodeName.utf8.allSatisfy({ Self.isLabelByte($0) || $0 == UInt8(ascii: ".") })
        {
            return self.no("node_name", "must be 1 to 128 letters, digits, ., - and _, not \"\(self.nodeName)\"")
        }
        if !Self.isLabel(self.datacenter) {
            return self.no("datacenter", "must be letters, digits, - and _ alone, at most 63, not \(self.datacenter)")
        }
        if !Self.isDomain(self.domain) { return self.no("domain", "must be a domain name, not \(self.domain)") }
        if !self.alternativeDomain.isEmpty, !Self.isDomain(self.alternativeDomain) {
            return self.no("alt_domain", "must be a domain name, not \(self.alternativeDomain)")
        }
        if self.nodeMeta.count > 64 { return self.no("node_meta", "has more than 64 pairs") }
        for (key, value) in self.nodeMeta.sorted(by: { $0.key < $1.key }) {
            if key.isEmpty || key.utf8.count > 128 || !Self.isLabelText(key) {
                return self.no("node_meta", "key \"\(key)\" must be 1 to 128 letters, digits, - and _")
            }
            if key.hasPrefix("consul-") { return self.no("node_meta", "key \"\(key)\": consul- is reserved") }
            if value.utf8.count > 512 { return self.no("node_meta", "value of \(key) is longer than 512 bytes") }
        }
        return nil
    }

    private var roleComplaint: AgentConfigurationError? {
        if self.bootstrapExpect < 0 { return self.no("bootstrap_expect", "must not be negative") }
        if self.bootstrapExpect > 0, !self.server {
            return self.no("bootstrap_expect", "is for servers; add server")
        }
        if self.bootstrapExpect > 15 { return self.no("bootstrap_expect", "more than 15 servers only slow each other") }
        return nil
    }

    private var addressComplaint: AgentConfigurationError? {
        if self.development, !Self.isLoopback(self.bindAddress) {
            return self.no("bind_addr", "-dev is open to all and stays on loopback; \(self.bindAddress) is not")
        }
        if let complaint = Self.complaint(about: [self.bindAddress], "bind_addr") { return complaint }
        if let complaint = Self.complaint(about: [self.advertiseAddress], "advertise_addr") { return complaint }
        if Self.isUnspecified(self.advertiseAddress) {
            return self.no("advertise_addr", "can't be \(self.advertiseAddress): others must reach it")
        }
        if self.clientAddresses.isEmpty { return self.no("client_addr", "must not be empty") }
        for (key, all) in [
            ("client_addr", self.clientAddresses), ("addresses.http", self.addresses.http),
            ("addresses.https", self.addresses.https), ("addresses.dns", self.addresses.dns),
            ("addresses.grpc", self.addresses.grpc),
        ] {
            // A socket in the file system is as local as can be; only HTTP is served on one.
            let list = key.hasPrefix("addresses.http") ? all.filter { !$0.hasPrefix("unix://") } : all
            if let complaint = Self.complaint(about: list, key) { return complaint }
            if self.development, let outside = list.first(where: { !Self.isLoopback($0) }) {
                return self.no(key, "-dev is open to all and stays on loopback; \(outside) is not")
            }
        }
        return self.portComplaint
    }

    private var portComplaint: AgentConfigurationError? {
        let named: [(String, Int?)] = [
            ("ports.http", self.ports.http), ("ports.https", self.ports.https), ("ports.dns", self.ports.dns),
            ("ports.grpc", self.ports.grpc),
            ("ports.server", self.ports.server),
        ]
        for (position, (key, port)) in named.enumerated() {
            for (other, taken) in named[..<position] where port != nil && port == taken {
                return self.no(key, "is \(port ?? 0), as is \(other)")
            }
        }
        return nil
    }

    private var joinComplaint: AgentConfigurationError? {
        for address in self.retryJoin {
            if address.contains("provider=") {
                return self.no("retry_join", "looking servers up at a cloud (\(address)) is not in Serai; name them")
            }
            if HostAndPort.parse(address, defaultPort: self.ports.server) == nil {
                return self.no("retry_join", "\"\(address)\" is no host, host:port or [address]:port")
            }
        }
        if self.joinToken != nil, self.joinTokenFile != nil {
            return self.no("join_token", "and join_token_file are both set; one is enough")
        }
        if !self.server, !self.development, self.retryJoin.isEmpty {
            return self.no("retry_join", "a client agent needs at least one server to join")
        }
        if self.server, self.bootstrapExpect == 0, self.retryJoin.isEmpty {
            return self.no("retry_join", "a server without bootstrap_expect joins others; name one of them")
        }
        if self.bootstrapExpect > 1, self.retryJoin.isEmpty {
            return self.no("retry_join", "a server that expects \(self.bootstrapExpect) needs the others' addresses")
        }
        return nil
    }

    private var timingComplaint: AgentConfigurationError? {
        let raft = self.raft
        if raft.heartbeatInterval < .milliseconds(10) {
            return self.no("raft.heartbeat_interval", "must be at least 10ms")
        }
        // A follower that misses one heartbeat must not campaign.
        if raft.electionTimeoutMin.rawValue < 2 * raft.heartbeatInterval.rawValue {
            return self.no("raft.election_timeout_min", "must be at least twice raft.heartbeat_interval")
        }
        if raft.electionTimeoutMax <= raft.electionTimeoutMin {
            return self.no("raft.election_timeout_max", "must exceed raft.election_timeout_min")
        }
        if raft.snapshotThreshold < 16 { return self.no("raft.snapshot_threshold", "must be at least 16") }
        if raft.trailingLogs < 0 { return self.no("raft.trailing_logs", "must not be negative") }
        if self.sessionTTLMin == .zero { return self.no("session_ttl_min", "must be positive") }
        if self.defaultQueryTime == .zero { return self.no("default_query_time", "must be positive") }
        if self.maxQueryTime < self.defaultQueryTime {
            return self.no("max_query_time", "must not be less than default_query_time")
        }
        return nil
    }

    private var limitComplaint: AgentConfigurationError? {
        if self.limits.kvMaxValueSize < ByteCount(1) || self.limits.kvMaxValueSize > .mebibytes(14) {
            return self.no("limits.kv_max_value_size", "must be from 1 byte to 14 MiB")
        }
        if self.limits.txnMaxRequestLength < ByteCount(1) || self.limits.txnMaxRequestLength > .mebibytes(14) {
            return self.no("limits.txn_max_req_len", "must be from 1 byte to 14 MiB")
        }
        if self.checks.outputMaxSize < ByteCount(1) || self.checks.outputMaxSize > .mebibytes(1) {
            return self.no("check_output_max_size", "must be from 1 byte to 1 MiB")
        }
        if self.dns.udpAnswerLimit < 1 { return self.no("dns_config.udp_answer_limit", "must be at least 1") }
        for recursor in self.dns.recursors where DNSRecursor(recursor) == nil {
            return self.no("recursors", "must be IP addresses, with or without a port, not \(recursor)")
        }
        if DNSRecursionSettings.Strategy(rawValue: self.dns.recursorStrategy) == nil {
            return self.no(
                "dns_config.recursor_strategy", "must be sequential or random, not \(self.dns.recursorStrategy)")
        }
        if self.dns.aRecordLimit < 0 { return self.no("dns_config.a_record_limit", "must not be negative") }
        return nil
    }

    /// What works but may surprise.
    var remarks: [String] {
        var remarks: [String] = []
        if self.bootstrapExpect > 1, self.bootstrapExpect.isMultiple(of: 2) {
            remarks.append(
                "bootstrap_expect: \(self.bootstrapExpect) servers stand no more losses than \(self.bootstrapExpect - 1)"
            )
        }
        for address in self.joinAddresses where address.port == 8301 && self.ports.server != 8301 {
            remarks.append(
                "retry_join: \(address.host):8301 is Consul's gossip port; Serai's servers listen on \(self.ports.server)"
            )
        }
        if self.joinToken != nil { remarks.append("join_token: stands in the open; prefer join_token_file") }
        return remarks
    }

    private static func complaint(about addresses: [String], _ key: String) -> AgentConfigurationError? {
        for address in addresses where !isAddress(address) {
            if address.hasPrefix("unix://") {
                return .invalid(key: key, why: "\(address): only addresses.http may be a unix socket", place: nil)
            }
            return .invalid(key: key, why: "\"\(address)\" is no IP address", place: nil)
        }
        return nil
    }

    /// IPv4 or IPv6 in text form.
    static func isAddress(_ text: String) -> Bool {
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1
    }

    /// `0.0.0.0` and `::`, however they are written.
    static func isUnspecified(_ text: String) -> Bool { Network.unspecified.contains { $0.contains(text) } }

    static func isLoopback(_ text: String) -> Bool { text == "::1" || (text.hasPrefix("127.") && isAddress(text)) }

    private static func isDomain(_ text: String) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { self.isLabel(String($0)) }
    }

    private static func isLabel(_ text: String) -> Bool { (1...63).contains(text.utf8.count) && isLabelText(text) }

    private static func isLabelText(_ text: String) -> Bool { text.utf8.allSatisfy(self.isLabelByte) }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }
}
