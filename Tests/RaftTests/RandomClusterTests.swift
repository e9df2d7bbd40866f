import Raft
import Testing
import Units

@Suite struct RandomClusterTests {
    static func run(_ seed: UInt64) -> Harness {
        var dice = Dice(seed: seed ^ 0xABCDEF)
        var faults = Harness.Faults()
        if dice.below(3) > 0 { faults.drop = Int(dice.below(25)) }
        if dice.below(3) > 0 { faults.duplicate = Int(dice.below(20)) }
        faults.delayMax = 1 + dice.below(dice.below(4) == 0 ? 400 : 30)
        faults.persistMax = dice.below(dice.below(4) == 0 ? 500 : 20)
        if dice.below(3) > 0 { faults.crash = Int(dice.below(20)) }
        if dice.below(3) > 0 { faults.partition = Int(dice.below(15)) }
        if dice.below(2) > 0 { faults.membership = Int(dice.below(30)) }
        if dice.below(2) > 0 { faults.transfer = Int(dice.below(10)) }
        faults.snapshotEvery = dice.below(3) == 0 ? 0 : 5 + dice.below(60)
        let servers = [1, 3, 3, 3, 5][Int(dice.below(5))]
        let harness = Harness(seed: seed, servers: servers, faults: faults)
        harness.run(milliseconds: 15_000)
        return harness
    }

    @Test func noSeedBreaksAnInvariantAndEveryClusterHeals() {
        var commits = 0
        var elections = 0
        var reads = 0
        var installs = 0
        var changes = 0
        for seed in UInt64(1)...8 {
            let harness = Self.run(seed)
            #expect(harness.violations.isEmpty, "seed \(seed): \(harness.violations.first ?? "")")
            harness.heal()
            harness.run(milliseconds: 20_000)
            let before = harness.commits
            harness.run(milliseconds: 5000)
            #expect(harness.violations.isEmpty, "seed \(seed) healed: \(harness.violations.first ?? "")")
            #expect(harness.leader != nil, "seed \(seed): no leader after healing")
            #expect(harness.commits > before + 10, "seed \(seed): \(harness.commits - before) commits after healing")
            commits += harness.commits
            elections += harness.elections
            reads += harness.readsAnswered
            installs += harness.snapshotsInstalled
            changes += harness.membershipChanges
        }
        // A run in which little happened would prove little.
        #expect(commits > 2000)
        #expect(elections > 16)
        #expect(reads > 600)
        #expect(installs > 2)
        #expect(changes > 2)
    }
}
