import Protocol
import Registry
import Testing
import Units

private func worldWithNode(checks: [LogCheck] = []) throws -> World {
    var world = World()
    try world.register(service: Make.service("web"), checks: checks)
    return world
}

struct SessionTests {
    @Test func aSessionNeedsARegisteredNode() throws {
        var world = World()
        try world.session("s1")
        #expect(world.failure == "Missing node registration")
        #expect(!world.hasSession("s1"))
        try world.register()
        #expect(try world.session("s1").sessionID == "s1")
        let answer = world.registry.session("s1")
        #expect(answer.value?.createIndex == 3 && answer.value?.modifyIndex == 3)
        #expect(answer.index == 3)
    }

    @Test func aSessionNeedsAnID() throws {
        var world = try worldWithNode()
        try world.session("")
        #expect(world.failure == "Missing session ID")
        try world.session("s1")
        try world.session("s1")
        #expect(world.failure == "Session \"s1\" exists already")
    }

    @Test func aSessionsChecksMustBeThereAndNotCritical() throws {
        let checks = [Make.check("good"), Make.check("warn", "warning"), Make.check("bad", "")]
        var world = try worldWithNode(checks: checks)
        try world.session("s1", checks: ["good", "none"])
        #expect(world.failure == "Missing check 'none' registration")
        try world.session("s1", serviceChecks: ["bad"])
        #expect(world.failure == "Check 'bad' is in critical state")
        try world.session("s1", checks: ["good", "warn"])
        #expect(world.hasSession("s1"))
    }

    @Test func everyFieldIsKept() throws {
        var world = try worldWithNode(checks: [Make.check("c")])
        var create = LogSessionCreate()
        create.id = "s1"
        create.name = "lock"
        create.node = "N1"
        create.nodeChecks = ["c"]
        create.lockDelayNs = 90_000_000_000
        create.behavior = .sessionDelete
        create.ttlNs = 15_000_000_000
        create.ttlText = "15.0s"
        try world.run(.sessionCreate(create))
        #expect(
            world.registry.session("s1").value
                == Session(
                    id: "s1", name: "lock", node: "N1", nodeChecks: ["c"], lockDelay: .seconds(90), behavior: .delete,
                    ttl: .seconds(15), ttlText: "15.0s", createIndex: 2, modifyIndex: 2))
    }

    @Test func sessionsAreListedWholeAndByNode() throws {
        var world = try worldWithNode()
        try world.register(node: "n2")
        try world.session("b")
        try world.session("a", node: "n2", ttlSeconds: 10)
        try world.session("c")
        #expect(world.registry.allSessions().value.map(\.id) == ["a", "b", "c"])
        #expect(world.registry.sessions(onNode: "N1").value.map(\.id) == ["b", "c"])
        #expect(world.registry.sessions(onNode: "n3").value.isEmpty)
        var ttls: [String] = []
        world.registry.forEachSessionWithTTL { id, ttl in ttls.append("\(id) \(ttl)") }
        #expect(ttls == ["a 10000ms"])
        #expect(world.registry.sessionTTL("a") == .seconds(10))
        #expect(world.registry.sessionTTL("b") == nil)
    }

    @Test func destroyingASessionMovesTheIndexOnceAndIsTrueForAnUnknownOne() throws {
        var world = try worldWithNode()
        try world.session("s1")
        try world.destroy("s1")
        #expect(world.last.ok)
        #expect(!world.hasSession("s1"))
        #expect(world.registry.allSessions().index == 3)
        try world.destroy("s1", "unknown")
        #expect(world.last.ok)
        #expect(world.registry.allSessions().index == 3)
        #expect(world.touched.isEmpty)
    }

    @Test func anUnknownBehaviourStopsTheServer() throws {
        var world = try worldWithNode()
        #expect(throws: RegistryError.unknownCommand("session behavior 7", LogIndex(2))) {
            try world.session("s1", behavior: .UNRECOGNIZED(7))
        }
    }

    @Test func deregisteringTheNodeEndsItsSessions() throws {
        var world = try worldWithNode()
        try world.session("s1")
        try world.acquire("k", by: "s1")
        try world.deregister(node: "n1")
        #expect(!world.hasSession("s1"))
        #expect(world.get("k")?.session == "")
        #expect(world.touched.contains(Touch(table: .sessions, key: "s1")))
    }

    @Test func aCheckThatTurnsCriticalEndsTheSessionsOnIt() throws {
        var world = try worldWithNode(checks: [Make.check("c"), Make.check("d")])
        try world.session("s1", checks: ["c"])
        try world.session("s2", serviceChecks: ["c", "d"])
        try world.session("s3", checks: ["d"])
        try world.register(checks: [Make.check("c", "warning")])
        #expect(world.hasSession("s1"))
        try world.register(checks: [Make.check("C", "critical")])
        #expect(!world.hasSession("s1") && !world.hasSession("s2") && world.hasSession("s3"))
    }

    @Test func aRemovedCheckEndsTheSessionsOnIt() throws {
        var world = try worldWithNode(checks: [Make.check("c"), Make.check("svc", service: "web")])
        try world.session("s1", checks: ["c"])
        try world.session("s2", serviceChecks: ["svc"])
        try world.deregister(node: "n1", check: "c")
        #expect(!world.hasSession("s1") && world.hasSession("s2"))
        try world.deregister(node: "n1", service: "web")
        #expect(!world.hasSession("s2"))
    }
}

struct LockTests {
    private func world(delaySeconds: UInt64 = 0, behavior: LogSessionBehavior = .sessionRelease) throws -> World {
        var world = try worldWithNode()
        try world.session("s1", delaySeconds: delaySeconds, behavior: behavior)
        try world.session("s2")
        return world
    }

    @Test func anUnknownSessionIsRefusedInConsulsWords() throws {
        var world = try self.world()
        try world.acquire("k", by: "nobody")
        #expect(world.failure == "invalid session \"nobody\"")
        try world.acquire("k", by: "")
        #expect(world.failure == "missing session")
        try world.release("k", by: "")
        #expect(world.failure == "missing session")
        #expect(world.get("k") == nil)
    }

    @Test func acquiringCountsLocksAndTakesTheValue() throws {
        var world = try self.world()
        #expect(try world.acquire("k", "1", by: "s1"))
        var entry = try #require(world.get("k"))
        #expect(entry.session == "s1" && entry.lockIndex == 1 && entry.value == [0x31])
        #expect(try !world.acquire("k", "2", by: "s2"))
        #expect(try world.acquire("k", "3", by: "s1"))
        entry = try #require(world.get("k"))
        #expect(entry.lockIndex == 1 && entry.value == [0x33])
        #expect(try world.release("k", "4", by: "s1"))
        entry = try #require(world.get("k"))
        #expect(entry.lockIndex == 1 && entry.session == "" && entry.value == [0x34])
        #expect(try world.acquire("k", "5", by: "s2"))
        #expect(world.get("k")?.lockIndex == 2)
    }

    @Test func onlyTheHolderReleases() throws {
        var world = try self.world()
        #expect(try !world.release("k", by: "s1"))
        try world.acquire("k", by: "s1")
        #expect(try !world.release("k", by: "s2"))
        #expect(world.get("k")?.session == "s1")
    }

    @Test func plainWritesKeepTheLock() throws {
        var world = try self.world()
        try world.acquire("k", "1", by: "s1")
        try world.put("k", "2")
        #expect(world.get("k")?.session == "s1")
        #expect(world.get("k")?.lockIndex == 1)
        let index = try #require(world.get("k")?.modifyIndex)
        #expect(try world.cas("k", "3", index))
        #expect(world.get("k")?.session == "s1")
    }

    @Test func anIdenticalReacquireMovesNoIndex() throws {
        var world = try self.world()
        try world.acquire("k", "1", by: "s1")
        let index = world.get("k")?.modifyIndex
        #expect(try world.acquire("k", "1", by: "s1"))
        #expect(world.get("k")?.modifyIndex == index)
    }

    @Test func aDestroyedSessionReleasesItsKeysAndKeepsTheirLockIndex() throws {
        var world = try self.world()
        try world.acquire("a", "1", by: "s1")
        try world.acquire("b", "1", by: "s1")
        try world.acquire("c", "1", by: "s2")
        try world.destroy("s1")
        #expect(world.get("a") == KVEntry(key: "a", value: [0x31], lockIndex: 1, createIndex: 4, modifyIndex: 7))
        #expect(world.get("b")?.session == "")
        #expect(world.get("c")?.session == "s2")
        #expect(world.touched.contains(Touch(table: .kv, key: "a")))
    }

    @Test func aSessionThatDeletesTakesItsKeysAlong() throws {
        var world = try self.world(behavior: .sessionDelete)
        try world.acquire("a/1", by: "s1")
        try world.put("a/2")
        try world.destroy("s1")
        #expect(world.get("a/1") == nil)
        #expect(world.get("a/2") != nil)
        #expect(world.registry.kvEntries(prefix: "a/").index == world.index)
    }

    @Test func aReleasedOrDeletedKeyIsNoLongerItsSessions() throws {
        var world = try self.world(behavior: .sessionDelete)
        try world.acquire("a", by: "s1")
        try world.release("a", by: "s1")
        try world.acquire("b", by: "s1")
        try world.delete("b")
        try world.put("b", "new")
        try world.acquire("c/1", by: "s1")
        try world.delete("c", .deleteTree)
        try world.put("c/1", "new")
        try world.destroy("s1")
        #expect(world.registry.kvKeys(prefix: "").value == ["a", "b", "c/1"])
    }

    @Test func theLockDelayHoldsAfterADestroyAndEndsInTime() throws {
        var world = try self.world(delaySeconds: 15)
        try world.acquire("k", by: "s1")
        try world.destroy("s1")
        #expect(try !world.acquire("k", by: "s2"))
        // An unknown session gets the same answer while the delay lasts.
        #expect(try !world.acquire("k", by: "nobody"))
        #expect(world.failure == "")
        world.pass(seconds: 14)
        #expect(try !world.acquire("k", by: "s2"))
        #expect(try world.put("k", "plain puts are free"))
        world.pass(seconds: 1)
        #expect(try world.acquire("k", by: "s2"))
        #expect(world.lockDelayCount == 0)
    }

    @Test func anExplicitReleaseHasNoLockDelay() throws {
        var world = try self.world(delaySeconds: 15)
        try world.acquire("k", by: "s1")
        try world.release("k", by: "s1")
        #expect(try world.acquire("k", by: "s2"))
    }

    @Test func aLockDelayOfZeroIsNone() throws {
        var world = try self.world(delaySeconds: 0)
        try world.acquire("k", by: "s1")
        try world.destroy("s1")
        #expect(try world.acquire("k", by: "s2"))
    }

    @Test func aLockDelayIsCappedAtAMinute() throws {
        var world = try self.world(delaySeconds: 3600)
        try world.acquire("k", by: "s1")
        try world.destroy("s1")
        world.pass(seconds: 59)
        #expect(try !world.acquire("k", by: "s2"))
        world.pass(seconds: 1)
        #expect(try world.acquire("k", by: "s2"))
    }

    @Test func aLockDelayHoldsForDeletedKeysToo() throws {
        var world = try self.world(delaySeconds: 15, behavior: .sessionDelete)
        try world.acquire("k", by: "s1")
        try world.destroy("s1")
        #expect(try !world.acquire("k", by: "s2"))
    }

    @Test func aClockThatWentBackFarDoesNotProlongALockDelay() throws {
        var world = try self.world(delaySeconds: 15)
        try world.acquire("k", by: "s1")
        world.pass(seconds: 100_000)
        try world.destroy("s1")
        world.now -= 100_000 * 1_000_000_000
        #expect(try world.acquire("k", by: "s2"))
    }

    @Test func endedLockDelaysAreRemovedInSmallSteps() throws {
        var world = try self.world(delaySeconds: 15)
        for number in 0..<20 { try world.acquire("k\(number)", by: "s1") }
        try world.destroy("s1")
        #expect(world.lockDelayCount == 20)
        world.pass(seconds: 20)
        var sizes: [Int] = []
        for step in 0..<4 {
            try world.put("step", "\(step)")
            sizes.append(world.lockDelayCount)
        }
        // The round that ended with the destroy stands in the middle of the table.
        #expect(sizes == [12, 8, 0, 0])
    }
}
