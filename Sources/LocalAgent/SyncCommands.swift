import Protocol
import SwiftProtobuf
import Units

/// One command to the catalog and what it makes true once it has been applied.
struct SyncCommand: Sendable {
    enum Covered: Sendable {
        case node
        case service(ByteKey, version: UInt64)
        case check(ByteKey, version: UInt64, output: String)
        case removal(RemovalKey, number: UInt64)
    }

    var command: LogCommand
    var covers: [Covered]

    var bytes: Int { (try? self.command.serializedBytes() as [UInt8])?.count ?? 0 }
}

extension ArraySlice<SyncCommand> {
    /// As many as go into one write to the catalog: at least one.
    func batch(_ settings: LocalAgentSettings) -> [SyncCommand] {
        var batch: [SyncCommand] = []
        var bytes = 0
        for command in self.prefix(settings.maximumSyncBatch) {
            bytes += command.bytes
            if bytes > settings.maximumSyncBytes.rawValue, !batch.isEmpty { break }
            batch.append(command)
        }
        return batch
    }
}

extension Registrations {
    /// What the catalog has to be told, in an order in which it can be applied: what goes, then each service with its
    /// own checks, then checks whose service is there already. Empty when all is in sync.
    func commands(node: LogNode, nodeSynced: Bool) -> [SyncCommand] {
        var commands = self.removals.sorted { $0.key < $1.key }.map { key, number in
            Registrations.deregistration(of: key, number: number, node: node.name)
        }
        var dueChecks: [ByteKey: [CheckEntry]] = [:]
        for entry in self.sortedChecks where entry.mark.isDue {
            dueChecks[ByteKey(entry.row.serviceID), default: []].append(entry)
        }
        for entry in self.sortedServices where entry.mark.isDue {
            let key = ByteKey(entry.row.id)
            let checks = dueChecks.removeValue(forKey: key) ?? []
            commands.append(Registrations.registration(node: node, service: entry, checks: checks))
        }
        for (_, checks) in dueChecks.sorted(by: { $0.key < $1.key }) {
            commands.append(Registrations.registration(node: node, service: nil, checks: checks))
        }
        let tellsNode = commands.contains { if case .register = $0.command.kind { true } else { false } }
        if !nodeSynced && !tellsNode {
            commands.append(Registrations.registration(node: node, service: nil, checks: []))
        }
        return commands
    }

    private static func registration(node: LogNode, service: ServiceEntry?, checks: [CheckEntry]) -> SyncCommand {
        var register = LogRegister()
        register.node = node
        var covers: [SyncCommand.Covered] = [.node]
        if let service {
            register.service = service.row
            covers.append(.service(ByteKey(service.row.id), version: service.mark.version))
        }
        for check in checks {
            register.checks.append(check.row)
            covers.append(.check(ByteKey(check.row.id), version: check.mark.version, output: check.row.output))
        }
        var command = LogCommand()
        command.register = register
        return SyncCommand(command: command, covers: covers)
    }

    private static func deregistration(of key: RemovalKey, number: UInt64, node: String) -> SyncCommand {
        var deregister = LogDeregister()
        deregister.node = node
        if key.isService { deregister.serviceID = key.id.description } else { deregister.checkID = key.id.description }
        var command = LogCommand()
        command.deregister = deregister
        return SyncCommand(command: command, covers: [.removal(key, number: number)])
    }
}

/// What a look at the catalog says about the rows registered here. That it has no row for what was removed here says
/// nothing: a registration may still be on its way, and only a removal after it keeps it out.
struct SyncDifference: Sendable, Equatable {
    var nodeIsSynced: Bool
    /// True where the catalog has the row just so.
    var services: [ByteKey: Bool] = [:]
    var checks: [ByteKey: Bool] = [:]
    /// Tags of the catalog that win over the ones here (`EnableTagOverride`).
    var tags: [ByteKey: [String]] = [:]

    /// - Parameter comparesOutput: false: an output that differs alone is left to its own pace.
    init(of local: Registrations, node: LogNode, from catalog: CatalogNode?, comparesOutput: Bool) {
        self.nodeIsSynced = catalog.map { SyncDifference.isSame(node, $0.node) } ?? false
        var services: [ByteKey: LogService] = [:]
        for row in catalog?.services ?? [] { services[ByteKey(row.id)] = row }
        var checks: [ByteKey: LogCheck] = [:]
        for row in catalog?.checks ?? [] { checks[ByteKey(row.id)] = row }
        for (key, entry) in local.services {
            guard let row = services[key] else {
                self.services[key] = false
                continue
            }
            var mine = entry.row
            if entry.definition.enableTagOverride && mine.tags != row.tags {
                mine.tags = row.tags
                self.tags[key] = row.tags
            }
            self.services[key] = mine == row
        }
        for (key, entry) in local.checks {
            self.checks[key] =
                checks[key].map { SyncDifference.isSame(entry.row, $0, comparesOutput: comparesOutput) } ?? false
        }
    }

    private static func isSame(_ mine: LogNode, _ row: LogNode) -> Bool {
        mine.id.lowercased() == row.id.lowercased() && mine.address == row.address && mine.meta == row.meta
            && mine.taggedAddresses == row.taggedAddresses
    }

    private static func isSame(_ mine: LogCheck, _ row: LogCheck, comparesOutput: Bool) -> Bool {
        var row = row
        row.node = mine.node
        if !comparesOutput { row.output = mine.output }
        return mine == row
    }
}
