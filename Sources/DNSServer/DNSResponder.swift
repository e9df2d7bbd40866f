import Cluster
import DNSCodec
import Registry
import Units

/// Answers DNS questions from one state: a pure function of the packet, the state, a seed and the time.
///
/// Rules (Consul's DNS reference): instances with a critical check of their own or of their node are left out; what is
/// left is shuffled. No such name, or no instance left: NXDOMAIN. A name without a record of the type asked: NOERROR
/// without answers. Both carry the SOA. Other domains are refused, or left to recursors.
public struct DNSResponder: Sendable {
    let settings: DNSSettings
    private let cache: AnswerCache

    public init(settings: DNSSettings) {
        self.settings = settings
        self.cache = AnswerCache(limit: settings.answerCache)
    }

    /// - Parameters:
    ///   - seed: decides the order of instances; another one for each question.
    ///   - wallTime: seconds since 1970; the SOA's serial.
    /// - Returns: the answer; empty when the packet must stay without one (no header, or itself an answer).
    public func answer(packet: [UInt8], overTCP: Bool, view: ReadView, seed: UInt64, wallTime: UInt32) -> [UInt8] {
        switch self.begin(packet: packet, overTCP: overTCP, view: view, seed: seed, wallTime: wallTime) {
        case .answer(let bytes): bytes
        case .draft(let draft): self.finish(draft)
        }
    }

    /// What can be said from the state, and what it leaves open.
    enum Beginning: Sendable {
        case answer([UInt8])
        case draft(DNSDraft)
    }

    /// - Parameter isWhole: false when `view` holds one topic alone. Of such states there are several, and nothing is kept
    ///   of what they say.
    func begin(
        packet: [UInt8], overTCP: Bool, view: ReadView, isWhole: Bool = true, seed: UInt64, wallTime: UInt32
    ) -> Beginning {
        let query: DNSMessage
        switch self.read(packet) {
        case .question(let message): query = message
        case .answer(let bytes): return .answer(bytes)
        }
        var work = ResponderWork(
            settings: self.settings, registry: view.registry, cache: isWhole ? self.cache : nil,
            question: query.questions[0],
            isPlainUDP: !overTCP && query.extension == nil, order: ShuffleOrder(seed: seed), wallTime: wallTime)
        work.run()
        var response = self.frame(for: query, code: work.code)
        response.authoritative = work.isOurs
        response.truncated = work.wasLimited && self.settings.marksLimitedAnswers
        response.answers = work.answers
        response.authority = work.authority
        response.additional = work.additional
        return .draft(
            DNSDraft(
                query: query, response: response, overTCP: overTCP, isForeign: work.isForeign,
                hasFollowed: work.hasFollowed, aliases: work.aliases, hosts: work.hosts))
    }

    func finish(_ draft: DNSDraft) -> [UInt8] {
        self.encode(draft.response, query: draft.query, overTCP: draft.overTCP)
    }

    /// Nil where the packet is no question that could be passed on.
    func question(in packet: [UInt8]) -> DNSMessage? {
        if case .question(let query) = self.read(packet) { query } else { nil }
    }

    /// What an agent has to follow to answer the question itself; nil where it can't.
    func topic(of packet: [UInt8]) -> ViewTopic? {
        guard let name = self.question(in: packet)?.questions[0].name, ReverseName(name) == nil,
            let domain = self.settings.zone(of: name)
        else { return nil }
        let labels = name.labels.prefix(name.labels.count - domain.labels.count)
        let texts = labels.map { String(decoding: $0, as: UTF8.self) }
        return switch DNSTarget(labels: texts, datacenter: self.settings.datacenter) {
        case .node(let name): .node(named: name)
        case .service(let name, _): .service(named: name)
        case .apex: .service(named: "consul")
        case .address, .emptyNonTerminal, .unknown: nil
        }
    }

    /// The answer when there is no state to answer from.
    public func failure(packet: [UInt8], overTCP: Bool) -> [UInt8] {
        switch self.read(packet) {
        case .question(let query):
            let response = self.frame(for: query, code: .serverFailure)
            return self.encode(response, query: query, overTCP: overTCP)
        case .answer(let bytes): return bytes
        }
    }

    private enum Reading {
        case question(DNSMessage)
        case answer([UInt8])
    }

    /// A query with exactly one question of a class and an EDNS version that we know; else what to answer at once.
    private func read(_ packet: [UInt8]) -> Reading {
        guard let header = DNSMessage.header(of: packet), !header.isResponse else { return .answer([]) }
        guard header.opcode == 0 else { return .answer(self.bare(header, .notImplemented)) }
        guard let query = try? DNSMessage(decoding: packet), query.questions.count == 1 else {
            return .answer(self.bare(header, .formatError))
        }
        var code: DNSResponseCode?
        if let version = query.extension?.version, version != 0 { code = .badVersion }
        let question = query.questions[0]
        if question.class != .internet && question.class != .any { code = code ?? .refused }
        if question.type == .axfr { code = code ?? .notImplemented }
        guard let code else { return .question(query) }
        return .answer(
            (try? self.frame(for: query, code: code).encoded(limit: 512)) ?? self.bare(header, .serverFailure))
    }

    /// A header alone.
    private func bare(_ header: DNSMessage, _ code: DNSResponseCode) -> [UInt8] {
        let response = DNSMessage(
            id: header.id, isResponse: true, opcode: header.opcode, recursionDesired: header.recursionDesired,
            responseCode: code)
        return (try? response.encoded(limit: 512)) ?? []
    }

    private func frame(for query: DNSMessage, code: DNSResponseCode) -> DNSMessage {
        var response = DNSMessage(
            id: query.id, isResponse: true, recursionDesired: query.recursionDesired,
            recursionAvailable: self.settings.offersRecursion, responseCode: code, questions: query.questions)
        response.extension = query.extension.map { asked in
            // A client's subnet comes back with a scope of 0: the answer does not depend on it (RFC 7871 §7.2.1).
            let subnets = asked.options.filter {
                $0.code == DNSExtension.clientSubnet && (4...20).contains($0.data.count)
            }
            let echoed = subnets.prefix(1).map { option in
                var option = option
                option.data[3] = 0
                return option
            }
            return DNSExtension(payloadSize: 4096, options: echoed)
        }
        return response
    }

    /// Bytes of an answer that goes in one datagram.
    func datagramLimit(_ query: DNSMessage) -> Int {
        max(512, min(Int(query.extension?.payloadSize ?? 512), self.settings.maximumUDPPayload))
    }

    private func encode(
        _ response: DNSMessage, query: DNSMessage, overTCP: Bool
    ) -> [UInt8] {
        let limit = overTCP ? 65_535 : self.datagramLimit(query)
        // The records are of our own making; one that can't be written (a name in the catalog that no DNS name can
        // hold was left out before) would be our mistake, and the client hears of a failure.
        return (try? response.encoded(limit: limit, compressing: self.settings.compressesNames))
            ?? self.bare(query, .serverFailure)
    }
}

/// An answer before it is written: what recursors know may still be added.
struct DNSDraft: Sendable {
    let query: DNSMessage
    var response: DNSMessage
    let overTCP: Bool
    /// The catalog knows nothing of the name: recursors are asked instead.
    let isForeign: Bool
    /// Other names of ours were looked up for it.
    let hasFollowed: Bool
    /// Names of others whose addresses belong to the answers.
    let aliases: [DNSName]
    /// Names of others whose addresses belong beside them.
    let hosts: [DNSName]
}

/// The order of one answer: Fisher–Yates over SplitMix64.
struct ShuffleOrder: Sendable {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    private mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func shuffle<Element>(_ elements: [Element]) -> [Element] {
        var elements = elements
        for position in elements.indices.dropFirst().reversed() {
            elements.swapAt(position, Int(self.next() % UInt64(position + 1)))
        }
        return elements
    }
}
