import Raft
import Units

/// The Raft log and the hard state in one SQLite file, `raft.db`, with the file `promise` beside it as a witness.
///
/// Used by one thread. No threads, no clock and no randomness inside: the same calls on the same disk do the same.
///
/// Durability: what `commit` returns from is on disk (one transaction, one fdatasync). Reads see it at once.
///
/// Errors: every failure of the disk but a full one ends this object (`StorageError.fatal`), since after a failed sync
/// nobody knows what is on disk: the kernel forgets the pages, and the transaction that SQLite called rolled back may
/// be there after a restart. The process ends too and finds out by reading again.
public final class LogStorage {
    public let directory: String
    public let settings: StorageSettings
    let fileSystem: any FileSystem
    let promiseFile: PromiseFile
    private let lock: any FileLock

    private(set) var file: SQLiteFile
    private(set) var statements: LogStatements
    var promise: Promise
    /// What has been found wrong while opening; `recover` goes on with it.
    var openingFindings: [String]
    var mustQuarantine: Bool
    var isRecovered = false

    /// The log as committed; see `LogPosition`.
    var position = LogPosition()
    var hardState = HardState()
    var commitHint = LogIndex.zero
    /// Transactions that `commit` has written.
    public internal(set) var commits: UInt64 = 0
    public internal(set) var identity: Identity?
    public internal(set) var bootstrapPromise: BootstrapPromise?
    /// How far `scrub` has got.
    var scrubbed = LogIndex.zero
    /// Why this object refuses to work; nil while it works.
    private(set) var broken: String?

    public static let format = 1
    /// "SERA", SQLite's application id of our files.
    static let applicationID = 0x5345_5241

    /// Opens the directory, making it when there is none; `recover` must be called next.
    public init(
        directory: String, settings: StorageSettings = StorageSettings(), fileSystem: any FileSystem = PosixFileSystem()
    ) throws(StorageError) {
        if let complaint = settings.complaint { throw .invalid(complaint) }
        self.directory = directory
        self.settings = settings
        self.fileSystem = fileSystem
        try fileSystem.createDirectory(directory)
        self.lock = try fileSystem.lock("\(directory)/lock")
        self.promiseFile = PromiseFile(path: "\(directory)/promise", fileSystem: fileSystem)

        var opening = LogOpening(
            directory: directory, settings: settings, fileSystem: fileSystem, promiseFile: self.promiseFile)
        let opened = try opening.open()
        self.file = opened.file
        self.statements = opened.statements
        self.promise = opening.promise
        self.openingFindings = opening.findings
        self.mustQuarantine = opening.mustQuarantine
        try self.loadIdentity()
        if settings.reserveBytes > ByteCount(0) { _ = self.hasRoom() }
    }

    /// Puts a database with damaged pages aside and opens an empty one.
    func replaceDatabase() throws(StorageError) {
        var opening = LogOpening(
            directory: self.directory, settings: self.settings, fileSystem: self.fileSystem,
            promiseFile: self.promiseFile)
        opening.promise = self.promise
        // Closing the old connection would remove the write-ahead log by its name, which will be the new one's.
        self.file.abandon()
        let opened = try opening.openAnew()
        self.promise = opening.promise
        self.file = opened.file
        self.statements = opened.statements
    }

    deinit {
        // A real process ends after a fatal error; until then nothing may checkpoint behind its back. A simulated disk
        // is crashed by whoever simulates, and then refuses this connection's writes itself.
        if self.broken != nil && self.fileSystem.vfsName == nil { self.file.abandon() }
    }

    // MARK: - What the log holds

    /// The first entry on disk, or the index that the next entry gets when there is none.
    public var firstIndex: LogIndex { self.position.first }
    public var lastIndex: LogIndex { self.position.last }
    public var lastTerm: Term { self.position.lastTerm }
    /// Set while this server holds less than it once promised: it may neither vote nor count in a quorum.
    public var quarantinedUntil: LogIndex? { self.promise.quarantinedUntil }
    /// Pages of 4 KiB in the write-ahead log.
    public var walPages: Int { self.file.walPages }
    /// The version of the SQLite library in use, say "3.40.1".
    public static var sqliteVersion: String { LogOpening.sqliteVersion }

    // MARK: - Errors

    func ensureUsable() throws(StorageError) {
        if let broken = self.broken { throw .fatal("refused after an earlier failure: \(broken)") }
        if !self.isRecovered { throw .invalid("recover() must be called before the log is used") }
    }

    /// Turns SQLite's failure into this room's, and ends the object unless the disk is only full.
    func fail(_ failure: SQLiteFailure, _ action: String) -> StorageError {
        if failure.isFull { return .diskFull }
        return self.end("\(action): \(failure.text)")
    }

    func end(_ reason: String) -> StorageError {
        if self.broken == nil { self.broken = reason }
        return .fatal(reason)
    }

    /// Runs what reads or writes outside a transaction.
    func guarded<Result>(_ action: String, _ body: () throws(SQLiteFailure) -> Result) throws(StorageError) -> Result {
        do { return try body() } catch { throw self.fail(error, action) }
    }

    /// Runs `body` in one transaction: one fdatasync, all or nothing. On a full disk it is rolled back, and what the
    /// object remembers is as before, provided that `body` changes none of it.
    func transaction(_ action: String, _ body: () throws(SQLiteFailure) -> Void) throws(StorageError) {
        do {
            try self.statements.begin.run()
            try body()
            try self.statements.commit.run()
        } catch {
            if self.file.isInTransaction {
                do { try self.statements.rollback.run() } catch {
                    throw self.end("\(action), rolling back: \(error.text)")
                }
            }
            if error.isFull { try self.makeRoom() }
            throw self.fail(error, action)
        }
    }

    /// After a full disk: gives the reserve up and moves the write-ahead log into the database, so that the little
    /// writes that remain (a vote, a truncation, a compaction) find room.
    private func makeRoom() throws(StorageError) {
        let reserve = "\(self.directory)/reserve"
        if self.settings.reserveBytes > ByteCount(0) {
            do { try self.fileSystem.remove(reserve) } catch  where error == .diskFull {}
        }
        do { try self.checkpoint() } catch  where error == .diskFull {}
    }

    /// Whether the disk has room (again): the reserve is there, or could be filled with as much to spare, so that a
    /// server does not go back and forth. Cheap when the reserve is there.
    public func hasRoom() -> Bool {
        let reserve = "\(self.directory)/reserve"
        let probe = "\(self.directory)/reserve.tmp"
        let wanted = UInt64(self.settings.reserveBytes.rawValue)
        if wanted == 0 { return true }
        do throws(StorageError) {
            if try self.fileSystem.size(reserve) == wanted { return true }
            try self.fileSystem.reserve(reserve, bytes: wanted)
            try self.fileSystem.reserve(probe, bytes: wanted)
            try self.fileSystem.remove(probe)
            return true
        } catch {
            // Half a reserve would only take what the log may need.
            for path in [probe, reserve] {
                do throws(StorageError) { try self.fileSystem.remove(path) } catch { continue }
            }
            return false
        }
    }
}

/// Where the log begins and ends.
struct LogPosition: Equatable {
    /// Index of the first entry on disk, or of the next one when there is none.
    var first = LogIndex(1)
    /// Term and link just before `first`.
    var termBefore = Term.zero
    var chainBefore = Chain.start
    /// Equals `first.previous` when the log is empty.
    var last = LogIndex.zero
    var lastTerm = Term.zero
    var lastChain = Chain.start

    var isEmpty: Bool { self.last < self.first }

    /// An empty log that goes on after `index`.
    static func empty(after index: LogIndex, term: Term, chain: Chain) -> LogPosition {
        LogPosition(
            first: index.next, termBefore: term, chainBefore: chain, last: index, lastTerm: term, lastChain: chain)
    }
}

/// Who this server is: made once with its data directory.
public struct Identity: Equatable, Sendable {
    /// The node's UUID, 36 characters; `NodeID` is its first eight bytes.
    public var node: String
    public var cluster: String

    public init(node: String, cluster: String) {
        self.node = node
        self.cluster = cluster
    }
}

/// What this server has promised to whoever founds the cluster, before there is a log.
public struct BootstrapPromise: Equatable, Sendable {
    public var founder: NodeID
    public var ballot: UInt64
    public var configuration: Configuration

    public init(founder: NodeID, ballot: UInt64, configuration: Configuration) {
        self.founder = founder
        self.ballot = ballot
        self.configuration = configuration
    }
}
