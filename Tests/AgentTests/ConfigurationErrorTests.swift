import Agent
import Testing

@Suite("Errors of files")
struct ConfigurationErrorTests {
    @Test(
        "A wrong JSON file is refused with file, line, column, key and what to write",
        arguments: [
            (
                #"{"boostrap_expect": 3}"#,
                "FOLDER/a.json:1:2: invalid config key boostrap_expect (did you mean bootstrap_expect?)"
            ),
            (#"{"ports": {"htp": 3}}"#, "FOLDER/a.json:1:12: invalid config key ports.htp (did you mean ports.http?)"),
            (#"{"zzzzzzzzzzzz": 3}"#, "FOLDER/a.json:1:2: invalid config key zzzzzzzzzzzz"),
            (
                #"{"acl": {"enabled": true}}"#,
                "FOLDER/a.json:1:10: acl.enabled is Consul's, but not in Serai: access control is not in this version; "
                    + "starting without it would leave everything open"
            ),
            (
                #"{"segment": "x"}"#,
                "FOLDER/a.json:1:2: segment is Consul's, but not in Serai: it is an Enterprise feature"
            ),
            (
                #"{"ports": {"grpc_tls": 8503}}"#,
                "FOLDER/a.json:1:12: ports.grpc_tls is Consul's, but not in Serai: gRPC has no TLS of its own in this "
                    + "version"
            ),
            (
                #"{"ports": {"https": 8501}}"#,
                "FOLDER/a.json:1:12: ports.https: HTTPS needs a certificate and its key: set tls.https.cert_file and key_file"
            ),
            (#"{"ports": {"https": 8501}, "tls": {"https": {"cert_file": "a", "key_file": "b"}}}"#, "accepted"),
            (#"{"ports": {"https": 8501}, "cert_file": "a", "tls": {"defaults": {"key_file": "b"}}}"#, "accepted"),
            (
                #"{"ports": {"https": 8501}, "cert_file": "a", "key_file": "b", "verify_incoming": true}"#,
                "FOLDER/a.json:1:63: verify_incoming: needs ca_file or ca_path: whose clients are to be let in?"
            ),
            (
                #"{"ports": {"https": 8501}, "cert_file": "a", "key_file": "b", "tls_min_version": "SSLv3"}"#,
                "FOLDER/a.json:1:63: tls_min_version: must be TLSv1_2 or TLSv1_3, not SSLv3"
            ),
            (#"{"acl": {"enabled": false}, "ports": {"https": -1}, "tls": {}}"#, "accepted"),
            (#"{"server": "yes"}"#, "FOLDER/a.json:1:12: server must be true or false, not text"),
            (#"{"ports": {"http": "8500"}}"#, "FOLDER/a.json:1:20: ports.http must be a whole number, not text"),
            (#"{"ports": 8500}"#, "FOLDER/a.json:1:11: ports must be an object, not a whole number"),
            (
                #"{"session_ttl_min": 10}"#,
                "FOLDER/a.json:1:21: session_ttl_min must be a duration such as \"10s\" or \"150ms\", not a whole number"
            ),
            (
                #"{"session_ttl_min": "10"}"#,
                "FOLDER/a.json:1:21: session_ttl_min: \"10\" is no duration; write a number with a unit, such as 10s, "
                    + "150ms or 1h30m"
            ),
            (#"{"retry_join": [1]}"#, "FOLDER/a.json:1:17: retry_join must be a list of texts, not a whole number"),
            (#"{"node_meta": {"a": 1}}"#, "FOLDER/a.json:1:21: node_meta.a must be text, not a whole number"),
            (#"{"services": ["x"]}"#, "FOLDER/a.json:1:15: services must be an object in a list, not text"),
            (
                #"{"ports": {"http": 70000}}"#,
                "FOLDER/a.json:1:12: ports.http: must be a port from 1 to 65535, or -1 to turn it off, not 70000"
            ),
            (
                "{\n  \"node_name\": \"a b\"\n}",
                "FOLDER/a.json:2:3: node_name: must be 1 to 128 letters, digits, ., - and _, not \"a b\""
            ),
            (
                "{\"server\": tru}",
                "FOLDER/a.json:1:12: 'tru' is no JSON value, expected true, false, null, a number or text in double quotes"
            ),
            ("[]", "FOLDER/a.json:1:1: the outermost value is a list, expected an object"),
            ("", "FOLDER/a.json:1:1: the end of the file, expected a value"),
        ])
    func jsonIsRefused(text: String, expected: String) throws {
        #expect(try complaint(inFile: text) == expected)
    }

    @Test(
        "A wrong HCL file likewise",
        arguments: [
            (
                "server = yes",
                "FOLDER/a.hcl:1:10: 'yes' is no value, expected a number, true, false, a list, an object or text in double quotes"
            ),
            ("ports {\n  http = 1\n", "FOLDER/a.hcl:3:1: the object that begins at 1:7 does not end, expected '}'"),
            ("ports {\n  htttp = 1\n}", "FOLDER/a.hcl:2:3: invalid config key ports.htttp (did you mean ports.http?)"),
            (
                "ports { http = 1 }\nports { dns = 2 }",
                "FOLDER/a.hcl:2:7: ports: stands here again; one block is wanted, and 2 are there"
            ),
            (
                "service \"web\" {\n  port = 80\n}",
                "FOLDER/a.hcl:1:9: service: takes no label; write name = \"web\" within the block"
            ),
            (
                "service {\n  prt = 80\n}",
                "FOLDER/a.hcl:2:3: invalid config key service.prt (did you mean service.port?)"
            ),
            ("service { port = 80 }", "FOLDER/a.hcl:1:9: service: Missing service name"),
            (
                "service {\n  name = \"web\"\n  check { htp = \"http://x\" }\n}",
                "FOLDER/a.hcl:3:11: invalid config key service.check.htp (did you mean service.check.http?)"
            ),
            (
                "service {\n  name = \"web\"\n  check { http = \"http://x\" }\n}",
                "FOLDER/a.hcl:1:9: service web: Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP "
                    + "or OSService checks"
            ),
            (
                "service {\n  name = \"web\"\n  check { ttl = \"10\" }\n}",
                "FOLDER/a.hcl:3:17: service.check.ttl: \"10\" is no duration; write a number with a unit, such as 10s, "
                    + "150ms or 1h30m"
            ),
            (
                "check {\n  name = \"disk\"\n  args = [\"/bin/true\"]\n  interval = \"10s\"\n}",
                "FOLDER/a.hcl:1:7: check disk: Scripts are disabled on this agent; to enable, configure "
                    + "'enable_script_checks' or 'enable_local_script_checks' to true"
            ),
            (
                "check { name = \"a\" script = \"/bin/true\" interval = \"10s\" }",
                "FOLDER/a.hcl:1:20: check.script is Consul's, but not in Serai: write the program and its arguments as a "
                    + "list in `args`"
            ),
            ("check { ttl = \"10s\" }", "FOLDER/a.hcl:1:7: check: Missing check name"),
            (
                "check { name = \"a\" ttl = \"10s\" status = \"good\" }",
                "FOLDER/a.hcl:1:7: check a: status must be passing, warning or critical, not good"
            ),
            ("watches { args = [\"a\"] }", "FOLDER/a.hcl:1:9: watches: Watch type must be specified"),
            (
                "watches { type = \"keys\" args = [\"a\"] }",
                "FOLDER/a.hcl:1:9: watches.type: Unsupported watch type: keys; key, keyprefix, services, nodes, service, "
                    + "checks are offered"
            ),
            (
                "watches { type = \"key\" args = [\"a\"] }",
                "FOLDER/a.hcl:1:9: watches (type key): Must specify a single key to watch"
            ),
            (
                "watches {\n  type = \"nodes\"\n}",
                "FOLDER/a.hcl:1:9: watches (type nodes): Must define a watch handler: args, or handler_type = \"http\""
            ),
            (
                "watches { type = \"nodes\" handler_type = \"http\" http_handler_config { path = \"ftp://x\" } }",
                "FOLDER/a.hcl:1:9: watches (type nodes): http_handler_config.path must begin with http:// or https://, "
                    + "not ftp://x"
            ),
            (
                "bind_addr = \"{{ GetPrivatIP }}\"",
                "FOLDER/a.hcl:1:1: bind_addr: GetPrivatIP is no source of addresses here"
            ),
            (
                "bind_addr = \"{{ GetInterfaceIP \\\"eth7\\\" }}\"",
                "FOLDER/a.hcl:1:1: bind_addr: {{ GetInterfaceIP \"eth7\" }} yields no address on this machine"
            ),
        ])
    func hclIsRefused(text: String, expected: String) throws {
        #expect(try complaint(inFile: text, named: "a.hcl") == expected)
    }

    @Test func aBlockThatWeLackMayStandWhereItIsOff() throws {
        let off = """
            auto_config { enabled = false, intro_token_file = "/x" }
            audit { enabled = false }
            cloud { resource_id = "" }
            """
        #expect(try complaint(inFile: off, named: "a.hcl") == "accepted")
        #expect(
            try complaint(inFile: "audit { enabled = true }", named: "a.hcl")
                == "FOLDER/a.hcl:1:1: audit is Consul's, but not in Serai: it is an Enterprise feature")
    }

    @Test func whatNobodyCanBeOnThisMachineIsRefusedBeforeTheStart() throws {
        #expect(
            try complaint(inFile: "unix_sockets { mode = \"0888\" }", named: "a.hcl")
                == "FOLDER/a.hcl:1:16: unix_sockets.mode: must be octal digits up to 0777, such as \"0660\", not 0888")
        #expect(
            try complaint(inFile: "unix_sockets { group = \"nobody of that name\" }", named: "a.hcl")
                == "FOLDER/a.hcl:1:16: unix_sockets.group: there is no group nobody of that name")
    }

    @Test(arguments: [Int64.min, -(1 << 40), 1 << 40, .max])
    func numbersThatNothingCanBeAreRefused(number: Int64) throws {
        #expect(
            try complaint(inFile: "raft { trailing_logs = \(number) }", named: "a.hcl")
                == "FOLDER/a.hcl:1:8: raft.trailing_logs: \(number) is out of range")
    }

    @Test(
        "Of several addresses a private one is advertised, if it is the only one",
        arguments: [
            (["203.0.113.5", "10.0.0.7"], "10.0.0.7"), (["203.0.113.5", "fd00::1"], "203.0.113.5"),
            (
                ["10.0.0.7", "192.168.0.7", "203.0.113.5"],
                "advertise_addr: this machine has several addresses ("
                    + "10.0.0.7, 192.168.0.7); choose one with advertise_addr or bind_addr"
            ),
            (
                ["203.0.113.5", "203.0.113.6"],
                "advertise_addr: this machine has several addresses ("
                    + "203.0.113.5, 203.0.113.6); choose one with advertise_addr or bind_addr"
            ),
        ])
    func aPrivateAddressGoesBeforePublicOnes(addresses: [String], expected: String) {
        let machine = AgentConfiguration.Machine(hostName: "h", addresses: addresses, workingDirectory: "/")
        do {
            let made = try AgentConfiguration.load(
                arguments: ["-server", "-bootstrap", "-data-dir", "/d"], machine: machine)
            #expect(made.advertiseAddress == expected)
        } catch {
            #expect("\(error)" == expected)
        }
    }

    @Test(
        "A server's address is a host, an address, or either with a port",
        arguments: [
            ("host", true), ("host:1", true), ("10.0.0.1:8300", true), ("fe80::1", true), ("[fe80::1]:9", true),
            ("fe80::1%eth0", true), ("[fe80::1]", true), ("10.0.0.1:8300:1", false), ("[host]:1", false), ("[]", false),
            ("fe80::1::2", false), ("host:0", false), (":1", false),
        ])
    func addressesOfServers(text: String, isRight: Bool) {
        let said = complaint("-server", "-bootstrap", "-data-dir", "/d", "-retry-join", text)
        #expect(said == (isRight ? "accepted" : "retry_join: \"\(text)\" is no host, host:port or [address]:port"))
    }

    @Test func noneOfAllAddressesIsAdvertised() {
        for text in ["0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"] {
            #expect(
                complaint("-server", "-bootstrap", "-data-dir", "/d", "-advertise", text)
                    == "advertise_addr: can't be \(text): others must reach it")
        }
        #expect(
            complaint("-server", "-bootstrap", "-data-dir", "/d", "-bind", "::0")
                == "advertise_addr: this machine has no address to advertise; set it, or bind_addr")
    }

    @Test func aFileThatIsMissingIsNamed() {
        #expect(
            complaint("-config-file", "/nowhere/a.json") == "/nowhere/a.json: can't be read: no such file or folder")
        #expect(complaint("-config-dir", "/nowhere") == "/nowhere: can't be read: no such file or folder")
    }

    @Test func consulKeysThatMeanNothingHereBecomeWarnings() throws {
        let text = """
            {"ports": {"serf_lan": 8301},
             "encrypt": "aaaa", "telemetry": {"statsd_address": "x"}}
            """
        let made = try withFiles(["a.json": text]) {
            try load("-server", "-bootstrap", "-data-dir", "/d", "-config-dir", $0)
        }
        #expect(made.warnings.count == 3)
        #expect(
            made.warnings.contains { $0.contains("/a.json:1:12: ports.serf_lan has no effect: there is no gossip") })
        #expect(made.warnings.contains { $0.contains("/a.json:2:21: telemetry has no effect: ") })
        #expect(!made.warnings.contains { $0.contains("aaaa") }, "a secret must not be repeated")
        #expect(
            try complaint(inFile: #"{"telemetry": {"statsd_adress": "x"}}"#)
                == "FOLDER/a.json:1:16: invalid config key telemetry.statsd_adress (did you mean telemetry.statsd_address?)"
        )
    }
}
