import LocalAgent
import Protocol
import Testing
import Units

@Suite(.timeLimit(.minutes(1))) struct RestartTests {
    private let bench = Bench()

    @Test func checksBeginCriticalAfterARestart() async throws {
        let first = try await self.bench.agent()
        var tcp = CheckDefinition()
        tcp.id = "tcp"
        tcp.tcp = "127.0.0.1:1"
        tcp.interval = .seconds(3600)
        tcp.status = "passing"
        try await first.registerService(service("web") { $0.checks = [tcp] }, replaceExistingChecks: false)
        #expect(await first.state().checks.map(\.status) == ["passing"])
        await first.stop()
        let second = try await self.bench.agent()
        #expect(await second.state().services.map(\.id) == ["web"])
        #expect(await second.state().checks.map(\.status) == ["critical"])
        await second.stop()
    }

    @Test func aTTLReportThatStillHoldsOutlivesARestart() async throws {
        let first = try await self.bench.agent()
        try await first.registerCheck(ttlCheck("c"))
        try await first.updateCheck("c", status: "warning", output: "half")
        await first.stop()
        self.bench.clock.advance(.seconds(3599))
        let second = try await self.bench.agent()
        #expect(await second.state().checks.map(\.status) == ["warning"])
        #expect(await second.state().checks.map(\.output) == ["half"])
        await second.stop()
    }

    @Test func aTTLReportThatRanOutMeanwhileIsForgotten() async throws {
        let first = try await self.bench.agent()
        try await first.registerCheck(ttlCheck("c"))
        try await first.updateCheck("c", status: "passing", output: "fine")
        await first.stop()
        self.bench.clock.advance(.seconds(3601))
        let second = try await self.bench.agent()
        #expect(await second.state().checks.map(\.status) == ["critical"])
        await second.stop()
    }

    @Test func whatIsLeftOfATTLGoesOnAfterARestart() async throws {
        let first = try await self.bench.agent()
        try await first.registerCheck(ttlCheck("c"))
        try await first.updateCheck("c", status: "passing", output: "fine")
        await first.stop()
        self.bench.clock.advance(Nanoseconds(Nanoseconds.seconds(3600).rawValue - 50_000_000))
        let second = try await self.bench.agent()
        try await eventually("the rest of 50 ms has run out") {
            await second.state().checks.map(\.status) == ["critical"]
        }
        await second.stop()
    }

    @Test func everyFieldOfADefinitionOutlivesARestart() async throws {
        let first = try await self.bench.agent()
        let web = service("web", id: "web-1") {
            $0.kind = "connect-proxy"
            $0.tags = ["a", "b"]
            $0.port = 80
            $0.address = "2001:db8::1"
            $0.taggedAddresses = ["lan": .init(address: "10.0.0.7", port: 81)]
            $0.meta = ["k": "v"]
            $0.enableTagOverride = true
            $0.weightPassing = 7
            $0.weightWarning = 0
            $0.proxyJSON = Array(#"{"DestinationServiceName":"x"}"#.utf8)
            $0.connectJSON = Array(#"{"Native":true}"#.utf8)
            $0.checks = [
                ttlCheck {
                    $0.notes = "é and \"quotes\""
                    $0.deregisterCriticalServiceAfter = .seconds(7200)
                }
            ]
        }
        try await first.registerService(web, replaceExistingChecks: false)
        try await first.setNodeMaintenance(enabled: true, reason: "why")
        let before = await first.state()
        await first.stop()
        let second = try await self.bench.agent()
        let after = await second.state()
        #expect(after.services == before.services)
        #expect(after.checks == before.checks)
        await second.stop()
    }

    @Test func aRowThatCantBeReadIsPassedOverAndKept() async throws {
        let first = try await self.bench.agent()
        try await first.registerService(service("web"), replaceExistingChecks: false)
        await first.stop()
        let broken = StoredRow(kind: .service, id: "broken", bytes: Array("{not json".utf8))
        try await self.bench.store.apply([.put(broken)])
        let second = try await self.bench.agent()
        #expect(await second.state().services.map(\.id) == ["web"])
        #expect(self.bench.store.rows(.service) == ["broken", "web"])
        await second.stop()
    }

    @Test func rowsOfALaterVersionAreReadAsFarAsTheyAreKnown() async throws {
        let json = #"{"configured":false,"definition":{"name":"web","port":80,"shard":3},"owner":"x","parent":""}"#
        try await self.bench.store.apply([.put(StoredRow(kind: .service, id: "web", bytes: Array(json.utf8)))])
        let agent = try await self.bench.agent()
        #expect(await agent.state().services.map(\.port) == [80])
        #expect(await agent.state().services.map(\.weightPassing) == [1])
        await agent.stop()
    }

    @Test func aCheckWithoutItsServiceIsSweptAway() async throws {
        let first = try await self.bench.agent()
        try await first.registerService(service("web") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        await first.stop()
        try await self.bench.store.apply([.remove(kind: .service, id: "web")])
        let second = try await self.bench.agent()
        #expect(await second.state().checks.isEmpty)
        #expect(self.bench.store.rows(.check).isEmpty)
        await second.stop()
    }

    @Test func configurationReplacesWhatAnEarlierOneHad() async throws {
        let first = try await self.bench.agent()
        try await first.registerService(service("by-api"), replaceExistingChecks: false)
        try await first.setConfigured(
            services: [service("a") { $0.checks = [ttlCheck(), ttlCheck()] }, service("b")], checks: [ttlCheck("node")])
        try await settled(first)
        await first.stop()
        let second = try await self.bench.agent()
        try await second.setConfigured(services: [service("a") { $0.checks = [ttlCheck()] }], checks: [])
        #expect(await second.state().services.map(\.id) == ["a", "by-api"])
        #expect(await second.state().checks.map(\.id) == ["service:a"])
        try await settled(second)
        #expect(self.bench.cluster.catalog?.services.map(\.id).sorted() == ["a", "by-api"])
        #expect(self.bench.cluster.catalog?.checks.map(\.id) == ["service:a"])
        await second.stop()
    }
}
