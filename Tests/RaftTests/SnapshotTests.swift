import Raft
import Testing
import Units

@Suite struct SnapshotTests {
    /// 3 was away; 1 has a snapshot and no log from before it.
    static func behind(_ entries: Int = 5) -> Stage {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.isolated = [3]
        for index in 0..<entries { stage.propose(1, "e\(index)") }
        stage.settle()
        stage.takeSnapshot(1)
        stage.isolated = []
        return stage
    }

    static func meta(_ index: UInt64, _ term: UInt64, _ configuration: Configuration, at position: UInt64 = 1)
        -> SnapshotMeta
    {
        SnapshotMeta(
            index: LogIndex(index), term: Term(term), configuration: configuration,
            configurationIndex: LogIndex(position),
            totalBytes: 10, sha256: [1], chain: [])
    }

    static func chunk(_ meta: SnapshotMeta) -> Message.Body {
        .snapshotChunk(
            Message.SnapshotChunk(
                meta: meta, offset: 0, data: [UInt8](repeating: 1, count: 10), checksum: 0, isLast: true))
    }

    @Test func aServerThatIsTooFarBehindIsSentTheSnapshotAndThenTheLog() {
        let stage = Self.behind()
        for _ in 0..<4 { stage.beat(1) }
        #expect(stage.lines.contains { $0 == "3 * snapshot 7 installed" })
        #expect(stage[3].firstIndex == LogIndex(8))
        stage.propose(1, "more")
        stage.settle()
        stage.beat(1)
        #expect(stage[3].commitIndex == stage[1].commitIndex)
        #expect(stage.applied[3]?.last?.index == stage[1].commitIndex)
    }

    @Test func afterAnInstallTheLogBeginsBehindTheSnapshot() {
        // Its own log was longer, and another one: nothing of it stays.
        let stage = Stage()
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1, 1, 1, 1, 1, 1, 1]))
        stage.receive(2, from: 1, term: 4, Self.chunk(Self.meta(6, 3, Stage.voters([1, 2, 3]))))
        #expect(stage[2].firstIndex == LogIndex(7) && stage[2].lastIndex == LogIndex(6) && stage[2].lastTerm == Term(3))
        #expect(stage[2].commitIndex == LogIndex(6) && stage[2].persistedIndex == LogIndex(6))
        let out = stage.receive(2, from: 1, term: 4, append(after: 6, term: 3, [4, 4], commit: 8, sequence: 2))
        #expect(out.appendAnswers.first?.matchIndex == LogIndex(8))
        #expect(stage.applied[2]?.map(\.index.rawValue) == [7, 8])
        stage.crash(2)
        stage.restart(2)
        #expect(stage[2].firstIndex == LogIndex(7) && stage[2].lastIndex == LogIndex(8))
    }

    @Test func aLogThatHoldsTheSnapshotsLastEntryKeepsWhatFollows() {
        let stage = Stage()
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1, 1, 1, 1, 1, 1, 1]))
        stage.receive(2, from: 1, term: 4, Self.chunk(Self.meta(6, 1, Stage.voters([1, 2, 3]))))
        #expect(stage[2].firstIndex == LogIndex(7) && stage[2].lastIndex == LogIndex(9))
        #expect(stage.disks[2]?.entries.map(\.index.rawValue) == [7, 8, 9])
    }

    @Test func theSnapshotsConfigurationTakesThePlaceOfTheLogs() {
        let stage = Stage()
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1]))
        let configuration = Configuration(voters: [2, 4, 5].map(Stage.member), learners: [6].map(Stage.member))
        stage.receive(2, from: 4, term: 4, Self.chunk(Self.meta(6, 3, configuration, at: 5)))
        #expect(stage[2].configuration == configuration && stage[2].configurationIndex == LogIndex(5))
        stage.crash(2)
        stage.restart(2)
        #expect(stage[2].configuration == configuration)
        // Also where the log goes on behind the snapshot with an older configuration in it.
        let other = Stage()
        other.start(2, Stage.Disk(Stage.voters([1, 2, 3]), terms: [1, 1, 1, 1, 1, 1]))
        other.receive(2, from: 4, term: 4, Self.chunk(Self.meta(6, 1, configuration, at: 5)))
        #expect(other[2].lastIndex == LogIndex(7) && other[2].configuration == configuration)
    }

    @Test func aConfigurationBehindTheSnapshotStillCounts() {
        let stage = Stage(voters: [1, 2, 3])
        let later = Entry(term: Term(1), index: LogIndex(3), payload: .configuration(Stage.voters([1, 2, 3, 4])))
        var disk = Stage.Disk(Stage.voters([1, 2, 3]), terms: [1])
        disk.entries.append(later)
        stage.start(2, disk)
        stage.receive(2, from: 1, term: 4, Self.chunk(Self.meta(2, 1, Stage.voters([1, 2, 3]))))
        #expect(stage[2].configuration.voters.count == 4 && stage[2].configurationIndex == LogIndex(3))
    }

    @Test func aBatchOfTheSameRoundGoesToDiskBeforeTheInstall() {
        let stage = Stage()
        stage.start(2, Stage.Disk(Stage.voters([1, 2, 3])))
        stage.slowDisks = [2]
        let meta = Self.meta(9, 2, Stage.voters([1, 2, 3]))
        let message = Message(
            from: NodeID(1), to: NodeID(2), term: Term(2), body: append(after: 1, term: 1, [2, 2, 2]))
        let out = stage.step(
            2, .message(message), .snapshotChunkStored(meta: meta, nextOffset: meta.totalBytes, from: NodeID(1)))
        let persist = out.firstIndex { if case .persist = $0 { true } else { false } }
        let install = out.firstIndex { if case .installSnapshot = $0 { true } else { false } }
        #expect(persist != nil && install != nil)
        if let persist, let install { #expect(persist < install) }
        #expect(stage[2].lastIndex == LogIndex(9) && stage.disks[2]?.entries.isEmpty == true)
    }

    @Test func aLateDiskAnswerAfterAnInstallCountsForNothing() {
        var node = RaftNode(
            id: NodeID(2), settings: RaftSettings(), restored: Stage.Disk(Stage.voters([1, 2, 3])).restored(), seed: 1,
            now: .start)
        func step(_ input: Input) -> [Directive] {
            var out: [Directive] = []
            node.step(input, at: .start, into: &out)
            node.flush(at: .start, into: &out)
            return out
        }
        func message(_ from: UInt64, _ term: UInt64, _ body: Message.Body) -> Input {
            .message(Message(from: NodeID(from), to: NodeID(2), term: Term(term), body: body))
        }
        let first = step(message(1, 2, append(after: 1, term: 1, [2, 2, 2, 2]))).persists.last?.id ?? 0
        let meta = Self.meta(3, 3, Stage.voters([1, 2, 3]))
        _ = step(.snapshotChunkStored(meta: meta, nextOffset: meta.totalBytes, from: NodeID(3)))
        _ = step(.snapshotInstalled(meta: meta, succeeded: true, from: NodeID(3)))
        let second = step(message(3, 4, append(after: 3, term: 3, [4, 4], sequence: 2))).persists.last?.id ?? 0
        _ = step(.persisted(batch: first))
        #expect(node.lastIndex == LogIndex(5) && node.persistedIndex == LogIndex(3))
        _ = step(.persisted(batch: second))
        #expect(node.persistedIndex == LogIndex(5))
    }

    @Test func nothingIsAppendedWhileASnapshotIsLoadedButHeartbeatsAreAnswered() {
        var node = RaftNode(
            id: NodeID(2), settings: RaftSettings(), restored: Stage.Disk(Stage.voters([1, 2, 3])).restored(), seed: 1,
            now: .start)
        let meta = Self.meta(9, 2, Stage.voters([1, 2, 3]))
        func step(_ input: Input) -> [Directive] {
            var out: [Directive] = []
            node.step(input, at: .start, into: &out)
            node.flush(at: .start, into: &out)
            for batch in out.persists { node.step(.persisted(batch: batch.id), at: .start, into: &out) }
            return out
        }
        func message(_ body: Message.Body) -> Input {
            .message(Message(from: NodeID(1), to: NodeID(2), term: Term(2), body: body))
        }
        _ = step(message(append(after: 1, term: 1)))
        _ = step(.snapshotChunkStored(meta: meta, nextOffset: meta.totalBytes, from: NodeID(1)))
        #expect(step(message(append(after: 1, term: 1, [2]))).appendAnswers.isEmpty)
        #expect(node.lastIndex == LogIndex(1))
        let answer = step(message(append(after: 0, term: 0, [], readPosition: 5, sequence: 3))).appendAnswers.first
        #expect(answer?.rejected == false && answer?.matchIndex == .zero && answer?.readPosition == 5)
        #expect(step(.snapshotInstalled(meta: meta, succeeded: true, from: NodeID(1))).messages.count == 1)
        #expect(node.commitIndex == LogIndex(9))
    }

    @Test func aCandidateDoesNotBeginToLoadASnapshot() {
        let stage = Stage(voters: [1, 2, 3])
        let meta = Self.meta(9, 1, Stage.voters([1, 2, 3]))
        stage.receive(2, from: 1, term: 1, append(after: 1, term: 1))
        stage.wait([2], milliseconds: 5000)
        stage.timeout(2)
        #expect(stage[2].role == .preCandidate)
        let out = stage.step(2, .snapshotChunkStored(meta: meta, nextOffset: meta.totalBytes, from: NodeID(1)))
        #expect(!out.contains { if case .installSnapshot = $0 { true } else { false } })
    }

    @Test func aServerThatLoadsASnapshotDoesNotCampaign() {
        var node = RaftNode(
            id: NodeID(2), settings: RaftSettings(), restored: Stage.Disk(Stage.voters([1, 2, 3])).restored(), seed: 1,
            now: .start)
        var out: [Directive] = []
        let meta = Self.meta(9, 1, Stage.voters([1, 2, 3]))
        node.step(.snapshotChunkStored(meta: meta, nextOffset: 10, from: NodeID(1)), at: .start, into: &out)
        node.step(.tick, at: Instant.start + .seconds(60), into: &out)
        #expect(node.role == .follower)
        node.step(
            .snapshotInstalled(meta: meta, succeeded: false, from: NodeID(1)), at: Instant.start + .seconds(60),
            into: &out)
        node.step(.tick, at: Instant.start + .seconds(90), into: &out)
        #expect(node.role == .preCandidate && node.commitIndex == .zero)
        #expect(
            out.messages.contains { if case .snapshotResponse(let answer) = $0.body { answer.refused } else { false } })
    }

    @Test func aLostChunkIsSentAgainAndTheTransferGoesOnWhereItStopped() {
        let stage = Self.behind()
        for _ in 0..<40 where stage[3].commitIndex < LogIndex(7) {
            stage.timeout(1)
            // Every other piece is lost.
            stage.deliver(from: 1, to: 3, count: 1)
            stage.drop(from: 1, to: 3)
            stage.settle()
        }
        #expect(stage[3].commitIndex == LogIndex(7))
        let starts = stage.lines.filter { $0 == "1 * sends snapshot 7 to 3" }.count
        #expect(starts == 1)
    }

    @Test func aSnapshotWhoseFileIsGoneIsReplacedByTheNewest() {
        let stage = Self.behind()
        stage.timeout(1)
        stage.deliver(from: 1, to: 3)
        stage.deliver(from: 3, to: 1)
        stage.propose(1, "f", "g")
        stage.deliver(from: 1, to: 2)
        stage.deliver(from: 2, to: 1)
        stage.takeSnapshot(1)
        for _ in 0..<15 { stage.beat(1) }
        #expect(stage.lines.contains("1 * sends snapshot 7 to 3") && stage.lines.contains("1 * sends snapshot 9 to 3"))
        #expect(stage[3].commitIndex == stage[1].commitIndex)
    }

    @Test func aSnapshotThatIsNoNewsIsAnsweredAsInstalled() {
        let stage = Stage(voters: [1, 2, 3])
        stage.elect(1)
        stage.propose(1, "a")
        stage.settle()
        stage.beat(1)
        let out = stage.receive(2, from: 1, term: 2, Self.chunk(Self.meta(2, 2, Stage.voters([1, 2, 3]))))
        #expect(
            out.messages.contains {
                if case .snapshotResponse(let answer) = $0.body { answer.installed } else { false }
            })
        #expect(stage[2].lastIndex == LogIndex(3))
    }
}
