import NIOConcurrencyHelpers
import NIOCore
import Protocol

/// The calls of one accepted connection that are being answered. Answers may come from any thread; they are gathered
/// and written by the connection's event loop, one flush for all that are there.
final class Replies: Sendable {
    private enum Running: Sendable {
        /// A proposal, or a task that has not been noted yet.
        case started
        case task(Task<Void, Never>)
    }

    private struct State: Sendable {
        var running: [UInt64: Running] = [:]
        var ready: CircularBuffer<(call: UInt64, response: PeerResponse)> = []
        var drainIsScheduled = false
        var isClosed = false
    }

    enum Admission: Equatable {
        case admitted
        /// The number is in use: the other side breaks the protocol.
        case duplicate
        case full
    }

    private let state = NIOLockedValueBox(State())
    private let handler: NIOLoopBound<AcceptorHandler>
    private let eventLoop: any EventLoop
    private let limit: Int

    init(_ handler: AcceptorHandler, on eventLoop: any EventLoop, limit: Int) {
        self.handler = NIOLoopBound(handler, eventLoop: eventLoop)
        self.eventLoop = eventLoop
        self.limit = limit
    }

    func begin(_ call: UInt64) -> Admission {
        self.state.withLockedValue { state in
            if state.running[call] != nil { return .duplicate }
            if state.running.count + state.ready.count >= self.limit { return .full }
            state.running[call] = .started
            return .admitted
        }
    }

    /// Notes the task that answers a call, so that it can be cancelled; it may have answered already.
    func note(_ task: Task<Void, Never>, for call: UInt64) {
        let isClosed = self.state.withLockedValue { state in
            if state.running[call] != nil { state.running[call] = .task(task) }
            return state.isClosed
        }
        if isClosed { task.cancel() }
    }

    /// The first answer to a call counts, others do nothing.
    func finish(_ call: UInt64, _ response: PeerResponse) {
        let mustSchedule = self.state.withLockedValue { state in
            guard state.running.removeValue(forKey: call) != nil else { return false }
            return Self.enqueue(call, response, &state)
        }
        if mustSchedule { self.scheduleDrain() }
    }

    /// Answers a call that was not admitted.
    func refuse(_ call: UInt64, _ response: PeerResponse) {
        if self.state.withLockedValue({ Self.enqueue(call, response, &$0) }) { self.scheduleDrain() }
    }

    /// The requester no longer waits. A task sees its cancellation and counts until it has ended; a proposal has
    /// nothing to cancel and counts no longer.
    func cancel(_ call: UInt64) {
        let running = self.state.withLockedValue { state in
            if case .started = state.running[call] { return state.running.removeValue(forKey: call) }
            return state.running[call]
        }
        if case .task(let task) = running { task.cancel() }
    }

    func close() {
        let running = self.state.withLockedValue { state in
            state.isClosed = true
            state.ready.removeAll()
            defer { state.running.removeAll() }
            return state.running
        }
        for case .task(let task) in running.values { task.cancel() }
    }

    /// The next answer to write; nil when there is none, and from then on a new one schedules a drain.
    func next() -> (call: UInt64, response: PeerResponse)? {
        self.state.withLockedValue { state in
            if let first = state.ready.popFirst() { return first }
            state.drainIsScheduled = false
            return nil
        }
    }

    private static func enqueue(_ call: UInt64, _ response: PeerResponse, _ state: inout State) -> Bool {
        guard !state.isClosed else { return false }
        state.ready.append((call, response))
        if state.drainIsScheduled { return false }
        state.drainIsScheduled = true
        return true
    }

    private func scheduleDrain() {
        self.eventLoop.execute { self.handler.value.drainReplies() }
    }
}
