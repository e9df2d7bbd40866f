import Raft
import Testing
import Units

/// Majorities against a brute-force reference, for every configuration of up to seven voters and every joint one of up to
/// three and three.
@Suite struct QuorumTests {
    /// A quorum, by definition: more than half of the voters of each half are in the set.
    static func isQuorum(_ set: Set<UInt64>, _ configuration: Configuration) -> Bool {
        func majority(_ voters: [Member]) -> Bool {
            2 * voters.filter { set.contains($0.id.rawValue) }.count > voters.count
        }
        if configuration.voters.isEmpty { return false }
        return majority(configuration.voters) && (configuration.outgoing.map(majority) ?? true)
    }

    static func subsets(_ ids: [UInt64]) -> [Set<UInt64>] {
        (0..<(1 << ids.count)).map { mask in
            Set(ids.enumerated().filter { mask & (1 << $0.offset) != 0 }.map(\.element))
        }
    }

    /// All assignments of `choices` values to `count` places.
    static func assignments(_ choices: Int, _ count: Int) -> [[Int]] {
        var all: [[Int]] = [[]]
        for _ in 0..<count { all = all.flatMap { before in (0..<choices).map { before + [$0] } } }
        return all
    }

    static func check(_ configuration: Configuration, values choices: Int) -> Int {
        let ids = configuration.allMembers.map(\.id.rawValue)
        let subsets = Self.subsets(ids).filter { Self.isQuorum($0, configuration) }
        var wrong = 0
        for values in Self.assignments(choices, ids.count) {
            func value(_ id: NodeID) -> Int { ids.firstIndex(of: id.rawValue).map { values[$0] } ?? 0 }
            // The largest value for which those who have reached it are a quorum.
            var expected: Int?
            for candidate in 0..<choices
            where subsets.contains(where: { $0.allSatisfy { value(NodeID($0)) >= candidate } }) {
                expected = candidate
            }
            let reached: Int? = Quorum.reached(in: configuration, value)
            if reached != expected { wrong += 1 }
        }
        return wrong
    }

    static func checkVotes(_ configuration: Configuration) -> Int {
        let ids = configuration.allMembers.map(\.id.rawValue)
        var wrong = 0
        for votes in Self.assignments(3, ids.count) {
            func vote(_ id: NodeID) -> Bool? {
                ids.firstIndex(of: id.rawValue).flatMap { votes[$0] == 0 ? nil : votes[$0] == 1 }
            }
            let granted = Set(ids.filter { vote(NodeID($0)) == true })
            let possible = Set(ids.filter { vote(NodeID($0)) != false })
            let expected: Quorum.VoteResult =
                Self.isQuorum(granted, configuration) ? .won : Self.isQuorum(possible, configuration) ? .pending : .lost
            if Quorum.result(in: configuration, vote) != expected { wrong += 1 }
        }
        return wrong
    }

    @Test func reachedEqualsTheReferenceForAllConfigurationsOfUpToSevenVoters() {
        for count in UInt64(1)...7 {
            #expect(Self.check(Stage.voters(Array(1...count)), values: count > 5 ? 3 : 4) == 0, "\(count) voters")
        }
    }

    @Test func votesAreCountedAsTheReferenceCountsThemForUpToSevenVoters() {
        for count in UInt64(1)...7 {
            #expect(Self.checkVotes(Stage.voters(Array(1...count))) == 0, "\(count) voters")
        }
    }

    @Test func jointConfigurationsNeedBothHalvesWhateverTheyShare() {
        for old in Self.subsets([1, 2, 3]) where !old.isEmpty {
            for new in Self.subsets([1, 2, 3, 4, 5, 6]) where !new.isEmpty && new.count <= 3 {
                var configuration = Stage.voters(new.sorted())
                configuration.outgoing = old.sorted().map(Stage.member)
                #expect(Self.check(configuration, values: 3) == 0, "\(old) to \(new)")
                #expect(Self.checkVotes(configuration) == 0, "\(old) to \(new)")
            }
        }
    }

    @Test func anyTwoQuorumsOfAConfigurationMeet() {
        for count in UInt64(1)...7 {
            let configuration = Stage.voters(Array(1...count))
            let quorums = Self.subsets(Array(1...count)).filter { set in
                Quorum.result(in: configuration) { set.contains($0.rawValue) ? true : nil } == .won
            }
            #expect(quorums.allSatisfy { one in quorums.allSatisfy { !one.isDisjoint(with: $0) } })
        }
    }

    @Test func withoutVotersNothingIsReachedAndNoVoteIsWon() {
        let reached: Int? = Quorum.reached(in: .empty) { _ in 7 }
        #expect(reached == nil)
        #expect(Quorum.result(in: .empty) { _ in true } == .lost)
    }

    @Test func learnersCountForNothing() {
        let configuration = Configuration(voters: [1, 2, 3].map(Stage.member), learners: [4, 5].map(Stage.member))
        let reached: Int? = Quorum.reached(in: configuration) { $0.rawValue >= 4 ? 9 : 1 }
        #expect(reached == 1)
        #expect(Quorum.result(in: configuration) { $0.rawValue == 2 ? nil : $0.rawValue >= 4 ? true : nil } == .pending)
    }
}
