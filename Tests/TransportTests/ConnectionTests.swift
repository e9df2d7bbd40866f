import Certificates
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import Raft
import Testing
import Transport
import Units

@Suite(.oneAtATime) struct ConnectionTests {
    @Test func whereNobodyListensACallFailsUnsent() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        await server.stop()
        let client = try TestClient(cluster)
        let error = try #require(await callFailure(client.pool.connection(to: server.address)))
        guard case .unreachable = error else {
            Issue.record("\(error)")
            return
        }
        #expect(error.surelyNotSent)
        client.pool.shutdown()
    }

    /// A failed attempt is one failure, and is followed by one attempt: two of each would double with every round.
    @Test func aFailedAttemptIsReportedOnce() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        await server.stop()
        var settings = patient
        settings.backoffMin = .seconds(600)
        settings.backoffMax = .seconds(600)
        let client = try TestClient(cluster, settings: settings)
        for host in ["127.0.0.1", "localhost"] {
            _ = try client.pool.connection(to: "\(host):\(server.listener.port)")
        }
        try await eventually("both fail") { client.failures.count >= 2 }
        try await Task.sleep(for: .milliseconds(300))
        #expect(client.failures.count == 2)
        client.pool.shutdown()
    }

    @Test func aNameIsLookedUp() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: "localhost:\(server.listener.port)")
        #expect(try await connection.call(httpRequest([3]), timeout: .seconds(30)).http.body.first == 3)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aConnectionComesBackByItself() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let proxy = try await Proxy.start(to: server.listener.port)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: proxy.address)
        for round in 1...3 {
            try await eventually("connected, round \(round)") { connection.remote != nil }
            let before = connection.remote
            proxy.cut()
            try await eventually("another connection, round \(round)") {
                connection.remote != nil && connection.remote != before
            }
            #expect(try await connection.call(httpRequest([9]), timeout: .seconds(30)).http.body.first == 9)
        }
        client.pool.shutdown()
        await proxy.stop()
        await server.stop()
    }

    @Test func callsThatWaitWhenTheConnectionBreaksFailAtOnce() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let proxy = try await Proxy.start(to: server.listener.port)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: proxy.address)
        let errors = NIOLockedValueBox<[TransportError]>([])
        for _ in 0..<50 {
            connection.call(httpRequest(), timeout: .seconds(600)) { result in
                if case .failure(let error) = result { errors.withLockedValue { $0.append(error) } }
            }
        }
        try await eventually("all requests arrive") { server.handler.seen.requests == 50 }
        proxy.cut()
        try await eventually("all calls fail") { errors.withLockedValue { $0.count } == 50 }
        for error in errors.withLockedValue({ $0 }) {
            guard case .connectionLost(_, sent: true) = error else {
                Issue.record("\(error)")
                continue
            }
        }
        try await eventually("the handlers are cancelled") { server.handler.seen.cancelled == 50 }
        client.pool.shutdown()
        await proxy.stop()
        await server.stop()
    }

    /// The answer's first half arrives, the rest never: no call may be answered by half a frame.
    @Test(arguments: [1000, 30_000, 200_000, 900_000])
    func aConnectionCutInTheMiddleOfAFrameLosesItsCallsAndNothingElse(bytes: Int) async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let proxy = try await Proxy.start(to: server.listener.port)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: proxy.address)
        try await eventually("connected") { connection.remote != nil }
        proxy.set(.cut(after: bytes))
        let error = await callFailure(connection, httpRequest([UInt8](repeating: 5, count: 1 << 20)))
        guard case .connectionLost(_, sent: true) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        proxy.set(.forward)
        try await eventually("connected again") { connection.remote != nil }
        let response = try await connection.call(httpRequest([1]), timeout: .seconds(30))
        #expect(Array(response.http.body) == [1])
        client.pool.shutdown()
        await proxy.stop()
        await server.stop()
    }

    @Test func bothEndsFindOutThatTheirConnectionIsHalfOpen() async throws {
        var settings = patient
        settings.idleTimeout = .seconds(1)
        settings.keepAliveInterval = .milliseconds(100)
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation), settings: settings)
        let proxy = try await Proxy.start(to: server.listener.port)
        let client = try TestClient(cluster, settings: settings)
        let connection = try client.pool.connection(to: proxy.address)
        let lost = NIOLockedValueBox<[TransportError]>([])
        // On a busy machine the connection may be given up for silence before the proxy falls silent: then once more.
        try await eventually("a request arrives") {
            let arrived = server.handler.seen.requests
            connection.call(httpRequest(), timeout: .seconds(600)) { result in
                if case .failure(let error) = result { lost.withLockedValue { $0.append(error) } }
            }
            try? await Task.sleep(for: .milliseconds(50))
            return server.handler.seen.requests > arrived
        }
        proxy.set(.swallow)
        try await eventually("the client gives the connection up") {
            lost.withLockedValue { $0.last?.description.contains("nothing was heard") ?? false }
        }
        try await eventually("the server gives the connection up, with its handlers") {
            let seen = server.handler.seen
            return seen.down.count == seen.up.count && seen.cancelled == seen.requests
        }
        #expect(connection.remote == nil)
        client.pool.shutdown()
        await proxy.stop()
        await server.stop()
    }

    @Test func keepAlivesKeepAnIdleConnectionUp() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.idleTimeout = .seconds(2)
        settings.keepAliveInterval = .milliseconds(50)
        let server = try await TestServer(cluster, settings: settings)
        let client = try TestClient(cluster, settings: settings)
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        let before = connection.remote
        try await Task.sleep(for: .seconds(3))
        #expect(connection.remote == before)
        #expect(server.handler.seen.down.isEmpty)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aListenerThatNeverSpeaksIsGivenUp() async throws {
        let mute = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let cluster = try TestCluster()
        var settings = patient
        settings.handshakeTimeout = .milliseconds(100)
        let client = try TestClient(cluster, settings: settings)
        let connection = try client.pool.connection(to: "127.0.0.1:\(mute.localAddress?.port ?? 0)")
        let error = try #require(await callFailure(connection))
        #expect(error.surelyNotSent)
        #expect(error.description.contains("took too long"))
        client.pool.shutdown()
        try await mute.close().get()
    }

    @Test func aPoolHasOneConnectionPerAddressAndABound() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        var settings = patient
        settings.poolConnectionsMax = 2
        let client = try TestClient(cluster, settings: settings)
        let first = try client.pool.connection(to: server.address)
        #expect(try client.pool.connection(to: server.address) === first)
        _ = try client.pool.connection(to: "127.0.0.1:1")
        #expect(throws: TransportError.overloaded("more than 2 peers")) {
            try client.pool.connection(to: "127.0.0.1:2")
        }
        #expect(client.pool.addresses == ["127.0.0.1:1", server.address].sorted())
        client.pool.close("127.0.0.1:1")
        _ = try client.pool.connection(to: "127.0.0.1:2")
        client.pool.shutdown()
        #expect(throws: TransportError.shutDown) { try client.pool.connection(to: server.address) }
        #expect(await callFailure(first) == .shutDown)
        await server.stop()
    }

    @Test func aClosedConnectionEndsItsCalls() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let call = Task { await callFailure(connection, timeout: .seconds(600)) }
        try await eventually("the request arrives") { server.handler.seen.requests == 1 }
        client.pool.close(server.address)
        #expect(await call.value == .connectionLost(reason: "closed by this side", sent: true))
        try await eventually("the server hears of it") { server.handler.seen.down.count == 1 }
        await server.stop()
    }

    @Test(arguments: ["", "host", "host:", ":8300", "host:0", "host:65536", "::1:8300", "a b:1", "[::1]"])
    func whatIsNoAddressIsRefused(text: String) {
        #expect(throws: TransportError.invalidAddress(text)) { try PeerAddress(text) }
    }

    @Test func addressesAreReadAndWritten() throws {
        #expect(try PeerAddress("[::1]:8300").host == "::1")
        #expect(try PeerAddress("[::1]:8300").description == "[::1]:8300")
        #expect(try PeerAddress("server-1.dc1.consul:8300").port == 8300)
    }

    @Test func settingsThatMakeNoSenseAreNamed() {
        #expect(TransportSettings().complaint == nil)
        var settings = patient
        settings.idleTimeout = settings.keepAliveInterval
        #expect(settings.complaint == "idleTimeout must exceed keepAliveInterval")
        #expect(throws: TransportError.invalidSetting("idleTimeout must exceed keepAliveInterval")) {
            let cluster = try TestCluster()
            _ = try TestClient(cluster, settings: settings)
        }
    }
}

@Suite(.oneAtATime) struct RaftTrafficTests {
    @Test func raftMessagesArriveInOrderInBursts() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let messages = (1...4000 as ClosedRange<UInt64>).map { heartbeat(from: 2, to: 1, sequence: $0) }
        // Some before the connection stands, one by one and in batches.
        for message in messages.prefix(100) { connection.send(raft: message) }
        connection.send(raft: messages.dropFirst(100))
        try await eventually("all arrive") { server.handler.seen.raft.count == 4000 }
        #expect(server.handler.seen.raft == messages)
        #expect(server.handler.seen.bursts < 4000)
        #expect(connection.droppedRaftMessages == 0)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aMessageForAnotherNodeIsNotDelivered() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        connection.send(raft: heartbeat(from: 2, to: 77, sequence: 1))
        connection.send(raft: heartbeat(from: 2, to: 1, sequence: 2))
        try await eventually("the other arrives") { !server.handler.seen.raft.isEmpty }
        #expect(server.handler.seen.raft == [heartbeat(from: 2, to: 1, sequence: 2)])
        client.pool.shutdown()
        await server.stop()
    }

    @Test func anAgentThatSpeaksRaftIsTurnedAway() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster.credentials(.agent, "web-1", 9))
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        connection.send(raft: heartbeat(from: 9, to: 1))
        try await eventually("turned away") { client.failures.contains("an agent must not speak Raft") }
        #expect(server.handler.seen.raft.isEmpty)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aServerThatSpeaksForAnotherIsTurnedAway() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(server: 2, cluster)
        let connection = try client.pool.connection(to: server.address)
        connection.send(raft: heartbeat(from: 3, to: 1))
        try await eventually("turned away") {
            client.failures.contains("a Raft message from 0000000000000003 came from 0000000000000002")
        }
        #expect(server.handler.seen.raft.isEmpty)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aFullQueueDropsTheOldestMessagesButNoChunks() {
        var settings = patient
        settings.raftQueueMessages = 4
        var queue = RaftQueue(settings)
        let chunk = WireSamples.chunk(from: 2, to: 1, bytes: 100)
        queue.append(chunk)
        for sequence in 1...6 as ClosedRange<UInt64> { queue.append(heartbeat(from: 2, to: 1, sequence: sequence)) }
        var rest: [Raft.Message] = []
        while let message = queue.popFirst() { rest.append(message) }
        #expect(rest == [chunk] + (4...6).map { heartbeat(from: 2, to: 1, sequence: $0) })
        #expect(queue.dropped == 3)
        #expect(queue.bytes == 0)
    }

    @Test func aQueueFullOfChunksTakesNothingMore() {
        var settings = patient
        settings.raftQueueBytes = .mebibytes(1)
        var queue = RaftQueue(settings)
        for _ in 0..<5 { queue.append(WireSamples.chunk(from: 2, to: 1, bytes: 300_000)) }
        #expect(queue.count == 3)
        queue.append(heartbeat(from: 2, to: 1))
        #expect(queue.count == 4)
        #expect(queue.bytes <= 1 << 20)
        #expect(queue.dropped == 2)
    }

    @Test func aMessageLargerThanTheQueueGoesAlone() {
        var settings = patient
        settings.raftQueueBytes = .mebibytes(1)
        var queue = RaftQueue(settings)
        queue.append(heartbeat(from: 2, to: 1))
        queue.append(WireSamples.chunk(from: 2, to: 1, bytes: 2 << 20))
        #expect(queue.count == 1)
        #expect(queue.popFirst() == WireSamples.chunk(from: 2, to: 1, bytes: 2 << 20))
    }
}
