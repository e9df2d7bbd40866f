import Certificates
import Protocol
import Testing
import Transport
import Units

@Suite(.oneAtATime) struct JoinTests {
    private func join(
        _ server: TestServer, token: String, name: String = "web-1", key: NodeKey = .generate()
    ) async throws -> JoinClient.Joined {
        try await JoinClient.join(
            ["127.0.0.1:1", server.address], token: token, name: name, nodeID: NodeID(9), key: key, group: group,
            settings: patient, logger: silent)
    }

    private func refusal(_ body: () async throws -> Void) async -> TransportError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? TransportError
        }
    }

    @Test func anAgentEntersWithItsTokenAndThenConnects() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(authority: cluster.authority))
        let token = try JoinToken(role: .agent, secret: cluster.secret).text
        let joined = try await self.join(server, token: token)
        #expect(try joined.credentials.identity == cluster.identity(.agent, "web-1", 9))
        #expect(joined.serverAddresses == ["10.0.0.1:8300"])
        #expect(server.handler.seen.signings == 1)
        #expect(server.handler.seen.up.isEmpty)
        let client = try TestClient(joined.credentials)
        let response = try await client.pool.connection(to: server.address).call(
            httpRequest([4]), timeout: .seconds(30))
        #expect(Array(response.http.body) == [4])
        client.pool.shutdown()
        await server.stop()
    }

    @Test func theTokenIsNotShownToAServerOfAnotherCluster() async throws {
        let theirs = try TestCluster()
        let server = try await TestServer(theirs, handler: Recorder(authority: theirs.authority))
        let token = try JoinToken(role: .agent, secret: TestCluster().secret).text
        let error = try #require(await self.refusal { _ = try await self.join(server, token: token) })
        #expect(error.description.contains("the peer's CA is not the one in the join token"))
        #expect(server.handler.seen.signings == 0)
        await server.stop()
    }

    @Test func theTokenIsNotShownToAnAgent() async throws {
        let cluster = try TestCluster()
        let impostor = try await TestServer(
            cluster, handler: Recorder(authority: cluster.authority),
            credentials: cluster.credentials(.agent, "web-2", 8))
        let token = try JoinToken(role: .agent, secret: cluster.secret).text
        let error = await self.refusal { _ = try await self.join(impostor, token: token) }
        #expect(error == .refused(address: impostor.address, reason: "this is no server of the cluster"))
        #expect(impostor.handler.seen.signings == 0)
        await impostor.stop()
    }

    @Test func aTokenThatIsNoGoodIsRefusedBeforeAnyServerIsAsked() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(authority: cluster.authority))
        let past = UnixSeconds.now().adding(seconds: -100)
        let bad = [
            "nonsense", try JoinToken(role: .server, secret: cluster.secret).text,
            try JoinToken(role: .agent, secret: cluster.secret, now: past, lifetime: 10).text,
        ]
        for token in bad {
            guard case .joinRefused = await self.refusal({ _ = try await self.join(server, token: token) }) else {
                Issue.record("\(token) was not refused")
                continue
            }
        }
        let good = try JoinToken(role: .agent, secret: cluster.secret).text
        guard case .joinRefused = await self.refusal({ _ = try await self.join(server, token: good, name: "a b") })
        else {
            Issue.record("the name was not refused")
            return
        }
        #expect(server.handler.seen.signings == 0)
        await server.stop()
    }

    @Test func theServersReasonReachesTheAgent() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let token = try JoinToken(role: .agent, secret: cluster.secret).text
        #expect(await self.refusal { _ = try await self.join(server, token: token) } == .joinRefused("not here"))
        await server.stop()
    }

    /// Signed by the right CA, but for somebody else.
    @Test func anAgentTakesNoCertificateThatIsNotItsOwn() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(authority: cluster.authority))
        let token = try JoinToken(role: .agent, secret: cluster.secret).text
        let joined = try await self.join(server, token: token, name: "web-7")
        #expect(joined.credentials.identity.name == "web-7")
        #expect(throws: CertificatesError.self) {
            try NodeCredentials(
                certificateDER: joined.credentials.certificateDER, key: .generate(), caDER: joined.credentials.caDER)
        }
        await server.stop()
    }

    @Test func aBootstrapConnectionCanAskForNothingElse() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(authority: cluster.authority))
        var request = PeerFrame()
        request.call = 1
        request.request = httpRequest()
        var raft = PeerFrame()
        raft.raft = RaftWire.encode(heartbeat(from: 2, to: 1))
        var unnumbered = PeerFrame()
        unnumbered.request.signCertificate = PeerSignCertificate()
        var proposed = PeerFrame()
        proposed.call = 1
        proposed.request = proposal(1)
        let identity = try cluster.identity(.server, "server-2", 2)
        for frame in [request, raft, unnumbered, proposed, RawClient.hello(identity)] {
            // A good certificate makes no difference: this door leads to one room.
            for credentials in [nil, try cluster.credentials(.server, "server-2", 2)] {
                let raw = try await RawClient.connect(
                    port: server.listener.port, credentials: credentials, alpn: ["serai-join"])
                try await raw.send(frame)
                #expect(try await raw.refusal() == "only certificates can be asked for without a certificate")
            }
        }
        let seen = server.handler.seen
        #expect(seen.up.isEmpty && seen.raft.isEmpty && seen.requests == 0 && seen.signings == 0 && seen.proposals == 0)
        await server.stop()
    }

    @Test func aBootstrapConnectionAsksAFewTimesAtMost() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: nil, alpn: ["serai-join"])
        for call in 1...5 as ClosedRange<UInt64> {
            var frame = PeerFrame()
            frame.call = call
            frame.request.signCertificate = PeerSignCertificate()
            try? await raw.send(frame)
        }
        #expect(try await raw.refusal() == "too many requests")
        #expect(server.handler.seen.signings <= 4)
        await server.stop()
    }

    @Test func aBootstrapConnectionEndsByItself() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.joinTimeout = .milliseconds(200)
        let server = try await TestServer(cluster, settings: settings)
        let raw = try await RawClient.connect(port: server.listener.port, credentials: nil, alpn: ["serai-join"])
        #expect(try await raw.refusal() == "joining took too long")
        await server.stop()
    }
}
