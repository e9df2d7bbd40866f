import Protocol
import Raft
import Registry
import Replica
import Transport
import Units

// The hot ways: a write, and a state to read from. The first attempt is made on the caller's thread and answered on
// whichever thread learns the outcome; only when it fails is there a task that tries again.
extension Server {
    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        var envelope = LogEnvelope()
        envelope.identity = identity
        envelope.originNode = self.nodeID.rawValue
        envelope.command = command
        if let number {
            envelope.client = number.client
            envelope.sequence = number.sequence
            envelope.lowestOutstanding = number.lowestOutstanding
            return self.replicate(envelope, timeout: timeout, completion: completion)
        }
        let ticket = self.requests.begin()
        self.requests.stamp(&envelope, ticket)
        self.replicate(envelope, timeout: timeout) { result in
            self.requests.end(ticket)
            completion(result)
        }
    }

    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds
    ) async throws(ClusterError) -> LogResult {
        try await Self.waiting {
            self.propose(command, identity: identity, timeout: timeout, number: nil, completion: $0)
        }
    }

    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult {
        try await Self.waiting {
            self.propose(command, identity: identity, timeout: timeout, number: number, completion: $0)
        }
    }

    /// Tries until it is applied, with the envelope's own client and sequence each time.
    func replicate(_ envelope: LogEnvelope, timeout: Nanoseconds) async throws(ClusterError) -> LogResult {
        try await Self.waiting { self.replicate(envelope, timeout: timeout, completion: $0) }
    }

    func replicate(
        _ envelope: LogEnvelope, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        let attempts = Attempts(now: SystemClock.now(), timeout: timeout)
        self.attempt(envelope, deadline: attempts.deadline) { outcome in
            if case .applied(let result)? = outcome { return completion(.success(result)) }
            Self.inTask(completion) { () async throws(ClusterError) in
                try await self.replicate(envelope, attempts, after: outcome)
            }
        }
    }

    /// - Parameter outcome: of the attempt before; nil when there was no leader to ask.
    private func replicate(
        _ envelope: LogEnvelope, _ attempts: Attempts, after outcome: ProposeOutcome?
    ) async throws(ClusterError) -> LogResult {
        var attempts = attempts
        var outcome = outcome
        while true {
            if let known = outcome, let result = try attempts.judge(known) { return result }
            try await attempts.pause(at: SystemClock.now())
            let deadline = attempts.deadline
            outcome = await withCheckedContinuation { continuation in
                self.attempt(envelope, deadline: deadline) { continuation.resume(returning: $0) }
            }
        }
    }

    /// One attempt, here or at the leader; nil when none is known.
    private func attempt(
        _ envelope: LogEnvelope, deadline: Instant, completion: @escaping @Sendable (ProposeOutcome?) -> Void
    ) {
        guard let leader = self.leader else { return completion(nil) }
        if !leader.isSelf { return self.forward(envelope, to: leader.member, deadline: deadline, completion) }
        if !self.loop.ask(.propose(envelope, deadline: deadline, reply: completion)) {
            completion(.refused(self.notTaken, mayApply: false))
        }
    }

    /// Why the loop did not take a request: it does not run, or its queue is full.
    var notTaken: RefusalReason { self.loop.isRunning ? .overloaded : .notLeader(nil) }

    private func forward(
        _ envelope: LogEnvelope, to member: Member, deadline: Instant,
        _ completion: @escaping @Sendable (ProposeOutcome?) -> Void
    ) {
        var request = PeerRequest()
        request.propose.envelope = envelope
        do throws(TransportError) {
            self.forwarded.call(
                request, to: member.id, over: try self.pool.connection(to: member.address),
                timeout: deadline.since(SystemClock.now()), isStillLeader: { self.leader?.member.id == member.id }
            ) { result in
                switch result {
                case .success(let response): completion(RefusalWire.outcome(of: response))
                case .failure(let error): completion(.refused(.lostLeadership, mayApply: !error.surelyNotSent))
                }
            }
        } catch {
            completion(.refused(.lostLeadership, mayApply: !error.surelyNotSent))
        }
    }

    // MARK: - Reads

    public func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void
    ) {
        let attempts = Attempts(now: SystemClock.now(), timeout: timeout)
        self.look(consistency, deadline: attempts.deadline) { found in
            if let found { return completion(found) }
            Self.inTask(completion) { () async throws(ClusterError) in try await self.view(consistency, attempts) }
        }
    }

    public func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        try await Self.waiting { self.view(consistency, timeout: timeout, completion: $0) }
    }

    private func view(_ consistency: Consistency, _ attempts: Attempts) async throws(ClusterError) -> ReadView {
        var attempts = attempts
        while true {
            try await attempts.pause(at: SystemClock.now())
            let deadline = attempts.deadline
            let found = await withCheckedContinuation { continuation in
                self.look(consistency, deadline: deadline) { continuation.resume(returning: $0) }
            }
            if let found { return try found.get() }
        }
    }

    /// One attempt; nil when another may help.
    private func look(
        _ consistency: Consistency, deadline: Instant,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>?) -> Void
    ) {
        if consistency == .stale { return completion(self.currentView(mustBeReady: true).map { .success($0) }) }
        let taken = self.loop.ask(
            .read(deadline: deadline) { outcome in
                switch outcome {
                case .readable: completion(self.currentView(mustBeReady: false).map { .success($0) })
                case .refused(.overloaded): completion(.failure(.overloaded(leaderOnly: false)))
                case .refused: completion(nil)
                }
            })
        if !taken { completion(self.loop.isRunning ? .failure(.overloaded(leaderOnly: false)) : nil) }
    }

    public var currentView: ReadView? { self.currentView(mustBeReady: true) }

    private func currentView(mustBeReady: Bool) -> ReadView? {
        let now = SystemClock.now()
        return self.loop.published.withLock { published in
            if mustBeReady, !published.isReady { return nil }
            if published.halted != nil { return nil }
            return ReadView(
                published.state, lastContact: published.isLeader ? .zero : now.since(published.lastLeaderContact),
                knownLeader: published.leader != nil)
        }
    }

    private static func waiting<Value: Sendable>(
        _ body: (@escaping @Sendable (Result<Value, ClusterError>) -> Void) -> Void
    ) async throws(ClusterError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, ClusterError>, Never>) in
            body { continuation.resume(returning: $0) }
        }
        return try result.get()
    }
}
