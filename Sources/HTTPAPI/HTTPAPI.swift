import Cluster
import HummingbirdCore
import LocalAgent
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Protocol
import Synchronization
import Units

/// Consul's HTTP API over a cluster and a local agent. It keeps no state of its own but counters: a request is parsed,
/// answered by one handler, and forgotten.
public final class HTTPAPI: Sendable {
    let cluster: any ClusterAccess
    let agent: any LocalAgentAccess
    let snapshot: any SnapshotAccess
    let debug: any DebugAccess
    let process: any ProcessAccess
    public let settings: HTTPAPISettings
    let authorizer: any Authorizer
    let logger: Logger
    let surroundings: ClusterSurroundings
    let routes: RouteTable
    public let counters = RequestCounters()
    let kept: KeptAnswers
    /// Requests that wait for a change.
    private let waiting = Atomic<Int>(0)

    /// `settings` must be valid.
    public convenience init(
        cluster: any ClusterAccess, agent: any LocalAgentAccess, snapshot: any SnapshotAccess,
        debug: any DebugAccess = NoDebugAccess(), process: any ProcessAccess = NoProcessAccess(),
        settings: HTTPAPISettings = HTTPAPISettings(), authorizer: any Authorizer = AllowAll(), logger: Logger
    ) {
        self.init(
            cluster: cluster, agent: agent, snapshot: snapshot, debug: debug, process: process, settings: settings,
            authorizer: authorizer, logger: logger, surroundings: .process)
    }

    package init(
        cluster: any ClusterAccess, agent: any LocalAgentAccess, snapshot: any SnapshotAccess,
        debug: any DebugAccess = NoDebugAccess(), process: any ProcessAccess = NoProcessAccess(),
        settings: HTTPAPISettings = HTTPAPISettings(), authorizer: any Authorizer = AllowAll(), logger: Logger,
        surroundings: ClusterSurroundings
    ) {
        self.cluster = cluster
        self.agent = agent
        self.snapshot = snapshot
        self.debug = debug
        self.process = process
        self.settings = settings
        self.authorizer = authorizer
        self.logger = logger
        self.surroundings = surroundings
        self.routes = .consul
        self.kept = KeptAnswers(limit: settings.keptAnswers)
    }

    /// A listener that serves this API. Port 0 takes any free port.
    /// - Parameters:
    ///   - tls: what HTTPS is spoken with; nil: plain HTTP.
    ///   - onRunning: called with the bound address's port once connections are accepted.
    public func makeListener(
        host: String, port: Int, tls: ServerTLS? = nil,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        onRunning: @escaping @Sendable (Int) async -> Void = { _ in }
    ) -> HTTPListener {
        HTTPListener(
            api: self, address: .hostname(host, port: port), tls: tls, group: group, logger: self.logger
        ) { channel in
            await onRunning(channel.localAddress?.port ?? port)
        }
    }

    /// A listener on a Unix socket; a socket that stands there already is replaced.
    /// - Parameter onRunning: called once connections are accepted, with what kept the socket from getting its
    ///   permissions.
    public func makeListener(
        socketPath: String, permissions: UnixSocketPermissions = UnixSocketPermissions(), tls: ServerTLS? = nil,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        onRunning: @escaping @Sendable (UnixSocketPermissions.Failure?) async -> Void = { _ in }
    ) -> HTTPListener {
        HTTPListener(
            api: self, address: .unixDomainSocket(path: socketPath), socketPath: socketPath, tls: tls, group: group,
            logger: self.logger
        ) { _ in
            do throws(UnixSocketPermissions.Failure) {
                try await permissions.apply(to: socketPath)
                await onRunning(nil)
            } catch {
                await onRunning(error)
            }
        }
    }

    /// How many requests wait for a change right now.
    public var waitingCount: Int { self.waiting.load(ordering: .relaxed) }

    func startWaiting() throws(APIError) {
        if self.waiting.wrappingAdd(1, ordering: .relaxed).oldValue >= self.settings.maximumWaiting {
            self.waiting.wrappingSubtract(1, ordering: .relaxed)
            throw APIError(ClusterError.overloaded(leaderOnly: false))
        }
    }

    func endWaiting() { self.waiting.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: answering

    /// Finds the route, asks whether the caller may use it, and runs its handler; on an agent, forwards what is not its
    /// own. Never throws: a refusal is an answer.
    func respond(to request: APIRequest) async -> APIResponse {
        let response: APIResponse
        do throws(APIError) {
            // An agent keeps its client's stream itself, and asks for one list after the other.
            if !request.query.isEmpty, !request.isFromAgent, request.query.has("stream") {
                return try await ChangeStream(self, request).response()
            }
            switch try self.way(of: request) {
            case .answer(let answer): response = answer
            case .forward(let request): response = try await self.forward(request)
            case .look(var request, let route):
                if let found = await self.topicView(for: request, route) {
                    (request.topic, request.topicWasThere) = (found.topic, found.view.wasThere)
                    response = try await route.handler(self, request)
                } else {
                    response = try await self.forward(request)
                }
            case .handle(let request, let route): response = try await route.handler(self, request)
            }
        } catch {
            response = error.response
        }
        self.note(request, response)
        return response
    }

    func note(_ request: APIRequest, _ response: APIResponse) {
        let isWrite = request.method != .get && request.method != .head
        self.counters.note(RequestCounters.Part(path: request.path), isWrite: isWrite, status: response.status)
    }

    /// What is to be done about a request.
    enum Way {
        case answer(APIResponse)
        /// An agent passes it on.
        case forward(APIRequest)
        /// An agent answers it from a view, or passes it on.
        case look(APIRequest, Route)
        case handle(APIRequest, Route)
    }

    func way(of request: APIRequest) throws(APIError) -> Way {
        if self.settings.refusesUnprintablePaths, !isPrintable(request.path) {
            return .answer(APIError.unprintable.response)
        }
        if !self.settings.blockedPaths.isEmpty, !request.isFromAgent,
            // A route takes its path without the last slash, too.
            self.settings.blockedPaths.contains(where: { (request.path + [UInt8(ascii: "/")]).starts(with: $0.utf8) })
        {
            return .answer(APIResponse.text(403, "Endpoint is blocked by agent configuration"))
        }
        guard let (entry, matched) = self.routes.find(request.path) else { return .answer(self.unknown(request.path)) }
        if request.method == .options {
            return .answer(APIResponse.empty.with("Allow", entry.allow))
        }
        guard let route = entry.route(request.method) else {
            return .answer(
                APIResponse.text(405, "method \(request.method.name) not allowed").with("Allow", entry.allow))
        }
        var request = request
        request.matched = matched
        try self.refuseEnterpriseParameters(request)
        try request.takeIdempotencyKey()
        if !route.isLocal { try request.checkCacheControl() }
        if route.isLocal {
            // A server's own registrations and life are no business of its agents.
            if request.isFromAgent && !route.isOpenToAgents { throw APIError(403, "this route is not open to agents") }
        } else {
            if !self.cluster.identity.isServer {
                guard route.topic != nil, request.asksForView else { return .forward(request) }
                request.identity = try self.authorize(request, route)
                return .look(request, route)
            }
            let datacenter = request.query.first("dc") ?? ""
            if !datacenter.isEmpty && datacenter != self.cluster.identity.datacenter {
                let error = APIError(500, "No path to datacenter")
                throw route.isMarkedRead ? error.marked : error
            }
        }
        request.identity = try self.authorize(request, route)
        return .handle(request, route)
    }

    private func authorize(_ request: APIRequest, _ route: Route) throws(APIError) -> String {
        let isWrite = request.method != .get && request.method != .head
        let access = AccessRequest(
            token: request.token, resource: route.resource, name: Array(request.rest), isWrite: isWrite)
        do throws(AccessDenied) {
            return try self.authorizer.authorize(access)
        } catch {
            throw APIError(403, error.text)
        }
    }

    private func unknown(_ path: [UInt8]) -> APIResponse {
        let isAPI = String(decoding: path, as: UTF8.self).contains("/v1/")
        var response = APIResponse.text(
            404,
            isAPI
                ? "Invalid URL path: not a recognized HTTP API endpoint"
                : "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'")
        response.isRouted = false
        return response
    }

    private func refuseEnterpriseParameters(_ request: APIRequest) throws(APIError) {
        if !request.namespace.isEmpty {
            throw APIError(400, "Invalid header: \"X-Consul-Namespace\" - Namespaces are a Consul Enterprise feature")
        }
        if request.query.isEmpty { return }
        if let namespace = request.query.first("ns"), !namespace.isEmpty {
            throw APIError(400, "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature")
        }
        if let partition = request.query.first("partition"), !partition.isEmpty {
            throw APIError(
                400, "Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature")
        }
    }

    /// Replicates a command; at most one for each request. A refusal by the state machine becomes the error that clients know.
    func propose(_ command: LogCommand, _ request: APIRequest) async throws(APIError) -> LogResult {
        let result: LogResult
        do throws(ClusterError) {
            let timeout = self.settings.writeTimeout
            if let number = request.number {
                result = try await self.cluster.propose(
                    command, identity: request.identity, timeout: timeout, number: number)
            } else {
                result = try await self.cluster.propose(command, identity: request.identity, timeout: timeout)
            }
        } catch {
            throw APIError(error)
        }
        if case .failure(let failure)? = result.kind { throw APIError(failure) }
        return result
    }
}
