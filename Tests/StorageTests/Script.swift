import FaultDisk
import Raft
import Storage
import Units

/// What a log's storage should hold: the specification that the tests compare with.
struct ModelLog: Equatable {
    var first: UInt64 = 1
    var entries: [Entry] = []
    var hard = HardState()
    /// The newest snapshot, given to `recover`; compaction never passes it.
    var snapshot: SnapshotMeta?

    var last: UInt64 { self.first + UInt64(self.entries.count) - 1 }
    var lastTerm: UInt64 { self.entries.last?.term.rawValue ?? 0 }

    mutating func truncate(from index: UInt64) { self.entries.removeLast(Int(self.last + 1 - index)) }
    mutating func compact(through index: UInt64) {
        self.entries.removeFirst(Int(index + 1 - self.first))
        self.first = index + 1
    }
}

/// A random but repeatable sequence of operations, as a server would make them.
struct Script {
    enum Step {
        case commit([PersistBatch])
        case promise
        /// A snapshot at this index is durable; then the log is compacted through another.
        case compact(snapshot: UInt64, through: UInt64)
        case checkpoint
    }

    var random: UInt64

    init(seed: UInt64) { self.random = seed }

    mutating func draw(_ bound: UInt64) -> UInt64 {
        self.random = self.random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (self.random >> 33) % bound
    }

    /// The next step, and what the log holds after it.
    mutating func next(_ model: ModelLog) -> (step: Step, after: ModelLog) {
        var after = model
        switch self.draw(20) {
        case 0...1: return (.promise, after)
        case 2: return (.checkpoint, after)
        case 3 where model.entries.count > 12, 9 where model.entries.count > 12, 10 where model.entries.count > 12:
            let snapshot = model.last - 4
            let through = model.first + self.draw(snapshot - model.first)
            after.compact(through: through)
            return (.compact(snapshot: snapshot, through: through), after)
        case 4...6:
            let term = max(model.hard.term.rawValue, model.lastTerm) + 1
            let hard = vote(term, for: self.draw(2) == 0 ? nil : 1 + self.draw(3))
            after.hard = hard
            return (.commit([batch(hard: hard)]), after)
        case 7...8 where model.last > (model.snapshot?.index.rawValue ?? 0):
            // A new leader takes the end back and puts its own there.
            let committed = model.snapshot?.index.rawValue ?? 0
            let from = max(model.last - min(model.last - 1, self.draw(5)), committed + 1)
            let term = max(model.hard.term.rawValue, model.lastTerm) + 1
            after.truncate(from: from)
            let fresh = freshEntries(from, 1 + self.draw(4), term: term, draw: self.draw(200))
            after.entries += fresh
            after.hard = vote(term)
            return (.commit([batch(fresh, truncateFrom: from, hard: vote(term), commit: from - 1)]), after)
        default:
            let term = max(1, model.hard.term.rawValue)
            var batches: [PersistBatch] = []
            for _ in 0...self.draw(3) {
                let fresh = freshEntries(after.last + 1, 1 + self.draw(4), term: term, draw: self.draw(900))
                after.entries += fresh
                batches.append(
                    batch(fresh, hard: after.hard.term.rawValue < term ? vote(term) : nil, commit: model.last))
                if after.hard.term.rawValue < term { after.hard = vote(term) }
            }
            return (.commit(batches), after)
        }
    }
}

private func freshEntries(_ first: UInt64, _ count: UInt64, term: UInt64, draw: UInt64) -> [Entry] {
    (first..<(first + count)).map { command($0, term, bytes: 30 + Int(draw)) }
}

/// Runs one step; `model.snapshot` is brought up to date before the log is compacted.
func perform(_ step: Script.Step, on log: LogStorage, _ model: inout ModelLog) throws {
    switch step {
    case .commit(let batches): try log.commit(batches)
    case .promise: try log.writePromise()
    case .checkpoint: _ = try log.checkpointIfDue()
    case .compact(_, let through): _ = try log.compact(through: LogIndex(through))
    }
}

/// The snapshot that a compaction stands on.
func snapshot(for step: Script.Step, in log: LogStorage) throws -> SnapshotMeta? {
    guard case .compact(let index, _) = step, let chain = try log.chain(at: LogIndex(index)),
        let term = try log.term(at: LogIndex(index))
    else { return nil }
    return meta(index, term.rawValue, chain: chain)
}

/// What a recovered log holds, as a model.
func contents(_ log: LogStorage, _ recovery: Recovery) throws -> ModelLog {
    var model = ModelLog()
    model.first = log.firstIndex.rawValue
    model.hard = recovery.restored.hardState
    model.snapshot = recovery.restored.snapshot
    if log.lastIndex >= log.firstIndex {
        // All of it fits into the tail.
        model.entries = recovery.restored.tail
        if model.entries.first?.index != log.firstIndex {
            model.entries = try log.entries(from: log.firstIndex, to: log.lastIndex, maxBytes: .max)
        }
    }
    return model
}
