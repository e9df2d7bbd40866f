import Certificates
import Logging
import NIOCore
import Protocol
import Raft
import Registry
import Replica
import Storage
import Synchronization
import Transport
import Units

/// One server: the replica's shell, its disks, its peers; and what the faces of this process talk to.
public final class Server: Sendable {
    public let identity: LocalIdentity
    public let nodeID: NodeID
    let settings: ServerSettings
    let authority: CertificateAuthority
    let security: TransportSecurity
    let loop: ReplicaLoop
    let storageLoop: StorageLoop
    let snapshotLoop: SnapshotLoop
    let pool: PeerPool
    package let surroundings = ClusterSurroundings.process
    package let requests: RequestTracker
    let forwarded = ForwardedWrites<PeerConnection>()
    package let watches: WatchHub
    let views = ViewBoard()
    let logger: Logger
    /// For files: certificates, the founding of a cluster, exported snapshots.
    let files = BlockingThread(name: "serai-files")
    let faces = Mutex(Faces())
    let agents = Mutex(AgentLeases())
    let addresses = Mutex<[NodeID: String]>([:])
    let life = Mutex(Life())

    /// How requests that agents forward whole are answered: by this server's own faces, set once they exist.
    struct Faces {
        var http: (@Sendable (PeerHTTPRequest, _ agent: String) async -> PeerHTTPResponse)?
        var httpOnLoop: HTTPOnLoop?
        var dns: (@Sendable ([UInt8], _ overTCP: Bool) async -> [UInt8])?
    }

    /// Agents whose lease is kept at this server, by name, with the time of the last word.
    struct AgentLeases {
        var lastSeen: [String: Instant] = [:]
        /// This server is about to stop: agents are sent to others.
        var isDismissing = false
    }

    struct Life {
        /// While the log is empty and nobody has founded a cluster.
        var founding: Founding?
        /// As long as the log's own thread does not have it.
        var log: OpenedLog?
        var listener: PeerListener?
        var threads: Threads?
        var tasks: [Task<Void, Never>] = []
        var isStopping = false
        /// It is no member any more, and its certificate is refused.
        var hasLeft = false
    }

    /// The threads that run while there is a log.
    struct Threads {
        var storage: WorkerThread
        var snapshots: WorkerThread
        var replica: WorkerThread
    }

    /// How long a request is held while there is no leader (Consul's rpc_hold_timeout).
    static let holdTime = Nanoseconds.seconds(7)

    init(
        _ files: ServerFiles, settings: ServerSettings, security: TransportSecurity, pool: PeerPool, loop: ReplicaLoop,
        logger: Logger
    ) {
        self.identity = LocalIdentity(
            nodeName: settings.nodeName, nodeUUID: files.nodeID.uuid, datacenter: settings.datacenter, isServer: true,
            advertiseAddress: settings.advertiseAddress, serverPort: settings.serverPort, httpPort: settings.httpPort,
            dnsPort: settings.dnsPort)
        self.nodeID = files.nodeID
        self.settings = settings
        self.authority = files.authority
        self.security = security
        self.loop = loop
        self.watches = loop.watches
        self.pool = pool
        self.requests = RequestTracker(client: .random(in: 1 ... .max))
        self.logger = logger
        if let error = files.unsaved {
            logger.warning(
                "the certificate could not be saved; it is used all the same", metadata: ["error": "\(error)"])
        }
        let storageLoop = StorageLoop(logger: logger, report: { loop.report($0) }, fatal: settings.fatal)
        self.storageLoop = storageLoop
        self.snapshotLoop = SnapshotLoop(
            store: files.log.snapshots, logger: logger, report: { loop.report($0) },
            replaceLog: { meta, reply in storageLoop.inbox.post(.replaceLog(by: meta, reply: reply), always: true) })
    }

    /// Answers a quick request on the loop that it came in by; false when it is none.
    public typealias HTTPOnLoop =
        @Sendable (
            PeerHTTPRequest, _ agent: String, any EventLoop, @escaping @Sendable (PeerHTTPResponse) -> Void
        ) -> Bool

    public func setFaces(
        http: @escaping @Sendable (PeerHTTPRequest, _ agent: String) async -> PeerHTTPResponse,
        httpOnLoop: HTTPOnLoop? = nil,
        dns: @escaping @Sendable ([UInt8], _ overTCP: Bool) async -> [UInt8]
    ) {
        self.faces.withLock {
            $0.http = http
            $0.httpOnLoop = httpOnLoop
            $0.dns = dns
        }
    }

    public var isLeader: Bool { self.loop.published.withLock { $0.isLeader } }

    package var leader: (member: Member, isSelf: Bool)? {
        let known = self.loop.published.withLock { $0.knownLeader(to: self.nodeID) }
        guard var known, !known.isSelf else { return known }
        // It may have moved since its address was written into the configuration.
        if let introduced = self.addresses.withLock({ $0[known.member.id] }) { known.member.address = introduced }
        return known
    }
}

// MARK: - ClusterAccess

extension Server: ClusterAccess {
    public func waitForChange(
        of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        try await self.router.waitForChange(of: watches, after: index, timeout: timeout)
    }

    public func renewSession(_ id: String) async throws(ClusterError) -> Bool {
        try await self.router.renewSession(id)
    }

    public func leaderAddress() async -> String {
        self.loop.published.withLock { published in
            published.isLeader
                ? published.configuration.member(self.nodeID)?.address ?? "" : published.leaderMember?.address ?? ""
        }
    }

    public func peerAddresses() async -> [String] {
        self.loop.published.withLock { $0.configuration.voters.map(\.address).sorted() }
    }

    public func forward(
        _ request: PeerHTTPRequest, timeout: Nanoseconds
    ) async throws(ClusterError) -> PeerHTTPResponse {
        throw .notAServer
    }

    public func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        throw .notAServer
    }
}
