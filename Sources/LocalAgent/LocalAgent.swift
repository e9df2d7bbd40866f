import Cluster
import HealthChecks
import Logging
import Protocol
import Units

/// This machine's services and checks: registered over the API or by configuration, kept on disk, probed, and made
/// true in the catalog by anti-entropy (Consul's page on anti-entropy).
///
/// A registration is durable in the local state when its call returns; the catalog follows, at once where it can and
/// by the next full sync at the latest. Anti-entropy touches only what was registered here: a row that another put into
/// the catalog under this node's name stays, and `consul` and `serfHealth` belong to the leader.
public actor LocalAgent: LocalAgentAccess {
    let settings: LocalAgentSettings
    /// As the settings had it, until a reload brought another.
    var nodeMeta: [String: String]
    /// What the last write to the catalog took along.
    var sentNodeMeta: [String: String] = [:]
    let cluster: any ClusterAccess
    let catalog: any CatalogReader
    let store: any LocalStateStore
    let facilities: any AgentFacilities
    let logger: Logger

    var registrations = Registrations()
    var generation: UInt64 = 0
    var spread: Spread
    var lastRun: UInt64 = 0
    var lastRemoval: UInt64 = 0
    private var lastLife: UInt64 = 0

    /// The catalog has this node's own row as the settings say.
    var nodeSynced = false
    var sync = SyncState()
    private var cachedState: LocalState?

    /// Checks that repeat the health of a service on this machine.
    var localAliases: Set<ByteKey> = []
    /// TTL checks whose last report is not on disk yet.
    var reportsToKeep: Set<ByteKey> = []
    var reportKeeper: Task<Void, Never>?
    private var isRunning = false
    private var loops: [Task<Void, Never>] = []
    private var gateTaken = false
    private var gateQueue: [CheckedContinuation<Void, Never>] = []
    private var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var lastWaiter: UInt64 = 0

    public init(
        settings: LocalAgentSettings, cluster: any ClusterAccess, catalog: any CatalogReader,
        store: any LocalStateStore,
        facilities: any AgentFacilities, logger: Logger
    ) {
        self.settings = settings.inRange()
        self.nodeMeta = settings.nodeMeta
        self.cluster = cluster
        self.catalog = catalog
        self.store = store
        self.facilities = facilities
        self.logger = logger
        self.spread = Spread(seed: settings.seed)
    }

    // MARK: - life cycle

    /// Reads the local state and starts checks and syncs. A row that can't be read is logged, passed over and kept.
    public func start() async throws(LocalAgentError) {
        if self.isRunning { return }
        self.isRunning = true
        let rows: [StoredRow]
        do {
            rows = try await self.store.load()
        } catch {
            self.isRunning = false
            throw .failed("reading the agent's local state failed: \(error)")
        }
        await self.restore(rows)
        self.loops = [
            Task { [weak self] in await self?.runSync() },
            Task { [weak self] in await self?.runReaper() },
        ]
    }

    /// Ends checks and syncs. What is registered stays registered, here and in the catalog.
    public func stop() async {
        if !self.isRunning { return }
        self.isRunning = false
        for entry in self.registrations.checks.values { entry.runner?.stop() }
        let loops = self.loops
        self.loops = []
        for loop in loops { loop.cancel() }
        self.wakeSync()
        for waiter in self.waiters.values { waiter.resume() }
        self.waiters = [:]
        for loop in loops { await loop.value }
        await self.reportKeeper?.value
    }

    var running: Bool { self.isRunning }

    // MARK: - state

    public func state() -> LocalState {
        if let state = self.cachedState { return state }
        let state = LocalState(
            generation: self.generation, services: self.registrations.sortedServices.map(\.row),
            checks: self.registrations.sortedChecks.map(\.row))
        self.cachedState = state
        return state
    }

    /// Registrations, removals and the node itself that the catalog does not have as they are here.
    public func outOfSync() -> Int {
        self.registrations.services.values.count { !$0.mark.isSynced }
            + self.registrations.checks.values.count { !$0.mark.isSynced }
            + self.registrations.removals.count + (self.nodeSynced ? 0 : 1)
    }

    public func waitForChange(after generation: UInt64, timeout: Nanoseconds) async {
        if self.generation != generation || Task.isCancelled || !self.isRunning { return }
        if self.waiters.count >= self.settings.maximumWaiters {
            try? await Task.sleep(nanoseconds: min(timeout.rawValue, 1_000_000_000))
            return
        }
        self.lastWaiter += 1
        let id = self.lastWaiter
        let timer = Task { [weak self] in
            try? await Task.sleep(nanoseconds: min(timeout.rawValue, UInt64(Int64.max)))
            await self?.endWait(id)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Between the first look and here nothing else can have run on this actor, but a cancellation may have.
                if Task.isCancelled { continuation.resume() } else { self.waiters[id] = continuation }
            }
        } onCancel: {
            Task { [weak self] in await self?.endWait(id) }
        }
        timer.cancel()
    }

    private func endWait(_ id: UInt64) {
        self.waiters.removeValue(forKey: id)?.resume()
    }

    /// Something that `state()` shows is another.
    func stateChanged() {
        self.settleAliases()
        self.generation += 1
        self.cachedState = nil
        let waiters = self.waiters
        self.waiters = [:]
        for waiter in waiters.values { waiter.resume() }
    }

    // MARK: - writes

    /// Decides, writes to disk and applies, one caller at a time: what was decided is still right when it is applied.
    func write(_ decide: () throws(LocalAgentError) -> [LocalChange]) async throws(LocalAgentError) {
        if self.gateQueue.count >= self.settings.maximumPendingWrites {
            throw .overloaded("too many registrations wait for the agent's local state")
        }
        await self.enterGate()
        defer { self.leaveGate() }
        let changes = try decide()
        if changes.isEmpty { return }
        try self.registrations.makeRoom(for: changes, self.settings)
        do {
            try await self.store.apply(try changes.flatMap { try $0.stored() })
        } catch {
            throw .failed("writing the agent's local state failed: \(error)")
        }
        for change in changes { self.apply(change) }
        self.stateChanged()
        self.wakeSync()
    }

    /// One at a time past here, in the order of their coming. The sync loop and the keeper of reports come without a
    /// look at the queue's bound: there is one of each.
    func enterGate() async {
        if !self.gateTaken {
            self.gateTaken = true
            return
        }
        // Who leaves hands the gate over, so it stays taken.
        await withCheckedContinuation { self.gateQueue.append($0) }
    }

    func leaveGate() {
        if self.gateQueue.isEmpty {
            self.gateTaken = false
        } else {
            self.gateQueue.removeFirst().resume()
        }
    }

    private func apply(_ change: LocalChange) {
        switch change {
        case .putService(let definition, let parent, let configured):
            self.putService(definition, parent: parent, configured: configured)
        case .putCheck(let definition, let configured):
            self.putCheck(definition, configured: configured)
        case .removeService(let id):
            self.registrations.services[ByteKey(id)] = nil
            self.noteRemoval(RemovalKey(isService: true, id: ByteKey(id)))
        case .removeCheck(let id):
            let entry = self.registrations.checks.removeValue(forKey: ByteKey(id))
            entry?.runner?.stop()
            self.localAliases.remove(ByteKey(id))
            self.noteRemoval(RemovalKey(isService: false, id: ByteKey(id)))
        }
    }

    /// For a service or check that is registered under an id that was free.
    func newMark() -> SyncMark {
        self.lastLife += 1
        return SyncMark(life: self.lastLife)
    }

    func noteRemoval(_ key: RemovalKey) {
        self.lastRemoval += 1
        self.registrations.removals[key] = self.lastRemoval
    }

    // MARK: - passed on

    public func members(wide: Bool) async -> [Member] { await self.facilities.members(wide: wide) }
    public func description() async -> AgentDescription { await self.facilities.description() }
    public func metrics() async -> [Metric] { await self.facilities.metrics() }

    public func join(_ address: String) async throws(LocalAgentError) { try await self.facilities.join(address) }
    public func leave() async throws(LocalAgentError) { try await self.facilities.leave() }
    public func reload() async throws(LocalAgentError) { try await self.facilities.reload() }

    public func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError) {
        try await self.facilities.forceLeave(name, prune: prune)
    }
}
