/// Positions in a program, each at most once, in the order in which they came: what is added, asked and emptied in
/// constant time.
private struct PositionSet {
    private(set) var dense: [Int] = []
    private var sparse: [Int]

    init(capacity: Int) {
        self.sparse = Array(repeating: 0, count: capacity)
        self.dense.reserveCapacity(capacity)
    }

    mutating func insert(_ position: Int) -> Bool {
        let place = self.sparse[position]
        if place < self.dense.count && self.dense[place] == position { return false }
        self.sparse[position] = self.dense.count
        self.dense.append(position)
        return true
    }

    mutating func removeAll() { self.dense.removeAll(keepingCapacity: true) }
}

/// All states of the NFA at once, without captures (Thompson's simulation).
struct Search {
    private let program: Program
    private var current: PositionSet
    private var following: PositionSet
    private var open: [Int] = []
    /// Instructions looked at.
    private(set) var steps = 0

    init(_ program: Program) {
        self.program = program
        self.current = PositionSet(capacity: program.instructions.count)
        self.following = PositionSet(capacity: program.instructions.count)
    }

    mutating func finds(in text: String) -> Bool {
        var scalars = text.unicodeScalars.makeIterator()
        var before: Unicode.Scalar?
        var after = scalars.next()
        while true {
            // A match may begin anywhere.
            if self.enter(0, before, after) { return true }
            guard let scalar = after else { return false }
            before = scalar
            after = scalars.next()
            self.following.removeAll()
            swap(&self.current, &self.following)
            for position in self.following.dense where self.takes(scalar, position) {
                if self.enter(position + 1, before, after) { return true }
            }
        }
    }

    private mutating func takes(_ scalar: Unicode.Scalar, _ position: Int) -> Bool {
        self.steps += 1
        return self.program.takes(scalar, at: position)
    }

    /// Adds a position and all that is reached from it without a scalar; true when that is a match.
    private mutating func enter(_ start: Int, _ before: Unicode.Scalar?, _ after: Unicode.Scalar?) -> Bool {
        self.open.append(start)
        while let position = self.open.popLast() {
            guard self.current.insert(position) else { continue }
            self.steps += 1
            switch self.program.instructions[position] {
            case .match:
                self.open.removeAll()
                return true
            case .jump(let target): self.open.append(target)
            case .split(let first, let second):
                self.open.append(second)
                self.open.append(first)
            case .save: self.open.append(position + 1)
            case .assertion(let assertion):
                if assertion.holds(before, after) { self.open.append(position + 1) }
            case .scalar, .any, .anyButNewline, .oneOf: break
            }
        }
        return false
    }
}

/// The same with captures (Pike's VM): threads in order of preference, each with what it has saved.
struct CapturingSearch {
    private struct Thread {
        var position: Int
        var slots: [String.Index?]
    }

    private let program: Program
    private var current: [Thread] = []
    private var seen: PositionSet
    private var open: [Thread] = []

    init(_ program: Program) {
        self.program = program
        self.seen = PositionSet(capacity: program.instructions.count)
    }

    /// The slots of the preferred match.
    mutating func find(in text: String) -> [String.Index?]? {
        let scalars = text.unicodeScalars
        var best: [String.Index?]?
        var index = scalars.startIndex
        var before: Unicode.Scalar?
        let fresh = [String.Index?](repeating: nil, count: self.program.slots)
        while true {
            let after = index < scalars.endIndex ? scalars[index] : nil
            if best == nil { self.enter(Thread(position: 0, slots: fresh), index, before, after) }
            // Threads behind one that matched are of less preference.
            if let match = self.current.firstIndex(where: { self.isMatch($0) }) {
                best = self.current[match].slots
                self.current.removeSubrange(match...)
            }
            guard let scalar = after, best == nil || !self.current.isEmpty else { return best }
            scalars.formIndex(after: &index)
            let threads = self.current
            self.current.removeAll(keepingCapacity: true)
            self.seen.removeAll()
            before = scalar
            let next = index < scalars.endIndex ? scalars[index] : nil
            for var thread in threads where self.program.takes(scalar, at: thread.position) {
                thread.position += 1
                self.enter(thread, index, before, next)
            }
        }
    }

    private func isMatch(_ thread: Thread) -> Bool {
        if case .match = self.program.instructions[thread.position] { return true }
        return false
    }

    private mutating func enter(
        _ start: Thread, _ index: String.Index, _ before: Unicode.Scalar?, _ after: Unicode.Scalar?
    ) {
        self.open.append(start)
        while var thread = self.open.popLast() {
            guard self.seen.insert(thread.position) else { continue }
            switch self.program.instructions[thread.position] {
            case .match, .scalar, .any, .anyButNewline, .oneOf: self.current.append(thread)
            case .jump(let target):
                thread.position = target
                self.open.append(thread)
            case .split(let first, let second):
                self.open.append(Thread(position: second, slots: thread.slots))
                thread.position = first
                self.open.append(thread)
            case .save(let slot):
                thread.slots[slot] = index
                thread.position += 1
                self.open.append(thread)
            case .assertion(let assertion):
                guard assertion.holds(before, after) else { continue }
                thread.position += 1
                self.open.append(thread)
            }
        }
    }
}
