import Cluster
import HTTPAPI
import Protocol
import Testing

/// An agent passes on whole requests; a server answers them by the same routes.
@Suite struct ForwardingTests {
    let server = Desk()
    let agent: Desk

    init() {
        let server = self.server
        self.agent = Desk(cluster: FakeCluster(isServer: false) { await server.api.respond(to: $0) })
    }

    @Test func aForwardedAnswerIsTheServersOwn() async {
        let put = await self.agent.put("/v1/kv/a%2Fb", "hello")
        #expect(put.short == "200 true")
        #expect(put["X-Consul-ModifyIndex"] == "11")
        let direct = await self.server.get("/v1/kv/a%2Fb")
        let passed = await self.agent.get("/v1/kv/a%2Fb")
        #expect(passed.short == direct.short)
        #expect(passed["X-Consul-Index"] == direct["X-Consul-Index"])
        #expect(passed["Content-Type"] == "application/json")
        #expect(passed.headers.count { $0.name == "X-Consul-Default-Acl-Policy" } == 1)
        #expect(self.agent.cluster.forwarded.last?.target == "/v1/kv/a%2Fb")
    }

    @Test(arguments: [ClusterError.noLeader, .overloaded(leaderOnly: true), .diskFull])
    func anAgentIsToldThatNothingWasPlacedAndItsClientIsNot(_ error: ClusterError) async {
        self.server.cluster.fail(error)
        var request = PeerHTTPRequest()
        (request.method, request.target) = ("PUT", "/v1/kv/a")
        let answer = await self.server.api.respond(to: request, origin: "a1")
        #expect(answer.headers.contains { $0.name == ForwardedHeader.notPlaced })
        let server = self.server
        let agent = Desk(cluster: FakeCluster(isServer: false) { await server.api.respond(to: $0, origin: "a1") })
        let passed = await agent.put("/v1/kv/a", "1")
        #expect(passed.status == Int(answer.status) && passed[ForwardedHeader.notPlaced] == nil)
        self.server.cluster.fail(.outcomeUnknown("lost"))
        let unknown = await self.server.api.respond(to: request, origin: "a1")
        #expect(!unknown.headers.contains { $0.name == ForwardedHeader.notPlaced })
    }

    @Test func theTokenAndTheAgentsNameGoAlong() async {
        _ = await self.agent.ask("GET", "/v1/kv/a", headers: [("Authorization", "Bearer secret")])
        let headers = self.agent.cluster.forwarded.last?.headers.map { "\($0.name): \($0.value)" }
        #expect(headers == ["X-Serai-Agent: a1", "X-Consul-Token: secret"])
    }

    @Test func aSessionMadeThroughAnAgentStandsOnThatAgentsNode() async {
        _ = await self.server.put(
            "/v1/catalog/register",
            #"{"Node":"a1","Address":"10.0.0.7","Check":{"Name":"serfHealth","Status":"passing"}}"#)
        #expect(await self.agent.put("/v1/session/create").status == 200)
        guard case .sessionCreate(let create)? = self.server.cluster.proposals.last?.kind else {
            Issue.record("no session was proposed")
            return
        }
        #expect(create.node == "a1")
    }

    @Test func theCertificatesNameCountsBeforeTheHeader() async {
        var request = PeerHTTPRequest()
        request.method = "PUT"
        request.target = "/v1/session/create"
        var header = PeerHeader()
        header.name = "X-Serai-Agent"
        header.value = "pretender"
        request.headers = [header]
        _ = await self.server.api.respond(to: request, origin: "honest")
        guard case .sessionCreate(let create)? = self.server.cluster.proposals.last?.kind else {
            Issue.record("no session was proposed")
            return
        }
        #expect(create.node == "honest")
    }

    @Test func agentRoutesStayOnTheAgent() async {
        #expect(await self.agent.get("/v1/agent/services").short == "200 {}")
        #expect(await self.agent.get("/v1/catalog/datacenters").short == #"200 ["dc1"]"#)
        #expect(await self.agent.get("/v1/nonsense").status == 404)
        #expect(await self.agent.ask("POST", "/v1/kv/a").status == 405)
        #expect(self.agent.cluster.forwarded.isEmpty)
    }

    @Test func anAgentCannotUseItsServersOwnRoutes() async {
        func ask(_ method: String, _ target: String) async -> Int {
            var request = PeerHTTPRequest()
            request.method = method
            request.target = target
            return Int(await self.server.api.respond(to: request, origin: "a1").status)
        }
        #expect(await ask("PUT", "/v1/agent/leave") == 403)
        #expect(await ask("PUT", "/v1/agent/service/register") == 403)
        #expect(await ask("GET", "/v1/agent/members") == 200)
        #expect(await ask("GET", "/v1/catalog/nodes") == 200)
        #expect(self.server.agent.calls.isEmpty)
    }

    @Test func anAgentWithoutServersSaysSo() async {
        self.agent.cluster.fail(.noServers)
        #expect(await self.agent.get("/v1/kv/a").short == "500 No known Consul servers")
        #expect(await self.agent.get("/v1/agent/self").status == 200)
    }

    @Test func aWaitOnAnAgentWaitsAtTheServer() async {
        _ = await self.server.put("/v1/kv/a", "1")
        let (agent, server) = (self.agent, self.server)
        async let waiting = agent.get("/v1/kv/a?index=11&wait=10m&raw")
        #expect(await eventually { server.cluster.waiterCount == 1 })
        _ = await server.put("/v1/kv/a", "2")
        #expect(await waiting.short == "200 2")
    }

    @Test(.timeLimit(.minutes(1))) func aWaitThatWasBegunElsewhereEndsWhenItsClientsTimeIsOver() async {
        _ = await self.server.put("/v1/kv/a", "1")
        // The agent has its client's last 50 ms and its own margin left.
        let left = 50 + self.server.api.forwardMargin.rawValue / 1_000_000
        let reply = await self.server.ask(
            "GET", "/v1/kv/a?index=11&wait=10m&raw", headers: [(ForwardedHeader.patience, "\(left)")])
        #expect(reply.short == "200 1")
        #expect(reply["X-Consul-Index"] == "11")
    }

    @Test func snapshotsPassThroughAnAgent() async {
        let saved = await self.agent.get("/v1/snapshot")
        #expect(saved.short == "200 onetwothree")
        #expect(saved["Content-Type"] == "application/x-gzip")
        #expect(saved["X-Consul-Index"] == "42")
        #expect(await self.agent.put("/v1/snapshot", "archive").short == "200 ")
        #expect(self.server.snapshot.restored == Array("archive".utf8))
        #expect(await self.agent.put("/v1/snapshot", "junk").short == "400 not a snapshot")
    }
}
