import Cluster
import DNSCodec
import DNSServer
import Logging
import Protocol
import Registry
import Synchronization
import Testing
import Units

/// A catalog to ask about, filled through the commands that fill the real one.
struct TestCatalog {
    private(set) var registry = Registry()

    mutating func apply(_ change: (inout LogRegister) -> Void) throws {
        var envelope = LogEnvelope()
        envelope.format = 1
        change(&envelope.command.register)
        let result = try self.registry.apply(envelope, at: self.registry.appliedIndex.next, term: Term(1)).result
        if case .failure(let failure) = result.kind { Issue.record("refused: \(failure.text)") }
    }

    mutating func node(_ name: String, _ address: String, meta: [String: String] = [:]) throws {
        try self.apply {
            $0.node.name = name
            $0.node.address = address
            $0.node.datacenter = "dc1"
            $0.node.meta = meta
        }
    }

    mutating func service(
        _ name: String, on node: String, id: String? = nil, address: String = "", port: UInt32 = 0, tags: [String] = [],
        weights: (UInt32, UInt32) = (1, 1), status: String? = nil
    ) throws {
        try self.apply {
            $0.node.name = node
            $0.skipNodeUpdate = true
            $0.service.id = id ?? name
            $0.service.name = name
            $0.service.address = address
            $0.service.port = port
            $0.service.tags = tags
            $0.service.weightPassing = weights.0
            $0.service.weightWarning = weights.1
            if let status {
                $0.checks = [TestCatalog.check("check:\(id ?? name)", status, node: node, service: id ?? name)]
            }
        }
    }

    mutating func nodeCheck(_ node: String, _ status: String) throws {
        try self.apply {
            $0.node.name = node
            $0.skipNodeUpdate = true
            $0.checks = [TestCatalog.check("serfHealth", status, node: node, service: "")]
        }
    }

    private static func check(_ id: String, _ status: String, node: String, service: String) -> LogCheck {
        var check = LogCheck()
        check.node = node
        check.id = id
        check.name = id
        check.status = status
        check.serviceID = service
        return check
    }

    var view: ReadView { ReadView(registry: self.registry, lastContact: .zero, knownLeader: true) }

    /// Asks over UDP with EDNS unless told otherwise.
    func ask(
        _ name: String, _ type: DNSRecordType, overTCP: Bool = false,
        edns: DNSExtension? = DNSExtension(payloadSize: 4096),
        seed: UInt64 = 1, _ change: (inout DNSSettings) -> Void = { _ in }
    ) throws -> DNSMessage {
        var settings = try DNSSettings(datacenter: "dc1")
        change(&settings)
        let query = DNSMessage(
            id: 99, recursionDesired: true, questions: [DNSQuestion(name: try DNSName(name), type: type)],
            extension: edns)
        let bytes = DNSResponder(settings: settings).answer(
            packet: try query.encoded(), overTCP: overTCP, view: self.view, seed: seed, wallTime: 1_700_000_000)
        let answer = try DNSMessage(decoding: bytes)
        #expect(answer.id == 99 && answer.isResponse && answer.recursionDesired && !answer.recursionAvailable)
        #expect(answer.questions == query.questions)
        #expect((answer.extension != nil) == (edns != nil))
        return answer
    }
}

extension DNSRecord {
    /// The data in words, for comparison.
    var text: String {
        switch self.data {
        case .a(let bytes): "A " + bytes.map(String.init).joined(separator: ".")
        case .aaaa(let bytes): "AAAA " + bytes.map { String($0, radix: 16) }.joined(separator: ":")
        case .cname(let name): "CNAME \(name)"
        case .ns(let name): "NS \(name)"
        case .ptr(let name): "PTR \(name)"
        case .txt(let strings): "TXT " + strings.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "|")
        case .srv(let value): "SRV \(value.priority) \(value.weight) \(value.port) \(value.target)"
        case .soa(let value): "SOA \(value.primary) \(value.mailbox) \(value.serial)"
        case .other(let type, _): "\(type)"
        }
    }
}

extension DNSMessage {
    var answerTexts: [String] { self.answers.map(\.text).sorted() }
    var additionalTexts: [String] { self.additional.map { "\($0.name) \($0.text)" }.sorted() }
    /// NXDOMAIN with the zone's SOA.
    var isUnknown: Bool { self.responseCode == .nameError && self.answers.isEmpty && self.hasAuthority }
    /// NOERROR without answers, with the SOA.
    var isEmptyButKnown: Bool { self.responseCode == .noError && self.answers.isEmpty && self.hasAuthority }
    private var hasAuthority: Bool {
        self.authority.map(\.text) == ["SOA ns.consul. hostmaster.consul. 1700000000"]
    }
}

/// What the listeners talk to: a view, or a server beyond.
final class TestCluster: ClusterAccess {
    let identity: LocalIdentity
    private let registry: Registry
    private let error: ClusterError?
    private let forwardedPackets = Mutex<[[UInt8]]>([])

    var forwarded: [[UInt8]] { self.forwardedPackets.withLock { $0 } }

    init(registry: Registry = Registry(), isServer: Bool = true, error: ClusterError? = nil) {
        self.registry = registry
        self.error = error
        self.identity = LocalIdentity(
            nodeName: "n1", nodeUUID: "", datacenter: "dc1", isServer: isServer, advertiseAddress: "127.0.0.1",
            serverPort: 0, httpPort: 0, dnsPort: 0)
    }

    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        if let error = self.error { throw error }
        return ReadView(registry: self.registry, lastContact: .zero, knownLeader: false)
    }

    /// Answers with the packet itself, marked as an answer.
    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        if let error = self.error { throw error }
        self.forwardedPackets.withLock { $0.append(packet) }
        var answer = packet
        answer[2] |= 0x80
        answer[3] = overTCP ? 5 : 0
        return answer
    }

    func propose(_ command: LogCommand, identity: String, timeout: Nanoseconds) async throws(ClusterError) -> LogResult
    {
        throw .notAServer
    }
    func waitForChange(of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds) async throws(ClusterError) {
    }
    func renewSession(_ id: String) async throws(ClusterError) -> Bool { false }
    func leaderAddress() async -> String { "" }
    func peerAddresses() async -> [String] { [] }
    func raftStatus() async throws(ClusterError) -> PeerRaftStatus { throw .notAServer }
    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) {}
    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse {
        throw .notAServer
    }
}

func quietLogger() -> Logger {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}
