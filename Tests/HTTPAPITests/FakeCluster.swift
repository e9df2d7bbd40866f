import Cluster
import Protocol
import Registry
import Synchronization
import Units

/// A cluster of one in memory: proposals are applied to a real registry at once, at rising indexes.
final class FakeCluster: ClusterAccess {
    private struct Waiter {
        var id: Int
        var watch: [WatchKey]
        var wake: CheckedContinuation<Void, Never>
    }

    private struct State {
        var registry: Registry
        var wallTime: UInt64 = 1_000_000_000
        var waiters: [Waiter] = []
        var nextWaiter = 0
        var cancelled: Set<Int> = []
        var failure: ClusterError?
        var proposals: [LogCommand] = []
        var views: [Consistency] = []
        var status = PeerRaftStatus()
        var admins: [PeerRaftAdmin] = []
        var forwarded: [PeerHTTPRequest] = []
        var hasViews = true
        var viewsWereThere = true
    }

    let identity: LocalIdentity
    private let state: Mutex<State>
    private let server: (@Sendable (PeerHTTPRequest) async -> PeerHTTPResponse)?

    /// Whose state an agent's views show.
    private let source: FakeCluster?

    /// `server`: who answers what an agent forwards.
    init(
        isServer: Bool = true, source: FakeCluster? = nil,
        server: (@Sendable (PeerHTTPRequest) async -> PeerHTTPResponse)? = nil
    ) {
        self.source = source
        self.identity = LocalIdentity(
            nodeName: isServer ? "s1" : "a1", nodeUUID: "00000000-0000-8000-8000-000000000001", datacenter: "dc1",
            isServer: isServer, advertiseAddress: "10.0.0.1", serverPort: 8300, httpPort: 8500, dnsPort: 8600)
        var registry = Registry()
        registry.applyEmpty(at: LogIndex(10), term: Term(1))
        self.state = Mutex(State(registry: registry))
        self.server = server
    }

    // MARK: what tests set and see

    func fail(_ error: ClusterError?) { self.state.withLock { $0.failure = error } }
    func set(_ status: PeerRaftStatus) { self.state.withLock { $0.status = status } }
    var proposals: [LogCommand] { self.state.withLock { $0.proposals } }
    var views: [Consistency] { self.state.withLock { $0.views } }
    var admins: [PeerRaftAdmin] { self.state.withLock { $0.admins } }
    var forwarded: [PeerHTTPRequest] { self.state.withLock { $0.forwarded } }
    var waiterCount: Int { (self.source ?? self).state.withLock { $0.waiters.count } }
    func loseViews() { self.state.withLock { $0.hasViews = false } }
    func viewsAreNew() { self.state.withLock { $0.viewsWereThere = false } }

    @discardableResult
    func apply(_ command: LogCommand, number: RequestNumber? = nil) -> LogResult {
        let (result, woken) = self.state.withLock { state in
            var envelope = LogEnvelope()
            envelope.format = 1
            envelope.command = command
            if let number {
                envelope.client = number.client
                envelope.sequence = number.sequence
                envelope.lowestOutstanding = number.lowestOutstanding
            }
            state.wallTime += 1_000_000
            envelope.wallTimeNs = state.wallTime
            state.proposals.append(command)
            var failure = LogResult()
            failure.kind = .failure(LogFailure())
            let next = state.registry.appliedIndex.next
            guard let applied = try? state.registry.apply(envelope, at: next, term: Term(1)) else {
                return (failure, [Waiter]())
            }
            let woken = state.waiters.filter { waiter in
                applied.everythingTouched
                    || applied.touched.contains { touch in waiter.watch.contains { $0.isTouched(by: touch) } }
            }
            let ids = Set(woken.map(\.id))
            state.waiters.removeAll { ids.contains($0.id) }
            return (applied.result, woken)
        }
        for waiter in woken { waiter.wake.resume() }
        return result
    }

    /// Puts another state in place, as a restored backup does.
    func replace(_ registry: Registry) {
        let woken = self.state.withLock { state in
            state.registry = registry
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in woken { waiter.wake.resume() }
    }

    // MARK: ClusterAccess

    private func check() throws(ClusterError) {
        if let failure = self.state.withLock({ $0.failure }) { throw failure }
        if !self.identity.isServer { throw .notAServer }
    }

    func propose(_ command: LogCommand, identity: String, timeout: Nanoseconds) async throws(ClusterError) -> LogResult
    {
        try self.check()
        return self.apply(command)
    }

    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult {
        try self.check()
        return self.apply(command, number: number)
    }

    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        try self.check()
        return self.state.withLock { state in
            state.views.append(consistency)
            return ReadView(
                registry: state.registry, lastContact: consistency == .stale ? .milliseconds(7) : .zero,
                knownLeader: true)
        }
    }

    func view(of topic: ViewTopic, timeout: Nanoseconds) async throws(ClusterError) -> TopicView {
        let (hasViews, wasThere) = self.state.withLock { ($0.hasViews, $0.viewsWereThere) }
        guard let source, hasViews else { throw .noServers }
        let registry = source.state.withLock { $0.registry }
        var rows = PartialRegistry()
        guard let bytes = registry.part(topic).difference(from: nil, bytesMax: 1 << 20), (try? rows.take(bytes)) != nil
        else { throw .noServers }
        let view = ReadView(registry: rows.registry, lastContact: .milliseconds(2500), knownLeader: true)
        return TopicView(view: view, wasThere: wasThere)
    }

    func waitForChange(
        of topic: ViewTopic, after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        guard let source else { throw .noServers }
        try await source.waitForChange(
            of: source.state.withLock { $0.registry }.part(topic).watch, after: index, timeout: timeout)
    }

    var currentView: ReadView? {
        self.state.withLock { ReadView(registry: $0.registry, lastContact: .zero, knownLeader: true) }
    }

    func waitForChange(
        of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        try self.check()
        let id = self.state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let timer = Task {
            try? await Task.sleep(for: .nanoseconds(Int64(timeout.rawValue)))
            self.wake(id)
        }
        defer { timer.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = self.state.withLock { state in
                    if state.registry.appliedIndex > index || state.cancelled.contains(id) { return false }
                    state.waiters.append(Waiter(id: id, watch: watches, wake: continuation))
                    return true
                }
                if !goesOn { continuation.resume() }
            }
        } onCancel: {
            self.wake(id)
        }
    }

    private func wake(_ id: Int) {
        let waiter = self.state.withLock { state -> Waiter? in
            state.cancelled.insert(id)
            guard let position = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: position)
        }
        waiter?.wake.resume()
    }

    func renewSession(_ id: String) async throws(ClusterError) -> Bool {
        try self.check()
        return self.state.withLock { $0.registry.session(id).value != nil }
    }

    func leaderAddress() async -> String { "10.0.0.1:8300" }
    func peerAddresses() async -> [String] { ["10.0.0.1:8300", "10.0.0.2:8300"] }

    func raftStatus() async throws(ClusterError) -> PeerRaftStatus {
        try self.check()
        return self.state.withLock { $0.status }
    }

    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) {
        try self.check()
        self.state.withLock { $0.admins.append(request) }
    }

    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse {
        if let failure = self.state.withLock({ $0.failure }) { throw failure }
        guard let server = self.server else { throw .noServers }
        self.state.withLock { $0.forwarded.append(request) }
        return await server(request)
    }

    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] { throw .notAServer }
}
