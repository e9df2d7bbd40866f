import GRDB
import GRDBSQLite

/// A result code of SQLite's with its message. Extended codes: SQLITE_IOERR_FSYNC and the like.
struct SQLiteFailure: Error {
    var code: CInt
    var message: String

    private var primary: CInt { self.code & 0xFF }
    var isFull: Bool { self.primary == SQLITE_FULL }
    /// Damaged pages, or no database at all.
    var isDamage: Bool { self.primary == SQLITE_CORRUPT || self.primary == SQLITE_NOTADB }
    /// A statement names a table or a column that is not there, or is there already.
    var isForeignSchema: Bool { self.primary == SQLITE_ERROR }
    var isBusy: Bool { self.primary == SQLITE_BUSY || self.primary == SQLITE_LOCKED }
    var isIO: Bool { self.primary == SQLITE_IOERR || self.primary == SQLITE_CANTOPEN }
    var text: String { "SQLite error \(self.code): \(self.message)" }
}

/// One connection to one database file. GRDB opens and owns it; statements run on its handle directly, since the log's
/// append loop must not pay for a queue hop, an authorizer or observers per row.
///
/// Used by one thread at a time, as SQLITE_OPEN_NOMUTEX demands.
final class SQLiteFile {
    let path: String
    let connection: OpaquePointer
    private let queue: DatabaseQueue
    /// Pages in the write-ahead log after the last commit.
    private let walPagesBox = WALPages()
    var walPages: Int {
        get { self.walPagesBox.pages }
        set { self.walPagesBox.pages = newValue }
    }

    private final class WALPages { var pages = 0 }

    /// - Parameter firstStatements: run before anything reads the file (locking mode, page size).
    init(path: String, vfs: String?, readOnly: Bool = false, firstStatements: [String]) throws(SQLiteFailure) {
        var configuration = GRDB.Configuration()
        configuration.readonly = readOnly
        configuration.foreignKeysEnabled = false
        configuration.busyMode = .immediateError
        configuration.label = "serai storage"
        configuration.prepareDatabase { database in
            guard let handle = database.sqliteConnection else { return }
            for sql in firstStatements {
                let code = sqlite3_exec(handle, sql, nil, nil, nil)
                if code != SQLITE_OK {
                    throw SQLiteFailure(code: code, message: String(cString: sqlite3_errmsg(handle)))
                }
            }
        }
        self.path = path
        do {
            let queue = try DatabaseQueue(path: try Self.uri(path, vfs: vfs), configuration: configuration)
            self.queue = queue
            var handle: OpaquePointer?
            queue.inDatabase { handle = $0.sqliteConnection }
            guard let handle else { throw SQLiteFailure(code: SQLITE_CANTOPEN, message: "no connection to \(path)") }
            self.connection = handle
        } catch let failure as SQLiteFailure {
            throw failure
        } catch let error as DatabaseError {
            throw SQLiteFailure(
                code: error.extendedResultCode.rawValue, message: error.message ?? "cannot open \(path)")
        } catch {
            throw SQLiteFailure(code: SQLITE_CANTOPEN, message: "cannot open \(path): \(error)")
        }
        // GRDB's transaction observers are not used on this connection, and its hooks would run once per commit.
        sqlite3_commit_hook(self.connection, nil, nil)
        sqlite3_rollback_hook(self.connection, nil, nil)
    }

    /// A URI names the VFS; a plain path goes as it is.
    private static func uri(_ path: String, vfs: String?) throws(SQLiteFailure) -> String {
        guard let vfs else { return path }
        guard sqlite3_compileoption_used("USE_URI") != 0 else {
            throw SQLiteFailure(
                code: SQLITE_MISUSE, message: "this SQLite is built without USE_URI: a VFS cannot be named")
        }
        var escaped = ""
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += "%" + (digits.count < 2 ? "0" : "") + digits
            }
        }
        return "file:\(escaped)?vfs=\(vfs)"
    }

    func failure(_ code: CInt) -> SQLiteFailure {
        SQLiteFailure(code: code, message: String(cString: sqlite3_errmsg(self.connection)))
    }

    func execute(_ sql: String) throws(SQLiteFailure) {
        let code = sqlite3_exec(self.connection, sql, nil, nil, nil)
        if code != SQLITE_OK { throw self.failure(code) }
    }

    func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        var handle: OpaquePointer?
        // Kept for the connection's life, most of them: SQLite then spends more memory outside its small look-aside.
        let code = sqlite3_prepare_v3(self.connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil)
        guard code == SQLITE_OK, let handle else { throw self.failure(code) }
        return SQLiteStatement(handle: handle, file: self)
    }

    /// The first column of the first row as text; nil when there is no row.
    func text(_ sql: String) throws(SQLiteFailure) -> String? {
        let statement = try self.prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// The first column of the first row; nil when there is no row.
    func integer(_ sql: String) throws(SQLiteFailure) -> Int64? {
        let statement = try self.prepare(sql)
        return try statement.step() ? statement.integer(0) : nil
    }

    /// Sets a pragma and reads it back: SQLite answers an unknown or refused pragma with silence.
    func pragma(_ name: String, _ value: String, expecting expected: String? = nil) throws(SQLiteFailure) {
        _ = try self.text("PRAGMA \(name)=\(value)")
        let got = try self.text("PRAGMA \(name)") ?? ""
        if got.lowercased() != (expected ?? value).lowercased() {
            throw SQLiteFailure(code: SQLITE_MISUSE, message: "pragma \(name) is \(got) after it was set to \(value)")
        }
    }

    var isInTransaction: Bool { sqlite3_get_autocommit(self.connection) == 0 }

    /// From now on `walPages` follows each commit. After `wal_autocheckpoint=0`, which takes the hook away.
    func watchWAL() {
        let box = Unmanaged.passUnretained(self.walPagesBox).toOpaque()
        sqlite3_wal_hook(
            self.connection,
            { context, _, _, pages in
                if let context { Unmanaged<WALPages>.fromOpaque(context).takeUnretainedValue().pages = Int(pages) }
                return SQLITE_OK
            }, box)
    }

    /// Keeps the connection from ever being closed. Closing checkpoints, and after a failed sync nothing more may be
    /// written: the process is about to end.
    func abandon() {
        _ = Unmanaged.passRetained(self.queue)
        _ = Unmanaged.passRetained(self.walPagesBox)
    }
}

/// A prepared statement, made once and run often. `step`, read the columns, `reset`; `run` does all of it.
final class SQLiteStatement {
    private let handle: OpaquePointer
    private let file: SQLiteFile

    init(handle: OpaquePointer, file: SQLiteFile) {
        self.handle = handle
        self.file = file
    }

    deinit { sqlite3_finalize(self.handle) }

    /// True when there is a row to read.
    func step() throws(SQLiteFailure) -> Bool {
        let code = sqlite3_step(self.handle)
        if code == SQLITE_ROW { return true }
        if code == SQLITE_DONE { return false }
        let failure = self.file.failure(code)
        self.reset()
        throw failure
    }

    func run() throws(SQLiteFailure) {
        while try self.step() {}
        self.reset()
    }

    func reset() {
        sqlite3_reset(self.handle)
        sqlite3_clear_bindings(self.handle)
    }

    // MARK: - Parameters, counted from 1

    func bind(_ position: CInt, _ value: Int64) { sqlite3_bind_int64(self.handle, position, value) }
    func bind(_ position: CInt, _ value: UInt64) { sqlite3_bind_int64(self.handle, position, Int64(bitPattern: value)) }
    func bind(_ position: CInt, _ value: UInt64?) {
        if let value { self.bind(position, value) } else { sqlite3_bind_null(self.handle, position) }
    }
    func bind(_ position: CInt, _ value: Bool) { self.bind(position, Int64(value ? 1 : 0)) }

    /// Not copied: `bytes` must stay where it is until the statement is reset.
    func bindPinned(_ position: CInt, _ bytes: UnsafeRawBufferPointer) {
        if let base = bytes.baseAddress, bytes.count > 0 {
            sqlite3_bind_blob64(self.handle, position, base, UInt64(bytes.count), nil)
        } else {
            sqlite3_bind_zeroblob(self.handle, position, 0)
        }
    }

    func bind(_ position: CInt, _ bytes: [UInt8]) {
        if bytes.isEmpty {
            sqlite3_bind_zeroblob(self.handle, position, 0)
        } else {
            _ = bytes.withUnsafeBytes {
                sqlite3_bind_blob64(self.handle, position, $0.baseAddress, UInt64($0.count), Self.transient)
            }
        }
    }

    func bind(_ position: CInt, _ text: String) {
        var text = text
        text.withUTF8 { self.bind(position, utf8: UnsafeRawBufferPointer($0)) }
    }

    /// Text whose bytes are known to be UTF-8.
    func bind(_ position: CInt, utf8 bytes: [UInt8]) {
        bytes.withUnsafeBytes { self.bind(position, utf8: $0) }
    }

    private func bind(_ position: CInt, utf8 bytes: UnsafeRawBufferPointer) {
        bytes.withMemoryRebound(to: CChar.self) {
            // Nothing may have no base address, and a null pointer would bind NULL.
            if let base = $0.baseAddress {
                _ = sqlite3_bind_text64(
                    self.handle, position, base, UInt64($0.count), Self.transient, UInt8(SQLITE_UTF8))
            } else {
                _ = sqlite3_bind_text64(self.handle, position, "", 0, Self.transient, UInt8(SQLITE_UTF8))
            }
        }
    }

    /// Tells SQLite to copy what is bound.
    private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    // MARK: - Columns, counted from 0

    func isNull(_ column: CInt) -> Bool { sqlite3_column_type(self.handle, column) == SQLITE_NULL }
    func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(self.handle, column) }
    func unsigned(_ column: CInt) -> UInt64 { UInt64(bitPattern: sqlite3_column_int64(self.handle, column)) }
    func bool(_ column: CInt) -> Bool { self.integer(column) != 0 }

    func bytes(_ column: CInt) -> [UInt8] {
        // The pointer first, then the size: the other way round a conversion may move the bytes.
        guard let base = sqlite3_column_blob(self.handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: base, count: Int(sqlite3_column_bytes(self.handle, column))))
    }

    func text(_ column: CInt) -> String {
        guard let base = sqlite3_column_text(self.handle, column) else { return "" }
        let count = Int(sqlite3_column_bytes(self.handle, column))
        return String(decoding: UnsafeRawBufferPointer(start: base, count: count), as: UTF8.self)
    }
}
