import Testing

/// A node with a service and two checks, as in the answers of a Consul server to the same requests.
private let registration =
    #"{"Node":"x","Address":"1.1.1.1","NodeMeta":{"a":"b"},"TaggedAddresses":{"wan":"2.2.2.2","lan":"1.1.1.1"},"#
    + #""Service":{"Service":"s1","Tags":["v1","a&b"],"Meta":{"k":"v"},"Port":8080,"#
    + #""TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":1}},"Weights":{"Passing":5,"Warning":2},"#
    + #""EnableTagOverride":true,"Proxy":{"DestinationServiceName":"q"},"Connect":{"Native":true}},"#
    + #""Checks":[{"Name":"node check","Status":"warning","Output":"<out>"},"#
    + #"{"Name":"svc check","ServiceID":"s1","Notes":"n","Status":"passing","Type":"http","#
    + #""Definition":{"HTTP":"http://x","Interval":"10s","Timeout":1000000000,"Header":{"A":["b"]}}}]}"#

private let nodeJSON =
    #"{"ID":"","Node":"x","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":{"lan":"1.1.1.1","wan":"2.2.2.2"},"#
    + #""Meta":{"a":"b"},"CreateIndex":11,"ModifyIndex":11}"#
private let serviceJSON =
    #"{"ID":"s1","Service":"s1","Tags":["v1","a\u0026b"],"Address":"","TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":1}},"#
    + #""Meta":{"k":"v"},"Port":8080,"Weights":{"Passing":5,"Warning":2},"EnableTagOverride":true,"#
    + #""Proxy":{"DestinationServiceName":"q","Mode":"","MeshGateway":{},"Expose":{}},"Connect":{"Native":true},"#
    + #""CreateIndex":11,"ModifyIndex":11}"#
private let nodeCheckJSON =
    #"{"Node":"x","CheckID":"node check","Name":"node check","Status":"warning","Notes":"","Output":"\u003cout\u003e","#
    + #""ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"#
    + #""Definition":{},"CreateIndex":11,"ModifyIndex":11}"#
private let serviceCheckJSON =
    #"{"Node":"x","CheckID":"svc check","Name":"svc check","Status":"passing","Notes":"n","Output":"","ServiceID":"s1","#
    + #""ServiceName":"s1","ServiceTags":["v1","a\u0026b"],"Type":"http","Interval":"","Timeout":"","ExposedPort":0,"#
    + #""Definition":{"Interval":"10s","Timeout":"1s","HTTP":"http://x","Header":{"A":["b"]}},"CreateIndex":11,"ModifyIndex":11}"#

@Suite struct CatalogTests {
    let desk = Desk()

    init() async {
        let reply = await self.desk.put("/v1/catalog/register", registration)
        #expect(reply.short == "200 true")
    }

    @Test func aServiceIsListedFlat() async {
        let reply = await self.desk.get("/v1/catalog/service/s1")
        #expect(
            reply.full
                == """
                200
                Content-Type: application/json
                X-Consul-Default-Acl-Policy: allow
                Vary: Accept-Encoding
                X-Consul-Effective-Consistency: leader
                X-Consul-Index: 11
                X-Consul-Knownleader: true
                X-Consul-Lastcontact: 0

                [{"ID":"","Node":"x","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":{"lan":"1.1.1.1","wan":"2.2.2.2"},\
                "NodeMeta":{"a":"b"},"ServiceKind":"","ServiceID":"s1","ServiceName":"s1","ServiceTags":["v1","a\\u0026b"],\
                "ServiceAddress":"","ServiceTaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":1}},\
                "ServiceWeights":{"Passing":5,"Warning":2},"ServiceMeta":{"k":"v"},"ServicePort":8080,\
                "ServiceEnableTagOverride":true,\
                "ServiceProxy":{"DestinationServiceName":"q","Mode":"","MeshGateway":{},"Expose":{}},\
                "ServiceConnect":{"Native":true},"CreateIndex":11,"ModifyIndex":11}]
                """)
    }

    @Test func healthShowsNodeServiceAndChecks() async {
        let expected =
            #"[{"Node":\#(nodeJSON),"Service":\#(serviceJSON),"Checks":[\#(nodeCheckJSON),\#(serviceCheckJSON)]}]"#
        #expect(await self.desk.get("/v1/health/service/s1").body == expected)
        #expect(await self.desk.get("/v1/health/service/S1").body == expected)
        #expect(await self.desk.get("/v1/health/service/s1?passing=false&tag=v1").body == expected)
        #expect(await self.desk.get("/v1/health/service/s1?passing").body == "[]")
        #expect(await self.desk.get("/v1/health/service/s1?tag=v1&tag=zz").body == "[]")
        #expect(await self.desk.get("/v1/health/service/s1?node-meta=a:b").body == expected)
        #expect(await self.desk.get("/v1/health/service/s1?node-meta=a:c").body == "[]")
        #expect(await self.desk.get("/v1/health/service/none").short == "200 []")
        #expect(await self.desk.get("/v1/health/service/s1?near=_agent").body == expected)
    }

    @Test func checksAreListedByNodeServiceAndState() async {
        #expect(await self.desk.get("/v1/health/node/x").body == "[\(nodeCheckJSON),\(serviceCheckJSON)]")
        #expect(await self.desk.get("/v1/health/node/none").short == "200 []")
        #expect(await self.desk.get("/v1/health/checks/s1").body == "[\(serviceCheckJSON)]")
        #expect(await self.desk.get("/v1/health/state/any").body == "[\(nodeCheckJSON),\(serviceCheckJSON)]")
        #expect(await self.desk.get("/v1/health/state/warning").body == "[\(nodeCheckJSON)]")
        #expect(await self.desk.get("/v1/health/state/critical").body == "[]")
        #expect(await self.desk.get("/v1/health/state/foo").short == "200 []")
        #expect(await self.desk.get("/v1/health/state/any?node-meta=a:zz").body == "[]")
    }

    @Test func nodesAndTheirServicesAreListed() async {
        #expect(await self.desk.get("/v1/catalog/nodes").body == "[\(nodeJSON)]")
        #expect(await self.desk.get("/v1/catalog/nodes?node-meta=a:zz").body == "[]")
        #expect(
            await self.desk.get("/v1/catalog/node/x").body
                == #"{"Node":\#(nodeJSON),"Services":{"s1":\#(serviceJSON)}}"#)
        #expect(await self.desk.get("/v1/catalog/node/none").short == "200 null")
        #expect(
            await self.desk.get("/v1/catalog/node-services/x").body
                == #"{"Node":\#(nodeJSON),"Services":[\#(serviceJSON)]}"#)
        #expect(await self.desk.get("/v1/catalog/node-services/none").short == #"200 {"Node":null,"Services":null}"#)
        #expect(await self.desk.get("/v1/catalog/services").body == #"{"s1":["a\u0026b","v1"]}"#)
        #expect(await self.desk.get("/v1/catalog/services?node-meta=a:zz").body == "{}")
        #expect(await self.desk.get("/v1/catalog/datacenters").short == #"200 ["dc1"]"#)
    }

    @Test func aBareServiceShowsDefaults() async {
        _ = await self.desk.put(
            "/v1/catalog/register",
            #"{"Node":"n1","Address":"1.2.3.4","Service":{"Service":"web","ID":"w1","Port":80}}"#)
        #expect(
            await self.desk.get("/v1/catalog/service/web").body
                == #"[{"ID":"","Node":"n1","Address":"1.2.3.4","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"w1","ServiceName":"web","ServiceTags":[],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":80,"ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"CreateIndex":12,"ModifyIndex":12}]"#
        )
    }

    @Test func registeringTheSameAgainMovesNoIndex() async {
        _ = await self.desk.put("/v1/catalog/register", registration)
        #expect(await self.desk.get("/v1/catalog/service/s1")["X-Consul-Index"] == "11")
        #expect(await self.desk.get("/v1/catalog/nodes")["X-Consul-Index"] == "11")
    }

    @Test func deregisteringTakesCheckServiceOrNode() async {
        #expect(
            await self.desk.put("/v1/catalog/deregister", #"{"Node":"x","CheckID":"node check"}"#).short == "200 true")
        #expect(await self.desk.get("/v1/health/service/s1?passing").body.contains("svc check"))
        #expect(await self.desk.put("/v1/catalog/deregister", #"{"Node":"x","ServiceID":"s1"}"#).short == "200 true")
        #expect(await self.desk.get("/v1/catalog/service/s1").short == "200 []")
        #expect(await self.desk.put("/v1/catalog/deregister", #"{"Node":"x"}"#).short == "200 true")
        #expect(await self.desk.get("/v1/catalog/nodes").body == "[]")
        #expect(await self.desk.put("/v1/catalog/deregister", #"{"Node":"zip"}"#).short == "200 true")
    }

    @Test(
        arguments: [
            ("register", "{}", "500 Must provide node and address"),
            ("register", #"{"Node":"x"}"#, "500 Must provide node and address"),
            ("register", #"{"node":"y","address":"1.1.1.1"}"#, "200 true"),
            ("register", #"{"Node":"x","SkipNodeUpdate":true,"Check":{"Name":"c"}}"#, "200 true"),
            (
                "register", "{bad",
                "400 Request decode failed: invalid character 'b' looking for beginning of object key string"
            ),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","Service":{"ID":"x"}}"#,
                "500 Must provide service name with ID"
            ),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","Service":{}}"#,
                "500 Must provide service name (Service.Service) when service is specified"
            ),
            ("register", #"{"Node":"x","Address":"1.1.1.1","Datacenter":"zz"}"#, "500 No path to datacenter"),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","ID":"zz"}"#,
                "500 Bad node ID: uuid string is wrong length"
            ),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","Service":{"Service":"s","Address":"0.0.0.0"}}"#,
                "500 Invalid service address"
            ),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","Service":{"Service":"s","Port":"80"}}"#,
                "400 Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"
            ),
            (
                "register", #"{"Node":"x","Address":"1.1.1.1","Check":{"Name":"c","ServiceID":"nope"}}"#,
                "500 failed inserting check: Missing service registration on node \"x\""
            ),
            ("deregister", "{}", "500 Must provide node"),
            ("deregister", #"{"Node":"x","Datacenter":"zz"}"#, "500 No path to datacenter"),
            (
                "deregister", #"{"Node":5}"#,
                "400 Request decode failed: json: cannot unmarshal number into Go struct field .Node of type string"
            ),
        ])
    func registrationsAreChecked(_ what: String, _ body: String, _ expected: String) async {
        #expect(await self.desk.put("/v1/catalog/\(what)", body).short == expected)
    }

    @Test(
        arguments: [
            ("/v1/catalog/service/", "400 Missing service name"),
            ("/v1/catalog/node/", "400 Missing node name"),
            ("/v1/catalog/node-services/", "400 Missing node name"),
            ("/v1/health/service/", "400 Missing service name"),
            ("/v1/health/checks/", "400 Missing service name"),
            ("/v1/health/node/", "400 Missing node name"),
            ("/v1/health/state/", "400 Missing check state"),
            ("/v1/health/service/s1?passing=x", "400 Invalid value for ?passing"),
            ("/v1/catalog/nodes?dc=other", "500 No path to datacenter"),
            (
                "/v1/catalog/nodes?filter=Foo==1",
                "500 Failed to create boolean expression evaluator: Selector \"Foo\" is not valid"
            ),
        ])
    func readsAreChecked(_ target: String, _ expected: String) async {
        #expect(await self.desk.get(target).short == expected)
    }

    @Test func slashesInNamesAreUnescapedAfterRouting() async {
        _ = await self.desk.put(
            "/v1/catalog/register", #"{"Node":"n","Address":"1.1.1.1","Service":{"Service":"a/b c"}}"#)
        #expect(await self.desk.get("/v1/catalog/service/a%2Fb%20c").body.contains(#""ServiceName":"a/b c""#))
    }

    @Test func anUpstreamIsShownWithItsDefaults() async {
        let service =
            #"{"Service":"p","Kind":"connect-proxy","Port":2,"Proxy":{"DestinationServiceName":"w","#
            + #""Upstreams":[{"destination_name":"db","LocalBindPort":9}]}}"#
        let body = #"{"Node":"y","Address":"1.1.1.1","Service":"# + service + "}"
        #expect(await self.desk.put("/v1/catalog/register", body).short == "200 true")
        let upstream =
            #"{"DestinationType":"","DestinationName":"db","Datacenter":"","LocalBindPort":9,"Config":null,"MeshGateway":{}}"#
        #expect(
            await self.desk.get("/v1/catalog/service/p").body.contains(
                #""ServiceProxy":{"DestinationServiceName":"w","Mode":"","Upstreams":["# + upstream
                    + #"],"MeshGateway":{},"Expose":{}}"#))
        let local = service.replacing(#""Service":"p""#, with: #""Name":"p""#)
        #expect(await self.desk.put("/v1/agent/service/register", local).short == "200 ")
        #expect(
            await self.desk.get("/v1/agent/service/p").body.contains(
                #""Proxy":{"DestinationServiceName":"w","Upstreams":[{"DestinationType":"service","DestinationName":"db","#
                    + #""LocalBindPort":9,"MeshGateway":{}}],"MeshGateway":{},"Expose":{}}"#))
    }

    @Test func theNodesChecksComeFirstAndNoServiceHasAnEmptyTag() async throws {
        let more =
            #"{"Node":"x","Address":"1.1.1.1","SkipNodeUpdate":true,"Check":{"CheckID":"a","ServiceID":"s1","Name":"a"}}"#
        #expect(await self.desk.put("/v1/catalog/register", more).short == "200 true")
        let body = await self.desk.get("/v1/health/service/s1").body
        let places = ["\"node check\"", "\"CheckID\":\"a\"", "\"svc check\""].map {
            body.firstRange(of: $0)?.lowerBound
        }
        #expect(places.allSatisfy { $0 != nil })
        #expect(places.compactMap { $0 } == places.compactMap { $0 }.sorted())
        #expect(await self.desk.get("/v1/health/service/s1?tag=").body == "[]")
        #expect(await self.desk.get("/v1/catalog/service/s1?tag=").body == "[]")
        #expect(await self.desk.get("/v1/catalog/service/s1?tag=V1").body != "[]")
    }
}
