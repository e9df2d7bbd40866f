import Simulation

/// What a worker tells its parent, one line each.
enum WorkerLine {
    static func begin(seed: UInt64, level: Int) -> String { "begin \(seed) \(level)" }

    static func end(_ report: RunReport) -> String {
        let tally = report.tally
        let numbers: [Int] = [
            tally.writes, tally.reads, tally.unknowns, tally.elections, tally.crashes, tally.snapshotsTaken,
            tally.snapshotsInstalled, tally.membershipChanges, tally.transfers, tally.messages, tally.dropped,
            tally.corrupted, tally.committed, tally.entriesSent, tally.locks, tally.expirations,
            tally.wakeups,
        ]
        let words =
            ["end", "\(report.seed)", "\(report.level)", report.outcome.name, String(report.traceHash, radix: 16)]
            + ["\(tally.virtualNanoseconds)", "\(tally.events)"] + (numbers + tally.faults).map { "\($0)" }
        return words.joined(separator: " ") + "\t" + self.text(report.outcome)
    }

    private static func text(_ outcome: Outcome) -> String {
        switch outcome {
        case .pass: ""
        case .safety(let finding), .liveness(let finding): finding.description
        case .crash(let text), .vacuous(let text): text
        }
    }

    struct Ended {
        var seed: UInt64
        var level: Int
        var outcome: String
        var hash: String
        var tally: Tally
        var text: String
    }

    enum Parsed {
        case begun(seed: UInt64, level: Int)
        case ended(Ended)
    }

    static func parse(_ line: String) -> Parsed? {
        let halves = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
        let words = (halves.first ?? "").split(separator: " ")
        guard words.count >= 3, let seed = UInt64(words[1]), let level = Int(words[2]) else { return nil }
        if words[0] == "begin" { return .begun(seed: seed, level: level) }
        var tally = Tally()
        guard words[0] == "end", words.count == 7 + 17 + tally.faults.count,
            let time = UInt64(words[5]), let events = UInt64(words[6])
        else { return nil }
        let numbers = words[7...].compactMap { Int($0) }
        guard numbers.count == 17 + tally.faults.count else { return nil }
        (tally.virtualNanoseconds, tally.events) = (time, events)
        (tally.writes, tally.reads, tally.unknowns, tally.elections) = (numbers[0], numbers[1], numbers[2], numbers[3])
        (tally.crashes, tally.snapshotsTaken, tally.snapshotsInstalled) = (numbers[4], numbers[5], numbers[6])
        (tally.membershipChanges, tally.transfers, tally.messages) = (numbers[7], numbers[8], numbers[9])
        (tally.dropped, tally.corrupted, tally.committed) = (numbers[10], numbers[11], numbers[12])
        (tally.entriesSent, tally.locks, tally.expirations) = (numbers[13], numbers[14], numbers[15])
        tally.wakeups = numbers[16]
        tally.faults = Array(numbers[17...])
        return .ended(
            Ended(
                seed: seed, level: level, outcome: String(words[3]), hash: String(words[4]), tally: tally,
                text: halves.count > 1 ? String(halves[1]) : ""))
    }
}
