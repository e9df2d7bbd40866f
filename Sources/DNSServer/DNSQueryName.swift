import DNSCodec

/// What a name below our domain asks for, by its labels alone (Consul's DNS reference).
enum DNSTarget: Equatable {
    /// The domain itself, or its name server's name.
    case apex(isNameServer: Bool)
    case node(String)
    /// `tag` nil: no filter.
    case service(String, tag: String?)
    case address(IPAddress)
    /// A name that has no records but has names below it: `service.consul.`, `node.dc1.consul.` (RFC 8020).
    case emptyNonTerminal
    case unknown

    private enum Keyword: String { case node, service, addr }
    /// Words with a place in Consul's names for which this version has no answer.
    private static let laterKeywords: Set<String> = ["query", "connect", "ingress", "virtual"]

    /// - Parameter labels: those before the domain, left to right, as they were written.
    init(labels: [String], datacenter: String) {
        let lowered = labels.map { $0.lowercased() }
        let here = datacenter.lowercased()
        if lowered.isEmpty {
            self = .apex(isNameServer: false)
        } else if lowered == ["ns"] {
            self = .apex(isNameServer: true)
        } else if let position = lowered.lastIndex(where: {
            Keyword(rawValue: $0) != nil || Self.laterKeywords.contains($0)
        }) {
            // An address in a name means the same everywhere.
            let isSelfContained = lowered[position] == Keyword.addr.rawValue && lowered.count - position <= 2
            let isHere = isSelfContained || Self.isHere(lowered[(position + 1)...], here)
            if isHere, let keyword = Keyword(rawValue: lowered[position]) {
                self = Self.target(keyword, Array(labels[..<position]))
            } else {
                self = .unknown
            }
        } else if lowered.count >= 2, lowered[0].hasPrefix("_"), lowered[1].hasPrefix("_"),
            Self.isHere(lowered[2...], here)
        {
            // RFC 2782 names may leave `.service` out.
            self = Self.target(.service, Array(labels[..<2]))
        } else if Self.isHere(lowered[...], here) {
            self = .emptyNonTerminal
        } else {
            self = .unknown
        }
    }

    private static func target(_ keyword: Keyword, _ labels: [String]) -> DNSTarget {
        guard let last = labels.last else { return .emptyNonTerminal }
        switch keyword {
        case .node: return .node(labels.joined(separator: "."))
        case .addr: return labels.count == 1 ? IPAddress(hex: last).map(DNSTarget.address) ?? .unknown : .unknown
        case .service:
            if labels.count == 2, labels[0].hasPrefix("_"), labels[1].hasPrefix("_") {
                let tag = String(labels[1].dropFirst())
                return .service(String(labels[0].dropFirst()), tag: tag.lowercased() == "tcp" ? nil : tag)
            }
            // `_tcp.service.consul.` stands above `_web._tcp.service.consul.`.
            if labels.count == 1, last.hasPrefix("_") { return .emptyNonTerminal }
            let tag = labels.dropLast().joined(separator: ".")
            return .service(last, tag: tag.isEmpty ? nil : tag)
        }
    }

    /// Whether what follows the keyword names this datacenter: nothing, `<dc>`, or pairs `<dc>.dc`, `default.ns`,
    /// `default.ap` with a bare datacenter after them. Other places have no route from here.
    private static func isHere(_ suffix: ArraySlice<String>, _ datacenter: String) -> Bool {
        var rest = suffix
        while rest.count >= 2 {
            let value = rest.removeFirst()
            switch rest.removeFirst() {
            case "dc": if value != datacenter { return false }
            case "ns", "ap": if value != "default" { return false }
            default: return false
            }
        }
        return rest.isEmpty || rest.first == datacenter
    }
}

/// An address written backwards as a name: `4.3.2.1.in-addr.arpa.` (RFC 1035 §3.5), `….ip6.arpa.` (RFC 3596 §2.5).
enum ReverseName: Equatable {
    case address(IPAddress)
    /// The name of a network above addresses.
    case network
    case malformed

    /// Nil when the name lies in neither zone.
    init?(_ name: DNSName) {
        let labels = name.labels.map { String(decoding: $0, as: UTF8.self).lowercased() }
        guard labels.count >= 2, labels.last == "arpa" else { return nil }
        let digits = Array(labels.dropLast(2).reversed())
        switch labels[labels.count - 2] {
        case "in-addr": self = ReverseName.v4(digits)
        case "ip6": self = ReverseName.v6(digits)
        default: return nil
        }
    }

    private static func v4(_ parts: [String]) -> ReverseName {
        let bytes = parts.compactMap { part in
            // `UInt8` alone would read a sign, too.
            part.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? UInt8(part) : nil
        }
        guard bytes.count == parts.count, bytes.count <= 4 else { return .malformed }
        return bytes.count == 4 ? .address(.v4(bytes)) : .network
    }

    private static func v6(_ parts: [String]) -> ReverseName {
        let nibbles = parts.compactMap { $0.utf8.count == 1 ? $0.utf8.first.flatMap(IPAddress.nibble) : nil }
        guard nibbles.count == parts.count, nibbles.count <= 32 else { return .malformed }
        if nibbles.count < 32 { return .network }
        return .address(.v6(stride(from: 0, to: 32, by: 2).map { nibbles[$0] << 4 | nibbles[$0 + 1] }))
    }
}
