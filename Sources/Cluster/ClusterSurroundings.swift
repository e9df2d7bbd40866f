import Units

/// What a server takes from the process that it runs in: time, chance, and whoever runs its tasks. It is handed in, so that
/// the same code can live in a world whose time is not ours.
package struct ClusterSurroundings: Sendable {
    /// A clock that never goes back.
    package var now: @Sendable () -> Instant
    /// Throws when the task is cancelled first.
    package var pause: @Sendable (Nanoseconds) async throws -> Void
    /// A number drawn at random, from 0 to the given one.
    package var random: @Sendable (UInt64) -> UInt64
    /// Runs tasks that nobody awaits, and work that may take long; nil: the process's pool.
    package var executor: (any TaskExecutor)?

    package init(
        now: @escaping @Sendable () -> Instant, pause: @escaping @Sendable (Nanoseconds) async throws -> Void,
        random: @escaping @Sendable (UInt64) -> UInt64, executor: (any TaskExecutor)?
    ) {
        self.now = now
        self.pause = pause
        self.random = random
        self.executor = executor
    }

    /// This process's own.
    package static let process = ClusterSurroundings(
        now: { SystemClock.now() }, pause: { try await Task.sleep(nanoseconds: $0.rawValue) },
        random: { UInt64.random(in: 0...$0) }, executor: nil)
}
