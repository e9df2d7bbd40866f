import Cluster
import HTTPAPI
import Testing

/// What Consul refuses, and in which words; and what it does not.
@Suite struct RefusalTests {
    let desk = Desk()

    @Test(
        arguments: [
            ("/v1/kv/a%01b", 400), ("/v1/kv/a%0A", 400), ("/v1/kv/%00", 400), ("/v1/kv/a%7F", 400),
            ("/v1/kv/a%E2%80%A8", 400), ("/v1/kv/a%C2%A0b", 400), ("/v1/kv/a%C2%AD", 400), ("/v1/nothing%01", 400),
            ("/v1/kv/a%C3%A9", 404), ("/v1/kv/a%20b", 404), ("/v1/kv/a%FF", 404), ("/v1/kv/%F0%9F%98%80", 404),
        ])
    func charactersThatCannotBePrintedAreRefused(_ target: String, _ status: Int) async {
        let reply = await self.desk.get(target)
        #expect(reply.short == "\(status) ")
        #expect((reply["Vary"] == nil) == (status == 400))
    }

    @Test func theFilterOfPathsCanBeTurnedOff() async {
        var settings = HTTPAPISettings()
        settings.refusesUnprintablePaths = false
        #expect(await Desk(settings: settings).put("/v1/kv/a%01b", "1").short == "200 true")
    }

    @Test(
        arguments: [
            ("max-age=x", 400), ("stale-if-error=", 400), ("must-revalidate, max-age=1.5", 400),
            ("max-age=5, must-revalidate", 200), ("Max-Age=0", 200), ("no-cache", 200), ("nonsense", 200), ("", 200),
        ])
    func aCacheControlThatCannotBeReadIsRefused(_ value: String, _ status: Int) async {
        let reply = await self.desk.ask("GET", "/v1/catalog/nodes", headers: [("Cache-Control", value)])
        #expect(reply.status == status)
        if status == 400 { #expect(reply.body == "Invalid Cache-Control header.") }
        let own = await self.desk.ask("GET", "/v1/agent/self", headers: [("Cache-Control", value)])
        #expect(own.status == 200)
    }

    @Test(
        arguments: [
            ("/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Namespace":"team"}"#, "Namespace", true),
            (
                "/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Service":{"Service":"s","Namespace":"x"}}"#,
                "Namespace", true
            ),
            (
                "/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Check":{"Name":"c","Partition":"x"}}"#,
                "Partition", true
            ),
            ("/v1/catalog/deregister", #"{"Node":"n","Namespace":"x"}"#, "Namespace", true),
            ("/v1/session/create", #"{"Partition":"x"}"#, "Partition", true),
            ("/v1/agent/service/register", #"{"Name":"s","Namespace":"x"}"#, "Namespace", false),
            ("/v1/agent/service/register", #"{"Name":"s","Check":{"TTL":"9s","Namespace":"x"}}"#, "Namespace", false),
            ("/v1/agent/check/register", #"{"Name":"c","TTL":"9s","Namespace":1}"#, "Namespace", false),
        ])
    func fieldsOfTheEnterpriseEditionAreRefused(_ target: String, _ body: String, _ field: String, _ why: Bool) async {
        let reason = why ? " - \(field)s are a Consul Enterprise feature" : ""
        #expect(
            await self.desk.put(target, body).short
                == "400 Request decode failed: json: unknown field \"\(field)\"" + reason)
    }

    @Test func everyoneIsInTheDefaultNamespace() async {
        let names = #""Namespace":"default","Partition":"default""#
        #expect(
            await self.desk.put("/v1/catalog/register", "{\"Node\":\"n\",\"Address\":\"1.1.1.1\",\(names)}").status
                == 200)
        #expect(await self.desk.put("/v1/agent/service/register", "{\"Name\":\"s\",\(names)}").status == 200)
        #expect(await self.desk.put("/v1/session/create", "{\"Node\":\"n\",\"Checks\":[],\(names)}").status == 200)
    }

    @Test func aProxyWithoutDestinationIsNotForTheCatalog() async {
        let body = #"{"Node":"n","Address":"1.1.1.1","Service":{"Service":"p","Kind":"connect-proxy","Port":1}}"#
        let text =
            "1 error occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\n"
        #expect(await self.desk.put("/v1/catalog/register", body).short == "500 " + text)
        let registration = #"{"Name":"p","Kind":"connect-proxy","Port":1}"#
        #expect(await self.desk.put("/v1/agent/service/register", registration).short == "400 " + text)
        #expect(self.desk.cluster.proposals.isEmpty && self.desk.agent.definitions.isEmpty)
    }

    @Test func aCheckNeedsAName() async {
        let reply = await self.desk.put(
            "/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Check":{"Status":"passing"}}"#)
        #expect(
            reply.short
                == "500 failed inserting check: failed inserting check: object missing primary index on node \"n\"")
    }

    @Test func segmentsAreNotForThisEdition() async {
        let reply = await self.desk.get("/v1/agent/members?segment=x")
        #expect(reply.short == "500 Network segments are not supported in this version of Consul")
        #expect(await self.desk.get("/v1/agent/members?segment=_all").status == 200)
        #expect(await self.desk.get("/v1/agent/members?segment=").status == 200)
    }

    @Test(
        arguments: [
            ("GET", "bootstrap", 405, "OPTIONS,PUT"), ("PUT", "bootstrap", 401, nil),
            ("POST", "policy", 405, "OPTIONS,PUT"), ("OPTIONS", "policies", 200, "OPTIONS,GET"),
            ("OPTIONS", "policy/x", 200, "OPTIONS,GET,PUT,DELETE"), ("GET", "policy/x", 401, nil),
            ("DELETE", "token/x", 401, nil), ("PUT", "token/x/clone", 401, nil),
            ("OPTIONS", "token", 200, "OPTIONS,PUT"),
            ("GET", "token/self", 401, nil), ("DELETE", "token/self", 405, "OPTIONS,GET"),
            ("POST", "login", 401, nil), ("GET", "unknown", 404, nil), ("GET", "role/name/r", 401, nil),
        ] as [(String, String, Int, String?)])
    func aWrongMethodComesBeforeAccessLists(_ method: String, _ path: String, _ status: Int, _ allow: String?) async {
        let reply = await self.desk.ask(method, "/v1/acl/" + path)
        #expect(reply.status == status)
        #expect(reply["Allow"] == allow)
        if status == 401 { #expect(reply.body == "ACL support disabled") }
    }

    @Test func tokensOfTheAgentAreRefusedToo() async {
        #expect(await self.desk.put("/v1/agent/token/default", #"{"Token":"x"}"#).short == "401 ACL support disabled")
        #expect(await self.desk.get("/v1/agent/token/default").status == 405)
        #expect(await self.desk.ask("POST", "/v1/internal/acl/authorize", "[]").short == "401 ACL support disabled")
    }

    @Test(
        arguments: [
            ("/v1/catalog/nodes?dc=x", true), ("/v1/health/service/a?dc=x", true), ("/v1/session/list?dc=x", true),
            ("/v1/session/info/x", true), ("/v1/kv/a?dc=x", false), ("/v1/operator/raft/configuration?dc=x", false),
        ])
    func aRefusedReadSaysThatItKnowsNoLeader(_ target: String, _ isMarked: Bool) async {
        let reply = await self.desk.get(target)
        #expect(reply.status == 500)
        #expect(reply["X-Consul-Index"] == (isMarked ? "1" : nil))
        #expect(reply["X-Consul-Knownleader"] == (isMarked ? "false" : nil))
    }

    @Test func whatIsBlockedIsBlockedWithoutTheLastSlashToo() async {
        var settings = HTTPAPISettings()
        settings.blockedPaths = ["/v1/kv/", "/v1/agent/self"]
        let desk = Desk(settings: settings)
        for target in ["/v1/kv/a", "/v1/kv/?recurse", "/v1/kv?recurse", "/v1/agent/self"] {
            #expect(await desk.get(target).status == 403, "\(target)")
        }
        #expect(await desk.delete("/v1/kv?recurse").status == 403)
        #expect(await desk.get("/v1/status/leader").status == 200)
    }
}
