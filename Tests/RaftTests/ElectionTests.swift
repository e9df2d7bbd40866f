import Raft
import Testing
import Units

@Suite struct ElectionTests {
    // MARK: - Votes

    @Test func aVoteIsGivenByTermFirstAndLengthSecond() {
        // Every pair of last terms and last indexes in 1…3, ours and the candidate's.
        for ownTerm in UInt64(1)...3 {
            for ownLast in UInt64(2)...4 {
                for itsTerm in UInt64(1)...3 {
                    for itsLast in UInt64(2)...4 {
                        let stage = Stage()
                        let terms = [UInt64](repeating: ownTerm, count: Int(ownLast) - 1)
                        stage.start(1, Stage.Disk(Stage.voters([1, 2, 3]), terms: terms, term: 3))
                        let votes = stage.receive(1, from: 2, term: 4, voteRequest(last: itsLast, term: itsTerm)).votes
                        let expected = itsTerm > ownTerm || (itsTerm == ownTerm && itsLast >= ownLast)
                        #expect(votes == [expected], "(\(ownTerm), \(ownLast)) asked by (\(itsTerm), \(itsLast))")
                    }
                }
            }
        }
    }

    @Test func aServerVotesOncePerTermAndRepeatsItsVoteToTheSameCandidate() {
        let stage = Stage(voters: [1, 2, 3])
        #expect(stage.receive(1, from: 2, term: 2, voteRequest(last: 1, term: 1)).votes == [true])
        #expect(stage.receive(1, from: 3, term: 2, voteRequest(last: 1, term: 1)).votes == [false])
        #expect(stage.receive(1, from: 2, term: 2, voteRequest(last: 1, term: 1)).votes == [true])
    }

    @Test func aVoteGivenBeforeACrashStillHoldsAfterIt() {
        let stage = Stage(voters: [1, 2, 3])
        stage.receive(1, from: 2, term: 2, voteRequest(last: 1, term: 1))
        stage.crash(1)
        stage.restart(1)
        #expect(stage[1].vote == NodeID(2))
        #expect(stage.receive(1, from: 3, term: 2, voteRequest(last: 1, term: 1)).votes == [false])
    }

    @Test func aRepeatedVoteRequestIsComparedWithTheLogAgain() {
        let stage = Stage()
        stage.start(1, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1], term: 2, vote: 2))
        #expect(stage.receive(1, from: 2, term: 2, voteRequest(last: 1, term: 1)).votes == [false])
    }

    @Test func steppingDownWithinATermDoesNotFreeTheVote() {
        let stage = Stage(voters: [1, 2, 3])
        stage.timeout(1)
        stage.deliver(from: 1, to: 2)
        stage.deliver(from: 2, to: 1)
        #expect(stage[1].role == .candidate && stage[1].vote == NodeID(1))
        // Another server of the same term leads: the candidate steps down, and is asked by a third.
        stage.receive(1, from: 3, term: 2, append(after: 1, term: 1))
        #expect(stage[1].role == .follower && stage[1].vote == NodeID(1))
        #expect(stage.receive(1, from: 2, term: 2, voteRequest(last: 9, term: 2)).votes == [false])
    }

    @Test func aLeaderThatLosesItsQuorumKeepsItsVote() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.wait([1], milliseconds: 1500)
        stage.step(1, .tick)
        #expect(stage[1].role == .follower && stage[1].term == Term(2))
        #expect(stage.receive(1, from: 2, term: 2, voteRequest(last: 9, term: 2)).votes == [false])
    }

    @Test func votesOfAnotherTermOrOfAPreVoteElectNobody() {
        let stage = Stage(voters: [1, 2, 3])
        stage.timeout(1)
        stage.deliver(from: 1, to: 2)
        stage.deliver(from: 2, to: 1)
        stage.drop()
        stage.receive(1, from: 2, term: 1, .voteResponse(granted: true, pre: false))
        stage.receive(1, from: 2, term: 2, .voteResponse(granted: true, pre: true))
        stage.receive(1, from: 9, term: 2, .voteResponse(granted: true, pre: false))
        #expect(stage[1].role == .candidate)
        stage.receive(1, from: 3, term: 2, .voteResponse(granted: false, pre: false))
        stage.receive(1, from: 3, term: 2, .voteResponse(granted: true, pre: false))
        #expect(stage[1].role == .candidate)
        stage.receive(1, from: 2, term: 2, .voteResponse(granted: true, pre: false))
        #expect(stage[1].role == .leader)
    }

    // MARK: - Pre-vote, leases, CheckQuorum

    @Test func aPreVoteChangesNothing() {
        let stage = Stage(voters: [1, 2, 3])
        let out = stage.receive(1, from: 2, term: 7, voteRequest(last: 1, term: 1, pre: true))
        #expect(out.preVotes == [true])
        #expect(stage[1].term == Term(1) && stage[1].vote == nil && out.persists.isEmpty)
    }

    @Test func nobodyIsElectedWhileALeaderIsHeard() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        #expect(stage.receive(2, from: 3, term: 3, voteRequest(last: 9, term: 9, pre: true)).preVotes == [false])
        #expect(stage.receive(2, from: 3, term: 3, voteRequest(last: 9, term: 9)).votes.isEmpty)
        #expect(stage[2].term == Term(2))
        stage.wait([2], milliseconds: 1000)
        #expect(stage.receive(2, from: 3, term: 3, voteRequest(last: 9, term: 9, pre: true)).preVotes == [true])
        #expect(stage.receive(2, from: 3, term: 3, voteRequest(last: 9, term: 9)).votes == [true])
    }

    @Test func aServerStuckAtAHigherTermGetsTheLeaderToAdoptIt() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        stage.propose(1, "x")
        stage.settle()
        // Server 3 has campaigned in terms of its own, as it could before the others asked for pre-votes.
        var disk = stage.disks[3] ?? Stage.Disk()
        disk.hardState = HardState(term: Term(9), vote: NodeID(3))
        stage.start(3, disk)
        stage.isolated = []
        stage.beat(1)
        #expect(stage[1].term == Term(9) && stage[1].role == .follower)
        stage.elect(1)
        #expect(stage[1].role == .leader && stage[1].term > Term(9))
        stage.beat(1)
        #expect(stage[3].leader == NodeID(1) && stage[3].commitIndex == stage[1].commitIndex)
    }

    @Test func aRefusedPreVoteTellsTheHigherTerm() {
        let stage = Stage(voters: [1, 2, 3])
        stage.receive(2, from: 3, term: 6, voteRequest(last: 1, term: 1))
        stage.timeout(1)
        stage.deliver(from: 1, to: 2)
        stage.deliver(from: 2, to: 1)
        #expect(stage[1].term == Term(6) && stage[1].role == .follower)
    }

    @Test func aPartlyConnectedServerDoesNotDeposeTheLeader() {
        // 3 hears 2 but not the leader; 2 hears the leader and gives no pre-vote, for as long as 3 tries.
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        for _ in 0..<20 {
            stage.timeout(1)
            stage.drop(from: 1, to: 3)
            stage.settle()
            stage.timeout(3)
            stage.drop(from: 3, to: 1)
            stage.settle()
        }
        #expect(stage[1].role == .leader && stage[1].term == Term(2))
    }

    @Test func aLeaderThatHearsNoQuorumStepsDownSoThatOthersMayElect() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [1]
        stage.wait([1], milliseconds: 999)
        stage.step(1, .tick)
        #expect(stage[1].role == .leader)
        stage.wait([1], milliseconds: 1)
        stage.step(1, .tick)
        #expect(stage[1].role == .follower && stage[1].leader == nil)
    }

    // MARK: - Timeouts

    @Test func aRestartedServerCampaignsWithinItsTimeout() {
        for id in UInt64(1)...50 {
            let stage = Stage(voters: [id, 100, 101])
            stage.wait([id], milliseconds: 123_456)
            stage.crash(id)
            stage.restart(id)
            let wait = stage[id].nextDeadline.since(stage.instant(id))
            #expect(wait >= .milliseconds(1000) && wait < .milliseconds(2000))
            stage.timeout(id)
            #expect(stage[id].role == .preCandidate)
        }
    }

    @Test func twoSurvivorsOfThreeElectALeaderWithinFourElectionTimeouts() {
        for seed in UInt64(0)..<12 {
            let harness = Harness(seed: seed, servers: 3, faults: Harness.Faults(snapshotEvery: 0))
            harness.run(milliseconds: 5000)
            guard let gone = harness.leader else {
                Issue.record("seed \(seed): no leader to begin with")
                continue
            }
            harness.crash(gone)
            var waited: UInt64 = 0
            while harness.leader == nil, waited < 8000 {
                harness.run(milliseconds: 50)
                waited += 50
                if harness.servers[gone]?.isUp == true { harness.crash(gone) }
            }
            #expect(harness.leader != nil, "seed \(seed): \(waited) ms without a leader")
        }
    }

    @Test func aCampaignThatIsRefusedBySomeIsTriedAgainSoon() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.timeout(3)
        stage.settle()
        #expect(stage[3].role == .follower)
        #expect(stage[3].nextDeadline.since(stage.instant(3)) <= .milliseconds(300))
    }

    @Test func aLearnerForgetsALeaderThatIsSilent() {
        let stage = Stage(voters: [1, 2], learners: [3])
        stage.elect(1)
        stage.beat(1)
        #expect(stage[3].leader == NodeID(1))
        stage.read(3)
        let out = stage.timeout(3)
        #expect(stage[3].role == .follower && stage[3].leader == nil)
        #expect(out.readRefusals == [.notLeader(nil)])
        #expect(!out.messages.contains { if case .voteRequest = $0.body { true } else { false } })
    }

    // MARK: - Disks that stall or are full

    @Test func aLeaderWhoseDiskStallsHandsOverAndStepsDown() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.slowDisks = [1]
        stage.propose(1, "x")
        for _ in 0..<15 { stage.beat(1) }
        #expect(stage[1].role == .leader)
        stage.timeout(1)
        stage.timeout(1)
        stage.settle()
        #expect(stage[1].role == .follower)
        let leader = [2, 3].first { stage[$0].role == .leader }
        #expect(leader != nil)
        // The write that its disk never took was on the others' disks: it is not lost.
        #expect(leader.map { stage.applied[$0]?.contains { $0.payload == .command(Array("x".utf8)) } } == true)
    }

    @Test func aServerWhoseDiskStallsDoesNotCampaign() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.slowDisks = [2]
        stage.propose(1, "x")
        stage.settle()
        stage.wait([2], milliseconds: 1600)
        for _ in 0..<5 { #expect(stage.timeout(2).messages.isEmpty) }
        #expect(stage[2].role == .follower)
        // Not even when the leader asks for it.
        #expect(stage.receive(2, from: 1, term: 2, .timeoutNow).messages.isEmpty)
        stage.slowDisks = []
        stage.persist(2)
        stage.drop()
        stage.timeout(2)
        #expect(stage[2].role == .preCandidate)
    }

    @Test func aServerWithoutRoomNeitherLeadsNorCampaigns() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        let out = stage.step(1, .diskFull(true))
        #expect(stage[1].role == .follower)
        #expect(out.messages.contains { $0.body == .timeoutNow })
        stage.settle()
        #expect(stage[1].role == .follower && stage[1].leader != nil)
        stage.wait([1], milliseconds: 5000)
        #expect(stage.timeout(1).messages.isEmpty)
        stage.step(1, .diskFull(false))
        stage.timeout(1)
        #expect(stage[1].role == .preCandidate)
    }

    @Test func aCandidateWhoseDiskFillsUpGivesUp() {
        let stage = Stage(voters: [1, 2, 3])
        stage.timeout(1)
        stage.deliver(from: 1, to: 2)
        stage.deliver(from: 2, to: 1)
        #expect(stage[1].role == .candidate)
        stage.step(1, .diskFull(true))
        stage.settle()
        #expect(stage[1].role == .follower)
    }
}
