import Testing

/// `?filter` on this agent's own lists, through an agent, in streams and beside other parameters.
@Suite struct FilteringWaysTests {
    let desk = Desk()

    private func ids(_ path: String, _ filter: String, _ marks: [String]) async -> [String] {
        let escaped = filter.utf8.map { byte in "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        let reply = await self.desk.get("\(path)?filter=\(escaped)")
        guard reply.status == 200 else { return [reply.short] }
        return marks.filter { reply.body.contains("\"\($0)\"") }
    }

    @Test(
        arguments: [
            ("/v1/agent/services", "Service == web", ["w"]), ("/v1/agent/services", "Port != 80", ["d"]),
            ("/v1/agent/services", "blue in Tags", ["w"]), ("/v1/agent/services", "Tags is empty", ["d"]),
            ("/v1/agent/services", "Meta.team matches `^x`", ["w", "d"]),
            ("/v1/agent/services", "Meta contains team", ["w"]), ("/v1/agent/services", "Weights.Passing == 3", ["d"]),
            ("/v1/agent/services", "not Port == 80 and not ID == d", []),
            ("/v1/agent/checks", "ServiceID == w", ["w", "service:w"]),
            ("/v1/agent/checks", "Status == passing", ["alone"]),
            (
                "/v1/agent/checks", "ServiceName is empty",
                [#"500 Invalid match operator "Is Empty" for selector "ServiceName""#]
            ),
            ("/v1/agent/checks", "blue in ServiceTags", ["w", "service:w"]),
            ("/v1/agent/checks", "Name matches `one$` or Type == none", ["alone"]),
            ("/v1/agent/checks", "CheckID == none", []),
        ] as [(String, String, [String])])
    func theAgentsOwnLists(_ path: String, _ filter: String, _ expected: [String]) async {
        for (route, body) in [
            (
                "service",
                #"{"ID":"w","Name":"web","Port":80,"Tags":["blue"],"Meta":{"team":"x"},"Check":{"TTL":"10s"}}"#
            ),
            ("service", #"{"ID":"d","Name":"db","Port":81,"Weights":{"Passing":3,"Warning":1}}"#),
            ("check", #"{"ID":"alone","Name":"the one","TTL":"10s","Status":"passing"}"#),
        ] {
            #expect(await self.desk.put("/v1/agent/\(route)/register", body).status == 200)
        }
        #expect(await self.ids(path, filter, ["w", "d", "service:w", "alone"]) == expected)
    }

    @Test(
        arguments: [
            ("Name == lock", ["lock"]), ("Behavior == delete", ["other"]), ("Node == n1", ["lock", "other"]),
            ("alive in NodeChecks", ["lock", "other"]), ("TTL == `15s` and Name != lock", []),
            ("LockDelay == 1000000000", ["lock"]), ("ServiceChecks is empty", ["lock", "other"]),
        ] as [(String, [String])])
    func sessions(_ filter: String, _ expected: [String]) async {
        _ = await self.desk.put(
            "/v1/catalog/register",
            #"{"Node":"n1","Address":"10.0.0.1","Check":{"Name":"alive","CheckID":"alive","Status":"passing"}}"#)
        for body in [
            #"{"Node":"n1","Name":"lock","LockDelay":"1s","NodeChecks":["alive"],"TTL":"15s"}"#,
            #"{"Node":"n1","Name":"other","Behavior":"delete","NodeChecks":["alive"]}"#,
        ] {
            #expect(await self.desk.put("/v1/session/create", body).status == 200)
        }
        #expect(await self.ids("/v1/session/list", filter, ["lock", "other"]) == expected)
        #expect(await self.ids("/v1/session/node/n1", filter, ["lock", "other"]) == expected)
    }

    @Test(
        arguments: [
            ("Name == s1 and Status == 1", ["s1"]), ("Tags.role == consul", ["s1"]), ("Port == 8301", ["s1"]),
            ("Name == none", []), ("build not in Tags", []),
        ] as [(String, [String])])
    func members(_ filter: String, _ expected: [String]) async {
        #expect(await self.ids("/v1/agent/members", filter, ["s1"]) == expected)
    }

    @Test(
        arguments: [
            ("/v1/catalog/nodes?index=x", "400 Invalid index"),
            ("/v1/catalog/nodes?index=1&wait=x", "400 Invalid wait time"),
            (
                "/v1/catalog/service/web?stale&consistent",
                "400 Cannot specify ?stale with ?consistent, conflicting semantics."
            ),
            ("/v1/internal/ui/nodes?index=x", "400 Invalid index"), ("/v1/session/list?index=x", "400 Invalid index"),
            ("/v1/health/service/?x", "400 Missing service name"),
            ("/v1/catalog/nodes?dc=none", "500 No path to datacenter"),
            (
                "/v1/health/service/web?passing=x",
                #"500 Failed to create boolean expression evaluator: Selector "Nonsense" is not valid"#
            ),
            (
                "/v1/agent/services?index=x",
                #"500 Failed to create boolean expression evaluator: Selector "Nonsense" is not valid"#
            ),
        ])
    func whatIsRefusedFirst(_ target: String, _ expected: String) async {
        #expect(await self.desk.get("\(target)&filter=Nonsense==1").short == expected)
    }

    @Test func aRefusedReadHasTheHeadersOfOneWithoutALeader() async {
        for path in ["/v1/catalog/nodes", "/v1/health/service/web", "/v1/internal/ui/services"] {
            let reply = await self.desk.get("\(path)?filter=Nonsense==1")
            #expect(reply["X-Consul-Knownleader"] == "false" && reply["X-Consul-Lastcontact"] == "0")
        }
        let own = await self.desk.get("/v1/agent/services?filter=Nonsense==1")
        #expect(own.status == 500 && own["X-Consul-Knownleader"] == nil)
    }

    /// An index that never comes would hold the request for its whole time.
    @Test(.timeLimit(.minutes(1)), arguments: ["/v1/catalog/nodes", "/v1/health/service/web", "/v1/session/list"])
    func aBrokenFilterIsNotWaitedWith(_ path: String) async {
        #expect(await self.desk.get("\(path)?index=999999&wait=10m&filter=Nonsense==1").status == 500)
    }

    private func register(_ node: String, port: Int) async {
        let service = #"{"ID":"w-\#(node)","Service":"web","Port":\#(port)}"#
        let body = #"{"Node":"\#(node)","Address":"10.0.0.1","Service":\#(service)}"#
        #expect(await self.desk.put("/v1/catalog/register", body).status == 200)
    }

    @Test func aStreamHasTheRowsThatTheFilterLetsThrough() async throws {
        let desk = self.desk
        await self.register("n1", port: 80)
        await self.register("n2", port: 81)
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send(
                "GET /v1/health/service/web?stream&filter=Service.Port==80 HTTP/1.1\r\nHost: x\r\n\r\n")
            var text = try await client.text(until: "event: ready")
            #expect(text.contains("\"w-n1\"") && !text.contains("\"w-n2\""))
            // What begins to fit comes, what no longer fits goes.
            await self.register("n2", port: 80)
            text = try await client.text(until: "event: put")
            #expect(text.contains("\"w-n2\""))
            await self.register("n1", port: 82)
            text = try await client.text(until: "event: delete")
            #expect(text.contains(#"data: {"Node":"n1","ServiceID":"w-n1"}"#))
            try await client.close()
        }
        let broken = await desk.get("/v1/catalog/nodes?stream&filter=Node+==").short
        #expect(broken.hasPrefix("500 Failed to create boolean expression evaluator: "))
    }

    @Test(arguments: ["", "&stale", "&cached"]) func anAgentAnswersAsItsServer(_ mode: String) async {
        await self.register("n1", port: 80)
        await self.register("n2", port: 81)
        let server = self.desk
        let agent = Desk(
            cluster: FakeCluster(isServer: false, source: server.cluster) { await server.api.respond(to: $0) })
        for target in [
            "/v1/health/service/web?filter=Service.Port==81", "/v1/catalog/service/web?filter=ServicePort==81",
            "/v1/catalog/services?filter=ServicePort==81", "/v1/catalog/services?filter=ServicePort==9",
            "/v1/health/service/web?filter=Nonsense==1",
        ] {
            let own = await agent.get(target + mode)
            let theirs = await server.get(target + mode)
            #expect(own.short == theirs.short, "\(target)\(mode)")
        }
        let passedOn = agent.cluster.forwarded.map(\.target)
        #expect(passedOn.isEmpty == !mode.isEmpty && passedOn.allSatisfy { $0.contains("?filter=") })
    }
}
