import HTTPAPI
import Testing

@Suite("Idempotency-Key")
struct IdempotencyKeyTests {
    private let server = Desk()

    private func put(_ target: String, _ body: String, key: String, at desk: Desk? = nil) async -> String {
        await (desk ?? self.server).ask("PUT", target, body, headers: [("Idempotency-Key", key)]).short
    }

    @Test func aRetriedWriteIsAppliedOnceAndAnsweredTheSame() async {
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-1/1") == "200 true")
        _ = await self.server.put("/v1/kv/a", "2")
        // Applied anew it would be refused, since the key is there now.
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "\"client-1/1\"") == "200 true")
        #expect(await self.server.get("/v1/kv/a?raw").short == "200 2")
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-1/2") == "200 false")
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-2/1") == "200 false")
    }

    @Test func anAnswerThatNobodyWaitsForIsNotGuessed() async {
        #expect(await self.put("/v1/kv/a", "1", key: "client-1/1") == "200 true")
        #expect(await self.put("/v1/kv/a", "2", key: "client-1/2/2") == "200 true")
        #expect(await self.put("/v1/kv/a", "1", key: "client-1/1").hasPrefix("500"))
        #expect(await self.server.get("/v1/kv/a?raw").short == "200 2")
    }

    @Test func anAgentPassesTheClientsNumberOn() async {
        let api = self.server.api
        let agent = Desk(cluster: FakeCluster(isServer: false) { await api.respond(to: $0, origin: "a1") })
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-1/1", at: agent) == "200 true")
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-1/1") == "200 true")
        #expect(await self.put("/v1/kv/a?cas=0", "1", key: "client-1/2", at: agent) == "200 false")
    }

    @Test(arguments: [
        "", "client-1", "client-1/", "client-1/0", "client-1/x", "client-1/2/3", "client-1/2/0", "client-1/1/1/1",
        "short/1",
        "client 1/1", "\"client-1/1", "client-1/18446744073709551616", String(repeating: "a", count: 65) + "/1",
    ])
    func whatIsNoNumberIsRefused(_ key: String) async {
        let reply = await self.put("/v1/kv/a", "1", key: key)
        if key.isEmpty { return #expect(reply == "200 true") }
        #expect(reply.hasPrefix("400 Idempotency-Key: must be ID/SEQUENCE"))
        #expect(await self.server.get("/v1/kv/a").status == 404)
    }

    @Test func readsIgnoreItAndOtherRoutesRefuseIt() async {
        let headers = [("Idempotency-Key", "client-1/1")]
        #expect(await self.server.ask("GET", "/v1/kv/a", headers: headers).status == 404)
        #expect(
            await self.server.ask("PUT", "/v1/agent/leave", headers: headers).short
                == "400 Idempotency-Key: only /v1/kv, /v1/txn, /v1/session and /v1/catalog take one")
    }
}
