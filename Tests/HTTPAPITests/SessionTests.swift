import Protocol
import Testing

@Suite struct SessionTests {
    let desk = Desk()

    init() async {
        _ = await self.desk.put(
            "/v1/catalog/register",
            #"{"Node":"s1","Address":"10.0.0.1","Check":{"Name":"alive","CheckID":"serfHealth","Status":"passing"}}"#)
        _ = await self.desk.put("/v1/catalog/register", #"{"Node":"bare","Address":"10.0.0.9"}"#)
    }

    private func create(_ body: String) async -> String {
        let reply = await self.desk.put("/v1/session/create", body)
        guard reply.body.hasPrefix(#"{"ID":""#) else { return reply.short }
        return String(reply.body.dropFirst(7).dropLast(2))
    }

    @Test func aSessionWithoutABodyStandsOnTheNodesAgentCheck() async {
        let id = await self.create("")
        #expect(id.utf8.count == 36)
        let reply = await self.desk.get("/v1/session/info/\(id)")
        #expect(
            reply.full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                X-Consul-Index: 13
                X-Consul-Knownleader: true
                X-Consul-Lastcontact: 0

                [{"ID":"\(id)","Name":"","Node":"s1","LockDelay":15000000000,"Behavior":"release","TTL":"",\
                "NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":13,"ModifyIndex":13}]
                """)
    }

    @Test func patronisBodyIsUnderstood() async {
        let id = await self.create(
            #"{"name":"lk","ttl":"15.0s","behavior":"delete","lockdelay":"0.001s","checks":[]}"#)
        #expect(
            await self.desk.get("/v1/session/list").body
                == #"[{"ID":"\#(id)","Name":"lk","Node":"s1","LockDelay":1000000,"Behavior":"delete","TTL":"15.0s","#
                + #""NodeChecks":[],"ServiceChecks":null,"CreateIndex":13,"ModifyIndex":13}]"#)
    }

    @Test(
        arguments: [
            ("5", 5_000_000_000), (#""5ns""#, 5_000_000_000), ("2000", 2000), (#""1m""#, 60_000_000_000), ("true", 0),
            ("0", 0), ("null", 15_000_000_000),
        ] as [(String, UInt64)])
    func smallLockDelaysAreSeconds(_ written: String, _ expected: UInt64) async {
        _ = await self.create(#"{"LockDelay":\#(written)}"#)
        guard case .sessionCreate(let create)? = self.desk.cluster.proposals.last?.kind else {
            Issue.record("no session was proposed")
            return
        }
        #expect(create.lockDelayNs == expected)
    }

    @Test(
        arguments: [
            (#"{"TTL":"1s"}"#, "500 Invalid Session TTL '1000000000', must be between [10s=24h0m0s]"),
            (#"{"TTL":"25h"}"#, "500 Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]"),
            (#"{"TTL":"-5s"}"#, "500 Invalid Session TTL '-5000000000', must be between [10s=24h0m0s]"),
            (#"{"TTL":"xs"}"#, "500 Session TTL 'xs' invalid: time: invalid duration \"xs\""),
            (
                #"{"Behavior":5}"#,
                "400 Request decode failed: json: cannot unmarshal number into Go struct field .Behavior"
                    + " of type structs.SessionBehavior"
            ),
            (#"{"Behavior":"x"}"#, "500 Invalid Behavior setting 'x'"),
            (#"{"Node":"x"}"#, "500 Missing node registration"),
            (#"{"Checks":["x"]}"#, "500 Missing check 'x' registration"),
            (#"{"Node":"bare"}"#, "500 Missing check 'serfHealth' registration"),
            (#"{bad"#, "400 Request decode failed: invalid character 'b' looking for beginning of object key string"),
            (#"{"LockDelay":"zz"}"#, "400 Request decode failed: time: invalid duration \"zz\""),
            (
                #"{"Name":5}"#,
                "400 Request decode failed: json: cannot unmarshal number into Go struct field .Name of type string"
            ),
            ("[]", "400 Request decode failed: json: cannot unmarshal array into Go value of type structs.Session"),
            (#"{"Name":"x""#, "400 Request decode failed: unexpected EOF"),
        ])
    func refusalsUseConsulsTexts(_ body: String, _ expected: String) async {
        #expect(await self.create(body) == expected)
    }

    @Test func ttlZeroMeansNone() async {
        _ = await self.create(#"{"TTL":"0s"}"#)
        guard case .sessionCreate(let create)? = self.desk.cluster.proposals.last?.kind else {
            Issue.record("no session was proposed")
            return
        }
        #expect(create.ttlNs == 0)
    }

    @Test func aLockIsHeldReleasedAndGivenBackOnDestroy() async {
        let id = await self.create(#"{"LockDelay":0}"#)
        #expect(await self.desk.put("/v1/kv/lock?acquire=\(id)", "v1").short == "200 true")
        #expect(
            await self.desk.get("/v1/kv/lock").body
                == #"[{"LockIndex":1,"Key":"lock","Flags":0,"Value":"djE=","Session":"\#(id)","CreateIndex":14,"ModifyIndex":14}]"#
        )
        let other = await self.create("")
        #expect(await self.desk.put("/v1/kv/lock?acquire=\(other)").short == "200 false")
        #expect(await self.desk.put("/v1/session/destroy/\(id)").short == "200 true")
        #expect(!(await self.desk.get("/v1/kv/lock").body.contains("Session")))
        #expect(await self.desk.put("/v1/session/destroy/\(id)").short == "200 true")
    }

    @Test func renewingShowsTheSessionOr404() async {
        let id = await self.create(#"{"TTL":"10s"}"#)
        let reply = await self.desk.put("/v1/session/renew/\(id)")
        #expect(reply.status == 200)
        #expect(reply.body.hasPrefix(#"[{"ID":"\#(id)""#))
        #expect(reply["X-Consul-Index"] == nil)
        let none = "00000000-0000-0000-0000-000000000000"
        #expect(await self.desk.put("/v1/session/renew/\(none)").short == "404 Session id '\(none)' not found")
    }

    @Test func sessionsAreListedByNode() async {
        let id = await self.create("")
        #expect(await self.desk.get("/v1/session/node/s1").body.contains(id))
        #expect(await self.desk.get("/v1/session/node/bare").short == "200 []")
        #expect(await self.desk.get("/v1/session/node/").short == "400 Missing node name")
    }

    @Test(
        arguments: [
            ("PUT", "/v1/session/destroy/", "400 Missing session"),
            ("PUT", "/v1/session/renew/", "400 Missing session"),
            ("GET", "/v1/session/info/", "400 Missing session"),
            ("GET", "/v1/session/info/x", "500 failed session lookup: index error: UUID must be 36 characters"),
            ("PUT", "/v1/session/renew/x", "500 failed session lookup: index error: UUID must be 36 characters"),
            ("GET", "/v1/session/info/00000000-0000-0000-0000-000000000000", "200 []"),
            ("GET", "/v1/session/create", "405 method GET not allowed"),
        ])
    func idsAreChecked(_ method: String, _ target: String, _ expected: String) async {
        #expect(await self.desk.ask(method, target).short == expected)
    }

    @Test func serviceChecksShowAsObjects() async {
        _ = await self.desk.put(
            "/v1/catalog/register",
            #"{"Node":"s1","Address":"10.0.0.1","Service":{"Service":"web"},"Check":{"Name":"c","ServiceID":"web","Status":"passing"}}"#
        )
        let id = await self.create(#"{"ServiceChecks":[{"ID":"c"}]}"#)
        #expect(
            await self.desk.get("/v1/session/info/\(id)").body.contains(#""ServiceChecks":[{"ID":"c","Namespace":""}]"#)
        )
    }
}
