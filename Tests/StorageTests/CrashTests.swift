import FaultDisk
import Raft
import Storage
import Testing
import Units

@Suite struct CrashTests {
    /// Recovers a disk and says what is wrong with it: it must hold what was there before the step or after it, and a
    /// crash alone must never look like damage.
    private func complaint(_ disk: FaultDisk, before: ModelLog, after: ModelLog) -> String? {
        do {
            let (log, recovery) = try open(disk, snapshot: before.snapshot)
            let found = try contents(log, recovery)
            if !recovery.findings.isEmpty { return "findings: \(recovery.findings)" }
            if recovery.restored.quarantinedUntil != nil { return "quarantined" }
            if found != before && found != after {
                return
                    "log \(found.first)...\(found.last) \(found.hard), not \(before.first)...\(before.last) \(before.hard)"
                    + " or \(after.first)...\(after.last) \(after.hard)"
            }
            // It works on from there.
            let next = found.last + 1
            try log.commit([batch([command(next, max(1, max(found.hard.term.rawValue, found.lastTerm)))])])
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func aCrashAtAnyWriteOrSyncLosesNothingThatWasAcknowledged() throws {
        let disk = freshDisk()
        var script = Script(seed: 11)
        var model = ModelLog()
        var points = 0
        var complaints: [String] = []
        var settings = smallSettings
        settings.checkpointPages = 24
        let log = try LogStorage(directory: "/n1", settings: settings, fileSystem: disk)
        _ = try log.recover(snapshot: nil)
        for number in 0..<200 {
            var (step, after) = script.next(model)
            if let snapshot = try snapshot(for: step, in: log) {
                model.snapshot = snapshot
                after.snapshot = snapshot
            }
            let before = model
            try disk.observing {
                points += 1
                for mode in [FaultDisk.Crash.loseAll, .subset, .torn] {
                    let crashed = disk.crashedCopy(name: freshDiskName(), seed: UInt64(points), mode)
                    if let text = complaint(crashed, before: before, after: after) {
                        complaints.append("step \(number) \(step), point \(points), \(mode): \(text)")
                    }
                }
            } during: {
                try perform(step, on: log, &model)
            }
            model = after
        }
        #expect(complaints.isEmpty, "\(complaints.count) of \(points): \(complaints.prefix(3))")
        // Vacuous otherwise.
        #expect(points > 800)
    }

    @Test func aCrashWhileTheDirectoryIsMadeLeavesAFreshOneOrAWholeOne() throws {
        let disk = freshDisk()
        var points = 0
        var complaints: [String] = []
        try disk.observing {
            points += 1
            for mode in [FaultDisk.Crash.loseAll, .subset, .torn, .keepAll] {
                for seed in 0..<8 {
                    let crashed = disk.crashedCopy(name: freshDiskName(), seed: UInt64(points * 8 + seed), mode)
                    if let text = complaint(crashed, before: ModelLog(), after: ModelLog()) {
                        complaints.append("point \(points), \(mode): \(text)")
                    }
                }
            }
        } during: {
            _ = try open(disk)
        }
        #expect(complaints.isEmpty, "\(complaints.count) of \(points): \(complaints.prefix(3))")
        #expect(points > 10)
    }

    /// Runs every step of a script with the nth write (or sync) in it failing, for every n that there is.
    private func sweepFailures(steps: Int, seed: UInt64, _ arm: (FaultDisk, UInt64) -> Void) throws -> (
        cases: Int, [String]
    ) {
        var disk = freshDisk()
        var script = Script(seed: seed)
        var model = ModelLog()
        var cases = 0
        var complaints: [String] = []
        do { _ = try open(disk) }
        for number in 0..<steps {
            var (step, after) = script.next(model)
            var nth: UInt64 = 1
            while true {
                let copy = disk.crashedCopy(name: freshDiskName(), seed: 0, .keepAll)
                let (log, _) = try open(copy, snapshot: model.snapshot)
                if let snapshot = try snapshot(for: step, in: log) {
                    model.snapshot = snapshot
                    after.snapshot = snapshot
                }
                let before = model
                arm(copy, nth)
                do {
                    try perform(step, on: log, &model)
                    arm(copy, 0)
                    disk = copy
                    break
                } catch let error as StorageError {
                    cases += 1
                    guard case .fatal = error else {
                        complaints.append("step \(number), \(nth): \(error) is not fatal")
                        break
                    }
                    do {
                        try log.commit([batch([command(model.last + 1, 99)])])
                        complaints.append("step \(number), \(nth): works on after a failure")
                    } catch {}
                    let mode = FaultDisk.Crash.allCases[cases % 4]
                    copy.crash(seed: UInt64(cases), mode)
                    if let text = complaint(copy, before: before, after: after) {
                        complaints.append("step \(number) \(step), failure \(nth), \(mode): \(text)")
                    }
                }
                nth += 1
            }
            model = after
        }
        return (cases, complaints)
    }

    @Test func everyFailedWriteIsFatalAndNothingAcknowledgedIsLost() throws {
        let (cases, complaints) = try sweepFailures(steps: 200, seed: 5) { $0.failWrite(nth: $1) }
        #expect(complaints.isEmpty, "\(complaints.count) of \(cases): \(complaints.prefix(3))")
        #expect(cases > 600)
    }

    @Test func everyFailedSyncIsFatalAndNothingAcknowledgedIsLost() throws {
        let (cases, complaints) = try sweepFailures(steps: 200, seed: 6) { $0.failSync(nth: $1) }
        #expect(complaints.isEmpty, "\(complaints.count) of \(cases): \(complaints.prefix(3))")
        #expect(cases > 150)
    }

    @Test func aFailedSyncMayComeBackFromTheDeadButOnlyAsItWasWritten() throws {
        let disk = freshDisk()
        let (log, _) = try open(disk)
        try log.commit([batch(entries(1...3, term: 1), hard: vote(1))])
        disk.failSync(nth: 1)
        #expect(throws: StorageError.self) { try log.commit([batch(entries(4...4, term: 1))]) }
        // The process retries nothing; after its death the row may be there.
        #expect(throws: StorageError.self) { try log.commit([batch(entries(4...4, term: 1, bytes: 99))]) }
        disk.crash(seed: 1, .keepAll)
        #expect(try open(disk).1.restored.tail == entries(1...4, term: 1))
    }

    @Test func aFullDiskRollsBackAndTheLogGoesOnWhenThereIsRoomAgain() throws {
        for room in stride(from: UInt64(0), to: 60_000, by: 1_500) {
            let disk = freshDisk()
            var script = Script(seed: 21)
            var model = ModelLog()
            let (log, _) = try open(disk)
            for _ in 0..<20 {
                let (step, after) = script.next(model)
                if case .compact = step { continue }
                try perform(step, on: log, &model)
                model = after
            }
            disk.setCapacity(disk.bytesUsed + room)
            var refusals = 0
            for _ in 0..<40 {
                let (step, after) = script.next(model)
                if case .compact = step { continue }
                do {
                    try perform(step, on: log, &model)
                } catch StorageError.diskFull {
                    refusals += 1
                    #expect(log.lastIndex.rawValue == model.last)
                    if refusals > 3 { disk.setCapacity(nil) }
                    continue
                }
                model = after
            }
            #expect(refusals > 0)
            disk.crash(seed: room, .loseAll)
            let (again, recovery) = try open(disk)
            #expect(try contents(again, recovery) == model)
            #expect(recovery.findings.isEmpty)
        }
    }

    @Test func theReserveIsGivenUpOnAFullDiskAndTakenAgainWhenThereIsRoom() throws {
        let disk = freshDisk()
        var settings = smallSettings
        settings.reserveBytes = .kibibytes(256)
        let (log, _) = try open(disk, settings: settings)
        #expect(try disk.size("/n1/reserve") == 256 * 1024)
        #expect(log.hasRoom())
        try log.commit([batch(entries(1...1, term: 1), hard: vote(1))])
        disk.setCapacity(disk.bytesUsed + 10_000)
        #expect(throws: StorageError.diskFull) { try log.commit([batch(entries(2...30, term: 1, bytes: 4000))]) }
        #expect(try disk.size("/n1/reserve") == nil)
        // A vote has room now, and the log says that there is none for entries.
        try log.commit([batch(hard: vote(2, for: 3))])
        #expect(!log.hasRoom())
        disk.setCapacity(nil)
        #expect(log.hasRoom())
        try log.commit([batch(entries(2...30, term: 2, bytes: 4000))])
        #expect(log.lastIndex == LogIndex(30))
    }
}
