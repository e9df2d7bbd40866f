import Certificates
import NIOConcurrencyHelpers
import NIOSSL
import Protocol
import Testing
import Transport
import Units

/// Who gets in, and what those who don't are told.
@Suite(.oneAtATime) struct AdmissionTests {
    @Test func withoutACertificateNothingIsRead() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: nil)
        try? await raw.send(RawClient.hello(cluster.identity(.server, "server-2", 2)))
        #expect(try await raw.refusal() == "a certificate of this cluster is required")
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func aClientThatAgreesOnNoProtocolIsTurnedAway() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let credentials = try cluster.credentials(.server, "server-2", 2)
        for alpn in [[], ["h2"]] {
            let raw = try await RawClient.connect(port: server.listener.port, credentials: credentials, alpn: alpn)
            try? await raw.send(RawClient.hello(credentials.identity))
            try await raw.waitUntilClosed()
        }
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func olderVersionsOfTLSAreRefused() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let credentials = try cluster.credentials(.server, "server-2", 2)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: credentials, newest: .tlsv12)
        try? await raw.send(RawClient.hello(credentials.identity))
        try await raw.waitUntilClosed()
        #expect(raw.frames.isEmpty)
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func anotherClustersCertificateIsRefusedByBothEnds() async throws {
        let ours = try TestCluster()
        let theirs = try TestCluster()
        let server = try await TestServer(ours)
        let client = try TestClient(theirs)
        let error = try #require(await callFailure(client.pool.connection(to: server.address)))
        #expect(error.description.contains("issued by another CA"))
        #expect(error.surelyNotSent)
        let raw = try await RawClient.connect(
            port: server.listener.port, credentials: theirs.credentials(.server, "server-2", 2))
        try? await raw.send(RawClient.hello(ours.identity(.server, "server-2", 2)))
        try await raw.waitUntilClosed()
        #expect(raw.frames.isEmpty)
        #expect(server.handler.seen.up.isEmpty)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func anExpiredCertificateIsRefused() async throws {
        let cluster = try TestCluster()
        let later = UnixSeconds.now().adding(seconds: 80 * UnixSeconds.day)
        let fresh = try cluster.credentials(.server, "server-1", 1, now: later)
        let server = try await TestServer(cluster, credentials: fresh, now: { later })
        let old = try cluster.credentials(.server, "server-2", 2)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: old)
        try? await raw.send(RawClient.hello(old.identity))
        try await raw.waitUntilClosed()
        #expect(raw.frames.isEmpty)
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func aRenewedCertificateIsUsedFromTheNextHandshakeOn() async throws {
        let cluster = try TestCluster()
        let clock = NIOLockedValueBox(UnixSeconds.now())
        let now: @Sendable () -> UnixSeconds = { clock.withLockedValue { $0 } }
        let server = try await TestServer(cluster, now: now)
        let client = try TestClient(cluster.credentials(.server, "server-2", 2), now: now)
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        let later = clock.withLockedValue { clock in
            clock = clock.adding(seconds: 80 * UnixSeconds.day)
            return clock
        }
        // What stands is closed, and no other takes its place.
        try await eventually("closed") { connection.remote == nil }
        try await eventually("refused") { client.failures.contains { $0.contains("certificate expired") } }
        #expect(connection.remote == nil)
        try server.security.update(cluster.credentials(.server, "server-1", 1, now: later))
        try client.security.update(cluster.credentials(.server, "server-2", 2, now: later))
        try await eventually("connected again") { connection.remote != nil }
        #expect(throws: TransportError.self) {
            try client.security.update(cluster.credentials(.server, "server-3", 3, now: later))
        }
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aConnectionOutlivesNoCertificateAtEitherEnd() async throws {
        let cluster = try TestCluster()
        let start = UnixSeconds.now()
        // 72 days, and the hour that clocks may differ by.
        let nearEnd = start.adding(seconds: 72 * UnixSeconds.day + UnixSeconds.hour - 60)
        let pastEnd = nearEnd.adding(seconds: 120)
        for isServersClock in [true, false] {
            let clock = NIOLockedValueBox(start)
            let moving: @Sendable () -> UnixSeconds = { clock.withLockedValue { $0 } }
            let standing: @Sendable () -> UnixSeconds = { start }
            let server = try await TestServer(cluster, now: isServersClock ? moving : standing)
            let client = try TestClient(
                cluster.credentials(.server, "server-2", 2), now: isServersClock ? standing : moving)
            let connection = try client.pool.connection(to: server.address)
            try await eventually("connected") { connection.remote != nil }
            clock.withLockedValue { $0 = nearEnd }
            // Longer than the time between two looks.
            try await Task.sleep(for: .seconds(2))
            #expect(connection.remote != nil)
            clock.withLockedValue { $0 = pastEnd }
            let name = isServersClock ? "server-2" : "server-1"
            try await eventually("closed, and both ends know why") {
                client.failures.contains { $0.contains(name) && $0.contains("has expired") }
            }
            client.pool.shutdown()
            await server.stop()
        }
    }

    @Test func aRevokedNodeIsToldSo() async throws {
        let cluster = try TestCluster()
        let revoked = NIOLockedValueBox(false)
        let server = try await TestServer(
            cluster,
            refusal: { identity in
                identity.nodeID == NodeID(2) && revoked.withLockedValue { $0 } ? "this node was revoked" : nil
            })
        let client = try TestClient(server: 2, cluster)
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        server.listener.disconnect(NodeID(3))
        _ = try await connection.call(httpRequest(), timeout: .seconds(30))
        // Its connection stands, and is closed for it.
        revoked.withLockedValue { $0 = true }
        try await eventually("refused") { client.failures.contains { $0.contains("this node was revoked") } }
        #expect(connection.remote == nil)
        let error = try #require(await callFailure(connection))
        #expect(error == .refused(address: server.address, reason: "this node was revoked"))
        #expect(error.surelyNotSent)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aNodeThatFindsARevokedServerRefusesToo() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(
            cluster.credentials(.server, "server-2", 2), refusal: { _ in "the server was revoked" })
        let error = await callFailure(try client.pool.connection(to: server.address))
        #expect(error == .refused(address: server.address, reason: "the server was revoked"))
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aNodeThatDialsItselfFindsOut() async throws {
        let cluster = try TestCluster()
        let credentials = try cluster.credentials(.server, "server-1", 1)
        let server = try await TestServer(cluster, credentials: credentials)
        let client = try TestClient(credentials)
        let error = await callFailure(try client.pool.connection(to: server.address))
        #expect(error == .thisNode(address: server.address))
        client.pool.shutdown()
        await server.stop()
    }

    @Test func nobodyTalksToAnAgentAsIfItWereAServer() async throws {
        let cluster = try TestCluster()
        let impostor = try await TestServer(cluster, credentials: cluster.credentials(.agent, "web-1", 9))
        let client = try TestClient(cluster)
        let error = try #require(await callFailure(client.pool.connection(to: impostor.address)))
        #expect(error.description.contains("is no server"))
        client.pool.shutdown()
        await impostor.stop()
    }

    /// Each lie in a greeting is found by comparing it with the certificate.
    @Test(arguments: [
        ("version", "protocol version 2 is spoken there, version 1 here"),
        ("cluster", "cluster is x"),
        ("role", "role 'server' does not match the certificate's role 'agent'"),
        ("node", "node id 0000000000000008 does not match the certificate's 0000000000000009"),
        ("name", "name 'web-2' does not match the certificate's 'web-1'"),
        ("address", "rpc address or datacenter is too long"),
    ])
    func aGreetingThatDisagreesWithTheCertificateIsRefused(lie: String, text: String) async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let credentials = try cluster.credentials(.agent, "web-1", 9)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: credentials)
        try await raw.send(
            RawClient.hello(credentials.identity) { hello in
                switch lie {
                case "version": hello.version = 2
                case "cluster": hello.clusterID = "x"
                case "role": hello.role = "server"
                case "node": hello.nodeID = 8
                case "name": hello.name = "web-2"
                default: hello.rpcAddress = String(repeating: "a", count: 301)
                }
            })
        let refusal = try #require(try await raw.refusal())
        #expect(refusal.hasPrefix(text))
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func tooManyConnectionsAreClosed() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.listenerConnectionsMax = 1
        let server = try await TestServer(cluster, settings: settings)
        let first = try TestClient(server: 2, cluster)
        let connection = try first.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        let second = try TestClient(server: 3, cluster)
        let error = try #require(await callFailure(second.pool.connection(to: server.address)))
        #expect(error.surelyNotSent)
        first.pool.shutdown()
        let other = try second.pool.connection(to: server.address)
        try await eventually("there is room again") { other.remote != nil }
        second.pool.shutdown()
        await server.stop()
    }
}

/// What somebody can do with bytes who got in, or is about to.
@Suite(.oneAtATime) struct ProtocolViolationTests {
    private func greeted(_ server: TestServer, _ role: NodeRole = .server) async throws -> RawClient {
        let credentials = try server.cluster.credentials(role, "node-5", 5)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: credentials)
        try await raw.send(RawClient.hello(credentials.identity))
        try await eventually("greeted") { !raw.frames.isEmpty }
        return raw
    }

    @Test func anOversizedFrameClosesTheConnectionBeforeItsBodyIsRead() async throws {
        let server = try await TestServer(try TestCluster())
        let raw = try await self.greeted(server)
        // 16 MiB and one byte.
        try await raw.send([1, 0, 0, 1])
        #expect(try await raw.refusal() == "a frame of 16777217 bytes exceeds the limit of 16777216")
        try await eventually("the handler hears of it") { server.handler.seen.down.count == 1 }
        await server.stop()
    }

    @Test func beforeTheGreetingFramesMustBeSmall() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let raw = try await RawClient.connect(
            port: server.listener.port, credentials: cluster.credentials(.server, "node-5", 5))
        try await raw.send([0, 1, 0, 1])
        #expect(try await raw.refusal() == "a frame of 65537 bytes exceeds the limit of 65536")
        await server.stop()
    }

    @Test func garbageInAFrameClosesTheConnection() async throws {
        let server = try await TestServer(try TestCluster())
        let raw = try await self.greeted(server)
        try await raw.send([0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFF])
        #expect(try await raw.refusal() == "a frame is not a valid message")
        await server.stop()
    }

    @Test func garbageInsteadOfTLSClosesTheConnection() async throws {
        let server = try await TestServer(try TestCluster())
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<20 {
            let raw = try await RawClient.connectPlain(port: server.listener.port)
            try? await raw.send((0..<500).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
            try await raw.waitUntilClosed()
        }
        #expect(server.handler.seen.up.isEmpty)
        await server.stop()
    }

    @Test func aClientThatNeverGreetsIsCutOff() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.handshakeTimeout = .milliseconds(200)
        let server = try await TestServer(cluster, settings: settings)
        let plain = try await RawClient.connectPlain(port: server.listener.port)
        try await plain.waitUntilClosed()
        let raw = try await RawClient.connect(
            port: server.listener.port, credentials: cluster.credentials(.server, "node-5", 5))
        try await raw.waitUntilClosed()
        await server.stop()
    }

    @Test func theServerSurvivesRandomFramesFromAKnownPeer() async throws {
        let server = try await TestServer(try TestCluster())
        var generator = SeededGenerator(seed: 17)
        for _ in 0..<60 {
            let raw = try await self.greeted(server)
            var bytes: [UInt8] = []
            for _ in 0..<20 {
                let count = Int.random(in: 0..<40, using: &generator)
                bytes += [0, 0, 0, UInt8(count)]
                // Half of the frames begin with a valid field: a Raft message, a request, a cancellation.
                let first: UInt8 =
                    [0x1A, 0x22, 0x32, 0x08, UInt8.random(in: .min ... .max, using: &generator)]
                    .randomElement(using: &generator) ?? 0
                bytes += (0..<count).map { $0 == 0 ? first : UInt8.random(in: .min ... .max, using: &generator) }
            }
            try? await raw.send(bytes)
            raw.close()
        }
        // Still there for others.
        let client = try TestClient(server.cluster)
        _ = try await client.pool.connection(to: server.address).call(httpRequest(), timeout: .seconds(30))
        client.pool.shutdown()
        await server.stop()
    }

    @Test func framesOutOfPlaceAreRefused() async throws {
        let server = try await TestServer(try TestCluster(), handler: Recorder(answer: waitForCancellation))
        var response = PeerFrame()
        response.response = PeerResponse()
        var unnumbered = PeerFrame()
        unnumbered.request = httpRequest()
        var numbered = unnumbered
        numbered.call = 4
        var badRaft = PeerFrame()
        badRaft.raft.from = 5
        badRaft.raft.to = 1
        let identity = try server.cluster.identity(.server, "node-5", 5)
        let cases: [([PeerFrame], String)] = [
            ([RawClient.hello(identity)], "a second greeting"),
            ([response], "an answer to no question"),
            ([unnumbered], "a request without a number"),
            ([numbered, numbered], "call number 4 is used twice"),
            ([badRaft], "malformed Raft message: unknown kind of Raft message"),
        ]
        for (frames, text) in cases {
            let raw = try await self.greeted(server)
            for frame in frames { try await raw.send(frame) }
            #expect(try await raw.refusal() == text)
        }
        await server.stop()
    }

    @Test func aCallOfALaterKindIsAnsweredAndTheConnectionGoesOn() async throws {
        let server = try await TestServer(try TestCluster())
        let raw = try await self.greeted(server)
        // Field 100 of a frame, call number 9, and then a keep-alive.
        try await raw.send([0, 0, 0, 6, 0x08, 9, 0xA2, 0x06, 1, 0, 0, 0, 0, 0])
        try await eventually("answered") { raw.frames.count == 2 }
        #expect(raw.frames.last?.call == 9)
        #expect(raw.frames.last?.response.errorCode == 501)
        raw.close()
        await server.stop()
    }
}
