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

    /// Reads the next `entries` entries from disk and checks their links. Damage that it meets is fatal, and the restart
    /// quarantines: better now than when the other copies are gone, too.
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

    // MARK: - Identity

    /// Stores who this server is, in `raft.db` and in the promise; durable when it returns.
    public func setIdentity(_ identity: Identity) throws(StorageError) {
        try self.ensureUsable()
        guard identity.node.utf8.count <= 128, identity.cluster.utf8.count <= 128 else {
            throw .invalid("node and cluster ids are at most 128 bytes long")
        }
        let statements = self.statements
        try self.transaction("storing the identity") { () throws(SQLiteFailure) in try statements.write(identity) }
        self.identity = identity
        try self.write(self.currentPromise())
    }

    /// Stores what was promised to a founder; durable when it returns. Refused in quarantine: a server that has lost its
    /// disk may have promised something else before.
    public func setBootstrapPromise(_ promise: BootstrapPromise) throws(StorageError) {
        try self.ensureUsable()
        if let mark = self.quarantinedUntil { throw .invalid("in quarantine until \(mark): no bootstrap promise") }
        let file = self.file
        try self.transaction("storing the bootstrap promise") { () throws(SQLiteFailure) in
            let row = try file.prepare("INSERT OR REPLACE INTO bootstrap(id,founder,ballot,configuration) VALUES(1,?1,?2,?3)")
            row.bind(1, promise.founder.rawValue)
            row.bind(2, promise.ballot)
            row.bind(3, EntryCoding.encode(promise.configuration))
            try row.run()
        }
        self.bootstrapPromise = promise
    }

    func loadIdentity() throws(StorageError) {
        do {
            let row = try self.file.prepare("SELECT node,cluster FROM identity WHERE id=1")
            if try row.step() { self.identity = Identity(node: row.text(0), cluster: row.text(1)) }
            let bootstrap = try self.file.prepare("SELECT founder,ballot,configuration FROM bootstrap WHERE id=1")
            if try bootstrap.step(), let configuration = EntryCoding.decodeConfiguration(bootstrap.bytes(2)) {
                self.bootstrapPromise = BootstrapPromise(
                    founder: NodeID(bootstrap.unsigned(0)), ballot: bootstrap.unsigned(1), configuration: configuration)
            }
        } catch {
            // Damaged pages: `recover` meets them too, and says so.
            if !error.isDamage { throw self.fail(error, "reading the identity") }
        }
        // A flipped bit must not make this server somebody else.
        if let identity, !self.promise.node.isEmpty, identity.node != self.promise.node || identity.cluster != self.promise.cluster {
            self.openingFindings.append("raft.db and promise name different servers: \(identity.node), \(self.promise.node)")
            self.mustQuarantine = true
        }
    }
}
