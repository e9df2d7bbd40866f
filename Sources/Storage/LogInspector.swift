import Raft
import Units

/// Looks at a server's data directory without changing it, for operators: `raft.db`, its write-ahead log and the
/// promise are copied to a scratch directory first, so that even a read-only copy of the directory will do.
///
/// Nothing is repaired and nothing recovered: what is damaged is shown as such. Used by one thread.
public final class LogInspector {
    private let file: SQLiteFile
    private let scratchFiles: [String]
    private let fileSystem = PosixFileSystem()
    private let promise: PromiseFile.Content
    private let walVerdict: WALCheck.Verdict

    public struct Summary: Equatable, Sendable {
        public var format: Int
        public var identity: Identity?
        public var hardState: HardState
        /// Whether the row of term and vote has the right checksum.
        public var hardStateIsSound: Bool
        public var firstIndex: LogIndex
        public var lastIndex: LogIndex
        public var entryCount: UInt64
        /// The high-water mark; nil when the file `promise` is missing or damaged.
        public var promisedIndex: LogIndex?
        public var quarantinedUntil: LogIndex?
        /// The first thing that is wrong, a sentence each; empty when every entry's checksum is right and the promise
        /// kept.
        public var findings: [String]
    }

    public struct EntryView: Equatable, Sendable {
        public var index: LogIndex
        public var term: Term
        /// 0 no-op, 1 command, 2 configuration.
        public var kind: Int64
        public var data: [UInt8]
        /// nil when the kind is unknown.
        public var payload: Payload?
        public var chain: [UInt8]
    }

    /// - Parameters:
    ///   - directory: where `raft.db` is.
    ///   - scratch: an empty directory that this may fill; its files are removed at the end.
    /// - Throws: `.locked` while a server runs on the directory, since a copy would then be torn.
    public init(directory: String, scratch: String) throws(StorageError) {
        let files = self.fileSystem
        guard try files.size("\(directory)/raft.db") != nil else {
            throw .invalid("there is no raft.db in \(directory)")
        }
        let held: (any FileLock)?
        do { held = try files.lock("\(directory)/lock") } catch {
            if case .locked = error { throw error }
            // On a read-only copy there is nothing to lock, and nobody to keep out.
            held = nil
        }
        try files.createDirectory(scratch)
        var copies: [String] = []
        for name in ["raft.db", "raft.db-wal"] {
            guard let size = try files.size("\(directory)/\(name)") else { continue }
            let copy = "\(scratch)/\(name)"
            try Self.copy("\(directory)/\(name)", to: copy, size, files)
            copies.append(copy)
        }
        withExtendedLifetime(held) {}
        self.walVerdict = try WALCheck("\(scratch)/raft.db-wal", files).verdict()
        self.promise = try PromiseFile(path: "\(directory)/promise", fileSystem: files).read()
        do {
            self.file = try SQLiteFile(
                path: "\(scratch)/raft.db", vfs: nil,
                firstStatements: ["PRAGMA locking_mode=EXCLUSIVE", "PRAGMA trusted_schema=OFF"])
        } catch {
            throw .corrupt(error.text)
        }
        self.scratchFiles = copies
    }

    deinit {
        for path in self.scratchFiles { try? self.fileSystem.remove(path) }
    }

    private static func copy(_ from: String, to: String, _ size: UInt64, _ files: PosixFileSystem) throws(StorageError)
    {
        var offset: UInt64 = 0
        try files.remove(to)
        try files.write(to, at: 0, [])
        while offset < size {
            let piece = try files.read(from, at: offset, count: 1 << 20)
            if piece.isEmpty { break }
            try files.write(to, at: offset, piece)
            offset += UInt64(piece.count)
        }
    }

    /// Reads the whole log and checks every link.
    public func summary() throws(StorageError) -> Summary {
        do {
            let format = Int(try self.file.integer("PRAGMA user_version") ?? 0)
            if format > LogStorage.format {
                throw StorageError.newerFormat(file: "raft.db", found: format, supported: LogStorage.format)
            }
            var summary = Summary(
                format: format, identity: nil, hardState: HardState(), hardStateIsSound: false, firstIndex: LogIndex(1),
                lastIndex: .zero, entryCount: 0, promisedIndex: nil, quarantinedUntil: nil, findings: [])
            if case .damaged(let finding) = self.walVerdict { summary.findings.append(finding) }
            try self.readSmallRows(&summary)
            let last = try self.readLog(&summary)
            self.comparePromise(&summary, last)
            return summary
        } catch let failure as SQLiteFailure {
            throw .corrupt(failure.text)
        } catch let error as StorageError {
            throw error
        } catch {
            throw .corrupt("\(error)")
        }
    }

    private func readSmallRows(_ summary: inout Summary) throws {
        let who = try self.file.prepare("SELECT node,cluster FROM identity")
        if try who.step() { summary.identity = Identity(node: who.text(0), cluster: who.text(1)) }
        let hard = try self.file.prepare("SELECT term,vote,commit_hint,sum FROM hard")
        if try hard.step() {
            summary.hardState = HardState(
                term: Term(hard.unsigned(0)), vote: hard.isNull(1) ? nil : NodeID(hard.unsigned(1)))
            summary.hardStateIsSound =
                hard.integer(3) == LogStatements.hardSum(summary.hardState, hint: LogIndex(hard.unsigned(2)))
        }
        if !summary.hardStateIsSound { summary.findings.append("the row of term and vote is damaged or missing") }
    }

    /// Returns links by index, as far as they are sound: the one that the promise speaks of.
    private func readLog(_ summary: inout Summary) throws -> Chain? {
        let base = try self.file.prepare("SELECT first_idx,term_before,chain_before FROM base")
        guard try base.step(), let start = Chain(base.bytes(2)) else {
            summary.findings.append("the row of the log's beginning is damaged or missing")
            return nil
        }
        var promised: LogIndex?
        if case .promise(let promise) = self.promise { promised = promise.index }
        var (previous, term, chain) = (LogIndex(base.unsigned(0)).previous, Term(base.unsigned(1)), start)
        summary.firstIndex = previous.next
        var atPromise: Chain? = promised == previous ? chain : nil
        var isSound = true
        let rows = try self.file.prepare("\(LogStatements.rows) ORDER BY idx")
        while try rows.step() {
            let row = LogRow(rows)
            summary.entryCount += 1
            summary.lastIndex = row.index
            guard isSound else { continue }
            do throws(LogRow.Flaw) {
                let (entry, link) = try row.verified(after: previous, term: term, chain: chain)
                (previous, term, chain) = (entry.index, entry.term, link)
                if promised == previous { atPromise = chain }
            } catch {
                isSound = false
                switch error {
                case .damaged(let text): summary.findings.append(text)
                case .unknownKind(let index, let kind):
                    summary.findings.append("entry \(index) has the unknown kind \(kind)")
                }
            }
        }
        if summary.entryCount == 0 { summary.lastIndex = previous }
        return atPromise
    }

    private func comparePromise(_ summary: inout Summary, _ link: Chain?) {
        switch self.promise {
        case .absent: summary.findings.append("the file promise is missing")
        case .damaged: summary.findings.append("the file promise is damaged")
        case .promise(let promise):
            summary.promisedIndex = promise.index
            summary.quarantinedUntil = promise.quarantinedUntil
            if promise.index > summary.lastIndex {
                summary.findings.append(
                    "entries up to \(promise.index) were acknowledged, the log ends at \(summary.lastIndex)")
            } else if promise.index >= summary.firstIndex.previous, link != promise.chain {
                summary.findings.append("entry \(promise.index) is not the one that was acknowledged")
            }
        }
    }

    /// Entries `from ... to` as they stand there, sound or not; `limit` at most.
    public func entries(from: LogIndex, to: LogIndex, limit: Int) throws(StorageError) -> [EntryView] {
        do {
            let rows = try self.file.prepare("\(LogStatements.rows) WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx")
            rows.bind(1, Int64(clamping: from.rawValue))
            rows.bind(2, Int64(clamping: to.rawValue))
            var entries: [EntryView] = []
            while entries.count < limit, try rows.step() {
                let row = LogRow(rows)
                let payload = UInt8(exactly: row.kind).flatMap { EntryCoding.payload(kind: $0, data: row.data) }
                entries.append(
                    EntryView(
                        index: row.index, term: row.term, kind: row.kind, data: row.data, payload: payload,
                        chain: row.chain))
            }
            return entries
        } catch {
            throw .corrupt(error.text)
        }
    }
}
