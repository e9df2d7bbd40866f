import Raft
import Testing
import Units

@Suite struct PersistenceTests {
    @Test func aVoteLeavesOnlyOnceTermAndVoteAreDurable() {
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [1]
        let out = stage.receive(1, from: 2, term: 5, voteRequest(last: 1, term: 1))
        #expect(out.votes.isEmpty)
        #expect(out.persists.map(\.hardState) == [HardState(term: Term(5), vote: NodeID(2))])
        #expect(stage.persist(1).votes == [true])
    }

    @Test func termAndVoteAreOneRecord() {
        // Whatever a server does, what it persists never holds a term without that term's vote.
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [1]
        let message = Message(from: NodeID(2), to: NodeID(1), term: Term(5), body: voteRequest(last: 1, term: 1))
        let batches = stage.step(1, .message(message)).persists
        #expect(batches.count == 1 && batches.first?.hardState?.vote == NodeID(2))
        stage.crash(1)
        stage.restart(1)
        #expect(stage[1].term == Term(1) && stage[1].vote == nil, "lost as a whole")
    }

    @Test func aCandidateAsksForVotesOnceItsOwnIsDurableAndCountsItOnlyThen() {
        let stage = Stage(voters: [1, 2, 3])
        stage.timeout(1)
        stage.deliver()
        stage.slowDisks = [1]
        stage.deliver()
        #expect(stage[1].role == .candidate && stage.mail.isEmpty)
        stage.receive(1, from: 2, term: 2, .voteResponse(granted: true, pre: false))
        #expect(stage[1].role == .candidate, "one vote and one that is not durable yet")
        stage.persist(1)
        #expect(stage[1].role == .leader)
    }

    @Test func aSecondVoteIsImpossibleAtEveryPersistBoundary() {
        // Vote requests of two candidates, a crash after each step and with each batch written or not.
        for crashAfter in 0...3 {
            for written in 0...2 {
                let stage = Stage(voters: [1, 2, 3])
                stage.slowDisks = [1]
                var granted: [UInt64: Set<UInt64>] = [:]
                func note(_ out: [Directive]) {
                    for message in out.messages {
                        if case .voteResponse(true, false) = message.body {
                            granted[message.term.rawValue, default: []].insert(message.to.rawValue)
                        }
                    }
                }
                let requests: [(from: UInt64, term: UInt64)] = [(2, 2), (3, 2), (3, 3), (2, 3)]
                for (step, request) in requests.enumerated() {
                    note(stage.receive(1, from: request.from, term: request.term, voteRequest(last: 1, term: 1)))
                    if step == crashAfter {
                        note(stage.persist(1, written))
                        stage.crash(1)
                        stage.restart(1)
                    }
                }
                note(stage.persist(1))
                for request in requests {
                    note(stage.receive(1, from: request.from, term: request.term, voteRequest(last: 1, term: 1)))
                    note(stage.persist(1))
                }
                #expect(granted.values.allSatisfy { $0.count == 1 }, "crash after \(crashAfter), \(written) written")
            }
        }
    }

    @Test func entriesAreAcknowledgedOnceTheyAreDurable() {
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        #expect(stage.receive(2, from: 1, term: 1, append(after: 1, term: 1, [1, 1])).appendAnswers.isEmpty)
        #expect(stage.persist(2).appendAnswers.map(\.matchIndex) == [LogIndex(3)])
    }

    @Test func acceptancesThatWaitForOneBatchBecomeOneMessage() {
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        stage.receive(2, from: 1, term: 1, append(after: 1, term: 1, [1, 1], readPosition: 4, sequence: 1))
        for sequence in UInt64(2)...50 {
            stage.receive(
                2, from: 1, term: 1, append(after: 2, term: 1, [], readPosition: sequence, sequence: sequence))
        }
        let answers = stage.persist(2).appendAnswers
        #expect(answers.count == 1)
        #expect(answers.first?.matchIndex == LogIndex(3))
        #expect(answers.first?.sequence == 50 && answers.first?.readPosition == 50)
    }

    @Test func whatWaitsToBeSaidInAnOlderTermIsNotSaidAnyMore() {
        // An acceptance and a vote wait for the disk; before it answers, the server has moved on by two terms.
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        stage.receive(2, from: 1, term: 7, append(after: 1, term: 1, [7, 7]))
        stage.wait([2], milliseconds: 3000)
        stage.receive(2, from: 3, term: 8, voteRequest(last: 3, term: 7))
        stage.receive(2, from: 3, term: 9, append(after: 1, term: 1, [9]))
        let said = (0..<3).flatMap { _ in stage.persist(2, 1).messages }
        #expect(said.map(\.term) == [Term(9)] && said.map(\.to) == [NodeID(3)])
    }

    @Test func stepsBetweenTwoFlushesShareABatch() {
        let stage = Stage(voters: [1])
        stage.timeout(1)
        stage.slowDisks = [1]
        let inputs = (0..<5).map { Input.propose(token: UInt64(100 + $0), payloads: [[UInt8($0)]]) }
        let out = stage.step(1, inputs)
        #expect(out.persists.count == 1 && out.persists.first?.entries.count == 5)
    }

    @Test func theDisksAnswerForARewrittenIndexDoesNotCountForTheNewEntry() {
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        stage.receive(2, from: 1, term: 2, append(after: 1, term: 1, [2, 2]))
        let out = stage.receive(2, from: 3, term: 3, append(after: 1, term: 1, [3, 3]))
        #expect(out.persists.first?.truncateFrom == LogIndex(2))
        let first = stage.persist(2, 1)
        // The old leader hears no more of the old entries, the new one nothing yet.
        #expect(first.messages.isEmpty)
        #expect(stage[2].persistedIndex == LogIndex(1))
        let second = stage.persist(2, 1)
        #expect(second.appendAnswers.map(\.matchIndex) == [LogIndex(3)])
        #expect(stage[2].persistedIndex == LogIndex(3))
    }

    @Test func anEntryThatIsCutAndWrittenAgainIsDurableOnlyAfterTheLastWrite() {
        // Entry (2, term 2) is written, cut by term 3, and written again by a leader of term 4 that has it.
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        stage.receive(2, from: 1, term: 2, append(after: 1, term: 1, [2]))
        stage.receive(2, from: 3, term: 3, append(after: 1, term: 1, [3]))
        stage.receive(2, from: 1, term: 4, append(after: 1, term: 1, [2]))
        for expected in [UInt64(1), 1, 2] {
            stage.persist(2, 1)
            #expect(stage[2].persistedIndex == LogIndex(expected))
        }
    }

    @Test func aCutThatNeverReachedTheDiskLeavesNoGap() {
        let stage = Stage(voters: [1, 2, 3])
        func message(_ term: UInt64, _ body: Message.Body, from: UInt64) -> Input {
            .message(Message(from: NodeID(from), to: NodeID(2), term: Term(term), body: body))
        }
        // Both in one group: the first leader's entries are cut before they were handed to the disk.
        let out = stage.step(
            2, message(2, append(after: 1, term: 1, [2, 2, 2]), from: 1),
            message(3, append(after: 3, term: 2, [3]), from: 3))
        #expect(out.persists.first?.entries.map(\.term.rawValue) == [2, 2, 3])
        #expect(stage.disks[2]?.entries.map(\.index.rawValue) == [1, 2, 3, 4])
    }

    @Test func appendsTravelWhileTheLeadersDiskWorks() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.slowDisks = [1]
        let out = stage.propose(1, "x")
        let send = out.firstIndex { if case .send = $0 { true } else { false } }
        let persist = out.firstIndex { if case .persist = $0 { true } else { false } }
        #expect(send != nil && persist != nil)
        if let send, let persist { #expect(send < persist) }
    }

    @Test func aRefusalTellsATermThatIsDurable() {
        let stage = Stage(voters: [1, 2, 3])
        stage.slowDisks = [2]
        stage.receive(2, from: 3, term: 7, append(after: 1, term: 1))
        #expect(stage.receive(2, from: 1, term: 2, append(after: 1, term: 1)).messages.isEmpty)
        let out = stage.persist(2)
        #expect(out.messages.contains { $0.to == NodeID(1) && $0.term == Term(7) })
    }

    @Test func settingsThatMakeNoSenseAreNamed() {
        #expect(RaftSettings().complaint == nil)
        var settings = RaftSettings()
        settings.electionTimeoutMax = settings.electionTimeoutMin
        #expect(settings.complaint?.contains("electionTimeoutMax") == true)
        settings = RaftSettings()
        settings.electionTimeoutMin = settings.heartbeatInterval
        #expect(settings.complaint?.contains("electionTimeoutMin") == true)
        settings = RaftSettings()
        settings.inflightMessagesMax = 0
        #expect(settings.complaint?.contains("inflightMessagesMax") == true)
    }
}
