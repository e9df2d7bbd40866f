import Cluster
import LocalAgent
import Protocol
import Testing
import Units

@Suite(.timeLimit(.minutes(1))) struct SyncTests {
    private let bench = Bench()

    @Test func whatOthersPutUnderThisNodeStays() async throws {
        self.bench.cluster.apply(
            registration {
                $0.skipNodeUpdate = false
                $0.service.id = "consul"
                $0.service.name = "consul"
            })
        self.bench.cluster.apply(
            registration {
                $0.service.id = "external"
                $0.service.name = "external"
                var check = LogCheck()
                check.node = "n1"
                check.id = "serfHealth"
                check.name = "Serf Health Status"
                check.status = "passing"
                $0.checks = [check]
            })
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(20) }
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await settled(agent)
        try await Task.sleep(for: .milliseconds(100))
        #expect(self.bench.cluster.catalog?.services.map(\.id).sorted() == ["consul", "external", "web"])
        #expect(self.bench.cluster.catalog?.checks.map(\.id) == ["serfHealth"])
        await agent.stop()
    }

    @Test func aRowThatVanishedFromTheCatalogComesBack() async throws {
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(20) }
        try await agent.registerService(service("web") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        try await settled(agent)
        var command = LogCommand()
        command.deregister.node = "n1"
        self.bench.cluster.apply(command)
        #expect(self.bench.cluster.catalog == nil)
        try await eventually("node, service and check are back") {
            self.bench.cluster.service("web") != nil && self.bench.cluster.check("service:web") != nil
        }
        await agent.stop()
    }

    @Test func aRowThatSomebodyChangedIsPutRight() async throws {
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(20) }
        try await agent.registerService(service("web") { $0.tags = ["mine"] }, replaceExistingChecks: false)
        try await settled(agent)
        self.bench.cluster.apply(
            registration {
                $0.service.id = "web"
                $0.service.name = "web"
                $0.service.tags = ["theirs"]
                $0.service.port = 99
            })
        try await eventually("the service is as it was registered") {
            self.bench.cluster.service("web")?.tags == ["mine"] && self.bench.cluster.service("web")?.port == 0
        }
        await agent.stop()
    }

    @Test func tagsOfTheCatalogWinWhereTheServiceAllowsIt() async throws {
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(20) }
        let web = service("web") {
            $0.tags = ["mine"]
            $0.enableTagOverride = true
        }
        try await agent.registerService(web, replaceExistingChecks: false)
        try await settled(agent)
        var theirs = try #require(self.bench.cluster.service("web"))
        theirs.tags = ["theirs"]
        self.bench.cluster.apply(registration { $0.service = theirs })
        try await eventually("the agent takes the tags over") {
            await agent.state().services.map(\.tags) == [["theirs"]]
        }
        try await Task.sleep(for: .milliseconds(60))
        #expect(self.bench.cluster.service("web")?.tags == ["theirs"])
        await agent.stop()
    }

    @Test func aStatusIsSyncedAtOnceAndAnOutputLater() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerCheck(ttlCheck("c"))
        try await agent.updateCheck("c", status: "passing", output: "one")
        try await settled(agent)
        #expect(self.bench.cluster.check("c")?.output == "one")
        try await agent.updateCheck("c", status: "passing", output: "two")
        #expect(await agent.state().checks.map(\.output) == ["two"])
        try await Task.sleep(for: .milliseconds(50))
        #expect(self.bench.cluster.check("c")?.output == "one")
        try await agent.updateCheck("c", status: "warning", output: "three")
        try await settled(agent)
        #expect(self.bench.cluster.check("c")?.output == "three" && self.bench.cluster.check("c")?.status == "warning")
        await agent.stop()
    }

    @Test func aDeferredOutputArrivesInTheEnd() async throws {
        let agent = try await self.bench.agent { $0.checkUpdateInterval = .milliseconds(30) }
        try await agent.registerCheck(ttlCheck("c"))
        try await agent.updateCheck("c", status: "passing", output: "one")
        try await settled(agent)
        try await agent.updateCheck("c", status: "passing", output: "two")
        try await eventually("the output is in the catalog") { self.bench.cluster.check("c")?.output == "two" }
        await agent.stop()
    }

    @Test func anOutputThatDiffersAloneIsNoReasonForAFullSyncToWrite() async throws {
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(10) }
        try await agent.registerCheck(ttlCheck("c"))
        try await agent.updateCheck("c", status: "passing", output: "one")
        try await settled(agent)
        try await agent.updateCheck("c", status: "passing", output: "two")
        let attempts = self.bench.cluster.attempts
        try await Task.sleep(for: .milliseconds(100))
        #expect(self.bench.cluster.attempts == attempts)
        await agent.stop()
    }

    @Test func writesThatFailAreTriedAgainUntilTheySucceed() async throws {
        let agent = try await self.bench.agent()
        try await settled(agent)
        self.bench.cluster.setDown(true)
        let before = self.bench.cluster.attempts
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await eventually("it was tried several times") { self.bench.cluster.attempts >= before + 3 }
        #expect(await agent.outOfSync() == 1)
        self.bench.cluster.setDown(false)
        try await settled(agent)
        #expect(self.bench.cluster.service("web") != nil)
        await agent.stop()
    }

    @Test func whatTheCatalogRefusesWaitsForTheNextFullSync() async throws {
        let agent = try await self.bench.agent { $0.failedSyncInterval = .seconds(3600) }
        try await settled(agent)
        self.bench.cluster.setRefusal("node name is taken")
        let before = self.bench.cluster.attempts
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await eventually("it was tried") { self.bench.cluster.attempts > before }
        try await Task.sleep(for: .milliseconds(100))
        #expect(self.bench.cluster.attempts == before + 1)
        #expect(await agent.outOfSync() == 1)
        await agent.stop()
    }

    @Test func aRefusalIsOverAtTheNextFullSync() async throws {
        self.bench.cluster.setRefusal("node name is taken")
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(20) }
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await eventually("it was tried") { self.bench.cluster.attempts >= 2 }
        self.bench.cluster.setRefusal(nil)
        try await eventually("the service is there") { self.bench.cluster.service("web") != nil }
        await agent.stop()
    }

    @Test func aRefusalIsTriedAgainLongBeforeTheNextRegularFullSync() async throws {
        self.bench.cluster.setRefusal("node name is reserved")
        let agent = try await self.bench.agent {
            $0.syncInterval = .seconds(3600)
            $0.failedSyncInterval = .milliseconds(20)
        }
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await eventually("it was tried") { self.bench.cluster.attempts >= 3 }
        self.bench.cluster.setRefusal(nil)
        try await eventually("the service is there") { self.bench.cluster.service("web") != nil }
        try await settled(agent)
        await agent.stop()
    }

    @Test func manyChangesTravelTogether() async throws {
        self.bench.cluster.setDown(true)
        let agent = try await self.bench.agent()
        for number in 0..<40 {
            try await agent.registerService(service("s\(number)"), replaceExistingChecks: false)
        }
        let before = self.bench.cluster.attempts
        self.bench.cluster.setDown(false)
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.services.count == 40)
        // Forty commands fit one batch; a failed try may have come between.
        #expect(self.bench.cluster.attempts <= before + 3)
        await agent.stop()
    }

    @Test func oneWriteHoldsNoMoreThanAMessageCarries() async throws {
        self.bench.cluster.setDown(true)
        let agent = try await self.bench.agent()
        let tag = String(repeating: "t", count: 200_000)
        for number in 0..<20 {
            try await agent.registerService(service("s\(number)") { $0.tags = [tag] }, replaceExistingChecks: false)
        }
        self.bench.cluster.setDown(false)
        try await settled(agent)
        #expect(self.bench.cluster.catalog?.services.count == 20)
        // Five of them make a mebibyte.
        #expect(!self.bench.cluster.batchSizes.isEmpty && self.bench.cluster.batchSizes.allSatisfy { $0 <= 6 })
        await agent.stop()
    }

    @Test func aRemovalOutlivesARestartWithoutTheCatalog() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(service("web") { $0.checks = [ttlCheck()] }, replaceExistingChecks: false)
        try await agent.registerCheck(ttlCheck("node-check"))
        try await settled(agent)
        self.bench.cluster.setDown(true)
        try await agent.deregisterService("web")
        try await agent.deregisterCheck("node-check")
        await agent.stop()
        #expect(self.bench.cluster.service("web") != nil)
        self.bench.cluster.setDown(false)
        let next = try await self.bench.agent()
        try await settled(next)
        #expect(self.bench.cluster.catalog?.services.isEmpty == true)
        #expect(self.bench.cluster.catalog?.checks.isEmpty == true)
        #expect(self.bench.store.rows.isEmpty)
        await next.stop()
    }

    @Test func registeringAgainUndoesARemovalThatIsUnderWay() async throws {
        let agent = try await self.bench.agent()
        try await agent.registerService(
            service("web") { $0.checks = [ttlCheck("a"), ttlCheck("b")] }, replaceExistingChecks: false)
        try await settled(agent)
        self.bench.cluster.setDown(true)
        try await agent.deregisterService("web")
        try await agent.registerService(service("web") { $0.checks = [ttlCheck("b")] }, replaceExistingChecks: false)
        self.bench.cluster.setDown(false)
        try await settled(agent)
        #expect(self.bench.cluster.service("web") != nil)
        #expect(self.bench.cluster.catalog?.checks.map(\.id) == ["b"])
        #expect(self.bench.store.rows(.removal).isEmpty)
        await agent.stop()
    }

    @Test func anAnswerAboutWhatWasRemovedSaysNothingAboutItsSuccessor() async throws {
        let agent = try await self.bench.agent()
        try await settled(agent)
        self.bench.cluster.holdAnswers(true)
        let before = service("web") {
            $0.port = 1
            $0.checks = [ttlCheck("c") { $0.status = "passing" }]
        }
        try await agent.registerService(before, replaceExistingChecks: false)
        try await eventually("the catalog has it, and the agent does not know") {
            self.bench.cluster.service("web")?.port == 1
        }
        try await agent.deregisterService("web")
        let after = service("web") {
            $0.port = 2
            $0.checks = [ttlCheck("c")]
        }
        try await agent.registerService(after, replaceExistingChecks: false)
        self.bench.cluster.holdAnswers(false)
        try await settled(agent)
        #expect(self.bench.cluster.service("web")?.port == 2)
        #expect(self.bench.cluster.check("c")?.status == "critical")
        await agent.stop()
    }

    @Test func aRemovalIsToldThoughAnOldViewOfTheCatalogDoesNotShowTheRow() async throws {
        let agent = try await self.bench.agent()
        try await settled(agent)
        let old = self.bench.cluster.registry
        try await agent.registerService(service("web"), replaceExistingChecks: false)
        try await settled(agent)
        self.bench.cluster.setDown(true)
        try await agent.deregisterService("web")
        await agent.stop()
        // The next server to be asked has not caught up.
        self.bench.cluster.setLagging(old)
        self.bench.cluster.setDown(false)
        let next = try await self.bench.agent()
        try await settled(next)
        #expect(self.bench.cluster.service("web") == nil)
        await next.stop()
    }

    @Test func aStoppedAgentSyncsNoMore() async throws {
        let agent = try await self.bench.agent { $0.syncInterval = .milliseconds(10) }
        try await settled(agent)
        await agent.stop()
        var command = LogCommand()
        command.deregister.node = "n1"
        self.bench.cluster.apply(command)
        try await Task.sleep(for: .milliseconds(80))
        #expect(self.bench.cluster.catalog == nil)
    }
}
