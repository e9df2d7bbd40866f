import Cluster
import DNSCodec
import DNSServer
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Units

/// Names of others, asked of name servers that the test plays.
@Suite(.timeLimit(.minutes(1))) struct RecursorTests {
    private func server(
        _ recursors: [Int], isServer: Bool = true, _ change: (inout DNSListenerSettings) -> Void = { _ in }
    ) throws -> DNSServer {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        try catalog.node("named", "host.example.com")
        try catalog.service("ext", on: "n1", address: "host.example.com", port: 443)
        var listener = DNSListenerSettings(port: 0)
        listener.recursion.recursors = recursors.compactMap { DNSRecursor("127.0.0.1:\($0)") }
        listener.recursion.timeout = .milliseconds(200)
        change(&listener)
        return DNSServer(
            settings: try DNSSettings(datacenter: "dc1"), listener: listener,
            cluster: TestCluster(registry: catalog.registry, isServer: isServer), logger: quietLogger(),
            seed: { .random(in: .min ... .max) }, wallTime: { 1 })
    }

    private func ask(
        _ server: DNSServer, _ name: String, _ type: DNSRecordType = .a, overTCP: Bool = false
    ) async throws -> DNSMessage {
        let query = DNSMessage(
            id: 99, recursionDesired: true, questions: [DNSQuestion(name: try DNSName(name), type: type)])
        let answer = try DNSMessage(decoding: await server.answer(packet: try query.encoded(), overTCP: overTCP))
        #expect(answer.id == 99 && answer.questions == query.questions)
        return answer
    }

    @Test func namesOfOthersAreAskedOfARecursor() async throws {
        let recursor = try await FakeRecursor { $0.answers = [record("host.example.com.", "198.51.100.1")] }
        let server = try self.server([recursor.port])
        let answer = try await self.ask(server, "host.example.com.")
        #expect(answer.answerTexts == ["A 198.51.100.1"] && !answer.authoritative)
        #expect(try await self.ask(server, "n1.node.consul.").recursionAvailable)
        #expect(try await self.ask(try self.server([]), "host.example.com.").responseCode == .refused)
        #expect(recursor.count == 1)
        try await recursor.close()
    }

    @Test func aFailureAndARefusalAreLeftForTheNextAndNoSuchNameIsAnAnswer() async throws {
        let broken = try await FakeRecursor { $0.responseCode = .serverFailure }
        let refusing = try await FakeRecursor { $0.responseCode = .refused }
        let silent = try await FakeRecursor(isSilent: true) { _ in }
        let knowing = try await FakeRecursor { $0.responseCode = .nameError }
        let answer = try await self.ask(
            try self.server([broken.port, refusing.port, silent.port, knowing.port]), "none.example.com.")
        #expect(answer.responseCode == .nameError)
        #expect([broken.count, refusing.count, silent.count, knowing.count] == [1, 1, 1, 1])
        let nobody = try await self.ask(try self.server([broken.port, silent.port]), "none.example.com.")
        #expect(nobody.responseCode == .serverFailure && nobody.recursionAvailable)
        for recursor in [broken, refusing, silent, knowing] { try await recursor.close() }
    }

    @Test func whatAnswersAnotherQuestionIsNotBelieved() async throws {
        let forger = try await FakeRecursor { answer in
            answer.id = answer.id &+ 1
            answer.answers = [record("host.example.com.", "203.0.113.66")]
        }
        let other = try await FakeRecursor { answer in
            answer.questions[0].type = .aaaa
            answer.answers = [record("host.example.com.", "203.0.113.67")]
        }
        let server = try self.server([forger.port, other.port])
        #expect(try await self.ask(server, "host.example.com.").responseCode == .serverFailure)
        for recursor in [forger, other] { try await recursor.close() }
    }

    @Test func theHostsOfAliasesAndLocationsAreFoundThroughRecursors() async throws {
        let recursor = try await FakeRecursor { $0.answers = [record("host.example.com.", "198.51.100.1")] }
        let server = try self.server([recursor.port])
        let alias = try await self.ask(server, "named.node.consul.")
        #expect(alias.answers.map(\.text) == ["CNAME host.example.com.", "A 198.51.100.1"] && alias.authoritative)
        let location = try await self.ask(server, "ext.service.consul.", .srv)
        #expect(location.answerTexts == ["SRV 1 1 443 host.example.com."])
        #expect(location.additionalTexts == ["host.example.com. A 198.51.100.1"])
        try await recursor.close()
        // Nobody knows: what we know is still said.
        let silent = try self.server([recursor.port])
        #expect(try await self.ask(silent, "named.node.consul.").answerTexts == ["CNAME host.example.com."])
    }

    @Test func reversedAddressesThatAreNotOursGoOn() async throws {
        let recursor = try await FakeRecursor { $0.responseCode = .noError }
        let server = try self.server([recursor.port])
        #expect(try await self.ask(server, "1.0.0.10.in-addr.arpa.", .ptr).answers.count == 1)
        #expect(recursor.count == 0)
        #expect(try await self.ask(server, "9.9.9.9.in-addr.arpa.", .ptr).responseCode == .noError)
        #expect(recursor.count == 1)
        try await recursor.close()
    }

    @Test func anAgentAsksItsOwnRecursorsAboutOthersAndItsServerAboutUs() async throws {
        let recursor = try await FakeRecursor { $0.answers = [record("host.example.com.", "198.51.100.1")] }
        let server = try self.server([recursor.port], isServer: false)
        #expect(try await self.ask(server, "host.example.com.").answers.count == 1)
        // The played server gives the packet back.
        #expect(try await self.ask(server, "n1.node.consul.").answers.isEmpty)
        #expect(recursor.count == 1)
        try await recursor.close()
    }

    @Test func whatIsTooLargeForADatagramIsCutWhateverTheClientSaysItTakes() async throws {
        let recursor = try await FakeRecursor { answer in
            answer.answers = (0..<300).map { record("host.example.com.", "198.51.\($0 / 256).\($0 % 256)") }
        }
        let server = try self.server([recursor.port])
        let query = DNSMessage(
            id: 99, recursionDesired: true, questions: [DNSQuestion(name: try DNSName("host.example.com."), type: .a)],
            extension: DNSExtension(payloadSize: 65_535))
        let datagram = await server.answer(packet: try query.encoded(), overTCP: false)
        let answer = try DNSMessage(decoding: datagram)
        #expect(datagram.count <= 4096 && answer.truncated && answer.id == 99)
        try await recursor.close()
    }

    @Test func noMoreQuestionsAreUnderWayThanMayBe() async throws {
        let silent = try await FakeRecursor(isSilent: true) { _ in }
        let server = try self.server([silent.port]) { $0.recursion.maximumPending = 2 }
        let codes = try await withThrowingTaskGroup(of: DNSResponseCode.self) { group in
            for _ in 0..<10 { group.addTask { try await self.ask(server, "host.example.com.").responseCode } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.allSatisfy { $0 == .serverFailure })
        #expect(silent.count <= 2)
        try await silent.close()
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1:53"), ("192.0.2.1:5353", "192.0.2.1:5353"), ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"), ("[2001:db8::1]", "[2001:db8::1]:53"), ("dns.example.com", nil),
        ("192.0.2.1:0", nil), ("192.0.2.1:65536", nil), ("[2001:db8::1", nil), ("", nil), ("192.0.2.1:x", nil),
    ])
    func recursorsAreReadFromText(_ text: String, _ expected: String?) {
        #expect(DNSRecursor(text)?.description == expected)
    }
}

private func record(_ name: String, _ address: String) -> DNSRecord {
    let bytes = address.split(separator: ".").compactMap { UInt8($0) }
    return DNSRecord(name: (try? DNSName(name)) ?? .root, timeToLive: 60, data: .a(bytes))
}

/// A name server that answers each question by a rule; nil is silence.
private final class FakeRecursor: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let rule: @Sendable (inout DNSMessage) -> Void
    private let isSilent: Bool
    private let seen = Mutex(0)
    private let channel = Mutex<(any Channel)?>(nil)

    var count: Int { self.seen.withLock { $0 } }
    var port: Int { self.channel.withLock { $0?.localAddress?.port } ?? 0 }

    init(isSilent: Bool = false, _ rule: @escaping @Sendable (inout DNSMessage) -> Void) async throws {
        self.rule = rule
        self.isSilent = isSilent
        let bound = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.channel.withLock { $0 = bound }
    }

    func close() async throws { try await self.channel.withLock { $0 }?.close() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = self.unwrapInboundIn(data)
        self.seen.withLock { $0 += 1 }
        guard var message = try? DNSMessage(decoding: Array(envelope.data.readableBytesView)) else { return }
        message.isResponse = true
        message.recursionAvailable = true
        self.rule(&message)
        guard !self.isSilent, let bytes = try? message.encoded() else { return }
        let reply = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: bytes))
        context.writeAndFlush(self.wrapOutboundOut(reply), promise: nil)
    }
}
