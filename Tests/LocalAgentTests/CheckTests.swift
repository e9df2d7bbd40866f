import LocalAgent
import NIOCore
import NIOPosix
import Protocol
import Testing
import Units

@Suite(.timeLimit(.minutes(1))) struct CheckTests {
    private let bench = Bench()

    @Test func ttlReportsSetStatusAndOutput() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(ttlCheck("c"))
        for status in ["passing", "warning", "critical"] {
            try await agent.updateCheck("c", status: status, output: "is \(status)")
            #expect(await agent.state().checks.map(\.status) == [status])
            #expect(await agent.state().checks.map(\.output) == ["is \(status)"])
        }
        await #expect(throws: LocalAgentError.invalid("Invalid check status: 'dead'")) {
            try await agent.updateCheck("c", status: "dead", output: "")
        }
        await #expect(throws: LocalAgentError.unknownCheck("x")) {
            try await agent.updateCheck("x", status: "passing", output: "")
        }
        await agent.stop()
    }

    @Test func aPolledCheckTakesNoReports() async throws {
        let agent = try await self.bench.agent()
        var check = CheckDefinition()
        check.name = "tcp"
        check.tcp = "127.0.0.1:1"
        check.interval = .seconds(3600)
        try await agent.registerCheck(check)
        await #expect(throws: LocalAgentError.notTTL("tcp")) {
            try await agent.updateCheck("tcp", status: "passing", output: "")
        }
        await agent.stop()
    }

    @Test func aTTLWithoutAReportExpires() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(ttlCheck("c") { $0.ttl = .milliseconds(150) })
        try await agent.updateCheck("c", status: "passing", output: "alive")
        #expect(await agent.state().checks.map(\.status) == ["passing"])
        try await eventually("the check is critical") { await agent.state().checks.map(\.status) == ["critical"] }
        let output = await agent.state().checks.first?.output
        #expect(output == "TTL expired (last output before timeout follows): alive")
        try await eventually("the catalog knows") { self.bench.cluster.check("c")?.output == output }
        await agent.stop()
    }

    @Test func aLongReportIsShortened() async throws {
        let agent = try await self.bench.agent { $0.checkOutputLimit = 10 }
        try await agent.registerCheck(ttlCheck("c"))
        try await agent.updateCheck("c", status: "passing", output: "0123456789abc")
        #expect(await agent.state().checks.map(\.output) == ["0123456789 ... (captured 10 of 13 bytes)"])
        await agent.stop()
    }

    @Test func anInitialStatusIsTaken() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(ttlCheck("c") { $0.status = "passing" })
        #expect(await agent.state().checks.map(\.status) == ["passing"])
        await agent.stop()
    }

    @Test func aTCPCheckFollowsItsTarget() async throws {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(
            host: "127.0.0.1", port: 0
        ).get()
        let port = try #require(listener.localAddress?.port)
        let agent = try await self.bench.agent()
        var check = CheckDefinition()
        check.tcp = "127.0.0.1:\(port)"
        check.interval = .milliseconds(10)
        try await agent.registerService(service("web") { $0.checks = [check] }, replaceExistingChecks: false)
        try await eventually("passing in the catalog") { self.bench.cluster.check("service:web")?.status == "passing" }
        #expect(await agent.state().health(ofService: "web") == .passing)
        try await listener.close()
        try await eventually("critical in the catalog") {
            self.bench.cluster.check("service:web")?.status == "critical"
        }
        #expect(await agent.state().health(ofService: "web") == .critical)
        await agent.stop()
    }

    @Test func aCheckThatWasReplacedReportsNoMore() async throws {
        let agent = try await self.bench.agent()
        var check = CheckDefinition()
        check.name = "c"
        check.tcp = "127.0.0.1:1"
        check.interval = .milliseconds(5)
        try await agent.registerCheck(check)
        try await eventually("it has run") { await agent.state().checks.first?.output.isEmpty == false }
        try await agent.registerCheck(ttlCheck("c"))
        try await agent.updateCheck("c", status: "passing", output: "mine")
        try await Task.sleep(for: .milliseconds(60))
        #expect(await agent.state().checks.map(\.output) == ["mine"])
        await agent.stop()
    }

    @Test func aServiceThatStaysCriticalIsRemoved() async throws {
        let agent = try await self.bench.agent { $0.minimumDeregisterAfter = .milliseconds(50) }
        let doomed = ttlCheck { $0.deregisterCriticalServiceAfter = .milliseconds(1) }
        try await agent.registerService(service("web") { $0.checks = [doomed] }, replaceExistingChecks: false)
        try await agent.registerService(service("db") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        try await eventually("the service is gone") { await agent.state().services.map(\.id) == ["db"] }
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.services.map(\.id) == ["db"])
        await agent.stop()
    }

    @Test func aServiceThatRecoversStays() async throws {
        let agent = try await self.bench.agent { $0.minimumDeregisterAfter = .milliseconds(1) }
        let check = ttlCheck {
            $0.status = "passing"
            $0.deregisterCriticalServiceAfter = .seconds(3600)
        }
        try await agent.registerService(service("web") { $0.checks = [check] }, replaceExistingChecks: false)
        try await agent.updateCheck("service:web", status: "critical", output: "")
        try await Task.sleep(for: .milliseconds(60))
        #expect(await agent.state().services.map(\.id) == ["web"])
        await agent.stop()
    }

    @Test func aServiceThatRecoversWhileAnotherIsBeingRemovedStays() async throws {
        let agent = try await self.bench.agent { $0.minimumDeregisterAfter = .milliseconds(1) }
        for name in ["a", "b"] {
            let check = ttlCheck {
                $0.status = "passing"
                $0.deregisterCriticalServiceAfter = .milliseconds(1)
            }
            try await agent.registerService(service(name) { $0.checks = [check] }, replaceExistingChecks: false)
        }
        self.bench.store.setSlow(true)
        for name in ["a", "b"] {
            try await agent.updateCheck("service:\(name)", status: "critical", output: "")
        }
        // Both are due, and the first waits for the disk.
        try await Task.sleep(for: .milliseconds(100))
        try await agent.updateCheck("service:b", status: "passing", output: "")
        self.bench.store.setSlow(false)
        try await eventually("the first is gone") { await !agent.state().services.map(\.id).contains("a") }
        try await Task.sleep(for: .milliseconds(60))
        #expect(await agent.state().services.map(\.id) == ["b"])
        await agent.stop()
    }

    @Test func maintenanceOutranksAllElse() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(
            service("web") { $0.checks = [ttlCheck { $0.status = "passing" }] }, replaceExistingChecks: false)
        try await agent.registerService(service("db"), replaceExistingChecks: false)
        #expect(await agent.state().health(ofService: "web") == .passing)
        #expect(await agent.state().health(ofService: "none") == nil)
        try await agent.setServiceMaintenance("web", enabled: true, reason: "new disks")
        let check = await agent.state().checks.first { $0.id == "_service_maintenance:web" }
        #expect(check?.status == "critical" && check?.notes == "new disks" && check?.name == "Service Maintenance Mode")
        #expect(await agent.state().health(ofService: "web") == .maintenance)
        #expect(await agent.state().health(ofService: "db") == .passing)
        try await agent.setServiceMaintenance("web", enabled: false, reason: "")
        #expect(await agent.state().health(ofService: "web") == .passing)
        try await agent.setNodeMaintenance(enabled: true, reason: "")
        #expect(await agent.state().health(ofService: "db") == .maintenance)
        try await agent.setNodeMaintenance(enabled: true, reason: "")
        try await settled(agent)
        #expect(self.bench.cluster.check("_node_maintenance")?.status == "critical")
        try await agent.setNodeMaintenance(enabled: false, reason: "")
        try await agent.setNodeMaintenance(enabled: false, reason: "")
        try await settled(agent)
        #expect(self.bench.cluster.check("_node_maintenance") == nil)
        await #expect(throws: LocalAgentError.unknownService("x")) {
            try await agent.setServiceMaintenance("x", enabled: true, reason: "")
        }
        await agent.stop()
    }

    @Test func nodeChecksCountForEveryService() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await agent.registerCheck(ttlCheck("disk") { $0.status = "warning" })
        #expect(await agent.state().health(ofService: "web") == .warning)
        await agent.stop()
    }
}
