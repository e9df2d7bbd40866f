import Cluster
import HTTPAPI
import LocalAgent
import NIOCore
import Protocol
import Registry
import Storage
import Units

// What one room asks for and another has, put together.

/// The local agent's rows in `local.db`.
final class LocalStore: LocalStateStore {
    private let thread: BlockingThread
    private let box: Box

    // Sendable by confinement: the storage is used on the thread alone.
    private final class Box: @unchecked Sendable {
        var storage: AgentStorage?
    }

    private init(_ thread: BlockingThread, _ box: Box) {
        self.thread = thread
        self.box = box
    }

    static func open(directory: String) async throws -> LocalStore {
        let thread = BlockingThread(name: "serai-local")
        let box = Box()
        try await thread.run { box.storage = try AgentStorage(directory: directory) }
        return LocalStore(thread, box)
    }

    /// Closes the file; nothing is stored afterwards.
    func close() async {
        let box = self.box
        try? await self.thread.run { box.storage = nil }
        self.thread.close()
    }

    func load() async throws -> [StoredRow] {
        let box = self.box
        return try await self.thread.run {
            guard let storage = box.storage else { throw ClusterError.shuttingDown }
            return try storage.rows().compactMap { row in
                StoredRow.Kind(rawValue: row.kind).map { StoredRow(kind: $0, id: row.id, bytes: row.bytes) }
            }
        }
    }

    func apply(_ changes: [StoredChange]) async throws {
        let box = self.box
        let rows = changes.map { change -> AgentStorage.RowChange in
            switch change {
            case .put(let row): .put(.init(kind: row.kind.rawValue, id: row.id, bytes: row.bytes))
            case .remove(let kind, let id): .remove(kind: kind.rawValue, id: id)
            }
        }
        try await self.thread.run {
            guard let storage = box.storage else { throw ClusterError.shuttingDown }
            try storage.apply(rows)
        }
    }
}

/// A server reads its own registry.
struct ServerCatalog: CatalogReader {
    let server: Server

    func node(_ name: String) async throws -> CatalogNode? {
        let registry = try await self.server.view(.default, timeout: .seconds(10)).registry
        guard let found = registry.nodeServices(name).value else { return nil }
        return CatalogNode(
            node: found.node.message, services: found.services.map(\.message),
            checks: registry.checks(onNode: name).value.map(\.message))
    }
}

/// An agent asks its server.
struct AgentCatalog: CatalogReader {
    let link: AgentLink

    func node(_ name: String) async throws -> CatalogNode? {
        let answer = try await self.link.nodeCatalog(name)
        return answer.found ? CatalogNode(node: answer.node, services: answer.services, checks: answer.checks) : nil
    }
}

struct ServerSnapshots: SnapshotAccess {
    let server: Server

    func save(stale: Bool) async throws(ClusterError) -> SnapshotArchive {
        let backup = try await self.server.backup(stale: stale)
        return SnapshotArchive(
            index: backup.index.rawValue,
            bytes: BodyStream { try await backup.next().map { ByteBuffer(bytes: $0) } })
    }

    func restore(_ archive: BodyStream) async throws(ClusterError) {
        try await self.server.restore { try await archive.next().map { Array($0.readableBytesView) } }
    }
}

struct NoSnapshots: SnapshotAccess {
    func save(stale: Bool) async throws(ClusterError) -> SnapshotArchive { throw .notAServer }
    func restore(_ archive: BodyStream) async throws(ClusterError) { throw .notAServer }
}

struct ServerDebug: DebugAccess {
    let server: Server

    func log(from: LogIndex?, count: Int) async throws(ClusterError) -> LogLook {
        try await self.server.lookAtLog(from: from, count: count)
    }

    func snapshots() async throws(ClusterError) -> [SnapshotLook] { try await self.server.lookAtSnapshots() }
}
