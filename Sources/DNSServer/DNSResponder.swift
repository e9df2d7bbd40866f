import Cluster
import DNSCodec
import Registry
import Units

/// Answers DNS questions from one state: a pure function of the packet, the state, a seed and the time.
///
/// Rules (Consul's DNS reference): instances with a critical check of their own or of their node are left out; what is
/// left is shuffled. No such name, or no instance left: NXDOMAIN. A name without a record of the type asked: NOERROR
/// without answers. Both carry the SOA. Other domains are refused. Nothing is recursive.
public struct DNSResponder: Sendable {
    let settings: DNSSettings

    public init(settings: DNSSettings) { self.settings = settings }

    /// - Parameters:
    ///   - seed: decides the order of instances; another one for each question.
    ///   - wallTime: seconds since 1970; the SOA's serial.
    /// - Returns: the answer; empty when the packet must stay without one (no header, or itself an answer).
    public func answer(packet: [UInt8], overTCP: Bool, view: ReadView, seed: UInt64, wallTime: UInt32) -> [UInt8] {
        let query: DNSMessage
        switch DNSResponder.read(packet) {
        case .question(let message): query = message
        case .answer(let bytes): return bytes
        }
        var work = ResponderWork(
            settings: self.settings, registry: view.registry, question: query.questions[0],
            isPlainUDP: !overTCP && query.extension == nil, order: ShuffleOrder(seed: seed), wallTime: wallTime)
        work.run()
        var response = DNSResponder.frame(for: query, code: work.code)
        response.authoritative = work.isOurs
        response.answers = work.answers
        response.authority = work.authority
        response.additional = work.additional
        return DNSResponder.encode(response, query: query, overTCP: overTCP, settings: self.settings)
    }

    /// The answer when there is no state to answer from.
    public func failure(packet: [UInt8], overTCP: Bool) -> [UInt8] {
        switch DNSResponder.read(packet) {
        case .question(let query):
            let response = DNSResponder.frame(for: query, code: .serverFailure)
            return DNSResponder.encode(response, query: query, overTCP: overTCP, settings: self.settings)
        case .answer(let bytes): return bytes
        }
    }

    private enum Reading {
        case question(DNSMessage)
        case answer([UInt8])
    }

    /// A query with exactly one question of a class and an EDNS version that we know; else what to answer at once.
    private static func read(_ packet: [UInt8]) -> Reading {
        guard let header = DNSMessage.header(of: packet), !header.isResponse else { return .answer([]) }
        guard header.opcode == 0 else { return .answer(self.bare(header, .notImplemented)) }
        guard let query = try? DNSMessage(decoding: packet), query.questions.count == 1 else {
            return .answer(self.bare(header, .formatError))
        }
        var code: DNSResponseCode?
        if let version = query.extension?.version, version != 0 { code = .badVersion }
        let question = query.questions[0]
        if question.class != .internet && question.class != .any { code = code ?? .refused }
        if question.type == .axfr { code = code ?? .refused }
        guard let code else { return .question(query) }
        return .answer(
            (try? self.frame(for: query, code: code).encoded(limit: 512)) ?? self.bare(header, .serverFailure))
    }

    /// A header alone.
    private static func bare(_ header: DNSMessage, _ code: DNSResponseCode) -> [UInt8] {
        let response = DNSMessage(
            id: header.id, isResponse: true, opcode: header.opcode, recursionDesired: header.recursionDesired,
            responseCode: code)
        return (try? response.encoded(limit: 512)) ?? []
    }

    private static func frame(for query: DNSMessage, code: DNSResponseCode) -> DNSMessage {
        var response = DNSMessage(
            id: query.id, isResponse: true, recursionDesired: query.recursionDesired, responseCode: code,
            questions: query.questions)
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

    private static func encode(
        _ response: DNSMessage, query: DNSMessage, overTCP: Bool, settings: DNSSettings
    ) -> [UInt8] {
        var limit = 65_535
        if !overTCP { limit = max(512, min(Int(query.extension?.payloadSize ?? 512), settings.maximumUDPPayload)) }
        // The records are of our own making; one that can't be written (a name in the catalog that no DNS name can
        // hold was left out before) would be our mistake, and the client hears of a failure.
        return (try? response.encoded(limit: limit)) ?? self.bare(query, .serverFailure)
    }
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
