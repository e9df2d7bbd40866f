import Protocol
import Registry
import Testing
import Units

struct KVWriteTests {
    @Test func aPutStoresValueFlagsAndIndexes() throws {
        var world = World()
        world.skip(to: 4)
        #expect(try world.put("a", "1", flags: 42))
        let entry = try #require(world.get("a"))
        #expect(entry == KVEntry(key: "a", value: [0x31], flags: 42, createIndex: 5, modifyIndex: 5))
        #expect(world.last.index == 5)
        #expect(world.touched == [Touch(table: .kv, key: "a")])
    }

    @Test func anIdenticalPutMovesNoIndexAndWakesNobody() throws {
        var world = World()
        try world.put("a", "1", flags: 7)
        #expect(try world.put("a", "1", flags: 7))
        #expect(world.touched.isEmpty)
        #expect(world.get("a")?.modifyIndex == 1)
        #expect(world.registry.kvEntry("missing").index == 1)
        try world.put("a", "1", flags: 8)
        #expect(world.get("a")?.modifyIndex == 3)
        #expect(world.get("a")?.createIndex == 1)
    }

    @Test func aKeyWithoutNameIsRefused() throws {
        var world = World()
        try world.put("", "1")
        #expect(world.failure == "Missing key name")
        #expect(world.last.failure.kind == .failureInvalid)
        #expect(world.registry.kvCount == 0)
    }

    @Test func keysAreBytes() throws {
        var world = World()
        try world.put("\u{E9}", "composed")
        try world.put("e\u{301}", "decomposed")
        #expect(world.registry.kvCount == 2)
        #expect(world.get("\u{E9}")?.value == Array("composed".utf8))
    }

    @Test func compareAndSetWithZeroCreatesOnly() throws {
        var world = World()
        #expect(try world.cas("a", "1", 0))
        #expect(try !world.cas("a", "2", 0))
        #expect(world.get("a")?.value == [0x31])
        #expect(world.touched.isEmpty)
    }

    @Test func compareAndSetHoldsTheModifyIndexAgainstTheKeys() throws {
        var world = World()
        #expect(try !world.cas("a", "1", 1))
        try world.put("a", "1")
        #expect(try !world.cas("a", "2", 1))
        #expect(try world.cas("a", "2", 2))
        #expect(world.get("a")?.modifyIndex == 4)
    }

    @Test func deletingAnAbsentKeyMovesNoIndex() throws {
        var world = World()
        try world.put("a")
        #expect(try world.delete("b"))
        #expect(world.touched.isEmpty)
        #expect(world.registry.kvEntry("b").index == 1)
        #expect(try world.delete("none/", .deleteTree))
        #expect(world.registry.kvEntry("b").index == 1)
    }

    @Test func deleteWithCompareIsTrueForAnAbsentKeyAndFalseForAStaleIndex() throws {
        var world = World()
        #expect(try world.delete("a", .deleteCas, index: 0))
        #expect(try world.delete("a", .deleteCas, index: 99))
        try world.put("a")
        #expect(try !world.delete("a", .deleteCas, index: 0))
        #expect(try !world.delete("a", .deleteCas, index: 2))
        #expect(world.get("a") != nil)
        #expect(try world.delete("a", .deleteCas, index: 3))
        #expect(world.get("a") == nil)
    }

    @Test func deletingATreeTakesThePrefixAndNothingElse() throws {
        var world = World()
        for key in ["a", "a/", "a/1", "a/2", "a0", "b"] { try world.put(key) }
        #expect(try world.delete("a/", .deleteTree))
        #expect(world.registry.kvKeys(prefix: "").value == ["a", "a0", "b"])
        #expect(world.touched == [Touch(table: .kv, key: "a/", isPrefix: true)])
        #expect(try world.delete("", .deleteTree))
        #expect(world.registry.kvCount == 0)
    }

    @Test func unknownModesStopTheServer() throws {
        var world = World()
        #expect(throws: RegistryError.unknownCommand("KV put mode 9", LogIndex(1))) {
            try world.run(.kvPut(Make.put("a", mode: .UNRECOGNIZED(9))))
        }
        #expect(throws: RegistryError.unknownCommand("KV delete mode 9", LogIndex(2))) {
            try world.run(.kvDelete(Make.delete("a", .UNRECOGNIZED(9))))
        }
    }
}

struct KVIndexTests {
    @Test func anIndexIsNeverZero() {
        let registry = Registry()
        #expect(registry.kvEntry("a").index == 1)
        #expect(registry.kvEntries(prefix: "").index == 1)
        #expect(registry.kvKeys(prefix: "x").index == 1)
        #expect(registry.allNodes().index == 1)
        #expect(registry.allServices().index == 1)
        #expect(registry.health(ofService: "x").index == 1)
        #expect(registry.checks(inState: nil).index == 1)
        #expect(registry.allSessions().index == 1)
    }

    @Test func aMissingKeyCarriesTheHighestIndexOfAllKeys() throws {
        var world = World()
        try world.put("a")
        try world.put("b")
        #expect(world.registry.kvEntry("a").index == 1)
        #expect(world.registry.kvEntry("none").index == 2)
        try world.delete("a")
        #expect(world.registry.kvEntry("none").index == 3)
        #expect(world.registry.kvEntry("a").index == 3)
    }

    @Test func aPrefixCarriesTheHighestIndexUnderIt() throws {
        var world = World()
        try world.put("a/1")
        try world.put("a/2")
        try world.put("b")
        #expect(world.registry.kvEntries(prefix: "a/").index == 2)
        #expect(world.registry.kvKeys(prefix: "a/").index == 2)
        #expect(world.registry.kvEntries(prefix: "").index == 3)
        #expect(world.registry.kvEntries(prefix: "none").index == 3)
    }

    @Test func aDeletedKeyStillCountsForItsPrefix() throws {
        var world = World()
        try world.put("a/1")
        try world.put("a/2")
        try world.put("b")
        try world.delete("a/2")
        #expect(world.registry.kvEntries(prefix: "a/").index == 4)
        try world.put("b", "again")
        try world.delete("a/1")
        #expect(world.registry.kvEntries(prefix: "a/").value.isEmpty)
        #expect(world.registry.kvEntries(prefix: "a/").index == 6)
    }

    @Test func aDeletedTreeCountsForThePrefixesAboveIt() throws {
        var world = World()
        try world.put("a/x/1")
        try world.put("a/y")
        try world.delete("a/x/", .deleteTree)
        try world.put("b")
        #expect(world.registry.kvEntries(prefix: "a/").index == 3)
        #expect(world.registry.kvEntries(prefix: "a/x/").index == 3)
        // Below the deleted prefix neither keys nor tombstones are found: the highest index of all keys stands for it.
        #expect(world.registry.kvEntries(prefix: "a/x/1").index == 4)
    }

    @Test func tombstonesGoAfterAQuarterOfAnHour() throws {
        var world = World()
        try world.put("a/1")
        try world.put("a/2")
        try world.delete("a/2")
        world.pass(seconds: 899)
        try world.put("b")
        #expect(world.registry.kvEntries(prefix: "a/").index == 3)
        world.pass(seconds: 1)
        try world.put("b", "later")
        #expect(world.registry.kvEntries(prefix: "a/").index == 1)
    }

    @Test func tombstonesGoInSmallSteps() throws {
        var world = World()
        for number in 0..<40 { try world.put("a/\(number)") }
        for number in 0..<40 { try world.delete("a/\(number)") }
        world.pass(seconds: 1000)
        var sizes: [Int] = []
        for step in 0..<4 {
            try world.put("step", "\(step)")
            sizes.append(world.tombstoneCount)
        }
        #expect(sizes == [24, 8, 0, 0])
    }

    @Test func aClockThatWentBackDoesNotKeepTombstonesForEver() throws {
        var world = World()
        try world.put("a/1")
        world.pass(seconds: 100_000)
        try world.delete("a/1")
        world.now -= 100_000 * 1_000_000_000
        try world.put("b")
        #expect(world.tombstoneCount == 0)
    }

    @Test func keysAreCutAfterTheSeparator() throws {
        var world = World()
        for key in ["a/1", "a/b/1", "a/b/2", "a/c", "d", "e//f", "e//g"] { try world.put(key) }
        let registry = world.registry
        #expect(registry.kvKeys(prefix: "", separator: "/").value == ["a/", "d", "e/"])
        #expect(registry.kvKeys(prefix: "a/", separator: "/").value == ["a/1", "a/b/", "a/c"])
        #expect(registry.kvKeys(prefix: "a", separator: "/").value == ["a/"])
        #expect(registry.kvKeys(prefix: "e/", separator: "/").value == ["e//"])
        #expect(registry.kvKeys(prefix: "", separator: "//").value == ["a/1", "a/b/1", "a/b/2", "a/c", "d", "e//"])
        #expect(registry.kvKeys(prefix: "a/").value == ["a/1", "a/b/1", "a/b/2", "a/c"])
    }

    @Test func entriesComeInBytewiseOrder() throws {
        var world = World()
        for key in ["b", "a", "\u{E9}", "Z", "a/", "aa"] { try world.put(key) }
        #expect(world.registry.kvEntries(prefix: "").value.map(\.key) == ["Z", "a", "a/", "aa", "b", "\u{E9}"])
    }
}

extension World {
    var tombstoneCount: Int { self.rows { if case .tombstone = $0 { true } else { false } } }
    var lockDelayCount: Int { self.rows { if case .lockDelay = $0 { true } else { false } } }

    func rows(_ isCounted: (Row) -> Bool) -> Int {
        var count = 0
        self.registry.forEachRow { if isCounted($0) { count += 1 } }
        return count
    }
}

struct WatchTests {
    private func wakes(_ watch: [WatchKey], _ touched: [Touch]) -> Bool {
        watch.contains { key in touched.contains { key.isTouched(by: $0) } }
    }

    @Test func aKeysWatchIsTouchedByItsChangesAlone() throws {
        var world = World()
        try world.put("a/1")
        let watch = world.registry.kvEntry("a/1").watch
        try world.put("a/2")
        #expect(!self.wakes(watch, world.touched))
        try world.put("a/1", "x")
        #expect(self.wakes(watch, world.touched))
        try world.delete("a/", .deleteTree)
        #expect(self.wakes(watch, world.touched))
        try world.put("a/1", "y")
        try world.delete("a/1")
        #expect(self.wakes(watch, world.touched))
    }

    @Test func aPrefixWatchIsTouchedFromAboveAndBelow() throws {
        var world = World()
        try world.put("a/b/1")
        let watch = world.registry.kvEntries(prefix: "a/b").watch
        try world.put("a/c")
        #expect(!self.wakes(watch, world.touched))
        try world.put("a/b/2")
        #expect(self.wakes(watch, world.touched))
        try world.delete("a/b/2/", .deleteTree)
        #expect(!self.wakes(watch, world.touched))
        try world.delete("a/b/2", .deleteTree)
        #expect(self.wakes(watch, world.touched))
        try world.delete("a", .deleteTree)
        #expect(self.wakes(watch, world.touched))
    }

    @Test func tablesDoNotWakeEachOther() {
        #expect(!WatchKey.all(.kv).isTouched(by: Touch(table: .nodes, key: "a")))
        #expect(WatchKey.all(.nodes).isTouched(by: Touch(table: .nodes, key: "a")))
    }

    @Test func aWaitOnAMissingServiceIsWokenByItsFirstInstance() throws {
        var world = World()
        try world.register()
        let watch = world.registry.health(ofService: "Web").watch
        try world.register(service: Make.service("db"))
        #expect(!self.wakes(watch, world.touched))
        try world.register(service: Make.service("web"))
        #expect(self.wakes(watch, world.touched))
    }

    @Test func aNodesServicesAreWatchedPerNode() throws {
        var world = World()
        try world.register(node: "n1")
        try world.register(node: "n2")
        let watch = world.registry.nodeServices("n1").watch
        try world.register(node: "n2", service: Make.service("web"))
        #expect(!self.wakes(watch, world.touched))
        try world.register(node: "N1", service: Make.service("web"))
        #expect(self.wakes(watch, world.touched))
        try world.deregister(node: "n1", service: "web")
        #expect(self.wakes(watch, world.touched))
    }

    @Test func aCheckWakesItsNodeItsServiceAndItsState() throws {
        var world = World()
        try world.register(service: Make.service("web"), checks: [Make.check("c", service: "web")])
        let watches = [
            world.registry.checks(onNode: "n1").watch, world.registry.checks(ofService: "web").watch,
            world.registry.health(ofService: "web").watch, world.registry.checks(inState: .critical).watch,
        ]
        try world.register(checks: [Make.check("c", "critical", service: "web")])
        for watch in watches { #expect(self.wakes(watch, world.touched)) }
    }
}
