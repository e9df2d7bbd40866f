import DNSCodec
import Units

/// What tunes the DNS face. Times are in seconds, as DNS has them.
public struct DNSSettings: Sendable, Equatable {
    /// The zone that is answered for.
    public var domain: DNSName
    /// A second name of the same zone; answers carry the one that was asked.
    public var alternativeDomain: DNSName?
    public var datacenter: String
    public var nodeTimeToLive: UInt32 = 0
    /// By service name in lower case; a closing `*` matches what goes on: the exact name wins, then the longest such
    /// beginning. What matches nothing gets 0.
    public var serviceTimeToLive: [String: UInt32] = [:]
    /// Instances with a warning are left out too.
    public var onlyPassing = false
    /// Records of an answer about a service over UDP without EDNS. A choice among many, and so no reason for TC.
    public var udpAnswerLimit = 3
    /// A and AAAA records of an answer about a service, whatever the transport; 0 is no limit. SRV is not counted.
    public var addressRecordLimit = 0
    /// A node's metadata goes along as TXT records in the additional section.
    public var nodeMetaInAdditional = true
    /// The largest UDP payload sent, whatever a client says it can take, in bytes.
    public var maximumUDPPayload = 4096
    public var authorityRefresh: UInt32 = 3600
    public var authorityRetry: UInt32 = 600
    public var authorityExpire: UInt32 = 86_400
    /// How long clients may keep a "no such name".
    public var authorityMinimum: UInt32 = 0

    /// - Throws: when a domain is no domain name.
    public init(
        datacenter: String, domain: String = "consul.", alternativeDomain: String = ""
    ) throws(DNSCodecError) {
        self.datacenter = datacenter
        self.domain = try DNSName(domain)
        self.alternativeDomain = alternativeDomain.isEmpty ? nil : try DNSName(alternativeDomain)
    }

    func timeToLive(ofService name: String) -> UInt32 {
        let name = name.lowercased()
        if let exact = self.serviceTimeToLive[name] { return exact }
        var best: (length: Int, value: UInt32)?
        for (pattern, value) in self.serviceTimeToLive where pattern.hasSuffix("*") {
            let beginning = pattern.dropLast()
            let length = beginning.utf8.count
            // Two patterns of one length that both match are the same pattern: the order does not matter.
            if name.hasPrefix(beginning), length >= (best?.length ?? -1) { best = (length, value) }
        }
        return best?.value ?? 0
    }
}

/// What tunes the listeners.
public struct DNSListenerSettings: Sendable, Equatable {
    public var host: String
    /// 0: any free one; UDP and TCP may then differ.
    public var port: Int
    /// Questions under way over UDP; more are dropped, and their clients ask again.
    public var maximumPendingQueries = 1024
    public var maximumConnections = 512
    /// A TCP connection without a whole question for so long is closed (RFC 7766 §6.2.3).
    public var idleTimeout = Nanoseconds.seconds(10)
    /// Bytes of one question over TCP.
    public var maximumQuerySize = 4096
    /// How long the state may take to be there.
    public var viewTimeout = Nanoseconds.seconds(5)

    public init(host: String = "127.0.0.1", port: Int = 8600) {
        self.host = host
        self.port = port
    }
}

public enum DNSServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Neither the address nor the reason is a secret.
    case bindFailed(address: String, reason: String)
    case alreadyStarted

    public var description: String {
        switch self {
        case .bindFailed(let address, let reason): "listening for DNS on \(address) failed: \(reason)"
        case .alreadyStarted: "the DNS server was started before"
        }
    }
}
