import Cluster
import DNSServer
import Glibc
import HTTPAPI
import LocalAgent
import Logging
import NIOCore
import NIOPosix
import Replica
import Synchronization
import Units

/// A server or a client agent with its faces, put together. It decides nothing.
package final class RunningAgent: Sendable {
    private let configuration: AgentConfiguration
    private let role: Facilities.Role
    private let facilities: Facilities
    private let local: LocalAgent
    private let store: LocalStore
    private let http: HTTPAPI
    private let faces: Mutex<Faces>
    private let watches: Watches
    private let reloads: Reloads
    private let readAgain: @Sendable () throws -> AgentConfiguration
    private let logger: Logger

    private struct Faces {
        var listeners: [HTTPListener] = []
        var runs: [Task<Void, Never>] = []
        var names: [DNSServer] = []
        /// What HTTPS is served with.
        var tls: ServerTLS?
    }

    /// Starts everything; when this returns, all addresses are listened on. `fatal` ends the process.
    package static func start(
        _ configuration: AgentConfiguration, group: any EventLoopGroup, logger: Logger,
        fatal: @escaping @Sendable (String) -> Void, reload: @escaping @Sendable () throws -> AgentConfiguration,
        end: @escaping @Sendable (Ending) -> Void
    ) async throws -> RunningAgent {
        for warning in configuration.warnings { logger.warning("\(warning)") }
        let token = try Self.joinToken(configuration)
        let role: Facilities.Role =
            configuration.server
            ? .server(
                try await Server.start(Self.serverSettings(configuration, token, fatal), group: group, logger: logger))
            : .agent(
                try await AgentLink.start(Self.linkSettings(configuration, token, fatal), group: group, logger: logger))
        do {
            let agent = try await RunningAgent(configuration, role, reload: reload, logger: logger, end: end)
            do {
                try await agent.openFaces(group)
                try await agent.local.start()
                try await agent.register(configuration)
                agent.watches.set(configuration.watches)
            } catch {
                await agent.stop(leaving: false)
                throw error
            }
            agent.sayWhoIsHere()
            return agent
        } catch {
            await Self.stop(role)
            throw error
        }
    }

    private init(
        _ configuration: AgentConfiguration, _ role: Facilities.Role,
        reload: @escaping @Sendable () throws -> AgentConfiguration, logger: Logger,
        end: @escaping @Sendable (Ending) -> Void
    ) async throws {
        let facilities = Facilities(role, configuration)
        let store = try await LocalStore.open(directory: configuration.dataDirectory)
        let catalog: any CatalogReader
        let snapshots: any SnapshotAccess
        let debug: any DebugAccess
        switch role {
        case .server(let server):
            catalog = ServerCatalog(server: server)
            snapshots = ServerSnapshots(server: server)
            debug = ServerDebug(server: server)
        case .agent(let link):
            catalog = AgentCatalog(link: link)
            snapshots = NoSnapshots()
            debug = NoDebugAccess()
        }
        let identity = role.cluster.identity
        let local = LocalAgent(
            settings: Self.localSettings(configuration, identity), cluster: role.cluster, catalog: catalog,
            store: store,
            facilities: facilities, logger: logger)
        let settings = Self.httpSettings(configuration)
        try settings.validate()
        let http = HTTPAPI(
            cluster: role.cluster, agent: local, snapshot: snapshots, debug: debug,
            process: ThisProcess(dataDirectory: configuration.dataDirectory), settings: settings, logger: logger)
        self.configuration = configuration
        self.role = role
        self.facilities = facilities
        self.local = local
        self.store = store
        self.http = http
        self.faces = Mutex(Faces())
        self.watches = Watches(http: http, logger: logger)
        self.reloads = Reloads()
        self.readAgain = reload
        self.logger = logger
        facilities.open(
            Facilities.Doors(
                leave: { end(.stop(leaving: true)) },
                reload: { [weak self] () async throws(LocalAgentError) in try await self?.readConfigurationAgain() },
                metrics: { await Metrics.collect(role, http) },
                outOfSync: { await local.outOfSync() }))
    }

    // MARK: - Faces

    private func openFaces(_ group: any EventLoopGroup) async throws {
        for address in self.configuration.dnsAddresses {
            guard let port = self.configuration.ports.dns else { break }
            let names = DNSServer(
                settings: try Self.dnsSettings(self.configuration),
                listener: Self.dnsListener(self.configuration, address, port),
                cluster: self.role.cluster, group: group, logger: self.logger, seed: { .random(in: .min ... .max) },
                wallTime: { UInt32(truncatingIfNeeded: SystemClock.wallTime() / 1_000_000_000) })
            try await names.start()
            self.faces.withLock { $0.names.append(names) }
        }
        if let port = self.configuration.ports.http {
            for address in self.configuration.httpAddresses { try await self.listen(address, port, nil, group) }
        }
        if let port = self.configuration.ports.https, let settings = self.configuration.https {
            let tls: ServerTLS
            do {
                tls = try ServerTLS(settings)
            } catch {
                throw AgentFailure("HTTPS can't be served: \(error)")
            }
            self.faces.withLock { $0.tls = tls }
            for address in self.configuration.httpsAddresses { try await self.listen(address, port, tls, group) }
        }
        try await self.answerForAgents(group)
    }

    /// Returns when the address is bound, and throws when it can't be.
    private func listen(
        _ address: String, _ port: Int, _ tls: ServerTLS?, _ group: any EventLoopGroup
    ) async throws {
        let bound = AsyncStream.makeStream(of: Result<Void, AgentFailure>.self)
        let logger = self.logger
        let listener =
            address.hasPrefix("unix://")
            ? self.http.makeListener(
                socketPath: String(address.dropFirst(7)), permissions: self.configuration.unixSockets, tls: tls,
                group: group
            ) { failure in
                bound.continuation.yield(failure.map { .failure(AgentFailure("\($0)")) } ?? .success(()))
            }
            : self.http.makeListener(host: address, port: port, tls: tls, group: group) { _ in
                bound.continuation.yield(.success(()))
            }
        let run = Task {
            do {
                try await listener.run()
            } catch {
                logger.error("HTTP ended", metadata: ["address": "\(address):\(port)", "error": "\(error)"])
                bound.continuation.yield(
                    .failure(AgentFailure("listening for HTTP on \(address):\(port) failed: \(error)")))
            }
            bound.continuation.finish()
        }
        self.faces.withLock { faces in
            faces.listeners.append(listener)
            faces.runs.append(run)
        }
        for await result in bound.stream { return try result.get() }
        throw AgentFailure("listening for HTTP on \(address):\(port) failed")
    }

    /// Agents forward whole requests to this server; they are answered as if they had come here.
    private func answerForAgents(_ group: any EventLoopGroup) async throws {
        guard case .server(let server) = self.role else { return }
        let http = self.http
        let listening = self.faces.withLock { $0.names.first }
        let names =
            try listening
            ?? DNSServer(
                settings: Self.dnsSettings(self.configuration),
                listener: Self.dnsListener(self.configuration, "127.0.0.1", 0), cluster: server, group: group,
                logger: self.logger, seed: { .random(in: .min ... .max) },
                wallTime: { UInt32(truncatingIfNeeded: SystemClock.wallTime() / 1_000_000_000) })
        // It listens nowhere, but a reload concerns it, too.
        if listening == nil { self.faces.withLock { $0.names.append(names) } }
        server.setFaces(
            http: { request, agent in await http.respond(to: request, origin: agent) },
            httpOnLoop: { http.respondOnLoop(to: $0, origin: $1, $2, $3) },
            dns: { packet, overTCP in await names.answer(packet: packet, overTCP: overTCP) })
    }

    private func sayWhoIsHere() {
        let identity = self.role.cluster.identity
        let http = self.configuration.ports.http.map { port in
            self.configuration.httpAddresses.map { "\($0):\(port)" }.joined(separator: ",")
        }
        let https = self.configuration.ports.https.map { port in
            self.configuration.httpsAddresses.map { "\($0):\(port)" }.joined(separator: ",")
        }
        let dns = self.configuration.ports.dns.map { port in
            self.configuration.dnsAddresses.map { "\($0):\(port)" }.joined(separator: ",")
        }
        self.logger.info(
            "Serai agent running",
            metadata: [
                "version": "\(ReplicaVersion.reported)", "node": "\(identity.nodeName)", "id": "\(identity.nodeUUID)",
                "datacenter": "\(identity.datacenter)", "server": "\(identity.isServer)", "http": "\(http ?? "-")",
                "https": "\(https ?? "-")",
                "dns": "\(dns ?? "-")",
                "rpc": "\(identity.isServer ? "\(identity.advertiseAddress):\(identity.serverPort)" : "-")",
            ])
    }

    // MARK: - What a reload takes over

    private func register(_ configuration: AgentConfiguration) async throws(LocalAgentError) {
        try await self.local.setConfigured(
            services: configuration.serviceDefinitions, checks: configuration.checkDefinitions)
    }

    /// After SIGHUP. What is wrong is logged; what stood before goes on.
    func reload() async {
        do {
            try await self.readConfigurationAgain()
        } catch {
            let reason = if case .failed(let text) = error { text } else { "\(error)" }
            self.logger.error(
                "the configuration was not taken over: nothing has changed", metadata: ["reason": "\(reason)"])
        }
    }

    private func readConfigurationAgain() async throws(LocalAgentError) {
        let turn = await self.reloads.begin()
        defer { turn.end() }
        let new: AgentConfiguration
        let names: DNSSettings
        let tls: ServerTLS?
        do {
            let readAgain = self.readAgain
            // Files, and those of TLS: not for the pool that answers requests.
            (new, tls) = try await NIOThreadPool.singleton.runIfActive {
                let new = try readAgain()
                return (new, try new.https.map { try ServerTLS($0) })
            }
            names = try Self.dnsSettings(new)
        } catch {
            throw .failed("\(error)")
        }
        do {
            try await self.register(new)
        } catch {
            throw .failed(Self.text(error))
        }
        AgentLog.level = new.logLevel.level
        for server in self.faces.withLock({ $0.names }) { server.take(names) }
        if let tls { self.faces.withLock({ $0.tls })?.take(tls) }
        await self.local.setNodeMeta(Self.nodeMeta(new))
        self.facilities.take(nodeMeta: new.nodeMeta)
        self.watches.set(new.watches)
        for warning in new.warnings { self.logger.warning("\(warning)") }
        for key in ConfigurationKeys.changed(from: self.configuration, to: new) {
            self.logger.warning("\(key) was changed: this takes effect at the next start")
        }
        self.logger.info(
            "the configuration was read again",
            metadata: [
                "services": "\(new.serviceDefinitions.count)", "checks": "\(new.checkDefinitions.count)",
                "watches": "\(new.watches.count)",
            ])
    }

    /// What the local agent refuses, in words that stand without a request.
    private static func text(_ error: LocalAgentError) -> String {
        switch error {
        case .invalid(let text), .overloaded(let text), .failed(let text): text
        case .serviceOfCheckMissing(let id): "a check's service_id: there is no service \(id)"
        case .unknownService(let id), .unknownCheck(let id), .notTTL(let id), .unknownMember(let id): id
        }
    }

    // MARK: - Going down

    /// Stops in order: the node leaves, or hands leadership over, while requests are still served; then the faces close,
    /// then what is behind them.
    package func stop(leaving: Bool) async {
        await self.watches.stop()
        await self.local.stop()
        if leaving { await self.leave() } else if case .server(let server) = self.role { await server.handOver() }
        if case .server(let server) = self.role { await server.dismissAgents() }
        let faces = self.faces.withLock { faces in
            defer { faces = Faces() }
            return faces
        }
        for names in faces.names { await names.stop() }
        await Self.drain(faces.listeners, within: self.configuration.performance.leaveDrainTime)
        await Self.stop(self.role)
        for run in faces.runs { run.cancel() }
        await self.store.close()
    }

    private static func drain(_ listeners: [HTTPListener], within time: Nanoseconds) async {
        let over = AsyncStream<Void>.makeStream()
        // Not a group: a listener's end can't be cancelled, and a client that takes nothing of its answer would be waited for.
        Task {
            for listener in listeners { try? await listener.shutdown() }
            over.continuation.finish()
        }
        let alarm = Task {
            try? await Task.sleep(nanoseconds: time.rawValue)
            over.continuation.finish()
        }
        for await _ in over.stream {}
        alarm.cancel()
    }

    private static func stop(_ role: Facilities.Role) async {
        switch role {
        case .server(let server): await server.stop()
        case .agent(let link): await link.stop()
        }
    }

    private func leave() async {
        do throws(ClusterError) {
            switch self.role {
            case .server(let server): try await server.leave()
            case .agent(let link): try await link.deregisterNode()
            }
        } catch {
            self.logger.error("could not leave the cluster, stops all the same", metadata: ["reason": "\(error)"])
        }
    }
}
