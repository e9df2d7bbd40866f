import DequeModule
import Protocol
import Synchronization

/// Numbers this process's writes, so that the state machine applies each once however often it is retried. The client
/// id lasts as long as the process.
package final class RequestTracker: Sendable {
    package struct Ticket: Sendable {
        package var client: UInt64
        package var sequence: UInt64
    }

    private struct State {
        /// Whether each sequence from `first` on is finished.
        var finished = Deque<Bool>()
        var first: UInt64 = 1
    }

    private let client: UInt64
    private let state = Mutex(State())

    package init(client: UInt64) { self.client = client }

    package func begin() -> Ticket {
        self.state.withLock { state in
            state.finished.append(false)
            return Ticket(client: self.client, sequence: state.first + UInt64(state.finished.count) - 1)
        }
    }

    /// The result has arrived, or nobody waits for it any more and it will not be asked for again.
    package func end(_ ticket: Ticket) {
        self.state.withLock { state in
            state.finished[Int(ticket.sequence - state.first)] = true
            while state.finished.first == true {
                state.finished.removeFirst()
                state.first += 1
            }
        }
    }

    /// Stamps an envelope for one attempt.
    package func stamp(_ envelope: inout LogEnvelope, _ ticket: Ticket) {
        envelope.client = ticket.client
        envelope.sequence = ticket.sequence
        envelope.lowestOutstanding = self.state.withLock { $0.first }
    }

    /// The same for a whole request that is forwarded.
    func stamp(_ request: inout PeerHTTPRequest, _ ticket: Ticket) {
        request.client = ticket.client
        request.sequence = ticket.sequence
        request.lowestOutstanding = self.state.withLock { $0.first }
    }
}
