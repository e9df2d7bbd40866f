import Cluster
import Logging
import Protocol
import Units

/// Where the sync loop sleeps and how its tries went.
struct SyncState {
    var sleeper: CheckedContinuation<Void, Never>?
    var timer: Task<Void, Never>?
    /// Something happened while nobody slept.
    var woken = false
    /// When the loop looks again if nobody wakes it.
    var sleepsUntil = ContinuousClock.now
    var retryDelay = Nanoseconds.zero
    var retryAt: ContinuousClock.Instant?
    var fullSyncs: UInt64 = 0
    /// The catalog has refused something since the last full sync.
    var wasRefused = false
}

extension LocalAgent {
    /// One loop does all syncing, so that two writes about one row never cross: a full sync when its time has come, else
    /// what is due, else sleep until either.
    func runSync() async {
        var nextFullSync = ContinuousClock.now
        while self.running && !Task.isCancelled {
            let now = ContinuousClock.now
            if now >= nextFullSync {
                let succeeded = await self.fullSync()
                let wait =
                    succeeded
                    ? self.sync.wasRefused ? self.waitAfterRefusal : self.settings.syncInterval
                    : self.waitAfterFailure()
                nextFullSync = .now + (wait + self.spread.below(wait)).duration
                continue
            }
            self.settleOutputs(now)
            let isDue = self.sync.fullSyncs > 0 && (self.registrations.hasDue || !self.nodeSynced)
            if isDue, self.sync.retryAt.map({ now >= $0 }) ?? true {
                await self.pushChanges()
                if self.sync.wasRefused { nextFullSync = min(nextFullSync, .now + self.waitAfterRefusal.duration) }
                continue
            }
            var wakeAt = nextFullSync
            if isDue, let retryAt = self.sync.retryAt { wakeAt = min(wakeAt, retryAt) }
            for entry in self.registrations.checks.values {
                if let dueAt = entry.outputDueAt { wakeAt = min(wakeAt, dueAt) }
            }
            await self.sleep(until: wakeAt)
        }
    }

    /// What is refused may be granted soon: the name of a node whose disk was lost is free when its lease has run out.
    private var waitAfterRefusal: Nanoseconds { min(self.settings.failedSyncInterval, self.settings.syncInterval) }

    /// Before the first full sync nothing is written, so its tries follow each other more closely.
    private func waitAfterFailure() -> Nanoseconds {
        self.sync.fullSyncs > 0 ? self.settings.failedSyncInterval : self.nextRetryDelay()
    }

    private func nextRetryDelay() -> Nanoseconds {
        let doubled = Nanoseconds(self.sync.retryDelay.rawValue * 2)
        self.sync.retryDelay = min(max(doubled, self.settings.retryMinimum), self.settings.retryMaximum)
        return self.sync.retryDelay
    }

    /// The node's metadata in the catalog, the keys that Consul writes itself included.
    public func setNodeMeta(_ meta: [String: String]) {
        if self.nodeMeta == meta { return }
        self.nodeMeta = meta
        self.nodeSynced = false
        self.wakeSync()
    }

    private var nodeRow: LogNode {
        var node = LogNode()
        node.id = self.settings.nodeUUID
        node.name = self.settings.nodeName
        node.address = self.settings.address
        node.datacenter = self.settings.datacenter
        node.taggedAddresses = self.settings.taggedAddresses
        node.meta = self.nodeMeta
        return node
    }

    private func dueCommands() -> [SyncCommand] {
        self.sentNodeMeta = self.nodeMeta
        return self.registrations.commands(node: self.nodeRow, nodeSynced: self.nodeSynced)
    }

    /// Outputs whose time has come turn into changes like any other.
    private func settleOutputs(_ now: ContinuousClock.Instant) {
        for (key, entry) in self.registrations.checks {
            guard let dueAt = entry.outputDueAt, dueAt <= now else { continue }
            self.registrations.checks[key]?.outputDueAt = nil
            self.registrations.checks[key]?.mark.changed()
        }
    }

    // MARK: - full sync

    /// Compares all rows with the catalog's and writes what differs. False: neither could be done to the end.
    private func fullSync() async -> Bool {
        let before = self.registrations
        let catalog: CatalogNode?
        do {
            catalog = try await self.catalog.node(self.settings.nodeName)
        } catch {
            self.logger.warning("reading this node's rows from the catalog failed", metadata: ["error": "\(error)"])
            return false
        }
        let difference = SyncDifference(
            of: before, node: self.nodeRow, from: catalog, comparesOutput: self.settings.checkUpdateInterval == .zero)
        self.take(difference, seen: before)
        self.sync.fullSyncs += 1
        self.sync.wasRefused = false
        self.sync.retryAt = nil
        self.sync.retryDelay = .zero
        return await self.pushChanges()
    }

    /// Marks rows as the catalog has them. What changed here while it was read keeps its newer version and stays due.
    private func take(_ difference: SyncDifference, seen: Registrations) {
        self.nodeSynced = difference.nodeIsSynced
        for (key, isSame) in difference.services {
            guard let version = seen.services[key]?.mark.version, var entry = self.registrations.services[key] else {
                continue
            }
            if isSame { entry.mark.confirm(version) } else { entry.mark.invalidate() }
            self.registrations.services[key] = entry
        }
        for (key, isSame) in difference.checks {
            guard let version = seen.checks[key]?.mark.version else { continue }
            if isSame {
                self.registrations.checks[key]?.mark.confirm(version)
            } else {
                self.registrations.checks[key]?.mark.invalidate()
            }
        }
        var tagsChanged = false
        for (key, tags) in difference.tags where self.registrations.services[key]?.definition.enableTagOverride == true
        {
            self.registrations.services[key]?.row.tags = tags
            tagsChanged = true
        }
        if tagsChanged { self.stateChanged() }
    }

    // MARK: - writing

    /// Tells the catalog what is due, some commands at a time. False: it could not be told all; a retry is set.
    @discardableResult
    private func pushChanges() async -> Bool {
        var commands = self.dueCommands()[...]
        while !commands.isEmpty && self.running {
            let batch = commands.batch(self.settings)
            commands = commands.dropFirst(batch.count)
            do {
                try await self.push(batch)
            } catch {
                let delay = self.nextRetryDelay()
                let wait = delay + self.spread.below(delay)
                self.sync.retryAt = .now + wait.duration
                self.logger.warning(
                    "telling the catalog about local changes failed",
                    metadata: ["error": "\(error)", "retry_in": "\(wait)", "pending": "\(self.outOfSync())"])
                return false
            }
        }
        self.sync.retryAt = nil
        self.sync.retryDelay = .zero
        return true
    }

    private func push(_ batch: [SyncCommand]) async throws(ClusterError) {
        var command = LogCommand()
        if batch.count == 1 {
            command = batch[0].command
        } else {
            command.batch.commands = batch.map(\.command)
        }
        let result: LogResult
        do {
            result = try await self.cluster.propose(
                command, identity: self.settings.nodeName, timeout: self.settings.proposeTimeout)
        } catch .refused(let status, let text) {
            for item in batch { self.reject(item, text: "\(status): \(text)") }
            return
        }
        if case .failure(let failure) = result.kind {
            for item in batch { self.reject(item, text: failure.text) }
            return
        }
        var done: [SyncCommand] = []
        for (position, item) in batch.enumerated() {
            let results = result.batch.results
            if batch.count > 1, position < results.count, case .failure(let failure) = results[position].kind {
                self.reject(item, text: failure.text)
            } else {
                done.append(item)
            }
        }
        await self.confirm(done)
    }

    private func confirm(_ items: [SyncCommand]) async {
        var removals: [(RemovalKey, UInt64)] = []
        for covered in items.flatMap(\.covers) {
            switch covered {
            // Metadata that a reload brought while this was under way is still to be sent.
            case .node: self.nodeSynced = self.sentNodeMeta == self.nodeMeta
            case .service(let key, let version): self.registrations.services[key]?.mark.confirm(version)
            case .check(let key, let version, let output):
                self.registrations.checks[key]?.mark.confirm(version)
                if self.registrations.checks[key]?.row.output == output {
                    self.registrations.checks[key]?.outputDueAt = nil
                }
            case .removal(let key, let number): removals.append((key, number))
            }
        }
        await self.forget(removals: removals)
    }

    private func reject(_ item: SyncCommand, text: String) {
        self.sync.wasRefused = true
        self.logger.error(
            "the catalog refused a local registration; the next full sync tries again",
            metadata: ["node": "\(self.settings.nodeName)", "reason": "\(text)"])
        for covered in item.covers {
            switch covered {
            case .node:
                // Without this a node that the catalog refuses would be sent again at once, for ever.
                if item.covers.count == 1 { self.nodeSynced = true }
            case .service(let key, let version): self.registrations.services[key]?.mark.reject(version)
            case .check(let key, let version, _): self.registrations.checks[key]?.mark.reject(version)
            case .removal(let key, let number):
                // A removal that is refused has nothing left to say until it is asked for again.
                if self.registrations.removals[key] == number { self.registrations.removals[key] = nil }
            }
        }
    }

    /// Drops removals that are done, unless the id was registered or removed again meanwhile.
    private func forget(removals: [(RemovalKey, UInt64)]) async {
        if removals.isEmpty { return }
        await self.enterGate()
        defer { self.leaveGate() }
        let done = removals.filter { self.registrations.removals[$0.0] == $0.1 }.map(\.0)
        if done.isEmpty { return }
        do {
            try await self.store.apply(done.map { .remove(kind: .removal, id: $0.rowID) })
        } catch {
            // The row is read at the next start, and the catalog told once more.
            self.logger.warning("a finished removal stays in the local state", metadata: ["error": "\(error)"])
        }
        for key in done { self.registrations.removals[key] = nil }
    }

    // MARK: - sleeping

    private func sleep(until deadline: ContinuousClock.Instant) async {
        if self.sync.woken || !self.running {
            self.sync.woken = false
            return
        }
        self.sync.sleepsUntil = deadline
        await withCheckedContinuation { continuation in
            self.sync.sleeper = continuation
            self.sync.timer = Task { [weak self] in
                try? await Task.sleep(until: deadline, clock: .continuous)
                if !Task.isCancelled { await self?.wakeSync() }
            }
        }
        self.sync.timer?.cancel()
        self.sync.timer = nil
        self.sync.woken = false
    }

    /// Makes the sync loop look again.
    func wakeSync() {
        self.sync.woken = true
        let sleeper = self.sync.sleeper
        self.sync.sleeper = nil
        sleeper?.resume()
    }
}
