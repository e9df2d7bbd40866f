import HealthChecks
import LocalAgent
import Protocol
import Testing
import Units

@Suite(.timeLimit(.minutes(1))) struct RegistrationTests {
    private let bench = Bench()

    @Test func aServiceWithItsChecksReachesTheCatalog() async throws {
        let agent = try await self.bench.agent()
        let web = service("web", id: "web-1") {
            $0.tags = ["v1"]
            $0.port = 80
            $0.address = "10.0.0.9"
            $0.meta = ["k": "v"]
            $0.checks = [ttlCheck()]
        }
        try await agent.registerService(web, replaceExistingChecks: false)
        #expect(self.bench.store.rows(.service) == ["web-1"])
        #expect(self.bench.store.rows(.check) == ["service:web-1"])
        try await settled(agent)
        let row = try #require(self.bench.cluster.service("web-1"))
        #expect(row.name == "web" && row.tags == ["v1"] && row.port == 80 && row.meta == ["k": "v"])
        #expect(row.weightPassing == 1 && row.weightWarning == 1)
        #expect(row.taggedAddresses.keys.sorted() == ["lan_ipv4", "wan_ipv4"])
        #expect(row.taggedAddresses["lan_ipv4"]?.address == "10.0.0.9" && row.taggedAddresses["lan_ipv4"]?.port == 80)
        let check = try #require(self.bench.cluster.check("service:web-1"))
        #expect(check.status == "critical" && check.type == "ttl" && check.name == "Service 'web' check")
        #expect(check.serviceID == "web-1" && check.serviceName == "web" && check.interval == "0s")
        let node = try #require(self.bench.cluster.catalog?.node)
        #expect(node.id == testNodeUUID && node.address == "10.0.0.1" && node.meta == ["consul-version": "1.22.1"])
        await agent.stop()
    }

    @Test func severalInlineChecksAreNumberedAndGivenIdsStay() async throws {
        let agent = try await self.bench.agent()
        let web = service("web") { $0.checks = [ttlCheck(), ttlCheck("mine"), ttlCheck()] }
        try await agent.registerService(web, replaceExistingChecks: false)
        #expect(await agent.state().checks.map(\.id) == ["mine", "service:web:1", "service:web:3"])
        await agent.stop()
    }

    @Test func aRegistrationIsDurableWhenItReturnsWhateverTheCatalogDoes() async throws {
        self.bench.cluster.setDown(true)
        let agent = try await self.bench.agent()
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        #expect(await agent.state().services.map(\.id) == ["web"])
        #expect(self.bench.cluster.service("web") == nil)
        await agent.stop()
        self.bench.cluster.setDown(false)
        let next = try await self.bench.agent()
        try await settled(next)
        #expect(self.bench.cluster.service("web")?.name == "web")
        await next.stop()
    }

    @Test func aRegistrationThatTheDiskRefusesChangesNothing() async throws {
        let agent = try await self.bench.agent()
        self.bench.store.setBroken(true)
        let generation = await agent.state().generation
        await #expect(throws: LocalAgentError.self) {
            try await agent.registerService(service("web"), replaceExistingChecks: false)
        }
        #expect(await agent.state().services.isEmpty)
        #expect(await agent.state().generation == generation)
        await agent.stop()
    }

    @Test func replacingChecksRemovesTheOthersButNotMaintenance() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(
            service("web") { $0.checks = [ttlCheck("a"), ttlCheck("b")] }, replaceExistingChecks: false)
        try await agent.registerCheck(ttlCheck("c", service: "web"))
        try await agent.registerCheck(ttlCheck("other"))
        try await agent.setServiceMaintenance("web", enabled: true, reason: "")
        try await agent.registerService(service("web") { $0.checks = [ttlCheck("b")] }, replaceExistingChecks: false)
        #expect(await agent.state().checks.map(\.id) == ["_service_maintenance:web", "a", "b", "c", "other"])
        try await agent.registerService(service("web") { $0.checks = [ttlCheck("b")] }, replaceExistingChecks: true)
        #expect(await agent.state().checks.map(\.id) == ["_service_maintenance:web", "b", "other"])
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.checks.map(\.id).sorted() == ["_service_maintenance:web", "b", "other"])
        await agent.stop()
    }

    @Test func registeringAgainKeepsACheckAsItIs() async throws {
        let agent = try await self.bench.agent()
        let web = service("web") { $0.checks = [ttlCheck()] }
        try await agent.registerService(web, replaceExistingChecks: false)
        try await agent.updateCheck("service:web", status: "passing", output: "fine")
        try await settled(agent)
        let attempts = self.bench.cluster.attempts
        try await agent.registerService(web, replaceExistingChecks: true)
        #expect(await agent.state().checks.map(\.status) == ["passing"])
        #expect(await agent.state().checks.map(\.output) == ["fine"])
        #expect(await agent.outOfSync() == 0)
        #expect(self.bench.cluster.attempts == attempts)
        await agent.stop()
    }

    @Test func deregisteringTakesAllOfTheServiceOutOfTheCatalog() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(service("web") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        try await agent.registerCheck(ttlCheck("extra", service: "web"))
        try await agent.registerService(service("db"), replaceExistingChecks: false)
        try await settled(agent)
        try await agent.deregisterService("web")
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.services.map(\.id) == ["db"])
        #expect(self.bench.cluster.catalog?.checks.isEmpty == true)
        #expect(self.bench.store.rows.map(\.kind) == [.service])
        await #expect(throws: LocalAgentError.unknownService("web")) { try await agent.deregisterService("web") }
        await #expect(throws: LocalAgentError.unknownCheck("extra")) { try await agent.deregisterCheck("extra") }
        await agent.stop()
    }

    @Test func renamingAServiceRenamesItsChecks() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(
            service("old", id: "x") { $0.checks = [ttlCheck("c")] }, replaceExistingChecks: false)
        try await settled(agent)
        try await agent.registerService(service("new", id: "x"), replaceExistingChecks: false)
        try await settled(agent)
        #expect(self.bench.cluster.service("x")?.name == "new")
        #expect(self.bench.cluster.check("c")?.serviceName == "new")
        await agent.stop()
    }

    @Test func aCheckOfAServiceThatOnlyLooksTheSameIsRefusedBeforeAnythingChanges() async throws {
        let agent = try await self.bench.agent()
        var check = ttlCheck("c")
        check.serviceID = "cafe\u{301}"
        let wanted = check
        await #expect(throws: LocalAgentError.serviceOfCheckMissing(wanted.serviceID)) {
            try await agent.setConfigured(services: [service("caf\u{E9}")], checks: [wanted])
        }
        #expect(await agent.state().services.isEmpty)
        await agent.stop()
    }

    @Test func aProgramIsRefusedUntilSomebodyAllowsIt() async throws {
        let remote = LocalAgentError.failed(
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
        let local = LocalAgentError.failed(
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
                + "'enable_local_script_checks' to true")
        var script = CheckDefinition()
        script.name = "c"
        script.interval = .seconds(3600)
        script.args = ["/bin/true"]
        var docker = script
        docker.dockerContainerID = "abc"
        for check in [script, docker] {
            let agent = try await Bench().agent()
            await #expect(throws: remote) { try await agent.registerCheck(check) }
            await #expect(throws: remote) {
                try await agent.registerService(service("web") { $0.checks = [check] }, replaceExistingChecks: false)
            }
            await #expect(throws: local) { try await agent.setConfigured(services: [], checks: [check]) }
            let state = await agent.state()
            #expect(state.services.isEmpty && state.checks.isEmpty)
            await agent.stop()
            let open = try await Bench().agent { $0.allowsLocalScripts = true }
            await #expect(throws: remote) { try await open.registerCheck(check) }
            try await open.setConfigured(services: [], checks: [check])
            #expect(await open.state().checks.map(\.type) == [check == docker ? "docker" : "script"])
            await open.stop()
        }
        let agent = try await Bench().agent { $0.allowsScripts = true }
        try await agent.registerCheck(script)
        try await agent.setConfigured(services: [], checks: [docker])
        #expect(await agent.state().checks.count == 1)
        await agent.stop()
    }

    @Test func badChecksAreRefusedWithTheWordsThatClientsKnow() async throws {
        let agent = try await self.bench.agent()
        func refusal(_ change: (inout CheckDefinition) -> Void) async -> LocalAgentError? {
            var check = CheckDefinition()
            check.name = "c"
            change(&check)
            do {
                try await agent.registerCheck(check)
                return nil
            } catch {
                return error
            }
        }
        #expect(await refusal { $0.name = "" } == .invalid("Missing check name"))
        #expect(await refusal { _ in } == .invalid("Invalid check: TTL must be > 0 for TTL checks"))
        #expect(
            await refusal { $0.http = "http://x/" }
                == .invalid(
                    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"))
        #expect(
            await refusal { ($0.ttl, $0.interval) = (.seconds(1), .seconds(1)) }
                == .invalid(
                    "Invalid check: Interval and TTL cannot both be specified"))
        #expect(await refusal { ($0.ttl, $0.status) = (.seconds(1), "bad") } == .invalid("Bad check status"))
        #expect(await refusal { ($0.ttl, $0.serviceID) = (.seconds(1), "x") } == .serviceOfCheckMissing("x"))
        #expect(
            await refusal { ($0.tcp, $0.interval) = ("no port", .seconds(1)) }
                == .invalid(
                    "Invalid check: TCP must be host:port, not \"no port\""))
        #expect(
            await refusal { ($0.http, $0.interval) = ("ftp://x", .seconds(1)) }
                == .invalid(
                    "Invalid check: HTTP must be an http:// or https:// URL, not \"ftp://x\""))
        #expect(
            await refusal { ($0.id, $0.ttl) = ("serfHealth", .seconds(1)) }
                == .invalid(
                    "Invalid check: the check ID \"serfHealth\" is reserved"))
        await #expect(throws: LocalAgentError.invalid("Validation failed: the service ID \"consul\" is reserved")) {
            try await agent.registerService(service("consul"), replaceExistingChecks: false)
        }
        await agent.stop()
    }

    @Test func intervalsBelowTheMinimumAreRaised() async throws {
        let agent = try await self.bench.agent { $0.minimumCheckInterval = .seconds(1) }
        var check = CheckDefinition()
        check.name = "c"
        check.tcp = "127.0.0.1:1"
        check.interval = .milliseconds(10)
        try await agent.registerCheck(check)
        #expect(await agent.state().checks.map(\.interval) == ["1s"])
        await agent.stop()
    }

    @Test func boundsRefuseWhatIsNewAndTakeWhatIsKnown() async throws {
        let agent = try await self.bench.agent {
            $0.maximumServices = 2
            $0.maximumChecks = 1
        }
        try await agent.registerService(service("a") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        try await agent.registerService(service("b"), replaceExistingChecks: false)
        await #expect(throws: LocalAgentError.overloaded("this agent takes no more than 2 services")) {
            try await agent.registerService(service("c"), replaceExistingChecks: false)
        }
        await #expect(throws: LocalAgentError.overloaded("this agent takes no more than 1 checks")) {
            try await agent.registerCheck(ttlCheck("x"))
        }
        try await agent.registerService(service("a") { $0.port = 7 }, replaceExistingChecks: false)
        #expect(await agent.state().services.map(\.port) == [7, 0])
        await agent.stop()
    }

    @Test func registrationsFromManySidesAllArrive() async throws {
        let agent = try await self.bench.agent()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    try? await agent.registerService(
                        service("s\(number)") { $0.checks = [ttlCheck()] }, replaceExistingChecks: true)
                }
            }
        }
        #expect(await agent.state().services.count == 100)
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.services.count == 100)
        #expect(self.bench.cluster.catalog?.checks.count == 100)
        await agent.stop()
    }

    @Test func tooManyWaitingRegistrationsAreRefused() async throws {
        let agent = try await self.bench.agent { $0.maximumPendingWrites = 1 }
        let refused = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<50 {
                group.addTask {
                    do throws(LocalAgentError) {
                        try await agent.registerService(service("s\(number)"), replaceExistingChecks: true)
                        return false
                    } catch {
                        return error == .overloaded("too many registrations wait for the agent's local state")
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(await agent.state().services.count + refused == 50)
        await agent.stop()
    }
}
