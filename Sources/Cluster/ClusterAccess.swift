import Protocol
import Registry
import Units

/// What a read promises (consul.md names: `?stale`, nothing, `?consistent`). `default` and `consistent` are both
/// linearizable here, on every server; the difference is only what they tell the client in a header.
public enum Consistency: Sendable, Equatable {
    /// Any server's state, however old; answered without a leader.
    case stale
    case `default`
    case consistent
}

/// An immutable state to answer from, with what the reply's headers say about it.
public struct ReadView: Sendable {
    private let state: SharedRegistry
    public var registry: Registry { self.state.registry }
    /// Time since this server last heard from a leader; zero on the leader.
    public var lastContact: Nanoseconds
    public var knownLeader: Bool

    public init(registry: Registry, lastContact: Nanoseconds, knownLeader: Bool) {
        self.init(SharedRegistry(registry), lastContact: lastContact, knownLeader: knownLeader)
    }

    init(_ state: SharedRegistry, lastContact: Nanoseconds, knownLeader: Bool) {
        self.state = state
        self.lastContact = lastContact
        self.knownLeader = knownLeader
    }
}

/// One registry for all who read it at the same time: it is made of some thirty references, and to count each of them
/// for each request costs more than most answers.
package final class SharedRegistry: Sendable {
    let registry: Registry
    package init(_ registry: Registry) { self.registry = registry }
}

public enum ClusterError: Error, Sendable, Equatable {
    /// No leader was found within the hold time (7 s): HTTP 500 `No cluster leader`.
    case noLeader
    /// An agent reaches no server: HTTP 500 `No known Consul servers`.
    case noServers
    /// The request may or may not have been applied: its deadline passed, or the connection broke too late to retry.
    case outcomeUnknown(String)
    /// A bound was reached: HTTP 429, or 503 when only the leader could have served it; both with Retry-After.
    case overloaded(leaderOnly: Bool)
    case diskFull
    /// The state machine or a server refused it, with the text that clients of Consul know.
    case refused(status: Int, text: String)
    /// Asked of an agent what only a server has.
    case notAServer
    case shuttingDown
}

/// Who this process is; fixed for its life.
public struct LocalIdentity: Sendable, Equatable {
    public var nodeName: String
    /// UUID, 36 characters.
    public var nodeUUID: String
    public var datacenter: String
    public var isServer: Bool
    /// Address that others reach this node at.
    public var advertiseAddress: String
    public var serverPort: Int
    public var httpPort: Int
    public var dnsPort: Int

    public init(
        nodeName: String, nodeUUID: String, datacenter: String, isServer: Bool, advertiseAddress: String,
        serverPort: Int,
        httpPort: Int, dnsPort: Int
    ) {
        self.nodeName = nodeName
        self.nodeUUID = nodeUUID
        self.datacenter = datacenter
        self.isServer = isServer
        self.advertiseAddress = advertiseAddress
        self.serverPort = serverPort
        self.httpPort = httpPort
        self.dnsPort = dnsPort
    }
}

/// A requester's own numbering of a write: `client` is drawn for the life of its process and never 0; results below
/// `lowestOutstanding` will not be asked for again.
public struct RequestNumber: Sendable, Equatable {
    public var client: UInt64
    public var sequence: UInt64
    public var lowestOutstanding: UInt64

    /// - Parameters:
    ///   - client: not 0.
    ///   - lowestOutstanding: from 1 to `sequence`.
    public init(client: UInt64, sequence: UInt64, lowestOutstanding: UInt64) {
        self.client = client
        self.sequence = sequence
        self.lowestOutstanding = lowestOutstanding
    }

    /// nil for a request that was not numbered.
    public init?(_ request: PeerHTTPRequest) {
        guard request.client != 0 else { return nil }
        self.client = request.client
        self.sequence = request.sequence
        self.lowestOutstanding = request.lowestOutstanding
    }
}

/// Headers that stand between an agent and its server alone.
public enum ForwardedHeader {
    /// Milliseconds that whoever forwarded the request waits for the answer.
    public static let patience = "X-Serai-Patience"
    /// On an answer: this request certainly put nothing into the log. What became of the same request sent elsewhere
    /// before, it does not tell.
    public static let notPlaced = "X-Serai-Not-Placed"
}

/// What the faces (HTTP, DNS) and the local agent talk to. On a server it stands on the replica; on an agent it
/// forwards over one pipelined stream. Cancelling the calling task frees what the call holds at once.
public protocol ClusterAccess: Sendable {
    var identity: LocalIdentity { get }

    /// Replicates a command and returns its result once a quorum's disks hold it and the leader has applied it: from
    /// then on every `default` or `consistent` read sees it, wherever it is asked. Forwards where this process does not
    /// lead; holds it up to 7 s while there is no leader. Applied at most once, however often it is retried inside.
    func propose(_ command: LogCommand, identity: String, timeout: Nanoseconds) async throws(ClusterError) -> LogResult

    /// The same for a write that another process has numbered: however often it is sent, and wherever, it is applied
    /// once. One number belongs to one command.
    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult

    /// `propose` without a task, for the hot way: `completion` is called once, on any thread, and must be quick.
    func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void)

    /// A state that keeps the promise, on a server. An agent throws `notAServer`: it forwards whole requests.
    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView

    /// `view` without a task, for the hot way: `completion` is called once, on any thread, and must be quick.
    func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void)

    /// An agent's own view of a topic, which is begun when there is none; however old. It throws what keeps it from having
    /// one. Its index never goes back while it is there. A server throws `notAServer`.
    func view(of topic: ViewTopic, timeout: Nanoseconds) async throws(ClusterError) -> TopicView

    /// Waits until the view of a topic is another than the one that had applied `index`, or the time is over.
    func waitForChange(of topic: ViewTopic, after index: LogIndex, timeout: Nanoseconds) async throws(ClusterError)

    /// This process's newest state, whatever its age; nil when it has none that it may show.
    var currentView: ReadView? { get }

    /// Waits until something in `watches` changes after `index` was applied, or the time is over. Returns at once when
    /// it already has, and when the whole state was replaced. On a server.
    func waitForChange(of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds) async throws(ClusterError)

    /// Starts a session's TTL anew, at the leader. False: no such session.
    func renewSession(_ id: String) async throws(ClusterError) -> Bool

    /// `address:port` of the leader's RPC listener; "" when none is known.
    func leaderAddress() async -> String
    /// RPC addresses of the voters.
    func peerAddresses() async -> [String]
    func raftStatus() async throws(ClusterError) -> PeerRaftStatus
    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError)

    /// An agent sends a whole HTTP request, or a DNS packet, to its server. A server throws `notAServer` here.
    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse
    /// `forward` without a task: `completion` is called once, on any thread, and must be quick.
    func forward(
        _ request: PeerHTTPRequest, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerHTTPResponse, ClusterError>) -> Void)
    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8]
}

// What a task does, for those that have no shorter way.
extension ClusterAccess {
    /// Without a state machine behind it there is nothing to apply twice.
    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber
    ) async throws(ClusterError) -> LogResult {
        try await self.propose(command, identity: identity, timeout: timeout)
    }

    public func propose(
        _ command: LogCommand, identity: String, timeout: Nanoseconds, number: RequestNumber?,
        completion: @escaping @Sendable (Result<LogResult, ClusterError>) -> Void
    ) {
        Self.inTask(completion) { () async throws(ClusterError) in
            guard let number else { return try await self.propose(command, identity: identity, timeout: timeout) }
            return try await self.propose(command, identity: identity, timeout: timeout, number: number)
        }
    }

    public func view(
        _ consistency: Consistency, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<ReadView, ClusterError>) -> Void
    ) {
        Self.inTask(completion) { () async throws(ClusterError) in try await self.view(consistency, timeout: timeout) }
    }

    public var currentView: ReadView? { nil }

    public func view(of topic: ViewTopic, timeout: Nanoseconds) async throws(ClusterError) -> TopicView {
        throw .notAServer
    }

    public func waitForChange(
        of topic: ViewTopic, after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        throw .notAServer
    }

    public func forward(
        _ request: PeerHTTPRequest, timeout: Nanoseconds,
        completion: @escaping @Sendable (Result<PeerHTTPResponse, ClusterError>) -> Void
    ) {
        Self.inTask(completion) { () async throws(ClusterError) in try await self.forward(request, timeout: timeout) }
    }

    static func inTask<Value: Sendable>(
        _ completion: @escaping @Sendable (Result<Value, ClusterError>) -> Void,
        _ body: @escaping @Sendable () async throws(ClusterError) -> Value
    ) {
        Task {
            do throws(ClusterError) { completion(.success(try await body())) } catch { completion(.failure(error)) }
        }
    }
}
