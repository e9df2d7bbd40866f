import Protocol
import Synchronization
import Transport
import Units

/// A connection that requests are called over.
package protocol CallConnection: Sendable {
    associatedtype CallNumber: Sendable
    /// `completion` is called once, on any thread; nil when it was called already.
    func call(
        _ request: PeerRequest, timeout: Duration,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) -> CallNumber?
    /// Ends a call with `.cancelled`, if it has not ended yet.
    func cancel(_ number: CallNumber)
}

extension PeerConnection: CallConnection {}

/// Writes that are on their way to another server, so that those to a former leader are given up as soon as it is
/// known to be one: a leader that was cut off silently would answer nothing for as long as its connection seems alive.
package final class ForwardedWrites<Connection: CallConnection>: Sendable {
    private struct Write: Sendable {
        var leader: NodeID
        var connection: Connection
        /// nil until the call is made.
        var number: Connection.CallNumber?
    }

    private struct State: Sendable {
        var open: [UInt64: Write] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Sends a request to `leader`. Ends with `.cancelled` when it is given up. `completion` is called once, on any
    /// thread, and must be quick.
    package func call(
        _ request: PeerRequest, to leader: NodeID, over connection: Connection, timeout: Nanoseconds,
        isStillLeader: @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) {
        let write = self.state.withLock { state in
            state.last += 1
            state.open[state.last] = Write(leader: leader, connection: connection)
            return state.last
        }
        let time = Duration.nanoseconds(Int64(clamping: timeout.rawValue))
        let number = connection.call(request, timeout: time) { result in
            self.state.withLock { _ = $0.open.removeValue(forKey: write) }
            completion(result)
        }
        guard let number else { return }
        self.state.withLock { $0.open[write]?.number = number }
        // The change may have come before this write was noted.
        if !isStillLeader() { connection.cancel(number) }
    }

    /// Called when another server leads, or none.
    package func giveUp(exceptTo leader: NodeID?) {
        let former = self.state.withLock { state in
            state.open.filter { $0.value.leader != leader }.sorted { $0.key < $1.key }.map(\.value)
        }
        for write in former {
            if let number = write.number { write.connection.cancel(number) }
        }
    }
}
