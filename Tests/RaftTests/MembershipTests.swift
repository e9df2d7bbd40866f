import Raft
import Testing
import Units

@Suite struct MembershipTests {
    /// Three voters, 1 leads, 4 is a learner that has caught up.
    static func withLearner() -> Stage {
        let stage = Stage(voters: [1, 2, 3], learners: [4])
        stage.elect(1)
        stage.beat(1)
        return stage
    }

    static func voters(_ stage: Stage, _ id: UInt64) -> [UInt64] { stage[id].configuration.voters.map(\.id.rawValue) }

    // MARK: - When a change is taken

    @Test func noChangeBeforeTheLeaderHasCommittedAnEntryOfItsOwnTerm() {
        let stage = ReadTests.freshLeader()
        #expect(stage.change(1, remove: [3]).membershipRefusals == [.termNotCommitted])
        stage.beat(1)
        #expect(stage.change(1, remove: [3]).membershipRefusals.isEmpty)
    }

    @Test func twoChangesBySuccessiveLeadersNeverMakeDisjointQuorums() {
        // The bug of the dissertation's single-server change: S1 adds a server and is cut off, S2 removes one.
        let stage = Stage(voters: [1, 2, 3, 4])
        stage.elect(1)
        stage.start(5)
        stage.change(1, add: [5])
        stage.settle()
        stage.beat(1)
        stage.isolated = [1]
        stage.change(1, promote: [5])
        #expect(stage[1].configuration.isJoint)
        // The new leader knows nothing of it. Its own change must wait for an entry of its term.
        stage.wait([2, 3, 4], milliseconds: 3000)
        stage.timeout(2)
        while stage[2].role != .leader { stage.deliver() }
        stage.drop()
        #expect(stage.change(2, remove: [1]).membershipRefusals == [.termNotCommitted])
        stage.beat(2)
        stage.change(2, remove: [1])
        stage.settle()
        #expect(Self.voters(stage, 2) == [2, 3, 4])
        // S1 with the server it added: no quorum of the joint configuration that it holds.
        stage.isolated = [2, 3, 4]
        stage.wait([1], milliseconds: 9000)
        stage.step(1, .tick)
        stage.timeout(1)
        stage.settle()
        #expect(stage[1].role != .leader)
    }

    @Test func oneChangeAtATime() {
        let stage = Self.withLearner()
        stage.change(1, promote: [4])
        #expect(stage.change(1, remove: [2]).membershipRefusals == [.membershipChangeInProgress])
        stage.settle()
        #expect(stage.change(1, remove: [2]).membershipRefusals.isEmpty)
    }

    @Test func aNewLeaderCountsByTheUncommittedChangeThatItInherits() {
        // {1 2 3} → {1 2 3 4} is on 1 and 2 only; 1 dies. 2 leads: it needs a majority of both halves, and no other change.
        let stage = Self.withLearner()
        stage.isolated = [3, 4]
        stage.change(1, promote: [4])
        stage.settle()
        #expect(stage[2].configuration.isJoint && stage[2].commitIndex < stage[2].configurationIndex)
        stage.crash(1)
        stage.isolated = [4]
        stage.elect(2)
        // Two of the old three, but only two of the new four.
        #expect(stage[2].role != .leader)
        stage.isolated = []
        stage.elect(2)
        stage.beat(2)
        #expect(stage[2].role == .leader)
        #expect(!stage[2].configuration.isJoint && Self.voters(stage, 2) == [1, 2, 3, 4])
    }

    @Test func whatMakesNoSenseIsRefusedWithAReason() {
        let stage = Self.withLearner()
        func refusal(_ out: [Directive]) -> String? {
            if case .invalid(let text)? = out.membershipRefusals.first { text } else { nil }
        }
        #expect(refusal(stage.change(1, promote: [9]))?.contains("add it as a learner first") == true)
        #expect(refusal(stage.change(1, remove: [9]))?.contains("not a member") == true)
        #expect(refusal(stage.change(1, add: [0]))?.contains("needs an id") == true)
        #expect(refusal(stage.change(1, remove: [1, 2, 3]))?.contains("last voter") == true)
        #expect(stage.change(2, remove: [3]).membershipRefusals == [.notLeader(NodeID(1))])
    }

    @Test func aLearnerIsPromotedOnlyOnceItHasCaughtUp() {
        let stage = Stage(voters: [1, 2, 3])
        stage.settings.promotionLagMax = 2
        stage.elect(1)
        stage.start(4)
        stage.change(1, add: [4])
        stage.settle()
        stage.isolated = [4]
        let lag = stage[1].settings.promotionLagMax + 5
        for _ in 0..<lag { stage.propose(1, "x") }
        stage.settle()
        #expect(!stage[1].isCaughtUp(NodeID(4)))
        guard case .invalid? = stage.change(1, promote: [4]).membershipRefusals.first else {
            Issue.record("promoted a learner that lags by \(lag) entries")
            return
        }
        stage.isolated = []
        for _ in 0..<6 { stage.beat(1) }
        #expect(stage[1].isCaughtUp(NodeID(4)))
        #expect(stage.change(1, promote: [4]).membershipRefusals.isEmpty)
    }

    // MARK: - Joint configurations

    @Test func aJointConfigurationNeedsBothHalvesToCommit() {
        for silent: Set<UInt64> in [[2, 3], [4, 5]] {
            let stage = Stage(voters: [1, 2, 3], learners: [4, 5])
            stage.elect(1)
            stage.beat(1)
            stage.change(1, promote: [4, 5], remove: [2, 3])
            let joint = stage[1].configurationIndex
            stage.isolated = silent
            stage.settle()
            stage.beat(1)
            #expect(stage[1].commitIndex < joint, "\(silent) are silent")
            stage.isolated = []
            for _ in 0..<3 { stage.beat(1) }
            #expect(stage[1].commitIndex > joint && Self.voters(stage, 1) == [1, 4, 5])
        }
    }

    @Test func whoeverAskedIsToldOnceTheFinalConfigurationIsCommitted() {
        let stage = Self.withLearner()
        stage.forgetLines()
        stage.change(1, promote: [4], remove: [2])
        #expect(!stage.lines.contains("1 membership changed"))
        stage.settle()
        #expect(stage.lines.filter { $0 == "1 membership changed" }.count == 1)
        #expect(stage[1].commitIndex >= stage[1].configurationIndex && !stage[1].configuration.isJoint)
    }

    @Test func aLeaderThatIsRemovedManagesTheClusterUntilItIsCommittedAndThenHandsOver() {
        let stage = Self.withLearner()
        stage.change(1, promote: [4], remove: [1])
        #expect(stage[1].role == .leader)
        stage.settle()
        #expect(stage[1].role == .follower)
        let leader = stage.ids.first { stage[$0].role == .leader }
        #expect(leader == 2 || leader == 3 || leader == 4)
        stage.timeout(1)
        #expect(stage[1].role == .follower, "no voter any more")
    }

    // MARK: - Roles follow from snapshot and log

    @Test func rolesSurviveARestartAtEveryStepOfAPromotion() {
        let stage = Self.withLearner()
        func isVoter() -> Bool { stage[4].configuration.isVoter(NodeID(4)) }
        func restart() {
            stage.crash(4)
            stage.restart(4)
        }
        #expect(!isVoter())
        restart()
        #expect(!isVoter())
        stage.timeout(4)
        #expect(stage[4].role == .follower, "a learner never campaigns")
        stage.change(1, promote: [4])
        stage.deliver(to: 4)
        #expect(isVoter() && stage[4].configuration.isJoint)
        restart()
        #expect(isVoter() && stage[4].configuration.isJoint)
        stage.beat(1)
        stage.beat(1)
        stage.beat(1)
        restart()
        #expect(isVoter() && !stage[4].configuration.isJoint)
        stage.takeSnapshot(4)
        restart()
        #expect(isVoter())
    }

    @Test func cuttingAConfigurationOffBringsBackTheOneBefore() {
        let stage = Self.withLearner()
        stage.isolated = [1]
        stage.change(1, promote: [4], remove: [2, 3])
        #expect(Self.voters(stage, 1) == [1, 4])
        stage.wait([2, 3, 4], milliseconds: 3000)
        stage.timeout(2)
        stage.settle()
        #expect(stage[2].role == .leader)
        stage.isolated = []
        stage.forgetLines()
        stage.beat(2)
        stage.beat(2)
        #expect(stage.lines.contains { $0.hasPrefix("1 * configuration back to {1 2 3, learning 4}") })
        #expect(Self.voters(stage, 1) == [1, 2, 3] && !stage[1].configuration.isJoint)
        // And it holds after a restart.
        stage.crash(1)
        stage.restart(1)
        #expect(Self.voters(stage, 1) == [1, 2, 3])
    }

    @Test func cuttingOneOfTwoUncommittedConfigurationsKeepsTheOther() {
        let stage = Stage(voters: [1, 2, 3])
        func configured(_ index: UInt64, _ ids: [UInt64], _ previous: UInt64) -> Message.Body {
            .append(
                Message.Append(
                    previousIndex: LogIndex(index - 1), previousTerm: Term(previous),
                    entries: [Entry(term: Term(2), index: LogIndex(index), payload: .configuration(Stage.voters(ids)))],
                    commit: .zero, readPosition: 0, sequence: 1))
        }
        stage.receive(2, from: 1, term: 2, configured(2, [1, 2, 3, 4], 1))
        stage.receive(2, from: 1, term: 2, configured(3, [1, 2, 3, 4, 5], 2))
        #expect(Self.voters(stage, 2) == [1, 2, 3, 4, 5])
        stage.receive(2, from: 3, term: 3, append(after: 2, term: 2, [3]))
        #expect(Self.voters(stage, 2) == [1, 2, 3, 4])
        stage.receive(2, from: 3, term: 4, append(after: 1, term: 1, [4]))
        #expect(Self.voters(stage, 2) == [1, 2, 3])
    }

    // MARK: - Removed, wiped, restored

    @Test func aRemovedServerThatLivesOnRaisesNobodysTerm() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        stage.change(1, remove: [3])
        stage.settle()
        stage.isolated = []
        #expect(Self.voters(stage, 1) == [1, 2])
        for _ in 0..<10 {
            stage.beat(1)
            stage.timeout(3)
            stage.settle()
        }
        #expect(stage[1].role == .leader && stage[1].term == Term(2) && stage[2].term == Term(2))
    }

    @Test func aServerInQuarantineNeitherVotesNorCampaignsNorCounts() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        stage.settle()
        var disk = stage.disks[3] ?? Stage.Disk()
        disk.quarantinedUntil = disk.lastIndex
        disk.entries.removeLast(2)
        stage.start(3, disk)
        #expect(stage.receive(3, from: 2, term: 9, voteRequest(last: 99, term: 8, pre: true)).preVotes == [false])
        #expect(stage.receive(3, from: 2, term: 3, voteRequest(last: 99, term: 8)).votes == [false])
        #expect(stage.timeout(3).messages.isEmpty)
        #expect(stage.receive(3, from: 2, term: 3, .timeoutNow).messages.isEmpty)
    }

    /// Server 3 of a settled cluster that server 1 leads in term 2, log up to 3, comes back without its last `lost` entries.
    private func stageWithLoss(of lost: Int, mark: UInt64, _ before: (Stage) -> Void = { _ in }) -> Stage {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        stage.settle()
        stage.beat(1)
        before(stage)
        var disk = stage.disks[3] ?? Stage.Disk()
        disk.quarantinedUntil = LogIndex(mark)
        disk.entries.removeLast(lost)
        stage.start(3, disk)
        return stage
    }

    @Test func whatWasAcceptedBeforeTheDiskLostItIsNotCountedAfterwards() {
        // The leader's own disk is slow; server 3 accepts (4, term 2), and loses it before its answer arrives.
        var answers: [Message] = []
        let stage = self.stageWithLoss(of: 1, mark: 3) { stage in
            stage.isolated = [2]
            stage.slowDisks = [1]
            stage.propose(1, "b")
            stage.deliver(to: 3)
            answers = stage.mail
            stage.mail = []
        }
        #expect(answers.count == 1)
        stage.timeout(1)
        stage.deliver(to: 3)
        stage.deliver(to: 1)
        stage.drop()
        #expect(stage[1].progress.first { $0.id == NodeID(3) }?.progress.isQuarantined == true)
        for answer in answers { stage.hand(answer) }
        #expect(stage[1].progress.first { $0.id == NodeID(3) }?.progress.isQuarantined == true)
        stage.drop()
        stage.persist(1)
        #expect(stage[1].commitIndex == LogIndex(3), "entry 4 is on one disk of three")
    }

    @Test func aServerHealsUpToWhatTheLeaderHasCommittedOnceItKnowsOfTheLoss() {
        // The mark on the disk is too low: entry 4 had been accepted, too, and the leader may count that until it knows.
        let stage = self.stageWithLoss(of: 1, mark: 2)
        stage.receive(3, from: 1, term: 2, append(after: 2, term: 2, [], commit: 2, sequence: 10))
        #expect(stage[3].isQuarantined)
        stage.receive(
            3, from: 1, term: 2, append(after: 2, term: 2, [], commit: 4, sequence: 11, knowsQuarantine: true))
        #expect(stage[3].isQuarantined)
        stage.receive(
            3, from: 1, term: 2, append(after: 2, term: 2, [2], commit: 3, sequence: 12, knowsQuarantine: true))
        #expect(stage[3].isQuarantined)
        stage.receive(
            3, from: 1, term: 2, append(after: 3, term: 2, [2], commit: 4, sequence: 13, knowsQuarantine: true))
        #expect(!stage[3].isQuarantined)
    }

    @Test func aServerHealsThoughTheLogIsShorterThanItOnceWas() {
        // It held entries of a leader that was replaced before they were committed: they will never be there again.
        let stage = self.stageWithLoss(of: 1, mark: 400)
        stage.beat(1)
        stage.beat(1)
        #expect(!stage[3].isQuarantined && stage[3].commitIndex == LogIndex(3))
    }

    @Test func aServerInQuarantineCountsAgainOnceItHoldsCommittedWhatItOnceHeld() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        stage.settle()
        var disk = stage.disks[3] ?? Stage.Disk()
        disk.quarantinedUntil = disk.lastIndex
        disk.entries.removeLast(2)
        stage.start(3, disk)
        stage.isolated = [2]
        stage.propose(1, "b")
        let committed = stage[1].commitIndex
        stage.beat(1)
        stage.beat(1)
        stage.beat(1)
        // What it lacked was committed before; "b" is new, and with 2 away it is committed only by a server that counts.
        #expect(!stage[3].isQuarantined)
        #expect(stage[1].commitIndex > committed)
        #expect(stage.lines.contains { $0.hasPrefix("3 -> 1") && $0.hasSuffix("in quarantine") })
        #expect(stage.lines.contains { $0.hasPrefix("3 * quarantine lifted") })
    }

    @Test func aServerThatForgotWhatItAcknowledgedCountsFromWhereItIs() {
        // Its disk was restored from an old copy, and nothing told it: the leader finds out.
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        var old = stage.disks[3] ?? Stage.Disk()
        stage.propose(1, "a", "b", "c")
        stage.settle()
        #expect(stage[1].matchIndex(of: NodeID(3)) == stage[1].lastIndex)
        old.hardState = stage.disks[3]?.hardState ?? old.hardState
        stage.start(3, old)
        stage.timeout(1)
        stage.deliver(to: 3)
        stage.deliver(from: 3, to: 1)
        #expect(stage[1].matchIndex(of: NodeID(3)) == .zero)
        stage.settle()
        stage.beat(1)
        #expect(stage[1].matchIndex(of: NodeID(3)) == stage[1].lastIndex)
        #expect(stage[3].lastIndex == stage[1].lastIndex)
    }

    // MARK: - Transfer

    @Test func aTransferWaitsForTheHeirsLogAndRefusesProposalsMeanwhile() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "x")
        let out = stage.step(1, .transferLeadership(token: 77, to: NodeID(2)))
        #expect(!out.messages.contains { $0.body == .timeoutNow })
        #expect(stage.propose(1, "y").proposalRefusals == [.notLeader(nil)])
        stage.settle()
        #expect(stage[2].role == .leader && stage[1].role == .follower)
        #expect(stage.lines.contains("1 transfer done"))
    }

    @Test func aTransferToASilentServerIsGivenUp() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [2]
        stage.propose(1, "x")
        stage.step(1, .transferLeadership(token: 77, to: NodeID(2)))
        for _ in 0..<11 { stage.beat(1) }
        #expect(stage.lines.contains("1 transfer refused: timed out"))
        #expect(stage[1].role == .leader && stage.propose(1, "y").proposalRefusals.isEmpty)
    }

    @Test func leadershipIsTransferredToVotersOnly() {
        let stage = Self.withLearner()
        for target in [NodeID(4), NodeID(1), NodeID(9)] {
            let out = stage.step(1, .transferLeadership(token: 5, to: target))
            #expect(out.contains { if case .transferRefused(5, .invalid) = $0 { true } else { false } }, "\(target)")
        }
    }
}
