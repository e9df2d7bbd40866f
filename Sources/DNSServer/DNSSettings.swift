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
    /// `enable_truncate`: TC is set also when the limit above left instances out. What does not fit sets it always.
    public var marksLimitedAnswers = false
    /// `disable_compression`, the other way round.
    public var compressesNames = true
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
    /// Recursors are there: answers say so (RA).
    public var offersRecursion = false
    /// What prepared answers may take in memory; 0 keeps none.
    public var answerCache = ByteCount.mebibytes(8)

    /// - Throws: when a domain is no domain name.
    public init(
        datacenter: String, domain: String = "consul.", alternativeDomain: String = ""
    ) throws(DNSCodecError) {
        self.datacenter = datacenter
        self.domain = try DNSName(domain)
        self.alternativeDomain = alternativeDomain.isEmpty ? nil : try DNSName(alternativeDomain)
    }

    /// The one of our domains that a name lies in.
    func zone(of name: DNSName) -> DNSName? {
        if name.isAtOrBelow(self.domain) { return self.domain }
        return self.alternativeDomain.flatMap { name.isAtOrBelow($0) ? $0 : nil }
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
    /// `allow_stale`: any server answers from what it has; false asks for the leader's word each time.
    public var allowsStale = true
    /// `max_stale`: a server that has not heard of a leader for longer asks for one before it answers.
    public var maximumStaleness = Nanoseconds.seconds(87_600 * 3600)
    public var recursion = DNSRecursionSettings()

    public init(host: String = "127.0.0.1", port: Int = 8600) {
        self.host = host
        self.port = port
    }
}

/// Whom to ask about names that are not ours.
public struct DNSRecursionSettings: Sendable, Equatable {
    public enum Strategy: String, Sendable {
        /// In the order in which they are written, the next when one fails.
        case sequential
        /// In another order for each question.
        case random
    }

    /// None: other names are refused.
    public var recursors: [DNSRecursor] = []
    public var strategy = Strategy.sequential
    /// For each recursor.
    public var timeout = Nanoseconds.seconds(2)
    /// Questions under way; more are answered SERVFAIL.
    public var maximumPending = 256

    public init() {}
}

/// A name server at an IP address.
public struct DNSRecursor: Sendable, Hashable, CustomStringConvertible {
    public let host: String
    public let port: Int

    /// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5353`. Nil for all else, host names
    /// among it: who is to tell their address?
    public init?(_ text: String) {
        var host = Substring(text)
        var port = 53
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if !rest.isEmpty {
                guard rest.first == ":", let number = Int(rest.dropFirst()) else { return nil }
                port = number
            }
        } else if text.utf8.count(where: { $0 == UInt8(ascii: ":") }) == 1, let colon = text.firstIndex(of: ":") {
            guard let number = Int(text[text.index(after: colon)...]) else { return nil }
            host = text[..<colon]
            port = number
        }
        guard IPAddress(String(host)) != nil, (1...65_535).contains(port) else { return nil }
        self.host = String(host)
        self.port = port
    }

    public var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
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
