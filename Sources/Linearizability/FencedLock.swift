/// A lock on one key, held by a session, with Consul's LockIndex as the fencing token: it rises by one with each
/// acquisition from free, so a write that carries an old one can be told from the holder's.
public struct FencedLock: SequentialModel {
    public enum Input: Sendable, Hashable {
        case acquire(session: String)
        case release(session: String)
        /// The session ended: destroyed or expired. Frees the lock if it held it, with a delay before the next holder.
        case invalidate(session: String)
        /// Who holds the lock, and under which LockIndex.
        case inspect
        /// A write that the guarded resource accepts only from the holder with this token.
        case fencedWrite(session: String, lockIndex: UInt64)
    }
    public enum Output: Sendable, Hashable {
        /// `token`: the LockIndex that an acquisition is known to have given.
        case done(Bool, token: UInt64? = nil)
        case holder(session: String?, lockIndex: UInt64)
    }
    public struct State: Hashable, Sendable {
        var holder: String?
        var lockIndex: UInt64 = 0
        /// The last holder's session ended, so Consul's lock-delay may refuse an acquisition of the free lock.
        var mayBeDelayed = false
        /// Sessions that ended, sorted: they acquire nothing any more.
        var ended: [String] = []
    }

    public init() {}

    public var initial: State { State() }

    public func step(_ state: State, _ input: Input, _ output: Output?) -> State? {
        switch (input, output) {
        case (.acquire(let session), .done(true, let token)):
            guard let next = self.acquired(state, session), token == nil || next.lockIndex == token else { return nil }
            return next
        case (.acquire(let session), nil): return self.acquired(state, session)
        case (.acquire(let session), .done(false, _)):
            if state.ended.contains(session) { return state }
            if let holder = state.holder { return holder == session ? nil : state }
            return state.mayBeDelayed ? state : nil
        case (.release(let session), .done(true, _)), (.release(let session), nil):
            guard state.holder == session else { return nil }
            var next = state
            next.holder = nil
            next.mayBeDelayed = false
            return next
        case (.release(let session), .done(false, _)): return state.holder == session ? nil : state
        case (.invalidate(let session), .done(true, _)), (.invalidate(let session), nil):
            return self.ended(state, session)
        case (.inspect, .holder(let session, let lockIndex)):
            return state.holder == session && state.lockIndex == lockIndex ? state : nil
        case (.fencedWrite(let session, let lockIndex), .done(let accepted, _)):
            return accepted == (state.holder == session && state.lockIndex == lockIndex) ? state : nil
        case (.fencedWrite, nil): return state
        case (.acquire, .holder), (.release, .holder), (.fencedWrite, .holder): return nil
        case (.invalidate, .done(false, _)), (.invalidate, .holder), (.inspect, _): return nil
        }
    }

    /// LockIndex only rises, so what is known to have happened under one stands before what happened under the next.
    public func rank(_ operation: HistoryOperation<Input, Output>) -> UInt64? {
        switch (operation.input, operation.output) {
        case (.inspect, .holder(_, let lockIndex)): lockIndex
        case (.acquire, .done(true, let token)): token
        case (.fencedWrite(_, let lockIndex), .done(true, _)): lockIndex
        default: nil
        }
    }

    public func mayReach(_ rank: UInt64, from state: State) -> Bool { state.lockIndex <= rank }

    private func acquired(_ state: State, _ session: String) -> State? {
        if state.holder == session { return state }
        guard state.holder == nil, !state.ended.contains(session) else { return nil }
        var next = state
        next.holder = session
        next.lockIndex += 1
        next.mayBeDelayed = false
        return next
    }

    private func ended(_ state: State, _ session: String) -> State {
        if state.ended.contains(session) { return state }
        var next = state
        let place = next.ended.partitioningIndex { !$0.utf8.lexicographicallyPrecedes(session.utf8) }
        next.ended.insert(session, at: place)
        if state.holder == session {
            next.holder = nil
            next.mayBeDelayed = true
        }
        return next
    }
}
