/// The search over one key: a doubly linked list of call and return events in order of time, from which an operation
/// is lifted when it is placed next in the order, and put back when that led nowhere.
///
/// Operations of unknown outcome are what makes histories of bad days dear: each may stand anywhere behind its call,
/// or nowhere. They stand beside the list and are tried only where nothing in the list fits. If there is a legal order
/// at all, there is one with as few of them as possible, each as late as possible: there each is needed by the very
/// next operation, which would not fit without it. So the search keeps beside the state the one that would be without
/// the last of them, and turns back when the next operation fits that as well.
struct Search<Model: SequentialModel> {
    typealias Operation = HistoryOperation<Model.Input, Model.Output>

    private struct Visited: Hashable {
        var done: BitSet
        var position: Position
    }
    private struct Position: Hashable {
        var state: Model.State
        var spare: Spare?
    }
    /// The operation of unknown outcome that stands last in the order, and the state that would be without it.
    private struct Spare: Hashable {
        var member: Int
        var without: Model.State
    }
    /// What is tried next: a call in the list, one of `calls` (its place there), or nothing, as all was tried.
    private enum Candidate {
        case listed(Int)
        case unanswered(Int, event: Int)
        case none
    }
    private struct Step {
        var candidate: Candidate
        var event: Int
        var before: Position
    }

    private let model: Model
    private let operations: [Operation]
    private let members: [Int]
    private let key: String
    private var budget: Int

    // Events 1...count by time; 0 is the head of the list and also its end. Calls that never returned are events, but
    // not in the list.
    private var next: [Int]
    private var previous: [Int]
    /// For a call, the member it belongs to; for a return, -1.
    private var member: [Int]
    /// For a call, its return event; 0 when it never returned.
    private var match: [Int]
    /// The events of calls that never returned, ascending.
    private var calls: [Int] = []
    /// For each of `calls`, the place of the latest one before it that asked for the same; -1 for none.
    private var twin: [Int] = []

    /// Members that are placed, but for those of `calls`; of them, by their place there, the ones that are.
    private var done: BitSet
    private var spent = BitSet(count: 0)
    private var position: Position
    private var steps: [Step] = []
    /// Where the search has been, and with which operations of unknown outcome spent: with those or more, there is
    /// nothing to be found that was not there before.
    private var visited: [Visited: [BitSet]] = [:]
    private var longest: [Int] = []
    /// The ranks of all members that have one, ascending; how many of these are placed: always the first.
    private let ranks: [UInt64]
    private var ranked = 0
    /// Members that returned and are not placed.
    private var open = 0

    init(model: Model, operations: [Operation], members: [Int], budget: Int) {
        self.model = model
        self.operations = operations
        self.members = members
        self.key = operations[members[0]].key
        self.budget = budget
        self.ranks = members.compactMap { model.rank(operations[$0]) }.sorted()
        let events = Self.events(operations, members)
        let count = events.count + 1
        self.next = Array(repeating: 0, count: count)
        self.previous = Array(repeating: 0, count: count)
        self.member = Array(repeating: -1, count: count)
        self.match = Array(repeating: 0, count: count)
        self.done = BitSet(count: members.count)
        self.position = Position(state: model.initial)
        self.link(events)
        self.spent = BitSet(count: self.calls.count)
    }

    private typealias Event = (time: UInt64, isReturn: Bool, member: Int)

    private static func events(_ operations: [Operation], _ members: [Int]) -> [Event] {
        var events: [Event] = []
        for (position, identity) in members.enumerated() {
            let operation = operations[identity]
            events.append((operation.call, false, position))
            if let returned = operation.returned { events.append((max(returned, operation.call), true, position)) }
        }
        // At equal times calls come first: operations that touch in time count as concurrent.
        events.sort { left, right in
            if left.time != right.time { return left.time < right.time }
            if left.isReturn != right.isReturn { return right.isReturn }
            return left.member < right.member
        }
        return events
    }

    private mutating func link(_ events: [Event]) {
        var callOf = Array(repeating: 0, count: self.members.count)
        var last = 0
        for (offset, event) in events.enumerated() {
            let number = offset + 1
            if event.isReturn {
                self.match[callOf[event.member]] = number
                self.open += 1
            } else {
                callOf[event.member] = number
                self.member[number] = event.member
                if self.operations[self.members[event.member]].returned == nil {
                    self.twin.append(self.latestTwin(of: event.member))
                    self.calls.append(number)
                    continue
                }
            }
            (self.next[last], self.previous[number]) = (number, last)
            last = number
        }
        (self.next[last], self.previous[0]) = (0, last)
    }

    private func latestTwin(of position: Int) -> Int {
        let input = self.operations[self.members[position]].input
        return self.calls.lastIndex { self.operations[self.members[self.member[$0]]].input == input } ?? -1
    }

    mutating func run() -> Verdict {
        var candidate = Candidate.listed(self.next[0])
        while self.open > 0 {
            switch candidate {
            case .listed(let event) where self.member[event] < 0:
                // An operation returned here and is not placed yet: nothing later may come before it.
                candidate = self.unanswered(from: 0, before: event)
            case .listed(let event), .unanswered(_, let event):
                self.budget -= 1
                if self.budget < 0 { return .unknown(key: self.key) }
                candidate = self.place(candidate, event) ? .listed(self.next[0]) : self.following(candidate)
            case .none:
                guard let step = self.steps.popLast() else { return .violation(self.violation()) }
                self.undo(step)
                candidate = self.following(step.candidate)
            }
        }
        return .linearizable
    }

    private func following(_ candidate: Candidate) -> Candidate {
        switch candidate {
        case .listed(let event): return .listed(self.next[event])
        case .unanswered(let place, _):
            var bound = self.next[0]
            while self.member[bound] >= 0 { bound = self.next[bound] }
            return self.unanswered(from: place + 1, before: bound)
        case .none: return .none
        }
    }

    /// The first call in `calls`, from `place` on, that came before the event `bound` and is not placed.
    private func unanswered(from place: Int, before bound: Int) -> Candidate {
        for place in place..<max(place, self.calls.count) {
            let event = self.calls[place]
            if event > bound { return .none }
            if self.spent.contains(place) { continue }
            // Of equal ones the earlier can stand wherever the later can.
            if self.twin[place] >= 0, !self.spent.contains(self.twin[place]) { continue }
            return .unanswered(place, event: event)
        }
        return .none
    }

    /// Puts the call `event` next in the order; false when it does not fit, or when that was tried before.
    private mutating func place(_ candidate: Candidate, _ event: Int) -> Bool {
        let operation = self.operations[self.members[self.member[event]]]
        let rank = self.model.rank(operation)
        if let rank, rank > self.ranks[self.ranked] { return false }
        guard var after = self.placed(operation) else { return false }
        if case .unanswered = candidate {
            if self.model.covers(self.position.state, after.state) { return false }
            after.spare = Spare(member: self.member[event], without: self.position.state)
        }
        let ranked = self.ranked + (rank == nil ? 0 : 1)
        if ranked < self.ranks.count, !self.model.mayReach(self.ranks[ranked], from: after.state) { return false }
        self.mark(candidate, event, true)
        guard self.isNew(after) else {
            self.mark(candidate, event, false)
            return false
        }
        self.ranked = ranked
        self.steps.append(Step(candidate: candidate, event: event, before: self.position))
        self.position = after
        if self.match[event] != 0 {
            self.lift(event)
            self.open -= 1
        }
        if self.steps.count > self.longest.count {
            self.longest = self.steps.map { self.members[self.member[$0.event]] }
        }
        return true
    }

    private mutating func undo(_ step: Step) {
        self.mark(step.candidate, step.event, false)
        if self.model.rank(self.operations[self.members[self.member[step.event]]]) != nil { self.ranked -= 1 }
        self.position = step.before
        if self.match[step.event] != 0 {
            self.unlift(step.event)
            self.open += 1
        }
    }

    private mutating func mark(_ candidate: Candidate, _ event: Int, _ placed: Bool) {
        switch candidate {
        case .listed: self.done.set(self.member[event], placed)
        case .unanswered(let place, _): self.spent.set(place, placed)
        case .none: break
        }
    }

    private mutating func isNew(_ position: Position) -> Bool {
        let here = Visited(done: self.done, position: position)
        let before = self.visited[here, default: []]
        if before.contains(where: { $0.isSubset(of: self.spent) }) { return false }
        self.visited[here] = before.filter { !self.spent.isSubset(of: $0) } + [self.spent]
        return true
    }

    /// Where the search stands when `operation` comes next; nil when it can't, or when an operation of unknown outcome
    /// turns out to have been placed in vain, or too early.
    private func placed(_ operation: Operation) -> Position? {
        guard let after = self.step(self.position.state, operation) else { return nil }
        if let spare = self.position.spare, let without = self.step(spare.without, operation) {
            if self.model.covers(without, after) { return nil }
            // Two without an answer could change places for ever.
            let later =
                operation.returned == nil ? nil : self.step(without, self.operations[self.members[spare.member]])
            if let later, self.model.covers(later, after) { return nil }
        }
        return Position(state: after)
    }

    private func step(_ state: Model.State, _ operation: Operation) -> Model.State? {
        self.model.step(state, operation.input, operation.output)
    }

    private func violation() -> Violation {
        let placed = Set(self.longest)
        let unplaced = self.members.filter { self.operations[$0].returned != nil && !placed.contains($0) }
        return Violation(key: self.key, longestOrder: self.longest, unplaced: unplaced)
    }

    private mutating func lift(_ event: Int) {
        self.unlink(event)
        self.unlink(self.match[event])
    }

    /// The reverse of `lift`, in reverse order, so that each neighbour is where it was.
    private mutating func unlift(_ event: Int) {
        self.relink(self.match[event])
        self.relink(event)
    }

    private mutating func unlink(_ event: Int) {
        self.next[self.previous[event]] = self.next[event]
        self.previous[self.next[event]] = self.previous[event]
    }

    private mutating func relink(_ event: Int) {
        self.next[self.previous[event]] = event
        self.previous[self.next[event]] = event
    }
}

/// A set of small numbers, each below the count that it was made for.
private struct BitSet: Hashable {
    private var words: [UInt64]

    init(count: Int) { self.words = Array(repeating: 0, count: (count + 63) / 64) }

    func contains(_ number: Int) -> Bool { self.words[number / 64] & (1 << UInt64(number % 64)) != 0 }

    mutating func set(_ number: Int, _ isMember: Bool) {
        let bit = UInt64(1) << UInt64(number % 64)
        if isMember { self.words[number / 64] |= bit } else { self.words[number / 64] &= ~bit }
    }

    /// Both made for the same count.
    func isSubset(of other: BitSet) -> Bool { zip(self.words, other.words).allSatisfy { $0 & ~$1 == 0 } }
}
