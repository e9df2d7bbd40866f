import Units

/// What an agent keeps on its own disk: the services and checks that were registered with it, and the checks' last
/// results. One SQLite file, `local.db`. Every call is durable when it returns.
///
/// Used by one thread.
public final class AgentStorage {
    let file: SQLiteFile
    private let lock: any FileLock
    private let putRow: [Table: SQLiteStatement]
    private let removeRow: [Table: SQLiteStatement]
    private let putState: SQLiteStatement
    private let removeState: SQLiteStatement

    private enum Table: String, CaseIterable {
        case services
        case checks
    }

    /// A registration in the form in which the agent wrote it: JSON.
    public struct Registration: Equatable, Sendable {
        public var id: String
        public var json: [UInt8]

        public init(id: String, json: [UInt8]) {
            self.id = id
            self.json = json
        }
    }

    /// A check's last result.
    public struct CheckState: Equatable, Sendable {
        public var id: String
        public var status: String
        public var output: String
        /// When a TTL check's result runs out, nanoseconds since 1970; 0 for never.
        public var expires: UInt64

        public init(id: String, status: String, output: String, expires: UInt64) {
            self.id = id
            self.status = status
            self.output = output
            self.expires = expires
        }
    }

    public static let format = 1

    /// - Throws: `.locked` when another agent has the directory, `.newerFormat`, `.corrupt` when the file is damaged
    ///   (it
    ///   may be deleted: whoever registered registers again).
    public init(directory: String, fileSystem: any FileSystem = PosixFileSystem()) throws(StorageError) {
        try fileSystem.createDirectory(directory)
        self.lock = try fileSystem.lock("\(directory)/local.lock")
        let path = "\(directory)/local.db"
        do {
            let isNew = try fileSystem.size(path) == nil
            let file = try SQLiteFile(
                path: path, vfs: fileSystem.vfsName,
                firstStatements: ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA page_size=4096"])
            let format = Int(try file.integer("PRAGMA user_version") ?? 0)
            if format > Self.format {
                throw StorageError.newerFormat(file: path, found: format, supported: Self.format)
            }
            try file.pragma("journal_mode", "wal")
            try file.pragma("synchronous", "FULL", expecting: "2")
            try file.pragma("trusted_schema", "OFF", expecting: "0")
            if format == 0 {
                try file.execute("BEGIN IMMEDIATE")
                try file.execute("CREATE TABLE services(id TEXT PRIMARY KEY, json NOT NULL)")
                try file.execute("CREATE TABLE checks(id TEXT PRIMARY KEY, json NOT NULL)")
                try file.execute(
                    """
                    CREATE TABLE check_state(id TEXT PRIMARY KEY, status TEXT NOT NULL, output TEXT NOT NULL,
                      expires INTEGER NOT NULL)
                    """)
                try file.execute("PRAGMA user_version=\(Self.format)")
                try file.execute("COMMIT")
            }
            if isNew { try fileSystem.syncDirectory(directory) }
            var puts: [Table: SQLiteStatement] = [:]
            var removals: [Table: SQLiteStatement] = [:]
            for table in Table.allCases {
                puts[table] = try file.prepare("INSERT OR REPLACE INTO \(table.rawValue)(id,json) VALUES(?1,?2)")
                removals[table] = try file.prepare("DELETE FROM \(table.rawValue) WHERE id=?1")
            }
            self.putRow = puts
            self.removeRow = removals
            self.putState = try file.prepare(
                "INSERT OR REPLACE INTO check_state(id,status,output,expires) VALUES(?1,?2,?3,?4)")
            self.removeState = try file.prepare("DELETE FROM check_state WHERE id=?1")
            self.file = file
        } catch let failure as SQLiteFailure {
            throw Self.error(failure, "opening local.db")
        } catch let error as StorageError {
            throw error
        } catch {
            throw .fatal("opening local.db: \(error)")
        }
    }

    // MARK: - Services and checks

    public func putService(_ service: Registration) throws(StorageError) { try self.put(.services, service) }
    public func putCheck(_ check: Registration) throws(StorageError) { try self.put(.checks, check) }
    /// Fine when there is none.
    public func removeService(_ id: String) throws(StorageError) { try self.remove(.services, id) }
    /// Fine when there is none; its last result goes, too.
    public func removeCheck(_ id: String) throws(StorageError) {
        try self.remove(.checks, id)
        try self.removeCheckState(id)
    }
    /// In bytewise order of their ids.
    public func services() throws(StorageError) -> [Registration] { try self.all(.services) }
    public func checks() throws(StorageError) -> [Registration] { try self.all(.checks) }

    private func put(_ table: Table, _ row: Registration) throws(StorageError) {
        guard let statement = self.putRow[table] else { return }
        statement.bind(1, row.id)
        if let text = String(validating: row.json, as: UTF8.self) {
            statement.bind(2, text)
        } else {
            statement.bind(2, row.json)
        }
        try self.run(statement, "storing a registration")
    }

    private func remove(_ table: Table, _ id: String) throws(StorageError) {
        guard let statement = self.removeRow[table] else { return }
        statement.bind(1, id)
        try self.run(statement, "removing a registration")
    }

    private func all(_ table: Table) throws(StorageError) -> [Registration] {
        do {
            let statement = try self.file.prepare("SELECT id,json FROM \(table.rawValue) ORDER BY id")
            var rows: [Registration] = []
            while try statement.step() { rows.append(Registration(id: statement.text(0), json: statement.bytes(1))) }
            return rows
        } catch {
            throw Self.error(error, "reading \(table.rawValue)")
        }
    }

    // MARK: - Results

    public func putCheckState(_ state: CheckState) throws(StorageError) {
        self.putState.bind(1, state.id)
        self.putState.bind(2, state.status)
        self.putState.bind(3, state.output)
        self.putState.bind(4, state.expires)
        try self.run(self.putState, "storing a check's result")
    }

    public func removeCheckState(_ id: String) throws(StorageError) {
        self.removeState.bind(1, id)
        try self.run(self.removeState, "removing a check's result")
    }

    /// In bytewise order of their ids.
    public func checkStates() throws(StorageError) -> [CheckState] {
        do {
            let statement = try self.file.prepare("SELECT id,status,output,expires FROM check_state ORDER BY id")
            var states: [CheckState] = []
            while try statement.step() {
                states.append(
                    CheckState(
                        id: statement.text(0), status: statement.text(1), output: statement.text(2),
                        expires: statement.unsigned(3)))
            }
            return states
        } catch {
            throw Self.error(error, "reading check_state")
        }
    }

    private func run(_ statement: SQLiteStatement, _ action: String) throws(StorageError) {
        do { try statement.run() } catch { throw Self.error(error, action) }
    }

    static func error(_ failure: SQLiteFailure, _ action: String) -> StorageError {
        if failure.isFull { return .diskFull }
        if failure.isDamage { return .corrupt("local.db, \(action): \(failure.text)") }
        return .fatal("\(action): \(failure.text)")
    }
}
