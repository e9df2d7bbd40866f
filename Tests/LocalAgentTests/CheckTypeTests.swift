import Cluster
import LocalAgent
import Logging
import Protocol
import Registry
import Synchronization
import Testing
import Units

/// A check definition of one kind, polled every hour.
private func check(_ name: String = "c", _ change: (inout CheckDefinition) -> Void) -> CheckDefinition {
    var check = CheckDefinition()
    check.name = name
    check.interval = .seconds(3600)
    change(&check)
    return check
}

@Suite(.timeLimit(.minutes(1))) struct CheckTypeTests {
    private let bench = Bench()

    static let kinds: [(type: String, definition: CheckDefinition)] = [
        ("http", check { $0.http = "http://127.0.0.1:1/" }), ("tcp", check { $0.tcp = "127.0.0.1:1" }),
        ("udp", check { $0.udp = "127.0.0.1:1" }), ("grpc", check { $0.grpc = "127.0.0.1:1/web" }),
        ("h2ping", check { $0.h2ping = "127.0.0.1:1" }), ("script", check { $0.args = ["/bin/true"] }),
        ("docker", check { ($0.dockerContainerID, $0.args) = ("abc", ["/bin/true"]) }),
        ("os_service", check { $0.osService = "sshd" }),
        ("alias", check { ($0.aliasService, $0.interval) = ("web", .zero) }),
        ("alias", check { ($0.aliasNode, $0.interval) = ("n2", .zero) }),
        ("ttl", check { ($0.ttl, $0.interval) = (.seconds(3600), .zero) }),
    ]

    @Test(arguments: CheckTypeTests.kinds)
    func everyTypeIsShownAndOutlivesARestart(_ type: String, _ definition: CheckDefinition) async throws {
        let first = try await self.bench.agent { $0.allowsScripts = true }
        try await first.registerCheck(definition)
        #expect(await first.state().checks.map(\.type) == [type])
        try await settled(first)
        #expect(self.bench.cluster.check("c")?.type == type)
        #expect(self.bench.cluster.check("c")?.interval == (definition.interval == .zero ? "0s" : "1h0m0s"))
        await first.stop()
        let second = try await self.bench.agent { $0.allowsScripts = true }
        #expect(await second.state().checks.map(\.type) == [type])
        // It is the same in every field: registering it again changes nothing.
        let generation = await second.state().generation
        try await second.registerCheck(definition)
        if type != "ttl" { #expect(await second.state().generation == generation) }
        await second.stop()
    }

    @Test func maintenanceIsATypeOfItsOwn() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await agent.setNodeMaintenance(enabled: true, reason: "")
        try await agent.setServiceMaintenance("web", enabled: true, reason: "")
        #expect(await agent.state().checks.map(\.type) == ["maintenance", "maintenance"])
        await agent.stop()
    }

    @Test func oneCheckHasOneTarget() async throws {
        let agent = try await self.bench.agent { $0.allowsScripts = true }
        let two = check { ($0.udp, $0.args) = ("127.0.0.1:1", ["true"]) }
        await #expect(
            throws: LocalAgentError.invalid(
                "Invalid check: only one of HTTP, TCP, TTL and the other types may be given, not udp and script")
        ) { try await agent.registerCheck(two) }
        await agent.stop()
    }

    @Test func refusalsAreConsulsWords() {
        let interval = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        for (type, definition) in CheckTypeTests.kinds where definition.interval > .zero {
            var check = definition
            check.interval = .zero
            #expect(check.validate() == interval, "\(type)")
        }
        let rules: [(String, CheckDefinition)] = [
            ("Interval cannot be set for Alias checks", check { ($0.aliasService, $0.tcp) = ("web", "h:1") }),
            (
                "TTL must be not be set for Alias checks",
                check { ($0.aliasService, $0.ttl, $0.interval) = ("web", .seconds(1), .zero) }
            ),
            ("TTL must be > 0 for TTL checks", check { $0.dockerContainerID = "abc" }),
            ("TTL must be > 0 for TTL checks", check { $0.interval = .zero }),
            ("MaxOutputMaxSize must be positive", check { ($0.tcp, $0.outputMaxSize) = ("h:1", -1) }),
            (
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
                check { ($0.tcp, $0.failuresBeforeWarning) = ("h:1", 1) }
            ),
        ]
        for (text, definition) in rules { #expect(definition.validate() == text) }
    }

    @Test(
        arguments: [
            ("UDP must be host:port, not \"x\"", check { $0.udp = "x" }),
            ("GRPC must be host:port or host:port/service, not \"x/y\"", check { $0.grpc = "x/y" }),
            ("H2PING must be host:port, not \"x\"", check { $0.h2ping = "x" }),
        ])
    func aMalformedTargetIsRefused(_ text: String, _ definition: CheckDefinition) async throws {
        let agent = try await self.bench.agent()
        await #expect(throws: LocalAgentError.invalid("Invalid check: \(text)")) {
            try await agent.registerCheck(definition)
        }
        await agent.stop()
    }

    @Test func aProgramRunsAndItsThresholdHoldsItBack() async throws {
        let agent = try await self.bench.agent { $0.allowsScripts = true }
        let script = check {
            $0.args = ["/bin/sh", "-c", "echo so far; exit 1"]
            $0.interval = .milliseconds(10)
        }
        try await agent.registerCheck(script)
        try await eventually("the program has run") { await agent.state().checks.map(\.status) == ["warning"] }
        #expect(await agent.state().checks.map(\.output) == ["so far\n"])
        try await eventually("the catalog knows") { self.bench.cluster.check("c")?.status == "warning" }
        await agent.stop()
    }

    @Test func aProgramOfEarlierIsNotRunOnceScriptsAreDisabled() async throws {
        let first = try await self.bench.agent { $0.allowsScripts = true }
        try await first.registerCheck(check { ($0.args, $0.interval) = (["/bin/true"], .milliseconds(10)) })
        try await eventually("passing") { await first.state().checks.map(\.status) == ["passing"] }
        await first.stop()
        let second = try await self.bench.agent()
        try await Task.sleep(for: .milliseconds(200))
        #expect(await second.state().checks.map(\.status) == ["critical"])
        #expect(await second.state().checks.first?.output.hasPrefix("Scripts are disabled on this agent") == true)
        await second.stop()
    }

    @Test func aDefinitionOfAnOlderVersionIsRead() async throws {
        let row = StoredRow(
            kind: .check, id: "c",
            bytes: Array(
                #"{"configured":false,"definition":{"id":"c","name":"c","tcp":"127.0.0.1:1","interval_ns":3600000000000,"output_max_size":7,"of_a_later_version":1}}"#
                    .utf8))
        try await self.bench.store.apply([.put(row)])
        let agent = try await self.bench.agent()
        #expect(await agent.state().checks.map(\.type) == ["tcp"])
        await agent.stop()
    }
}

@Suite(.timeLimit(.minutes(1))) struct AliasTests {
    private let bench = Bench()

    private func alias(_ service: String, node: String = "", id: String = "alias") -> CheckDefinition {
        var check = CheckDefinition()
        check.name = id
        check.aliasService = service
        check.aliasNode = node
        return check
    }

    private func shown(_ agent: LocalAgent, _ id: String = "alias") async -> String? {
        await agent.state().checks.first { $0.id == id }.map { "\($0.status): \($0.output)" }
    }

    @Test func aServiceIsRepeated() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(self.alias("web"))
        #expect(await self.shown(agent) == "critical: Service web could not be found on node ")
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        #expect(await self.shown(agent) == "passing: No checks found.")
        try await agent.registerCheck(ttlCheck("w1", service: "web"))
        try await agent.registerCheck(ttlCheck("w2", service: "web"))
        #expect(await self.shown(agent) == "critical: Aliased check \"w1\" failing: ")
        try await agent.updateCheck("w1", status: "warning", output: "slow")
        try await agent.updateCheck("w2", status: "passing", output: "fine")
        #expect(await self.shown(agent) == "warning: Aliased check \"w1\" failing: slow")
        try await agent.updateCheck("w2", status: "critical", output: "gone")
        #expect(await self.shown(agent) == "critical: Aliased check \"w2\" failing: gone")
        try await agent.updateCheck("w1", status: "passing", output: "")
        try await agent.updateCheck("w2", status: "passing", output: "")
        #expect(await self.shown(agent) == "passing: All checks passing.")
        try await eventually("the catalog knows") { self.bench.cluster.check("alias")?.status == "passing" }
        // The node's own checks count for each of its services; those of other services do not.
        try await agent.registerService(service("db") { $0.checks = [ttlCheck("d")] }, replaceExistingChecks: false)
        #expect(await self.shown(agent) == "passing: All checks passing.")
        try await agent.setNodeMaintenance(enabled: true, reason: "disks")
        #expect(await self.shown(agent) == "critical: Aliased check \"Node Maintenance Mode\" failing: ")
        try await agent.setNodeMaintenance(enabled: false, reason: "")
        try await agent.deregisterService("web")
        #expect(await self.shown(agent) == "critical: Service web could not be found on node ")
        await agent.stop()
    }

    @Test func anAliasOfAnAliasFollowsAndARingOfThemEnds() async throws {
        let agent = try await self.bench.agent()
        for (name, other) in [("c", "b"), ("b", "a")] {
            var check = self.alias(other, id: "of-\(other)")
            check.serviceID = name
            try await agent.registerService(service(name), replaceExistingChecks: false)
            try await agent.registerCheck(check)
        }
        try await agent.registerService(service("a") { $0.checks = [ttlCheck("t")] }, replaceExistingChecks: false)
        #expect(await self.shown(agent, "of-b")?.hasPrefix("critical: ") == true)
        try await agent.updateCheck("t", status: "passing", output: "")
        #expect(await self.shown(agent, "of-b") == "passing: All checks passing.")
        var ring = self.alias("c", id: "of-c")
        ring.serviceID = "a"
        try await agent.registerCheck(ring)
        try await agent.deregisterCheck("of-c")
        var own = self.alias("a", id: "own")
        own.serviceID = "a"
        try await agent.registerCheck(own)
        #expect(await self.shown(agent, "own") == "passing: All checks passing.")
        await agent.stop()
    }

    @Test func aliasesOfTheNodeDoNotHoldEachOtherCritical() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(self.alias("web", id: "one"))
        try await agent.registerCheck(self.alias("web", id: "two"))
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        for id in ["one", "two"] { #expect(await self.shown(agent, id) == "passing: No checks found.") }
        await agent.stop()
    }

    @Test func anAliasStandsAgainAfterARestart() async throws {
        let first = try await self.bench.agent()
        try await first.registerService(service("web"), replaceExistingChecks: false)
        try await first.registerCheck(self.alias("web"))
        await first.stop()
        let second = try await self.bench.agent()
        #expect(await self.shown(second) == "passing: No checks found.")
        await second.stop()
    }

    @Test func anotherNodeIsFollowedThroughTheCatalog() async throws {
        let agent = try await self.bench.agent { $0.aliasPause = .milliseconds(5) }
        try await agent.registerCheck(self.alias("web", node: "n2", id: "of-web"))
        try await agent.registerCheck(self.alias("", node: "n2", id: "of-node"))
        try await eventually("the service is not there") {
            await self.shown(agent, "of-web") == "critical: Service web could not be found on node n2"
        }
        self.bench.cluster.apply(
            registration(node: "n2") {
                $0.skipNodeUpdate = false
                $0.service.id = "web"
                $0.service.name = "web"
            })
        try await eventually("it has no check") { await self.shown(agent, "of-web") == "passing: No checks found." }
        func set(_ id: String, _ service: String, _ status: String, _ output: String) {
            self.bench.cluster.apply(
                registration(node: "n2") {
                    var check = LogCheck()
                    (check.node, check.id, check.name, check.serviceID) = ("n2", id, id, service)
                    (check.status, check.output) = (status, output)
                    $0.checks = [check]
                })
        }
        set("c", "web", "warning", "slow")
        try await eventually("its warning is repeated") {
            await self.shown(agent, "of-web") == "warning: Aliased check \"c\" failing: slow"
        }
        set("disk", "", "critical", "full")
        for id in ["of-web", "of-node"] {
            try await eventually("the node is critical") {
                await self.shown(agent, id) == "critical: Aliased check \"disk\" failing: full"
            }
        }
        set("disk", "", "passing", "")
        try await eventually("the node is well") {
            await self.shown(agent, "of-node") == "passing: All checks passing."
        }
        await agent.stop()
    }

    @Test func anAgentFollowsThroughItsServer() async throws {
        let cluster = AgentSideCluster(self.bench.cluster)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let clock = self.bench.clock
        var settings = LocalAgentSettings(
            nodeName: "n1", nodeUUID: testNodeUUID, datacenter: "dc1", address: "10.0.0.1", seed: 1,
            wallClock: { clock.read() })
        settings.aliasPause = .milliseconds(5)
        let agent = LocalAgent(
            settings: settings, cluster: cluster, catalog: self.bench.cluster, store: self.bench.store,
            facilities: TestFacilities(), logger: logger)
        try await agent.start()
        try await agent.registerCheck(self.alias("web", node: "n 2"))
        try await eventually("its check is repeated") {
            await self.shown(agent) == "warning: Aliased check \"web check\" failing: slow"
        }
        #expect(cluster.targets.first == "/v1/health/node/n%202?stale")
        try await eventually("the next query waits for a change") {
            cluster.targets.contains("/v1/health/node/n%202?stale&index=7&wait=1m0s")
        }
        cluster.answer(500, "No cluster leader")
        try await eventually("the failure is told", { await self.shown(agent)?.hasPrefix("critical: ") == true })
        #expect(
            await self.shown(agent)
                == "critical: Failure checking aliased node or service: 500 No cluster leader")
        await agent.stop()
    }

    @Test func aSidecarRepeatsItsService() async throws {
        let agent = try await self.bench.agent()
        let web = service("web") {
            $0.port = 8080
            $0.checks = [ttlCheck { $0.status = "passing" }]
            $0.sidecar = [ServiceDefinition()]
        }
        try await agent.registerService(web, replaceExistingChecks: false)
        let alias = await agent.state().checks.first { $0.id == "service:web-sidecar-proxy:2" }
        #expect(alias?.name == "Connect Sidecar Aliasing web" && alias?.serviceID == "web-sidecar-proxy")
        #expect(alias?.status == "passing" && alias?.type == "alias")
        try await agent.updateCheck("service:web", status: "critical", output: "down")
        #expect(
            await self.shown(agent, "service:web-sidecar-proxy:2")
                == "critical: Aliased check \"Service 'web' check\" failing: down")
        await agent.stop()
    }
}

/// What an agent has in place of a server's state: requests that it forwards. One service, `web`, has one check.
private final class AgentSideCluster: ClusterAccess {
    private let server: MemoryCluster
    private let state = Mutex(State())

    private struct State {
        var targets: [String] = []
        var status: UInt32 = 200
        var text = ""
    }

    init(_ server: MemoryCluster) { self.server = server }

    let identity = LocalIdentity(
        nodeName: "n1", nodeUUID: testNodeUUID, datacenter: "dc1", isServer: false, advertiseAddress: "10.0.0.1",
        serverPort: 8300, httpPort: 8500, dnsPort: 8600)

    var targets: [String] { self.state.withLock { $0.targets } }
    /// Everything is answered so from now on.
    func answer(_ status: UInt32, _ text: String) {
        self.state.withLock {
            $0.status = status
            $0.text = text
        }
    }

    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse {
        let (status, text) = self.state.withLock { state in
            state.targets.append(request.target)
            return (state.status, state.text)
        }
        var response = PeerHTTPResponse()
        response.status = status
        var index = PeerHeader()
        index.name = "X-Consul-Index"
        index.value = "7"
        response.headers = [index]
        let checks =
            #"[{"Node":"n 2","CheckID":"c","Name":"web check","Status":"warning","Output":"slow","ServiceID":"web"}]"#
        let node = #"{"Node":{"Node":"n 2"},"Services":{"web":{"ID":"web","Service":"web"}}}"#
        let shown = request.target.hasPrefix("/v1/health") ? checks : node
        response.body = .init((status == 200 ? shown : text).utf8)
        return response
    }

    func propose(_ command: LogCommand, identity: String, timeout: Nanoseconds) async throws(ClusterError) -> LogResult
    { try await self.server.propose(command, identity: identity, timeout: timeout) }
    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        throw .notAServer
    }
    func waitForChange(of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds) async throws(ClusterError) {
        throw .notAServer
    }
    func renewSession(_ id: String) async throws(ClusterError) -> Bool { false }
    func leaderAddress() async -> String { "" }
    func peerAddresses() async -> [String] { [] }
    func raftStatus() async throws(ClusterError) -> PeerRaftStatus { throw .notAServer }
    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) {}
    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] { throw .notAServer }
}
