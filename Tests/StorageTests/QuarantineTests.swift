import FaultDisk
import Raft
import Storage
import Testing
import Units

@Suite struct QuarantineTests {
    private let identity = Identity(node: "0d1f3a52-0000-4000-8000-000000000001", cluster: "c1")

    /// A server that has acknowledged 40 entries in term 2 and voted for 3; `checkpointed` says where they lie.
    private func disk(checkpointed: Bool, promised: Bool = true) throws -> FaultDisk {
        let disk = freshDisk()
        var settings = smallSettings
        settings.checkpointPages = 8
        let (log, _) = try open(disk, settings: settings)
        try log.setIdentity(self.identity)
        try log.commit([batch(entries(1...20, term: 1), hard: vote(1))])
        for index in UInt64(21)...40 { try log.commit([batch(entries(index...index, term: 2), hard: vote(2, for: 3))]) }
        if promised { try log.writePromise() }
        if checkpointed { #expect(try log.checkpointIfDue()) }
        // Power loss may take the truncation back that ends a checkpoint; then the old frames hide what is in the
        // database.
        disk.crash(seed: 1, checkpointed ? .keepAll : .loseAll)
        return disk
    }

    /// Flips a bit wherever the text stands in the database: pages keep remains of what they once held.
    private func flip(_ text: String, on disk: FaultDisk) throws {
        let file = try disk.read("/n1/raft.db", at: 0, count: 1 << 20)
        let places = file.indices.filter { file[$0...].starts(with: Array(text.utf8)) }
        #expect(!places.isEmpty)
        for place in places { #expect(disk.flipBit("/n1/raft.db", at: UInt64(place), bit: 0)) }
    }

    @Test func aFlippedBitInTheMiddleOfTheWriteAheadLogQuarantines() throws {
        let disk = try self.disk(checkpointed: false)
        let size = try #require(try disk.size("/n1/raft.db-wal"))
        // Frame 15 of about 30, in its page.
        #expect(disk.flipBit("/n1/raft.db-wal", at: min(size - 1, 32 + 15 * 4120 + 2000), bit: 3))
        let (log, recovery) = try open(disk)
        #expect(log.lastIndex < LogIndex(40))
        #expect(recovery.restored.quarantinedUntil == LogIndex(40))
        #expect(!recovery.findings.isEmpty)
        // The vote of term 2 is not forgotten.
        #expect(recovery.restored.hardState == vote(2, for: 3))
        #expect(recovery.restored.commitHint == .zero)
    }

    @Test func aFlippedBitInTheWriteAheadLogIsNoticedEvenBeforeThePromiseWasWritten() throws {
        let disk = try self.disk(checkpointed: false, promised: false)
        #expect(disk.flipBit("/n1/raft.db-wal", at: 32 + 20 * 4120 + 2000, bit: 3))
        let (_, recovery) = try open(disk)
        #expect(recovery.restored.quarantinedUntil != nil)
        #expect(recovery.findings.contains { $0.contains("frame 20") })
    }

    @Test func anyFlippedBitInTheHeaderOfTheWriteAheadLogIsNoticed() throws {
        let disk = try self.disk(checkpointed: false, promised: false)
        let image = disk.image()
        for bit in 0..<256 {
            disk.restore(image)
            #expect(disk.flipBit("/n1/raft.db-wal", at: UInt64(bit / 8), bit: bit % 8))
            let (_, recovery) = try open(disk)
            #expect(recovery.restored.quarantinedUntil != nil, "bit \(bit)")
            #expect(recovery.findings.contains { $0.contains("header") }, "bit \(bit): \(recovery.findings)")
        }
    }

    @Test func aHeaderThatIsGoneAltogetherIsNoticed() throws {
        let disk = try self.disk(checkpointed: false, promised: false)
        try disk.write("/n1/raft.db-wal", at: 0, [UInt8](repeating: 0, count: 32))
        try disk.sync("/n1/raft.db-wal")
        let (_, recovery) = try open(disk)
        #expect(recovery.restored.quarantinedUntil != nil)
        #expect(recovery.findings.contains { $0.contains("header") })
    }

    @Test func aHeaderTornAfterACheckpointLeavesNothingThatLooksLikeDamageLater() throws {
        let disk = freshDisk()
        var settings = smallSettings
        settings.checkpointPages = 8
        let (first, _) = try open(disk, settings: settings)
        for index in UInt64(1)...40 { try first.commit([batch(entries(index...index, term: 1), hard: vote(1))]) }
        #expect(try first.checkpointIfDue())
        // The truncation that ended the checkpoint is lost, and the new header got no further than its third word.
        disk.crash(seed: 1, .loseAll)
        let count = try disk.read("/n1/raft.db-wal", at: 12, count: 4)
        try disk.write("/n1/raft.db-wal", at: 12, [count[0], count[1], count[2], count[3] + 1])
        try disk.sync("/n1/raft.db-wal")

        let (second, untroubled) = try open(disk)
        #expect(untroubled.findings == [] && second.lastIndex == LogIndex(40))
        for index in UInt64(41)...44 { try second.commit([batch(entries(index...index, term: 1))]) }
        let lastFrame = UInt64(32 + (second.walPages - 1) * 4120)
        // A crash tears the last transaction.
        disk.crash(seed: 1, .loseAll)
        #expect(disk.flipBit("/n1/raft.db-wal", at: lastFrame + 2000, bit: 0))

        let (third, recovery) = try open(disk)
        #expect(recovery.findings == [] && recovery.restored.quarantinedUntil == nil)
        #expect(third.lastIndex == LogIndex(43))
        withExtendedLifetime((first, second)) {}
    }

    @Test func damageInTheWriteAheadLogIsFoundOnceAndNotAgainAfterHealing() throws {
        for mode in FaultDisk.Crash.allCases {
            let disk = try self.disk(checkpointed: false)
            #expect(disk.flipBit("/n1/raft.db-wal", at: 32 + 15 * 4120 + 2000, bit: 3))
            do {
                let (log, recovery) = try open(disk)
                #expect(recovery.restored.quarantinedUntil == LogIndex(40))
                // It heals with few transactions, which overwrite few of the old frames.
                try log.commit([batch(entries(log.lastIndex.rawValue + 1...45, term: 2), commit: 45)])
                try log.liftQuarantine()
            }
            disk.crash(seed: 7, mode)
            let (log, recovery) = try open(disk)
            #expect(recovery.restored.quarantinedUntil == nil && recovery.findings.isEmpty, "\(mode)")
            #expect(log.lastIndex == LogIndex(45))
        }
    }

    @Test func aFlippedBitInAStoredEntryQuarantinesAndDiscardsFromThereOn() throws {
        let disk = try self.disk(checkpointed: true)
        try self.flip("entry 25 of 2", on: disk)
        let (log, recovery) = try open(disk)
        #expect(
            recovery.findings == [
                "the checksum of entry 25 is wrong", "the log ends at 24, but entries up to 40 were acknowledged",
            ])
        #expect(recovery.restored.lastIndex == LogIndex(24))
        #expect(recovery.restored.quarantinedUntil == LogIndex(40))
        #expect(recovery.restored.tail.last == command(24, 2))
        // It heals from the leader while in quarantine.
        try log.commit([batch(entries(25...41, term: 2), commit: 41)])
    }

    @Test func aQuarantineOutlivesRestartsUntilItIsLifted() throws {
        let disk = try self.disk(checkpointed: false)
        _ = disk.flipBit("/n1/raft.db-wal", at: 32 + 15 * 4120 + 2000, bit: 3)
        do { #expect(try open(disk).1.restored.quarantinedUntil == LogIndex(40)) }
        do {
            let (log, recovery) = try open(disk)
            #expect(recovery.findings.isEmpty)
            #expect(recovery.restored.quarantinedUntil == LogIndex(40))
            let next = log.lastIndex.next.rawValue
            try log.commit([batch(entries(next...45, term: 2), commit: 45)])
            try log.writePromise()
        }
        disk.crash(seed: 3, .loseAll)
        do {
            let (log, recovery) = try open(disk)
            #expect(recovery.restored.quarantinedUntil == LogIndex(40))
            #expect(recovery.restored.lastIndex == LogIndex(45))
            try log.liftQuarantine()
            #expect(log.quarantinedUntil == nil)
        }
        disk.crash(seed: 4, .loseAll)
        #expect(try open(disk).1.restored.quarantinedUntil == nil)
    }

    @Test func aRestoredBackupOfTheLogIsNoticedByThePromise() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            try log.setIdentity(self.identity)
            try log.commit([batch(entries(1...10, term: 1), hard: vote(1, for: 2))])
        }
        disk.crash(seed: 1, .keepAll)
        let backup = disk.image()
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(11...30, term: 2), hard: vote(2, for: 3))])
            try log.writePromise()
        }
        let promise = try disk.read("/n1/promise", at: 0, count: 8192)
        disk.restore(backup)
        try disk.write("/n1/promise", at: 0, promise)
        try disk.sync("/n1/promise")
        let (log, recovery) = try open(disk)
        #expect(recovery.restored.quarantinedUntil == LogIndex(30))
        #expect(recovery.restored.hardState == vote(2, for: 3))
        #expect(log.lastIndex == LogIndex(10))
    }

    @Test func aRolledBackLogThatWasWrittenOnDiffersAtThePromisedIndex() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...10, term: 1), hard: vote(1))])
            try log.writePromise()
        }
        let promise = try disk.read("/n1/promise", at: 0, count: 8192)
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(8...12, term: 1, bytes: 77), truncateFrom: 8)])
        }
        try disk.write("/n1/promise", at: 0, promise)
        let (_, recovery) = try open(disk)
        #expect(recovery.findings == ["entry 10 is not the one that was acknowledged"])
        #expect(recovery.restored.quarantinedUntil == LogIndex(12))
    }

    @Test func aMissingDatabaseBesideAPromiseQuarantinesAndKeepsTheIdentity() throws {
        let disk = try self.disk(checkpointed: true)
        try disk.remove("/n1/raft.db")
        try disk.remove("/n1/raft.db-wal")
        try disk.syncDirectory("/n1")
        let (log, recovery) = try open(disk)
        #expect(recovery.restored.quarantinedUntil == LogIndex(40))
        #expect(recovery.restored.hardState == vote(2, for: 3))
        #expect(log.identity == self.identity)
        #expect(try !log.found(configuration(1)))
        #expect(throws: StorageError.self) {
            try log.setBootstrapPromise(
                BootstrapPromise(founder: NodeID(1), ballot: 1, configuration: configuration(1)))
        }
    }

    @Test func oneDamagedSlotOfThePromiseIsWhatATornWriteLeavesBothAreDamage() throws {
        for slots in [[0], [1], [0, 1]] {
            let disk = try self.disk(checkpointed: true)
            for slot in slots { #expect(disk.flipBit("/n1/promise", at: UInt64(slot * 4096 + 40), bit: 1)) }
            let (_, recovery) = try open(disk)
            #expect((recovery.restored.quarantinedUntil != nil) == (slots.count == 2))
            #expect(recovery.restored.lastIndex == LogIndex(40))
        }
    }

    @Test func aDamagedTermAndVoteAreTakenFromThePromiseAndQuarantine() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            // A term that is easy to find in the file: 0x123456.
            try log.commit([batch(entries(1...3, term: 1), hard: vote(0x123456, for: 0x6543))])
        }
        let file = try disk.read("/n1/raft.db", at: 0, count: 1 << 20)
        let at = try #require(file.indices.first { file[$0...].starts(with: [0x12, 0x34, 0x56]) })
        #expect(disk.flipBit("/n1/raft.db", at: UInt64(at), bit: 7))
        let (_, recovery) = try open(disk)
        #expect(recovery.findings == ["the row of term and vote is damaged"])
        #expect(recovery.restored.hardState == vote(0x123456, for: 0x6543))
        #expect(recovery.restored.quarantinedUntil == LogIndex(3))
    }

    @Test func aCorruptDatabaseFileIsPutAsideAndTheServerStartsEmptyInQuarantine() throws {
        let disk = try self.disk(checkpointed: true)
        for offset in UInt64(0)..<16 { #expect(disk.flipBit("/n1/raft.db", at: offset, bit: 2)) }
        let (log, recovery) = try open(disk)
        #expect(recovery.restored.quarantinedUntil == LogIndex(40))
        #expect(log.identity == self.identity)
        #expect(try disk.size("/n1/raft.db.damaged") != nil)
        try log.commit([batch(entries(1...50, term: 2), commit: 50)])
    }

    @Test func aFlippedBitInTheTextOfTheTablesIsDamage() throws {
        let disk = try self.disk(checkpointed: true)
        let file = try disk.read("/n1/raft.db", at: 0, count: 4096)
        var caught = 0
        for word in ["CREATE TABLE", "term", "vote", "chain", "node", "promise", "sum"] {
            let bytes = Array(word.utf8)
            for at in file.indices where file[at...].starts(with: bytes) {
                for bit in [0, 1, 5] {
                    let copy = disk.crashedCopy(name: freshDiskName(), seed: 0, .loseAll)
                    #expect(copy.flipBit("/n1/raft.db", at: UInt64(at + 1), bit: bit))
                    // Everything, as before, or a quarantine; never an end of the server.
                    let (log, recovery) = try open(copy)
                    if let mark = recovery.restored.quarantinedUntil {
                        caught += 1
                        #expect(mark >= LogIndex(40))
                        #expect(try copy.size("/n1/raft.db.damaged") != nil)
                    }
                    #expect(log.identity == self.identity)
                }
            }
        }
        #expect(caught > 10)
    }

    /// However many bits are flipped, and with the write-ahead log gone: a server that lost its log says so and starts.
    @Test(arguments: 1...60) func aDatabaseFullOfFlippedBitsIsPutAsideOrMended(seed: UInt64) throws {
        let disk = try self.disk(checkpointed: true)
        try? disk.remove("/n1/raft.db-wal")
        let size = try #require(try disk.size("/n1/raft.db"))
        var state = seed &* 0x9E37_79B9_7F4A_7C15
        for _ in 0..<64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            #expect(disk.flipBit("/n1/raft.db", at: (state >> 20) % size, bit: Int(state >> 17 & 7)))
        }
        do {
            let (log, recovery) = try open(disk)
            #expect(try #require(recovery.restored.quarantinedUntil) >= LogIndex(40))
            #expect(log.identity == self.identity)
            let next = log.lastIndex.next.rawValue
            try log.commit([batch(entries(next...next + 60, term: 2), commit: next + 60)])
        } catch StorageError.newerFormat {
            // The byte that says which format it is.
        }
    }

    @Test func aGapBetweenSnapshotAndLogQuarantines() throws {
        let disk = freshDisk()
        var older: [UInt8] = []
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...50, term: 1), hard: vote(1))])
            older = try #require(try log.chain(at: LogIndex(10)))
            _ = try log.compact(through: LogIndex(30))
            try log.writePromise()
        }
        // The snapshot at 30 turned out bad; the one before it ends at 10.
        let (log, recovery) = try open(disk, snapshot: meta(10, 1, chain: older))
        #expect(recovery.restored.quarantinedUntil == LogIndex(50))
        #expect(log.firstIndex == LogIndex(11) && log.lastIndex == LogIndex(10))
        try log.commit([batch(entries(11...12, term: 1))])
    }

    @Test func damageFoundWhileRunningEndsTheLogAndTheRestartQuarantines() throws {
        let disk = try self.disk(checkpointed: true)
        let (log, _) = try open(disk)
        try self.flip("entry 30 of 2", on: disk)
        // This connection's cache may hide it, and must not make it worse; once it is out of the cache it is fatal.
        for _ in 0..<4 {
            do { _ = try log.scrub(entries: 10) } catch {
                #expect(error == .fatal("reading the log: damaged(\"the checksum of entry 30 is wrong\")"))
                #expect(throws: StorageError.self) { try log.commit([batch(entries(41...41, term: 2))]) }
            }
        }
        disk.crash(seed: 1, .keepAll)
        let again = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: disk)
        #expect(try again.recover(snapshot: nil).restored.quarantinedUntil == LogIndex(40))
    }

    /// Every so many bytes of both files a bit is flipped: what comes out is either everything or a quarantine.
    @Test func noFlippedBitAnywhereBecomesSilence() throws {
        var flips = 0
        var caught = 0
        for checkpointed in [false, true] {
            let disk = try self.disk(checkpointed: checkpointed)
            var expected = ModelLog()
            do {
                let copy = disk.crashedCopy(name: freshDiskName(), seed: 0, .loseAll)
                let (log, recovery) = try open(copy)
                expected = try contents(log, recovery)
            }
            let file = checkpointed ? "/n1/raft.db" : "/n1/raft.db-wal"
            let size = try #require(try disk.size(file))
            for offset in stride(from: UInt64(0), to: size, by: 211) {
                let copy = disk.crashedCopy(name: freshDiskName(), seed: 0, .loseAll)
                #expect(copy.flipBit(file, at: offset, bit: Int(offset % 8)))
                flips += 1
                do {
                    let (log, recovery) = try open(copy)
                    let found = try contents(log, recovery)
                    if let mark = recovery.restored.quarantinedUntil {
                        caught += 1
                        #expect(mark >= LogIndex(40))
                    } else {
                        #expect(found == expected, "\(file) at \(offset)")
                        #expect(log.identity == self.identity)
                    }
                    #expect(recovery.restored.commitHint <= LogIndex(40))
                } catch StorageError.newerFormat {
                    // The byte that says which format it is.
                    caught += 1
                }
            }
        }
        #expect(flips > 700 && caught > 100, "\(caught) of \(flips)")
    }
}
