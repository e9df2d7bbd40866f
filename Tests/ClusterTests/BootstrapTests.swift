import Raft
import Replica
import Testing
import Units

/// SplitMix64: the same walk for the same seed.
struct Walk: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct BootstrapTests {
    private func member(_ number: UInt64) -> Member { Member(id: NodeID(number), name: "s\(number)") }

    private func answer(_ number: UInt64, hasLog: Bool = false, promisedTo: UInt64? = nil) -> Bootstrap.Answer {
        Bootstrap.Answer(
            member: self.member(number), expect: 3, hasConfiguration: hasLog, promisedTo: promisedTo.map { NodeID($0) })
    }

    @Test func aServerWaitsUntilEveryExpectedServerHasAnswered() {
        var bootstrap = Bootstrap(me: self.member(1), expect: 3, promise: nil)
        let step = bootstrap.round([self.answer(2)], asked: 0)
        #expect(step == .wait("2 of 3 expected servers have answered"))
        #expect(bootstrap.promise == nil)
    }

    @Test func onlyTheServerWithTheLowestIDFounds() {
        var first = Bootstrap(me: self.member(1), expect: 3, promise: nil)
        var second = Bootstrap(me: self.member(2), expect: 3, promise: nil)
        guard case .prepare(let promise) = first.round([self.answer(2), self.answer(3)], asked: 0) else {
            Issue.record("the lowest id does not prepare")
            return
        }
        #expect(promise.configuration.voters.map(\.id.rawValue) == [1, 2, 3])
        let step = second.round([self.answer(1), self.answer(3)], asked: 0)
        #expect(step == .wait("s1 founds the cluster"))
    }

    @Test func aServerThatSeesAClusterJoinsItWhateverItExpects() {
        var bootstrap = Bootstrap(me: self.member(1), expect: 3, promise: nil)
        let step = bootstrap.round([self.answer(2, hasLog: true)], asked: 0)
        #expect(step == .join([self.member(2)]))
    }

    private func asked(_ founder: UInt64, _ ballot: UInt64) -> Bootstrap.Promise {
        let configuration = Configuration(voters: [self.member(1), self.member(2), self.member(3)])
        return Bootstrap.Promise(founder: NodeID(founder), ballot: ballot, configuration: configuration)
    }

    @Test func aPromiseBindsAgainstAnotherFounder() {
        var bootstrap = Bootstrap(me: self.member(3), expect: 3, promise: nil)
        let given = [self.asked(2, 1), self.asked(1, 9), self.asked(2, 1), self.asked(2, 2)].map {
            bootstrap.prepare($0, logIsEmpty: true)
        }
        #expect(given == [true, false, false, true])
    }

    @Test func aFounderGivesItsOwnAttemptUpForALowerIDAlone() {
        var bootstrap = Bootstrap(me: self.member(2), expect: 3, promise: self.asked(2, 5))
        let given = [self.asked(3, 9), self.asked(1, 1)].map { bootstrap.prepare($0, logIsEmpty: true) }
        #expect(given == [false, true])
    }

    @Test func aServerWithALogPromisesNothing() {
        var bootstrap = Bootstrap(me: self.member(2), expect: 3, promise: nil)
        let given = bootstrap.prepare(self.asked(1, 1), logIsEmpty: false)
        #expect(!given)
    }

    @Test func anAnswerFromBeforeThePromiseDoesNotEndIt() {
        var bootstrap = Bootstrap(me: self.member(3), expect: 3, promise: nil)
        let asked = bootstrap.generation
        let given = bootstrap.prepare(self.asked(1, 1), logIsEmpty: true)
        // Server 1 had promised nothing when it answered; since then it may have founded on this server's word.
        _ = bootstrap.round([self.answer(1), self.answer(2)], asked: asked)
        #expect(given)
        #expect(bootstrap.promise?.founder == NodeID(1))
    }

    @Test func differingExpectationsAreToldAndNotActedOn() {
        var bootstrap = Bootstrap(me: self.member(1), expect: 5, promise: nil)
        guard case .wait(let text) = bootstrap.round([self.answer(2), self.answer(3)], asked: 0) else {
            Issue.record("it went on")
            return
        }
        #expect(text.contains("set bootstrap_expect alike"))
    }

    @Test("two servers, every order of questions, answers, crashes and one wiped disk: never two clusters")
    func twoServersNeverBecomeTwoClusters() {
        var open = [BootstrapWorld(servers: 2, wipes: 1, crashes: 1, attempts: 4)]
        var seen: Set<String> = [open[0].key]
        var foundingsAfterTheWipe = 0
        while let world = open.popLast() {
            for event in world.events {
                var next = world
                next.apply(event)
                if next.clusters.count > 1 {
                    Issue.record("two clusters after \(event): \(next.key)")
                    return
                }
                if next.founded > world.founded, next.wipesLeft == 0 { foundingsAfterTheWipe += 1 }
                if seen.insert(next.key).inserted { open.append(next) }
            }
        }
        #expect(foundingsAfterTheWipe > 0)
        #expect(seen.count > 1000)
    }

    @Test("three servers, long random walks with wiped disks and crashes: never two clusters, and in the end one")
    func threeServersBecomeOneCluster() {
        var founded = 0
        for seed in 0..<3000 {
            var random = Walk(state: UInt64(seed))
            var world = BootstrapWorld(
                servers: 3, wipes: Int.random(in: 0...4, using: &random), crashes: Int.random(in: 0...3, using: &random)
            )
            for _ in 0..<Int.random(in: 5...120, using: &random) {
                guard let event = self.choose(world, &random) else { break }
                world.apply(event)
                if world.clusters.count > 1 {
                    Issue.record("seed \(seed), after \(event): \(world.key)")
                    return
                }
            }
            world.settle(rounds: 12)
            if world.clusters.count != 1 || world.servers.contains(where: { $0.cluster == nil }) {
                Issue.record("seed \(seed) ends without a cluster of all: \(world.key)")
                return
            }
            founded += world.founded
        }
        #expect(founded >= 3000)
    }

    /// Wipes and crashes are rarer than the rest.
    private func choose(_ world: BootstrapWorld, _ random: inout Walk) -> BootstrapWorld.Event? {
        let events = world.events
        let calm = events.filter {
            switch $0 {
            case .wipe, .crash, .abandon: false
            case .start, .answer, .close, .ask, .finish, .replicate: true
            }
        }
        if !calm.isEmpty, Int.random(in: 0..<8, using: &random) > 0 { return calm.randomElement(using: &random) }
        return events.randomElement(using: &random)
    }
}
