import LocalAgent
import Protocol
import Testing
import Units

@Suite(.timeLimit(.minutes(1))) struct StateTests {
    private let bench = Bench()

    @Test func theGenerationRisesWithEveryChange() async throws {
        let agent = try await self.bench.agent()
        var last = await agent.state().generation
        func rose() async -> Bool {
            let now = await agent.state().generation
            defer { last = now }
            return now > last
        }
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        #expect(await rose())
        try await agent.registerCheck(ttlCheck("c"))
        #expect(await rose())
        try await agent.updateCheck("c", status: "passing", output: "")
        #expect(await rose())
        try await agent.updateCheck("c", status: "passing", output: "")
        #expect(await !rose())
        try await agent.deregisterService("web")
        #expect(await rose())
        await agent.stop()
    }

    @Test func statesAreOrderedBytewise() async throws {
        let agent = try await self.bench.agent()
        for id in ["b", "é", "a", "e\u{301}", "B"] {
            try await agent.registerService(service("s", id: id), replaceExistingChecks: false)
        }
        // Composed and decomposed forms are two ids.
        #expect(
            await agent.state().services.map { Array($0.id.utf8) }
                == ["B", "a", "b", "e\u{301}", "é"].map { Array($0.utf8) })
        await agent.stop()
    }

    @Test func aWaiterWakesWithAChange() async throws {
        let agent = try await self.bench.agent()
        let generation = await agent.state().generation
        let waiter = Task { await agent.waitForChange(after: generation, timeout: .seconds(50)) }
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        await waiter.value
        #expect(await agent.state().generation > generation)
        // An old generation is answered at once.
        await agent.waitForChange(after: generation, timeout: .seconds(50))
        await agent.stop()
    }

    @Test func aWaiterEndsWithItsTimeItsTaskOrTheAgent() async throws {
        let agent = try await self.bench.agent()
        let generation = await agent.state().generation
        await agent.waitForChange(after: generation, timeout: .milliseconds(10))
        let cancelled = Task { await agent.waitForChange(after: generation, timeout: .seconds(50)) }
        cancelled.cancel()
        await cancelled.value
        let stopped = Task { await agent.waitForChange(after: generation, timeout: .seconds(50)) }
        try await Task.sleep(for: .milliseconds(10))
        await agent.stop()
        await stopped.value
        #expect(await agent.state().generation == generation)
    }

    @Test func sidecarsTakeFromTheirParentWhatTheyLeaveOut() async throws {
        let agent = try await self.bench.agent()
        let web = service("web", id: "web-1") {
            $0.port = 8080
            $0.tags = ["v1"]
            $0.sidecar = [ServiceDefinition()]
        }
        try await agent.registerService(web, replaceExistingChecks: false)
        let sidecar = try #require(await agent.state().services.first { $0.id == "web-1-sidecar-proxy" })
        #expect(sidecar.name == "web-sidecar-proxy" && sidecar.kind == "connect-proxy" && sidecar.port == 21_000)
        #expect(sidecar.tags == ["v1"])
        let proxy =
            #"{"DestinationServiceID":"web-1","DestinationServiceName":"web","Expose":{},"#
            + #""LocalServiceAddress":"127.0.0.1","LocalServicePort":8080,"MeshGateway":{},"Mode":""}"#
        #expect(Array(sidecar.proxyJson) == Array(proxy.utf8))
        let check = try #require(await agent.state().checks.first)
        #expect(
            check.name == "Connect Sidecar Listening" && check.serviceID == "web-1-sidecar-proxy"
                && check.interval == "10s")

        // The next one gets the next port; the first keeps its own.
        try await agent.registerService(
            service("db") { $0.sidecar = [ServiceDefinition()] }, replaceExistingChecks: false)
        try await agent.registerService(web, replaceExistingChecks: false)
        let ports = await agent.state().services.filter { $0.kind == "connect-proxy" }.map(\.port)
        #expect(ports == [21_001, 21_000])

        // It goes with its parent, and with a registration that no longer asks for it.
        try await agent.deregisterService("web-1")
        try await agent.registerService(service("db"), replaceExistingChecks: false)
        #expect(await agent.state().services.map(\.id) == ["db"])
        #expect(await agent.state().checks.isEmpty)
        await agent.stop()
    }

    @Test func sidecarPortsRunOut() async throws {
        let agent = try await self.bench.agent { $0.sidecarPorts = 21_000...21_000 }
        try await agent.registerService(
            service("a") { $0.sidecar = [ServiceDefinition()] }, replaceExistingChecks: false)
        let text =
            "Invalid SidecarService: no port provided for sidecar_service and none left in the configured range "
            + "[21000, 21000]"
        await #expect(throws: LocalAgentError.invalid(text)) {
            try await agent.registerService(
                service("b") { $0.sidecar = [ServiceDefinition()] }, replaceExistingChecks: false)
        }
        #expect(await agent.state().services.map(\.id) == ["a", "a-sidecar-proxy"])
        await agent.stop()
    }

    @Test func whatConcernsTheWholeAgentIsPassedOn() async throws {
        let agent = try await self.bench.agent()
        #expect(await agent.members(wide: true).map(\.name) == ["n1.dc1"])
        #expect(await agent.description().version == "1.22.1")
        await #expect(throws: LocalAgentError.unknownMember("x")) { try await agent.forceLeave("x", prune: false) }
        await #expect(throws: LocalAgentError.failed("no route to y")) { try await agent.join("y") }
        await agent.stop()
    }
}
