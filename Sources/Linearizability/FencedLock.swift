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
        case done(Bool)
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
        case (.acquire(let session), .done(true)), (.acquire(let session), nil): return self.acquired(state, session)
        case (.acquire(let session), .done(false)):
            if state.ended.contains(session) { return state }
            if let holder = state.holder { return holder == session ? nil : state }
            return state.mayBeDelayed ? state : nil
        case (.release(let session), .done(true)), (.release(let session), nil):
            guard state.holder == session else { return nil }
            var next = state
            next.holder = nil
            next.mayBeDelayed = false
            return next
        case (.release(let session), .done(false)): return state.holder == session ? nil : state
        case (.invalidate(let session), .done(true)), (.invalidate(let session), nil):
            return self.ended(state, session)
        case (.inspect, .holder(let session, let lockIndex)):
            return state.holder == session && state.lockIndex == lockIndex ? state : nil
        case (.fencedWrite(let session, let lockIndex), .done(let accepted)):
            return accepted == (state.holder == session && state.lockIndex == lockIndex) ? state : nil
        case (.fencedWrite, nil): return state
        case (.acquire, .holder), (.release, .holder), (.fencedWrite, .holder): return nil
        case (.invalidate, .done(false)), (.invalidate, .holder), (.inspect, _): return nil
        }
    }

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
