import Cluster
import Synchronization
import Units

// For answers that go on until the client has enough.
extension APIRequest {
    /// Waits; false when the client is gone, or this process is shutting down.
    func pause(_ time: Nanoseconds) async -> Bool {
        let sleep: @Sendable () async -> Bool = { (try? await Task.sleep(nanoseconds: time.rawValue)) != nil }
        guard let connection = self.connection else { return await sleep() }
        return await connection.run(sleep) && connection.ending == nil
    }
}

/// True when it is asked for the first time.
final class OneTime: Sendable {
    private let isTaken = Atomic(false)
    func take() -> Bool { !self.isTaken.exchange(true, ordering: .relaxed) }
}
