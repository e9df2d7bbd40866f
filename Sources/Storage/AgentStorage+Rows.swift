import Units

/// Rows of the agent's own making, by kind and id; their bytes are kept as they are.
extension AgentStorage {
    public struct StoredRow: Equatable, Sendable {
        public var kind: String
        public var id: String
        public var bytes: [UInt8]

        public init(kind: String, id: String, bytes: [UInt8]) {
            self.kind = kind
            self.id = id
            self.bytes = bytes
        }
    }

    public enum RowChange: Equatable, Sendable {
        case put(StoredRow)
        case remove(kind: String, id: String)
    }

    private static let rowsTable =
        "CREATE TABLE IF NOT EXISTS rows(kind TEXT NOT NULL, id BLOB NOT NULL, json BLOB NOT NULL, PRIMARY KEY(kind,id)) WITHOUT ROWID"

    /// By kind, then in bytewise order of their ids.
    public func rows() throws(StorageError) -> [StoredRow] {
        do {
            try self.file.execute(Self.rowsTable)
            let statement = try self.file.prepare("SELECT kind,id,json FROM rows ORDER BY kind,id")
            var rows: [StoredRow] = []
            while try statement.step() {
                rows.append(
                    StoredRow(
                        kind: statement.text(0), id: String(decoding: statement.bytes(1), as: UTF8.self),
                        bytes: statement.bytes(2)))
            }
            return rows
        } catch {
            throw Self.error(error, "reading rows")
        }
    }

    /// All of them or none, in order.
    public func apply(_ changes: [RowChange]) throws(StorageError) {
        do {
            try self.file.execute("BEGIN IMMEDIATE")
            try self.file.execute(Self.rowsTable)
            let put = try self.file.prepare("INSERT OR REPLACE INTO rows(kind,id,json) VALUES(?1,?2,?3)")
            let remove = try self.file.prepare("DELETE FROM rows WHERE kind=?1 AND id=?2")
            for change in changes {
                switch change {
                case .put(let row):
                    put.bind(1, row.kind)
                    put.bind(2, Array(row.id.utf8))
                    put.bind(3, row.bytes)
                    try put.run()
                case .remove(let kind, let id):
                    remove.bind(1, kind)
                    remove.bind(2, Array(id.utf8))
                    try remove.run()
                }
            }
            try self.file.execute("COMMIT")
        } catch {
            if self.file.isInTransaction {
                do { try self.file.execute("ROLLBACK") } catch { throw Self.error(error, "rolling back") }
            }
            throw Self.error(error, "storing rows")
        }
    }
}
