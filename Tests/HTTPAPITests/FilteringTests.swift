import Testing

/// `?filter` on each route that takes one.
@Suite struct FilteringTests {
    let desk = Desk()

    init() async {
        let bodies = [
            #"{"Node":"n1","Address":"10.0.0.1","NodeMeta":{"rack":"a"},"TaggedAddresses":{"lan":"10.0.0.1"},"#
                + #""Service":{"ID":"w1","Service":"web","Tags":["v1","blue"],"Port":80,"Meta":{"team":"x"},"#
                + #""Weights":{"Passing":5,"Warning":1},"TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":81}}},"#
                + #""Check":{"CheckID":"c1","Name":"one","Status":"passing","ServiceID":"w1"}}"#,
            #"{"Node":"n2","Address":"10.0.0.2","NodeMeta":{"rack":"b"},"#
                + #""Service":{"ID":"w2","Service":"web","Tags":["v2"],"Port":8080,"EnableTagOverride":true},"#
                + #""Check":{"CheckID":"c2","Name":"two","Status":"critical","ServiceID":"w2"}}"#,
            #"{"Node":"n2","Address":"10.0.0.2","SkipNodeUpdate":true,"#
                + #""Service":{"ID":"p","Service":"web-proxy","Kind":"connect-proxy","Port":21000,"#
                + #""Proxy":{"DestinationServiceName":"web","Upstreams":[{"DestinationName":"db","LocalBindPort":9}]}}}"#,
        ]
        for body in bodies { _ = await self.desk.put("/v1/catalog/register", body) }
    }

    /// Names of what came back, by a mark that each has in the answer.
    private func names(_ path: String, _ filter: String, _ marks: [String]) async -> [String] {
        var escaped = ""
        for byte in filter.utf8 {
            let digits = String(byte, radix: 16)
            escaped += "%" + (digits.count == 1 ? "0" : "") + digits
        }
        let reply = await self.desk.get("\(path)\(path.contains("?") ? "&" : "?")filter=\(escaped)")
        guard reply.status == 200 else { return [reply.short] }
        return marks.filter { reply.body.contains("\"\($0)\"") }
    }

    @Test(
        arguments: [
            ("Node == n1", ["n1"]), ("Node != n1", ["n2"]), ("Meta.rack == b", ["n2"]), ("rack in Meta", ["n1", "n2"]),
            ("TaggedAddresses.lan == `10.0.0.1`", ["n1"]), ("TaggedAddresses is empty", ["n2"]),
            (#"Address matches "^10\\.0\\.0\\.[2-9]$""#, ["n2"]), ("Node == n1 or Node == n2", ["n1", "n2"]),
            ("not (Node == n1) and Datacenter == dc1", ["n2"]), ("Meta.none == x", []),
            ("Meta.none != x", ["n1", "n2"]),
        ] as [(String, [String])])
    func nodes(_ filter: String, _ expected: [String]) async {
        #expect(await self.names("/v1/catalog/nodes", filter, ["n1", "n2"]) == expected)
    }

    @Test(
        arguments: [
            ("v1 in ServiceTags", ["w1"]), ("v1 not in ServiceTags", ["w2"]), ("ServicePort == 8080", ["w2"]),
            ("ServiceMeta.team == x", ["w1"]), ("ServiceEnableTagOverride == true", ["w2"]),
            ("ServiceWeights.Passing == 5", ["w1"]), ("ServiceTaggedAddresses.wan.Port == 81", ["w1"]),
            ("NodeMeta.rack == a and ServiceName == web", ["w1"]), ("ServiceTags is not empty", ["w1", "w2"]),
        ] as [(String, [String])])
    func instances(_ filter: String, _ expected: [String]) async {
        #expect(await self.names("/v1/catalog/service/web", filter, ["w1", "w2"]) == expected)
    }

    @Test(
        arguments: [
            ("Service.Port == 80", ["w1"]), ("Checks.Status == critical", ["w2"]), ("Node.Meta.rack == a", ["w1"]),
            ("blue in Service.Tags", ["w1"]), ("Checks is empty", []), ("Service.Meta contains team", ["w1"]),
            ("Checks.Name == two and Service.ID != w1", ["w2"]),
        ] as [(String, [String])])
    func health(_ filter: String, _ expected: [String]) async {
        #expect(await self.names("/v1/health/service/web", filter, ["w1", "w2"]) == expected)
    }

    @Test(
        arguments: [
            ("/v1/catalog/services", "v2 in ServiceTags", ["web"]),
            ("/v1/catalog/services", "ServiceKind == `connect-proxy`", ["web-proxy"]),
            ("/v1/catalog/node/n2", "Port == 8080", ["n2", "web", "w2"]),
            ("/v1/catalog/node/n2", "Proxy.DestinationServiceName == web", ["n2", "web", "web-proxy", "p"]),
            ("/v1/catalog/node/n2", "Proxy.Upstreams.DestinationName == db", ["n2", "web", "web-proxy", "p"]),
            ("/v1/catalog/node-services/n2", "Kind == `connect-proxy`", ["n2", "web", "web-proxy", "p"]),
            ("/v1/catalog/node-services/n2", "Connect.Native == true", ["n2"]),
            ("/v1/health/node/n1", "Status == passing", ["n1", "web", "w1"]),
            ("/v1/health/node/n1", "Status != passing", []),
            ("/v1/health/checks/web", "Name == two", ["n2", "web", "w2"]),
            ("/v1/health/state/any", "ServiceID == w1", ["n1", "web", "w1"]),
            ("/v1/internal/ui/nodes", "Services.Port == 80", ["n1", "web", "w1"]),
            ("/v1/internal/ui/services", "Service.Service == web", ["n1", "n2", "web"]),
            ("/v1/internal/ui/services", "Node.Node == n1", ["n1", "web"]),
        ] as [(String, String, [String])])
    func otherRoutes(_ path: String, _ filter: String, _ expected: [String]) async {
        #expect(await self.names(path, filter, ["n1", "n2", "web", "web-proxy", "w1", "w2", "p"]) == expected)
    }

    private static let routes = [
        "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/web", "/v1/catalog/node/n1",
        "/v1/catalog/node-services/n1", "/v1/health/service/web", "/v1/health/node/n1", "/v1/health/checks/web",
        "/v1/health/state/any", "/v1/internal/ui/nodes", "/v1/internal/ui/services", "/v1/session/list",
        "/v1/session/node/n1", "/v1/agent/services", "/v1/agent/members",
    ]

    @Test(arguments: routes) func whatDoesNotFitTheRowsIsRefused(_ path: String) async {
        let unknown = await self.desk.get("\(path)?filter=Nonsense==1").short
        #expect(unknown == #"500 Failed to create boolean expression evaluator: Selector "Nonsense" is not valid"#)
        let broken = await self.desk.get("\(path)?filter=ID+==").short
        #expect(broken.hasPrefix("500 Failed to create boolean expression evaluator: "))
        let long = await self.desk.get("\(path)?filter=\(String(repeating: "x", count: 9000))").short
        #expect(long.hasPrefix("400 ?filter: "))
        #expect(await self.desk.get("\(path)?filter=").status == 200)
    }

    @Test func theAgentsChecksSayTheReasonAlone() async {
        #expect(await self.desk.get("/v1/agent/checks?filter=Foo==1").short == #"500 Selector "Foo" is not valid"#)
        #expect(await self.desk.get("/v1/agent/checks?filter=Name+==").short.hasPrefix("500 Failed to create "))
    }

    @Test func keysTakeNoFilter() async {
        _ = await self.desk.put("/v1/kv/a", "1")
        #expect(await self.desk.get("/v1/kv/a?filter=Foo==1").status == 200)
    }

    @Test func theIndexIsThatOfAllRows() async {
        let all = await self.desk.get("/v1/health/service/web")["X-Consul-Index"]
        #expect(await self.desk.get("/v1/health/service/web?filter=Service.Port==1")["X-Consul-Index"] == all)
    }
}
