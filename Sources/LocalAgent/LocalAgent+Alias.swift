import HealthChecks
import Protocol
import Units

// Checks of type alias (Consul's page on alias checks): each repeats the worst of a service's checks and of its node's own.

extension CheckDefinition {
    /// An alias without a node is one of this machine.
    var isLocalAlias: Bool { self.isAlias && self.aliasNode.isEmpty }
}

/// What an alias repeats.
struct AliasTarget: Sendable, Equatable {
    /// "" is this machine.
    var node: String
    /// "" is the node itself.
    var service: String

    init(_ definition: CheckDefinition) {
        self.node = definition.aliasNode
        self.service = definition.aliasService
    }

    /// - Parameters:
    ///   - checks: the service's and the node's own, others are passed over; the alias itself must not be among them.
    ///   - serviceExists: asked when the service has no check.
    func verdict(of checks: [LogCheck], serviceExists: () -> Bool) -> (status: HealthStatus, output: String) {
        var status = HealthStatus.passing
        var output = "No checks found."
        var isFound = false
        for check in checks {
            let isNodes = check.serviceID.isEmpty
            // Aliases among the node's own checks would hold each other critical for ever.
            if isNodes && check.type == "alias" { continue }
            if ByteKey(check.serviceID) == ByteKey(self.service) { isFound = true } else if !isNodes { continue }
            switch HealthStatus(rawValue: check.status) {
            case .passing, nil:
                if status == .passing { output = "All checks passing." }
            case .warning, .critical:
                status = check.status == HealthStatus.critical.rawValue ? .critical : .warning
                output = "Aliased check \"\(check.name)\" failing: \(check.output)"
            }
            if status == .critical { break }
        }
        if !isFound, !serviceExists() {
            return (.critical, "Service \(self.service) could not be found on node \(self.node)")
        }
        return (status, output)
    }
}

extension LocalAgent {
    /// Brings the aliases of this machine's services in line with what they repeat. An alias of an alias takes another
    /// round; a ring of them ends after as many rounds as it has members.
    func settleAliases() {
        if self.localAliases.isEmpty { return }
        let aliases = self.localAliases.sorted()
        var services: Set<ByteKey> = [ByteKey("")]
        for key in aliases {
            services.insert(ByteKey(self.registrations.checks[key]?.definition.aliasService ?? ""))
        }
        var changedAny = false
        for _ in 0...aliases.count {
            let checks = self.registrations.rows(of: services)
            var changed = false
            for key in aliases where self.settleAlias(key, checks) { changed = true }
            if !changed { break }
            changedAny = true
        }
        if changedAny { self.wakeSync() }
    }

    private func settleAlias(_ key: ByteKey, _ byService: [ByteKey: [LogCheck]]) -> Bool {
        guard let entry = self.registrations.checks[key] else { return false }
        let target = AliasTarget(entry.definition)
        let service = ByteKey(target.service)
        // One that stands at what it repeats must not see itself: it would never recover.
        let checks = ((byService[service] ?? []) + (byService[ByteKey("")] ?? [])).filter { ByteKey($0.id) != key }
        let (status, output) = target.verdict(of: checks) { self.registrations.services[service] != nil }
        return self.note(status, output: output, for: key)
    }

    /// Has another node's health followed for the entry.
    func follow(_ entry: inout CheckEntry) {
        let id = entry.row.id
        let run = entry.run
        let follower = AliasFollower(
            target: AliasTarget(entry.definition), own: (node: self.settings.nodeName, check: id),
            source: CatalogWatch(cluster: self.cluster), pause: self.settings.aliasPause
        ) { [weak self] status, output in
            await self?.receive(CheckReport(id: id, run: run, status: status, output: output))
        }
        entry.runner = follower
        follower.start()
    }
}
