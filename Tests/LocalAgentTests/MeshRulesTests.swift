import LocalAgent
import Testing

/// What proxies and gateways are refused for, in the words of a Consul agent.
@Suite struct MeshRulesTests {
    private static func problem(
        _ kind: String, port: UInt32 = 21_000, proxy: String = "", connect: String = ""
    ) -> String? {
        var service = ServiceDefinition()
        service.name = "p"
        service.kind = kind
        service.port = port
        service.proxyJSON = Array(proxy.utf8)
        service.connectJSON = Array(connect.utf8)
        return service.validate()
    }

    private static func list(_ faults: String...) -> String {
        let head = faults.count == 1 ? "1 error occurred:" : "\(faults.count) errors occurred:"
        return head + faults.map { "\n\t* " + $0 }.joined() + "\n\n"
    }

    private static let noDestination = "Proxy.DestinationServiceName must be non-empty for Connect proxy services"

    @Test func aProxyNeedsADestinationAndAPlaceToListen() {
        #expect(Self.problem("connect-proxy", proxy: #"{"DestinationServiceName":"web"}"#) == nil)
        #expect(Self.problem("connect-proxy") == Self.list(Self.noDestination))
        #expect(
            Self.problem("connect-proxy", proxy: #"{"DestinationServiceName":" "}"#) == Self.list(Self.noDestination))
        #expect(
            Self.problem("connect-proxy", port: 0)
                == Self.list(Self.noDestination, "Port or SocketPath must be set for a Connect proxy"))
        #expect(
            Self.problem("connect-proxy", proxy: #"{"DestinationServiceName":"web"}"#, connect: #"{"Native":true}"#)
                == Self.list("A Proxy cannot also be Connect Native, only typical services"))
        // A service of no kind may say what it likes.
        #expect(Self.problem("", port: 0, proxy: #"{"Upstreams":[{}]}"#) == nil)
    }

    @Test(
        arguments: [
            (#"{"DestinationName":"db","LocalBindPort":9}"#, nil),
            (#"{"DestinationName":"db","LocalBindSocketPath":"/s"}"#, nil),
            (#"{"LocalBindPort":9}"#, "upstream destination name cannot be empty"),
            (#"{"DestinationName":"*","LocalBindPort":9}"#, "upstream destination name cannot be a wildcard"),
            (
                #"{"DestinationName":"db"}"#,
                "upstream local bind port or local socket path must be defined and nonzero"
            ),
            (
                #"{"DestinationType":"odd","DestinationName":"db","LocalBindPort":9}"#,
                #"unknown upstream destination type: "odd""#
            ),
            (
                #"{"DestinationName":"db","LocalBindPort":9},{"DestinationName":"x","LocalBindPort":9}"#,
                "upstreams cannot contain duplicates by local bind address and port or unix path; "
                    + #""127.0.0.1:9" is specified twice"#
            ),
            (
                #"{"DestinationName":"db","LocalBindPort":9},{"DestinationName":"db","LocalBindPort":8}"#,
                #"upstreams cannot contain duplicates of [type="service", name="db", namespace="", datacenter=""]"#
            ),
            (
                #"{"DestinationName":"db","LocalBindPort":9},{"DestinationName":"db","DestinationPeer":"p","LocalBindPort":8}"#,
                nil
            ),
        ] as [(String, String?)])
    func upstreamsAreLookedAt(_ upstreams: String, _ fault: String?) {
        let proxy = #"{"DestinationServiceName":"web","Upstreams":["# + upstreams + "]}"
        #expect(Self.problem("connect-proxy", proxy: proxy) == fault.map { Self.list($0) })
    }

    @Test(arguments: ["mesh-gateway", "terminating-gateway", "ingress-gateway"])
    func aGatewayIsNoProxy(_ kind: String) {
        #expect(Self.problem(kind) == nil)
        #expect(Self.problem(kind, port: 0) == Self.list("Port must be non-zero for a \(kind)"))
        let proxy = #"{"DestinationServiceName":"w","LocalServicePort":1,"Upstreams":[{"DestinationName":"a"}]}"#
        #expect(
            Self.problem(kind, proxy: proxy)
                == Self.list(
                    "The Proxy.DestinationServiceName configuration is invalid for a \(kind)",
                    "The Proxy.LocalServicePort configuration is invalid for a \(kind)",
                    "The Proxy.Upstreams configuration is invalid for a \(kind)"))
    }

    @Test func aSidecarHasNoIDOfItsOwnAndNoSidecar() {
        var web = ServiceDefinition()
        web.name = "web"
        web.sidecar = [ServiceDefinition()]
        #expect(web.validate() == nil)
        web.sidecar[0].id = "own"
        #expect(
            web.validate() == Self.list("A SidecarService cannot specify an ID as this is managed by the agent"))
        web.sidecar[0].id = ""
        web.sidecar[0].sidecar = [ServiceDefinition()]
        #expect(web.validate() == Self.list("A SidecarService cannot have a nested SidecarService"))
    }
}
