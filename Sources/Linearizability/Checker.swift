/// Decides whether a history is linearizable (Herlihy and Wing 1990), by Wing and Gong's search with Lowe's memo of
/// visited (operations done, state) pairs: exponential at worst, close to linear on histories of systems that work.
///
/// It iterates, never recurses, draws no random number and reads no clock: its budget is counted in steps.
public struct LinearizabilityChecker<Model: SequentialModel>: Sendable {
    public typealias Operation = HistoryOperation<Model.Input, Model.Output>

    public var model: Model
    /// Steps of the model that one key may cost.
    public var budget: Int

    public init(model: Model, budget: Int = 4_000_000) {
        self.model = model
        self.budget = budget
    }

    /// Checks each key apart, in order of keys; the first that fails is the answer. A key whose search ran out of
    /// budget is reported only when no other key is in violation.
    public func check(_ history: [Operation]) -> Verdict {
        let operations = self.model.inferred(history)
        var order = Array(operations.indices)
        order.sort { left, right in
            let (one, other) = (operations[left], operations[right])
            if one.key != other.key { return one.key.utf8.lexicographicallyPrecedes(other.key.utf8) }
            return left < right
        }
        var outcome = Verdict.linearizable
        var start = 0
        while start < order.count {
            var end = start
            while end < order.count, operations[order[end]].key == operations[order[start]].key { end += 1 }
            switch self.checkOneKey(operations, Array(order[start..<end])) {
            case .linearizable: break
            case .violation(let violation): return .violation(violation)
            case .unknown(let key): if case .linearizable = outcome { outcome = .unknown(key: key) }
            }
            start = end
        }
        return outcome
    }

    private func checkOneKey(_ operations: [Operation], _ members: [Int]) -> Verdict {
        if self.witnessHolds(operations, members) { return .linearizable }
        var search = Search(model: self.model, operations: operations, members: members, budget: self.budget)
        return search.run()
    }

    /// The system's own order, where every operation that returned has a position: one pass instead of a search.
    /// Operations of unknown outcome without a position are taken as never done.
    func witnessHolds(_ operations: [Operation], _ members: [Int]) -> Bool {
        var order: [Int] = []
        order.reserveCapacity(members.count)
        for member in members {
            if operations[member].position != nil {
                order.append(member)
            } else if operations[member].returned != nil {
                return false
            }
        }
        order.sort { left, right in
            let (one, other) = (operations[left], operations[right])
            if one.position! != other.position! { return one.position! < other.position! }
            if one.isRead != other.isRead { return other.isRead }
            if one.call != other.call { return one.call < other.call }
            return left < right
        }
        var state = self.model.initial
        var latestCall: UInt64 = 0
        for member in order {
            let operation = operations[member]
            // Something placed earlier was called only after this one had returned: not the order of real time.
            if let returned = operation.returned, returned < latestCall { return false }
            latestCall = max(latestCall, operation.call)
            guard let next = self.model.step(state, operation.input, operation.output) else { return false }
            state = next
        }
        return true
    }
}
