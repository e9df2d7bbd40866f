import Units

/// A thread for calls that block (files, SQLite): one at a time, in the order they were made.
package final class BlockingThread: Sendable {
    private let inbox: Inbox<@Sendable () -> Void>
    private let thread: WorkerThread

    /// `limit`: calls that wait; further ones are refused.
    package init(name: String, limit: Int = 8192) {
        let inbox = Inbox<@Sendable () -> Void>(limit: limit)
        self.inbox = inbox
        self.thread = WorkerThread(name: name) {
            while let bodies = inbox.take(timeout: .seconds(3600)) {
                for body in bodies { body() }
            }
        }
    }

    deinit { self.inbox.close() }

    /// Runs `body` on the thread. Throws what it throws; `ClusterError.overloaded` when too many calls wait,
    /// `.shuttingDown` after `close`.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let taken = self.inbox.post { continuation.resume(with: Result { try body() }) }
            if !taken {
                let error: ClusterError = self.inbox.isClosed ? .shuttingDown : .overloaded(leaderOnly: false)
                continuation.resume(throwing: error)
            }
        }
    }

    /// What was asked before is still done; nothing after.
    package func close() { self.inbox.close() }
}
