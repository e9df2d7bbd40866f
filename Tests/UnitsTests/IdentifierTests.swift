import Testing
import Units

@Suite struct IdentifierTests {
    @Test func indexesCountUpAndDownAndStopAtZero() {
        #expect(LogIndex(4).next == LogIndex(5))
        #expect(LogIndex(4).previous == LogIndex(3))
        #expect(LogIndex.zero.previous == .zero)
        #expect(LogIndex(4).advanced(by: 3) == LogIndex(7))
        #expect(Term(9).next == Term(10))
    }

    @Test func theDistanceOfIndexesIsNeverNegative() {
        #expect(LogIndex(7).distance(from: LogIndex(4)) == 3)
        #expect(LogIndex(4).distance(from: LogIndex(7)) == 0)
        #expect(LogIndex(4).distance(from: LogIndex(4)) == 0)
    }

    @Test func aNodeIsWrittenInSixteenHexadecimalDigits() {
        #expect(NodeID(0xAB).description == "00000000000000ab")
        #expect(NodeID(.max).description == "ffffffffffffffff")
        #expect(NodeID(2) < NodeID(10))
    }

    @Test func timeThatHasNotPassedIsZero() {
        let early = Instant(nanoseconds: 5)
        let late = early + .milliseconds(2)
        #expect(late.since(early) == .milliseconds(2))
        #expect(early.since(late) == .zero)
        #expect(early < late)
    }

    @Test func unitsOfTimeAndSizeAgree() {
        #expect(Nanoseconds.seconds(2) == .milliseconds(2000))
        #expect(Nanoseconds.milliseconds(1).rawValue == 1_000_000)
        #expect(ByteCount.mebibytes(1) == .kibibytes(1024))
        #expect((Nanoseconds.seconds(1) + .milliseconds(500)).description == "1500ms")
    }

    @Test func aRandomNodeIdIsNeverNobodyAndKeepsItsBits() {
        #expect(NodeID(random: 0) != .none)
        #expect(NodeID(random: .max).rawValue == 0xFFFF_FFFF_FFFF_8FFF)
        var uuids: Set<String> = []
        for bits in UInt64(0)..<500 { uuids.insert(NodeID(random: bits << 20 | bits).uuid) }
        #expect(uuids.count == 500)
    }

    @Test func aUUIDThatWasNotMadeHereIsNoNode() {
        let uuid = NodeID(random: 77).uuid
        #expect(NodeID(uuid: uuid) == NodeID(random: 77))
        #expect(NodeID(uuid: uuid.uppercased()) == nil || uuid.uppercased() == uuid)
        #expect(NodeID(uuid: String(uuid.dropLast()) + (uuid.hasSuffix("0") ? "1" : "0")) == nil)
        #expect(NodeID(uuid: "") == nil)
    }
}
