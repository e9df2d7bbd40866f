import Protocol
import Raft
import Registry
import Replica
import Transport
import Units

/// The server that a request is placed at: its replica, what it publishes, and its way to the leader.
package protocol RouterPorts: AnyObject, Sendable {
    var nodeID: NodeID { get }
    var surroundings: ClusterSurroundings { get }
    var requests: RequestTracker { get }
    var watches: WatchHub { get }
    var isStopping: Bool { get }
    /// False: the replica takes nothing, since it has not begun or has ended.
    var isRunning: Bool { get }
    /// Who leads, as far as this server knows.
    var leader: (member: Member, isSelf: Bool)? { get }

    /// What is published now. `mustBeReady`: nil before this server may show its state.
    func view(mustBeReady: Bool) -> ReadView?
    /// Hands an item to the replica. False: it was not taken, and gets no reply.
    func ask(_ item: LoopItem) -> Bool
    /// Sends a write to the leader; given up, with an error, as soon as another server is known to lead.
    func forward(
        _ request: PeerRequest, to leader: Member, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void)
    /// nil: no answer, or one that says that the request failed.
    func call(_ request: PeerRequest, of member: Member, timeout: Nanoseconds) async -> PeerResponse?
}

/// Places requests: at this server's replica or at the leader's, and again for as long as that may help. It is what
/// `ClusterAccess` promises of a server.
///
/// The hot ways, a write and a state to read from, make their first attempt on the caller's thread and are answered on
/// whichever thread learns the outcome; only when it fails is there a task that tries again.
package struct RequestRouter<Ports: RouterPorts>: Sendable {
    private let ports: Ports

    package init(_ ports: Ports) { self.ports = ports }

    // MARK: - Writes

    package func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        var envelope = LogEnvelope()
        envelope.identity = identity
        envelope.originNode = self.ports.nodeID.rawValue
        envelope.command = command
        if let number {
            envelope.client = number.client
            envelope.sequence = number.sequence
            envelope.lowestOutstanding = number.lowestOutstanding
            return self.replicate(envelope, timeout: timeout, completion: completion)
        }
        let requests = self.ports.requests
        let ticket = requests.begin()
        requests.stamp(&envelope, ticket)
        self.replicate(envelope, timeout: timeout) { result in
            requests.end(ticket)
            completion(result)
        }
    }

    package func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?
    ) async throws(ClusterError) -> LogResult {
        try await Self.waiting {
            self.propose(command, identity: identity, timeout: timeout, number: number, completion: $0)
        }
    }

    /// Tries until it is applied, with the envelope's own client and sequence each time.
    package func replicate(_ envelope: LogEnvelope, timeout: Nanoseconds) async throws(ClusterError) -> LogResult {
        try await Self.waiting { self.replicate(envelope, timeout: timeout, completion: $0) }
    }

    private func replicate(
        _ envelope: LogEnvelope, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        let attempts = Attempts(now: self.ports.surroundings.now(), timeout: timeout)
        self.attempt(envelope, deadline: attempts.deadline) { outcome in
            if case .applied(let result)? = outcome { return completion(.success(result)) }
            self.inTask(completion) { () async throws(ClusterError) in
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
            try await self.pause(&attempts)
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
        guard let leader = self.ports.leader else { return completion(nil) }
        if !leader.isSelf { return self.forward(envelope, to: leader.member, deadline: deadline, completion) }
        if !self.ports.ask(.propose(envelope, deadline: deadline, reply: completion)) {
            completion(.refused(self.notTaken, mayApply: false))
        }
    }

    /// Why the replica did not take a request: it does not run, or its queue is full.
    var notTaken: RefusalReason { self.ports.isRunning ? .overloaded : .notLeader(nil) }

    private func forward(
        _ envelope: LogEnvelope, to member: Member, deadline: Instant,
        _ completion: @escaping @Sendable (ProposeOutcome?) -> Void
    ) {
        var request = PeerRequest()
        request.propose.envelope = envelope
        let timeout = deadline.since(self.ports.surroundings.now())
        self.ports.forward(request, to: member, timeout: timeout) { result in
            switch result {
            case .success(let response): completion(RefusalWire.outcome(of: response))
            case .failure(let error): completion(.refused(.lostLeadership, mayApply: !error.surelyNotSent))
            }
        }
    }

    /// A write that another server forwarded here: one attempt, at this server's replica.
    package func answer(_ envelope: LogEnvelope, reply: @escaping @Sendable (PeerResponse) -> Void) {
        let deadline = self.ports.surroundings.now() + .seconds(30)
        let taken = self.ports.ask(
            .propose(envelope, deadline: deadline) { reply(RefusalWire.response(to: $0)) })
        if !taken { reply(RefusalWire.response(to: self.notTaken, mayApply: false)) }
    }

    // MARK: - Reads

    package func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void
    ) {
        let attempts = Attempts(now: self.ports.surroundings.now(), timeout: timeout)
        self.look(consistency, deadline: attempts.deadline) { found in
            if let found { return completion(found) }
            self.inTask(completion) { () async throws(ClusterError) in try await self.view(consistency, attempts) }
        }
    }

    package func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        try await Self.waiting { self.view(consistency, timeout: timeout, completion: $0) }
    }

    private func view(_ consistency: Consistency, _ attempts: Attempts) async throws(ClusterError) -> ReadView {
        var attempts = attempts
        while true {
            try await self.pause(&attempts)
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
        let ports = self.ports
        if consistency == .stale { return completion(ports.view(mustBeReady: true).map { .success($0) }) }
        let taken = ports.ask(
            .read(deadline: deadline) { outcome in
                switch outcome {
                case .readable: completion(ports.view(mustBeReady: false).map { .success($0) })
                case .refused(.overloaded): completion(.failure(.overloaded(leaderOnly: false)))
                case .refused: completion(nil)
                }
            })
        if !taken { completion(ports.isRunning ? .failure(.overloaded(leaderOnly: false)) : nil) }
    }

    package func waitForChange(
        of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        if self.ports.isStopping { throw .shuttingDown }
        guard await self.ports.watches.wait(for: watches, after: index, timeout: timeout) else {
            throw .overloaded(leaderOnly: false)
        }
    }

    // MARK: - Sessions

    package func renewSession(_ id: String) async throws(ClusterError) -> Bool {
        var attempts = Attempts(now: self.ports.surroundings.now(), timeout: .seconds(10))
        while true {
            if let leader = self.ports.leader {
                let found =
                    leader.isSelf
                    ? await self.renewHere(id, deadline: attempts.deadline)
                    : await self.renew(id, at: leader.member, deadline: attempts.deadline)
                if let found { return found }
            }
            try await self.pause(&attempts)
        }
    }

    /// nil: not this time.
    private func renewHere(_ id: String, deadline: Instant) async -> Bool? {
        let outcome: RenewOutcome = await withCheckedContinuation { continuation in
            let taken = self.ports.ask(
                .renewSession(id, deadline: deadline) { continuation.resume(returning: $0) })
            if !taken { continuation.resume(returning: .refused(self.notTaken)) }
        }
        if case .renewed(let found) = outcome { return found }
        return nil
    }

    private func renew(_ id: String, at member: Member, deadline: Instant) async -> Bool? {
        var request = PeerRequest()
        request.sessionRenew.id = id
        let remaining = deadline.since(self.ports.surroundings.now())
        let response = await self.ports.call(request, of: member, timeout: remaining)
        guard case .sessionRenewed(let renewed) = response?.kind else { return nil }
        return renewed.found
    }

    /// A renewal that another server sent here.
    package func answerRenewal(of id: String) async -> PeerResponse {
        let deadline = self.ports.surroundings.now() + .seconds(5)
        guard let found = await self.renewHere(id, deadline: deadline) else {
            return RefusalWire.response(to: .notLeader(nil), mayApply: false)
        }
        var response = PeerResponse()
        response.sessionRenewed.found = found
        return response
    }

    // MARK: - Waiting

    private func pause(_ attempts: inout Attempts) async throws(ClusterError) {
        let surroundings = self.ports.surroundings
        try await attempts.pause(at: surroundings.now(), in: surroundings)
    }

    private func inTask<Value: Sendable>(
        _ completion: @escaping @Sendable (Result<Value, ClusterError>) -> Void,
        _ body: @escaping @Sendable () async throws(ClusterError) -> Value
    ) {
        Task(executorPreference: self.ports.surroundings.executor) {
            do throws(ClusterError) { completion(.success(try await body())) } catch { completion(.failure(error)) }
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
