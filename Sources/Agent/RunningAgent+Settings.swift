import Certificates
import Cluster
import DNSCodec
import DNSServer
import Glibc
import HTTPAPI
import LocalAgent
import Raft
import Replica
import Storage
import Transport
import Units

// What each room is told, taken from the configuration.
extension RunningAgent {
    /// The join token's text: given directly, or read from its file. A file that is gone matters only while the node has
    /// not joined yet, which the rooms below find out.
    static func joinToken(_ configuration: AgentConfiguration) throws(AgentFailure) -> String? {
        if let token = configuration.joinToken { return token }
        guard let path = configuration.joinTokenFile else { return nil }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        if file < 0 && errno == ENOENT { return nil }
        guard file >= 0 else { throw AgentFailure("join_token_file \(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = bytes.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw AgentFailure("join_token_file \(path): \(String(cString: strerror(errno)))") }
        let text = String(decoding: bytes[..<count], as: UTF8.self).split(whereSeparator: \.isWhitespace)
        return text.first.map(String.init) ?? ""
    }

    static func addresses(_ configuration: AgentConfiguration) -> [String] {
        configuration.joinAddresses.map { $0.host.contains(":") ? "[\($0.host)]:\($0.port)" : "\($0.host):\($0.port)" }
    }

    static func serverSettings(
        _ configuration: AgentConfiguration, _ token: String?, _ fatal: @escaping @Sendable (String) -> Void
    ) -> ServerSettings {
        var settings = ServerSettings(
            dataDirectory: configuration.dataDirectory, nodeName: configuration.nodeName,
            advertiseAddress: configuration.advertiseAddress, fatal: fatal)
        settings.datacenter = configuration.datacenter
        settings.bindAddress = configuration.bindAddress
        settings.serverPort = configuration.ports.server
        settings.httpPort = configuration.ports.http ?? 0
        settings.dnsPort = configuration.ports.dns ?? 0
        settings.expect = configuration.bootstrapExpect
        settings.join = self.addresses(configuration)
        settings.joinToken = token
        settings.replica.datacenter = configuration.datacenter
        settings.replica.snapshotThreshold = configuration.raft.snapshotThreshold
        settings.replica.trailingLogs = configuration.raft.trailingLogs
        settings.replica.raft.heartbeatInterval = configuration.raft.heartbeatInterval
        settings.replica.raft.electionTimeoutMin = configuration.raft.electionTimeoutMin
        settings.replica.raft.electionTimeoutMax = configuration.raft.electionTimeoutMax
        settings.transport.handshakeTimeout = configuration.limits.rpcHandshakeTimeout
        // Checkpoints stall a disk for some milliseconds: a quorum should not stall together.
        settings.storage.checkpointPagesOffset = Int(self.seed(configuration.nodeName) % 601) - 300
        return settings
    }

    /// FNV-1a of the node's name: the same on each start, different on each node.
    private static func seed(_ name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    static func linkSettings(
        _ configuration: AgentConfiguration, _ token: String?, _ fatal: @escaping @Sendable (String) -> Void
    ) -> AgentLinkSettings {
        var settings = AgentLinkSettings(
            dataDirectory: configuration.dataDirectory, nodeName: configuration.nodeName,
            advertiseAddress: configuration.advertiseAddress, join: self.addresses(configuration), fatal: fatal)
        settings.datacenter = configuration.datacenter
        settings.serverPort = configuration.ports.server
        settings.httpPort = configuration.ports.http ?? 0
        settings.dnsPort = configuration.ports.dns ?? 0
        settings.joinToken = token
        return settings
    }

    static func localSettings(_ configuration: AgentConfiguration, _ identity: LocalIdentity) -> LocalAgentSettings {
        let address = identity.advertiseAddress
        let family = address.contains(":") ? "ipv6" : "ipv4"
        var settings = LocalAgentSettings(
            nodeName: identity.nodeName, nodeUUID: identity.nodeUUID, datacenter: identity.datacenter, address: address,
            taggedAddresses: ["lan": address, "lan_\(family)": address, "wan": address, "wan_\(family)": address],
            nodeMeta: self.nodeMeta(configuration), seed: .random(in: .min ... .max),
            wallClock: { SystemClock.wallTime() })
        settings.checkUpdateInterval = configuration.checks.updateInterval
        settings.checkOutputLimit = configuration.checks.outputMaxSize.rawValue
        settings.allowsScripts = configuration.checks.enableScripts
        settings.allowsLocalScripts = configuration.checks.enableLocalScripts
        if let engine = getenv("DOCKER_HOST"), engine[0] != 0 { settings.dockerEngine = String(cString: engine) }
        return settings
    }

    /// With the keys that Consul writes itself.
    static func nodeMeta(_ configuration: AgentConfiguration) -> [String: String] {
        var meta = configuration.nodeMeta
        meta["consul-network-segment"] = ""
        meta["consul-version"] = ReplicaVersion.reported
        return meta
    }

    static func httpSettings(_ configuration: AgentConfiguration) -> HTTPAPISettings {
        var settings = HTTPAPISettings()
        settings.defaultWait = configuration.defaultQueryTime
        settings.maximumWait = configuration.maxQueryTime
        settings.kvMaximumValue = configuration.limits.kvMaxValueSize
        settings.txnMaximumBody = configuration.limits.txnMaxRequestLength
        settings.sessionTTLMinimum = configuration.sessionTTLMin
        settings.blockedPaths = configuration.http.blockEndpoints
        settings.refusesUnprintablePaths = !configuration.http.allowsUnprintablePaths
        return settings
    }

    static func dnsListener(_ configuration: AgentConfiguration, _ address: String, _ port: Int) -> DNSListenerSettings
    {
        var listener = DNSListenerSettings(host: address, port: port)
        listener.allowsStale = configuration.dns.allowStale
        listener.maximumStaleness = configuration.dns.maxStale
        listener.recursion.recursors = configuration.dns.recursors.compactMap { DNSRecursor($0) }
        listener.recursion.timeout = configuration.dns.recursorTimeout
        listener.recursion.strategy = .init(rawValue: configuration.dns.recursorStrategy) ?? .sequential
        return listener
    }

    static func dnsSettings(_ configuration: AgentConfiguration) throws(DNSCodecError) -> DNSSettings {
        func seconds(_ time: Nanoseconds) -> UInt32 { UInt32(clamping: time.rawValue / 1_000_000_000) }
        var settings = try DNSSettings(
            datacenter: configuration.datacenter, domain: "\(configuration.domain).",
            alternativeDomain: configuration.alternativeDomain.isEmpty ? "" : "\(configuration.alternativeDomain).")
        settings.nodeTimeToLive = seconds(configuration.dns.nodeTTL)
        for (name, time) in configuration.dns.serviceTTL {
            settings.serviceTimeToLive[name.lowercased()] = seconds(time)
        }
        settings.onlyPassing = configuration.dns.onlyPassing
        settings.udpAnswerLimit = configuration.dns.udpAnswerLimit
        settings.addressRecordLimit = configuration.dns.aRecordLimit
        settings.marksLimitedAnswers = configuration.dns.enableTruncate
        settings.compressesNames = !configuration.dns.disableCompression
        settings.nodeMetaInAdditional = configuration.dns.nodeMetaTXT
        settings.authorityRefresh = UInt32(clamping: configuration.dns.soa.refresh)
        settings.authorityRetry = UInt32(clamping: configuration.dns.soa.retry)
        settings.authorityExpire = UInt32(clamping: configuration.dns.soa.expire)
        settings.authorityMinimum = UInt32(clamping: configuration.dns.soa.minTTL)
        return settings
    }
}
