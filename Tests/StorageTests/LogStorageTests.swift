import FaultDisk
import Raft
import Storage
import Testing
import Units

@Suite struct LogStorageTests {
    @Test func whatWasCommittedIsThereAfterReopening() throws {
        let disk = freshDisk()
        do {
            let (log, recovery) = try open(disk)
            #expect(recovery.findings.isEmpty)
            #expect(recovery.restored.lastIndex == .zero)
            #expect(recovery.restored.firstIndex == LogIndex(1))
            let settled = Entry(term: Term(2), index: LogIndex(3), payload: .configuration(configuration(1, 2, 3)))
            let noop = Entry(term: Term(2), index: LogIndex(4), payload: .noop)
            try log.commit([batch(entries(1...2, term: 1), hard: vote(1, for: 7))])
            try log.commit([batch([settled, noop], hard: vote(2)), batch(entries(5...6, term: 2), commit: 4)])
        }
        let (log, recovery) = try open(disk)
        let restored = recovery.restored
        #expect(recovery.findings.isEmpty)
        #expect(restored.hardState == vote(2))
        #expect(restored.firstIndex == LogIndex(1) && restored.lastIndex == LogIndex(6))
        #expect(
            restored.termRuns == [.init(first: LogIndex(1), term: Term(1)), .init(first: LogIndex(3), term: Term(2))])
        #expect(restored.configurations.map(\.index) == [LogIndex(3)])
        #expect(restored.configurations.map(\.configuration) == [configuration(1, 2, 3)])
        #expect(restored.tail.map(\.index) == (1...6).map { LogIndex($0) })
        #expect(restored.tail.first == command(1, 1))
        #expect(restored.commitHint == LogIndex(4))
        #expect(restored.quarantinedUntil == nil)
        #expect(try log.term(at: LogIndex(2)) == Term(1))
        #expect(try log.term(at: LogIndex(7)) == nil)
        #expect(try log.chain(at: .zero) == [UInt8](repeating: 0, count: 16))
        #expect(try log.entries(from: LogIndex(5), to: LogIndex(9), maxBytes: 1000) == entries(5...6, term: 2))
    }

    @Test func everyCommitCostsOneSyncHoweverManyBatches() throws {
        let disk = freshDisk()
        let (log, _) = try open(disk)
        try log.commit([batch(entries(1...1, term: 1), hard: vote(1))])
        let before = disk.counters
        for round in 0..<20 {
            let first = UInt64(2 + round * 3)
            try log.commit([batch(entries(first...first, term: 1)), batch(entries((first + 1)...(first + 2), term: 1))])
        }
        #expect(disk.counters.syncs - before.syncs == 20)
        #expect(disk.counters.directorySyncs == before.directorySyncs)
    }

    @Test func aCommitIndexAloneWritesNothing() throws {
        let disk = freshDisk()
        let (log, _) = try open(disk)
        try log.commit([batch(entries(1...2, term: 1), hard: vote(1))])
        let before = disk.counters
        try log.commit([batch(commit: 2)])
        #expect(disk.counters == before)
    }

    @Test func truncationReplacesASuffixInOneTransactionWithWhatFollows() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...9, term: 1), hard: vote(1))])
            try log.writePromise()
            try log.commit([batch(entries(5...5, term: 3), truncateFrom: 5, hard: vote(3))])
            #expect(log.lastIndex == LogIndex(5) && log.lastTerm == Term(3))
        }
        // The promise was lowered first: taking back what was never committed is no loss.
        let (log, recovery) = try open(disk)
        #expect(recovery.findings.isEmpty)
        #expect(recovery.restored.quarantinedUntil == nil)
        #expect(recovery.restored.tail == entries(1...4, term: 1) + entries(5...5, term: 3))
        #expect(log.lastTerm == Term(3))
    }

    @Test func truncatingEverythingLeavesAnEmptyLogThatGoesOn() throws {
        let disk = freshDisk()
        let (log, _) = try open(disk)
        try log.commit([batch(entries(1...3, term: 1), hard: vote(1))])
        try log.commit([batch(entries(1...2, term: 2), truncateFrom: 1, hard: vote(2))])
        #expect(try log.entries(from: LogIndex(1), to: LogIndex(2), maxBytes: 1 << 20) == entries(1...2, term: 2))
    }

    @Test func equalLogsHaveEqualChainsAndDifferentOnesHaveNot() throws {
        let (one, _) = try open(freshDisk())
        let (other, _) = try open(freshDisk())
        try one.commit([batch(entries(1...5, term: 1), hard: vote(1))])
        try other.commit([batch(entries(1...2, term: 1), hard: vote(1)), batch(entries(3...5, term: 1))])
        #expect(try one.chain(at: LogIndex(5)) == other.chain(at: LogIndex(5)))
        try other.commit([batch(entries(4...5, term: 2), truncateFrom: 4, hard: vote(2))])
        #expect(try one.chain(at: LogIndex(3)) == other.chain(at: LogIndex(3)))
        #expect(try one.chain(at: LogIndex(5)) != other.chain(at: LogIndex(5)))
    }

    @Test func readingStopsAtTheBytesAskedForButGivesAtLeastOneEntry() throws {
        let (log, _) = try open(freshDisk())
        try log.commit([batch(entries(1...10, term: 1, bytes: 100), hard: vote(1))])
        #expect(try log.entries(from: LogIndex(2), to: LogIndex(8), maxBytes: 350).count == 3)
        #expect(try log.entries(from: LogIndex(2), to: LogIndex(8), maxBytes: 1).count == 1)
        #expect(
            try log.entries(from: LogIndex(2), to: LogIndex(8), maxBytes: 1 << 20).last == command(8, 1, bytes: 100))
        #expect(try log.entries(from: LogIndex(11), to: LogIndex(12), maxBytes: 100).isEmpty)
    }

    @Test func compactionRemovesInChunksAndTheChainGoesOn() throws {
        let disk = freshDisk()
        var chain: [UInt8] = []
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...100, term: 1), hard: vote(1))])
            chain = try #require(try log.chain(at: LogIndex(60)))
            #expect(try log.compact(through: LogIndex(50), limitRows: 20))
            #expect(log.firstIndex == LogIndex(21))
            #expect(try log.compact(through: LogIndex(50), limitRows: 20))
            #expect(try !log.compact(through: LogIndex(50), limitRows: 20))
            #expect(try !log.compact(through: LogIndex(50), limitRows: 20))
            #expect(log.firstIndex == LogIndex(51))
            #expect(try log.entries(from: LogIndex(50), to: LogIndex(60), maxBytes: 100).isEmpty)
            #expect(try log.term(at: LogIndex(50)) == Term(1))
            #expect(try log.term(at: LogIndex(49)) == nil)
        }
        let (log, recovery) = try open(disk, snapshot: meta(60, 1, chain: chain))
        #expect(recovery.findings.isEmpty)
        #expect(recovery.restored.firstIndex == LogIndex(51) && recovery.restored.termBeforeFirst == Term(1))
        try log.commit([batch(entries(101...101, term: 1))])
        #expect(try log.compact(through: LogIndex(101)) == false)
        #expect(log.firstIndex == LogIndex(102) && log.lastIndex == LogIndex(101))
        try log.commit([batch(entries(102...103, term: 2), hard: vote(2))])
        #expect(try log.entries(from: LogIndex(102), to: LogIndex(103), maxBytes: 1000) == entries(102...103, term: 2))
    }

    @Test func theTailHoldsEverythingBeyondTheSnapshotAndNotMuchElse() throws {
        let disk = freshDisk()
        var chain: [UInt8] = []
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...50, term: 1, bytes: 100), hard: vote(1))])
            chain = try #require(try log.chain(at: LogIndex(40)))
        }
        var settings = smallSettings
        settings.tailBytes = ByteCount(0)
        let snapshot = meta(40, 1, chain: chain)
        #expect(
            try open(disk, settings: settings, snapshot: snapshot).1.restored.tail.map(\.index)
                == (41...50).map { LogIndex($0) })
        settings.tailBytes = ByteCount(1500)
        #expect(try open(disk, settings: settings, snapshot: snapshot).1.restored.tail.first?.index == LogIndex(36))
    }

    @Test func anInstalledSnapshotReplacesALogThatDoesNotHoldIt() throws {
        let disk = freshDisk()
        let snapshot = meta(40, 5, chain: [UInt8](repeating: 9, count: 16))
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...60, term: 1), hard: vote(5))])
            try log.writePromise()
            try log.replaceLog(by: snapshot)
            #expect(log.firstIndex == LogIndex(41) && log.lastIndex == LogIndex(40) && log.lastTerm == Term(5))
            try log.commit([batch(entries(41...42, term: 5))])
        }
        let (log, recovery) = try open(disk, snapshot: snapshot)
        #expect(recovery.findings.isEmpty)
        #expect(recovery.restored.tail == entries(41...42, term: 5))
        #expect(recovery.restored.commitHint == LogIndex(40))
        #expect(try log.chain(at: LogIndex(40)) == snapshot.chain)
    }

    @Test func aLogThatHoldsTheSnapshotsLastEntryIsKept() throws {
        let (log, _) = try open(freshDisk())
        try log.commit([batch(entries(1...60, term: 1), hard: vote(1))])
        try log.replaceLog(by: meta(40, 1, chain: try #require(try log.chain(at: LogIndex(40)))))
        #expect(log.firstIndex == LogIndex(1) && log.lastIndex == LogIndex(60))
    }

    @Test func aSnapshotWhoseInstallWasCutOffBeforeTheLogIsFinishedAtTheNextStart() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            try log.commit([batch(entries(1...10, term: 1), hard: vote(4))])
            try log.writePromise()
        }
        let snapshot = meta(40, 4, chain: [UInt8](repeating: 9, count: 16))
        let (log, recovery) = try open(disk, snapshot: snapshot)
        #expect(recovery.findings.isEmpty)
        #expect(recovery.restored.firstIndex == LogIndex(41) && recovery.restored.lastIndex == LogIndex(40))
        try log.commit([batch(entries(41...41, term: 4))])
        #expect(log.lastIndex == LogIndex(41))
    }

    @Test func checkpointsComeWhenTheWriteAheadLogIsLongEnoughAndEmptyIt() throws {
        let disk = freshDisk()
        let (log, _) = try open(disk)
        try log.commit([batch(entries(1...1, term: 1), hard: vote(1))])
        #expect(try !log.checkpointIfDue())
        var index: UInt64 = 2
        while log.walPages < 64 {
            try log.commit([batch(entries(index...index, term: 1))])
            index += 1
        }
        #expect(try disk.size("/n1/raft.db-wal") ?? 0 > 64 * 4096)
        #expect(try log.checkpointIfDue())
        #expect(try disk.size("/n1/raft.db-wal") == 0)
        #expect(log.walPages == 0)
        try log.commit([batch(entries(index...index, term: 1))])
        #expect(log.walPages > 0)
    }

    @Test func scrubbingReadsAllOfTheLogRoundAfterRound() throws {
        let (log, _) = try open(freshDisk())
        #expect(try log.scrub(entries: 10) == .init(verified: 0, finished: true))
        try log.commit([batch(entries(1...25, term: 1), hard: vote(1))])
        #expect(try log.scrub(entries: 10) == .init(verified: 10, finished: false))
        #expect(try log.scrub(entries: 10) == .init(verified: 10, finished: false))
        #expect(try log.scrub(entries: 10) == .init(verified: 5, finished: true))
        #expect(try log.scrub(entries: 10) == .init(verified: 10, finished: false))
    }

    @Test func identityAndBootstrapPromiseOutliveARestart() throws {
        let disk = freshDisk()
        let identity = Identity(node: "0d1f3a52-0000-4000-8000-000000000001", cluster: "c1")
        let promised = BootstrapPromise(founder: NodeID(3), ballot: 8, configuration: configuration(1, 2, 3))
        do {
            let (log, _) = try open(disk)
            #expect(log.identity == nil && log.bootstrapPromise == nil)
            try log.setIdentity(identity)
            try log.setBootstrapPromise(promised)
        }
        let (log, recovery) = try open(disk)
        #expect(recovery.findings.isEmpty)
        #expect(log.identity == identity)
        #expect(log.bootstrapPromise == promised)
    }

    @Test func foundingWritesTheFirstEntryOnceAndOnlyIntoAnEmptyLog() throws {
        let disk = freshDisk()
        do {
            let (log, _) = try open(disk)
            #expect(try log.found(configuration(1, 2, 3)))
            #expect(try !log.found(configuration(4, 5, 6)))
        }
        let (_, recovery) = try open(disk)
        #expect(recovery.restored.hardState == vote(1))
        #expect(
            recovery.restored.tail == [
                Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration(1, 2, 3)))
            ])

        // A vote in a cluster that is lost with its disks does not stand against another founding.
        let (voted, _) = try open(freshDisk())
        try voted.commit([batch(hard: vote(3, for: 2))])
        #expect(try voted.found(configuration(1, 2, 3)))
        #expect(try voted.term(at: LogIndex(1)) == Term(3))
    }

    @Test func aJointConfigurationComesBackAsItWas() throws {
        let disk = freshDisk()
        let joint = Configuration(
            voters: [member(1), member(4)], outgoing: [member(1), member(2)], learners: [member(2), member(9)])
        let entry = Entry(term: Term(1), index: LogIndex(1), payload: .configuration(joint))
        do { try open(disk).0.commit([batch([entry], hard: vote(1))]) }
        #expect(try open(disk).1.restored.tail == [entry])
    }

    @Test func nothingIsDoneBeforeRecovery() throws {
        let log = try LogStorage(directory: "/n1", settings: smallSettings, fileSystem: freshDisk())
        #expect(throws: StorageError.invalid("recover() must be called before the log is used")) {
            try log.commit([batch(entries(1...1, term: 1))])
        }
        _ = try log.recover(snapshot: nil)
        #expect(throws: StorageError.invalid("recover() was called twice")) { _ = try log.recover(snapshot: nil) }
    }

    @Test func settingsThatMakeNoSenseAreNamed() {
        var settings = StorageSettings()
        settings.checkpointPagesOffset = -1000
        #expect(throws: StorageError.invalid("checkpointPages plus checkpointPagesOffset must be at least 8")) {
            _ = try LogStorage(directory: "/n1", settings: settings, fileSystem: freshDisk())
        }
    }
}
