import HTTPAPI
import Synchronization
import Testing

@Suite struct RoutingTests {
    let desk = Desk()

    @Test(
        arguments: [
            ("POST", "/v1/kv/a", "OPTIONS,GET,PUT,DELETE"),
            ("BREW", "/v1/kv/a", "OPTIONS,GET,PUT,DELETE"),
            ("GET", "/v1/txn", "OPTIONS,PUT"),
            ("DELETE", "/v1/catalog/nodes", "OPTIONS,GET"),
            ("GET", "/v1/agent/service/register", "OPTIONS,PUT"),
            ("GET", "/v1/operator/raft/transfer-leader", "OPTIONS,POST,PUT"),
        ])
    func anotherMethodIs405WithAllow(_ method: String, _ target: String, _ allow: String) async {
        let reply = await self.desk.ask(method, target)
        #expect(
            reply.full
                == """
                405
                Content-Type: text/plain; charset=utf-8
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                Allow: \(allow)

                method \(method) not allowed
                """)
    }

    @Test func optionsNamesTheMethods() async {
        let reply = await self.desk.ask("OPTIONS", "/v1/kv/a")
        #expect(reply.short == "200 ")
        #expect(reply["Allow"] == "OPTIONS,GET,PUT,DELETE")
    }

    @Test(
        arguments: [
            ("/v1/foo", "404 Invalid URL path: not a recognized HTTP API endpoint"),
            ("/v1/catalog/nodes/", "404 Invalid URL path: not a recognized HTTP API endpoint"),
            ("/v1/operator/license", "404 Invalid URL path: not a recognized HTTP API endpoint"),
            ("/foo", "404 Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'"),
            (
                "/",
                "200 Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart."
            ),
            ("/v1/acl/tokens", "401 ACL support disabled"),
            ("http://elsewhere/v1/catalog/datacenters", #"200 ["dc1"]"#),
            ("nonsense", "400 "),
        ])
    func pathsAreFoundOrNot(_ target: String, _ expected: String) async {
        #expect(await self.desk.get(target).short == expected)
    }

    @Test func statusNeedsNoState() async {
        #expect(
            await self.desk.get("/v1/status/leader").full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding

                "10.0.0.1:8300"
                """)
        #expect(await self.desk.get("/v1/status/peers").body == #"["10.0.0.1:8300","10.0.0.2:8300"]"#)
        #expect(await self.desk.get("/v1/status/leader?dc=x").short == "500 No path to datacenter")
    }

    /// Allows those whose token is `good`; notes what was asked.
    final class Gate: Authorizer {
        private let noted = Mutex<[AccessRequest]>([])
        var asked: [AccessRequest] { self.noted.withLock { $0 } }
        func authorize(_ request: AccessRequest) throws(AccessDenied) -> String {
            self.noted.withLock { $0.append(request) }
            if request.token != "good" {
                throw AccessDenied(text: "Permission denied: anonymous token lacks permission")
            }
            return "someone"
        }
    }

    @Test(
        arguments: [
            ("/v1/kv/a/b?token=good", [("X-Consul-Token", "bad")], 404),
            ("/v1/kv/a/b", [("x-consul-token", "good"), ("Authorization", "Bearer bad")], 404),
            ("/v1/kv/a/b", [("authorization", "bearer good more")], 404),
            ("/v1/kv/a/b", [("Authorization", "Basic good")], 403),
            ("/v1/kv/a/b", [], 403),
        ])
    func theTokenComesFromQueryHeaderOrBearer(
        _ target: String, _ headers: [(String, String)], _ status: Int
    ) async {
        let gate = Gate()
        let desk = Desk(authorizer: gate)
        let reply = await desk.ask("GET", target, headers: headers)
        #expect(reply.status == status)
        if status == 403 { #expect(reply.body == "Permission denied: anonymous token lacks permission") }
        #expect(gate.asked.map(\.resource) == [.key])
        #expect(gate.asked.first?.name == Array("a/b".utf8))
        #expect(gate.asked.first?.isWrite == false)
    }

    @Test func aNamespaceHeaderIsRefused() async {
        let reply = await self.desk.ask("GET", "/v1/kv/a", headers: [("X-Consul-Namespace", "team")])
        #expect(reply.status == 400)
    }

    @Test func requestsAreCountedByPart() async {
        _ = await self.desk.get("/v1/kv/a")
        _ = await self.desk.put("/v1/kv/a", "x")
        _ = await self.desk.put("/v1/kv/", "x")
        let kv = self.desk.api.counters.snapshot().first { $0.part == .kv }?.count
        #expect(kv == RequestCounters.Count(reads: 1, writes: 2, refused: 2))
    }

    @Test func randomTargetsNeverTrapAndAlwaysAnswer() async {
        var dice = Dice(seed: 11)
        let pieces = [
            "/v1/", "kv/", "a", "%", "%2", "%41", "?", "&", "=", "index", "wait", "recurse", "keys", "cas", "/", "//",
            ";", "+",
            "é", "\u{0}", "catalog/", "service/", "health/", "session/info/", "raw", "pretty", "999999999999999999999",
            "-1",
            "stale", "agent/", "self", "#", "http://", " ",
        ]
        for _ in 0..<4000 {
            var target = Bool.random(using: &dice) ? "/v1/kv/" : ""
            for _ in 0..<Int.random(in: 0...10, using: &dice) { target += pieces.randomElement(using: &dice) ?? "" }
            // A wait would hold the test up.
            target = target.replacing("index", with: "idx")
            let method = ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"].randomElement(using: &dice) ?? "GET"
            let reply = await self.desk.ask(method, target, "x")
            #expect([200, 400, 401, 404, 405, 409, 500].contains(reply.status), "\(method) \(target): \(reply.short)")
        }
    }
}
