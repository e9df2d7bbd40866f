import Raft
import Testing
import Units

@Suite struct ReadTests {
    /// Three servers, 1 elected; its first entry is appended and committed nowhere yet.
    static func freshLeader() -> Stage {
        let stage = Stage(voters: [1, 2, 3])
        stage.timeout(1)
        while stage[1].role != .leader { stage.deliver() }
        stage.drop()
        return stage
    }

    static func echo(_ position: UInt64, sequence: UInt64, match: UInt64) -> Message.Body {
        .appendResponse(
            Message.AppendResponse(
                rejected: false, matchIndex: LogIndex(match), hintIndex: .zero, hintTerm: .zero, readPosition: position,
                sequence: sequence, applied: .zero, quarantined: false))
    }

    @Test func noReadIsAnsweredBeforeTheLeaderHasCommittedInItsOwnTerm() {
        let stage = Self.freshLeader()
        #expect(stage.read(1).readIndexes.isEmpty)
        // A quorum answers, but has not taken the leader's entry.
        #expect(stage.receive(1, from: 2, term: 2, Self.echo(0, sequence: 1, match: 1)).readIndexes.isEmpty)
        #expect(!stage[1].hasCommittedInTerm)
        stage.forgetLines()
        for _ in 0..<2 { stage.beat(1) }
        #expect(stage[1].hasCommittedInTerm)
        #expect(stage.lines.contains("1 1 read(s) ready at 2"))
    }

    @Test func anEarlierAnswerDoesNotConfirmALaterRead() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        #expect(stage.read(1).readIndexes.isEmpty)
        let first = stage.mail
        stage.settle()
        #expect(stage.lines.last { $0.contains("ready") } != nil)
        // The question of the first read is delivered once more; its answer arrives after a second read was asked.
        stage.forgetLines()
        stage.read(1)
        stage.drop()
        for message in first { stage.hand(message) }
        stage.settle()
        #expect(!stage.lines.contains { $0.contains("ready") })
        stage.beat(1)
        #expect(stage.lines.contains { $0.contains("1 read(s) ready") })
    }

    @Test func readsThatArriveWhileARoundIsOnItsWayShareTheNext() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        let asked = stage.read(1).appends.count
        #expect(asked == 2)
        for _ in 0..<5 { #expect(stage.read(1).appends.isEmpty) }
        stage.forgetLines()
        stage.settle()
        #expect(stage.lines.filter { $0.contains("ready") } == ["1 1 read(s) ready at 2", "1 5 read(s) ready at 2"])
    }

    @Test func aReadSeesWhatWasCommittedWhenItWasAsked() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "x")
        stage.settle()
        stage.forgetLines()
        stage.read(1)
        stage.settle()
        #expect(stage.lines.contains("1 1 read(s) ready at 3"))
    }

    @Test func aLeaderThatIsCutOffAnswersNoReadAndRefusesItInTheEnd() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [1]
        #expect(stage.read(1).readIndexes.isEmpty)
        for id in UInt64(2)...3 { stage.wait([id], milliseconds: 3000) }
        stage.timeout(2)
        stage.settle()
        #expect(stage[2].role == .leader)
        stage.isolated = []
        stage.forgetLines()
        stage.beat(2)
        #expect(stage.lines.contains("1 1 read(s) refused: lost leadership"))
        #expect(!stage.lines.contains { $0.hasPrefix("1") && $0.contains("ready") })
    }

    @Test func aSingleServerAnswersReadsAtOnce() {
        let stage = Stage(voters: [1])
        stage.timeout(1)
        #expect(stage.read(1).readIndexes == [LogIndex(2)])
    }

    @Test func aReadThatWaitsForAServerThatIsRemovedIsAnswered() {
        let stage = Stage(voters: [1, 2])
        stage.elect(1)
        stage.slowDisks = [1]
        stage.change(1, remove: [2])
        stage.read(1)
        // 2 hears of the joint configuration but not of the read; the leader's own disk has the last word, and 2 is out.
        stage.deliver(to: 2, count: 1)
        stage.drop(to: 2)
        stage.deliver(to: 1)
        stage.persist(1)
        stage.persist(1)
        #expect(stage[1].configuration == Stage.voters([1]) && stage[1].commitIndex == stage[1].configurationIndex)
        #expect(!stage.lines.contains { $0.contains("ready") })
        stage.beat(1)
        #expect(stage.lines.contains { $0.contains("ready") })
    }

    // MARK: - Followers

    @Test func aFollowerAsksOnceForAllThatWait() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        #expect(stage.read(2).messages.count == 1)
        for _ in 0..<3 { #expect(stage.read(2).messages.isEmpty) }
        stage.forgetLines()
        stage.settle()
        #expect(stage.lines.filter { $0.hasPrefix("2") && $0.contains("ready") }.count == 2)
    }

    @Test func aQuestionWithoutAnAnswerIsAskedAgainAndWaitsLongerEachTime() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        stage.read(2)
        var contexts: Set<UInt64> = []
        for wait in [UInt64(200), 400, 800] {
            for message in stage.mail {
                if case .readIndexRequest(let context, _) = message.body { contexts.insert(context) }
            }
            stage.drop()
            stage.beat(1)
            stage.wait([2], milliseconds: wait - 1)
            #expect(stage.step(2, .tick).messages.isEmpty)
            stage.wait([2], milliseconds: 1)
            #expect(stage.step(2, .tick).messages.count == 1)
        }
        #expect(contexts.count == 3)
        stage.forgetLines()
        stage.settle()
        #expect(stage.lines.contains { $0.hasPrefix("2 1 read(s) ready") })
    }

    @Test func aLateAnswerToAnOldQuestionConfirmsNothing() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        stage.read(2)
        stage.deliver(from: 2, to: 1)
        stage.deliver(from: 1, to: 3)
        stage.deliver(from: 3, to: 1)
        let old = stage.mail.filter { if case .readIndexResponse = $0.body { true } else { false } }
        #expect(old.count == 1)
        stage.drop()
        stage.wait([2], milliseconds: 200)
        stage.step(2, .tick)
        stage.forgetLines()
        for message in old { stage.hand(message) }
        #expect(!stage.lines.contains { $0.contains("ready") })
        stage.settle()
        #expect(stage.lines.contains { $0.hasPrefix("2 1 read(s) ready") })
    }

    @Test func amongThreeAFollowersQuestionIsItsOwnConfirmation() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        stage.isolated = [3]
        stage.read(2)
        stage.deliver(from: 2, to: 1)
        #expect(stage.mail.count == 1, "nobody else is asked")
        stage.forgetLines()
        stage.deliver(from: 1, to: 2)
        #expect(stage.lines.contains { $0.hasPrefix("2 1 read(s) ready") })
    }

    @Test func aFollowersQuestionConfirmsNoReadButItsOwn() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        // The question was on its way when the leader was asked: it says nothing of what came after it.
        stage.read(2)
        stage.read(1)
        stage.forgetLines()
        stage.deliver(from: 2, to: 1)
        #expect(!stage.lines.contains { $0.hasPrefix("1 1 read(s) ready") })
    }

    @Test func amongFiveAFollowersQuestionNeedsOneMoreWord() {
        let stage = Stage(voters: [1, 2, 3, 4, 5])
        stage.elect(1)
        stage.beat(1)
        stage.isolated = [3, 4, 5]
        stage.read(2)
        stage.forgetLines()
        for _ in 0..<4 { stage.beat(1) }
        #expect(!stage.lines.contains { $0.contains("ready") })
        stage.isolated = [4, 5]
        stage.beat(1)
        stage.beat(1)
        #expect(stage.lines.contains { $0.hasPrefix("2 1 read(s) ready") })
    }

    @Test func aServerInQuarantineConfirmsNoRead() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        stage.settle()
        stage.beat(1)
        var disk = stage.disks[3] ?? Stage.Disk()
        disk.quarantinedUntil = disk.lastIndex
        disk.entries.removeLast(2)
        stage.start(3, disk)
        stage.isolated = [2]
        stage.receive(1, from: 3, term: 2, .readIndexRequest(context: 7, confirms: false))
        let answer: Message.Body = .readIndexResponse(context: 7, index: stage[1].commitIndex, refused: false)
        #expect(!stage.mail.contains { $0.body == answer })
        stage.read(1)
        stage.forgetLines()
        stage.receive(
            1, from: 3, term: 2,
            .appendResponse(
                Message.AppendResponse(
                    rejected: true, matchIndex: .zero, hintIndex: .zero, hintTerm: .zero, readPosition: 9, sequence: 99,
                    applied: .zero, quarantined: true)))
        #expect(!stage.lines.contains { $0.contains("ready") })
    }

    @Test func aFollowerWithoutALeaderRefusesReads() {
        let stage = Stage(voters: [1, 2, 3])
        #expect(stage.read(2).readRefusals == [.notLeader(nil)])
    }

    @Test func waitingReadsGoToTheNextLeaderOrAreRefused() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.beat(1)
        stage.read(3)
        stage.drop()
        stage.isolated = [1]
        stage.wait([2, 3], milliseconds: 3000)
        stage.timeout(2)
        stage.forgetLines()
        stage.settle()
        let answers = stage.lines.filter {
            $0.hasPrefix("3") && ($0.contains("ready") || $0.contains("read(s) refused"))
        }
        #expect(answers.count == 1)
    }

    @Test func readsAreBounded() {
        let stage = Stage()
        stage.settings.readsPendingMax = 3
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        stage.beat(1)
        var refused = 0
        for _ in 0..<6 { refused += stage.read(1).readRefusals.filter { $0 == .overloaded }.count }
        #expect(refused == 3)
        refused = 0
        for _ in 0..<6 { refused += stage.read(2).readRefusals.filter { $0 == .overloaded }.count }
        // One is asked for, three wait.
        #expect(refused == 2)
    }
}
