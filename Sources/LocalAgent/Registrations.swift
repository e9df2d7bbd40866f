import HealthChecks
import Protocol
import Units

/// Whether the catalog has what is registered here. A version rises with each change that the catalog must hear of, so
/// a change made while a write is under way stays to be synced.
struct SyncMark: Sendable, Equatable {
    private(set) var version: UInt64
    private(set) var synced: UInt64 = 0
    private(set) var rejected: UInt64 = 0

    /// `life`: another one for each registration. An answer about one that was removed meanwhile is not taken for an
    /// answer about the next under its id.
    init(life: UInt64) { self.version = life << 32 + 1 }

    /// Something to tell the catalog, which has not refused it yet.
    var isDue: Bool { self.version != self.synced && self.version != self.rejected }
    var isSynced: Bool { self.version == self.synced }

    mutating func changed() { self.version += 1 }
    mutating func confirm(_ version: UInt64) { self.synced = max(self.synced, version) }
    /// Tried again by the next full sync, not before: the same words would be refused again.
    mutating func reject(_ version: UInt64) { self.rejected = max(self.rejected, version) }

    /// The catalog was seen to differ.
    mutating func invalidate() {
        self.synced = 0
        self.rejected = 0
    }
}

struct ServiceEntry: Sendable {
    /// Without its checks and its sidecar.
    var definition: ServiceDefinition
    var parent: String
    var configured: Bool
    var row: LogService
    var mark: SyncMark
}

/// What keeps a check's status up to date by itself.
protocol RunningCheck: Sendable {
    /// Soon; a report under way may still arrive, under its old `run`.
    func stop()
}

extension CheckRunner: RunningCheck {}

struct CheckEntry: Sendable {
    var definition: CheckDefinition
    var configured: Bool
    var row: LogCheck
    var mark: SyncMark
    var run: UInt64 = 0
    var runner: (any RunningCheck)?
    var criticalSince: ContinuousClock.Instant?
    /// When an output that changed alone is to be synced.
    var outputDueAt: ContinuousClock.Instant?
    /// A TTL check's last report, and until when it holds.
    var report: StoredCheckState?

    var isTTL: Bool { self.definition.isTTL }
}

/// Services come before checks: a service's removal takes its checks along in the catalog.
struct RemovalKey: Hashable, Sendable, Comparable {
    var isService: Bool
    var id: ByteKey

    static func < (left: RemovalKey, right: RemovalKey) -> Bool {
        left.isService == right.isService ? left.id < right.id : left.isService
    }

    /// The id of its row: a letter tells services from checks.
    var rowID: String { (self.isService ? "s:" : "c:") + self.id.description }
}

/// One change of what is registered, decided before it is written to disk and applied after.
enum LocalChange: Sendable {
    case putService(ServiceDefinition, parent: String, configured: Bool)
    case putCheck(CheckDefinition, configured: Bool)
    case removeService(String)
    case removeCheck(String)

    func stored() throws -> [StoredChange] {
        switch self {
        case .putService(let definition, let parent, let configured):
            let id = definition.effectiveID
            let row = StoredService(definition: Stored(definition), parent: parent, configured: configured)
            return [
                .put(StoredRow(kind: .service, id: id, bytes: try StoredCoding.encode(row))),
                .remove(kind: .removal, id: RemovalKey(isService: true, id: ByteKey(id)).rowID),
            ]
        case .putCheck(let definition, let configured):
            let id = definition.effectiveID
            let row = StoredCheck(definition: Stored(definition), configured: configured)
            return [
                .put(StoredRow(kind: .check, id: id, bytes: try StoredCoding.encode(row))),
                .remove(kind: .removal, id: RemovalKey(isService: false, id: ByteKey(id)).rowID),
            ]
        case .removeService(let id):
            return [.remove(kind: .service, id: id), try LocalChange.removal(isService: true, id: id)]
        case .removeCheck(let id):
            return [
                .remove(kind: .check, id: id), .remove(kind: .checkState, id: id),
                try LocalChange.removal(isService: false, id: id),
            ]
        }
    }

    private static func removal(isService: Bool, id: String) throws -> StoredChange {
        let bytes = try StoredCoding.encode(StoredRemoval(isService: isService, id: id))
        return .put(
            StoredRow(kind: .removal, id: RemovalKey(isService: isService, id: ByteKey(id)).rowID, bytes: bytes))
    }
}

/// What is registered on this machine, by id.
struct Registrations: Sendable {
    var services: [ByteKey: ServiceEntry] = [:]
    var checks: [ByteKey: CheckEntry] = [:]
    /// Deregistered here; the value tells one removal of an id from a later one.
    var removals: [RemovalKey: UInt64] = [:]

    func checks(of service: String) -> [CheckEntry] {
        let key = ByteKey(service)
        return self.checks.values.filter { !$0.row.serviceID.isEmpty && ByteKey($0.row.serviceID) == key }
            .sorted { ByteKey($0.row.id) < ByteKey($1.row.id) }
    }

    /// The checks of each of these services, in order of their ids; "" stands for the node itself.
    func rows(of services: Set<ByteKey>) -> [ByteKey: [LogCheck]] {
        var rows: [ByteKey: [LogCheck]] = [:]
        for entry in self.checks.values {
            let service = ByteKey(entry.row.serviceID)
            if services.contains(service) { rows[service, default: []].append(entry.row) }
        }
        return rows.mapValues { $0.sorted { ByteKey($0.id) < ByteKey($1.id) } }
    }

    func sidecars(of service: String) -> [ServiceEntry] {
        let key = ByteKey(service)
        return self.services.values.filter { !$0.parent.isEmpty && ByteKey($0.parent) == key }
            .sorted { ByteKey($0.row.id) < ByteKey($1.row.id) }
    }

    /// - Throws: `overloaded` when the changes would leave more here than the bounds allow.
    func makeRoom(for changes: [LocalChange], _ settings: LocalAgentSettings) throws(LocalAgentError) {
        var newServices: Set<ByteKey> = []
        var newChecks: Set<ByteKey> = []
        for change in changes {
            switch change {
            case .putService(let definition, _, _): newServices.insert(ByteKey(definition.effectiveID))
            case .putCheck(let definition, _): newChecks.insert(ByteKey(definition.effectiveID))
            case .removeService, .removeCheck: break
            }
        }
        newServices = newServices.filter { self.services[$0] == nil }
        newChecks = newChecks.filter { self.checks[$0] == nil }
        if !newServices.isEmpty, self.services.count + newServices.count > settings.maximumServices {
            throw .overloaded("this agent takes no more than \(settings.maximumServices) services")
        }
        if !newChecks.isEmpty, self.checks.count + newChecks.count > settings.maximumChecks {
            throw .overloaded("this agent takes no more than \(settings.maximumChecks) checks")
        }
    }

    /// Whether `commands` would have something to say; cheaper to ask.
    var hasDue: Bool {
        !self.removals.isEmpty || self.services.values.contains { $0.mark.isDue }
            || self.checks.values.contains { $0.mark.isDue }
    }

    var sortedServices: [ServiceEntry] { self.services.sorted { $0.key < $1.key }.map(\.value) }
    var sortedChecks: [CheckEntry] { self.checks.sorted { $0.key < $1.key }.map(\.value) }
}
