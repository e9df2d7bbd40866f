import Cluster
import DNSCodec
import DNSServer
import NIOCore
import NIOPosix
import Testing
import Units

/// Real sockets of the loopback.
@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
    private func server(
        _ cluster: any ClusterAccess, _ change: (inout DNSListenerSettings) -> Void = { _ in }
    ) async throws -> DNSServer {
        var listener = DNSListenerSettings(port: 0)
        change(&listener)
        let server = DNSServer(
            settings: try DNSSettings(datacenter: "dc1"), listener: listener, cluster: cluster, logger: quietLogger(),
            seed: { 1 }, wallTime: { 1 })
        try await server.start()
        return server
    }

    private func cluster() throws -> TestCluster {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        return TestCluster(registry: catalog.registry)
    }

    private func query(_ id: UInt16 = 1, _ name: String = "n1.node.consul.") throws -> [UInt8] {
        try DNSMessage(id: id, questions: [DNSQuestion(name: try DNSName(name), type: .a)]).encoded()
    }

    private func frame(_ packet: [UInt8]) -> [UInt8] { [UInt8(packet.count >> 8), UInt8(packet.count & 255)] + packet }

    @Test func datagramsAreAnswered() async throws {
        let server = try await self.server(self.cluster())
        let port = try #require(server.udpPort)
        let client = try await DatagramClient(port: port)
        // What gets no answer does not end the service.
        try await client.send([1, 2, 3])
        try await client.send(self.query(7))
        let answer = try DNSMessage(decoding: try #require(await client.next()))
        #expect(answer.id == 7 && answer.answerTexts == ["A 10.0.0.1"])
        try await client.close()
        await server.stop()
    }

    @Test func aConnectionAnswersManyQuestionsInTheirOrder() async throws {
        let server = try await self.server(self.cluster())
        let client = try await StreamClient(port: try #require(server.tcpPort))
        // All at once, and one in two halves.
        let frames = try (1...50).map { self.frame(try self.query(UInt16($0))) }
        try await client.send(Array(frames.joined()))
        let last = self.frame(try self.query(51))
        try await client.send(Array(last[..<5]))
        try await Task.sleep(for: .milliseconds(20))
        try await client.send(Array(last[5...]))
        for id in 1...51 {
            let answer = try DNSMessage(decoding: try #require(await client.next()))
            #expect(Int(answer.id) == id && answer.answerTexts == ["A 10.0.0.1"])
        }
        try await client.close()
        await server.stop()
    }

    @Test func aClientThatHasSentItsLastStillGetsItsAnswers() async throws {
        let server = try await self.server(self.cluster())
        let client = try await StreamClient(port: try #require(server.tcpPort))
        try await client.send(self.frame(try self.query(1)) + self.frame(try self.query(2)))
        try await client.finishSending()
        #expect(try DNSMessage(decoding: try #require(await client.next())).id == 1)
        #expect(try DNSMessage(decoding: try #require(await client.next())).id == 2)
        #expect(await client.next() == nil)
        await server.stop()
    }

    @Test func anIdleConnectionIsClosed() async throws {
        let server = try await self.server(self.cluster()) { $0.idleTimeout = .milliseconds(50) }
        let client = try await StreamClient(port: try #require(server.tcpPort))
        try await client.send([0])
        #expect(await client.next() == nil)
        await server.stop()
    }

    @Test(arguments: [[UInt8]([0xFF, 0xFF]), [0, 11]])
    func aFrameOfAnImpossibleLengthEndsTheConnection(_ bytes: [UInt8]) async throws {
        let server = try await self.server(self.cluster())
        let client = try await StreamClient(port: try #require(server.tcpPort))
        try await client.send(bytes)
        #expect(await client.next() == nil)
        await server.stop()
    }

    @Test func connectionsBeyondTheBoundAreClosed() async throws {
        let server = try await self.server(self.cluster()) { $0.maximumConnections = 1 }
        let port = try #require(server.tcpPort)
        let first = try await StreamClient(port: port)
        try await first.send(self.frame(try self.query(1)))
        #expect(await first.next() != nil)
        let second = try await StreamClient(port: port)
        #expect(await second.next() == nil)
        try await first.send(self.frame(try self.query(2)))
        #expect(await first.next() != nil)
        try await first.close()
        await server.stop()
    }

    @Test func anAgentHandsItsQuestionsToAServer() async throws {
        let cluster = TestCluster(isServer: false)
        let server = try await self.server(cluster)
        let udp = try await DatagramClient(port: try #require(server.udpPort))
        try await udp.send(self.query(1))
        #expect(try DNSMessage(decoding: try #require(await udp.next())).responseCode == .noError)
        let tcp = try await StreamClient(port: try #require(server.tcpPort))
        try await tcp.send(self.frame(try self.query(2)))
        // The server beyond was told that it is for TCP.
        #expect(try DNSMessage(decoding: try #require(await tcp.next())).responseCode == .refused)
        #expect(try cluster.forwarded == [self.query(1), self.query(2)])
        try await udp.close()
        try await tcp.close()
        await server.stop()
    }

    @Test(arguments: [true, false])
    func withoutAStateTheAnswerIsAServerFailure(_ isServer: Bool) async throws {
        let server = try await self.server(TestCluster(isServer: isServer, error: .noServers))
        let client = try await DatagramClient(port: try #require(server.udpPort))
        try await client.send(self.query(3))
        let answer = try DNSMessage(decoding: try #require(await client.next()))
        #expect(answer.id == 3 && answer.responseCode == .serverFailure)
        try await client.close()
        await server.stop()
    }

    @Test func anAddressThatIsTakenIsAClearError() async throws {
        let first = try await self.server(self.cluster())
        let port = try #require(first.tcpPort)
        await #expect(throws: DNSServerError.self) { _ = try await self.server(self.cluster()) { $0.port = port } }
        await first.stop()
    }

    @Test func aClientThatTakesNoAnswersIsNotReadAnyMore() async throws {
        // Answers are as large as the questions, so that both directions fill up.
        let cluster = TestCluster(isServer: false)
        let server = try await self.server(cluster) { $0.idleTimeout = .seconds(1) }
        let client = try await StreamClient(port: try #require(server.tcpPort), reads: false)
        let question = self.frame(try self.query(1) + [UInt8](repeating: 0, count: 4000))
        // Far more than sockets and watermarks hold; the connection ends with the idle time instead of taking it all.
        let sent = Task { for _ in 0..<20_000 { try await client.send(question) } }
        await #expect(throws: (any Error).self) { try await sent.value }
        #expect(cluster.forwarded.count < 20_000)
        await server.stop()
    }

    @Test func aStoppedServerAnswersNoMore() async throws {
        let server = try await self.server(self.cluster())
        let port = try #require(server.tcpPort)
        let open = try await StreamClient(port: port)
        try await open.send(self.frame(try self.query(1)))
        #expect(await open.next() != nil)
        await server.stop()
        #expect(await open.next() == nil)
        await #expect(throws: (any Error).self) { _ = try await StreamClient(port: port) }
        #expect(server.tcpPort == nil)
    }
}
