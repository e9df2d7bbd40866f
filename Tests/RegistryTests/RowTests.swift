import Protocol
import Registry
import Testing
import Units

struct RowTests {
    /// A registry with a row of every kind.
    static func full() throws -> World {
        var world = World()
        world.skip(to: 1020)
        var service = Make.service("web", tags: ["a", "b"])
        service.meta = ["k": "v"]
        service.taggedAddresses["lan"] = .with(address: "10.0.0.1", port: 80)
        service.proxyJson = data("{}")
        try world.register(
            id: "11111111-2222-3333-4444-555555555555", service: service,
            checks: [Make.check("c", service: "web", output: "fine"), Make.check("serfHealth")])
        try world.session("s1", checks: ["c"], delaySeconds: 30, ttlSeconds: 10)
        try world.session("s2", behavior: .sessionDelete)
        try world.acquire("k/1", "v", by: "s1")
        try world.acquire("k/2", "v", by: "s1")
        try world.destroy("s1")
        try world.put("gone")
        try world.delete("gone")
        try world.acquire("k/3", by: "s2")
        var txn = LogTxn()
        txn.ops = [Make.kv(.kvGet, "k/1")]
        try world.apply(world.envelope(.txn(txn), client: 5, sequence: 3, lowest: 2))
        try world.apply(world.envelope(.kvPut(Make.put("x")), client: 5, sequence: 4, lowest: 2))
        var revoke = LogRevokeNode()
        revoke.nodeID = 9
        revoke.name = "server-9"
        try world.run(.revokeNode(revoke))
        var level = LogSetFeatureLevel()
        level.level = 2
        try world.run(.setFeatureLevel(level))
        var begin = LogRestoreBegin()
        begin.id = 77
        begin.totalBytes = 10
        begin.sha256 = data("0123456789abcdef")
        try world.run(.restoreBegin(begin))
        for piece in ["abc", "defg"] {
            var chunk = LogRestoreChunk()
            chunk.id = 77
            chunk.offset = piece == "abc" ? 0 : 3
            chunk.data = data(piece)
            try world.run(.restoreChunk(chunk))
        }
        return world
    }

    private func kinds(_ registry: Registry) -> Set<String> {
        var kinds: Set<String> = []
        registry.forEachRow { kinds.insert(String("\($0)".prefix { $0 != "(" })) }
        return kinds
    }

    @Test func rowsOfEveryKindMakeAnEqualRegistry() throws {
        let registry = try Self.full().registry
        #expect(
            self.kinds(registry) == [
                "kv", "tombstone", "lockDelay", "session", "node", "service", "check", "tableIndex", "serviceIndex",
                "dedupClient", "dedupResult", "revokedNode", "restoreStaging", "restoreChunk", "hashMark", "meta",
            ])
        var rows: [Row] = []
        registry.forEachRow { rows.append($0) }
        let loaded = try Registry(rows: rows)
        var again: [Row] = []
        loaded.forEachRow { again.append($0) }
        #expect(rows == again)
        #expect(loaded.hashes == registry.hashes)
        #expect(loaded.recomputedHashes() == registry.hashes)
        #expect(loaded.appliedIndex == registry.appliedIndex && loaded.appliedTerm == registry.appliedTerm)
        #expect(loaded.newestWallTime == registry.newestWallTime && loaded.newestWallTime > 0)
        #expect(loaded.latestRememberedHash?.hash == registry.latestRememberedHash?.hash)
        #expect(loaded.featureLevel == 2 && loaded.isRevoked(NodeID(9)))
    }

    @Test func aLoadedRegistryBehavesLikeTheOneItWas() throws {
        var world = try Self.full()
        var loaded = world
        loaded.registry = try Registry(encodedRows: world.registry.encodedRows())
        func both(_ change: (inout World) throws -> Void) throws {
            try change(&world)
            try change(&loaded)
            #expect(world.last == loaded.last && world.touched == loaded.touched)
            #expect(world.registry.combinedHash == loaded.registry.combinedHash)
        }
        try both { try $0.session("s3") }
        try both { try $0.acquire("k/1", by: "s3") }
        #expect(!world.last.ok)
        try both { try $0.destroy("s2") }
        try both { try $0.register(checks: [Make.check("c", "critical", service: "web")]) }
        try both { try $0.apply($0.envelope(.kvPut(Make.put("x", "2")), client: 5, sequence: 4, lowest: 2)) }
        try both { try $0.deregister(node: "n1") }
        #expect(!loaded.hasSession("s3"))
        try both {
            $0.pass(seconds: 5000)
            try $0.put("later")
        }
    }

    @Test(arguments: [1, 7, 64, 1000, 1 << 20])
    func aStreamMayBeCutAnywhere(pieceBytes: Int) throws {
        let registry = try Self.full().registry
        var decoder = RowStreamDecoder()
        var loaded = Registry()
        let bytes = registry.encodedRows()
        var offset = 0
        while offset < bytes.count {
            decoder.feed(Array(bytes[offset..<min(bytes.count, offset + pieceBytes)]))
            offset += pieceBytes
            while let row = try decoder.next() { try loaded.load(row) }
        }
        try decoder.finish()
        #expect(loaded.hashes == registry.hashes)
    }

    @Test func theStreamIsHandedOutInPieces() throws {
        var world = World()
        for number in 0..<100 { try world.put("k\(number)", String(repeating: "x", count: 100)) }
        var pieces: [[UInt8]] = []
        world.registry.encodeRows(pieceBytes: 1000) { pieces.append($0) }
        #expect(pieces.count > 5)
        #expect(pieces.dropLast().allSatisfy { $0.count >= 1000 && $0.count < 1400 })
        #expect(pieces.flatMap { $0 } == world.registry.encodedRows())
    }

    @Test func aStreamThatIsCutOffOrAlteredIsRefused() throws {
        let bytes = try Self.full().registry.encodedRows()
        for length in 0..<bytes.count {
            #expect(throws: RegistryError.self) { try Registry(encodedRows: Array(bytes[..<length])) }
        }
        #expect(throws: RegistryError.self) { try Registry(encodedRows: bytes + [0]) }
        #expect(throws: RegistryError.badRow("this is no row stream of a known version")) {
            try Registry(encodedRows: Array("SERAIRW2".utf8) + bytes.dropFirst(8))
        }
    }

    /// Whatever the bytes, reading them ends in a registry or an error.
    @Test(arguments: [UInt64(1), 2, 3])
    func damagedStreamsNeverTrap(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bytes = try Self.full().registry.encodedRows()
        var errors = 0
        for _ in 0..<1500 {
            var damaged = bytes
            for _ in 0...random.below(3) {
                let position = 8 + random.below(bytes.count - 8)
                switch random.below(3) {
                case 0: damaged[position % damaged.count] = UInt8(truncatingIfNeeded: random.next())
                case 1: damaged.remove(at: position % damaged.count)
                default: damaged.insert(0xFF, at: position % damaged.count)
                }
            }
            do {
                let registry = try Registry(encodedRows: damaged)
                #expect(registry.hashes == registry.recomputedHashes())
            } catch {
                errors += 1
            }
        }
        #expect(errors > 500)
    }

    @Test func rowsThatCannotBeAreRefused() {
        #expect(throws: RegistryError.badRow("a table named \"x\"")) {
            try Registry(rows: [.tableIndex(name: "x", index: 1)])
        }
        #expect(throws: RegistryError.badRow("an unknown value \"x\"")) {
            try Registry(rows: [.meta(key: "x", value: Array(repeating: 0, count: 8))])
        }
        #expect(throws: RegistryError.badRow("\"applied-index\" of 2 bytes")) {
            try Registry(rows: [.meta(key: "applied-index", value: [1, 2])])
        }
        #expect(throws: RegistryError.badRow("a hash of 3 bytes")) {
            try Registry(rows: [.hashMark(index: 1024, hash: [1, 2, 3])])
        }
        #expect(throws: RegistryError.badRow("a restore's chunk at 5, out of order")) {
            try Registry(rows: [.restoreChunk(offset: 5, bytes: [])])
        }
        #expect(throws: RegistryError.self) {
            try Registry(rows: [.dedupResult(client: 1, sequence: 1, result: [9])])
        }
    }
}
