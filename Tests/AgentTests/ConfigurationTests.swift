import Agent
import Foundation
import Testing
import Units

@Suite("Flags")
struct FlagTests {
    @Test("A server of a new cluster needs no more than its role and a folder, and has Consul's ports")
    func aServerOfANewClusterNeedsOnlyItsRoleAndAFolder() throws {
        let made = try load("-server", "-bootstrap-expect", "1", "-data-dir", "/data")
        #expect(made.server && made.bootstrapExpect == 1 && made.dataDirectory == "/data")
        #expect(made.nodeName == "host-1" && made.datacenter == "dc1" && made.domain == "consul")
        #expect(made.ports.http == 8500 && made.ports.dns == 8600 && made.ports.server == 8300)
        #expect(made.ports.grpc == nil)
        #expect(made.bindAddress == "0.0.0.0" && made.advertiseAddress == "10.0.0.7")
        #expect(made.httpAddresses == ["127.0.0.1"])
        #expect(!made.leaveOnTerminate && made.skipLeaveOnInterrupt)
        #expect(made.warnings.isEmpty)
    }

    @Test func flagsTakeOneOrTwoDashesAndAnEqualsSign() throws {
        let made = try load(
            "--server=true", "-bootstrap-expect=3", "--data-dir", "d", "-node=n.1", "-retry-join", "a",
            "--retry-join=b:9", "-http-port=-1", "-node-meta", "rack:4", "-node-meta=row=b:c", "-log-level=info")
        #expect(made.bootstrapExpect == 3)
        #expect(made.dataDirectory == "/start/d")
        #expect(made.nodeName == "n.1")
        #expect(made.retryJoin == ["a", "b:9"])
        #expect(made.joinAddresses.map(\.port) == [8300, 9])
        #expect(made.ports.http == nil)
        #expect(made.nodeMeta == ["rack": "4", "row": "b:c"])
    }

    @Test func anUnknownFlagIsNamedWithItsNearestNeighbour() {
        #expect(
            complaint("-bootstrap-expct", "1") == "flag provided but not defined: -bootstrap-expct "
                + "(did you mean -bootstrap-expect?)")
        #expect(complaint("-quux") == "flag provided but not defined: -quux")
    }

    @Test func aFlagWithoutItsArgumentOrOfTheWrongKindIsRefused() {
        #expect(complaint("-data-dir") == "-data-dir: flag needs an argument")
        #expect(complaint("-bootstrap-expect", "three") == "-bootstrap-expect: must be a whole number, not three")
        #expect(complaint("-server=maybe") == "-server: must be true or false, not maybe")
        #expect(complaint("-node-meta", "rack") == "-node-meta: must be key:value, not rack")
        #expect(complaint("server") == "-server: unexpected argument; the agent takes flags alone")
    }

    @Test func everyFlagStandsInTheHelpOnALineOfItsOwn() {
        let lines = AgentFlags.help.split(separator: "\n")
        #expect(lines.count > 30)
        #expect(lines.contains { $0.hasPrefix("  -retry-join ") })
    }

    @Test("-dev is one server on loopback, and refuses to be anything more open")
    func developmentStaysOnLoopback() throws {
        let made = try load("-dev")
        #expect(made.server && made.development && made.bootstrapExpect == 1)
        #expect(made.bindAddress == "127.0.0.1" && made.advertiseAddress == "127.0.0.1")
        #expect(made.ports.grpc == 8502 && made.logLevel == .debug && made.dataDirectory.isEmpty)
        #expect(
            complaint("-dev", "-client", "0.0.0.0")
                == "client_addr: -dev is open to all and stays on loopback; 0.0.0.0 is not")
        #expect(
            complaint("-dev", "-bind", "10.0.0.7")
                == "bind_addr: -dev is open to all and stays on loopback; 10.0.0.7 is not")
    }
}

@Suite("Files")
struct FileTests {
    @Test(
        "Files of a folder are merged in lexical order: maps merge, lists append, the last scalar wins; flags win over all"
    )
    func filesMergeInLexicalOrder() throws {
        let files = [
            "10-base.json": """
            {"server": true, "bootstrap_expect": 3, "data_dir": "/d", "datacenter": "East", "retry_join": ["a"],
             "ports": {"http": 1000, "dns": 2000}, "node_meta": {"a": "1", "b": "1"}, "log_level": "warn",
             "service": {"name": "web", "port": 80}}
            """,
            "9-late.json": """
            {"retry_join": "b", "ports": {"dns": 3000}, "node_meta": {"b": "2"}, "log_level": "err",
             "services": [{"name": "db", "tags": ["x"]}], "check": {"name": "c", "ttl": "10s"}, "bind_addr": "10.1.1.1"}
            """,
            "ignored.txt": "{",
        ]
        let made = try withFiles(files) { try load("-config-dir", $0, "-node", "flag", "-retry-join", "c") }
        #expect(made.ports.http == 1000 && made.ports.dns == 3000)
        #expect(made.retryJoin == ["a", "b", "c"])
        #expect(made.nodeMeta == ["a": "1", "b": "2"])
        #expect(made.logLevel == .error && made.nodeName == "flag" && made.datacenter == "east")
        #expect(made.advertiseAddress == "10.1.1.1")
        #expect(made.serviceDefinitions.map(\.name) == ["web", "db"])
        #expect(made.serviceDefinitions.map(\.port) == [80, 0] && made.serviceDefinitions[1].tags == ["x"])
        #expect(made.checkDefinitions.map(\.name) == ["c"] && made.checkDefinitions[0].ttl == .seconds(10))
        #expect(made.warnings.count == 1 && made.warnings[0].contains("/ignored.txt: is passed over: "))
    }

    @Test func timingsLimitsAndFacesAreRead() throws {
        let text = """
            {"raft": {"heartbeat_interval": "50ms", "election_timeout_min": "400ms", "election_timeout_max": "1.5s",
                      "snapshot_threshold": 1000, "trailing_logs": 0},
             "performance": {"leave_drain_time": "1m30s"}, "alt_domain": "Other.",
             "session_ttl_min": "1s", "limits": {"kv_max_value_size": 1024},
             "dns_config": {"only_passing": true, "service_ttl": {"*": "5s"}, "soa": {"min_ttl": 7}},
             "check_output_max_size": 100}
            """
        let made = try withFiles(["a.json": text]) {
            try load("-server", "-bootstrap", "-data-dir", "/d", "-config-file", $0 + "/a.json")
        }
        #expect(made.bootstrapExpect == 1)
        #expect(made.raft.heartbeatInterval == .milliseconds(50) && made.raft.electionTimeoutMax == .milliseconds(1500))
        #expect(made.raft.snapshotThreshold == 1000 && made.raft.trailingLogs == 0)
        #expect(made.alternativeDomain == "other" && made.performance.leaveDrainTime == .seconds(90))
        #expect(made.sessionTTLMin == .seconds(1))
        #expect(made.limits.kvMaxValueSize == ByteCount(1024))
        #expect(made.dns.onlyPassing && made.dns.serviceTTL == ["*": .seconds(5)] && made.dns.soa.minTTL == 7)
        #expect(made.checks.outputMaxSize == ByteCount(100))
    }

    @Test func theRaftMultiplierStretchesOnlyWhatRaftDoesNotName() throws {
        let text = #"{"performance": {"raft_multiplier": 3}, "raft": {"election_timeout_max": "9s"}}"#
        let made = try withFiles(["a.json": text]) {
            try load("-server", "-bootstrap", "-data-dir", "/d", "-config-dir", $0)
        }
        #expect(made.raft.heartbeatInterval == .milliseconds(300))
        #expect(made.raft.electionTimeoutMin == .seconds(3) && made.raft.electionTimeoutMax == .seconds(9))
    }

    @Test func eventLoopsLeaveOneProcessorUnlessTheyAreNamed() throws {
        let made = try withFiles(["a.json": #"{"performance": {"event_loops": 7}}"#]) {
            try load("-server", "-bootstrap", "-data-dir", "/d", "-config-dir", $0)
        }
        #expect(made.performance.eventLoops == 7)
        #expect(AgentConfiguration.Performance().eventLoops >= 1)
        #expect(
            try complaint(inFile: #"{"performance": {"event_loops": 0}}"#).hasSuffix("must be from 1 to 1024, not 0"))
    }
}

@Suite("Validation")
struct ValidationTests {
    @Test(
        "What makes no sense is refused with its key",
        arguments: [
            (["-server", "-bootstrap"], "data_dir: must be set"),
            (["-data-dir", "/d"], "retry_join: a client agent needs at least one server to join"),
            (["-data-dir", "/d", "-bootstrap-expect", "3"], "bootstrap_expect: is for servers; add server"),
            (
                ["-data-dir", "/d", "-server", "-bootstrap-expect", "3"],
                "retry_join: a server that expects 3 needs the others' addresses"
            ),
            (
                ["-data-dir", "/d", "-server"],
                "retry_join: a server without bootstrap_expect joins others; name one of them"
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-http-port", "70000"],
                "ports.http: must be a port from 1 to 65535, or -1 to turn it off, not 70000"
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-dns-port", "8500"],
                "ports.dns: is 8500, as is ports.http"
            ),
            (["-data-dir", "/d", "-server", "-bootstrap", "-server-port", "-1"], "ports.server: can't be turned off"),
            (["-data-dir", "/d", "-server", "-bootstrap", "-bind", "host"], "bind_addr: \"host\" is no IP address"),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-advertise", "0.0.0.0"],
                "advertise_addr: can't be 0.0.0.0: others must reach it"
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-node", "a b"],
                "node_name: must be 1 to 128 letters, digits, ., - and _, not \"a b\""
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-datacenter", "a.b"],
                "datacenter: must be letters, digits, - and _ alone, at most 63, not a.b"
            ),
            (
                ["-data-dir", "/d", "-retry-join", "a:b"], "retry_join: \"a:b\" is no host, host:port or [address]:port"
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-bootstrap-expect", "3"],
                "bootstrap: can't be used together with bootstrap_expect"
            ),
            (
                ["-data-dir", "/d", "-retry-join", "a", "-join-token", "t", "-join-token-file", "f"],
                "join_token: and join_token_file are both set; one is enough"
            ),
            (
                ["-data-dir", "/d", "-server", "-bootstrap", "-log-level", "loud"],
                "log_level: must be trace, debug, info, warn or error, not loud"
            ),
        ])
    func whatMakesNoSenseIsRefused(arguments: [String], text: String) {
        var found = "accepted"
        do {
            _ = try AgentConfiguration.load(arguments: arguments, machine: machine)
        } catch {
            found = "\(error)"
        }
        #expect(found == text)
    }

    @Test func electionsMustTakeLongerThanHeartbeats() throws {
        #expect(
            try complaint(inFile: #"{"raft": {"heartbeat_interval": "600ms"}}"#)
                == "raft.election_timeout_min: must be at least twice raft.heartbeat_interval")
        #expect(
            try complaint(inFile: #"{"raft": {"election_timeout_min": "2s", "election_timeout_max": "1s"}}"#)
                == "FOLDER/a.json:1:41: raft.election_timeout_max: must exceed raft.election_timeout_min")
    }

    @Test func severalAddressesAreForAPersonToChooseFrom() {
        let two = AgentConfiguration.Machine(
            hostName: "h", addresses: ["10.0.0.1", "10.0.0.2", "fd00::1"], workingDirectory: "/")
        var found = ""
        do {
            _ = try AgentConfiguration.load(arguments: ["-server", "-bootstrap", "-data-dir", "/d"], machine: two)
        } catch {
            found = "\(error)"
        }
        #expect(found.contains("10.0.0.1, 10.0.0.2") && !found.contains("fd00"))
    }

    @Test func joinAddressesAreHostsNamesAndIPv6() throws {
        let made = try load(
            "-data-dir", "/d", "-retry-join", "name", "-retry-join", "[fd00::1]:99", "-retry-join", "fd00::2",
            "-retry-join", "1.2.3.4:8301")
        #expect(made.joinAddresses.map(\.host) == ["name", "fd00::1", "fd00::2", "1.2.3.4"])
        #expect(made.joinAddresses.map(\.port) == [8300, 99, 8300, 8301])
        #expect(made.warnings == ["retry_join: 1.2.3.4:8301 is Consul's gossip port; Serai's servers listen on 8300"])
    }

    @Test func anEvenNumberOfServersIsRemarkedOn() throws {
        let made = try load("-server", "-bootstrap-expect", "4", "-data-dir", "/d", "-retry-join", "a")
        #expect(made.warnings == ["bootstrap_expect: 4 servers stand no more losses than 3"])
    }
}
