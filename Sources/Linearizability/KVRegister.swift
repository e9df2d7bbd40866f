/// One key of Consul's key/value store: put, get, delete and their check-and-set forms by ModifyIndex.
///
/// Clients don't learn the index that a put got, so the state may hold "some index above `floor`"; a read or a
/// successful check-and-set settles it.
public struct KVRegister: SequentialModel {
    public enum Input: Sendable, Hashable {
        case get
        case put(String)
        case delete
        /// Put if ModifyIndex is `index`; 0 means "if the key does not exist".
        case cas(index: UInt64, value: String)
        /// Delete if ModifyIndex is `index`; true as well when there is nothing to delete.
        case deleteCAS(index: UInt64)
    }

    public enum Output: Sendable, Hashable {
        /// A write's answer; `index` is the ModifyIndex it got, where known.
        case done(Bool, index: UInt64? = nil)
        /// A read's answer; nil value for a missing key. `index` 0 means "not reported".
        case value(String?, index: UInt64 = 0)
    }

    public struct State: Hashable, Sendable {
        var value: String?
        /// ModifyIndex when `isExact`, else a bound that it lies above; without a value, one that the next lies above.
        var floor: UInt64 = 0
        var isExact = false
        /// Indexes above `floor` that a failed check-and-set ruled out, sorted; empty when exact.
        var excluded: [UInt64] = []

        func mayHave(_ index: UInt64) -> Bool {
            self.isExact ? self.floor == index : index > self.floor && !self.excluded.contains(index)
        }

        /// Each write takes an index of its own, a delete too: the next one lies above that as well.
        func written(_ value: String?, index: UInt64?) -> State? {
            let least = self.isExact || self.value == nil ? self.floor : self.floor + 1
            guard let index else { return State(value: value, floor: value == nil ? least + 1 : least) }
            return index > least ? State(value: value, floor: index, isExact: value != nil) : nil
        }

        func settled(at index: UInt64) -> State { State(value: self.value, floor: index, isExact: true) }

        func ruledOut(_ index: UInt64) -> State? {
            if self.isExact { return self.floor == index ? nil : self }
            if index <= self.floor || self.excluded.contains(index) { return self }
            var state = self
            state.excluded.append(index)
            state.excluded.sort()
            return state
        }
    }

    public init() {}

    public var initial: State { State() }

    public func step(_ state: State, _ input: Input, _ output: Output?) -> State? {
        switch (input, output) {
        case (.get, .value(let value, let index)):
            guard value == state.value else { return nil }
            if value == nil || index == 0 { return state }
            return state.mayHave(index) ? state.settled(at: index) : nil
        case (.put(let value), .done(true, let index)): return state.written(value, index: index)
        case (.put(let value), nil): return state.written(value, index: nil)
        case (.delete, .done(true, _)), (.delete, nil):
            return state.value == nil ? state : state.written(nil, index: nil)
        case (.cas(let expected, let value), .done(true, let index)):
            return self.matched(state, expected)?.written(value, index: index)
        case (.cas(let expected, let value), nil): return self.matched(state, expected)?.written(value, index: nil)
        case (.cas(let expected, _), .done(false, _)):
            if expected == 0 { return state.value != nil ? state : nil }
            return state.value == nil ? state : state.ruledOut(expected)
        case (.deleteCAS(let expected), .done(true, _)), (.deleteCAS(let expected), nil):
            return state.value == nil ? state : self.matched(state, expected)?.written(nil, index: nil)
        case (.deleteCAS(let expected), .done(false, _)):
            return state.value == nil ? nil : state.ruledOut(expected)
        case (.get, _), (.put, _), (.delete, _), (.cas, .value), (.deleteCAS, .value): return nil
        }
    }

    /// The same value, and every index that `other` may have is one that `state` may have.
    public func covers(_ state: State, _ other: State) -> Bool {
        guard state.value == other.value else { return false }
        if other.isExact && other.value != nil { return state.mayHave(other.floor) }
        guard !state.isExact, state.floor <= other.floor else { return false }
        return state.excluded.allSatisfy { !other.mayHave($0) }
    }

    /// The state with its index settled, when a check-and-set expecting `index` may succeed in it.
    private func matched(_ state: State, _ index: UInt64) -> State? {
        if index == 0 { return state.value == nil ? state : nil }
        return state.value != nil && state.mayHave(index) ? state.settled(at: index) : nil
    }
}
