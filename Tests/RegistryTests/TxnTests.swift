import Protocol
import Registry
import Testing
import Units

extension LogTxnResult {
    /// "position what" of each error.
    var texts: [String] { self.errors.map { "\($0.opIndex) \($0.what)" } }
}

struct TxnKVTests {
    @Test func writesAnswerWithoutValuesAndReadsWithThem() throws {
        var world = World()
        world.skip(to: 9)
        let answer = try world.txn(Make.kv(.kvSet, "a", "1", flags: 3), Make.kv(.kvGet, "a"))
        #expect(answer.errors.isEmpty)
        #expect(answer.rows.count == 2)
        #expect(answer.rows[0].kv.value.isEmpty && answer.rows[0].kv.flags == 3)
        #expect(answer.rows[0].kv.createIndex == 10 && answer.rows[0].kv.modifyIndex == 10)
        #expect(answer.rows[1].kv.value == data("1"))
    }

    @Test func allOrNothing() throws {
        var world = World()
        try world.put("b", "0")
        let before = world.registry.hashes
        let answer = try world.txn(
            Make.kv(.kvSet, "a", "1"), Make.kv(.kvDelete, "b"), Make.kv(.kvGet, "none"), Make.kv(.kvSet, "c", "1"))
        #expect(answer.rows.isEmpty)
        #expect(answer.texts == ["2 key \"none\" doesn't exist"])
        #expect(world.touched.isEmpty)
        #expect(world.get("a") == nil && world.get("b") != nil)
        #expect(world.registry.hashes.kv == before.kv && world.registry.hashes.tombstones == before.tombstones)
    }

    @Test func everyFailureIsNamedInConsulsWords() throws {
        var world = World()
        try world.register()
        try world.session("s1")
        try world.session("s2")
        try world.acquire("held", by: "s1")
        try world.put("k")
        let answer = try world.txn(
            Make.kv(.kvGet, "x"), Make.kv(.kvCas, "k", index: 1), Make.kv(.kvLock, "held", session: "s2"),
            Make.kv(.kvLock, "held", session: "none"), Make.kv(.kvUnlock, "held", session: "s2"),
            Make.kv(.kvUnlock, "x", session: "s2"), Make.kv(.kvCheckIndex, "k", index: 4),
            Make.kv(.kvCheckIndex, "x", index: 4), Make.kv(.kvCheckSession, "held", session: "s2"),
            Make.kv(.kvCheckSession, "x", session: "s2"), Make.kv(.kvCheckNotExists, "k"),
            Make.kv(.kvDeleteCas, "k", index: 1))
        #expect(
            answer.texts == [
                "0 key \"x\" doesn't exist", "1 failed to set key \"k\", index is stale",
                "2 failed to lock key \"held\", lock is already held", "3 invalid session \"none\"",
                "4 failed to unlock key \"held\", lock isn't held, or is held by another session",
                "5 failed to unlock key \"x\", lock isn't held, or is held by another session",
                "6 failed index check for key \"k\", current modify index 5 != 4",
                "7 failed to check index, key \"x\" doesn't exist",
                "8 failed session check for key \"held\", current session \"s1\" != \"s2\"",
                "9 failed to check session, key \"x\" doesn't exist", "10 key \"k\" exists",
                "11 failed to delete key \"k\", index is stale",
            ])
    }

    @Test func aWriteNeedsAKeyAndADeletedTreeDoesNot() throws {
        var world = World()
        try world.put("a")
        let answer = try world.txn(
            Make.kv(.kvSet, ""), Make.kv(.kvCas, ""), Make.kv(.kvGetTree, ""), Make.kv(.kvDeleteTree, ""))
        #expect(answer.texts == ["0 Must provide key", "1 Must provide key"])
        #expect(try world.txn(Make.kv(.kvGetTree, ""), Make.kv(.kvDeleteTree, "")).rows.count == 1)
        #expect(world.registry.kvCount == 0)
    }

    @Test func theVerbsThatHoldAnswerAsTheyShould() throws {
        var world = World()
        try world.register()
        try world.session("s1")
        try world.put("t/1", "one")
        try world.put("t/2", "two")
        let answer = try world.txn(
            Make.kv(.kvLock, "l", "v", session: "s1"), Make.kv(.kvCheckSession, "l", session: "s1"),
            Make.kv(.kvUnlock, "l", "w", session: "s1"), Make.kv(.kvCas, "t/1", "uno", index: 3),
            Make.kv(.kvCheckIndex, "t/2", index: 4), Make.kv(.kvCheckNotExists, "none"),
            Make.kv(.kvGetTree, "t/"), Make.kv(.kvGetOrEmpty, "none", flags: 9), Make.kv(.kvDelete, "t/1"),
            Make.kv(.kvDeleteCas, "none", index: 3), Make.kv(.kvDeleteTree, "t/"), Make.kv(.kvGetTree, "t/"))
        #expect(answer.texts.isEmpty)
        let keys = answer.rows.map { String(decoding: $0.kv.key, as: UTF8.self) }
        #expect(keys == ["l", "l", "l", "t/1", "t/2", "t/1", "t/2", "none"])
        #expect(answer.rows[0].kv.session == "s1" && answer.rows[0].kv.lockIndex == 1)
        #expect(answer.rows[2].kv.session == "")
        #expect(answer.rows[4].kv.value.isEmpty)
        #expect(answer.rows[5].kv.value == data("uno") && answer.rows[6].kv.value == data("two"))
        #expect(answer.rows[7].kv.modifyIndex == 0 && answer.rows[7].kv.value.isEmpty)
        #expect(world.registry.kvKeys(prefix: "").value == ["l"])
    }

    @Test func aLockDelayIsAnErrorAndComesAlone() throws {
        var world = World()
        try world.register()
        try world.session("s1", delaySeconds: 10)
        try world.session("s2")
        try world.acquire("k", by: "s1")
        try world.destroy("s1")
        let answer = try world.txn(Make.kv(.kvGet, "none"), Make.kv(.kvLock, "k", session: "s2"))
        #expect(answer.texts == ["1 failed to lock key \"k\" due to lock delay"])
        world.pass(seconds: 10)
        #expect(try world.txn(Make.kv(.kvLock, "k", session: "s2")).errors.isEmpty)
    }

    @Test func namesAreQuotedAsGoQuotesThem() throws {
        var world = World()
        var answer = try world.txn(Make.kv(.kvGet, "a\"b\\c\n\u{1}\u{E9}\u{200B}"))
        #expect(answer.texts == ["0 key \"a\\\"b\\\\c\\n\\x01\u{E9}\\u200b\" doesn't exist"])
        var operation = Make.kv(.kvGet, "")
        operation.kv.key = data("a")
        operation.kv.key.append(contentsOf: [0xFF, 0x62, 0xC3])
        answer = try world.txn(operation)
        #expect(answer.texts == ["0 key \"a\\xffb\\xc3\" doesn't exist"])
    }

    @Test func aSessionIsDeletedWithinATransaction() throws {
        var world = World()
        try world.register()
        try world.session("s1")
        try world.acquire("k", by: "s1")
        #expect(try world.txn(Make.sessionOperation(deleting: "s1")).errors.isEmpty)
        #expect(!world.hasSession("s1") && world.get("k")?.session == "")
    }

    @Test func aReadOnlyTransactionIsAnsweredWithoutTheLog() throws {
        var world = World()
        try world.put("a", "1")
        var txn = LogTxn()
        txn.ops = [Make.kv(.kvGet, "a"), Make.kv(.kvCheckNotExists, "b"), Make.nodeOperation(.rowGet, Make.node("n"))]
        #expect(Registry.isReadOnly(txn))
        #expect(world.registry.query(txn).texts == ["2 node \"n\" doesn't exist"])
        txn.ops.removeLast()
        #expect(world.registry.query(txn).rows.map(\.kv.value) == [data("1")])
        txn.ops.append(Make.kv(.kvSet, "a", "2"))
        #expect(!Registry.isReadOnly(txn))
        #expect(world.registry.query(txn).errors.count == 1)
        #expect(world.get("a")?.value == [0x31])
    }

    @Test func unknownVerbsAndEmptyOperationsStopTheServer() throws {
        var world = World()
        #expect(throws: RegistryError.unknownCommand("KV verb 99", LogIndex(1))) {
            try world.txn(Make.kv(.UNRECOGNIZED(99), "a"))
        }
        #expect(throws: RegistryError.unknownCommand("an operation within a transaction", LogIndex(2))) {
            try world.txn(LogTxnOp())
        }
        #expect(throws: RegistryError.unknownCommand("node verb 9", LogIndex(3))) {
            try world.txn(Make.nodeOperation(.UNRECOGNIZED(9), Make.node("n")))
        }
    }
}

struct TxnCatalogTests {
    @Test func nodesServicesAndChecksAreWrittenTogether() throws {
        var world = World()
        let answer = try world.txn(
            Make.nodeOperation(.rowSet, Make.node("n1")), Make.serviceOperation(.rowSet, on: "n1", Make.service("web")),
            Make.checkOperation(.rowSet, Make.check("c", node: "n1", service: "web")),
            Make.nodeOperation(.rowGet, Make.node("N1")), Make.serviceOperation(.rowGet, on: "n1", Make.service("web")),
            Make.checkOperation(.rowGet, Make.check("c", node: "n1")))
        #expect(answer.texts.isEmpty)
        #expect(answer.rows.count == 6)
        #expect(answer.rows[3].node.node.name == "n1" && answer.rows[3].node.indexes.modify == 1)
        #expect(answer.rows[4].service.service.port == 80 && answer.rows[4].service.node == "n1")
        #expect(answer.rows[5].check.check.serviceName == "web")
        #expect(world.registry.health(ofService: "web").value.count == 1)
    }

    @Test func failuresAreInConsulsWords() throws {
        var world = World()
        try world.register(service: Make.service("web"), checks: [Make.check("c")])
        let answer = try world.txn(
            Make.nodeOperation(.rowGet, Make.node("x")), Make.nodeOperation(.rowCas, Make.node("n1"), index: 9),
            Make.nodeOperation(.rowDeleteCas, Make.node("n1"), index: 9),
            Make.serviceOperation(.rowGet, on: "n1", Make.service("x")),
            Make.serviceOperation(.rowCas, on: "n1", Make.service("web"), index: 9),
            Make.serviceOperation(.rowDeleteCas, on: "n1", Make.service("web"), index: 9),
            Make.checkOperation(.rowGet, Make.check("x", node: "n1")),
            Make.checkOperation(.rowCas, Make.check("c", node: "n1"), index: 9),
            Make.checkOperation(.rowDeleteCas, Make.check("c", node: "n1"), index: 9),
            Make.serviceOperation(.rowSet, on: "x", Make.service("web")),
            Make.checkOperation(.rowSet, Make.check("c", node: "n1", service: "x")))
        #expect(
            answer.texts == [
                "0 node \"x\" doesn't exist", "1 failed to set node \"n1\", index is stale",
                "2 failed to delete node \"n1\", index is stale", "3 service \"x\" on node \"n1\" doesn't exist",
                "4 failed to set service \"web\" on node \"n1\", index is stale",
                "5 failed to delete service \"web\" on node \"n1\", index is stale",
                "6 check \"x\" on node \"n1\" doesn't exist",
                "7 failed to set check \"c\" on node \"n1\", index is stale",
                "8 failed to delete check \"c\" on node \"n1\", index is stale", "9 Missing node registration",
                "10 Missing service registration",
            ])
    }

    @Test func compareAndSetAndDeleteHoldOnTheRightIndex() throws {
        var world = World()
        try world.register(service: Make.service("web"), checks: [Make.check("c")])
        let answer = try world.txn(
            Make.nodeOperation(.rowCas, Make.node("n1", address: "10.9.9.9"), index: 1),
            Make.serviceOperation(.rowCas, on: "n1", Make.service("web", port: 81), index: 1),
            Make.checkOperation(.rowCas, Make.check("c", "warning", node: "n1"), index: 1),
            Make.serviceOperation(.rowCas, on: "n1", Make.service("new"), index: 0))
        #expect(answer.texts.isEmpty)
        #expect(world.registry.node(named: "n1").value?.address == "10.9.9.9")
        let more = try world.txn(
            Make.checkOperation(.rowDeleteCas, Make.check("c", node: "n1"), index: 2),
            Make.serviceOperation(.rowDeleteCas, on: "n1", Make.service("web"), index: 2),
            Make.serviceOperation(.rowDelete, on: "n1", Make.service("new")),
            Make.nodeOperation(.rowDeleteCas, Make.node("n1"), index: 2))
        #expect(more.texts.isEmpty)
        #expect(world.registry.allNodes().value.isEmpty)
    }
}
