import Cluster
import HTTPAPI
import Logging
import NIOCore
import NIOHTTP1
import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Transport
import Units

/// Level 2: what a server process has above its replica: the HTTP API, the router that places requests, the hub that wakes
/// blocking queries, and the calls to and from other servers. All of that is the product's own; this class stands for
/// the process around it, from a start to the next crash.
// Unchecked: a world, with all that lives in it, is on one thread.
final class SimulatedServer: @unchecked Sendable {
    unowned let world: World
    unowned let node: ReplicaNode
    let time: ServerTime
    let watches: WatchHub
    let requests: RequestTracker
    let published: Mutex<Published>
    let identity: LocalIdentity
    let forwarded = ForwardedWrites<SimulatedLine>()
    var calls = OpenCalls()
    /// Of all servers that there were in this world.
    let number: Int
    private var audience = Audience()
    private var items: [LoopItem] = []
    private var itemsAreDue = false
    /// By token, the sessions that are being renewed.
    private var renewals: [UInt64: String] = [:]
    private var api: HTTPAPI!

    init(node: ReplicaNode, world: World, time: ServerTime, replica: Replica) {
        self.world = world
        self.node = node
        self.time = time
        self.number = world.nextServerNumber()
        self.watches = WatchHub(eventLoop: time.loop)
        self.requests = RequestTracker(client: 1 << 62 + time.draw(1 << 60))
        self.published = Mutex(Published(replica.registry))
        self.identity = LocalIdentity(
            nodeName: "server-\(node.slot)", nodeUUID: node.id.uuid, datacenter: "dc1", isServer: true,
            advertiseAddress: "10.0.0.\(node.slot + 1)", serverPort: 8300, httpPort: 8500, dnsPort: 8600)
        var settings = HTTPAPISettings()
        settings.sessionTTLMinimum = .seconds(1)
        settings.writeTimeout = Nanoseconds(world.options.writeTimeout)
        settings.readTimeout = Nanoseconds(world.options.readTimeout)
        self.api = HTTPAPI(
            cluster: self, agent: NoLocalAgent(), snapshot: NoSnapshots(), settings: settings,
            authorizer: NamedByToken(), logger: Logger(label: "simulated", factory: { _ in SwiftLogNoOpLogHandler() }),
            surroundings: time.surroundings)
        Audience.publish(replica, to: self.published, watches: self.watches)
    }

    /// The process has ended: whoever waits for something is let go, and finds nobody to tell.
    func end() {
        self.time.stop()
        for item in self.items { _ = self.audience.input(for: item) }
        self.items = []
        self.audience.refuseAll()
        self.calls.failAll()
        self.watches.publish([], at: self.published.withLock { $0.registry.appliedIndex }, everything: true)
        self.time.end()
        self.api = nil
    }

    var isOver: Bool { self.time.isOver }
    /// Blocking queries that wait here.
    var waitingCount: Int { max(self.api?.waitingCount ?? 0, self.watches.count) }

    // MARK: - The replica's thread

    func tick() { self.audience.expire(at: self.time.now) }

    /// What was asked since is handed to the replica.
    private func takeItems() {
        self.itemsAreDue = false
        let items = self.items
        self.items = []
        for item in items {
            guard let input = self.audience.input(for: item) else { continue }
            switch input {
            case .read(let token): self.world.invariants.readAsked(attempt: self.readNumber(token))
            case .renewSession(let token, let id): self.renewals[token] = id
            default: break
            }
            self.node.take(input)
            if self.isOver { return }
        }
    }

    /// Reads of all servers in one row, for the invariants.
    private func readNumber(_ token: UInt64) -> Int { self.number << 32 | Int(token) }

    /// After the directives of a batch were obeyed.
    func tell(_ directives: [ReplicaDirective], of replica: Replica) {
        for directive in directives {
            switch directive {
            case .readable(let tokens):
                for token in tokens {
                    self.world.invariants.readReady(
                        slot: self.node.slot, attempt: self.readNumber(token), index: self.node.appliedIndex)
                }
            case .sessionRenewed(let token, let found):
                if let id = self.renewals.removeValue(forKey: token), found {
                    self.world.holders.renewed(id, at: self.node.slot)
                }
            default: break
            }
        }
        self.audience.tell(directives, of: replica, published: self.published, watches: self.watches) {
            self.forwarded.giveUp(exceptTo: self.leader?.member.id)
        }
        let isNews = directives.contains { if case .publish = $0 { true } else { false } }
        if isNews { self.world.queries.published(at: self.node.slot, self.published.withLock { $0.registry }) }
    }

    // MARK: - Clients

    /// A client's request has come in whole. `reply` gets the answer's bytes, unless the process ends first.
    /// - Returns: what to cancel when the client goes away.
    func exchange(_ bytes: [UInt8], reply: @escaping (HTTPAnswer) -> Void) -> Task<Void, Never>? {
        guard let request = HTTPRequestText.parse(bytes) else {
            self.world.invariants.fail("I19", "a request is none: \(String(decoding: bytes, as: UTF8.self))")
            return nil
        }
        let answer = OnceOnly { [unowned self] (bytes: ByteBuffer) in
            if self.isOver { return }
            let bytes = Array(bytes.readableBytesView)
            guard let answer = HTTPAnswer(bytes) else {
                self.world.invariants.fail("I19", "an answer is none: \(String(decoding: bytes, as: UTF8.self))")
                return
            }
            reply(answer)
        }
        return self.api.exchange(request.head, body: request.body, on: self.time.loop) { answer.call($0) }
    }
}

/// Calls a closure that is not sendable; a second call is a mistake of the product's.
// Unchecked: a world, with all that lives in it, is on one thread.
private final class OnceOnly<Value>: @unchecked Sendable {
    private var body: ((Value) -> Void)?
    init(_ body: @escaping (Value) -> Void) { self.body = body }

    func call(_ value: Value) {
        precondition(self.body != nil, "answered twice")
        self.body?(value)
        self.body = nil
    }
}

// MARK: - What the product's code asks of its server

extension SimulatedServer: RouterPorts, ClusterAccess {
    var router: RequestRouter<SimulatedServer> { RequestRouter(self) }
    var nodeID: NodeID { self.node.id }
    var surroundings: ClusterSurroundings { self.time.surroundings }
    var isStopping: Bool { self.isOver }
    var isRunning: Bool { !self.isOver }

    var leader: (member: Member, isSelf: Bool)? {
        self.isOver ? nil : self.published.withLock { $0.knownLeader(to: self.nodeID) }
    }

    func view(mustBeReady: Bool) -> ReadView? {
        let now = self.time.now
        return self.published.withLock { $0.view(mustBeReady: mustBeReady, at: now) }
    }

    func ask(_ item: LoopItem) -> Bool {
        if self.isOver { return false }
        self.items.append(item)
        if !self.itemsAreDue {
            self.itemsAreDue = true
            self.time.soon { self.takeItems() }
        }
        return true
    }

    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        self.router.propose(command, identity: identity, timeout: timeout, number: number, completion: completion)
    }

    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds
    ) async throws(ClusterError) -> LogResult {
        try await self.router.propose(command, identity: identity, timeout: timeout, number: nil)
    }

    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult {
        try await self.router.propose(command, identity: identity, timeout: timeout, number: number)
    }

    func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void
    ) {
        self.router.view(consistency, timeout: timeout, completion: completion)
    }

    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        try await self.router.view(consistency, timeout: timeout)
    }

    var currentView: ReadView? { self.view(mustBeReady: true) }

    func waitForChange(
        of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        try await self.router.waitForChange(of: watches, after: index, timeout: timeout)
    }

    func renewSession(_ id: String) async throws(ClusterError) -> Bool { try await self.router.renewSession(id) }

    // Not part of the simulated workload.
    func leaderAddress() async -> String { self.leader?.member.address ?? "" }
    func peerAddresses() async -> [String] { [] }
    func raftStatus() async throws(ClusterError) -> PeerRaftStatus { PeerRaftStatus() }
    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) { throw .notAServer }
    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse {
        throw .notAServer
    }
    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] { throw .notAServer }
}
