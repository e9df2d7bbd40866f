import DNSCodec
import Registry
import Units

/// One question on its way to its answer.
struct ResponderWork {
    let settings: DNSSettings
    let registry: Registry
    let cache: AnswerCache?
    let question: DNSQuestion
    /// Over UDP without EDNS: the answer limit holds.
    let isPlainUDP: Bool
    var order: ShuffleOrder
    let wallTime: UInt32

    var code = DNSResponseCode.noError
    /// False for names that we have no authority over.
    var isOurs = true
    var answers: [DNSRecord] = []
    var authority: [DNSRecord] = []
    var additional: [DNSRecord] = []
    /// The domain that was asked: the one or its alternative.
    var domain: DNSName
    /// Nothing that the catalog knows of: recursors may know better.
    var isForeign = false
    /// The UDP answer limit left instances out.
    var wasLimited = false
    /// Host names outside our zones that answers stand for, and that locations name.
    var aliases: [DNSName] = []
    var hosts: [DNSName] = []
    /// How many aliases led here.
    var depth = 0
    /// Names of ours were looked up besides the one that was asked.
    var hasFollowed = false

    init(
        settings: DNSSettings, registry: Registry, cache: AnswerCache?, question: DNSQuestion, isPlainUDP: Bool,
        order: ShuffleOrder, wallTime: UInt32
    ) {
        self.settings = settings
        self.registry = registry
        self.cache = cache
        self.question = question
        self.isPlainUDP = isPlainUDP
        self.order = order
        self.wallTime = wallTime
        self.domain = settings.domain
    }

    var asksAddresses: Bool { [.a, .aaaa, .any].contains(self.question.type) }

    mutating func run() {
        if let reverse = ReverseName(self.question.name) {
            self.answerReverse(reverse)
            return
        }
        guard let domain = self.settings.zone(of: self.question.name) else {
            self.isOurs = false
            self.isForeign = true
            self.code = .refused
            return
        }
        self.domain = domain
        let own = self.question.name.labels.count - domain.labels.count
        let labels = self.question.name.labels.prefix(own).map { String(decoding: $0, as: UTF8.self) }
        switch DNSTarget(labels: labels, datacenter: self.settings.datacenter) {
        case .apex(let isNameServer): self.answerApex(isNameServer: isNameServer)
        case .node(let name): self.answerNode(name)
        case .service(let name, let tag): self.answerService(name, tag: tag)
        case .address(let address): self.answerAddress(address)
        case .emptyNonTerminal: self.concludeEmpty()
        case .unknown: self.concludeUnknown()
        }
        self.followAliases()
    }

    // MARK: - conclusions

    mutating func concludeUnknown() {
        self.code = .nameError
        self.authority = [self.startOfAuthority]
    }

    /// NOERROR; with the SOA when there is nothing to say.
    mutating func concludeEmpty() {
        if self.answers.isEmpty { self.authority = [self.startOfAuthority] }
    }

    var startOfAuthority: DNSRecord {
        let names = (self.below("ns"), self.below("hostmaster"))
        let data = DNSStartOfAuthority(
            primary: names.0 ?? self.domain, mailbox: names.1 ?? self.domain, serial: self.wallTime,
            refresh: self.settings.authorityRefresh, retry: self.settings.authorityRetry,
            expire: self.settings.authorityExpire, minimum: self.settings.authorityMinimum)
        return DNSRecord(name: self.domain, timeToLive: self.settings.authorityMinimum, data: .soa(data))
    }

    /// Labels put before our domain; nil when that makes no name.
    func below(_ labels: String...) -> DNSName? {
        guard let name = try? DNSName(labels: labels.map { Array($0.utf8) }) else { return nil }
        return try? name.appending(self.domain)
    }

    // MARK: - records

    /// An address as a record that the question asks for: A and AAAA by their kind, a host name as CNAME. Nil when the
    /// question wants another type, or the text is neither.
    func addressRecord(_ text: String, name: DNSName, timeToLive: UInt32) -> DNSRecord? {
        guard self.asksAddresses else { return nil }
        switch IPAddress(text) {
        case .v4(let bytes)?:
            return self.question.type == .aaaa ? nil : DNSRecord(name: name, timeToLive: timeToLive, data: .a(bytes))
        case .v6(let bytes)?:
            return self.question.type == .a ? nil : DNSRecord(name: name, timeToLive: timeToLive, data: .aaaa(bytes))
        case nil: return self.aliasRecord(text, name: name, timeToLive: timeToLive)
        }
    }

    func aliasRecord(_ text: String, name: DNSName, timeToLive: UInt32) -> DNSRecord? {
        guard let target = try? DNSName(text), !target.isRoot, target != name else { return nil }
        return DNSRecord(name: name, timeToLive: timeToLive, data: .cname(target))
    }

    /// A, AAAA or CNAME, whatever was asked: for the additional section.
    func anyAddressRecord(_ text: String, name: DNSName, timeToLive: UInt32) -> DNSRecord? {
        switch IPAddress(text) {
        case .v4(let bytes)?: DNSRecord(name: name, timeToLive: timeToLive, data: .a(bytes))
        case .v6(let bytes)?: DNSRecord(name: name, timeToLive: timeToLive, data: .aaaa(bytes))
        case nil: self.aliasRecord(text, name: name, timeToLive: timeToLive)
        }
    }

    /// A node's metadata as `key=value`; a key that begins with `rfc1035-` gives its value alone.
    func metaRecords(_ node: Node, name: DNSName) -> [DNSRecord] {
        node.meta.pairs.map { pair in
            let text = pair.key.hasPrefix("rfc1035-") ? pair.value : "\(pair.key)=\(pair.value)"
            return DNSRecord(
                name: name, timeToLive: self.settings.nodeTimeToLive, data: .txt(ResponderWork.strings(text)))
        }
    }

    /// A text in pieces of at most 255 bytes, as TXT takes them.
    static func strings(_ text: String) -> [[UInt8]] {
        let bytes = Array(text.utf8)
        if bytes.isEmpty { return [[]] }
        return stride(from: 0, to: bytes.count, by: 255).map { Array(bytes[$0..<min($0 + 255, bytes.count)]) }
    }

    func datacenter(of node: Node) -> String { node.datacenter.isEmpty ? self.settings.datacenter : node.datacenter }

    /// `<node>.node.<dc>.consul.`, a name with dots in as many labels; nil where that is no domain name.
    func name(of node: Node) -> DNSName? {
        if node.name.isEmpty { return nil }
        let labels = node.name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let place = [Array("node".utf8), Array(self.datacenter(of: node).utf8)]
        guard let name = try? DNSName(labels: labels.map { Array($0) } + place) else { return nil }
        return try? name.appending(self.domain)
    }

    /// `<hex>.addr.<dc>.consul.`
    func name(of address: IPAddress, datacenter: String) -> DNSName? { self.below(address.hex, "addr", datacenter) }

    /// Adds a record unless one like it is there already.
    mutating func addAdditional(_ records: [DNSRecord]) {
        for record in records where !self.additional.contains(record) { self.additional.append(record) }
    }
}
