import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Protocol
import Raft
import Units

/// The connection to one address: made at once, made again when it breaks, until it is closed. All methods may be
/// called from any thread and return without waiting for the network, but for the async `call`.
public final class PeerConnection: Sendable {
    /// What all connections of a pool share.
    struct Surroundings: Sendable {
        let security: TransportSecurity
        let local: LocalPeer
        let settings: TransportSettings
        let logger: Logger
        let events: @Sendable (PeerEvent) -> Void
    }

    enum Phase: Sendable {
        /// Connecting, greeting, or waiting to try again.
        case away
        case ready(NIOLoopBound<InitiatorHandler>, RemotePeer)
        case closed
    }

    struct State: Sendable {
        var phase = Phase.away
        var calls = CallTable()
        var raft: RaftQueue
        var drainIsScheduled = false
        /// When the call timer fires next; nil when it is not set.
        var timer: NIODeadline?
        /// Attempts in a row that led to no greeting.
        var failures = 0
        /// Counts attempts to connect. A name may have several addresses, so one attempt may open several channels.
        var attempt: UInt64 = 0
        /// The attempt has led to a greeting or has failed; what its channels report from now on is late.
        var isAttemptOver = true
        /// The channel that was taken for this attempt.
        var channel: (any Channel)?
    }

    /// `host:port`, as it was given to the pool.
    public let address: String
    let peerAddress: PeerAddress
    let eventLoop: any EventLoop
    let surroundings: Surroundings
    let state: NIOLockedValueBox<State>

    init(_ address: PeerAddress, on eventLoop: any EventLoop, _ surroundings: Surroundings) {
        self.address = address.description
        self.peerAddress = address
        self.eventLoop = eventLoop
        self.surroundings = surroundings
        self.state = NIOLockedValueBox(State(raft: RaftQueue(surroundings.settings)))
    }

    /// Who is at the other end; nil while there is no connection.
    public var remote: RemotePeer? {
        self.state.withLockedValue { state in
            guard case .ready(_, let peer) = state.phase else { return nil }
            return peer
        }
    }

    /// Raft messages that were dropped because the queue was full or the connection was lost.
    public var droppedRaftMessages: UInt64 { self.state.withLockedValue { $0.raft.dropped } }

    // MARK: Raft

    /// Queues a message and returns; whether it arrives is not known. Messages that wait while a connection is being
    /// made are sent when it stands; those that wait when it breaks are dropped.
    public func send(raft message: Raft.Message) { self.send(raft: CollectionOfOne(message)) }

    /// The same for a batch, with one lock and one wake-up.
    public func send(raft messages: some Collection<Raft.Message>) {
        let mustSchedule = self.state.withLockedValue { state in
            if case .closed = state.phase { return false }
            for message in messages { state.raft.append(message) }
            return Self.claimDrain(&state)
        }
        if mustSchedule { self.scheduleDrain() }
    }

    // MARK: Calls

    /// Names a call for `cancel`.
    public struct CallNumber: Sendable, Hashable {
        let number: UInt64
    }

    /// Sends a request; the answer comes as a value, also one that says that the request failed over there. Waits at
    /// most `timeout`, for the connection and the answer together; a request without a timeout of its own gets this
    /// one. Cancelling the task gives up the call and tells the other side.
    public func call(_ request: PeerRequest, timeout: Duration) async throws(TransportError) -> PeerResponse {
        let cancellation = NIOLockedValueBox<(isCancelled: Bool, number: CallNumber?)>((false, nil))
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation {
                (continuation: CheckedContinuation<Result<PeerResponse, TransportError>, Never>) in
                let number = self.call(request, timeout: timeout) { continuation.resume(returning: $0) }
                let isCancelled = cancellation.withLockedValue { state in
                    state.number = number
                    return state.isCancelled
                }
                if isCancelled, let number { self.cancel(number) }
            }
        } onCancel: {
            let number = cancellation.withLockedValue { state in
                state.isCancelled = true
                return state.number
            }
            if let number { self.cancel(number) }
        }
        return try result.get()
    }

    /// The same without a task: `completion` is called once, on an event loop or (for an error found at once) on this
    /// thread; it must be quick. nil when it has been called already.
    @discardableResult
    public func call(
        _ request: PeerRequest, timeout: Duration,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) -> CallNumber? {
        let amount = TimeAmount(max(.zero, min(timeout, .seconds(24 * 3600))))
        let deadline = NIODeadline.now() + amount
        do throws(TransportError) {
            let encoded = try self.encode(request, timeout: amount)
            let added = try self.add(encoded, deadline: deadline, completion)
            if added.mustSchedule { self.scheduleDrain() }
            if added.mustSetTimer { self.setTimer(deadline) }
            return CallNumber(number: added.number)
        } catch {
            completion(.failure(error))
            return nil
        }
    }

    private func encode(_ request: PeerRequest, timeout: TimeAmount) throws(TransportError) -> [UInt8] {
        var request = request
        if request.timeoutMs == 0 { request.timeoutMs = UInt32(clamping: timeout.nanoseconds / 1_000_000) }
        let limit = self.surroundings.settings.frameBytes.rawValue - FrameWriter.overhead
        guard let bytes = request.encoded() else { throw .requestTooLarge(bytes: Int(Int32.max), limit: limit) }
        guard bytes.count <= limit else { throw .requestTooLarge(bytes: bytes.count, limit: limit) }
        return bytes
    }

    private func add(
        _ request: [UInt8], deadline: NIODeadline, _ completion: @escaping CallTable.Completion
    ) throws(TransportError) -> (number: UInt64, mustSchedule: Bool, mustSetTimer: Bool) {
        let settings = self.surroundings.settings
        let result = self.state.withLockedValue { state -> Result<(UInt64, Bool, Bool), TransportError> in
            if case .closed = state.phase { return .failure(.shutDown) }
            do throws(TransportError) {
                let number = try state.calls.add(
                    request, deadline: deadline, settings: settings, completion: completion)
                let mustSetTimer = state.timer.map { deadline < $0 } ?? true
                if mustSetTimer { state.timer = deadline }
                return .success((number, Self.claimDrain(&state), mustSetTimer))
            } catch {
                return .failure(error)
            }
        }
        let (number, mustSchedule, mustSetTimer) = try result.get()
        return (number, mustSchedule, mustSetTimer)
    }

    /// Ends a call with `.cancelled` unless it has ended already, and tells the other side.
    public func cancel(_ number: CallNumber) {
        let (call, mustSchedule) = self.state.withLockedValue { state in
            (state.calls.abandon(number.number), Self.claimDrain(&state))
        }
        if mustSchedule { self.scheduleDrain() }
        if let call { call.completion(.failure(.cancelled(sent: call.isSent))) }
    }

    // MARK: The call timer

    /// One timer for all calls, set to the earliest deadline. An answered call leaves it as it is: it then fires for
    /// nothing and is set again.
    private func setTimer(_ deadline: NIODeadline) {
        self.eventLoop.scheduleTask(deadline: deadline) { self.timerFired(deadline) }
    }

    private func timerFired(_ deadline: NIODeadline) {
        let (expired, next, mustSchedule) = self.state.withLockedValue { state in
            // A later timer than the one that is set: another was set for an earlier deadline and took care of this.
            guard state.timer == deadline else { return ([CallTable.Call](), NIODeadline?.none, false) }
            let (expired, next) = state.calls.expire(at: .now())
            state.timer = next
            return (expired, next, Self.claimDrain(&state))
        }
        if let next { self.setTimer(next) }
        if mustSchedule { self.scheduleDrain() }
        for call in expired { call.completion(.failure(.timedOut(sent: call.isSent))) }
    }

    // MARK: Draining

    /// True when the caller must schedule a drain; others have not.
    private static func claimDrain(_ state: inout State) -> Bool {
        guard case .ready = state.phase, !state.drainIsScheduled else { return false }
        guard !state.raft.isEmpty || state.calls.hasSomethingToWrite else { return false }
        state.drainIsScheduled = true
        return true
    }

    private func scheduleDrain() {
        self.eventLoop.execute { self.drain() }
    }

    private func drain() {
        let handler = self.state.withLockedValue { state -> NIOLoopBound<InitiatorHandler>? in
            guard case .ready(let handler, _) = state.phase else {
                state.drainIsScheduled = false
                return nil
            }
            return handler
        }
        handler?.value.drain()
    }

    struct Batch: Sendable {
        var raft: [Raft.Message] = []
        var cancels: [UInt64] = []
        var requests: [(number: UInt64, request: [UInt8])] = []
        var isEmpty: Bool { self.raft.isEmpty && self.cancels.isEmpty && self.requests.isEmpty }
    }

    private static let batchBytes = 1 << 20
    private static let batchItems = 1024

    /// What to write next, Raft first. Empty when there is nothing, and from then on new work schedules a drain.
    func nextBatch(for peer: RemotePeer) -> Batch {
        self.state.withLockedValue { state in
            var batch = Batch()
            guard case .ready(_, let current) = state.phase, current.connection == peer.connection else { return batch }
            let queued = state.raft.bytes
            while batch.raft.count < Self.batchItems, queued - state.raft.bytes < Self.batchBytes,
                let message = state.raft.popFirst()
            {
                batch.raft.append(message)
            }
            while batch.cancels.count < Self.batchItems, let number = state.calls.nextCancel() {
                batch.cancels.append(number)
            }
            var bytes = 0
            while batch.requests.count < Self.batchItems, bytes < Self.batchBytes, let next = state.calls.nextToSend() {
                batch.requests.append(next)
                bytes += next.request.count
            }
            if batch.isEmpty { state.drainIsScheduled = false }
            return batch
        }
    }
}
