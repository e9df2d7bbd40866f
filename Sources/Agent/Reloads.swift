import Synchronization

/// One reload at a time, in the order they were asked for: what an older file said must not be taken over last.
final class Reloads: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    struct Turn {
        fileprivate let reloads: Reloads

        func end() {
            let next = self.reloads.state.withLock { state -> CheckedContinuation<Void, Never>? in
                if state.waiting.isEmpty {
                    state.isTaken = false
                    return nil
                }
                return state.waiting.removeFirst()
            }
            next?.resume()
        }
    }

    func begin() async -> Turn {
        await withCheckedContinuation { continuation in
            let isFirst = self.state.withLock { state in
                if !state.isTaken {
                    state.isTaken = true
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if isFirst { continuation.resume() }
        }
        return Turn(reloads: self)
    }
}
