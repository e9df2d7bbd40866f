import Raft
import Registry
import Units

/// Looks at the snapshots in a directory, for operators, without changing any.
public enum SnapshotInspector {
    public struct Summary: Equatable, Sendable {
        /// Without ending: `snapshot-<index>-<term>`.
        public var name: String
        /// nil when the description is damaged.
        public var meta: SnapshotMeta?
        public var bytes: UInt64
        /// Rows by table, in the order in which they are loaded; empty when the file can't be read.
        public var rows: [TableCount]
        /// Why it can't be used; nil when it can.
        public var flaw: String?
    }

    public struct TableCount: Equatable, Sendable {
        public var table: String
        public var rows: UInt64
    }

    /// All snapshots, newest first; every byte of them is read. `inUse`: a server works with them meanwhile. Then their
    /// SHA-256 must do, for a registry loaded on trial would take the server's memory once more; and one that goes away
    /// while it is looked at is left out.
    public static func summaries(_ store: SnapshotStore, inUse: Bool = false) throws(StorageError) -> [Summary] {
        var summaries: [Summary] = []
        for name in try store.described() {
            let path = store.path(name, "db")
            let size = try store.fileSystem.size(path)
            var summary = Summary(
                name: name, meta: try store.description(name), bytes: size ?? 0, rows: [], flaw: nil)
            if let meta = summary.meta {
                do throws(StorageError) {
                    if inUse { try store.check(path, meta) } else { _ = try store.load(meta) }
                } catch {
                    summary.flaw = "\(error)"
                }
            } else {
                summary.flaw = "its description is damaged"
            }
            if inUse, summary.flaw != nil, try store.fileSystem.size(store.path(name, "meta")) == nil { continue }
            if let rows = try? Self.counts(store, name) { summary.rows = rows }
            summaries.append(summary)
        }
        return summaries
    }

    private static func counts(_ store: SnapshotStore, _ name: String) throws -> [TableCount] {
        let file = try SQLiteFile(
            path: store.path(name, "db"), vfs: store.fileSystem.vfsName, readOnly: true, firstStatements: [])
        return try SnapshotSchema.loadOrder.map { table, _ in
            TableCount(table: table, rows: UInt64(try file.integer("SELECT count(*) FROM \(table)") ?? 0))
        }
    }
}
