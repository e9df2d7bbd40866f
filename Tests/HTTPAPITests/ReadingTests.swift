import Cluster
import HTTPAPI
import Registry
import Testing
import Units

/// Consistency modes and blocking queries (Consul's blocking queries).
@Suite struct ReadingTests {
    let desk = Desk()

    @Test func theModeIsAskedOfTheClusterAndNamed() async {
        _ = await self.desk.get("/v1/kv/a")
        let stale = await self.desk.get("/v1/catalog/nodes?stale")
        #expect(stale["X-Consul-Effective-Consistency"] == "stale")
        #expect(stale["X-Consul-Lastcontact"] == "7")
        let consistent = await self.desk.get("/v1/catalog/nodes?consistent")
        #expect(consistent["X-Consul-Effective-Consistency"] == "consistent")
        _ = await self.desk.get("/v1/kv/a?max_stale=10s")
        #expect(self.desk.cluster.views == [.default, .stale, .consistent, .default])
    }

    @Test(
        arguments: [
            ("index=x", "400 Invalid index"),
            ("index=-1", "400 Invalid index"),
            ("wait=5", "400 Invalid wait time"),
            ("wait=-5s", "400 Invalid wait time"),
            ("stale&consistent", "400 Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("cached&consistent", "400 Cannot specify ?cached with ?consistent, conflicting semantics."),
            ("max_stale=x", "400 Invalid max_stale value \"x\""),
            ("index=0&wait=1.5s", "200 []"),
            ("index=&wait=", "200 []"),
        ])
    func parametersAreChecked(_ query: String, _ expected: String) async {
        #expect(await self.desk.get("/v1/catalog/nodes?\(query)").short == expected)
    }

    @Test func aWaitThatSeesNothingAnswersTheSameIndex() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        let reply = await self.desk.get("/v1/kv/a?index=11&wait=20ms")
        #expect(reply.status == 200)
        #expect(reply["X-Consul-Index"] == "11")
    }

    @Test func anIndexAheadOfTheStateWaitsToo() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        #expect(await self.desk.get("/v1/kv/a?index=999&wait=20ms")["X-Consul-Index"] == "11")
    }

    @Test func anOldIndexAnswersAtOnce() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        #expect(await self.desk.get("/v1/kv/a?index=10&wait=10m").body.contains("\"MQ==\""))
    }

    @Test func aChangeOfTheKeyWakesItsReaderAlone() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        let desk = self.desk
        async let waiting = desk.get("/v1/kv/a?index=11&wait=10m&raw")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        _ = await desk.put("/v1/kv/b", "other")
        #expect(desk.cluster.waiterCount == 1)
        _ = await desk.put("/v1/kv/a", "2")
        let reply = await waiting
        #expect(reply.short == "200 2")
        #expect(reply["X-Consul-Index"] == "13")
        #expect(desk.api.waitingCount == 0)
    }

    @Test func aMissingKeyCanBeWaitedFor() async {
        _ = await self.desk.put("/v1/kv/other", "1")
        let desk = self.desk
        async let waiting = desk.get("/v1/kv/a?index=11&wait=10m&raw")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        _ = await desk.put("/v1/kv/a", "here")
        #expect(await waiting.short == "200 here")
    }

    @Test func aDeletedPrefixAnswersWithTheTombstonesIndex() async {
        _ = await self.desk.put("/v1/kv/p/1", "1")
        let desk = self.desk
        async let waiting = desk.get("/v1/kv/p/?recurse&index=11&wait=10m")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        _ = await desk.delete("/v1/kv/p/1")
        let reply = await waiting
        #expect(reply.status == 404)
        #expect(reply["X-Consul-Index"] == "12")
    }

    @Test func aServiceIsWokenByItsChecks() async {
        let desk = self.desk
        let register = #"{"Node":"n","Address":"1.1.1.1","Service":{"Service":"web"}}"#
        _ = await desk.put("/v1/catalog/register", register)
        async let waiting = desk.get("/v1/health/service/web?index=11&wait=10m")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        _ = await desk.put(
            "/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Check":{"Name":"c","Status":"critical"}}"#)
        #expect(await waiting["X-Consul-Index"] == "12")
    }

    @Test func aStateThatGoesBackEndsEveryWait() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        _ = await self.desk.put("/v1/kv/a", "2")
        let desk = self.desk
        async let waiting = desk.get("/v1/kv/a?index=12&wait=10m")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        var restored = Registry()
        restored.applyEmpty(at: LogIndex(20), term: Term(2))
        desk.cluster.replace(restored)
        #expect(await waiting.short == "404 ")
    }

    @Test func cancellingTheTaskFreesTheWatch() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        let desk = self.desk
        let waiting = Task { await desk.get("/v1/kv/a?index=11&wait=10m") }
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        waiting.cancel()
        _ = await waiting.value
        #expect(desk.cluster.waiterCount == 0)
        #expect(desk.api.waitingCount == 0)
    }

    @Test func moreWaitersThanAllowedAreTurnedAway() async {
        var settings = HTTPAPISettings()
        settings.maximumWaiting = 1
        let desk = Desk(settings: settings)
        _ = await desk.put("/v1/kv/a", "1")
        async let first = desk.get("/v1/kv/a?index=11&wait=10m")
        #expect(await eventually { desk.cluster.waiterCount == 1 })
        let second = await desk.get("/v1/kv/a?index=11&wait=10m")
        #expect(second.short == "429 rate limit exceeded, try again later or against a different server")
        #expect(second["Retry-After"] == "1")
        _ = await desk.put("/v1/kv/a", "2")
        #expect(await first.status == 200)
    }

    @Test(
        arguments: [
            (ClusterError.noLeader, "500 No cluster leader"),
            (.noServers, "500 No known Consul servers"),
            (.overloaded(leaderOnly: false), "429 rate limit exceeded, try again later or against a different server"),
            (
                .overloaded(leaderOnly: true),
                "503 rate limit exceeded for operation that can only be performed by the leader, try again later"
            ),
            (.outcomeUnknown("timed out"), "500 outcome unknown: timed out"),
            (.refused(status: 418, text: "teapot"), "418 teapot"),
            (.shuttingDown, "503 shutting down"),
        ] as [(ClusterError, String)])
    func whatTheClusterSaysBecomesStatusAndText(_ error: ClusterError, _ expected: String) async {
        self.desk.cluster.fail(error)
        #expect(await self.desk.get("/v1/kv/a").short == expected)
        #expect(await self.desk.put("/v1/kv/a", "x").short == expected)
        #expect(await self.desk.get("/v1/health/service/x?index=5&wait=10m").short == expected)
    }

    @Test func settingsAreValidated() throws {
        try HTTPAPISettings().validate()
        var settings = HTTPAPISettings()
        settings.defaultWait = .seconds(1000)
        #expect(throws: HTTPAPISettings.Invalid.setting("defaultWait", "at most maximumWait")) {
            try settings.validate()
        }
    }
}

/// Bodies of lists are kept for as long as the lists are the same.
@Suite struct KeptAnswersTests {
    let desk = Desk()

    private func register(_ port: Int, node: String = "n1") async {
        let body = #"{"Node":"\#(node)","Address":"10.0.0.7","Service":{"Service":"web","Port":\#(port),"Tags":["é"]}}"#
        #expect(await self.desk.put("/v1/catalog/register", body).status == 200)
    }

    @Test(arguments: ["/v1/health/service/web", "/v1/catalog/service/web", "/v1/catalog/services"])
    func anAnswerIsTheSameAgainAndAnotherAfterAChange(_ path: String) async {
        await self.register(80)
        let first = await self.desk.get(path)
        let again = await self.desk.get(path)
        #expect(again.full == first.full && first.status == 200)
        let pretty = await self.desk.get("\(path)?pretty")
        #expect(pretty.body != first.body && pretty.body.contains("\n"))
        #expect(await self.desk.get("\(path)?stale")["X-Consul-Lastcontact"] == "7")
        _ = await self.desk.put("/v1/catalog/deregister", #"{"Node":"n1"}"#)
        let gone = await self.desk.get(path)
        #expect(gone.body != first.body)
        #expect(gone["X-Consul-Index"] != first["X-Consul-Index"])
    }

    @Test func otherParametersAreOtherAnswers() async {
        await self.register(80)
        await self.register(81, node: "n2")
        let path = "/v1/health/service/web"
        let all = await self.desk.get(path).body
        // The same letter in two ways of writing it; a value that looks like another parameter.
        for query in [
            "tag=none", "passing", "filter=Service.Port==80", "tag=e%CC%81", "node-meta=a:b", "tag=%C3%A9&tag=none",
            "filter=Service.Port==81",
        ] {
            let once = await self.desk.get("\(path)?\(query)").body
            #expect(await self.desk.get("\(path)?\(query)").body == once)
        }
        #expect(await self.desk.get("\(path)?tag=%C3%A9").body == all)
        #expect(await self.desk.get("\(path)?tag=e%CC%81").body == "[]")
        #expect(await self.desk.get("\(path)?filter=Service.Port==80").body.contains("n1"))
        #expect(await !self.desk.get("\(path)?filter=Service.Port==81").body.contains("n1"))
        #expect(await self.desk.get(path).body == all)
    }

    @Test func aWaitIsStillAWait() async {
        await self.register(80)
        let path = "/v1/health/service/web"
        let index = await self.desk.get(path)["X-Consul-Index"] ?? ""
        let desk = self.desk
        let waiting = Task { await desk.get("\(path)?index=\(index)&wait=60s") }
        while desk.cluster.waiterCount == 0 { await Task.yield() }
        await self.register(82)
        #expect(await waiting.value.body.contains("82"))
    }
}
