import HTTPAPI
import Testing

/// What Consul's web interface and its operators ask, beyond the documented reads.
@Suite struct UITests {
    let desk = Desk()

    init() async {
        for body in [
            #"{"Node":"n1","Address":"1.1.1.1","Service":{"Service":"web","ID":"w1","Tags":["b","a"],"Meta":{"external-source":"nomad"}},"Checks":[{"Name":"up","Status":"passing"},{"Name":"slow","Status":"warning","ServiceID":"w1"}]}"#,
            #"{"Node":"n2","Address":"1.1.1.2","Service":{"Service":"web","ID":"w2"},"Check":{"Name":"down","Status":"critical","ServiceID":"w2"}}"#,
            #"{"Node":"n2","Address":"1.1.1.2","Service":{"Service":"proxy","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"web"}}}"#,
        ] {
            #expect(await self.desk.put("/v1/catalog/register", body).short == "200 true")
        }
    }

    @Test func servicesAreSummedUp() async {
        let reply = await self.desk.get("/v1/internal/ui/services")
        #expect(reply["X-Consul-Index"] == "13")
        #expect(
            reply.body
                == #"[{"Kind":"connect-proxy","Name":"proxy","Datacenter":"dc1","Tags":null,"Nodes":["n2"],"InstanceCount":1,"ProxyFor":["web"],"ChecksPassing":0,"ChecksWarning":0,"ChecksCritical":0,"ExternalSources":null,"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":false,"ConnectedWithGateway":false},"#
                + #"{"Name":"web","Datacenter":"dc1","Tags":["a","b"],"Nodes":["n1","n2"],"InstanceCount":2,"ChecksPassing":1,"ChecksWarning":1,"ChecksCritical":1,"ExternalSources":["nomad"],"GatewayConfig":{},"TransparentProxy":false,"ConnectNative":false,"ConnectedWithProxy":true,"ConnectedWithGateway":false}]"#
        )
    }

    @Test func aNodeComesWithAllThatIsOnIt() async {
        let one = await self.desk.get("/v1/internal/ui/node/n1").body
        #expect(
            one.hasPrefix(
                #"{"ID":"","Node":"n1","Address":"1.1.1.1","TaggedAddresses":null,"Meta":null,"Services":[{"ID":"w1""#))
        #expect(one.contains(#""Checks":[{"Node":"n1","CheckID":"slow""#))
        #expect(await self.desk.get("/v1/internal/ui/nodes").body.hasPrefix("[" + one + ",{"))
        #expect(await self.desk.get("/v1/internal/ui/node/none").short == "404 ")
        #expect(await self.desk.get("/v1/internal/ui/node/").short == "400 Missing node name")
        #expect(await self.desk.get("/v1/internal/ui/gateway-services-nodes/g").short == "200 []")
        #expect(await self.desk.get("/v1/internal/ui/gateway-services-nodes/").short == "400 Missing gateway name")
    }

    @Test func usageCountsTheCatalog() async {
        #expect(
            await self.desk.get("/v1/operator/usage").body.hasPrefix(
                #"{"Usage":{"dc1":{"Nodes":2,"Services":2,"ServiceInstances":3,"ConnectServiceInstances":{"api-gateway":0,"connect-native":0,"connect-proxy":1,"ingress-gateway":0,"mesh-gateway":0,"terminating-gateway":0},"BillableServiceInstances":2}},"Index":13,"#
            ))
    }

    @Test func autopilotTellsWhatIsInForceAndTakesNothingElse() async {
        #expect(
            await self.desk.get("/v1/operator/autopilot/configuration").body
                == #"{"CleanupDeadServers":false,"LastContactThreshold":"1s","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"0s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":0,"ModifyIndex":0}"#
        )
        let path = "/v1/operator/autopilot/configuration"
        #expect(await self.desk.put(path, #"{"CleanupDeadServers":true}"#).status == 500)
        #expect(
            await self.desk.put(path + "?cas=x", "{}").short
                == #"400 Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax"#)
        #expect(
            await self.desk.put(path, #"{"LastContactThreshold":"x"}"#).short
                == #"400 Error parsing autopilot config: time: invalid duration "x""#)
    }

    @Test(arguments: ["GET", "POST", "PUT", "DELETE"])
    func thereIsNoKeyring(_ method: String) async {
        let reply = await self.desk.ask(method, "/v1/operator/keyring", "{}")
        #expect(reply.status == 500 && reply.body.hasPrefix("Keyring is empty (encryption not enabled)"))
        #expect(await self.desk.ask(method, "/v1/operator/keyring?relay-factor=9", "{}").status == 400)
        let empty = await self.desk.ask(method, "/v1/operator/keyring", "")
        #expect(method == "GET" ? empty.status == 500 : empty.short == "400 Request decode failed: EOF")
    }

    @Test func aCachedAnswerSaysSo() async {
        for target in ["/v1/catalog/services", "/v1/catalog/service/web", "/v1/health/service/web"] {
            let reply = await self.desk.get(target + "?cached")
            #expect(reply["X-Cache"] == "HIT" && reply["Age"] == "0")
            #expect(await self.desk.get(target)["X-Cache"] == nil)
        }
        for target in ["/v1/catalog/nodes", "/v1/catalog/node/n1", "/v1/health/node/n1", "/v1/kv/a"] {
            #expect(await self.desk.get(target + "?cached")["X-Cache"] == nil)
        }
    }
}
