/// What became of a run.
public enum Outcome: Sendable, Equatable {
    case pass
    /// An invariant was broken.
    case safety(Finding)
    /// Nothing wrong was done, but what should have happened after the heal did not.
    case liveness(Finding)
    /// The product ended the process; seen by the runner, which holds the pieces.
    case crash(String)
    /// Too little happened for the run to mean anything.
    case vacuous(String)

    public var name: String {
        switch self {
        case .pass: "pass"
        case .safety: "safety"
        case .liveness: "liveness"
        case .crash: "crash"
        case .vacuous: "vacuous"
        }
    }

    public var isViolation: Bool {
        switch self {
        case .safety, .liveness, .crash: true
        case .pass, .vacuous: false
        }
    }
}

/// A broken invariant: its name (`I4`) and the state that broke it.
public struct Finding: Sendable, Equatable, CustomStringConvertible {
    public var invariant: String
    public var text: String
    /// Virtual nanoseconds since the start.
    public var time: UInt64

    public init(_ invariant: String, _ text: String, time: UInt64) {
        self.invariant = invariant
        self.text = text
        self.time = time
    }

    public var description: String { "\(self.invariant) at \(self.time / 1_000_000) ms: \(self.text)" }
}

/// How much really happened, for floors below which a run says nothing.
public struct Tally: Sendable, Equatable {
    public var virtualNanoseconds: UInt64 = 0
    public var events: UInt64 = 0
    public var writes = 0
    public var reads = 0
    public var unknowns = 0
    public var elections = 0
    public var crashes = 0
    public var snapshotsTaken = 0
    public var snapshotsInstalled = 0
    public var membershipChanges = 0
    public var transfers = 0
    public var messages = 0
    public var dropped = 0
    public var corrupted = 0
    public var committed = 0
    /// Entries that leaders sent, each time they did.
    public var entriesSent = 0
    /// Level 1: keys locked, and sessions that a leader ended because their time was up.
    public var locks = 0
    public var expirations = 0
    /// Level 2: blocking queries that were answered with a change.
    public var wakeups = 0
    /// In the order of `SwarmOptions.Fault.allCases`.
    public var faults: [Int] = Array(repeating: 0, count: SwarmOptions.Fault.allCases.count)

    public init() {}

    public mutating func add(_ other: Tally) {
        self.virtualNanoseconds += other.virtualNanoseconds
        self.events += other.events
        self.writes += other.writes
        self.reads += other.reads
        self.unknowns += other.unknowns
        self.elections += other.elections
        self.crashes += other.crashes
        self.snapshotsTaken += other.snapshotsTaken
        self.snapshotsInstalled += other.snapshotsInstalled
        self.membershipChanges += other.membershipChanges
        self.transfers += other.transfers
        self.messages += other.messages
        self.dropped += other.dropped
        self.corrupted += other.corrupted
        self.committed += other.committed
        self.entriesSent += other.entriesSent
        self.locks += other.locks
        self.expirations += other.expirations
        self.wakeups += other.wakeups
        for index in self.faults.indices { self.faults[index] += other.faults[index] }
    }

    public mutating func count(_ fault: SwarmOptions.Fault) {
        if let index = SwarmOptions.Fault.allCases.firstIndex(of: fault) { self.faults[index] += 1 }
    }
}

public struct RunReport: Sendable {
    public var seed: UInt64
    public var level: Int
    public var outcome: Outcome
    public var options: SwarmOptions
    public var tally: Tally
    public var traceHash: UInt64
    /// The last events, oldest first; empty when the run passed.
    public var trace: [String]
}
