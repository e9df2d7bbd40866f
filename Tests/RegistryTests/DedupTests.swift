import Protocol
import Registry
import Testing
import Units

struct DedupTests {
    private func put(
        _ world: inout World, _ value: String, client: UInt64 = 7, _ sequence: UInt64, lowest: UInt64 = 0
    ) throws -> Applied {
        try world.apply(
            world.envelope(.kvPut(Make.put("k", value)), client: client, sequence: sequence, lowest: lowest))
    }

    private func isForgotten(_ applied: Applied) -> Bool {
        applied.result.failure.kind == .failureResultForgotten && applied.wasDuplicate && applied.touched.isEmpty
    }

    @Test func aRetryIsAnsweredFromTheWindowAndNotApplied() throws {
        var world = World()
        let first = try self.put(&world, "1", 1)
        try world.put("k", "other")
        let again = try self.put(&world, "1", 1)
        #expect(!first.wasDuplicate && again.wasDuplicate)
        #expect(again.result == first.result && again.result.index == 1)
        #expect(again.touched.isEmpty)
        #expect(world.get("k")?.value == Array("other".utf8))
    }

    @Test func everyKindOfResultIsKept() throws {
        var world = World()
        var txn = LogTxn()
        txn.ops = [
            Make.nodeOperation(.rowSet, Make.node("n1")), Make.kv(.kvSet, "a", "1"), Make.kv(.kvGet, "a"),
        ]
        var session = LogSessionCreate()
        session.id = "s1"
        session.node = "n1"
        var batch = LogBatch()
        batch.commands = [LogCommand.with(.kvPut(Make.put("x"))), LogCommand.with(.sessionCreate(session))]
        let kinds: [LogCommand.OneOf_Kind] = [
            .txn(txn), .sessionCreate(session), .batch(batch), .kvPut(Make.put("y", mode: .putCas, index: 5)),
        ]
        var results: [LogResult] = []
        for (position, kind) in kinds.enumerated() {
            results.append(try world.apply(world.envelope(kind, client: 1, sequence: UInt64(position) + 1)).result)
        }
        #expect(results[0].txn.rows.count == 3)
        #expect(results[1].sessionID == "s1")
        #expect(results[2].batch.results[1].failure.text == "Session \"s1\" exists already")
        #expect(results[3].kind == .ok(false))
        for (position, kind) in kinds.enumerated() {
            let again = try world.apply(world.envelope(kind, client: 1, sequence: UInt64(position) + 1))
            #expect(again.wasDuplicate && again.result == results[position])
        }
    }

    @Test func requestsMayArriveInAnyOrder() throws {
        var world = World()
        #expect(try !self.put(&world, "3", 3, lowest: 1).wasDuplicate)
        #expect(try !self.put(&world, "1", 1, lowest: 1).wasDuplicate)
        #expect(try !self.put(&world, "2", 2, lowest: 1).wasDuplicate)
        #expect(try self.put(&world, "1", 1, lowest: 1).wasDuplicate)
        #expect(world.get("k")?.value == [0x32])
    }

    @Test func clientsDoNotMeet() throws {
        var world = World()
        #expect(try !self.put(&world, "1", client: 1, 1).wasDuplicate)
        #expect(try !self.put(&world, "2", client: 2, 1).wasDuplicate)
    }

    @Test func withoutAClientOrASequenceNothingIsRemembered() throws {
        var world = World()
        #expect(try !self.put(&world, "1", client: 0, 1).wasDuplicate)
        #expect(try !self.put(&world, "2", client: 0, 1).wasDuplicate)
        #expect(try !self.put(&world, "3", client: 1, 0).wasDuplicate)
        #expect(try !self.put(&world, "4", client: 1, 0).wasDuplicate)
        #expect(world.resultCount == 0)
    }

    @Test func whatIsNoLongerWaitedForIsForgottenAndNeverAppliedAgain() throws {
        var world = World()
        for sequence in UInt64(1)...5 { _ = try self.put(&world, "\(sequence)", sequence, lowest: 1) }
        _ = try self.put(&world, "6", 6, lowest: 4)
        #expect(world.resultCount == 3)
        #expect(try self.isForgotten(self.put(&world, "late", 3, lowest: 3)))
        #expect(try self.put(&world, "late", 4, lowest: 4).result.index == 4)
        #expect(world.get("k")?.value == [0x36])
    }

    @Test func aNumberBelowTheFloorThatNeverArrivedIsForgottenToo() throws {
        var world = World()
        _ = try self.put(&world, "5", 5, lowest: 5)
        #expect(try self.isForgotten(self.put(&world, "2", 2, lowest: 1)))
        #expect(world.get("k")?.value == [0x35])
    }

    @Test func aLowestAboveTheRequestItselfCountsOnlyUpToIt() throws {
        var world = World()
        _ = try self.put(&world, "5", 5, lowest: 99)
        #expect(try self.put(&world, "5", 5, lowest: 99).result.index == 1)
        #expect(try !self.put(&world, "6", 6, lowest: 6).wasDuplicate)
    }

    @Test func aWindowHolds4096ResultsAndDropsTheOldest() throws {
        var world = World()
        for sequence in UInt64(1)...4100 { _ = try self.put(&world, "\(sequence)", sequence, lowest: 1) }
        #expect(world.resultCount == 4096)
        #expect(try self.isForgotten(self.put(&world, "late", 4, lowest: 1)))
        #expect(try self.put(&world, "late", 5, lowest: 1).result.index == 5)
        #expect(world.get("k")?.value == Array("4100".utf8))
    }

    @Test func theLargestNumbersDoNotOverflow() throws {
        var world = World()
        #expect(try !self.put(&world, "1", .max, lowest: .max).wasDuplicate)
        #expect(try self.put(&world, "1", .max, lowest: .max).wasDuplicate)
        #expect(try self.isForgotten(self.put(&world, "1", 1, lowest: 1)))
    }

    @Test func anIdleClientLosesItsResultsButNotItsFloor() throws {
        var world = World()
        for sequence in UInt64(1)...100 { _ = try self.put(&world, "\(sequence)", sequence, lowest: 1) }
        world.pass(seconds: 3601)
        var steps: [Int] = []
        while world.resultCount > 0, steps.count < 10 {
            for step in 0..<16 { try world.put("other", "\(steps.count) \(step)") }
            steps.append(world.resultCount)
        }
        #expect(steps == [36, 0])
        world.pass(seconds: 23 * 3600)
        for step in 0..<64 { try world.put("other", "\(step)") }
        #expect(try self.isForgotten(self.put(&world, "late", 100, lowest: 1)))
        #expect(try self.isForgotten(self.put(&world, "late", 1, lowest: 1)))
        #expect(try !self.put(&world, "new", 101, lowest: 101).wasDuplicate)
    }

    /// A leader whose clock jumps ahead by days must not make a retry of a minute ago look unheard of.
    @Test func aJumpingClockAloneDropsNoFloor() throws {
        var world = World()
        _ = try self.put(&world, "1", 1, lowest: 1)
        world.pass(seconds: 10 * 24 * 3600)
        for step in 0..<200 { try world.put("other", "\(step)") }
        #expect(try self.isForgotten(self.put(&world, "1", 1, lowest: 1)))
    }

    @Test func aFloorGoesAfterADayAndAMillionEntries() throws {
        var world = World()
        _ = try self.put(&world, "1", 1, lowest: 1)
        world.pass(seconds: 3601)
        for step in 0..<16 { try world.put("other", "\(step)") }
        world.skip(to: 1_000_100)
        world.pass(seconds: 24 * 3600)
        for step in 0..<16 { try world.put("other", "late \(step)") }
        #expect(world.clientCount == 0)
    }

    @Test func aResultTooLargeToKeepIsForgotten() throws {
        var world = World()
        var txn = LogTxn()
        txn.ops = [Make.kv(.kvSet, "k", String(repeating: "x", count: 300_000)), Make.kv(.kvGet, "k")]
        let first = try world.apply(world.envelope(.txn(txn), client: 1, sequence: 1))
        #expect(first.result.txn.rows.count == 2)
        #expect(try self.isForgotten(world.apply(world.envelope(.txn(txn), client: 1, sequence: 1))))
    }

    @Test func aDecisionOfAPassedTermIsRefused() throws {
        var world = World()
        try world.register()
        try world.session("s1")
        world.term = 5
        var destroy = LogSessionDestroy()
        destroy.ids = ["s1"]
        let stale = try world.apply(world.envelope(.sessionDestroy(destroy), decided: 4))
        #expect(stale.result.failure.kind == .failureStaleTerm)
        #expect(stale.touched.isEmpty && world.hasSession("s1"))
        #expect(try world.apply(world.envelope(.sessionDestroy(destroy), decided: 5)).result.ok)
        #expect(!world.hasSession("s1"))
    }
}

extension LogCommand {
    static func with(_ kind: LogCommand.OneOf_Kind) -> LogCommand {
        var command = LogCommand()
        command.kind = kind
        return command
    }
}

extension World {
    var resultCount: Int { self.rows { if case .dedupResult = $0 { true } else { false } } }
    var clientCount: Int { self.rows { if case .dedupClient = $0 { true } else { false } } }
}

struct EnvelopeTests {
    @Test func anUnknownFormatOrAnEmptyCommandStopsTheServer() throws {
        var world = World()
        var envelope = world.envelope(.kvPut(Make.put("k")))
        envelope.format = 2
        #expect(throws: RegistryError.unknownFormat(2, LogIndex(1))) { try world.apply(envelope) }
        #expect(throws: RegistryError.unknownCommand("a command", LogIndex(2))) {
            try world.apply(world.envelope(nil))
        }
        var batch = LogBatch()
        batch.commands = [LogCommand()]
        #expect(throws: RegistryError.unknownCommand("a command within a batch", LogIndex(3))) {
            try world.run(.batch(batch))
        }
    }

    @Test func errorsSayWhatToDo() {
        #expect(
            "\(RegistryError.unknownFormat(2, LogIndex(9)))"
                == "log entry 9 has format 2, which this version does not know: upgrade this server")
        #expect(
            "\(RegistryError.stateDiverged(LogIndex(1024)))"
                == "the state of this server at log index 1024 differs from the leader's")
    }

    @Test func emptyEntriesMoveTheAppliedIndexAlone() throws {
        var world = World()
        try world.put("a")
        let hash = world.registry.combinedHash
        world.term = 3
        world.skip(to: 10)
        #expect(world.registry.appliedIndex == LogIndex(10) && world.registry.appliedTerm == Term(3))
        #expect(world.registry.combinedHash == hash)
    }

    @Test func aBatchKeepsAResultForEachCommand() throws {
        var world = World()
        var inner = LogBatch()
        inner.commands = []
        var batch = LogBatch()
        batch.commands = [
            .with(.kvPut(Make.put("a", "1"))), .with(.kvPut(Make.put("a", "2", mode: .putCas))),
            .with(.kvPut(Make.put("a", "3", mode: .putAcquire, session: "x"))), .with(.batch(inner)),
            .with(.kvPut(Make.put("b"))),
        ]
        let results = try world.run(.batch(batch)).batch.results
        #expect(results.map(\.index) == [1, 1, 1, 1, 1])
        #expect(results[0].ok && results[1].kind == .ok(false) && results[4].ok)
        #expect(results[2].failure.text == "invalid session \"x\"")
        #expect(results[3].failure.text == "a batch can't hold a batch")
        #expect(world.get("a")?.value == [0x31])
    }

    @Test func theFeatureLevelNeverFalls() throws {
        var world = World()
        for level in [UInt32(3), 2] {
            var command = LogSetFeatureLevel()
            command.level = level
            try world.run(.setFeatureLevel(command))
        }
        #expect(world.registry.featureLevel == 3)
    }

    @Test func revokedNodesAreKept() throws {
        var world = World()
        var revoke = LogRevokeNode()
        revoke.nodeID = 42
        revoke.name = "server-2"
        try world.run(.revokeNode(revoke))
        #expect(world.registry.isRevoked(NodeID(42)) && !world.registry.isRevoked(NodeID(43)))
        #expect(world.registry.revokedNodes.map(\.name) == ["server-2"])
    }
}
