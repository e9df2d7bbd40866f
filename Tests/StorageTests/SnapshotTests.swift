import Crypto
import FaultDisk
import Foundation
import GRDB
import Raft
import Registry
import Storage
import Testing
import Units

@Suite struct SnapshotTests {
    private func registry(index: UInt64 = 90, keys: Int = 20) throws -> Registry {
        var rows: [RegistryRow] = [
            .meta(key: "applied-index", value: bigEndian(index)), .meta(key: "applied-term", value: bigEndian(3)),
            .meta(key: "feature-level", value: bigEndian(1)), .meta(key: "sweep-client", value: bigEndian(7)),
            .meta(key: "sweep-lock-delay", value: Array("lock/".utf8)), .tableIndex(name: "kv", index: 88),
        ]
        for number in 0..<keys {
            rows.append(
                .kv(
                    KVEntry(
                        key: ByteKey("app/key-\(1000 + number)"), value: Array("value \(number)".utf8),
                        flags: UInt64(number),
                        createIndex: 10, modifyIndex: UInt64(20 + number))))
        }
        rows += [
            .kv(KVEntry(key: ByteKey("caf\u{E9}"), value: [], flags: .max, createIndex: 1, modifyIndex: 2)),
            .kv(
                KVEntry(key: ByteKey("cafe\u{301}"), value: [0, 1, 0xFF], lockIndex: 3, createIndex: 1, modifyIndex: 2)),
            .kv(KVEntry(key: ByteKey([0xFE, 0x00, 0x41]), value: [0xC3, 0x28], createIndex: 1, modifyIndex: 2)),
            .session(
                Session(
                    id: "5e55-1", name: "it's \"mine\"", node: "n1", nodeChecks: ["serfHealth"],
                    serviceChecks: ["a", ""],
                    lockDelay: .seconds(15), behavior: .delete, ttl: .seconds(30), ttlText: "30s", createIndex: 5,
                    modifyIndex: 6)),
            .node(
                Node(
                    id: "0d1f3a52-0000-4000-8000-000000000001", name: "n1", address: "10.0.0.1", datacenter: "dc1",
                    taggedAddresses: StringMap(["lan": "10.0.0.1", "wan": "1.2.3.4"]),
                    meta: StringMap([.init(key: "\u{E9}", value: "one"), .init(key: "e\u{301}", value: "two\n\u{1}")]),
                    createIndex: 4, modifyIndex: 5)),
            .service(
                ServiceInstance(
                    node: "n1", id: "web-1", name: "web", kind: "typical", tags: ["v2", "v1", "v2"],
                    address: "10.0.0.9", port: 8080,
                    taggedAddresses: [TaggedServiceAddress(tag: "lan", address: "10.0.0.9", port: 8080)],
                    meta: StringMap(["version": "2"]), weightPassing: 10, weightWarning: 1, enableTagOverride: true,
                    socketPath: "/run/web.sock", proxyJSON: Array("{\"Mode\":\"\"}".utf8), connectJSON: [],
                    createIndex: 7,
                    modifyIndex: 8)),
            .check(
                HealthCheck(
                    node: "n1", id: "web:alive", name: "alive", status: .warning, notes: "n", output: "o\u{0}o",
                    serviceID: "web-1", serviceName: "web", serviceTags: ["v2", "v1", "v2"], type: "http",
                    interval: "10s",
                    timeout: "1s", definitionJSON: Array("{}".utf8), createIndex: 9, modifyIndex: 9)),
            .tombstone(key: ByteKey("gone"), index: 33, wallTime: 1_700_000_000_000_000_000),
            .lockDelay(key: ByteKey("lock/a"), until: 1_700_000_000_000_000_001),
            .serviceIndex(name: ByteKey("web"), index: 8),
            .revokedNode(id: 0xFFFF_FFFF_0000_0001, name: "old"),
            .hashMark(index: 64, hash: [UInt8](repeating: 7, count: 16)),
        ]
        return try Registry(rows: rows)
    }

    private func bigEndian(_ number: UInt64) -> [UInt8] {
        stride(from: UInt64(56), through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    private func rows(_ registry: Registry) -> [RegistryRow] {
        var rows: [RegistryRow] = []
        registry.forEachRow { rows.append($0) }
        return rows
    }

    private let chain = [UInt8](1...16)

    private func write(_ store: SnapshotStore, _ index: UInt64 = 90, keys: Int = 20) throws -> SnapshotMeta {
        try store.write(
            try self.registry(index: index, keys: keys), index: LogIndex(index), term: Term(3),
            configuration: configuration(1, 2, 3), configurationIndex: LogIndex(40), chain: self.chain)
    }

    @Test func aSnapshotComesBackRowForRow() throws {
        let store = try SnapshotStore(directory: "/n1/snapshots", fileSystem: freshDisk())
        let registry = try self.registry()
        let meta = try self.write(store)
        #expect(meta.index == LogIndex(90) && meta.term == Term(3) && meta.chain == self.chain)
        #expect(meta.sha256.count == 32 && meta.totalBytes > 0)
        #expect(self.rows(try store.load(meta)) == self.rows(registry))
        let newest = try store.newest()
        #expect(newest.meta == meta)
        #expect(newest.findings.isEmpty)
        #expect(self.rows(try #require(newest.registry)) == self.rows(registry))
    }

    @Test func anybodyCanQueryASnapshotWithSQL() throws {
        let directory = try TemporaryDirectory()
        let store = try SnapshotStore(directory: "\(directory.path)/snapshots")
        let meta = try self.write(store)
        let path = "\(directory.path)/snapshots/snapshot-90-3.db"
        #expect(try PosixFileSystem().size(path) == meta.totalBytes)
        let bytes = try PosixFileSystem().read(path, at: 0, count: Int(meta.totalBytes))
        #expect(meta.sha256 == Array(SHA256.hash(data: bytes)))
        var readOnly = GRDB.Configuration()
        readOnly.readonly = true
        try DatabaseQueue(path: path, configuration: readOnly).read { database in
            let service = try #require(try GRDB.Row.fetchOne(database, sql: "SELECT * FROM services WHERE name='web'"))
            #expect(service["port"] as Int == 8080)
            #expect(service["tags"] as String == #"["v2","v1","v2"]"#)
            #expect(service["proxy"] as String == #"{"Mode":""}"#)
            let value = try String.fetchOne(database, sql: "SELECT value FROM kv WHERE key='app/key-1003'")
            #expect(value == "value 3")
            let wan = try String.fetchOne(
                database, sql: "SELECT json_extract(tagged_addresses,'$.wan') FROM nodes WHERE name='n1'")
            #expect(wan == "1.2.3.4")
            #expect(try Int.fetchOne(database, sql: "SELECT value FROM snapshot WHERE key='index'") == 90)
            #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
        }
    }

    @Test func theNewestTwoAreKept() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        for index in [UInt64(9), 10, 11] { _ = try self.write(store, index) }
        #expect(
            try disk.list("/s") == ["snapshot-10-3.db", "snapshot-10-3.meta", "snapshot-11-3.db", "snapshot-11-3.meta"])
        #expect(try store.newest().meta?.index == LogIndex(11))
    }

    @Test func aBadNewestSnapshotFallsBackToTheOneBeforeAndIsReported() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        _ = try self.write(store, 10)
        let meta = try self.write(store, 20)
        #expect(disk.flipBit("/s/snapshot-20-3.db", at: meta.totalBytes / 2, bit: 1))
        let newest = try store.newest()
        #expect(newest.meta?.index == LogIndex(10))
        #expect(newest.findings == ["snapshot-20-3: the file's SHA-256 is wrong"])
        #expect(disk.flipBit("/s/snapshot-10-3.meta", at: 30, bit: 1))
        let none = try store.newest()
        #expect(none.meta == nil && none.registry == nil)
        #expect(none.findings.count == 2)
    }

    @Test func aSnapshotOfANewerFormatIsRefusedAndNoOlderOneStandsInForIt() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        _ = try self.write(store, 10)
        _ = try self.write(store, 20)
        // The format number stands behind the magic.
        #expect(disk.flipBit("/s/snapshot-20-3.meta", at: 11, bit: 3))
        #expect(throws: StorageError.newerFormat(file: "/s/snapshot-20-3.meta", found: 9, supported: 1)) {
            _ = try store.newest()
        }
    }

    @Test func aCrashWhileASnapshotIsWrittenLeavesTheOldOneOrTheNewOne() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        _ = try self.write(store, 9)
        _ = try self.write(store, 10)
        disk.crash(seed: 0, .keepAll)
        let rows = [
            9: try self.rows(self.registry(index: 9)), 10: try self.rows(self.registry(index: 10)),
            20: try self.rows(self.registry(index: 20)),
        ]
        var points = 0
        var complaints: [String] = []
        try disk.observing {
            points += 1
            for mode in [FaultDisk.Crash.loseAll, .subset, .torn] {
                let copy = disk.crashedCopy(name: freshDiskName(), seed: UInt64(points), mode)
                do {
                    let newest = try SnapshotStore(directory: "/s", fileSystem: copy).newest()
                    let index = Int(newest.meta?.index.rawValue ?? 0)
                    if index != 10 && index != 20 {
                        complaints.append("\(points) \(mode): \(index) \(newest.findings)")
                    }
                    if newest.registry.map({ self.rows($0) }) != rows[index] {
                        complaints.append("\(points) \(mode): other rows")
                    }
                    // The next one can be written, whatever lies about.
                    if points % 8 == 0 { _ = try self.write(SnapshotStore(directory: "/s", fileSystem: copy), 30) }
                } catch { complaints.append("\(points) \(mode): \(error)") }
            }
        } during: {
            _ = try self.write(store, 20)
        }
        #expect(complaints.isEmpty, "\(complaints.count) of \(points): \(complaints.prefix(3))")
        #expect(points > 20)
    }

    @Test func aSnapshotThatDoesNotFitIsRefusedAndTheOldOneStays() throws {
        let disk = freshDisk()
        let store = try SnapshotStore(directory: "/s", fileSystem: disk)
        _ = try self.write(store, 10)
        let used = disk.bytesUsed
        disk.setCapacity(used + 20_000)
        #expect(throws: StorageError.diskFull) { _ = try self.write(store, 20, keys: 2000) }
        #expect(disk.bytesUsed <= used)
        #expect(try store.newest().meta?.index == LogIndex(10))
        disk.setCapacity(nil)
        #expect(try self.write(store, 20, keys: 2000).index == LogIndex(20))
    }

    // MARK: - Transfer

    private func chunk(_ store: SnapshotStore, _ meta: SnapshotMeta, _ offset: UInt64, _ bytes: Int = 5000) throws
        -> Message.SnapshotChunk
    {
        let read = try #require(try store.readChunk(meta, offset: offset, maxBytes: bytes))
        return Message.SnapshotChunk(
            meta: meta, offset: offset, data: read.data, checksum: read.checksum, isLast: read.isLast)
    }

    @Test func aSnapshotTravelsInChunksAndResumesAfterARestart() throws {
        let sender = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let meta = try self.write(sender, keys: 400)
        let disk = freshDisk()
        let receiver = try SnapshotStore(directory: "/r", fileSystem: disk)
        var offset: UInt64 = 0
        var chunks = 0
        while true {
            let piece = try self.chunk(sender, meta, offset)
            // Out of place and damaged pieces are not stored; the answer says what is wanted.
            var damaged = piece
            damaged.data[0] ^= 1
            #expect(try receiver.storeChunk(damaged) == offset)
            var ahead = piece
            ahead.offset += 1
            #expect(try receiver.storeChunk(ahead) == offset)
            offset = try receiver.storeChunk(piece)
            #expect(try receiver.storeChunk(piece) == offset)
            chunks += 1
            if chunks == 3 {
                disk.crash(seed: 0, .keepAll)
                #expect(try receiver.storeChunk(self.chunk(sender, meta, 0)) == offset)
            }
            if piece.isLast { break }
        }
        #expect(offset == meta.totalBytes && chunks > 5)
        #expect(self.rows(try receiver.finish(meta)) == self.rows(try sender.load(meta)))
        #expect(try receiver.newest().meta == meta)
        #expect(try disk.list("/r") == ["snapshot-90-3.db", "snapshot-90-3.meta"])
        // Asked again, it is there already.
        #expect(try receiver.finish(meta).appliedIndex == LogIndex(90))
    }

    @Test func aDamagedSnapshotGivesWayToAGoodCopyOfItself() throws {
        let sender = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let meta = try self.write(sender)
        let disk = freshDisk()
        let receiver = try SnapshotStore(directory: "/r", fileSystem: disk)
        _ = try receiver.storeChunk(self.chunk(sender, meta, 0, .max))
        _ = try receiver.finish(meta)
        let file = try #require(try disk.list("/r").first { $0.hasSuffix(".db") })
        #expect(disk.flipBit("/r/\(file)", at: 5000, bit: 0))
        #expect(try receiver.newest().meta == nil)
        _ = try receiver.storeChunk(self.chunk(sender, meta, 0, .max))
        _ = try receiver.finish(meta)
        let newest = try receiver.newest()
        #expect(newest.meta == meta && newest.findings.isEmpty)
    }

    @Test func aReceivedFileThatIsNotWholeIsThrownAway() throws {
        let sender = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let meta = try self.write(sender)
        let disk = freshDisk()
        let receiver = try SnapshotStore(directory: "/r", fileSystem: disk)
        _ = try receiver.storeChunk(self.chunk(sender, meta, 0, 4096))
        #expect(throws: StorageError.corrupt("the file has 4096 bytes instead of \(meta.totalBytes)")) {
            _ = try receiver.finish(meta)
        }
        #expect(try disk.list("/r").isEmpty)
        _ = try receiver.storeChunk(self.chunk(sender, meta, 0, .max))
        let part = try #require(try disk.list("/r").first)
        #expect(disk.flipBit("/r/\(part)", at: 5000, bit: 0))
        #expect(throws: StorageError.corrupt("the file's SHA-256 is wrong")) { _ = try receiver.finish(meta) }
        #expect(try receiver.newest().meta == nil)
    }

    @Test(arguments: [false, true])
    func aReceivedSnapshotWhoseSyncOrWriteFailedIsReceivedAnew(_ failsSync: Bool) throws {
        let sender = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let meta = try self.write(sender)
        let expected = self.rows(try self.registry())
        for nth in 1...20 as ClosedRange<UInt64> {
            let disk = freshDisk()
            let receiver = try SnapshotStore(directory: "/r", fileSystem: disk)
            _ = try receiver.storeChunk(self.chunk(sender, meta, 0, .max))
            if failsSync { disk.failSync(nth: nth) } else { disk.failWrite(nth: nth) }
            do {
                _ = try receiver.finish(meta)
                #expect(nth > 1, "nothing failed")
                return
            } catch {}
            // Whoever asks again, in this process or the next, gets it only once it is durable.
            if nth % 2 == 0 { disk.crash(seed: nth, .keepAll) }
            var attempts = 0
            while true {
                attempts += 1
                try #require(attempts < 4)
                do {
                    #expect(self.rows(try receiver.finish(meta)) == expected)
                    break
                } catch {
                    guard case .corrupt = error else { throw error }
                    let next = try receiver.storeChunk(self.chunk(sender, meta, meta.totalBytes, .max))
                    _ = try receiver.storeChunk(self.chunk(sender, meta, next, .max))
                }
            }
            disk.crash(seed: nth, .loseAll)
            let newest = try receiver.newest()
            #expect(newest.meta == meta && newest.findings.isEmpty, "failure \(nth): \(newest.findings)")
        }
        Issue.record("there is no end of things that can fail")
    }

    @Test func aNewTransferReplacesTheRemainsOfAnother() throws {
        let sender = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let first = try self.write(sender, 10)
        let second = try self.write(sender, 20)
        let disk = freshDisk()
        let receiver = try SnapshotStore(directory: "/r", fileSystem: disk)
        #expect(try receiver.storeChunk(self.chunk(sender, first, 0, 4096)) == 4096)
        #expect(try receiver.storeChunk(self.chunk(sender, second, 0, 4096)) == 4096)
        #expect(try disk.list("/r").count == 1)
    }

    @Test func aSnapshotThatIsGoneCanNotBeRead() throws {
        let store = try SnapshotStore(directory: "/s", fileSystem: freshDisk())
        let old = try self.write(store, 10)
        _ = try self.write(store, 20)
        _ = try self.write(store, 30)
        #expect(try store.readChunk(old, offset: 0, maxBytes: 100) == nil)
    }

    @Test func theLogStartsFromTheNewestSnapshotAndGoesOn() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...90, term: 3), hard: vote(3))])
            let store = try SnapshotStore(directory: "/n1/snapshots", fileSystem: disk)
            _ = try store.write(
                try self.registry(), index: LogIndex(90), term: Term(3), configuration: configuration(1, 2, 3),
                configurationIndex: LogIndex(40), chain: try #require(try log.chain(at: LogIndex(90))))
            while try log.compact(through: LogIndex(80)) {}
            try log.commit([batch(entries(91...95, term: 3))])
        }
        let log = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: disk)
        let recovery = try log.recover(snapshots: SnapshotStore(directory: "/n1/snapshots", fileSystem: disk))
        #expect(recovery.findings.isEmpty)
        #expect(recovery.registry?.appliedIndex == LogIndex(90))
        #expect(recovery.restored.snapshot?.index == LogIndex(90))
        #expect(recovery.restored.firstIndex == LogIndex(81))
        #expect(recovery.restored.tail.last == command(95, 3))
    }
}
