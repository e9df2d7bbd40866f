import Cluster
import Protocol
import Registry
import Testing
import Units

/// What an agent answers from its own views.
@Suite struct ViewReadTests {
    let server = Desk()
    let agent: Desk

    init() {
        let server = self.server
        self.agent = Desk(
            cluster: FakeCluster(isServer: false, source: server.cluster) { await server.api.respond(to: $0) })
    }

    private func register() async {
        let body = #"{"Node":"n1","Address":"10.0.0.7","Service":{"Service":"web","Port":80},"Check":{"Name":"c"}}"#
        #expect(await self.server.put("/v1/catalog/register", body).status == 200)
        #expect(await self.server.put("/v1/kv/a/1", "one").status == 200)
    }

    private static let targets = [
        "/v1/health/service/web?stale", "/v1/health/service/web?cached", "/v1/health/checks/web?stale",
        "/v1/health/node/n1?stale", "/v1/health/state/any?stale", "/v1/catalog/service/web?stale",
        "/v1/catalog/services?cached", "/v1/catalog/nodes?stale", "/v1/catalog/node/n1?stale",
        "/v1/catalog/node-services/n1?stale", "/v1/kv/a?recurse&stale", "/v1/kv/a?keys&stale",
    ]

    @Test(arguments: targets) func whatMayBeOldIsAnsweredFromAViewAsTheServerWould(_ target: String) async {
        await self.register()
        let own = await self.agent.get(target)
        #expect(self.agent.cluster.forwarded.isEmpty)
        let theirs = await self.server.get(target)
        #expect(own.short == theirs.short && own.status == 200)
        for header in ["X-Consul-Index", "X-Consul-Effective-Consistency", "X-Consul-Knownleader", "X-Cache"] {
            #expect(own[header] == theirs[header], "\(header)")
        }
    }

    @Test(arguments: [
        "/v1/health/service/web", "/v1/health/service/web?consistent", "/v1/kv/a/1?stale", "/v1/catalog/nodes?cached",
        "/v1/health/service/web?stale&dc=dc2", "/v1/session/list?stale", "/v1/health/state/odd?stale",
        "/v1/health/service/web?stale&max_stale=1ms",
    ]) func whatMustBeNewIsTheServersToAnswer(_ target: String) async {
        await self.register()
        _ = await self.agent.get(target)
        #expect(self.agent.cluster.forwarded.map(\.target) == [target])
    }

    @Test func withoutAViewTheServerIsAsked() async {
        await self.register()
        self.agent.cluster.loseViews()
        #expect(await self.agent.get("/v1/health/service/web?stale").status == 200)
        #expect(self.agent.cluster.forwarded.count == 1)
    }

    @Test func ageAndHitsAreTold() async {
        await self.register()
        let reply = await self.agent.get("/v1/health/service/web?cached")
        #expect(reply["X-Cache"] == "HIT" && reply["Age"] == "2" && reply["X-Consul-Lastcontact"] == "2500")
        self.agent.cluster.viewsAreNew()
        let first = await self.agent.get("/v1/health/service/web?cached")
        #expect(first["X-Cache"] == "MISS" && first["Age"] == nil)
        let young = await self.agent.ask(
            "GET", "/v1/health/service/web?cached", headers: [("Cache-Control", "max-age=1")])
        #expect(young.status == 200 && self.agent.cluster.forwarded.count == 1)
    }

    @Test func aBlockingQueryWaitsOnTheView() async {
        await self.register()
        let agent = self.agent
        let index = await agent.get("/v1/health/service/web?stale")["X-Consul-Index"] ?? ""
        let waiting = Task { await agent.get("/v1/health/service/web?stale&index=\(index)&wait=60s") }
        while agent.cluster.waiterCount == 0 { await Task.yield() }
        let body = #"{"Node":"n1","Address":"10.0.0.7","Service":{"Service":"web","Port":81}}"#
        #expect(await self.server.put("/v1/catalog/register", body).status == 200)
        #expect(await waiting.value.body.contains("\"Port\":81"))
        #expect(agent.cluster.forwarded.isEmpty)
    }
}
