import Agent
import Testing
import Units

@Suite("HCL and JSON files")
struct HCLConfigurationTests {
    private let base = ["-server", "-bootstrap", "-data-dir", "/d"]

    private func made(_ files: [String: String], _ more: String...) throws -> AgentConfiguration {
        try withFiles(files) { folder in
            try AgentConfiguration.load(
                arguments: self.base + more.map { $0.replacingOccurrences(of: "FOLDER", with: folder) },
                machine: machine)
        }
    }

    @Test("The same configuration in HCL and in JSON is the same")
    func bothSyntaxesSayTheSame() throws {
        let hcl = """
            node_name = "n1" # the name
            node_meta { rack = "4" }
            ports { http = 0x2000, dns = -1 }
            retry_join = ["a", "b:9"]
            dns_config {
              only_passing = true
              service_ttl { "*" = "5s" }
              soa { min_ttl = 7 }
            }
            service {
              name = "web"
              tags = ["v1"]
              port = 80
              meta { version = "4" }
              tagged_addresses { lan { address = "10.0.0.1", port = 81 } }
              weights { passing = 3, warning = 2 }
              checks = [{ http = "http://127.0.0.1/", interval = "10s", header { Accept = ["a", "b"] } }]
              check { ttl = "30s" }
            }
            service { name = "db", enable_tag_override = true }
            check { id = "mem", name = "Memory", ttl = "1m", service_id = "db" }
            watches { type = "service", service = "web", tag = "v1", args = ["/bin/true", "x"] }
            watches {
              type = "key", key = "a/b", handler_type = "http"
              http_handler_config { path = "https://h/", method = "PUT", timeout = "3s", header { X = ["1"] } }
            }
            """
        let json = """
            {"node_name": "n1", "node_meta": {"rack": "4"}, "ports": {"http": 8192, "dns": -1}, "retry_join": ["a", "b:9"],
             "dns_config": {"only_passing": true, "service_ttl": {"*": "5s"}, "soa": {"min_ttl": 7}},
             "services": [
               {"Name": "web", "Tags": ["v1"], "Port": 80, "Meta": {"version": "4"},
                "TaggedAddresses": {"lan": {"Address": "10.0.0.1", "Port": 81}},
                "Weights": {"Passing": 3, "Warning": 2},
                "Checks": [{"HTTP": "http://127.0.0.1/", "Interval": "10s", "Header": {"Accept": ["a", "b"]}}],
                "Check": {"TTL": "30s"}},
               {"name": "db", "EnableTagOverride": true}],
             "checks": [{"id": "mem", "name": "Memory", "ttl": "1m", "ServiceID": "db"}],
             "watches": [
               {"type": "service", "service": "web", "tag": ["v1"], "args": ["/bin/true", "x"]},
               {"type": "key", "key": "a/b", "handler_type": "http", "http_handler_config":
                {"path": "https://h/", "method": "PUT", "timeout": "3s", "header": {"X": ["1"]}}}]}
            """
        let first = try self.made(["a.hcl": hcl], "-config-dir", "FOLDER")
        let second = try self.made(["a.json": json], "-config-dir", "FOLDER")
        #expect(first == second)
        #expect(first.ports.http == 8192 && first.ports.dns == nil && first.dns.soa.minTTL == 7)
        let web = try #require(first.serviceDefinitions.first)
        #expect(web.checks.count == 2 && web.weightPassing == 3 && web.taggedAddresses["lan"]?.port == 81)
        #expect(
            web.checks[0].ttl == .seconds(30) && web.checks[1].header == [.init(name: "Accept", values: ["a", "b"])])
        #expect(first.checkDefinitions.map(\.serviceID) == ["db"])
        #expect(first.watches.map(\.handler)[0] == .script(["/bin/true", "x"]))
        #expect(first.warnings.isEmpty, "\(first.warnings)")
    }

    @Test("A folder's HCL and JSON files are merged in the order of their names, then come pieces of HCL, then flags")
    func filesPiecesAndFlagsAreMergedInOrder() throws {
        let files = [
            "1.hcl":
                "log_level = \"warn\"\nretry_join = [\"a\"]\nnode_meta { x = \"1\", y = \"1\" }\nservice { name = \"a\" }",
            "2.json":
                #"{"log_level": "error", "retry_join": ["b"], "node_meta": {"y": "2"}, "service": {"name": "b"}}"#,
        ]
        let made = try self.made(
            files, "-config-dir", "FOLDER", "-hcl", "retry_join = [\"c\"] node_meta { z = \"3\" } domain = \"x\"",
            "-retry-join", "d", "-domain", "y")
        #expect(made.logLevel == .error && made.domain == "y")
        #expect(made.retryJoin == ["a", "b", "c", "d"])
        #expect(made.nodeMeta == ["x": "1", "y": "2", "z": "3"])
        #expect(made.serviceDefinitions.map(\.name) == ["a", "b"])
    }

    @Test func theFormatCanBeNamedForFilesWhoseNamesDoNotSay() throws {
        let made = try self.made(["conf": "domain = \"x\""], "-config-format", "hcl", "-config-file", "FOLDER/conf")
        #expect(made.domain == "x")
        let passedOver = try self.made(["conf": "domain = \"x\""], "-config-file", "FOLDER/conf")
        #expect(passedOver.domain == "consul" && passedOver.warnings.count == 1)
        #expect(complaint("-config-format", "yaml") == "-config-format: must be hcl or json, not yaml")
    }

    @Test func aServiceThatStandsTwiceIsRemarkedOnAndTheLaterCounts() throws {
        let made = try self.made(
            ["a.hcl": "service { name = \"web\" port = 1 }\nservice { name = \"web\" port = 2 }"], "-config-dir",
            "FOLDER")
        #expect(made.serviceDefinitions.map(\.port) == [2])
        #expect(made.warnings.count == 1 && made.warnings[0].contains("service web stands at "), "\(made.warnings)")
    }

    @Test func keysAreReadWithoutRegardToCase() throws {
        let made = try self.made(["a.hcl": "Domain = \"x\"\nPorts { HTTP = 81 }"], "-config-dir", "FOLDER")
        #expect(made.domain == "x" && made.ports.http == 81)
    }
}

@Suite("Address templates")
struct TemplateTests {
    private static func interface(
        _ name: String, _ address: String, _ prefix: Int, isDefault: Bool = false
    ) -> AgentConfiguration.Machine.Interface {
        let flags: Set<String> = name == "lo" ? ["up", "loopback"] : name == "down0" ? [] : ["up", "broadcast"]
        return .init(name: name, address: address, prefix: prefix, flags: flags, isDefault: isDefault)
    }

    private static let interfaces = [
        interface("lo", "127.0.0.1", 8), interface("lo", "::1", 128),
        interface("eth1", "192.168.7.9", 24), interface("eth1", "fe80::1", 64), interface("eth1", "fd00::9", 64),
        interface("eth0", "10.1.2.3", 16, isDefault: true), interface("eth0", "203.0.113.5", 24, isDefault: true),
        interface("down0", "10.9.9.9", 8),
    ]

    private static func address(_ template: String) -> String {
        let machine = AgentConfiguration.Machine(
            hostName: "h", addresses: ["10.1.2.3"], workingDirectory: "/", interfaces: self.interfaces)
        do {
            let made = try AgentConfiguration.load(
                arguments: ["-server", "-bootstrap", "-data-dir", "/d", "-client", template], machine: machine)
            return made.clientAddresses.joined(separator: " ")
        } catch {
            return "\(error)"
        }
    }

    @Test(
        "A template yields the addresses that go-sockaddr's language means",
        arguments: [
            ("{{ GetPrivateIP }}", "10.1.2.3"),
            ("{{GetPrivateIPs}}", "10.1.2.3 192.168.7.9 fd00::9"),
            ("{{ GetPublicIP }}", "203.0.113.5"),
            ("{{ GetInterfaceIP \"eth1\" }}", "192.168.7.9"),
            ("{{ GetInterfaceIPs `eth1` }}", "192.168.7.9 fd00::9"),
            ("127.0.0.1 {{ GetInterfaceIP \"eth0\" }}", "127.0.0.1 10.1.2.3"),
            ("{{ GetPrivateInterfaces | include \"type\" \"IPv6\" | attr \"address\" }}", "fd00::9"),
            (
                "{{ GetAllInterfaces | include \"name\" \"^eth1$\" | exclude \"network\" \"fe80::/10\" | join \"address\" \" \" }}",
                "192.168.7.9 fd00::9"
            ),
            (
                "{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | sort \"-address\" | limit 1 | attr \"address\" }}",
                "10.9.9.9"
            ),
            (
                "{{ GetAllInterfaces | include \"flags\" \"up|forwardable\" | include \"rfc\" \"1918\" | offset 1 | attr \"address\" }}",
                "10.1.2.3"
            ),
            ("{{ GetAllInterfaces | include \"rfc\" \"4193\" | join \"address\" \" \" }}", "fd00::9"),
            ("{{ GetPrivateInterfaces | offset -1 | attr \"address\" }}", "fd00::9"),
            (
                "{{ GetPrivateInterfaces | offset -9223372036854775808 | attr \"address\" }}",
                "client_addr: offset -9223372036854775808 is beyond the 3 interfaces that are left"
            ),
            (
                "{{ GetAllInterfaces | include \"name\" \"eth[\" | attr \"address\" }}",
                "client_addr: eth[ is no regular expression: error parsing regexp: missing closing ]: `[`"
            ),
            ("{{ GetDefaultInterfaces | unique \"name\" | attr \"name\" }}", "client_addr: \"eth0\" is no IP address"),
            ("{{ GetPrivateInterfaces }}", "client_addr: interfaces are no address; add | attr \"address\""),
            ("{{ GetPrivateIP | limit 1 }}", "client_addr: limit after text"),
            ("{{ GetAllInterfaces | first }}", "client_addr: first is no filter here"),
            (
                "{{ GetAllInterfaces | include \"network\" \"10/8\" }}",
                "client_addr: 10/8 is no network; write 10.0.0.0/8"
            ),
            ("{{ GetInterfaceIP }}", "client_addr: GetInterfaceIP needs an interface's name"),
            ("{{ GetPrivateIP", "client_addr: {{ without }} in {{ GetPrivateIP"),
            ("{{ }}", "client_addr: an empty template"),
        ])
    func templatesYield(template: String, expected: String) {
        #expect(Self.address(template) == expected)
    }
}
