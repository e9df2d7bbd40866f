import Protocol
import Registry
import SwiftProtobuf
import Testing
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct DeterminismTests {
    /// Three servers: one applies, one applies what came over the wire, one starts anew from rows every so often.
    @Test(arguments: [UInt64(1), 2, 3, 4])
    func serversThatApplyTheSameLogAreEqual(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        var other = Registry()
        var restarted = Registry()
        for step in 0..<2500 {
            if generator.random.chance(10) { world.pass(seconds: UInt64(generator.random.below(400))) }
            if generator.random.chance(1) { world.term += 1 }
            let envelope = generator.envelope(world)
            let applied = try world.apply(envelope)
            let bytes: [UInt8] = try envelope.serializedBytes()
            let received = try LogEnvelope(serializedBytes: bytes)
            let theirs = try other.apply(received, at: LogIndex(world.index), term: Term(world.term))
            #expect(theirs.result == applied.result && theirs.touched == applied.touched)
            let third = try restarted.apply(received, at: LogIndex(world.index), term: Term(world.term))
            #expect(third.result == applied.result && third.touched == applied.touched)
            #expect(third.wasDuplicate == applied.wasDuplicate)
            if step % 100 == 0 {
                #expect(world.registry.hashes == other.hashes)
                #expect(world.registry.hashes == restarted.hashes)
                let rows = world.registry.encodedRows()
                #expect(rows == other.encodedRows())
                restarted = try Registry(encodedRows: rows)
                #expect(restarted.encodedRows() == rows)
            }
        }
        #expect(world.registry.combinedHash == restarted.combinedHash)
        #expect(world.registry.latestRememberedHash?.index == LogIndex(2048))
        #expect(world.registry.latestRememberedHash?.hash == restarted.latestRememberedHash?.hash)
    }

    @Test(arguments: [UInt64(11), 12, 13])
    func theHashesKeptByApplyAreThoseMadeFromScratch(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        for step in 0..<3000 {
            if generator.random.chance(10) { world.pass(seconds: UInt64(generator.random.below(400))) }
            try world.apply(generator.envelope(world))
            if step % 50 == 0 { #expect(world.registry.hashes == world.registry.recomputedHashes()) }
        }
        #expect(world.registry.hashes == world.registry.recomputedHashes())
    }

    @Test(arguments: [UInt64(21), 22])
    func aSnapshotIsUntouchedByWhatIsAppliedLater(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        var snapshots: [(registry: Registry, rows: [UInt8])] = []
        for step in 0..<600 {
            try world.apply(generator.envelope(world))
            if step % 40 == 0 { snapshots.append((world.registry, world.registry.encodedRows())) }
        }
        for (registry, rows) in snapshots { #expect(registry.encodedRows() == rows) }
    }

    @Test func aCommandThatIsRefusedChangesNothingButTheWindow() throws {
        var world = World()
        try world.register()
        let before = world.registry.hashes
        try world.session("s1", node: "none")
        try world.acquire("k", by: "none")
        try world.register(node: "")
        try world.register(checks: [Make.check("c", service: "none")])
        #expect(world.registry.hashes == before)
    }
}

struct StateHashTests {
    @Test func theOrderInWhichRowsCameDoesNotMatter() throws {
        var there = Registry()
        var back = Registry()
        let rows = (0..<200).map { Row.kv(KVEntry(key: ByteKey("k\($0)"), value: [UInt8($0)], modifyIndex: 1)) }
        for row in rows { try there.load(row) }
        for row in rows.reversed() { try back.load(row) }
        #expect(there.hashes == back.hashes)
        #expect(there.hashes != Registry().hashes)
    }

    @Test func everyFieldCounts() throws {
        let base = KVEntry(
            key: "k", value: [1], flags: 1, lockIndex: 1, session: "s", createIndex: 1, modifyIndex: 1)
        var others = [base, base, base, base, base, base, base, base]
        others[1].value = [2]
        others[2].flags = 2
        others[3].lockIndex = 2
        others[4].session = "t"
        others[5].createIndex = 2
        others[6].modifyIndex = 2
        others[7].key = "l"
        let hashes = try others.map { entry in try Registry(rows: [.kv(entry)]).hashes.kv }
        #expect(Set(hashes).count == others.count)
    }

    @Test func bytesThatMoveBetweenFieldsChangeTheHash() throws {
        let one = try Registry(rows: [.node(Node(id: "ab", name: "n", address: "c"))]).hashes
        let two = try Registry(rows: [.node(Node(id: "a", name: "n", address: "bc"))]).hashes
        #expect(one.nodes != two.nodes)
    }

    @Test func hashesAreRememberedAtEvery1024thIndexForAWhile() throws {
        var world = World()
        world.skip(to: 1023)
        try world.put("a")
        let hash = world.registry.combinedHash
        #expect(world.registry.rememberedHash(at: LogIndex(1024)) == hash)
        #expect(world.registry.rememberedHash(at: LogIndex(1023)) == nil)
        world.skip(to: 1024 * 65)
        #expect(world.registry.rememberedHash(at: LogIndex(1024)) == nil)
        #expect(world.registry.rememberedHash(at: LogIndex(2048)) == hash)
        #expect(world.registry.latestRememberedHash?.index == LogIndex(1024 * 65))
    }

    @Test func aServerWhoseHashDiffersStops() throws {
        var world = World()
        world.skip(to: 1023)
        try world.put("a")
        var command = LogStateHash()
        command.atIndex = 1024
        var hash = world.registry.combinedHash
        command.hash.append(contentsOf: hash)
        #expect(try world.run(.stateHash(command)).ok)
        hash[3] ^= 1
        command.hash.removeAll()
        command.hash.append(contentsOf: hash)
        #expect(throws: RegistryError.stateDiverged(LogIndex(1024))) { try world.run(.stateHash(command)) }
        command.atIndex = 77
        #expect(try world.run(.stateHash(command)).ok)
        var inBatch = LogBatch()
        command.atIndex = 1024
        inBatch.commands = [.with(.stateHash(command))]
        #expect(throws: RegistryError.stateDiverged(LogIndex(1024))) { try world.run(.batch(inBatch)) }
    }
}
