/// What a correct object would do if operations came one at a time: the specification that a concurrent history is
/// held against.
///
/// An operation whose outcome nobody learned (`output` nil: a timeout, a lost connection) either took effect or never
/// happened. `step` describes only the first case; the checker tries the second by leaving the operation out.
public protocol SequentialModel: Sendable {
    associatedtype State: Hashable & Sendable
    associatedtype Input: Sendable & Equatable
    associatedtype Output: Sendable

    var initial: State { get }

    /// The state after `input` gave `output` in `state`; nil when it can't have given that. Must be a function of its
    /// arguments alone.
    func step(_ state: State, _ input: Input, _ output: Output?) -> State?

    /// Whether every continuation that is legal from `other` is legal from `state` as well. Saying no too often costs
    /// time; saying yes wrongly hides violations.
    func covers(_ state: State, _ other: State) -> Bool

    /// The same operations, with what follows from the others filled in: an index that a write must have got, an
    /// outcome that its client never learned. Makes the check quick; must change no verdict.
    func inferred(_ operations: [HistoryOperation<Input, Output>]) -> [HistoryOperation<Input, Output>]

    /// In every legal order, operations that have a rank stand in ascending order of it, equal ones next to another as
    /// they like. Makes the check quick; must change no verdict.
    func rank(_ operation: HistoryOperation<Input, Output>) -> UInt64?

    /// Whether an operation of that rank may still come after `state`.
    func mayReach(_ rank: UInt64, from state: State) -> Bool
}

extension SequentialModel {
    public func inferred(_ operations: [HistoryOperation<Input, Output>]) -> [HistoryOperation<Input, Output>] {
        operations
    }

    public func rank(_ operation: HistoryOperation<Input, Output>) -> UInt64? { nil }

    public func mayReach(_ rank: UInt64, from state: State) -> Bool { true }

    public func covers(_ state: State, _ other: State) -> Bool { state == other }
}

/// One operation as its client saw it.
public struct HistoryOperation<Input: Sendable, Output: Sendable>: Sendable {
    public var client: Int
    /// Operations on different keys are independent and checked apart.
    public var key: String
    /// When the request left, on any clock that all clients share. Only the order counts.
    public var call: UInt64
    /// When the answer came; nil when the outcome is unknown.
    public var returned: UInt64?
    public var input: Input
    /// nil exactly when `returned` is nil.
    public var output: Output?
    /// Where the system says the operation took place: for a write its log index, for a read the index of the state
    /// that was read. A hint that makes the check quick, never trusted: a wrong one costs time, not correctness.
    public var position: UInt64?
    /// Reads at a position come after the write at it.
    public var isRead: Bool

    public init(
        client: Int, key: String, call: UInt64, returned: UInt64?, input: Input, output: Output?,
        position: UInt64? = nil, isRead: Bool = false
    ) {
        self.client = client
        self.key = key
        self.call = call
        self.returned = output == nil ? nil : returned
        self.input = input
        self.output = returned == nil ? nil : output
        self.position = position
        self.isRead = isRead
    }
}

/// What the checker found.
public enum Verdict: Sendable, Equatable {
    case linearizable
    case violation(Violation)
    /// The budget ran out before an answer was found: a failure of the harness, not of the system.
    case unknown(key: String)
}

/// Why a history is not linearizable.
public struct Violation: Sendable, Equatable {
    public var key: String
    /// The longest legal order that the search found: positions in the array that was checked.
    public var longestOrder: [Int]
    /// The operations that returned but stand in no such order, and at least one of which can't.
    public var unplaced: [Int]
}
