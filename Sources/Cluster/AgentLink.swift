import Certificates
import Logging
import NIOCore
import Protocol
import Registry
import Storage
import Synchronization
import Transport
import Units

/// A client agent's way to the cluster: one connection to one server, over which whole requests are forwarded and the
/// node's lease is kept. A server that breaks off, or has no leader, is left for another.
public final class AgentLink: Sendable {
    public let identity: LocalIdentity
    let settings: AgentLinkSettings
    let group: any EventLoopGroup
    let logger: Logger
    let requests: RequestTracker
    let views: AgentViews
    let files: BlockingThread
    let state: Mutex<State>
    private let lock: HeldLock
    private let key: NodeKey
    private let nodeID: NodeID

    struct State {
        /// Everything that needs a certificate; nil until the agent has one.
        var wire: Wire?
        /// The server in use; nil while one is looked for.
        var server: String?
        var candidates: ServerCandidates
        var tasks: [Task<Void, Never>] = []
        var isStopping = false
        /// A server whose connection broke, until the search for another begins.
        var lost: String?
    }

    struct Wire: Sendable {
        var security: TransportSecurity
        var pool: PeerPool
    }

    /// How often the lease is kept, and the time a server has to answer.
    static let leaseInterval = Nanoseconds.seconds(2)
    static let leaseTimeout = Nanoseconds.seconds(2)

    private init(
        _ settings: AgentLinkSettings, _ files: AgentFiles, thread: BlockingThread, group: any EventLoopGroup,
        logger: Logger
    ) {
        self.identity = LocalIdentity(
            nodeName: settings.nodeName, nodeUUID: files.nodeID.uuid, datacenter: settings.datacenter, isServer: false,
            advertiseAddress: settings.advertiseAddress, serverPort: settings.serverPort, httpPort: settings.httpPort,
            dnsPort: settings.dnsPort)
        self.settings = settings
        self.group = group
        self.logger = logger
        self.requests = RequestTracker(client: .random(in: 1 ... .max))
        self.views = AgentViews(settings.views, group: group, logger: logger)
        self.files = thread
        self.lock = files.lock
        self.key = files.key
        self.nodeID = files.nodeID
        self.state = Mutex(State(candidates: ServerCandidates(given: settings.join.shuffled())))
    }

    /// Reads what the data directory holds, and goes on in the background: gets a certificate if there is none, and looks
    /// for a server. Until one is found, calls fail with `noServers` after the hold time.
    public static func start(
        _ settings: AgentLinkSettings, group: any EventLoopGroup, logger: Logger
    ) async throws(StartError) -> AgentLink {
        if settings.join.isEmpty { throw .setting("retry_join: an agent needs the address of at least one server") }
        let thread = BlockingThread(name: "serai-files")
        do {
            let files = try await thread.run { try AgentFiles.open(settings) }
            let link = AgentLink(settings, files, thread: thread, group: group, logger: logger)
            if let credentials = files.credentials { try link.use(credentials) }
            link.views.start { [weak link] request, timeout async throws(ClusterError) in
                guard let link else { throw .shuttingDown }
                return try await link.ask(request, timeout: timeout)
            }
            link.keep(Task { await link.run() })
            return link
        } catch let error as StartError {
            throw error
        } catch {
            throw .storage("\(error)")
        }
    }

    /// Closes the connection. The lease runs out by itself.
    public func stop() async {
        let (tasks, wire) = self.state.withLock { state in
            state.isStopping = true
            state.server = nil
            defer { state.tasks = [] }
            return (state.tasks, state.wire)
        }
        for task in tasks { task.cancel() }
        self.views.stop()
        wire?.pool.shutdown()
        for task in tasks { await task.value }
        self.files.close()
    }

    private func keep(_ task: Task<Void, Never>) {
        let isStopping = self.state.withLock { state in
            if !state.isStopping { state.tasks.append(task) }
            return state.isStopping
        }
        if isStopping { task.cancel() }
    }

    /// One more address to look for servers at.
    public func addServer(_ address: String) { self.state.withLock { $0.candidates.give(address) } }

    private func learn(_ servers: [String]) { self.state.withLock { $0.candidates.learn(servers.shuffled()) } }

    // MARK: - Certificate

    private func use(_ credentials: NodeCredentials) throws(StartError) {
        do throws(TransportError) {
            if let wire = self.state.withLock({ $0.wire }) {
                try wire.security.update(credentials)
                return
            }
            let security = try TransportSecurity(credentials)
            let local = LocalPeer(featureLevel: Server.featureLevel, datacenter: self.settings.datacenter)
            let pool = try PeerPool(
                security: security, local: local, group: self.group, settings: self.settings.transport,
                logger: self.logger,
                events: { [weak self] event in
                    if case .down(let address, _, let reason) = event { self?.lost(address, reason) }
                })
            self.state.withLock { $0.wire = Wire(security: security, pool: pool) }
        } catch {
            throw .network("\(error)")
        }
    }

    /// Asks for the first certificate until a server gives one. A server that refuses is the end: asking again would
    /// change nothing.
    private func joinCluster() async {
        while !Task.isCancelled {
            guard let token = self.settings.joinToken else {
                return self.settings.fatal("no certificate and no join token: start with join_token_file")
            }
            let addresses = self.state.withLock { $0.candidates.addresses }
            do {
                let joined = try await JoinClient.join(
                    addresses, token: token, name: self.settings.nodeName, nodeID: self.nodeID, key: self.key,
                    group: self.group, settings: self.settings.transport, logger: self.logger)
                let directory = self.settings.dataDirectory
                try await self.files.run { try joined.credentials.save(in: directory) }
                try self.use(joined.credentials)
                self.learn(joined.serverAddresses)
                self.logger.notice("joined the cluster", metadata: ["as": "\(joined.credentials.identity)"])
                return
            } catch TransportError.joinRefused(let reason) {
                return self.settings.fatal("the cluster does not let this node in: \(reason)")
            } catch {
                self.logger.warning("could not join yet", metadata: ["reason": "\(error)"])
            }
            try? await Task.sleep(nanoseconds: 1_000_000_000)
        }
    }

    private func renew(_ wire: Wire, at server: String) async {
        do {
            var request = PeerRequest()
            request.signCertificate.csrDer = .init(try self.key.certificateRequest(name: self.settings.nodeName))
            request.signCertificate.name = self.settings.nodeName
            request.signCertificate.nodeID = self.nodeID.rawValue
            request.signCertificate.role = NodeRole.agent.rawValue
            let response = try await wire.pool.call(request, to: server, timeout: .seconds(5))
            guard case .certificate(let signed) = response.kind else {
                throw TransportError.joinRefused(response.error)
            }
            let renewed = try NodeCredentials(
                certificateDER: Array(signed.certificateDer), key: self.key, caDER: Array(signed.caDer))
            let directory = self.settings.dataDirectory
            try await self.files.run { try renewed.save(in: directory) }
            try self.use(renewed)
            self.logger.info("certificate renewed", metadata: ["until": "\(renewed.expiry)"])
        } catch {
            self.logger.warning("the certificate could not be renewed", metadata: ["error": "\(error)"])
        }
    }

    // MARK: - The server in use

    private func lost(_ address: String, _ reason: String) {
        let wasInUse = self.state.withLock { state in
            guard state.server == address else { return false }
            state.server = nil
            state.lost = address
            return true
        }
        if wasInUse { self.logger.info("lost the server", metadata: ["address": "\(address)", "reason": "\(reason)"]) }
    }

    /// Keeps the lease, renews the certificate, finds another server when this one is of no use.
    private func run() async {
        if self.state.withLock({ $0.wire == nil }) { await self.joinCluster() }
        var rounds: UInt64 = 0
        var times = RenewalTimes()
        while !Task.isCancelled {
            guard let wire = self.state.withLock({ $0.wire }) else { return }
            if let warning = times.warning(wire.security.credentials, now: .now()) { self.logger.warning("\(warning)") }
            guard let server = self.state.withLock({ $0.server }) else {
                await self.findServer(wire)
                continue
            }
            switch await self.keepLease(wire, at: server) {
            case .kept:
                self.views.heard(at: SystemClock.now())
                if rounds % 15 == 0 { await self.learnServers(wire, from: server) }
                rounds += 1
                if times.attemptIsDue(wire.security.credentials, now: .now()) { await self.renew(wire, at: server) }
                await self.pauseBetweenLeases()
            case .refused(let reason):
                self.logger.info("looks for another server", metadata: ["address": "\(server)", "reason": "\(reason)"])
                await self.findServer(wire, insteadOf: server)
            case .silent:
                self.drop(server, wire)
            }
        }
    }

    /// Two seconds, or until the connection is lost.
    private func pauseBetweenLeases() async {
        let end = SystemClock.now() + Self.leaseInterval
        while SystemClock.now() < end, !Task.isCancelled {
            if self.state.withLock({ $0.lost != nil }) { return }
            try? await Task.sleep(nanoseconds: 50_000_000)
        }
    }

    private enum Lease {
        case kept
        /// The server answers, and says why it is of no use: it has no leader, or is about to stop.
        case refused(String)
        case silent
    }

    private func keepLease(_ wire: Wire, at server: String) async -> Lease {
        var request = PeerRequest()
        request.leaseKeep.node = self.settings.nodeName
        request.leaseKeep.nodeID = self.nodeID.rawValue
        guard let response = try? await wire.pool.call(request, to: server, timeout: Self.leaseTimeout) else {
            return .silent
        }
        return response.error.isEmpty ? .kept : .refused(response.error)
    }

    private func drop(_ server: String, _ wire: Wire) {
        wire.pool.close(server)
        self.state.withLock { if $0.server == server { $0.server = nil } }
    }

    /// How long a server that was left still gets to answer what it was asked.
    private static let farewell = Nanoseconds.seconds(10)

    /// `former` is used until another is found, and may then answer what it was asked before.
    private func findServer(_ wire: Wire, insteadOf former: String? = nil) async {
        let (lost, candidates) = self.state.withLock { state in
            defer { state.lost = nil }
            return (state.lost, state.candidates.addresses)
        }
        // Ends the calls that wait for that connection to come back.
        if let lost { wire.pool.close(lost) }
        for candidate in candidates where candidate != former && !Task.isCancelled {
            self.state.withLock { $0.candidates.asked(candidate) }
            if case .kept = await self.keepLease(wire, at: candidate) {
                self.state.withLock { $0.server = candidate }
                self.views.serverChanged()
                self.logger.info("uses the server", metadata: ["address": "\(candidate)"])
                if let former { self.retire(former, wire) }
                return
            }
            wire.pool.close(candidate)
        }
        try? await Task.sleep(nanoseconds: 100_000_000)
    }

    private func retire(_ server: String, _ wire: Wire) {
        Task { [weak self] in
            try? await Task.sleep(nanoseconds: Self.farewell.rawValue)
            guard let self else { return }
            // It may be in use again by now.
            if self.state.withLock({ $0.server != server }) { wire.pool.close(server) }
        }
    }

    private func learnServers(_ wire: Wire, from server: String) async {
        var request = PeerRequest()
        request.status = PeerStatus()
        let response = await wire.pool.ask(request, of: server, timeout: .seconds(2))
        if case .status(let status) = response?.kind { self.learn(Array(status.peers.prefix(32))) }
    }
}

/// What an agent's link is started with.
public struct AgentLinkSettings: Sendable {
    public var dataDirectory: String
    public var nodeName: String
    public var datacenter = "dc1"
    public var advertiseAddress: String
    public var serverPort = 8300
    public var httpPort = 8500
    public var dnsPort = 8600
    /// RPC addresses of servers, `host:port`.
    public var join: [String]
    /// Text of an agent's join token; nil once there is a certificate.
    public var joinToken: String?
    public var transport = TransportSettings()
    public var views = ViewSettings()
    /// Ends the process, after something that asking again can't mend.
    public var fatal: @Sendable (String) -> Void

    public init(
        dataDirectory: String, nodeName: String, advertiseAddress: String, join: [String],
        fatal: @escaping @Sendable (String) -> Void
    ) {
        self.dataDirectory = dataDirectory
        self.nodeName = nodeName
        self.advertiseAddress = advertiseAddress
        self.join = join
        self.fatal = fatal
    }
}

/// The data directory is this process's as long as this is kept.
// Sendable: nothing is done with the lock but to let it go.
struct HeldLock: @unchecked Sendable {
    let lock: any FileLock
}

/// What an agent's data directory holds of its identity. Blocks.
struct AgentFiles: Sendable {
    var lock: HeldLock
    var key: NodeKey
    var nodeID: NodeID
    var credentials: NodeCredentials?

    static func open(_ settings: AgentLinkSettings) throws(StartError) -> AgentFiles {
        guard NodeIdentity.isValid(name: settings.nodeName) else {
            throw .setting("node name '\(settings.nodeName)' is not allowed: 1 to 128 of A-Z a-z 0-9 . _ -")
        }
        let files = PosixFileSystem()
        let directory = settings.dataDirectory
        let lock: HeldLock
        let nodeID: NodeID
        do throws(StorageError) {
            try files.createDirectory(directory)
            lock = HeldLock(lock: try files.lock("\(directory)/lock"))
            nodeID = try Self.nodeID(in: directory, files)
        } catch {
            throw StartError(error, directory: directory)
        }
        do {
            let token = try settings.joinToken.flatMap { try Self.read($0) }
            let key = try NodeKey.loadOrCreate(in: directory)
            var credentials = try NodeCredentials.load(from: directory)
            if let found = credentials {
                if let token, token.clusterID != found.identity.clusterID {
                    throw StartError.otherCluster(directory: found.identity.clusterID, key: token.clusterID)
                }
                // A new name, or too long away: the token lets it in again.
                let skew = CertificatePolicy().clockSkew
                if found.identity.name != settings.nodeName || found.identity.role != .agent
                    || found.expiry.adding(seconds: skew) <= .now()
                {
                    credentials = nil
                }
            }
            if credentials == nil, let text = settings.joinToken { _ = try JoinToken.parse(text, expecting: .agent) }
            return AgentFiles(lock: lock, key: key, nodeID: nodeID, credentials: credentials)
        } catch let error as StartError {
            throw error
        } catch {
            throw .key("\(error)")
        }
    }

    /// nil for one that has expired, which matters only to a node that still has to join.
    private static func read(_ text: String) throws(CertificatesError) -> JoinToken? {
        do throws(CertificatesError) {
            return try JoinToken.parse(text, expecting: .agent)
        } catch .tokenExpired {
            return nil
        }
    }

    private static func nodeID(in directory: String, _ files: PosixFileSystem) throws(StorageError) -> NodeID {
        let path = "\(directory)/node-id"
        if try files.size(path) ?? 0 > 0 {
            let text = String(decoding: try files.read(path, at: 0, count: 64), as: UTF8.self)
            guard let id = NodeID(uuid: text.filter { !$0.isWhitespace }) else {
                throw .invalid("the file node-id does not hold a node's id")
            }
            return id
        }
        let id = NodeID(random: .random(in: .min ... .max))
        try files.write("\(path).new", at: 0, Array("\(id.uuid)\n".utf8))
        try files.sync("\(path).new")
        try files.rename("\(path).new", to: path)
        try files.syncDirectory(directory)
        return id
    }
}
