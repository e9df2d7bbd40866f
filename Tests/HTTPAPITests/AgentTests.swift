import HTTPAPI
import LocalAgent
import Testing
import Units

@Suite struct AgentTests {
    let desk = Desk()

    private func register(_ body: String) async -> Reply { await self.desk.put("/v1/agent/service/register", body) }

    private let webJSON =
        #"{"ID":"w","Service":"w","Tags":["x"],"Meta":{"a":"b"},"Port":80,"Address":"","#
        + #""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1""#
    private let checkJSON =
        #"{"Node":"s1","CheckID":"service:w","Name":"Service 'w' check","Status":"critical","Notes":"","Output":"","#
        + #""ServiceID":"w","ServiceName":"w","ServiceTags":["x"],"Type":"ttl","Interval":"","Timeout":"","ExposedPort":0,"#
        + #""Definition":{},"CreateIndex":0,"ModifyIndex":0}"#

    private func registerWeb() async {
        let reply = await self.register(#"{"Name":"w","Port":80,"Tags":["x"],"Check":{"TTL":"10s"},"Meta":{"a":"b"}}"#)
        #expect(reply.full == "200\nX-Consul-Default-Acl-Policy: allow\nVary: Accept-Encoding\n\n")
    }

    @Test func servicesAndChecksAreShownByID() async {
        #expect(await self.desk.get("/v1/agent/services").body == "{}")
        #expect(await self.desk.get("/v1/agent/checks").body == "{}")
        await self.registerWeb()
        #expect(await self.desk.get("/v1/agent/services").body == #"{"w":\#(self.webJSON)}}"#)
        #expect(await self.desk.get("/v1/agent/checks").body == #"{"service:w":\#(self.checkJSON)}"#)
    }

    @Test func oneServiceCarriesItsHash() async {
        await self.registerWeb()
        let reply = await self.desk.get("/v1/agent/service/w")
        let hash = reply["X-Consul-Contenthash"] ?? ""
        #expect(hash.utf8.count == 16)
        #expect(reply.body == self.webJSON + #","ContentHash":"\#(hash)"}"#)
        #expect(await self.desk.get("/v1/agent/service/none").short == "404 unknown service ID: none")
    }

    @Test func aHashIsWaitedOn() async {
        await self.registerWeb()
        let hash = await self.desk.get("/v1/agent/service/w")["X-Consul-Contenthash"] ?? ""
        let same = await self.desk.get("/v1/agent/service/w?hash=\(hash)&wait=10ms")
        #expect(same["X-Consul-Contenthash"] == hash)
        let desk = self.desk
        async let waiting = desk.get("/v1/agent/service/w?hash=\(hash)&wait=10m")
        #expect(await eventually { desk.api.waitingCount == 1 })
        _ = await self.register(#"{"Name":"w","Port":81}"#)
        #expect(await waiting.body.contains(#""Port":81"#))
        #expect(await self.desk.get("/v1/agent/service/w?hash=other&wait=10m").status == 200)
    }

    @Test func definitionsAreReadInCamelAndSnakeCase() async {
        let camel =
            #"{"ID":"i","Name":"n","Kind":"connect-proxy","Tags":["a"],"Port":1,"Address":"h","Meta":{"k":"v"},"#
            + #""EnableTagOverride":true,"TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":3}},"#
            + #""Weights":{"Passing":2,"Warning":0},"Token":"t","#
            + #""Proxy":{"DestinationServiceName":"d","Config":{"x":1}},"#
            + #""Connect":{"SidecarService":{"Port":9}},"#
            + #""Checks":[{"CheckID":"c","HTTP":"http://x","Interval":"10s","Timeout":2000000000,"Method":"PUT","#
            + #""Header":{"A":["b","c"]},"DeregisterCriticalServiceAfter":"90m","TLSSkipVerify":true,"#
            + #""FailuresBeforeCritical":3},{"ScriptArgs":["true"],"Interval":"1s"},{"GRPC":"h:1","GRPCUseTLS":true,"Interval":"1s"},"#
            + #"{"H2PING":"h:2","Interval":"1s"},{"AliasService":"z"}]}"#
        let snake =
            #"{"id":"i","name":"n","kind":"connect-proxy","tags":["a"],"port":1,"address":"h","meta":{"k":"v"},"#
            + #""enable_tag_override":true,"tagged_addresses":{"lan":{"address":"1.1.1.1","port":3}},"#
            + #""weights":{"passing":2,"warning":0},"token":"t","#
            + #""proxy":{"destination_service_name":"d","config":{"x":1}},"#
            + #""connect":{"sidecar_service":{"port":9}},"#
            + #""checks":[{"check_id":"c","http":"http://x","interval":"10s","timeout":"2s","method":"PUT","#
            + #""header":{"A":["b","c"]},"deregister_critical_service_after":"1h30m","tls_skip_verify":true,"#
            + #""failures_before_critical":3},{"args":["true"],"interval":"1s"},{"grpc":"h:1","grpc_use_tls":true,"interval":"1s"},"#
            + #"{"h2ping":"h:2","interval":"1s"},{"alias_service":"z"}]}"#
        #expect(await self.register(camel).short == "200 ")
        #expect(await self.register(snake).short == "200 ")
        let definitions = self.desk.agent.definitions
        #expect(definitions[0] == definitions[1])
        let first = definitions[0]
        #expect(first.checks.map(\.type) == ["http", "script", "grpc", "h2ping", "alias"])
        #expect(first.checks[0].deregisterCriticalServiceAfter == .seconds(5400))
        #expect(first.checks[0].timeout == .seconds(2))
        #expect(first.checks[0].failuresBeforeWarning == 3)
        #expect(first.checks[3].h2pingUseTLS)
        #expect(first.sidecar.first?.port == 9)
        #expect(
            String(decoding: first.proxyJSON, as: UTF8.self)
                == #"{"DestinationServiceName":"d","Mode":"","Config":{"x":1},"MeshGateway":{},"Expose":{}}"#)
        #expect(first.connectJSON.isEmpty)
    }

    @Test(
        arguments: [
            ("{}", "400 Missing service name"),
            (#"{"Name":"x","Address":"0.0.0.0"}"#, "400 Invalid service address"),
            (#"{"Name":"x","Weights":{"Passing":0}}"#, "400 Invalid Weights: Passing must be greater than 0"),
            (
                #"{"Name":"x","Meta":{"a b":"0"}}"#,
                "400 Invalid Service Meta: Couldn't load metadata pair ('a b', '0'): Key contains invalid characters"
            ),
            (
                #"{"Name":"x","Check":{"HTTP":"x","TTL":"4s","Interval":"3s"}}"#,
                "400 Invalid check: Interval and TTL cannot both be specified"
            ),
            (
                #"{"Name":"x","Check":{"HTTP":"x"}}"#,
                "400 Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
            ),
            (
                #"{"Name":"x","Check":{"TTL":"1s","Status":"odd"}}"#,
                "400 Status for checks must 'passing', 'warning', 'critical'"
            ),
            (
                #"{"Name":"x","Port":"80"}"#,
                "400 Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"
            ),
            ("{bad", "400 Request decode failed: invalid character 'b' looking for beginning of object key string"),
            ("", "400 Request decode failed: EOF"),
        ])
    func badServicesAreRefused(_ body: String, _ expected: String) async {
        #expect(await self.register(body).short == expected)
        #expect(self.desk.agent.definitions.isEmpty)
    }

    @Test func theReplaceFlagIsPassedOn() async {
        _ = await self.desk.put("/v1/agent/service/register?replace-existing-checks", #"{"Name":"w"}"#)
        _ = await self.desk.put("/v1/agent/service/register?replace-existing-checks=false", #"{"Name":"w"}"#)
        #expect(self.desk.agent.calls == ["register w replace=true", "register w replace=false"])
    }

    @Test func deregisteringAnUnknownServiceIs404() async {
        await self.registerWeb()
        #expect(await self.desk.put("/v1/agent/service/deregister/w").short == "200 ")
        #expect(
            await self.desk.put("/v1/agent/service/deregister/w").short
                == "404 Unknown service ID \"w\". Ensure that the service ID is passed, not the service name.")
    }

    @Test func ttlChecksAreReported() async {
        await self.registerWeb()
        #expect(await self.desk.put("/v1/agent/check/pass/service:w?note=ok%3C").short == "200 ")
        #expect(
            await self.desk.get("/v1/agent/checks").body.contains(#""Status":"passing","Notes":"","Output":"ok\u003c""#)
        )
        #expect(await self.desk.put("/v1/agent/check/warn/service:w").short == "200 ")
        #expect(await self.desk.put("/v1/agent/check/fail/service:w").short == "200 ")
        #expect(
            await self.desk.put("/v1/agent/check/update/service:w", #"{"Status":"warning","Output":"o"}"#).short
                == "200 ")
        #expect(
            self.desk.agent.calls.suffix(4) == [
                "passing service:w", "warning service:w", "critical service:w", "warning service:w",
            ])
    }

    @Test(
        arguments: [
            (
                "check/pass/nope", "",
                "404 Unknown check ID \"nope\". Ensure that the check ID is passed, not the check name."
            ),
            ("check/pass/service:h", "", "500 CheckID \"service:h\" does not have associated TTL"),
            ("check/update/service:w", #"{"Status":"x"}"#, "400 Invalid check status: 'x'"),
            ("check/update/service:w", "{", "400 Request decode failed: unexpected EOF"),
            ("check/register", #"{"TTL":"5s"}"#, "400 Missing check name"),
            ("check/register", #"{"Name":"c"}"#, "400 Invalid check: TTL must be > 0 for TTL checks"),
            ("check/register", #"{"Name":"c","TTL":"5s","Status":"x"}"#, "400 Bad check status"),
            ("check/register", #"{"Name":"c","TTL":"5s","ServiceID":"none"}"#, "404 ServiceID \"none\" does not exist"),
            ("check/register", #"{"Name":"c","TTL":"zz"}"#, "400 Request decode failed: time: invalid duration \"zz\""),
            ("check/register", #"{"Name":"c","TTL":"5s"}"#, "200 "),
            ("check/deregister/", "", "400 Missing check ID"),
            (
                "check/deregister/nope", "",
                "404 Unknown check ID \"nope\". Ensure that the check ID is passed, not the check name."
            ),
            ("service/maintenance/w", "", "400 Missing value for enable"),
            ("service/maintenance/w?enable=zz", "", "400 Invalid value for enable: \"zz\""),
            ("service/maintenance/?enable=true", "", "400 Missing service ID"),
            (
                "service/maintenance/none?enable=true", "",
                "404 Unknown service ID \"none\". Ensure that the service ID is passed, not the service name."
            ),
            ("maintenance", "", "400 Missing value for enable"),
            ("maintenance?enable=true", "", "200 "),
            ("join/", "", "400 Missing address to join"),
            ("join/10.0.0.5", "", "200 "),
            ("force-leave/nobody", "", "500 agent: No node found with name 'nobody'"),
            ("force-leave/n1?prune", "", "200 "),
            ("leave", "", "200 "),
            ("reload", "", "500 no configuration files"),
        ])
    func agentWritesAnswerAsConsulDoes(_ path: String, _ body: String, _ expected: String) async {
        await self.registerWeb()
        _ = await self.register(#"{"Name":"h","Check":{"HTTP":"http://127.0.0.1:1/","Interval":"10s"}}"#)
        #expect(await self.desk.put("/v1/agent/\(path)", body).short == expected)
    }

    @Test func localHealthUsesTheStatusCodesOfConsul() async {
        await self.registerWeb()
        func code(_ target: String) async -> Int { await self.desk.get("/v1/agent/health/service/\(target)").status }
        #expect(await code("id/w") == 503)
        _ = await self.desk.put("/v1/agent/check/warn/service:w")
        #expect(await code("id/w") == 429)
        #expect(await code("name/w") == 429)
        _ = await self.desk.put("/v1/agent/check/pass/service:w")
        let passing = await self.desk.get("/v1/agent/health/service/id/w")
        #expect(passing.status == 200)
        #expect(passing["X-Consul-Reason"] == "passing")
        let shown = self.checkJSON.replacing("critical", with: "passing").replacing(#""ttl""#, with: #""""#)
        #expect(
            passing.body
                == #"{"AggregatedStatus":"passing","Service":\#(self.webJSON)},"Checks":[\#(shown)]}"#
        )
        #expect(await self.desk.get("/v1/agent/health/service/name/w").body == "[\(passing.body)]")
        #expect(await self.desk.get("/v1/agent/health/service/name/w?format=text").short == "200 passing")
        _ = await self.desk.put("/v1/agent/service/maintenance/w?enable=true&reason=r")
        #expect(await self.desk.get("/v1/agent/health/service/id/w?format=text").short == "503 maintenance")
    }

    @Test func unknownServicesHaveNoLocalHealth() async {
        let byID = await self.desk.get("/v1/agent/health/service/id/none")
        #expect(byID.short == #"404 {"AggregatedStatus":"critical","Service":null,"Checks":null}"#)
        #expect(byID["X-Consul-Reason"] == "ServiceId none not found")
        #expect(await self.desk.get("/v1/agent/health/service/name/none").short == "404 []")
        #expect(
            await self.desk.get("/v1/agent/health/service/name/none?format=text").short
                == "404 ServiceName none Not Found")
        let accepts = await self.desk.ask(
            "GET", "/v1/agent/health/service/id/none", headers: [("Accept", "text/plain")])
        #expect(accepts.short == "404 ServiceId none not found")
    }

    @Test func selfHoldsObjectsAloneAtItsTop() async throws {
        let reply = await self.desk.get("/v1/agent/self")
        guard case .object(let fields) = try JSONValue.parse(reply.bytes) else {
            Issue.record("not an object")
            return
        }
        #expect(fields.map(\.name) == ["Config", "DebugConfig", "Coord", "Member", "Stats", "Meta"])
        for field in fields { #expect(field.value.kind == "object" || field.value.isNull) }
        #expect(reply.body.contains(#""Server":true,"Version":"1.22.1""#))
        #expect(reply.body.contains(#""DNSPort":8600"#))
        #expect(
            reply.body.contains(
                #""Stats":{"agent":{"check_monitors":"0","check_ttls":"0","checks":"0","services":"0","out_of_sync":"0"}}"#
            ))
        _ = await self.register(#"{"Name":"w","Check":{"TTL":"10s"}}"#)
        #expect(
            await self.desk.get("/v1/agent/self").body.contains(
                #""check_ttls":"1","checks":"1","services":"1""#))
    }

    @Test func versionMembersAndMetricsAreShown() async {
        #expect(
            await self.desk.get("/v1/agent/version").body
                == #"{"SHA":"abc","BuildDate":"2026-01-01T00:00:00Z","HumanVersion":"1.22.1","FIPS":""}"#)
        #expect(
            await self.desk.get("/v1/agent/members").body
                == #"[{"Name":"s1","Addr":"10.0.0.1","Port":8301,"Tags":{"role":"consul","build":"1.22.1:abc"},"Status":1,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"DelegateMin":2,"DelegateMax":5,"DelegateCur":4}]"#
        )
        let metrics = await self.desk.get("/v1/agent/metrics").body
        #expect(metrics.contains(#"{"Name":"serai.raft.applied","Value":12,"Labels":{}}"#))
        #expect(metrics.contains(#"{"Name":"serai.http.agent.reads","Count":2,"Sum":2,"Labels":{}}"#))
        let text = await self.desk.get("/v1/agent/metrics?format=prometheus").body
        #expect(text.contains("# TYPE serai_raft_applied gauge\nserai_raft_applied 12.0\n"))
    }

    @Test(
        arguments: [
            ("application/openmetrics-text; version=1.0.0, text/plain;version=0.0.4;q=0.5", true),
            ("text/plain;version=0.4.0", true), ("text/plain; version=0.0.4; charset=utf-8", true),
            ("text/plain", false), ("application/json", false), ("*/*", false),
        ])
    func aScraperNamesTheFormatOfMetrics(_ accept: String, _ isText: Bool) async {
        let reply = await self.desk.ask("GET", "/v1/agent/metrics", headers: [("Accept", accept)])
        #expect(reply["Content-Type"] == (isText ? "text/plain; version=0.0.4; charset=utf-8" : "application/json"))
        #expect(reply.body.hasPrefix(isText ? "# TYPE" : "{"))
    }
}
