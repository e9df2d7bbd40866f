import Raft
import Testing
import Units

@Suite struct ReplicationTests {
    /// A follower of three with entries of these terms after the configuration.
    static func follower(_ terms: [UInt64], term: UInt64) -> Stage {
        let stage = Stage()
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: terms, term: term))
        return stage
    }

    static func terms(_ stage: Stage, _ id: UInt64) -> [UInt64] {
        stage.disks[id]?.entries.dropFirst().map(\.term.rawValue) ?? []
    }

    // MARK: - A follower

    @Test func aFollowerRejectsAnAppendWhosePreviousTermDiffers() {
        let stage = Self.follower([1, 1, 2, 2], term: 4)
        let answers = stage.receive(2, from: 1, term: 4, append(after: 5, term: 3, [4])).appendAnswers
        #expect(answers.map(\.rejected) == [true])
        #expect(answers.first?.matchIndex == LogIndex(5))
        #expect(answers.first?.hintIndex == LogIndex(5) && answers.first?.hintTerm == Term(2))
        #expect(Self.terms(stage, 2) == [1, 1, 2, 2])
    }

    @Test func aRefusalNamesTheNewestIndexWhoseTermIsNotAboveTheOneTried() {
        let stage = Self.follower([1, 1, 5, 5, 5, 5], term: 6)
        let answer = stage.receive(2, from: 1, term: 6, append(after: 7, term: 3, [6])).appendAnswers.first
        #expect(answer?.rejected == true && answer?.hintIndex == LogIndex(3) && answer?.hintTerm == Term(1))
    }

    @Test func aFollowerCommitsNoFurtherThanTheMessageVerified() {
        // Its tail is of term 2; the leader of term 3 has committed up to 5 but has only verified 3.
        let stage = Self.follower([1, 1, 2, 2], term: 3)
        stage.receive(2, from: 1, term: 3, append(after: 2, term: 1, [1], commit: 5))
        #expect(stage[2].commitIndex == LogIndex(3))
        stage.receive(2, from: 1, term: 3, append(after: 3, term: 1, [], commit: 5, sequence: 2))
        #expect(stage[2].commitIndex == LogIndex(3))
        stage.receive(2, from: 1, term: 3, append(after: 3, term: 1, [3, 3], commit: 5, sequence: 3))
        #expect(stage[2].commitIndex == LogIndex(5))
        #expect(stage.applied[2]?.map(\.term.rawValue) == [1, 1, 1, 3, 3])
    }

    @Test func anOvertakenAppendCutsNothingOff() {
        let stage = Self.follower([], term: 2)
        stage.receive(2, from: 1, term: 2, append(after: 1, term: 1, [2, 2, 2, 2], sequence: 2))
        let out = stage.receive(2, from: 1, term: 2, append(after: 1, term: 1, [2], sequence: 1))
        #expect(Self.terms(stage, 2) == [2, 2, 2, 2])
        #expect(out.persists.isEmpty)
        #expect(out.appendAnswers.first?.matchIndex == LogIndex(2))
    }

    @Test func onlyWhatConflictsIsCutOff() {
        let stage = Self.follower([1, 1, 2, 2, 2], term: 3)
        let out = stage.receive(2, from: 1, term: 3, append(after: 2, term: 1, [1, 2, 3]))
        #expect(out.persists.first?.truncateFrom == LogIndex(5))
        #expect(Self.terms(stage, 2) == [1, 1, 2, 3])
    }

    @Test func anAppendThatBeginsBelowTheCommitIndexNeverCutsWhatIsCommitted() {
        let stage = Self.follower([1, 1, 2, 2], term: 3)
        stage.receive(2, from: 1, term: 3, append(after: 5, term: 2, [], commit: 4))
        #expect(stage[2].commitIndex == LogIndex(4))
        // Terms that can't be: a late message of another life. What is committed is skipped, not compared.
        let out = stage.receive(2, from: 1, term: 3, append(after: 2, term: 1, [3, 3, 3], commit: 4))
        #expect(out.persists.first?.truncateFrom == LogIndex(5))
        #expect(Self.terms(stage, 2) == [1, 1, 2, 3])
    }

    @Test func aCompactedPreviousEntryIsNoConflict() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a", "b", "c")
        stage.settle()
        stage.beat(1)
        stage.takeSnapshot(2)
        let last = stage[2].lastIndex
        #expect(stage[2].firstIndex == last.next)
        let out = stage.receive(2, from: 1, term: 2, append(after: 1, term: 1, [2, 2], sequence: 90))
        #expect(out.appendAnswers.first?.rejected == false)
        #expect(stage[2].lastIndex == last)
    }

    @Test func malformedAppendsAreIgnored() {
        let stage = Self.follower([1, 1], term: 3)
        let gap = Entry(term: Term(3), index: LogIndex(9), payload: .noop)
        func body(_ entries: [Entry], _ term: UInt64) -> Message.Body {
            .append(
                Message.Append(
                    previousIndex: LogIndex(3), previousTerm: Term(term), entries: entries, commit: .zero,
                    readPosition: 0,
                    sequence: 1))
        }
        #expect(stage.receive(2, from: 1, term: 3, body([gap], 1)).appendAnswers.isEmpty)
        let future = Entry(term: Term(4), index: LogIndex(4), payload: .noop)
        #expect(stage.receive(2, from: 1, term: 3, body([future], 1)).appendAnswers.isEmpty)
        let falling = Entry(term: Term(2), index: LogIndex(4), payload: .noop)
        #expect(stage.receive(2, from: 1, term: 3, body([falling], 3)).appendAnswers.isEmpty)
        #expect(stage[2].lastIndex == LogIndex(3))
    }

    // MARK: - A leader

    @Test func aLeaderCommitsNothingOfAnEarlierTermByCountingCopies() {
        // Figure 8: the entry of term 2 is on two of three disks, which alone does not commit it.
        let stage = Stage()
        stage.start(1, Stage.Disk(Stage.voters([1, 2, 3]), terms: [2]))
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [2]))
        stage.start(3, Stage.Disk(Stage.voters([1, 2, 3])))
        stage.timeout(1)
        while stage[1].role != .leader, !stage.mail.isEmpty { stage.deliver() }
        #expect(stage[1].role == .leader && stage[1].lastIndex == LogIndex(3))
        stage.drop()
        let match = Message.AppendResponse(
            rejected: false, matchIndex: LogIndex(2), hintIndex: .zero, hintTerm: .zero, readPosition: 0, sequence: 1,
            applied: .zero, quarantined: false)
        stage.receive(1, from: 2, term: 3, .appendResponse(match))
        #expect(stage[1].commitIndex == .zero)
        stage.beat(1)
        #expect(stage[1].commitIndex == LogIndex(3))
    }

    @Test func aLeaderWhoseDiskIsBehindCommitsByTheOthersCopies() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.slowDisks = [1]
        stage.propose(1, "x")
        stage.deliver(to: 2)
        stage.deliver(to: 1)
        #expect(stage[1].commitIndex < stage[1].lastIndex)
        stage.settle()
        #expect(stage[1].commitIndex == stage[1].lastIndex)
        #expect(stage[1].persistedIndex < stage[1].commitIndex)
        #expect(stage.applied[1]?.last?.index == stage[1].commitIndex)
    }

    @Test func aSingleServerCommitsOnlyWhatItsDiskHolds() {
        let stage = Stage(voters: [1])
        stage.timeout(1)
        stage.slowDisks = [1]
        #expect(stage.propose(1, "x").appliedEntries.isEmpty)
        #expect(stage[1].commitIndex == LogIndex(2))
        #expect(stage.persist(1).appliedEntries.count == 1)
        #expect(stage[1].commitIndex == LogIndex(3))
    }

    @Test func theWindowIsBoundedByCountAndByBytes() {
        let stage = Stage()
        stage.settings.inflightMessagesMax = 3
        stage.settings.appendEntriesMax = 1
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        stage.isolated = [3]
        var sent = 0
        for _ in 0..<10 { sent += stage.propose(1, "x").messages.filter { $0.to == NodeID(2) }.count }
        #expect(sent == 3)
        let bytes = Stage()
        bytes.settings.inflightBytes = ByteCount(10)
        for id in UInt64(1)...3 { bytes.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        bytes.elect(1)
        sent = 0
        for _ in 0..<10 { sent += bytes.propose(1, "123456").messages.filter { $0.to == NodeID(2) }.count }
        #expect(sent == 2)
    }

    @Test func lostAnswersAreMadeUpForByTheNextHeartbeat() {
        let stage = Stage()
        stage.settings.inflightMessagesMax = 2
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        for text in ["a", "b", "c", "d"] { stage.propose(1, text) }
        stage.deliver()
        stage.drop(to: 1)
        #expect(stage[1].commitIndex < stage[1].lastIndex)
        stage.beat(1)
        #expect(stage[1].commitIndex == stage[1].lastIndex)
    }

    @Test func lostAppendsAreMadeUpForByProbing() {
        let stage = Stage()
        stage.settings.inflightMessagesMax = 2
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        for text in ["a", "b", "c", "d"] { stage.propose(1, text) }
        stage.drop()
        stage.beat(1)
        stage.beat(1)
        #expect(stage[1].commitIndex == stage[1].lastIndex && stage[1].lastIndex == LogIndex(6))
    }

    @Test func aLateAnswerNeitherLowersNorRaisesWhatIsKnown() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        let early = stage.mail.filter { $0.to == NodeID(2) }
        stage.settle()
        stage.propose(1, "b")
        stage.settle()
        let known = stage[1].matchIndex(of: NodeID(2))
        #expect(known == stage[1].lastIndex)
        // The first append arrives again; its answer speaks of less than is known.
        for message in early { stage.hand(message) }
        stage.settle()
        #expect(stage[1].matchIndex(of: NodeID(2)) == known)
        // An answer to what was never sent counts for nothing.
        let ahead = Message.AppendResponse(
            rejected: false, matchIndex: LogIndex(99), hintIndex: .zero, hintTerm: .zero, readPosition: 0, sequence: 1,
            applied: .zero, quarantined: false)
        stage.receive(1, from: 2, term: 2, .appendResponse(ahead))
        #expect(stage[1].matchIndex(of: NodeID(2)) == known)
    }

    @Test func aLateAcceptanceThatReachesLessFarDoesNotEndProbing() {
        let stage = Stage()
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1, 1])) }
        stage.timeout(1)
        while stage[1].role != .leader { stage.deliver() }
        stage.drop()
        func accept(_ match: UInt64) {
            stage.receive(
                1, from: 2, term: 2,
                .appendResponse(
                    Message.AppendResponse(
                        rejected: false, matchIndex: LogIndex(match), hintIndex: .zero, hintTerm: .zero,
                        readPosition: 0,
                        sequence: 1, applied: .zero, quarantined: false)))
        }
        accept(2)
        #expect(stage[1].matchIndex(of: NodeID(2)) == LogIndex(2))
        #expect(!stage.propose(1, "x").messages.contains { $0.to == NodeID(2) })
        accept(5)
        #expect(stage.mail.contains { $0.to == NodeID(2) })
    }

    @Test func refusalsOfAWindowThatArrivedOutOfOrderMakeNoStorm() {
        let stage = Stage()
        stage.settings.appendEntriesMax = 1
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        stage.isolated = [3]
        for index in 0..<40 { stage.propose(1, "\(index)") }
        var delivered = 0
        var dice = Dice(seed: 7)
        while !stage.mail.isEmpty, delivered < 4000 {
            delivered += 1
            stage.hand(stage.mail.remove(at: Int(dice.below(UInt64(stage.mail.count)))))
        }
        #expect(delivered < 2000, "\(delivered) messages for forty entries")
        stage.beat(1)
        stage.beat(1)
        #expect(stage[1].commitIndex == stage[1].lastIndex)
    }

    @Test func probingJumpsOverADivergingTermInOneRound() {
        let stage = Stage()
        stage.start(1, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1] + [UInt64](repeating: 3, count: 300)))
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1] + [UInt64](repeating: 3, count: 300)))
        stage.start(3, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1] + [UInt64](repeating: 2, count: 299)))
        stage.timeout(1)
        stage.settle()
        let refusals = stage.lines.filter { $0.hasPrefix("3 -> 1") && $0.contains("refused after") }.count
        #expect(refusals <= 3)
        #expect(stage[3].lastIndex == stage[1].lastIndex && stage[3].commitIndex == stage[1].commitIndex)
    }

    @Test func entriesThatAreNoLongerInMemoryAreReadFromDisk() {
        let stage = Stage()
        for id in UInt64(1)...3 {
            var disk = Stage.Disk(Stage.voters([1, 2, 3]), terms: id == 3 ? [1] : [1, 1, 1, 1, 1, 1])
            disk.tailCount = id == 3 ? nil : 2
            stage.start(id, disk)
        }
        stage.elect(1)
        stage.beat(1)
        #expect(stage.lines.contains { $0.hasPrefix("1 fetch") && $0.hasSuffix("for 3") })
        for id in UInt64(1)...3 {
            #expect(stage.applied[id]?.map(\.index.rawValue) == Array(1...8), "server \(id)")
        }
    }

    @Test func whatIsReadFromDiskToBeAppliedNeverReachesIntoWhatWasRewritten() {
        // Entries 2…6 are not in memory; a newer leader rewrites 6 while the disk is slow.
        let stage = Stage()
        var disk = Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1, 1, 1, 1, 1, 1])
        disk.tailCount = 1
        stage.start(2, disk)
        stage.slowDisks = [2]
        stage.receive(2, from: 1, term: 3, append(after: 5, term: 1, [3, 3], commit: 7))
        #expect(stage[2].commitIndex == LogIndex(7))
        #expect(stage.applied[2]?.map(\.index.rawValue) == Array(1...7))
        #expect(stage.applied[2]?.map(\.term.rawValue) == [1, 1, 1, 1, 1, 3, 3])
    }

    // MARK: - Bounds

    @Test func uncommittedBytesAreBoundedAndTheCounterIsARecount() {
        let stage = Stage()
        stage.settings.uncommittedBytes = ByteCount(10)
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]))) }
        stage.elect(1)
        stage.isolated = [2, 3]
        #expect(stage.propose(1, "12345678901234567890").proposalRefusals.isEmpty, "one always passes")
        #expect(stage.propose(1, "1").proposalRefusals == [.overloaded])
        #expect(stage[1].uncommittedBytes == 20)
        stage.isolated = []
        stage.beat(1)
        stage.beat(1)
        #expect(stage[1].uncommittedBytes == 0)
        #expect(stage.propose(1, "123").proposalRefusals.isEmpty)
        #expect(stage[1].uncommittedBytes == 3)
    }

    @Test func aNewLeaderCountsTheUncommittedCommandsThatItInheritsAndNothingElse() {
        let stage = Stage()
        stage.settings.uncommittedBytes = ByteCount(10)
        var terms: [UInt64] = []
        terms = [1, 1, 1]
        for id in UInt64(1)...3 { stage.start(id, Stage.Disk(Stage.voters([1, 2, 3]), terms: terms)) }
        stage.timeout(1)
        while stage[1].role != .leader { stage.deliver() }
        // Three commands "2.1", "3.1", "4.1"; the configuration in entry 1 counts for nothing.
        #expect(stage[1].uncommittedBytes == 9)
        stage.settle()
        #expect(stage[1].uncommittedBytes == 0)
        stage.elect(2)
        #expect(stage[1].uncommittedBytes == 0 && stage[2].uncommittedBytes == 0)
    }

    // MARK: - Disk full

    @Test func aFollowerWithoutRoomAnswersAndTakesWhatItIsSentOnceThereIsRoom() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        stage.step(2, .diskFull(true))
        stage.propose(1, "x")
        stage.settle()
        for _ in 0..<30 { stage.beat(1) }
        #expect(stage[1].role == .leader, "a full disk is no silence")
        #expect(stage[1].commitIndex < stage[1].lastIndex)
        stage.step(2, .diskFull(false))
        stage.beat(1)
        stage.beat(1)
        #expect(stage[1].commitIndex == stage[1].lastIndex)
        #expect(stage[2].lastIndex == stage[1].lastIndex)
    }

    @Test func readsGoOnWhileAFollowerHasNoRoom() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        stage.step(2, .diskFull(true))
        stage.propose(1, "x")
        stage.settle()
        stage.forgetLines()
        stage.read(1)
        stage.beat(1)
        #expect(stage.lines.contains { $0.contains("read(s) ready") })
    }
}
