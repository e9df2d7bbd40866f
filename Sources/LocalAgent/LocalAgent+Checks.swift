import HealthChecks
import Logging
import Protocol
import Units

extension LocalAgent {
    public func registerCheck(_ definition: CheckDefinition) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in try self.registration(of: definition, configured: false) }
    }

    public func deregisterCheck(_ id: String) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in
            guard self.registrations.checks[ByteKey(id)] != nil else { throw .unknownCheck(id) }
            return [.removeCheck(id)]
        }
    }

    public func updateCheck(_ id: String, status: String, output: String) async throws(LocalAgentError) {
        let key = ByteKey(id)
        guard let status = HealthStatus(rawValue: status) else { throw .invalid("Invalid check status: '\(status)'") }
        guard var entry = self.registrations.checks[key] else { throw .unknownCheck(id) }
        guard entry.isTTL else { throw .notTTL(id) }
        let output = OutputTail.shorten(output, limit: entry.definition.outputLimit(self.settings))
        let end = self.settings.wallClock().addingReportingOverflow(entry.definition.ttl.rawValue)
        entry.report = StoredCheckState(
            status: status.rawValue, output: output, expiresAt: end.overflow ? .max : end.partialValue)
        self.run(&entry, remaining: entry.definition.ttl, spreadStart: false)
        self.registrations.checks[key] = entry
        self.record(status, output: output, for: key)
        self.keepReport(of: key)
    }

    public func setServiceMaintenance(_ id: String, enabled: Bool, reason: String) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in
            guard self.registrations.services[ByteKey(id)] != nil else { throw .unknownService(id) }
            return self.maintenance(Maintenance.check(service: id, reason: reason), enabled: enabled)
        }
    }

    public func setNodeMaintenance(enabled: Bool, reason: String) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in
            self.maintenance(Maintenance.check(service: nil, reason: reason), enabled: enabled)
        }
    }

    // MARK: - decisions

    func registration(of definition: CheckDefinition, configured: Bool) throws(LocalAgentError) -> [LocalChange] {
        if definition.name.isEmpty && definition.id.isEmpty { throw .invalid("Missing check name") }
        if let text = definition.validate() { throw .invalid("Invalid check: \(text)") }
        if !definition.hasValidStatus { throw .invalid("Bad check status") }
        if !definition.serviceID.isEmpty, self.registrations.services[ByteKey(definition.serviceID)] == nil {
            throw .serviceOfCheckMissing(definition.serviceID)
        }
        return try self.putting(definition, configured: configured)
    }

    /// The change that registers a check; none when it runs already just so. A TTL check starts its time anew.
    func putting(_ written: CheckDefinition, configured: Bool) throws(LocalAgentError) -> [LocalChange] {
        var definition = written.inRange(self.settings)
        definition.id = definition.effectiveID
        let isReserved =
            definition.id == LocalAgent.reservedCheckID || Maintenance.isMaintenance(checkID: definition.id)
        if isReserved { throw .invalid("Invalid check: the check ID \"\(definition.id)\" is reserved") }
        _ = try definition.polledPlan(self.settings)
        if let refusal = self.refusal(ofScript: definition, configured: configured) { throw .failed(refusal) }
        let old = self.registrations.checks[ByteKey(definition.id)]
        if let old, old.definition == definition, old.configured == configured, !old.isTTL { return [] }
        return [.putCheck(definition, configured: configured)]
    }

    /// Why a program may not be run, in Consul's words; nil when it may, and for a check that runs none.
    private func refusal(ofScript definition: CheckDefinition, configured: Bool) -> String? {
        if !definition.isScript || self.settings.allowsScripts { return nil }
        if !configured {
            return "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' "
                + "to true"
        }
        if self.settings.allowsLocalScripts { return nil }
        return "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
            + "'enable_local_script_checks' to true"
    }

    private func maintenance(_ check: CheckDefinition, enabled: Bool) -> [LocalChange] {
        let old = self.registrations.checks[ByteKey(check.id)]
        if !enabled { return old == nil ? [] : [.removeCheck(check.id)] }
        return old?.definition == check ? [] : [.putCheck(check, configured: false)]
    }

    // MARK: - application

    /// A check that is registered again keeps its status and output: it does not flap because somebody repeats himself.
    func putCheck(_ definition: CheckDefinition, configured: Bool) {
        let key = ByteKey(definition.effectiveID)
        let serviceName = self.registrations.services[ByteKey(definition.serviceID)]?.row.name ?? ""
        var row = definition.catalogForm(node: self.settings.nodeName, serviceName: serviceName)
        var entry: CheckEntry
        if let old = self.registrations.checks[key] {
            old.runner?.stop()
            entry = old
            row.status = old.row.status
            row.output = old.row.output
            entry.definition = definition
            entry.configured = configured
            if entry.row != row { entry.mark.changed() }
            entry.row = row
        } else {
            entry = CheckEntry(definition: definition, configured: configured, row: row, mark: self.newMark())
        }
        let isCritical = row.status == HealthStatus.critical.rawValue
        entry.criticalSince = isCritical ? entry.criticalSince ?? .now : nil
        self.run(&entry, remaining: definition.ttl, spreadStart: true)
        self.registrations.checks[key] = entry
        if definition.isLocalAlias { self.localAliases.insert(key) } else { self.localAliases.remove(key) }
        self.registrations.removals[RemovalKey(isService: false, id: key)] = nil
    }

    /// Starts a runner for the entry in place of the one it has; none for a check that is set by hand.
    func run(_ entry: inout CheckEntry, remaining: Nanoseconds, spreadStart: Bool) {
        entry.runner?.stop()
        entry.runner = nil
        self.lastRun += 1
        entry.run = self.lastRun
        if let refusal = self.refusal(ofScript: entry.definition, configured: entry.configured) {
            // Registered when scripts were allowed still.
            entry.row.output = refusal
            return
        }
        if entry.definition.isAlias {
            if !entry.definition.aliasNode.isEmpty { self.follow(&entry) }
            return
        }
        let plan: CheckPlan
        if entry.isTTL {
            plan = CheckPlan(
                id: entry.row.id, kind: .ttl(remaining: remaining, lastOutput: entry.report?.output ?? ""))
        } else if let polled = try? entry.definition.polledPlan(self.settings) {
            // What was stored by a version that took other targets than this one stays critical and is not run.
            plan = polled
        } else {
            return
        }
        let sink: @Sendable (CheckReport) async -> Void = { [weak self] report in await self?.receive(report) }
        let delay = spreadStart ? self.spread.below(plan.interval) : .zero
        let runner = CheckRunner(plan: plan, run: entry.run, firstDelay: delay, logger: self.logger, sink: sink)
        entry.runner = runner
        runner.start()
    }

    /// A runner's report. One of a runner that has been replaced meanwhile is dropped.
    func receive(_ report: CheckReport) {
        let key = ByteKey(report.id)
        guard self.running, let entry = self.registrations.checks[key], entry.run == report.run else { return }
        let limit = entry.isTTL ? Int.max : entry.definition.outputLimit(self.settings) + 1024
        self.record(report.status, output: OutputTail.shorten(report.output, limit: limit), for: key)
    }

    /// A status that changed goes to the catalog at once; an output that changed alone, by and by.
    func record(_ status: HealthStatus, output: String, for key: ByteKey) {
        guard self.note(status, output: output, for: key) else { return }
        self.stateChanged()
        // Thousands of checks change their output every few seconds; the loop need not look each time.
        guard let entry = self.registrations.checks[key] else { return }
        let isSooner = entry.outputDueAt.map { $0 < self.sync.sleepsUntil } ?? false
        if entry.mark.isDue || isSooner { self.wakeSync() }
    }

    /// False when nothing is new. `stateChanged` is the caller's to say.
    func note(_ status: HealthStatus, output: String, for key: ByteKey) -> Bool {
        guard var entry = self.registrations.checks[key] else { return false }
        let statusChanged = entry.row.status != status.rawValue
        if !statusChanged && entry.row.output == output { return false }
        entry.row.status = status.rawValue
        entry.row.output = output
        if statusChanged {
            self.logger.info(
                "check changed its status", metadata: ["check": "\(entry.row.id)", "status": "\(status.rawValue)"])
            entry.criticalSince = status == .critical ? .now : nil
            entry.outputDueAt = nil
            entry.mark.changed()
        } else if self.settings.checkUpdateInterval == .zero {
            entry.mark.changed()
        } else if entry.outputDueAt == nil {
            let wait = self.settings.checkUpdateInterval
            entry.outputDueAt = .now + (wait + self.spread.below(Nanoseconds(wait.rawValue / 2))).duration
        }
        self.registrations.checks[key] = entry
        return true
    }

    /// Has a TTL check's report written to disk soon, together with the others that come meanwhile. Nobody waits for
    /// it: the status stands in memory, and a restart that misses it begins critical.
    private func keepReport(of key: ByteKey) {
        self.reportsToKeep.insert(key)
        if self.reportKeeper == nil { self.reportKeeper = Task { await self.keepReports() } }
    }

    private func keepReports() async {
        while !self.reportsToKeep.isEmpty {
            await self.enterGate()
            let keys = self.reportsToKeep.sorted()
            self.reportsToKeep = []
            do {
                let changes = try keys.compactMap { key -> StoredChange? in
                    guard let report = self.registrations.checks[key]?.report else { return nil }
                    let bytes = try StoredCoding.encode(report)
                    return .put(StoredRow(kind: .checkState, id: key.description, bytes: bytes))
                }
                if !changes.isEmpty { try await self.store.apply(changes) }
            } catch {
                self.logger.warning("reports of TTL checks were not kept on disk", metadata: ["error": "\(error)"])
            }
            self.leaveGate()
        }
        self.reportKeeper = nil
    }

    // MARK: - services that stay critical

    func runReaper() async {
        while self.running {
            try? await Task.sleep(nanoseconds: self.settings.reapInterval.rawValue)
            if Task.isCancelled || !self.running { return }
            await self.reap()
        }
    }

    /// Removes each service with a check that has been critical for longer than its `DeregisterCriticalServiceAfter`.
    private func reap() async {
        let now = ContinuousClock.now
        for entry in self.registrations.sortedChecks where self.isOverdue(entry, at: now) {
            do {
                // It may have recovered while those before it were written to disk, or be gone with one of them.
                try await self.write { () throws(LocalAgentError) in
                    guard let present = self.registrations.checks[ByteKey(entry.row.id)],
                        self.isOverdue(present, at: now)
                    else { return [] }
                    self.logger.info(
                        "deregisters a service that stayed critical",
                        metadata: ["service": "\(present.row.serviceID)", "check": "\(present.row.id)"])
                    return self.removal(ofService: present.row.serviceID)
                }
            } catch {
                self.logger.warning(
                    "a service that stayed critical was not deregistered",
                    metadata: ["service": "\(entry.row.serviceID)", "error": "\(error)"])
            }
        }
    }
}

extension LocalAgent {
    private func isOverdue(_ entry: CheckEntry, at now: ContinuousClock.Instant) -> Bool {
        let limit = entry.definition.deregisterCriticalServiceAfter
        guard limit > .zero, !entry.row.serviceID.isEmpty, let since = entry.criticalSince else { return false }
        return now - since >= limit.duration
    }
}

extension Nanoseconds {
    var duration: Duration { .nanoseconds(Int64(clamping: self.rawValue)) }
}
