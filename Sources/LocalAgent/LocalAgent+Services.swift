import HealthChecks
import Protocol
import Units

extension LocalAgent {
    /// Names that the leader keeps for itself in every node's rows.
    static let reservedServiceID = "consul"
    static let reservedCheckID = "serfHealth"

    public func registerService(
        _ definition: ServiceDefinition, replaceExistingChecks: Bool
    ) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in
            try self.registration(of: definition, replaceExistingChecks: replaceExistingChecks, configured: false)
        }
    }

    public func deregisterService(_ id: String) async throws(LocalAgentError) {
        try await self.write { () throws(LocalAgentError) in
            guard self.registrations.services[ByteKey(id)] != nil else { throw .unknownService(id) }
            return self.removal(ofService: id)
        }
    }

    /// Makes what the configuration files say true: registers all of it and removes what an earlier configuration had
    /// and this one has not. What was registered over the API stays. Nothing is changed when one definition is refused.
    public func setConfigured(services: [ServiceDefinition], checks: [CheckDefinition]) async throws(LocalAgentError) {
        let serviceIDs = Set(services.map { ByteKey($0.effectiveID) })
        let inlineIDs = services.flatMap { service in
            LocalAgent.inlineChecks(of: service).map { ByteKey($0.effectiveID) }
        }
        let checkIDs = Set(checks.map { ByteKey($0.effectiveID) } + inlineIDs)
        try self.vet(services, checks)
        try await self.write { () throws(LocalAgentError) in
            let gone = self.registrations.sortedServices.filter {
                $0.configured && $0.parent.isEmpty && !serviceIDs.contains(ByteKey($0.row.id))
            }
            return gone.flatMap { self.removal(ofService: $0.row.id) }
        }
        for service in services {
            try await self.write { () throws(LocalAgentError) in
                if let text = service.validate() { throw .invalid(text) }
                return try self.registration(of: service, replaceExistingChecks: false, configured: true)
            }
        }
        for check in checks {
            try await self.write { () throws(LocalAgentError) in
                try self.registration(of: check, configured: true)
            }
        }
        try await self.write { () throws(LocalAgentError) in
            let gone = self.registrations.sortedChecks.filter { entry in
                let parent = self.registrations.services[ByteKey(entry.row.serviceID)]?.parent ?? ""
                return entry.configured && parent.isEmpty && !checkIDs.contains(ByteKey(entry.row.id))
            }
            return gone.map { .removeCheck($0.row.id) }
        }
    }

    // MARK: - decisions

    /// Throws what any of these would be refused for.
    private func vet(_ services: [ServiceDefinition], _ checks: [CheckDefinition]) throws(LocalAgentError) {
        for service in services {
            if let text = service.validate() { throw .invalid("service \(service.name): \(text)") }
            _ = try self.registration(of: service, replaceExistingChecks: false, configured: true)
        }
        let toCome = Set(services.map { ByteKey($0.effectiveID) })
        for check in checks {
            var alone = check
            // Its service may be among those that are still to come.
            if toCome.contains(ByteKey(check.serviceID)) { alone.serviceID = "" }
            _ = try self.registration(of: alone, configured: true)
        }
    }

    /// Everything that a service's registration changes: itself, its checks, its sidecar.
    private func registration(
        of definition: ServiceDefinition, replaceExistingChecks: Bool, configured: Bool
    ) throws(LocalAgentError) -> [LocalChange] {
        let id = definition.effectiveID
        var changes = try self.registration(
            ofOne: definition, parent: "", replaceExistingChecks: replaceExistingChecks, configured: configured)
        let sidecarID = id + SidecarDefaults.suffix
        for old in self.registrations.sidecars(of: id)
        where definition.sidecar.isEmpty
            || (definition.sidecar[0].id.isEmpty ? sidecarID : definition.sidecar[0].id) != old.row.id
        {
            changes += self.removal(ofService: old.row.id)
        }
        if let written = definition.sidecar.first {
            let sidecarID = written.id.isEmpty ? sidecarID : written.id
            let port = try self.sidecarPort(written, id: sidecarID)
            let sidecar = try SidecarDefaults.fill(written, id: sidecarID, port: port, parent: definition)
            if let text = sidecar.validate() { throw .invalid("Invalid SidecarService: \(text)") }
            changes += try self.registration(
                ofOne: sidecar, parent: id, replaceExistingChecks: true, configured: configured)
        }
        return changes
    }

    private func registration(
        ofOne definition: ServiceDefinition, parent: String, replaceExistingChecks: Bool, configured: Bool
    ) throws(LocalAgentError) -> [LocalChange] {
        let id = definition.effectiveID
        if id == LocalAgent.reservedServiceID {
            throw .invalid("Validation failed: the service ID \"consul\" is reserved")
        }
        var plain = definition
        plain.id = id
        plain.checks = []
        plain.sidecar = []
        var changes: [LocalChange] = []
        let old = self.registrations.services[ByteKey(id)]
        if old?.definition != plain || old?.parent != parent || old?.configured != configured {
            changes.append(.putService(plain, parent: parent, configured: configured))
        }
        let checks = LocalAgent.inlineChecks(of: definition)
        for check in checks { changes += try self.putting(check, configured: configured) }
        if replaceExistingChecks {
            let kept = Set(checks.map { ByteKey($0.effectiveID) })
            for entry in self.registrations.checks(of: id) {
                // Maintenance is a person's doing, which a service's own registration does not undo.
                if kept.contains(ByteKey(entry.row.id)) || Maintenance.isMaintenance(checkID: entry.row.id) { continue }
                changes.append(.removeCheck(entry.row.id))
            }
        }
        return changes
    }

    /// A service's removal, with its checks and its sidecar.
    func removal(ofService id: String) -> [LocalChange] {
        var changes = self.registrations.checks(of: id).map { LocalChange.removeCheck($0.row.id) }
        changes.append(.removeService(id))
        for sidecar in self.registrations.sidecars(of: id) { changes += self.removal(ofService: sidecar.row.id) }
        return changes
    }

    /// The port that was written, else the one that this sidecar has already, else the lowest that no service here has.
    private func sidecarPort(_ written: ServiceDefinition, id: String) throws(LocalAgentError) -> UInt32 {
        if written.port > 0 { return written.port }
        let range = self.settings.sidecarPorts
        let old = self.registrations.services[ByteKey(id)]?.definition.port ?? 0
        if range.contains(old) { return old }
        let used = Set(self.registrations.services.values.map(\.definition.port))
        guard let free = range.first(where: { !used.contains($0) }) else {
            let bounds = "[\(range.lowerBound), \(range.upperBound)]"
            throw .invalid(
                "Invalid SidecarService: no port provided for sidecar_service and none left in the configured range "
                    + bounds
            )
        }
        return free
    }

    /// A service's inline checks with ids, names and service filled in.
    static func inlineChecks(of definition: ServiceDefinition) -> [CheckDefinition] {
        let id = definition.effectiveID
        return definition.checks.enumerated().map { position, written in
            var check = written
            if check.id.isEmpty {
                check.id = definition.checks.count == 1 ? "service:\(id)" : "service:\(id):\(position + 1)"
            }
            if check.name.isEmpty { check.name = "Service '\(definition.name)' check" }
            if check.token.isEmpty { check.token = definition.token }
            check.serviceID = id
            return check
        }
    }

    // MARK: - application

    func putService(_ definition: ServiceDefinition, parent: String, configured: Bool) {
        let key = ByteKey(definition.effectiveID)
        let row = definition.catalogForm()
        if var entry = self.registrations.services[key] {
            entry.definition = definition
            entry.parent = parent
            entry.configured = configured
            if entry.row != row {
                entry.row = row
                entry.mark.changed()
            }
            self.registrations.services[key] = entry
        } else {
            self.registrations.services[key] =
                ServiceEntry(
                    definition: definition, parent: parent, configured: configured, row: row, mark: self.newMark())
        }
        self.registrations.removals[RemovalKey(isService: true, id: key)] = nil
        for check in self.registrations.checks(of: row.id) where check.row.serviceName != row.name {
            let checkKey = ByteKey(check.row.id)
            self.registrations.checks[checkKey]?.row.serviceName = row.name
            self.registrations.checks[checkKey]?.mark.changed()
        }
    }
}
