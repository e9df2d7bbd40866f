import Certificates
import Logging
import Protocol
import Raft
import Registry
import Synchronization
import Transport
import Units

extension AgentLink: ClusterAccess {
    private var inUse: (pool: PeerPool, server: String)? {
        self.state.withLock { state in
            guard let wire = state.wire, let server = state.server else { return nil }
            return (wire.pool, server)
        }
    }

    private var isStopping: Bool { self.state.withLock { $0.isStopping } }

    /// This node's own registrations.
    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds
    ) async throws(ClusterError) -> LogResult {
        let ticket = self.requests.begin()
        defer { self.requests.end(ticket) }
        var envelope = LogEnvelope()
        envelope.identity = identity
        envelope.command = command
        self.requests.stamp(&envelope, ticket)
        var request = PeerRequest()
        request.propose.envelope = envelope
        var attempts = Attempts(now: SystemClock.now(), timeout: timeout)
        while true {
            if let (pool, server) = self.inUse {
                let remaining = attempts.deadline.since(SystemClock.now())
                let outcome: ProposeOutcome
                do throws(TransportError) {
                    outcome = RefusalWire.outcome(of: try await pool.call(request, to: server, timeout: remaining))
                } catch {
                    outcome = .refused(.lostLeadership, mayApply: !error.surelyNotSent)
                }
                if let result = try attempts.judge(outcome) { return result }
            }
            try await self.pause(&attempts)
        }
    }

    /// As `Attempts.pause`, with the error that says which of the two is missing: a server, or the servers' leader.
    private func pause(_ attempts: inout Attempts) async throws(ClusterError) {
        if self.isStopping { throw .shuttingDown }
        do throws(ClusterError) {
            try await attempts.pause(at: SystemClock.now())
        } catch .noLeader {
            throw self.inUse == nil ? .noServers : .noLeader
        }
    }

    public func forward(
        _ request: PeerHTTPRequest, timeout: Nanoseconds
    ) async throws(ClusterError) -> PeerHTTPResponse {
        let numbered = self.numbered(request)
        defer { if let ticket = numbered.ticket { self.requests.end(ticket) } }
        let attempts = Attempts(now: SystemClock.now(), timeout: timeout)
        return try Self.http(try await self.exchange(numbered.call, attempts, mayRepeat: numbered.mayRepeat))
    }

    /// The first attempt is made without a task.
    public func forward(
        _ request: PeerHTTPRequest, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerHTTPResponse, ClusterError>) -> Void
    ) {
        let numbered = self.numbered(request)
        let attempts = Attempts(now: SystemClock.now(), timeout: timeout)
        let finish: @Sendable (Result<PeerHTTPResponse, ClusterError>) -> Void = { result in
            if let ticket = numbered.ticket { self.requests.end(ticket) }
            completion(result)
        }
        let goOn: @Sendable (Result<PeerResponse, TransportError>?) -> Void = { first in
            Self.inTask(finish) { () async throws(ClusterError) in
                try Self.http(
                    try await self.exchange(numbered.call, attempts, mayRepeat: numbered.mayRepeat, after: first))
            }
        }
        guard let (pool, server) = self.inUse, let connection = try? pool.connection(to: server) else {
            return goOn(nil)
        }
        let time = Duration.nanoseconds(Int64(clamping: attempts.deadline.since(SystemClock.now()).rawValue))
        connection.call(numbered.call, timeout: time) { result in
            if case .success(let response) = result, response.error.isEmpty, case .http(let answer) = response.kind {
                return finish(.success(answer))
            }
            goOn(result)
        }
    }

    private func numbered(
        _ request: PeerHTTPRequest
    ) -> (call: PeerRequest, ticket: RequestTracker.Ticket?, mayRepeat: Bool) {
        var call = PeerRequest()
        call.http = request
        let isRead = request.method == "GET" || request.method == "HEAD"
        // A client's own number stays: it may send the same request to another address.
        if request.client != 0 { return (call, nil, true) }
        let isNumbered = !isRead && Self.isOneWrite(request.target)
        let ticket = isNumbered ? self.requests.begin() : nil
        if let ticket { self.requests.stamp(&call.http, ticket) }
        return (call, ticket, isRead || isNumbered)
    }

    private static func http(_ response: PeerResponse) throws(ClusterError) -> PeerHTTPResponse {
        guard case .http(let answer) = response.kind else {
            throw .refused(status: 500, text: "the server's answer can't be read")
        }
        return answer
    }

    /// Requests that put one command into the log, whose number is therefore theirs.
    private static func isOneWrite(_ target: String) -> Bool {
        ["/v1/kv/", "/v1/txn", "/v1/session/", "/v1/catalog/"].contains { target.hasPrefix($0) }
    }

    public func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        var call = PeerRequest()
        call.dns.packet = .init(packet)
        call.dns.tcp = overTCP
        // Resolvers give up after a few seconds: a late answer is of no use to them.
        let response = try await self.exchange(call, timeout: .seconds(4), mayRepeat: true)
        guard case .dns(let answer) = response.kind else {
            throw .refused(status: 500, text: "the server's answer can't be read")
        }
        return [UInt8](answer.packet)
    }

    /// One request to whatever server is in use. Goes to another when the first was surely not reached, or when the
    /// request changes nothing; else a broken connection leaves its outcome unknown.
    private func exchange(
        _ request: PeerRequest, timeout: Nanoseconds, mayRepeat: Bool
    ) async throws(ClusterError) -> PeerResponse {
        try await self.exchange(request, Attempts(now: SystemClock.now(), timeout: timeout), mayRepeat: mayRepeat)
    }

    /// - Parameter first: the outcome of an attempt that was made already.
    private func exchange(
        _ request: PeerRequest, _ attempts: Attempts, mayRepeat: Bool,
        after first: Result<PeerResponse, TransportError>? = nil
    ) async throws(ClusterError) -> PeerResponse {
        var attempts = attempts
        var first = first
        while true {
            var outcome = first
            first = nil
            if outcome == nil, let (pool, server) = self.inUse {
                let remaining = attempts.deadline.since(SystemClock.now())
                do throws(TransportError) {
                    outcome = .success(try await pool.call(request, to: server, timeout: remaining))
                } catch {
                    outcome = .failure(error)
                }
            }
            switch outcome {
            case .failure(.cancelled): throw .shuttingDown
            case .failure(let error):
                if !error.surelyNotSent {
                    if !mayRepeat { throw .outcomeUnknown("\(error)") }
                    attempts.wasLost(at: SystemClock.now(), mayApply: request.http.sequence != 0)
                }
            case .success(let response):
                guard attempts.isFinal(response) else { break }
                if response.error.isEmpty { return response }
                // A server that is just starting has no faces yet.
                if response.errorCode == 429 { throw .overloaded(leaderOnly: false) }
                if response.errorCode != 503 {
                    throw .refused(status: max(400, Int(response.errorCode)), text: response.error)
                }
            case nil: break
            }
            try await self.pause(&attempts)
        }
    }

    public func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        throw .notAServer
    }

    public func view(of topic: ViewTopic, timeout: Nanoseconds) async throws(ClusterError) -> TopicView {
        try await self.views.view(of: topic, timeout: timeout)
    }

    public func waitForChange(
        of topic: ViewTopic, after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        try await self.views.waitForChange(of: topic, after: index, timeout: timeout)
    }

    /// One question to the server in use, asked once; whatever it answers.
    func ask(_ request: PeerRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerResponse {
        guard let (pool, server) = self.inUse else { throw .noServers }
        do throws(TransportError) {
            return try await pool.call(request, to: server, timeout: timeout)
        } catch {
            throw .outcomeUnknown("\(error)")
        }
    }

    /// How many topics this agent follows, and bytes of their rows.
    public var viewSize: (views: Int, bytes: Int) { self.views.size }

    public func waitForChange(
        of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        throw .notAServer
    }

    /// Sessions are renewed by forwarding the whole request.
    public func renewSession(_ id: String) async throws(ClusterError) -> Bool { throw .notAServer }
    public func raftStatus() async throws(ClusterError) -> PeerRaftStatus { throw .notAServer }
    public func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) { throw .notAServer }

    public func leaderAddress() async -> String { await self.status().leaderAddress }
    public func peerAddresses() async -> [String] { await self.status().peers }

    private func status() async -> PeerStatusAnswer {
        guard let (pool, server) = self.inUse else { return PeerStatusAnswer() }
        var request = PeerRequest()
        request.status = PeerStatus()
        let response = await pool.ask(request, of: server, timeout: .seconds(2))
        guard case .status(let answer) = response?.kind else { return PeerStatusAnswer() }
        return answer
    }

    /// What the catalog holds of a node.
    public func nodeCatalog(_ name: String) async throws(ClusterError) -> PeerNodeCatalog {
        var call = PeerRequest()
        call.nodeCatalog.node = name
        let response = try await self.exchange(call, timeout: .seconds(10), mayRepeat: true)
        guard case .nodeCatalog(let answer) = response.kind else {
            throw .refused(status: 500, text: "the server's answer can't be read")
        }
        return answer
    }

    /// Takes this node and all that is registered on it out of the catalog.
    public func deregisterNode() async throws(ClusterError) {
        var command = LogCommand()
        command.deregister.node = self.identity.nodeName
        _ = try await self.propose(command, identity: self.identity.nodeName, timeout: .seconds(5))
    }

    /// Seconds until this node's certificate expires; negative once it has, nil before there is one.
    public var certificateExpiry: Int64? {
        self.state.withLock { $0.wire }.map { $0.security.credentials.expiry.rawValue - UnixSeconds.now().rawValue }
    }

    /// Servers known to this agent.
    public var serverAddresses: [String] { self.state.withLock { $0.candidates.addresses.sorted() } }
    /// The server in use; "" while there is none.
    public var serverInUse: String { self.state.withLock { $0.server ?? "" } }
}
