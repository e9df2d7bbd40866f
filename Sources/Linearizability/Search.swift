/// The search over one key: a doubly linked list of call and return events in order of time, from which an operation
/// is lifted when it is placed next in the order, and put back when that led nowhere.
struct Search<Model: SequentialModel> {
    typealias Operation = HistoryOperation<Model.Input, Model.Output>

    private struct Visited: Hashable {
        var done: [UInt64]
        var state: Model.State
    }
    private struct Step {
        var event: Int
        var before: Model.State
    }

    private let model: Model
    private let operations: [Operation]
    private let members: [Int]
    private var budget: Int

    // Events 1...count; 0 is the head of the list and also its end.
    private var next: [Int]
    private var previous: [Int]
    /// For a call, the member it belongs to; for a return, -1.
    private var member: [Int]
    /// For a call, its return event; 0 when it never returned.
    private var match: [Int]

    init(model: Model, operations: [Operation], members: [Int], budget: Int) {
        self.model = model
        self.operations = operations
        self.members = members
        self.budget = budget
        var events: [(time: UInt64, isReturn: Bool, member: Int)] = []
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
        let count = events.count + 1
        self.next = (0..<count).map { ($0 + 1) % count }
        self.previous = (0..<count).map { ($0 + count - 1) % count }
        self.member = Array(repeating: -1, count: count)
        self.match = Array(repeating: 0, count: count)
        var callOf = Array(repeating: 0, count: members.count)
        for (offset, event) in events.enumerated() {
            if event.isReturn {
                self.match[callOf[event.member]] = offset + 1
            } else {
                callOf[event.member] = offset + 1
                self.member[offset + 1] = event.member
            }
        }
    }

    mutating func run(key: String) -> Verdict {
        var done = Array(repeating: UInt64(0), count: (self.members.count + 63) / 64)
        var state = self.model.initial
        var steps: [Step] = []
        var visited: Set<Visited> = []
        var longest: [Int] = []
        var open = self.members.reduce(0) { $0 + (self.operations[$1].returned == nil ? 0 : 1) }
        var event = self.next[0]
        while open > 0 {
            let position = self.member[event]
            if position >= 0 {
                self.budget -= 1
                if self.budget < 0 { return .unknown(key: key) }
                let operation = self.operations[self.members[position]]
                if let after = self.model.step(state, operation.input, operation.output) {
                    done[position / 64] |= 1 << UInt64(position % 64)
                    if visited.insert(Visited(done: done, state: after)).inserted {
                        steps.append(Step(event: event, before: state))
                        state = after
                        self.lift(event)
                        if self.match[event] != 0 { open -= 1 }
                        if steps.count > longest.count { longest = steps.map { self.members[self.member[$0.event]] } }
                        event = self.next[0]
                        continue
                    }
                    done[position / 64] &= ~(1 << UInt64(position % 64))
                }
                event = self.next[event]
            } else {
                // An operation returned here and is not placed yet: the last choice was wrong.
                guard let step = steps.popLast() else { return .violation(self.violation(key: key, longest: longest)) }
                let undone = self.member[step.event]
                done[undone / 64] &= ~(1 << UInt64(undone % 64))
                state = step.before
                self.unlift(step.event)
                if self.match[step.event] != 0 { open += 1 }
                event = self.next[step.event]
            }
        }
        return .linearizable
    }

    private func violation(key: String, longest: [Int]) -> Violation {
        let placed = Set(longest)
        let unplaced = self.members.filter { self.operations[$0].returned != nil && !placed.contains($0) }
        return Violation(key: key, longestOrder: longest, unplaced: unplaced)
    }

    private mutating func lift(_ event: Int) {
        self.unlink(event)
        if self.match[event] != 0 { self.unlink(self.match[event]) }
    }

    /// The reverse of `lift`, in reverse order, so that each neighbour is where it was.
    private mutating func unlift(_ event: Int) {
        if self.match[event] != 0 { self.relink(self.match[event]) }
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
