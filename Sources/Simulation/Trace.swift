/// Everything that happened, as a running hash over every event and the text of the last ones.
///
/// Two runs of a seed are the same run exactly when their hashes are equal.
struct Trace {
    enum Kind: UInt8 {
        case sent, dropped, duplicated, delivered, corrupted
        case persisted, applied, stored, installed, snapshot, compacted
        case started, crashed, paused, wiped, amnesia
        case role, commit, configuration
        case request, response, refused, timedOut
        case partition, heal, clog, fault, membership, transfer, readReady, phase
    }

    struct Record {
        var time: UInt64
        var kind: Kind
        var slot: Int
        var peer: Int
        var a: UInt64
        var b: UInt64
        var c: UInt64
        /// Only for people; not part of the hash.
        var note: StaticString
    }

    private(set) var digest = Digest()
    private(set) var count: UInt64 = 0
    private var ring: [Record] = []
    private let capacity: Int
    /// Prints each record as it comes.
    var echo: ((Record) -> Void)?

    init(capacity: Int) {
        self.capacity = capacity
        self.ring.reserveCapacity(capacity)
    }

    mutating func add(
        _ kind: Kind, at time: UInt64, slot: Int = -1, peer: Int = -1, _ a: UInt64 = 0, _ b: UInt64 = 0,
        _ c: UInt64 = 0,
        note: StaticString = ""
    ) {
        self.digest.add(time)
        self.digest.add(
            UInt64(kind.rawValue) | UInt64(UInt8(truncatingIfNeeded: slot)) << 8 | UInt64(
                UInt8(truncatingIfNeeded: peer)) << 16)
        self.digest.add(a)
        self.digest.add(b)
        self.digest.add(c)
        let record = Record(time: time, kind: kind, slot: slot, peer: peer, a: a, b: b, c: c, note: note)
        if let echo = self.echo { echo(record) }
        if self.ring.count < self.capacity {
            self.ring.append(record)
        } else if self.capacity > 0 {
            self.ring[Int(self.count % UInt64(self.capacity))] = record
        }
        self.count += 1
    }

    /// The last records, oldest first.
    var tail: [Record] {
        guard self.ring.count == self.capacity, self.capacity > 0 else { return self.ring }
        let start = Int(self.count % UInt64(self.capacity))
        return Array(self.ring[start...] + self.ring[..<start])
    }
}

extension Trace.Record: CustomStringConvertible {
    var description: String {
        let milliseconds = self.time / 1_000_000
        let fraction = self.time / 1_000 % 1_000
        let zeros = fraction < 10 ? "00" : fraction < 100 ? "0" : ""
        let seconds = "\(milliseconds).\(zeros)\(fraction)"
        var text = String(repeating: " ", count: max(0, 11 - seconds.utf8.count)) + seconds + "ms "
        text += self.slot >= 0 ? "s\(self.slot)" : "--"
        if self.peer >= 0 { text += "→s\(self.peer)" }
        text += " \(self.kind)"
        if self.note.utf8CodeUnitCount > 0 { text += " \(self.note)" }
        text += " \(self.a) \(self.b) \(self.c)"
        return text
    }
}
