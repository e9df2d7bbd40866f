/// A set that only grows: add an element, read them all. Every acknowledged element must be in every later read.
public struct AppendSet: SequentialModel {
    public enum Input: Sendable, Hashable {
        case add(UInt64)
        case read
    }
    public enum Output: Sendable, Hashable {
        case added
        /// The elements, in any order; the checker sorts.
        case elements([UInt64])
    }
    public struct State: Hashable, Sendable {
        var elements: [UInt64] = []
    }

    public init() {}

    public var initial: State { State() }

    public func step(_ state: State, _ input: Input, _ output: Output?) -> State? {
        switch (input, output) {
        case (.add(let element), .added), (.add(let element), nil):
            // Adding twice is adding once: a retried request.
            let place = state.elements.partitioningIndex { $0 >= element }
            if place < state.elements.count, state.elements[place] == element { return state }
            var next = state
            next.elements.insert(element, at: place)
            return next
        case (.read, .elements(let elements)): return elements.sorted() == state.elements ? state : nil
        case (.add, .elements), (.read, _): return nil
        }
    }
}

extension Array {
    /// First position whose element satisfies `predicate`, which must be false and then true along the array.
    func partitioningIndex(_ predicate: (Element) -> Bool) -> Int {
        var (low, high) = (0, self.count)
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
