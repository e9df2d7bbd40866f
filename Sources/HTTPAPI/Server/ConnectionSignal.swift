import Synchronization

/// Tells a request that is being waited on that its connection has no more use for a late answer. One request at a time
/// waits on it: HTTP/1.1 answers in order.
final class ConnectionSignal: Sendable {
    enum Ending: Sendable {
        /// The client closed its side.
        case closed
        /// This server is shutting down: answer with what there is.
        case draining
    }

    private struct State {
        var ending: Ending?
        var cancel: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    var ending: Ending? { self.state.withLock { $0.ending } }

    /// The first ending counts, but a close follows a drain.
    func end(_ ending: Ending) {
        let cancel = self.state.withLock { state in
            if state.ending != .closed { state.ending = ending }
            defer { state.cancel = nil }
            return state.cancel
        }
        cancel?()
    }

    /// Runs `operation` in a task that is cancelled when the connection ends or the caller is cancelled.
    func run<Value: Sendable>(_ operation: @escaping @Sendable () async -> Value) async -> Value {
        let task = Task { await operation() }
        let over = self.state.withLock { state in
            if state.ending == nil { state.cancel = { task.cancel() } }
            return state.ending != nil
        }
        if over { task.cancel() }
        let value = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        self.state.withLock { $0.cancel = nil }
        return value
    }
}
