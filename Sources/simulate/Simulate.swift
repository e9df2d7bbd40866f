import ArgumentParser
import Foundation
import Simulation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Exit codes, which scripts rely on.
enum ExitStatus {
    static let clean: Int32 = 0
    static let violation: Int32 = 1
    static let harness: Int32 = 2
    static let badArguments: Int32 = 3
}

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs whole clusters in virtual time, under faults, from seeds.",
        discussion: """
            Exit status: 0 nothing found, 1 an invariant was broken, 2 the runs say too little (vacuous, floors, a canary \
            that went unseen), 3 bad arguments.
            """)

    @Option(help: "How many seeds to run.")
    var seeds = 200
    @Option(help: "The first seed, decimal or 0x-hexadecimal.")
    var from: SeedNumber = SeedNumber(value: 1)
    @Option(
        help: """
            0: the Raft core on a toy disk. 1: the replica on real storage over a faulty disk, with wire frames. 2: the same \
            with servers around it, asked through HTTP.
            """)
    var level = 0
    @Option(name: .customLong("share-l1"), help: "Percent of the seeds to run at level 1 when --level is 0.")
    var shareLevelOne = 0
    @Option(name: .customLong("share-l2"), help: "Percent of the seeds to run at level 2 when --level is 0.")
    var shareLevelTwo = 0
    @Option(help: "Processes at a time.")
    var jobs = 2
    @Option(help: "Run this one seed and print options, the outcome and, if it fails, the end of its trace.")
    var seed: SeedNumber?
    @Option(help: "How many of the last events a failing run prints.")
    var tail = 120
    @Flag(help: "With --seed: print every event as it happens.")
    var verbose = false
    @Flag(name: .customLong("fail-fast"), help: "Begin no more runs once a violation was found.")
    var failFast = false
    @Flag(name: .customLong("trace-hash"), help: "Print each seed with the hash over all its events.")
    var traceHash = false
    @Option(help: "Append one JSON line about this invocation to a file.")
    var ledger: String?
    @Flag(help: "Break a state machine in every 50th seed: each such seed must be reported.")
    var canary = false
    @Flag(help: .hidden)
    var worker = false

    /// No run takes this long, by the clock on the wall, on any machine.
    private static let secondsMax: UInt32 = 600

    static func main() {
        do {
            let command = try Self.parse()
            Console.leave(command.execute())
        } catch {
            let isHelp = Self.exitCode(for: error).isSuccess
            let text = Self.fullMessage(for: error)
            if isHelp { print(text) } else { Console.complain(text) }
            Console.leave(isHelp ? ExitStatus.clean : ExitStatus.badArguments)
        }
    }

    func validate() throws {
        if self.seeds < 1 { throw ValidationError("--seeds must be at least 1") }
        if !(0...2).contains(self.level) { throw ValidationError("--level must be 0, 1 or 2") }
        if self.shareLevelOne < 0 || self.shareLevelTwo < 0 || self.shareLevelOne + self.shareLevelTwo > 100 {
            throw ValidationError("--share-l1 and --share-l2 must be 0 to 100 together")
        }
        if !(1...64).contains(self.jobs) { throw ValidationError("--jobs must be 1 to 64") }
        if self.tail < 0 || self.tail > 100_000 { throw ValidationError("--tail must be 0 to 100000") }
        if self.from.value > UInt64.max - UInt64(self.seeds) { throw ValidationError("--from is too large") }
    }

    func execute() -> Int32 {
        if let seed = self.seed { return self.runOne(seed.value) }
        if self.worker { return self.work() }
        return Campaign(command: self).run()
    }

    func level(of seed: UInt64) -> Int {
        if self.level > 0 { return self.level }
        let share = Int(Digest.mixed(seed) % 100)
        return share < self.shareLevelOne ? 1 : share < self.shareLevelOne + self.shareLevelTwo ? 2 : 0
    }

    func hasCanary(_ seed: UInt64) -> Bool { self.canary && Simulation.isCanary(seed) }

    private func runOne(_ seed: UInt64) -> Int32 {
        let options = SwarmOptions.drawn(from: seed, level: self.level)
        print("seed \(seed) level \(self.level)\n\(options)")
        Console.flush()
        let report = Simulation.run(
            seed: seed, level: self.level, canary: self.hasCanary(seed), traceCapacity: max(1, self.tail),
            echo: self.verbose ? { print($0) } : nil)
        if !self.verbose { report.trace.forEach { print($0) } }
        print(report.summary)
        if report.outcome.isViolation {
            print("again: \(Self.replay(seed: seed, level: self.level, canary: self.canary))")
        }
        switch report.outcome {
        case .pass: return ExitStatus.clean
        case .vacuous: return ExitStatus.harness
        case .safety, .liveness, .crash: return ExitStatus.violation
        }
    }

    static func replay(seed: UInt64, level: Int, canary: Bool) -> String {
        "simulate --seed \(seed) --level \(level)\(canary ? " --canary" : "") --verbose"
    }

    /// Runs a stretch of seeds and tells the parent about each, on a line before and a line after it.
    private func work() -> Int32 {
        for seed in self.from.value..<self.from.value + UInt64(self.seeds) {
            let level = self.level(of: seed)
            print(WorkerLine.begin(seed: seed, level: level))
            Console.flush()
            // A run that never ends ends the worker, which its parent reports with the seed.
            alarm(Self.secondsMax)
            let report = Simulation.run(seed: seed, level: level, canary: self.hasCanary(seed), traceCapacity: 1)
            print(WorkerLine.end(report))
            Console.flush()
        }
        return ExitStatus.clean
    }
}

/// A seed on the command line.
struct SeedNumber: ExpressibleByArgument {
    var value: UInt64

    init(value: UInt64) { self.value = value }

    init?(argument: String) {
        let isHexadecimal = argument.hasPrefix("0x") || argument.hasPrefix("0X")
        guard let value = isHexadecimal ? UInt64(argument.dropFirst(2), radix: 16) : UInt64(argument) else {
            return nil
        }
        self.value = value
    }

    var defaultValueDescription: String { "\(self.value)" }
}

extension RunReport {
    var summary: String {
        let tally = self.tally
        let outcome: String =
            switch self.outcome {
            case .pass: "pass"
            case .safety(let finding): "SAFETY \(finding)"
            case .liveness(let finding): "LIVENESS \(finding)"
            case .crash(let text): "CRASH \(text)"
            case .vacuous(let text): "vacuous: \(text)"
            }
        let faults = zip(SwarmOptions.Fault.allCases, tally.faults).filter { $0.1 > 0 }.map {
            "\($0.0.rawValue) \($0.1)"
        }
        return """
            \(tally.virtualNanoseconds / 1_000_000_000) virtual seconds, \(tally.events) events, \(tally.writes) writes, \
            \(tally.reads) reads, \(tally.unknowns) unknown, \(tally.committed) entries (sent \(tally.entriesSent) times), \(tally.elections) elections, \
            \(tally.crashes) crashes, \(tally.snapshotsTaken)+\(tally.snapshotsInstalled) snapshots, \
            \(tally.membershipChanges) membership changes, \(tally.transfers) transfers, \(tally.messages) messages
            faults: \(faults.isEmpty ? "none" : faults.joined(separator: ", "))
            trace hash \(String(self.traceHash, radix: 16))
            \(outcome)
            """
    }
}

enum Console {
    static func flush() { fflush(nil) }
    static func leave(_ status: Int32) -> Never { exit(status) }
    static func complain(_ text: String) { Self.writeError(text + "\n") }
    /// Progress is for people; a file or a pipe gets none.
    static var isTerminal: Bool { isatty(2) == 1 }
    static func progress(_ text: String) { if Self.isTerminal { Self.writeError("\r\u{1B}[K" + text) } }
    private static func writeError(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
