import Foundation
import Simulation

/// What a campaign found, for people, for the ledger, and as an exit status.
struct Report {
    let command: Simulate
    let runs: [WorkerLine.Ended]
    let seconds: Double

    /// With fewer seeds, some fault may well not have been drawn.
    private static let floorsApplyFrom = 300

    func finish(reportsMax: Int) -> Int32 {
        if self.command.traceHash {
            for run in self.runs { print("\(run.seed) \(run.level) \(run.hash)") }
        }
        let violations = self.runs.filter { ["safety", "liveness", "crash"].contains($0.outcome) }
        let findings = violations.filter { !self.command.hasCanary($0.seed) }
        let missed = self.runs.filter { self.command.hasCanary($0.seed) && $0.outcome != "safety" }
        for run in findings.prefix(reportsMax) { self.show(run) }
        self.printTable(violations: violations)
        let complaints = self.complaints(missed: missed)
        complaints.forEach { print("harness: \($0)") }
        self.writeLedger(findings: findings, complaints: complaints)
        if !findings.isEmpty { return ExitStatus.violation }
        return complaints.isEmpty ? ExitStatus.clean : ExitStatus.harness
    }

    /// Runs the seed again in a process of its own, and lets it tell what happened.
    private func show(_ run: WorkerLine.Ended) {
        print("---- seed \(run.seed), level \(run.level): \(run.outcome) \(run.text)")
        var arguments = ["--seed", "\(run.seed)", "--level", "\(run.level)", "--tail", "\(self.command.tail)"]
        if self.command.canary { arguments.append("--canary") }
        guard let child = Child(arguments: arguments, showsErrors: true) else { return }
        while let line = child.nextLine() { print(line) }
        _ = child.wait()
        print("again: \(Simulate.replay(seed: run.seed, level: run.level, canary: self.command.canary))")
    }

    private var total: Tally {
        self.runs.reduce(into: Tally()) { $0.add($1.tally) }
    }

    private func printTable(violations: [WorkerLine.Ended]) {
        let total = self.total
        let hours = Double(total.virtualNanoseconds) / 3.6e12
        func number(_ value: Double) -> String { String(format: "%.1f", value) }
        print(
            "\(self.runs.count) runs, \(number(hours)) simulated hours in \(number(self.seconds)) s"
                + " (\(number(hours * 3600 / max(0.001, self.seconds))) times real time)")
        for name in ["pass", "vacuous", "safety", "liveness", "crash"] {
            let count = self.runs.filter { $0.outcome == name }.count
            print("  \(name.padding(toLength: 10, withPad: " ", startingAt: 0)) \(count)")
        }
        print(
            "\(total.events) events, \(total.messages) messages (\(total.dropped) lost, \(total.corrupted) damaged), "
                + "\(total.writes) writes, \(total.reads) reads, \(total.unknowns) of unknown outcome, "
                + "\(total.committed) entries (sent \(total.entriesSent) times), \(total.elections) elections, \(total.crashes) crashes, "
                + "\(total.snapshotsTaken) snapshots taken, \(total.snapshotsInstalled) installed, "
                + "\(total.membershipChanges) membership changes, \(total.transfers) transfers, "
                + "\(total.locks) keys locked, \(total.expirations) sessions expired, \(total.wakeups) waiters woken")
        let faults = zip(SwarmOptions.Fault.allCases, total.faults).map { "\($0.0.rawValue) \($0.1)" }
        print("faults: \(faults.joined(separator: ", "))")
        for run in violations.prefix(50) {
            let mark = self.command.hasCanary(run.seed) ? " (canary)" : ""
            print("  seed \(run.seed) level \(run.level) \(run.outcome)\(mark): \(run.text)")
        }
    }

    private func complaints(missed: [WorkerLine.Ended]) -> [String] {
        var complaints: [String] = []
        let vacuous = self.runs.filter { $0.outcome == "vacuous" }
        if vacuous.count * 100 > self.runs.count {
            complaints.append(
                "\(vacuous.count) of \(self.runs.count) runs are vacuous, the first is seed \(vacuous[0].seed)")
        }
        if !missed.isEmpty {
            complaints.append("canaries went unseen: \(missed.map { "\($0.seed)" }.joined(separator: " "))")
        }
        if self.command.canary, !self.runs.contains(where: { self.command.hasCanary($0.seed) }) {
            complaints.append("no canary among these seeds")
        }
        if self.runs.count >= Self.floorsApplyFrom {
            let total = self.total
            let realDisks = self.runs.filter { $0.level >= 1 }.count
            for (fault, count) in zip(SwarmOptions.Fault.allCases, total.faults) where count == 0 {
                if realDisks < 100, SwarmOptions.Fault.onlyLevelOne.contains(fault) { continue }
                complaints.append("the fault \(fault.rawValue) never happened")
            }
            let floors: [(String, Int, Int)] = [
                ("elections", total.elections, 2 * self.runs.count), ("crashes", total.crashes, self.runs.count / 2),
                ("snapshots installed", total.snapshotsInstalled, self.runs.count / 20),
                ("membership changes", total.membershipChanges, self.runs.count / 20),
                ("writes", total.writes, 100 * self.runs.count), ("reads", total.reads, 20 * self.runs.count),
            ]
            let more =
                realDisks < 100
                ? []
                : [
                    ("keys locked", total.locks, 10 * realDisks), ("sessions expired", total.expirations, realDisks),
                ]
            let servers = self.runs.filter { $0.level == 2 }.count
            let most = servers < 100 ? [] : [("waiters woken", total.wakeups, 5 * servers)]
            for (name, count, floor) in floors + more + most where count < floor {
                complaints.append("\(count) \(name), the floor is \(floor)")
            }
        }
        return complaints
    }

    private func writeLedger(findings: [WorkerLine.Ended], complaints: [String]) {
        guard let path = self.command.ledger else { return }
        let total = self.total
        let passed = self.runs.filter { $0.outcome == "pass" }.count
        let hours = String(format: "%.3f", Double(total.virtualNanoseconds) / 3.6e12)
        let failed = findings.map { "\"\($0.seed):\($0.level):\($0.outcome)\"" }.joined(separator: ",")
        let line =
            "{\"from\":\(self.command.from.value),\"seeds\":\(self.runs.count),\"level\":\(self.command.level),"
            + "\"shareL1\":\(self.command.shareLevelOne),\"shareL2\":\(self.command.shareLevelTwo),\"pass\":\(passed),\"simulatedHours\":\(hours),"
            + "\"seconds\":\(String(format: "%.1f", self.seconds)),\"complaints\":\(complaints.count),\"failed\":[\(failed)]}\n"
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        guard let file = FileHandle(forWritingAtPath: path) else {
            Console.complain("simulate: \(path) can't be written")
            return
        }
        file.seekToEndOfFile()
        file.write(Data(line.utf8))
        try? file.close()
    }
}
