import Protocol
import Registry
import Testing
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct RestoreTests {
    private func begin(_ world: inout World, _ bytes: [UInt8], hash: [UInt8], total: UInt64? = nil) throws {
        var begin = LogRestoreBegin()
        begin.id = 1
        begin.totalBytes = total ?? UInt64(bytes.count)
        begin.sha256.append(contentsOf: hash)
        try world.run(.restoreBegin(begin))
    }

    @discardableResult
    private func send(_ world: inout World, _ bytes: [UInt8], piece: Int = 100) throws -> Applied {
        var offset = 0
        while offset < bytes.count {
            var chunk = LogRestoreChunk()
            chunk.id = 1
            chunk.offset = UInt64(offset)
            chunk.data.append(contentsOf: bytes[offset..<min(bytes.count, offset + piece)])
            #expect(try world.run(.restoreChunk(chunk)).ok)
            offset += piece
        }
        return try self.commit(&world)
    }

    private func commit(_ world: inout World) throws -> Applied {
        var commit = LogRestoreCommit()
        commit.id = 1
        return try world.apply(world.envelope(.restoreCommit(commit)))
    }

    private func restore(_ registry: Registry, into world: inout World) throws -> Applied {
        let bytes = registry.encodedRows(.restorable)
        try self.begin(&world, bytes, hash: registry.hashes.restorable)
        return try self.send(&world, bytes)
    }

    @Test func theStateBecomesTheBackups() throws {
        let source = try RowTests.full()
        var world = World()
        world.skip(to: 5000)
        try world.put("mine")
        try world.register(node: "mine", service: Make.service("mine"))
        let applied = try self.restore(source.registry, into: &world)
        #expect(applied.result.ok && applied.everythingTouched)
        #expect(applied.touched.count == Table.allCases.count)
        #expect(world.registry.hashes.restorable == source.registry.hashes.restorable)
        #expect(world.get("mine") == nil && world.get("k/3")?.session == "s2")
        #expect(world.registry.allNodes().value.map(\.name) == ["n1"])
        #expect(world.registry.hashes == world.registry.recomputedHashes())
        #expect(world.registry.appliedIndex == LogIndex(world.index))
    }

    @Test func indexesAreNewWhereTheyCouldBeTakenForOldOnes() throws {
        let source = try RowTests.full()
        var world = World()
        world.skip(to: 5000)
        _ = try self.restore(source.registry, into: &world)
        let now = world.index
        let registry = world.registry
        #expect(registry.kvEntries(prefix: "").index == now)
        #expect(registry.kvEntries(prefix: "k/").index == now)
        #expect(registry.kvEntry("none").index == now)
        #expect(registry.health(ofService: "web").index == now)
        #expect(registry.health(ofService: "none").index == now)
        #expect(registry.allNodes().index == now && registry.allSessions().index == now)
        // A key keeps its own, for compare-and-set.
        #expect(registry.kvEntry("k/3").index == source.get("k/3")?.modifyIndex)
    }

    @Test func rowsFromAnotherClustersFutureCountAsWrittenNow() throws {
        let source = try RowTests.full()
        var world = World()
        _ = try self.restore(source.registry, into: &world)
        #expect(world.last.ok)
        let now = world.index
        #expect(now < 1000)
        #expect(world.get("k/3")?.modifyIndex == now && world.get("k/3")?.createIndex == now)
        #expect(world.registry.node(named: "n1").value?.modifyIndex == now)
        #expect(world.registry.allSessions().value.first?.createIndex == now)
        #expect(world.registry.hashes == world.registry.recomputedHashes())
        try world.destroy("s2")
        #expect(world.get("k/3") == nil)
    }

    @Test func whatBelongsToThisClustersLogStays() throws {
        var world = World()
        var revoke = LogRevokeNode()
        revoke.nodeID = 3
        try world.run(.revokeNode(revoke))
        let put = world.envelope(.kvPut(Make.put("a", "1")), client: 4, sequence: 1)
        try world.apply(put)
        _ = try self.restore(try RowTests.full().registry, into: &world)
        #expect(world.registry.isRevoked(NodeID(3)) && !world.registry.isRevoked(NodeID(9)))
        #expect(world.registry.featureLevel == 0)
        #expect(try world.apply(put).wasDuplicate)
        #expect(world.get("a") == nil)
        #expect(world.rows { if case .restoreStaging = $0 { true } else { false } } == 0)
    }

    @Test func aWholeRowStreamRestoresItsRestorablePart() throws {
        let source = try RowTests.full()
        var world = World()
        world.skip(to: 5000)
        let bytes = source.registry.encodedRows(.everything)
        try self.begin(&world, bytes, hash: source.registry.hashes.restorable)
        #expect(try self.send(&world, bytes).result.ok)
        #expect(!world.registry.isRevoked(NodeID(9)))
        #expect(world.registry.hashes.restorable == source.registry.hashes.restorable)
    }

    @Test func aRestoreSurvivesARestartHalfWay() throws {
        let source = try RowTests.full()
        var world = World()
        world.skip(to: 5000)
        let bytes = source.registry.encodedRows(.restorable)
        try self.begin(&world, bytes, hash: source.registry.hashes.restorable)
        var chunk = LogRestoreChunk()
        chunk.id = 1
        chunk.data.append(contentsOf: bytes[..<50])
        try world.run(.restoreChunk(chunk))
        world.registry = try Registry(encodedRows: world.registry.encodedRows())
        chunk.offset = 50
        chunk.data.removeAll()
        chunk.data.append(contentsOf: bytes[50...])
        try world.run(.restoreChunk(chunk))
        #expect(try self.commit(&world).result.ok)
        #expect(world.registry.hashes.restorable == source.registry.hashes.restorable)
    }

    @Test func aWrongHashOrDamagedBytesChangeNothing() throws {
        let source = try RowTests.full()
        let bytes = source.registry.encodedRows(.restorable)
        var world = World()
        try world.put("mine")
        let before = world.registry.hashes.restorable
        try self.begin(&world, bytes, hash: Array(repeating: 0, count: 16))
        #expect(try !self.send(&world, bytes).everythingTouched)
        #expect(world.failure == "the backup's rows do not have the hash that it names")
        var damaged = bytes
        damaged[3] ^= 1
        try self.begin(&world, damaged, hash: source.registry.hashes.restorable)
        try self.send(&world, damaged)
        #expect(world.failure == "unreadable row stream: this is no row stream of a known version")
        let short = Array(bytes.dropLast(3))
        try self.begin(&world, short, hash: source.registry.hashes.restorable)
        try self.send(&world, short)
        #expect(world.failure.hasPrefix("unreadable row stream: the stream is cut off"))
        #expect(world.registry.hashes.restorable == before)
        #expect(world.get("mine") != nil)
    }

    @Test func piecesMustComeInOrderAndFit() throws {
        var world = World()
        func chunk(_ id: UInt64, _ offset: UInt64, _ text: String) throws -> String {
            var chunk = LogRestoreChunk()
            chunk.id = id
            chunk.offset = offset
            chunk.data = data(text)
            try world.run(.restoreChunk(chunk))
            return world.failure
        }
        #expect(try chunk(1, 0, "abc") == "no restore 1 is under way")
        #expect(world.last.failure.kind == .failureNotFound)
        #expect(try self.commit(&world).result.failure.text == "no restore 1 is under way")
        try self.begin(&world, [], hash: Array(repeating: 0, count: 16), total: 5)
        #expect(try chunk(2, 0, "abc") == "no restore 2 is under way")
        #expect(try chunk(1, 1, "abc") == "a piece at 1 where 0 comes next")
        #expect(try chunk(1, 0, "abcdef") == "a piece of 6 bytes at 0 of 5")
        #expect(try chunk(1, 0, "") == "a piece of 0 bytes at 0 of 5")
        #expect(try chunk(1, 0, "abc") == "")
        #expect(try chunk(1, 0, "abc") == "a piece at 0 where 3 comes next")
        #expect(try self.commit(&world).result.failure.text == "3 of 5 bytes have arrived")
        #expect(try chunk(1, 3, "de") == "")
    }

    @Test func tooLargeABackupOrNoHashIsRefusedAtOnce() throws {
        var world = World()
        try self.begin(&world, [], hash: Array(repeating: 0, count: 16), total: (1 << 30) + 1)
        #expect(world.failure == "a backup of 1073741825 bytes is larger than 1073741824")
        try self.begin(&world, [], hash: [1, 2, 3])
        #expect(world.failure == "the hash of a backup has 16 bytes")
    }

    @Test func aRestoreThatNobodyGoesOnWithIsDropped() throws {
        var world = World()
        try self.begin(&world, [], hash: Array(repeating: 0, count: 16), total: 5)
        world.pass(seconds: 3601)
        try world.put("a")
        #expect(try self.commit(&world).result.failure.kind == .failureNotFound)
    }
}
