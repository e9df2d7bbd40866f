import Raft
import Units

/// Random Raft messages that a node could send.
enum WireSamples {
    static func chunk(from: UInt64, to: UInt64, bytes: Int) -> Raft.Message {
        let meta = Raft.SnapshotMeta(
            index: LogIndex(10), term: Term(2), configuration: Raft.Configuration(voters: [Raft.Member(id: NodeID(1))]),
            configurationIndex: LogIndex(1), totalBytes: UInt64(bytes), sha256: [UInt8](repeating: 1, count: 32),
            chain: [])
        return Raft.Message(
            from: NodeID(from), to: NodeID(to), term: Term(2),
            body: .snapshotChunk(
                Raft.Message.SnapshotChunk(
                    meta: meta, offset: 0, data: [UInt8](repeating: 2, count: bytes), checksum: 3, isLast: true)))
    }

    static func message(_ generator: inout SeededGenerator) -> Raft.Message {
        let term = UInt64.random(in: 1..<1 << 40, using: &generator)
        return Raft.Message(
            from: NodeID(.random(in: 1 ... .max, using: &generator)),
            to: NodeID(.random(in: 1 ... .max, using: &generator)),
            term: Term(term), body: self.body(term, &generator))
    }

    private static func number(_ generator: inout SeededGenerator) -> UInt64 {
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: 0
        case 1: .random(in: 0..<300, using: &generator)
        default: .random(in: 0..<1 << 62, using: &generator)
        }
    }

    private static func index(_ generator: inout SeededGenerator) -> LogIndex { LogIndex(self.number(&generator)) }

    private static func bytes(_ counts: ClosedRange<Int>, _ generator: inout SeededGenerator) -> [UInt8] {
        (0..<Int.random(in: counts, using: &generator)).map { _ in .random(in: .min ... .max, using: &generator) }
    }

    private static func body(_ term: UInt64, _ generator: inout SeededGenerator) -> Raft.Message.Body {
        switch Int.random(in: 0..<9, using: &generator) {
        case 0:
            return .voteRequest(
                lastIndex: self.index(&generator), lastTerm: Term(self.number(&generator)),
                pre: .random(using: &generator), transfer: .random(using: &generator))
        case 1: return .voteResponse(granted: .random(using: &generator), pre: .random(using: &generator))
        case 2, 3: return .append(self.append(term, &generator))
        case 4:
            return .appendResponse(
                Raft.Message.AppendResponse(
                    rejected: .random(using: &generator), matchIndex: self.index(&generator),
                    hintIndex: self.index(&generator), hintTerm: Term(self.number(&generator)),
                    readPosition: self.number(&generator), sequence: self.number(&generator),
                    applied: self.index(&generator), quarantined: .random(using: &generator)))
        case 5: return .snapshotChunk(self.chunk(&generator))
        case 6:
            return .snapshotResponse(
                Raft.Message.SnapshotResponse(
                    snapshotIndex: self.index(&generator), nextOffset: self.number(&generator),
                    installed: .random(using: &generator), refused: .random(using: &generator)))
        case 7:
            return Bool.random(using: &generator)
                ? .timeoutNow
                : .readIndexRequest(
                    context: .random(in: 0 ... .max, using: &generator), confirms: .random(using: &generator))
        default:
            return .readIndexResponse(
                context: .random(in: 0 ... .max, using: &generator), index: self.index(&generator),
                refused: .random(using: &generator))
        }
    }

    private static func append(_ term: UInt64, _ generator: inout SeededGenerator) -> Raft.Message.Append {
        let previous = UInt64.random(in: 0..<1 << 50, using: &generator)
        var last = UInt64.random(in: 0...term, using: &generator)
        let previousTerm = Term(last)
        var entries: [Raft.Entry] = []
        for offset in 0..<UInt64.random(in: 0..<6, using: &generator) {
            last = .random(in: last...term, using: &generator)
            let payload: Raft.Payload =
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: .noop
                case 1: .configuration(self.configuration(&generator))
                default: .command(self.bytes(0...60, &generator))
                }
            entries.append(Raft.Entry(term: Term(last), index: LogIndex(previous + 1 + offset), payload: payload))
        }
        return Raft.Message.Append(
            previousIndex: LogIndex(previous), previousTerm: previousTerm, entries: entries,
            commit: self.index(&generator), readPosition: self.number(&generator), sequence: self.number(&generator),
            knowsQuarantine: .random(using: &generator))
    }

    private static func chunk(_ generator: inout SeededGenerator) -> Raft.Message.SnapshotChunk {
        let data = self.bytes(0...100, &generator)
        let offset = UInt64.random(in: 0..<1 << 40, using: &generator)
        let index = UInt64.random(in: 0..<1 << 50, using: &generator)
        let meta = Raft.SnapshotMeta(
            index: LogIndex(index), term: Term(self.number(&generator)), configuration: self.configuration(&generator),
            configurationIndex: LogIndex(.random(in: 0...index, using: &generator)),
            totalBytes: offset + UInt64(data.count) + .random(in: 0..<1000, using: &generator),
            sha256: self.bytes(32...32, &generator), chain: self.bytes(0...32, &generator))
        return Raft.Message.SnapshotChunk(
            meta: meta, offset: offset, data: data, checksum: .random(in: 0 ... .max, using: &generator),
            isLast: .random(using: &generator))
    }

    static func configuration(_ generator: inout SeededGenerator) -> Raft.Configuration {
        var ids = Set<UInt64>()
        while ids.count < 9 { ids.insert(.random(in: 1 ... .max, using: &generator)) }
        let members = ids.sorted().map { id in
            Raft.Member(id: NodeID(id), name: "s\(id % 10)", address: "10.0.0.\(id % 250):8300")
        }
        let shuffled = members.shuffled(using: &generator)
        let outgoing = Bool.random(using: &generator) ? Array(shuffled[2..<5]) : nil
        return Raft.Configuration(
            voters: Array(shuffled[0..<3]), outgoing: outgoing,
            learners: Array(shuffled[5..<Int.random(in: 5...9, using: &generator)]))
    }
}
