import Foundation
import Simulation
import Synchronization

/// Many seeds, in processes of their own: one that dies is a finding, not the end.
final class Campaign: Sendable {
    private struct State {
        var next: UInt64
        var runs: [WorkerLine.Ended] = []
        var trouble: String?
    }

    /// Seeds that one worker process is given at a time.
    private static let stretch: UInt64 = 25
    private static let reportsMax = 3

    private let command: Simulate
    private let end: UInt64
    private let state: Mutex<State>
    private let started = ContinuousClock.now

    init(command: Simulate) {
        self.command = command
        self.end = command.from.value + UInt64(command.seeds)
        self.state = Mutex(State(next: command.from.value))
    }

    func run() -> Int32 {
        print(
            "seeds \(self.command.from.value)..<\(self.end), level \(self.command.level)"
                + (self.command.shareLevelOne > 0 ? ", \(self.command.shareLevelOne)% at level 1" : "")
                + (self.command.shareLevelTwo > 0 ? ", \(self.command.shareLevelTwo)% at level 2" : "")
                + ", \(self.command.jobs) jobs\(self.command.canary ? ", with canaries" : "")")
        Console.flush()
        let group = DispatchGroup()
        for _ in 0..<self.command.jobs {
            group.enter()
            Thread.detachNewThread {
                self.workThroughStretches()
                group.leave()
            }
        }
        group.wait()
        Console.progress("")
        let (runs, trouble) = self.state.withLock { ($0.runs.sorted { $0.seed < $1.seed }, $0.trouble) }
        if let trouble {
            Console.complain("simulate: \(trouble)")
            return ExitStatus.harness
        }
        return Report(command: self.command, runs: runs, seconds: self.elapsedSeconds).finish(
            reportsMax: Self.reportsMax)
    }

    private var elapsedSeconds: Double {
        let elapsed = ContinuousClock.now - self.started
        return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
    }

    private func workThroughStretches() {
        while true {
            let stretch: Range<UInt64>? = self.state.withLock { state in
                guard state.trouble == nil, state.next < self.end else { return nil }
                let start = state.next
                state.next = min(self.end, start + Self.stretch)
                return start..<state.next
            }
            guard let stretch else { return }
            var from = stretch.lowerBound
            while from < stretch.upperBound {
                guard let reached = self.work(from..<stretch.upperBound) else { return }
                from = reached
            }
        }
    }

    /// - Returns: the seed to go on with; nil when workers can't be started.
    private func work(_ stretch: Range<UInt64>) -> UInt64? {
        var arguments = [
            "--worker", "--from", "\(stretch.lowerBound)", "--seeds", "\(stretch.count)", "--level",
            "\(self.command.level)",
            "--share-l1", "\(self.command.shareLevelOne)", "--share-l2", "\(self.command.shareLevelTwo)",
        ]
        if self.command.canary { arguments.append("--canary") }
        guard let child = Child(arguments: arguments) else {
            self.state.withLock { $0.trouble = "a worker process could not be started" }
            return nil
        }
        var running: (seed: UInt64, level: Int)?
        var reached = stretch.lowerBound
        while let line = child.nextLine() {
            switch WorkerLine.parse(line) {
            case .begun(let seed, let level): running = (seed, level)
            case .ended(let run):
                running = nil
                reached = run.seed + 1
                self.note(run)
            case nil: break
            }
        }
        let status = child.wait()
        if let died = running {
            self.note(
                WorkerLine.Ended(
                    seed: died.seed, level: died.level, outcome: "crash", hash: "-", tally: Tally(),
                    text: "the process ended with status \(status)"))
            return died.seed + 1
        }
        if reached < stretch.upperBound {
            self.state.withLock { $0.trouble = "a worker ended early, with status \(status)" }
            return nil
        }
        return reached
    }

    private func note(_ run: WorkerLine.Ended) {
        let count = self.state.withLock { state in
            state.runs.append(run)
            if self.command.failFast, ["safety", "liveness", "crash"].contains(run.outcome) { state.next = self.end }
            return state.runs.count
        }
        if count % 10 == 0 { Console.progress("\(count) of \(self.command.seeds)") }
    }
}

/// This program again, with other arguments.
final class Child {
    private let process = Process()
    private let pipe = Pipe()
    private var buffer: [UInt8] = []
    private var isAtEnd = false

    init?(arguments: [String], showsErrors: Bool = false) {
        guard let path = Bundle.main.executablePath else { return nil }
        self.process.executableURL = URL(fileURLWithPath: path)
        self.process.arguments = arguments
        self.process.standardOutput = self.pipe
        self.process.standardError = showsErrors ? self.pipe : FileHandle.nullDevice
        self.process.standardInput = FileHandle.nullDevice
        do { try self.process.run() } catch { return nil }
    }

    func nextLine() -> String? {
        while true {
            if let end = self.buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: self.buffer[..<end], as: UTF8.self)
                self.buffer.removeSubrange(...end)
                return line
            }
            if self.isAtEnd { return nil }
            let data = self.pipe.fileHandleForReading.availableData
            if data.isEmpty { self.isAtEnd = true }
            self.buffer.append(contentsOf: data)
        }
    }

    func wait() -> Int32 {
        self.process.waitUntilExit()
        return self.process.terminationStatus
    }
}
