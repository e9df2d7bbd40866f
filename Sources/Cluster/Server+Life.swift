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

// How a server comes up and goes down.
extension Server {
    /// Opens the data directory and the RPC listener, and starts the log. When the log is empty, the server comes back
    /// at once all the same and looks for others in the background; until then it answers `noLeader`.
    public static func start(
        _ settings: ServerSettings, group: any EventLoopGroup, logger: Logger
    ) async throws(StartError) -> Server {
        if let complaint = settings.replica.complaint { throw .setting(complaint) }
        let opening = BlockingThread(name: "serai-opening")
        defer { opening.close() }
        let files: ServerFiles
        do {
            files = try await opening.run {
                let files = try ServerFiles.open(settings)
                Self.removeLeftovers(in: settings.dataDirectory)
                return files
            }
        } catch let error as StartError {
            throw error
        } catch {
            throw .storage("\(error)")
        }
        for finding in files.log.recovery.findings { logger.warning("data directory: \(finding)") }
        let server = try Self.make(files, settings, group: group, logger: logger)
        try await server.run(files, opening: opening, group: group)
        return server
    }

    private static func make(
        _ files: ServerFiles, _ settings: ServerSettings, group: any EventLoopGroup, logger: Logger
    ) throws(StartError) -> Server {
        let loop = ReplicaLoop(watches: WatchHub(eventLoop: group.next()), logger: logger)
        if let registry = files.log.recovery.registry {
            loop.published.withLock { $0.state = SharedRegistry(registry) }
        }
        do throws(TransportError) {
            let security = try TransportSecurity(
                files.credentials,
                refusal: { identity in
                    let isRevoked = loop.published.withLock { $0.registry.isRevoked(identity.nodeID) }
                    return isRevoked ? "node \(identity.name) (\(identity.nodeID)) was removed from the cluster" : nil
                })
            let pool = try PeerPool(
                security: security, local: Self.localPeer(settings), group: group, settings: settings.transport,
                logger: logger,
                events: { event in
                    if case .down(_, let peer?, _) = event, loop.isRunning {
                        loop.report(.peerUnreachable(peer.identity.nodeID))
                    }
                })
            return Server(files, settings: settings, security: security, pool: pool, loop: loop, logger: logger)
        } catch {
            throw .network("\(error)")
        }
    }

    /// What entries, snapshots and messages may hold: the level that this version speaks.
    static let featureLevel: UInt32 = 1

    private static func localPeer(_ settings: ServerSettings) -> LocalPeer {
        LocalPeer(featureLevel: Self.featureLevel, rpcAddress: settings.address, datacenter: settings.datacenter)
    }

    private func run(
        _ files: ServerFiles, opening: BlockingThread, group: any EventLoopGroup
    ) async throws(StartError) {
        let log = files.log
        self.life.withLock { $0.log = log }
        if log.isEmpty {
            do throws(StorageError) {
                let founding = try self.makeFounding(log)
                self.life.withLock { $0.founding = founding }
            } catch {
                throw StartError(error, directory: self.settings.dataDirectory)
            }
        } else {
            self.begin(log)
        }
        do throws(TransportError) {
            let listener = try await PeerListener.start(
                address: self.settings.bindAddress, port: self.settings.serverPort, security: self.security,
                local: Self.localPeer(self.settings), handler: ServerDoor(server: self), group: group,
                settings: self.settings.transport, logger: self.logger)
            self.life.withLock { $0.listener = listener }
        } catch {
            await self.stop()
            throw .network("\(error)")
        }
        self.keep(Task { await self.reportLeases() })
        self.keep(Task { await self.renewCertificate() })
        if let founding = self.life.withLock({ $0.founding }) { self.keep(Task { await self.find(founding, log) }) }
    }

    private func keep(_ task: Task<Void, Never>) {
        let isStopping = self.life.withLock { life in
            if !life.isStopping { life.tasks.append(task) }
            return life.isStopping
        }
        if isStopping { task.cancel() }
    }

    private func makeFounding(_ log: OpenedLog) throws(StorageError) -> Founding {
        let me = Member(id: self.nodeID, name: self.settings.nodeName, address: self.settings.address)
        return try Founding(
            me: me, settings: self.settings, log: log, pool: self.pool, thread: self.files, logger: self.logger)
    }

    /// How long a blank log may stay blank before this server looks around again: time for an election.
    private static let blankTime = Nanoseconds.seconds(5)

    /// Looks for a cluster until this server's log is no longer empty.
    private func find(_ founding: Founding, _ log: OpenedLog) async {
        var founding = founding
        do {
            while true {
                try await founding.run()
                self.begin(log)
                if try await self.isFilled(within: Self.blankTime) { return }
                // Whoever spoke to this server has lost its disk since. As long as the log is empty, this server can
                // take part in another founding.
                guard try await self.end(blank: log) else { return }
                founding = try self.makeFounding(log)
                let next = founding
                self.life.withLock { life in
                    if !life.isStopping { life.founding = next }
                }
                self.logger.notice("no leader has filled this server's log: looks for a cluster again")
            }
        } catch is CancellationError {
            return
        } catch ClusterError.shuttingDown {
            return
        } catch {
            self.settings.fatal("the founding of a cluster failed: \(error)")
        }
    }

    private func isFilled(within time: Nanoseconds) async throws -> Bool {
        let end = SystemClock.now() + time
        while SystemClock.now() < end {
            if self.loop.published.withLock({ !$0.configuration.isEmpty || $0.registry.appliedIndex > .zero }) {
                return true
            }
            try await Task.sleep(nanoseconds: 50_000_000)
        }
        return false
    }

    /// Ends the threads over a log that is still empty, and opens it again. False when it turns out not to be: then they
    /// run on it anew.
    private func end(blank log: OpenedLog) async throws -> Bool {
        let threads = self.life.withLock { life -> Threads? in
            if life.isStopping { return nil }
            life.log = log
            defer { life.threads = nil }
            return life.threads
        }
        guard let threads else { return false }
        try await self.files.run {
            self.endThreads(threads)
            try log.reopen()
            self.loop.reset()
        }
        if log.isEmpty { return true }
        self.begin(log)
        return false
    }

    /// Starts the threads: from here on this server takes part.
    private func begin(_ log: OpenedLog) {
        let recovery = log.recovery
        if let index = recovery.restored.quarantinedUntil {
            self.logger.error(
                "the disk holds less than this server once promised: it does not vote until the leader has healed it",
                metadata: ["until": "\(index)"])
        }
        let replica = Replica(
            id: self.nodeID, settings: self.settings.replica, restored: recovery.restored,
            registry: recovery.registry ?? Registry(), seed: .random(in: .min ... .max), now: SystemClock.now())
        self.life.withLock { life in
            guard !life.isStopping else { return }
            life.founding = nil
            life.log = nil
            life.threads = Threads(
                storage: self.storageLoop.start(log), snapshots: self.snapshotLoop.start(),
                replica: self.loop.start(replica, outlets: self.outlets))
        }
    }

    private var outlets: ReplicaLoop.Outlets {
        let storage = self.storageLoop.inbox
        let fatal = self.settings.fatal
        return ReplicaLoop.Outlets(
            persist: { storage.post(.persist($0), always: true) },
            send: { [self] in self.send($0) },
            storage: { [self] in self.pass($0) },
            leadershipChanged: { [self] in self.forwarded.giveUp(exceptTo: self.leader?.member.id) },
            quarantineLifted: { storage.post(.liftQuarantine, always: true) },
            halt: { fatal("this server stops: \($0)") })
    }

    private func pass(_ directive: ReplicaDirective) {
        let storage = self.storageLoop.inbox
        let snapshots = self.snapshotLoop.inbox
        switch directive {
        case .fetchEntries(let peer, let from, let to, let maxBytes):
            storage.post(.fetch(peer: peer, from: from, to: to, maxBytes: maxBytes), always: true)
        case .readSnapshotChunk(let peer, let meta, let offset, let maxBytes):
            snapshots.post(.readChunk(peer: peer, meta: meta, offset: offset, maxBytes: maxBytes), always: true)
        case .storeSnapshotChunk(let chunk, let from):
            // Not taken when too many wait: the sender sends it again.
            snapshots.post(.storeChunk(chunk, from: from))
        case .installSnapshot(let meta, let from):
            snapshots.post(.install(meta, from: from), always: true)
        case .takeSnapshot(let request):
            let loop = self.loop
            let asked = StorageItem.chain(at: request.index) { chain in
                if let chain {
                    snapshots.post(.take(request, chain: chain), always: true)
                } else {
                    loop.report(.snapshotWritten(nil))
                }
            }
            storage.post(asked, always: true)
        case .compact(let through):
            storage.post(.compact(through: through), always: true)
        case .persist, .send, .answer, .refuse, .readable, .readRefused, .sessionRenewed, .administered, .publish,
            .leadership, .trace, .halt:
            break
        }
    }

    /// One batch for each peer, its messages in order.
    private func send(_ messages: [Message]) {
        var batches: [(to: NodeID, messages: [Message])] = []
        for message in messages {
            if let position = batches.firstIndex(where: { $0.to == message.to }) {
                batches[position].messages.append(message)
            } else {
                batches.append((message.to, [message]))
            }
        }
        for batch in batches {
            guard let address = self.address(of: batch.to), let connection = try? self.pool.connection(to: address)
            else {
                continue
            }
            connection.send(raft: batch.messages)
        }
    }

    /// Where a peer is reached: as it introduced itself, else as the configuration says.
    private func address(of id: NodeID) -> String? {
        if let introduced = self.addresses.withLock({ $0[id] }) { return introduced }
        return self.loop.published.withLock { $0.configuration.member(id)?.address }
    }

    /// Runs until cancelled.
    private func renewCertificate() async {
        var times = RenewalTimes()
        while !Task.isCancelled {
            do { try await Task.sleep(nanoseconds: 60_000_000_000) } catch { return }
            await self.renewCertificateIfDue(&times, now: .now())
        }
    }

    /// Makes a new certificate when half of the old one's time is over; connections use it from their next handshake on.
    package func renewCertificateIfDue(_ times: inout RenewalTimes, now: UnixSeconds) async {
        let current = self.security.credentials
        if times.attemptIsDue(current, now: now) {
            do {
                let authority = self.authority
                let settings = self.settings
                let renewed = try await self.files.run {
                    let renewed = try ServerFiles.issue(
                        authority, current.identity, current.key, settings.datacenter, now: now)
                    try renewed.save(in: settings.dataDirectory)
                    return renewed
                }
                try self.security.update(renewed)
                self.logger.info("certificate renewed", metadata: ["until": "\(renewed.expiry)"])
            } catch {
                self.logger.error("the certificate could not be renewed", metadata: ["error": "\(error)"])
            }
        }
        if let warning = times.warning(self.security.credentials, now: now) { self.logger.warning("\(warning)") }
    }

    // MARK: - Going down

    package var isStopping: Bool { self.life.withLock { $0.isStopping } }

    /// Hands leadership to another voter, if this server leads and there is one. Requests are still served.
    public func handOver() async {
        let published = self.loop.published.withLock { ($0.isLeader, $0.configuration) }
        guard published.0, published.1.voters.count > 1 else { return }
        let reason = await self.administerHere(.transfer(to: nil), timeout: .seconds(3))
        if let reason {
            self.logger.warning("leadership could not be handed over", metadata: ["reason": "\(reason)"])
        }
    }

    /// Sends the agents that keep their lease here to other servers, while their requests are still served. Returns when
    /// all have gone, or after the time that each needs to notice.
    public func dismissAgents() async {
        self.agents.withLock { $0.isDismissing = true }
        // An agent keeps its lease each two seconds.
        let end = SystemClock.now() + .milliseconds(2500)
        while SystemClock.now() < end {
            let now = SystemClock.now()
            let isServing = self.agents.withLock { agents in
                agents.lastSeen.contains { now.since($0.value) < .seconds(5) }
            }
            if !isServing { break }
            try? await Task.sleep(nanoseconds: 20_000_000)
        }
        // What they asked before they went is answered.
        try? await Task.sleep(nanoseconds: 200_000_000)
    }

    /// Leaves the configuration, so that those who stay need not wait for this server. The last voter can't. After
    /// `stop`, the log is put aside: another start joins anew.
    public func leave() async throws(ClusterError) {
        let isAlone = self.loop.published.withLock { published in
            published.configuration.isEmpty
                || published.configuration.voters.map(\.id) == [self.nodeID] && !published.configuration.isJoint
        }
        if isAlone { return }
        var request = PeerRaftAdmin()
        request.kind = .remove
        request.nodeID = self.nodeID.rawValue
        try await self.raftAdmin(request)
        self.life.withLock { $0.hasLeft = true }
    }

    /// Ends the threads so that what one still hands to the next is taken. Blocks.
    private func endThreads(_ threads: Threads?) {
        guard let threads else { return }
        self.loop.inbox.post(.stop, always: true)
        threads.replica.join(timeout: .seconds(20))
        self.snapshotLoop.inbox.post(.stop, always: true)
        threads.snapshots.join(timeout: .seconds(20))
        self.storageLoop.inbox.post(.stop, always: true)
        threads.storage.join(timeout: .seconds(20))
    }

    /// Stops everything, in order; what was acknowledged is on disk already. Returns when the data directory is free.
    public func stop() async {
        let life = self.life.withLock { life -> Life? in
            if life.isStopping { return nil }
            life.isStopping = true
            let before = life
            life.listener = nil
            life.tasks = []
            life.threads = nil
            life.founding = nil
            life.log = nil
            return before
        }
        guard let life else { return }
        for task in life.tasks { task.cancel() }
        await life.listener?.shutdown()
        for task in life.tasks { await task.value }
        let stopping = BlockingThread(name: "serai-stopping")
        let hasLeft = life.hasLeft
        let directory = self.settings.dataDirectory
        let id = self.nodeID
        try? await stopping.run {
            self.endThreads(life.threads)
            life.log?.close()
            if hasLeft { try ServerFiles.putAside(directory, of: id) }
        }
        stopping.close()
        self.pool.shutdown()
        self.files.close()
        self.watches.publish([], at: self.loop.published.withLock { $0.registry.appliedIndex }, everything: true)
        self.faces.withLock { $0 = Faces() }
    }
}
