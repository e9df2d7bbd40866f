import GRDBSQLite
import Raft
import Units

extension LogStorage {
    /// Entries `from ... to`, as many as fit into `maxBytes`, at least one where there is one; empty when `from` is no
    /// longer or not yet in the log. Every entry's link is checked: damage is fatal, and the restart quarantines.
    public func entries(from: LogIndex, to: LogIndex, maxBytes: Int) throws(StorageError) -> [Entry] {
        try self.ensureUsable()
        guard from >= self.position.first, from <= self.position.last, from <= to,
            var before = try self.link(at: from.previous)
        else { return [] }
        var entries: [Entry] = []
        var bytes = 0
        var previous = from.previous
        let rows = self.statements.range
        rows.bind(1, from.rawValue)
        rows.bind(2, min(to, self.position.last).rawValue)
        defer { rows.reset() }
        while try self.guarded("reading the log", { () throws(SQLiteFailure) in try rows.step() }) {
            let entry = try self.verify(LogRow(rows), after: previous, &before)
            bytes += entry.payload.byteCount
            if bytes > maxBytes && !entries.isEmpty { break }
            entries.append(entry)
            previous = entry.index
        }
        if entries.isEmpty { throw self.end("entry \(from) can't be read back") }
        return entries
    }

    private func verify(
        _ row: LogRow, after previous: LogIndex, _ link: inout (term: Term, chain: Chain)
    ) throws(StorageError) -> Entry {
        do {
            let (entry, chain) = try row.verified(after: previous, term: link.term, chain: link.chain)
            link = (entry.term, chain)
            return entry
        } catch {
            throw self.end("reading the log: \(error)")
        }
    }

    /// The hash chain at `index`, 16 bytes; nil when the index is neither in the log nor just before it.
    public func chain(at index: LogIndex) throws(StorageError) -> [UInt8]? {
        try self.ensureUsable()
        return try self.link(at: index)?.chain.bytes
    }

    /// The term at `index`; nil when the index is neither in the log nor just before it.
    public func term(at index: LogIndex) throws(StorageError) -> Term? {
        try self.ensureUsable()
        return try self.link(at: index)?.term
    }

    // MARK: - Scrubbing

    public struct ScrubResult: Equatable, Sendable {
        /// Entries that were read and found right.
        public var verified: Int
        /// The log's end was reached; the next call begins at its start again.
        public var finished: Bool

        public init(verified: Int, finished: Bool) {
            self.verified = verified
            self.finished = finished
        }
    }

    /// Reads the next `entries` entries from disk and checks their links. Damage that it meets is fatal, and the
    /// restart quarantines: better now than when the other copies are gone, too.
    public func scrub(entries count: Int) throws(StorageError) -> ScrubResult {
        try self.ensureUsable()
        if self.scrubbed < self.position.first.previous || self.scrubbed >= self.position.last {
            self.scrubbed = self.position.first.previous
        }
        let start = self.scrubbed
        if self.position.isEmpty || count < 1 { return ScrubResult(verified: 0, finished: self.position.isEmpty) }
        let end = min(start.advanced(by: count), self.position.last)
        guard var before = try self.link(at: start) else { throw self.end("entry \(start) can't be read back") }
        let rows = self.statements.range
        rows.bind(1, start.next.rawValue)
        rows.bind(2, end.rawValue)
        defer { rows.reset() }
        while try self.guarded("scrubbing", { () throws(SQLiteFailure) in try rows.step() }) {
            self.scrubbed = try self.verify(LogRow(rows), after: self.scrubbed, &before).index
        }
        if self.scrubbed != end { throw self.end("entry \(self.scrubbed.next) can't be read back") }
        return ScrubResult(verified: end.distance(from: start), finished: end == self.position.last)
    }
}

extension LogStorage {
    /// What SQLite answers for each pragma that matters here, by name: for operators and tests.
    public func pragmas() throws(StorageError) -> [String: String] {
        let file = self.file
        return try self.guarded("reading pragmas") { () throws(SQLiteFailure) in
            var answers: [String: String] = [:]
            for name in [
                "locking_mode", "journal_mode", "synchronous", "wal_autocheckpoint", "secure_delete", "page_size",
                "cache_size",
                "temp_store", "mmap_size", "journal_size_limit", "trusted_schema",
            ] {
                answers[name] = try file.text("PRAGMA \(name)") ?? "0"
            }
            return answers
        }
    }
}
