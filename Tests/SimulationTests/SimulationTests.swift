import Simulation
import Testing

@Suite struct SimulationTests {
    /// Small runs of the whole; campaigns of thousands are `simulate`'s.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func clustersSurviveTheirSeedsAtLevelZero(_ stretch: UInt64) {
        for seed in (1 + stretch * 15)..<(16 + stretch * 15) {
            let report = Simulation.run(seed: seed, level: 0, traceCapacity: 60)
            #expect(
                !report.outcome.isViolation, "seed \(seed): \(report.outcome)\n\(report.trace.joined(separator: "\n"))")
        }
    }

    @Test func aSeedPlaysTheSameTwice() {
        for seed in 1_000..<1_020 as Range<UInt64> {
            let first = Simulation.run(seed: seed, level: 0)
            let second = Simulation.run(seed: seed, level: 0)
            #expect(first.traceHash == second.traceHash)
            #expect(first.tally == second.tally)
            #expect(first.outcome == second.outcome)
        }
    }

    @Test func seedsPlayDifferently() {
        let hashes = Set((1..<20 as Range<UInt64>).map { Simulation.run(seed: $0, level: 0).traceHash })
        #expect(hashes.count == 19)
    }

    @Test func theCanaryIsReported() {
        for seed in [50, 100, 150] as [UInt64] {
            #expect(Simulation.isCanary(seed))
            let report = Simulation.run(seed: seed, level: 0, canary: true)
            guard case .safety(let finding) = report.outcome else {
                Issue.record("seed \(seed): \(report.outcome)")
                continue
            }
            #expect(finding.invariant == "I5")
            #expect(!report.trace.isEmpty)
        }
    }

    @Test func aRunInWhichNothingHappensIsVacuousNotGreen() {
        var options = SwarmOptions.drawn(from: 1, level: 0)
        options.clients = 1
        options.thinkTime = 200 * SwarmOptions.second
        options.readShare = 1
        options.safetyPhase = SwarmOptions.second
        // After the heal a lone reader never writes: what the run proves is nothing.
        let report = Simulation.run(seed: 1, level: 0, options: options)
        #expect(report.outcome != .pass)
    }

    @Test func aQuietRunPasses() {
        var options = SwarmOptions()
        options.safetyPhase = 10 * SwarmOptions.second
        let report = Simulation.run(seed: 7, level: 0, options: options)
        #expect(report.outcome == .pass)
        #expect(report.tally.elections == 1)
        #expect(report.tally.crashes == 0 && report.tally.dropped == 0)
        #expect(report.tally.writes > 100)
    }

    @Test func aMessageThatIsLongUnderWayHoldsNothingBackOnceTheNetworkIsHealed() {
        // Each link keeps its order, and each thirtieth message takes about a minute.
        var options = SwarmOptions()
        options.safetyPhase = 20 * SwarmOptions.second
        options.tailChance = 0.03
        options.tailDelay = 60 * SwarmOptions.second
        options.isOrdered = true
        for seed in 1...5 as ClosedRange<UInt64> {
            let report = Simulation.run(seed: seed, level: 0, options: options)
            #expect(!report.outcome.isViolation, "seed \(seed): \(report.outcome)")
        }
    }

    @Test func atLevelOneSessionsEndLocksChangeHandsAndFailedDisksCostNothing() {
        var options = SwarmOptions()
        options.safetyPhase = 8 * SwarmOptions.second
        options.clients = 2
        options.thinkTime = 100 * SwarmOptions.millisecond
        options.holders = 3
        options.lockKeys = 2
        options.faults = [.failedWrite, .failedSync]
        options.faultGap = 2 * SwarmOptions.second
        let report = Simulation.run(seed: 3, level: 1, options: options, traceCapacity: 40)
        #expect(report.outcome == .pass, "\(report.outcome)\n\(report.trace.joined(separator: "\n"))")
        #expect(report.tally.locks > 3 && report.tally.expirations > 0)
        #expect(report.tally.crashes > 0)
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func clustersSurviveTheirSeedsAtLevelTwo(_ stretch: UInt64) {
        for seed in (1 + stretch * 3)..<(4 + stretch * 3) {
            let report = Simulation.run(seed: seed, level: 2, traceCapacity: 60)
            #expect(
                !report.outcome.isViolation, "seed \(seed): \(report.outcome)\n\(report.trace.joined(separator: "\n"))")
        }
    }

    @Test func atLevelTwoASeedPlaysTheSameTwiceTasksAndAll() {
        for seed in 1_000..<1_004 as Range<UInt64> {
            let first = Simulation.run(seed: seed, level: 2)
            let second = Simulation.run(seed: seed, level: 2)
            #expect(first.traceHash == second.traceHash)
            #expect(first.tally == second.tally)
        }
    }

    @Test func atLevelTwoWritesReadsLocksAndBlockingQueriesGoThroughHTTP() {
        var options = SwarmOptions()
        options.safetyPhase = 10 * SwarmOptions.second
        options.holders = 3
        options.waiters = 6
        options.unnumberedShare = 0.3
        options.hop = SwarmOptions.millisecond
        let report = Simulation.run(seed: 5, level: 2, options: options, traceCapacity: 40)
        #expect(report.outcome == .pass, "\(report.outcome)\n\(report.trace.joined(separator: "\n"))")
        #expect(report.tally.writes > 100 && report.tally.reads > 50 && report.tally.locks > 3)
        #expect(report.tally.wakeups > 20)
    }

    @Test func atLevelTwoTheCanaryIsReportedToo() {
        let report = Simulation.run(seed: 50, level: 2, canary: true)
        guard case .safety(let finding) = report.outcome else {
            Issue.record("\(report.outcome)")
            return
        }
        #expect(finding.invariant == "I5")
    }

    @Test func everyFaultIsDrawnAndInstalledBySomeSeed() {
        var total = Tally()
        for seed in 2_000..<2_080 as Range<UInt64> {
            total.add(Simulation.run(seed: seed, level: 0, traceCapacity: 1).tally)
        }
        for (fault, count) in zip(SwarmOptions.Fault.allCases, total.faults)
        where !SwarmOptions.Fault.onlyLevelOne.contains(fault) {
            #expect(count > 0, "\(fault) never happened")
        }
        #expect(total.snapshotsInstalled > 0 && total.membershipChanges > 0 && total.transfers > 0)
    }

    @Test func optionsAreAFunctionOfTheSeed() {
        #expect(SwarmOptions.drawn(from: 5, level: 0) == SwarmOptions.drawn(from: 5, level: 0))
        #expect(SwarmOptions.drawn(from: 5, level: 0) != SwarmOptions.drawn(from: 6, level: 0))
        for seed in 0..<500 as Range<UInt64> {
            #expect(SwarmOptions.drawn(from: seed, level: 0).raft.complaint == nil)
        }
    }
}
