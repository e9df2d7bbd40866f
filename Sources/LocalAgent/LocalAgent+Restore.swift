import HealthChecks
import Logging
import Protocol
import Units

extension LocalAgent {
    /// Takes up what was registered before a restart. Checks begin critical, but for a TTL check whose last report still
    /// holds by the wall clock: it has its status back, and what is left of its time.
    func restore(_ rows: [StoredRow]) async {
        var reports: [ByteKey: StoredCheckState] = [:]
        for row in rows.filter({ $0.kind == .checkState }) {
            if let state = self.read(StoredCheckState.self, row) { reports[ByteKey(row.id)] = state }
        }
        for row in rows.filter({ $0.kind == .service }).sorted(by: { ByteKey($0.id) < ByteKey($1.id) }) {
            guard let stored = self.read(StoredService.self, row) else { continue }
            self.putService(stored.definition.definition, parent: stored.parent, configured: stored.configured)
        }
        var orphans: [StoredChange] = []
        for row in rows.filter({ $0.kind == .check }).sorted(by: { ByteKey($0.id) < ByteKey($1.id) }) {
            guard let stored = self.read(StoredCheck.self, row) else { continue }
            let definition = stored.definition.definition
            let service = definition.serviceID
            if !service.isEmpty && self.registrations.services[ByteKey(service)] == nil {
                orphans.append(.remove(kind: .check, id: row.id))
                continue
            }
            self.putCheck(definition, configured: stored.configured)
            self.restoreStatus(of: ByteKey(row.id), reports[ByteKey(row.id)])
        }
        for id in reports.keys where self.registrations.checks[id] == nil {
            orphans.append(.remove(kind: .checkState, id: id.description))
        }
        for row in rows.filter({ $0.kind == .removal }) {
            guard let stored = self.read(StoredRemoval.self, row) else { continue }
            let key = RemovalKey(isService: stored.isService, id: ByteKey(stored.id))
            let isBack =
                key.isService
                ? self.registrations.services[key.id] != nil : self.registrations.checks[key.id] != nil
            if isBack { orphans.append(.remove(kind: .removal, id: row.id)) } else { self.noteRemoval(key) }
        }
        self.stateChanged()
        await self.sweep(orphans)
    }

    private func restoreStatus(of key: ByteKey, _ report: StoredCheckState?) {
        guard var entry = self.registrations.checks[key] else { return }
        let now = self.settings.wallClock()
        if entry.isTTL, let report, report.expiresAt > now, let status = HealthStatus(rawValue: report.status) {
            entry.row.status = status.rawValue
            entry.row.output = report.output
            entry.report = report
            entry.criticalSince = status == .critical ? .now : nil
            // A wall clock that was set back must not stretch the time beyond one TTL.
            let remaining = min(Nanoseconds(report.expiresAt - now), entry.definition.ttl)
            self.run(&entry, remaining: remaining, spreadStart: false)
        } else {
            entry.row.status = HealthStatus.critical.rawValue
            entry.criticalSince = .now
        }
        self.registrations.checks[key] = entry
    }

    private func read<Value: Decodable>(_ type: Value.Type, _ row: StoredRow) -> Value? {
        do {
            return try StoredCoding.decode(type, from: row.bytes)
        } catch {
            self.logger.error(
                "a row of the agent's local state can't be read and is passed over",
                metadata: ["kind": "\(row.kind.rawValue)", "id": "\(row.id)", "error": "\(error)"])
            return nil
        }
    }

    private func sweep(_ orphans: [StoredChange]) async {
        if orphans.isEmpty { return }
        do {
            try await self.store.apply(orphans)
        } catch {
            self.logger.warning("rows without an owner stay in the local state", metadata: ["error": "\(error)"])
        }
    }
}
