import Protocol
import Raft
import Registry
import Replica
import Transport
import Units

// What the router asks of this server.
extension Server: RouterPorts {
    var router: RequestRouter<Server> { RequestRouter(self) }

    package var isRunning: Bool { self.loop.isRunning }

    package func view(mustBeReady: Bool) -> ReadView? {
        let now = self.surroundings.now()
        return self.loop.published.withLock { $0.view(mustBeReady: mustBeReady, at: now) }
    }

    package func ask(_ item: LoopItem) -> Bool { self.loop.ask(item) }

    package func forward(
        _ request: PeerRequest, to leader: Member, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerResponse, TransportError>) -> Void
    ) {
        do throws(TransportError) {
            self.forwarded.call(
                request, to: leader.id, over: try self.pool.connection(to: leader.address), timeout: timeout,
                isStillLeader: { self.leader?.member.id == leader.id }, completion: completion)
        } catch {
            completion(.failure(error))
        }
    }

    package func call(_ request: PeerRequest, of member: Member, timeout: Nanoseconds) async -> PeerResponse? {
        await self.pool.ask(request, of: member.address, timeout: timeout)
    }
}

// The hot ways: a write, and a state to read from.
extension Server {
    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        self.router.propose(command, identity: identity, timeout: timeout, number: number, completion: completion)
    }

    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds
    ) async throws(ClusterError) -> LogResult {
        try await self.router.propose(command, identity: identity, timeout: timeout, number: nil)
    }

    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult {
        try await self.router.propose(command, identity: identity, timeout: timeout, number: number)
    }

    public func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void
    ) {
        self.router.view(consistency, timeout: timeout, completion: completion)
    }

    public func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        try await self.router.view(consistency, timeout: timeout)
    }

    public var currentView: ReadView? { self.view(mustBeReady: true) }
}
