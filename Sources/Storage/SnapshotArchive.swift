import Raft
import Registry
import Units

extension SnapshotStore {
    /// The file of a snapshot in this directory, for whoever wants to copy it whole.
    public func path(of meta: SnapshotMeta) -> String { self.path(Self.name(meta), "db") }

    /// A registry from a snapshot's file that came without its description, as a backup does. SQLite's own structure,
    /// the format and the number of rows are checked.
    ///
    /// - Throws: `.corrupt` when it is no snapshot or a damaged one.
    public func readArchive(_ path: String) throws(StorageError) -> Registry {
        let index: LogIndex
        do {
            let file = try SQLiteFile(
                path: path, vfs: self.fileSystem.vfsName, readOnly: true, firstStatements: ["PRAGMA trusted_schema=OFF"]
            )
            guard try file.integer("PRAGMA application_id") == Int64(SnapshotSchema.applicationID) else {
                throw StorageError.corrupt("it is not a snapshot")
            }
            index = LogIndex(UInt64(max(0, try file.integer("SELECT value FROM snapshot WHERE key='index'") ?? 0)))
        } catch let failure as SQLiteFailure {
            throw failure.isIO ? .fatal("reading a snapshot: \(failure.text)") : .corrupt(failure.text)
        } catch let error as StorageError {
            throw error
        } catch {
            throw .corrupt("\(error)")
        }
        try self.checkStructure(path)
        let described = SnapshotMeta(
            index: index, term: .zero, configuration: .empty, configurationIndex: .zero, totalBytes: 0, sha256: [],
            chain: [])
        return try self.registry(from: path, described)
    }
}
