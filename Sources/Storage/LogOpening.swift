import GRDBSQLite
import Raft
import Units

/// Opening `raft.db` and the promise beside it, in the order that makes every crash in between harmless:
/// promise, its directory entry, database, its directory entry, schema.
struct LogOpening {
    let directory: String
    let settings: StorageSettings
    let fileSystem: any FileSystem
    let promiseFile: PromiseFile
    var promise = Promise()
    var findings: [String] = []
    var mustQuarantine = false

    struct Opened {
        var file: SQLiteFile
        var statements: LogStatements
    }

    init(directory: String, settings: StorageSettings, fileSystem: any FileSystem, promiseFile: PromiseFile) {
        self.directory = directory
        self.settings = settings
        self.fileSystem = fileSystem
        self.promiseFile = promiseFile
    }

    private var path: String { "\(self.directory)/raft.db" }
    static var sqliteVersion: String { String(cString: sqlite3_libversion()) }

    mutating func open() throws(StorageError) -> Opened {
        let hasDatabase = try self.fileSystem.size(self.path) != nil
        try self.openPromise(hasDatabase: hasDatabase)
        if !hasDatabase && !self.promise.isBlank {
            self.suspect("raft.db is missing, though entries up to \(self.promise.index) were promised")
        }
        if hasDatabase { try self.judgeLog() }
        do {
            return try self.openDatabase(isNew: !hasDatabase)
        } catch {
            switch error {
            case .refused(let error): throw error
            case .damaged(let text):
                self.suspect("raft.db can't be read: \(text)")
            }
        }
        return try self.openAnew()
    }

    private mutating func judgeLog() throws(StorageError) {
        let log = self.path + "-wal"
        switch try WALCheck(log, self.fileSystem).verdict() {
        case .sound: return
        case .damaged(let finding): self.suspect(finding)
        case .headless:
            // For SQLite it is empty, and everything in it is in the database: that was compared.
            try self.fileSystem.remove(log)
            try self.fileSystem.syncDirectory(self.directory)
        }
    }

    /// Opens an empty database after putting the old one aside.
    mutating func openAnew() throws(StorageError) -> Opened {
        try self.setAside()
        do { return try self.openDatabase(isNew: true) } catch {
            switch error {
            case .refused(let error): throw error
            case .damaged(let text): throw .fatal("a new raft.db can't be read: \(text)")
            }
        }
    }

    private mutating func suspect(_ finding: String) {
        self.findings.append(finding)
        self.mustQuarantine = true
    }

    private mutating func openPromise(hasDatabase: Bool) throws(StorageError) {
        switch try self.promiseFile.read() {
        case .promise(let promise): self.promise = promise
        case .absent:
            if hasDatabase { self.suspect("the file promise is missing beside raft.db") }
            self.promise = Promise()
            if self.mustQuarantine { self.promise.quarantinedUntil = LogIndex(1) }
            try self.promiseFile.create(self.promise)
        case .damaged:
            // Without a database this is a first start that was cut off: the promise is made durable before raft.db is.
            if hasDatabase { self.suspect("both slots of the file promise are damaged") }
            self.promise = Promise()
            if self.mustQuarantine { self.promise.quarantinedUntil = LogIndex(1) }
            try self.promiseFile.create(self.promise)
        }
    }

    /// Moves the damaged database out of the way, for whoever wants to look at it. The quarantine is durable first.
    private mutating func setAside() throws(StorageError) {
        self.promise.sequence += 1
        self.promise.quarantinedUntil = max(
            self.promise.quarantinedUntil ?? .zero, max(self.promise.index, LogIndex(1)))
        try self.promiseFile.write(self.promise)
        for suffix in ["-wal", "-shm", "-journal", ""] where try self.exists(self.path + suffix) {
            try self.fileSystem.rename(self.path + suffix, to: self.path + ".damaged" + suffix)
        }
        try self.fileSystem.syncDirectory(self.directory)
    }

    private func exists(_ path: String) throws(StorageError) -> Bool { try self.fileSystem.size(path) != nil }

    private enum OpenError: Error {
        case damaged(String)
        case refused(StorageError)
    }

    private func openDatabase(isNew: Bool) throws(OpenError) -> Opened {
        do {
            return try self.openConnection(isNew: isNew)
        } catch let failure as SQLiteFailure {
            if failure.isDamage { throw .damaged(failure.text) }
            if failure.isBusy { throw .refused(.locked(directory: self.directory, owner: "another SQLite connection")) }
            if failure.isFull { throw .refused(.diskFull) }
            throw .refused(.fatal("opening raft.db: \(failure.text)"))
        } catch let error as StorageError {
            throw .refused(error)
        } catch {
            throw .refused(.fatal("opening raft.db: \(error)"))
        }
    }

    private func openConnection(isNew: Bool) throws -> Opened {
        // EXCLUSIVE before anything reads: then the index of the write-ahead log lives on the heap, there is no shared
        // memory file, and a second connection is turned away. One connection per file is also what keeps versions
        // before 3.51.3 clear of the bug where two connections checkpoint at once and lose transactions.
        let file = try SQLiteFile(
            path: self.path, vfs: self.fileSystem.vfsName,
            firstStatements: ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA page_size=4096"])
        let format = Int(try file.integer("PRAGMA user_version") ?? 0)
        if format > LogStorage.format {
            throw StorageError.newerFormat(file: self.path, found: format, supported: LogStorage.format)
        }
        try self.setPragmas(file)
        do {
            if isNew || format == 0 { try self.makeSchema(file, isNew: isNew) }
            file.watchWAL()
            return Opened(file: file, statements: try LogStatements(file))
        } catch let failure as SQLiteFailure where failure.isForeignSchema && !isNew {
            // The format is ours and the tables are not: a bit has flipped in their text, which no checksum covers.
            throw SQLiteFailure(code: SQLITE_CORRUPT, message: failure.message)
        }
    }

    /// Every pragma is read back: SQLite ignores what it doesn't know.
    private func setPragmas(_ file: SQLiteFile) throws {
        try file.pragma("locking_mode", "exclusive")
        try file.pragma("journal_mode", "wal")
        try file.pragma("synchronous", "FULL", expecting: "2")
        try file.pragma("wal_autocheckpoint", "0")
        try file.pragma("secure_delete", "OFF", expecting: "0")
        try file.pragma("page_size", "4096")
        try file.pragma("cache_size", "-\(self.settings.cacheBytes.rawValue / 1024)")
        try file.pragma("temp_store", "MEMORY", expecting: "2")
        // Memory mapping turns an I/O error into a signal; a VFS without it answers nothing, which is as good as 0.
        _ = try file.text("PRAGMA mmap_size=0")
        let mapped = try file.text("PRAGMA mmap_size") ?? "0"
        if mapped != "0" { throw SQLiteFailure(code: SQLITE_MISUSE, message: "pragma mmap_size is \(mapped), not 0") }
        try file.pragma("journal_size_limit", "\(self.settings.walBytesMax.rawValue)")
        try file.pragma("trusted_schema", "OFF", expecting: "0")
        #if canImport(Darwin)
        try file.pragma("fullfsync", "ON", expecting: "1")
        try file.pragma("checkpoint_fullfsync", "ON", expecting: "1")
        #endif
    }

    private func makeSchema(_ file: SQLiteFile, isNew: Bool) throws {
        // A database without our tables is one whose first transaction was lost in a crash, or one that lost
        // everything; the promise tells which, in `recover`.
        try self.fileSystem.syncDirectory(self.directory)
        try file.execute("BEGIN IMMEDIATE")
        for sql in LogStatements.schema { try file.execute(sql) }
        try file.execute("PRAGMA user_version=\(LogStorage.format)")
        try file.execute("PRAGMA application_id=\(LogStorage.applicationID)")
        let base = try file.prepare(LogStatements.insertBase)
        base.bind(1, UInt64(1))
        base.bind(2, UInt64(0))
        base.bind(3, Chain.start.bytes)
        base.bind(4, LogStatements.baseSum(first: LogIndex(1), term: .zero, chain: .start))
        try base.run()
        let hard = try file.prepare(LogStatements.insertHard)
        hard.bind(1, UInt64(0))
        hard.bind(2, nil as UInt64?)
        hard.bind(3, UInt64(0))
        hard.bind(4, LogStatements.hardSum(HardState(), hint: .zero))
        try hard.run()
        try file.execute("COMMIT")
        // The name of the write-ahead log, too, must survive.
        try self.fileSystem.syncDirectory(self.directory)
    }
}
