import Raft
import Units

/// The log's schema and the statements that the append loop runs, prepared once.
final class LogStatements {
    let begin, commit, rollback: SQLiteStatement
    let insert, truncate, range, linkAt, deleteThrough: SQLiteStatement
    let writeHard, writeBase, writeIdentity: SQLiteStatement

    /// A rowid table: the index is the rowid, appends go to the rightmost leaf without a search, and a row may fill a
    /// page (a table without rowid would cap it at a quarter).
    ///
    /// - `log.chain`: see `Chain`. `log.hint`: the commit index when the row was written, with a check of its own in
    ///   the
    ///   low 16 bits, on the last row of a batch: so it costs no page of its own.
    /// - `base`: what stands before the first row. `hard`: term and vote. Both carry a checksum over their fields.
    static let schema = [
        """
        CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL, chain BLOB NOT NULL,
          data BLOB NOT NULL, hint INTEGER)
        """,
        """
        CREATE TABLE base(id INTEGER PRIMARY KEY CHECK(id=1), first_idx INTEGER NOT NULL, term_before INTEGER NOT NULL,
          chain_before BLOB NOT NULL, sum INTEGER NOT NULL)
        """,
        """
        CREATE TABLE hard(id INTEGER PRIMARY KEY CHECK(id=1), term INTEGER NOT NULL, vote INTEGER, commit_hint INTEGER
          NOT NULL, sum INTEGER NOT NULL)
        """,
        "CREATE TABLE identity(id INTEGER PRIMARY KEY CHECK(id=1), node TEXT NOT NULL, cluster TEXT NOT NULL)",
        "CREATE TABLE bootstrap(id INTEGER PRIMARY KEY CHECK(id=1), promise BLOB NOT NULL, sum INTEGER NOT NULL)",
    ]
    static let insertBase = "INSERT INTO base(id,first_idx,term_before,chain_before,sum) VALUES(1,?1,?2,?3,?4)"
    static let insertHard = "INSERT INTO hard(id,term,vote,commit_hint,sum) VALUES(1,?1,?2,?3,?4)"
    static let rows = "SELECT idx,term,kind,chain,data,hint FROM log"

    init(_ file: SQLiteFile) throws(SQLiteFailure) {
        // Of every table something is prepared, so that one whose text is damaged is found now.
        _ = try file.prepare("SELECT promise,sum FROM bootstrap")
        self.begin = try file.prepare("BEGIN IMMEDIATE")
        self.commit = try file.prepare("COMMIT")
        self.rollback = try file.prepare("ROLLBACK")
        self.insert = try file.prepare("INSERT INTO log(idx,term,kind,chain,data,hint) VALUES(?1,?2,?3,?4,?5,?6)")
        self.truncate = try file.prepare("DELETE FROM log WHERE idx>=?1")
        self.range = try file.prepare("\(Self.rows) WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx")
        self.linkAt = try file.prepare("SELECT term,chain FROM log WHERE idx=?1")
        self.deleteThrough = try file.prepare("DELETE FROM log WHERE idx<=?1")
        self.writeHard = try file.prepare(
            "INSERT OR REPLACE INTO hard(id,term,vote,commit_hint,sum) VALUES(1,?1,?2,?3,?4)")
        self.writeIdentity = try file.prepare("INSERT OR REPLACE INTO identity(id,node,cluster) VALUES(1,?1,?2)")
        self.writeBase = try file.prepare(
            "INSERT OR REPLACE INTO base(id,first_idx,term_before,chain_before,sum) VALUES(1,?1,?2,?3,?4)")
    }

    func append(_ entry: Entry, after chain: Chain, hint: LogIndex?) throws(SQLiteFailure) -> Chain {
        let kind = EntryCoding.kind(of: entry.payload)
        let data = EntryCoding.data(of: entry.payload)
        var link = chain
        var outcome: Result<Void, SQLiteFailure> = .success(())
        data.withUnsafeBytes { bytes in
            link = chain.link(index: entry.index, term: entry.term, kind: kind, data: bytes)
            link.withBytes { linkBytes in
                self.insert.bind(1, entry.index.rawValue)
                self.insert.bind(2, entry.term.rawValue)
                self.insert.bind(3, Int64(kind))
                self.insert.bindPinned(4, linkBytes)
                self.insert.bindPinned(5, bytes)
                if let hint { self.insert.bind(6, Self.packHint(hint, at: entry.index)) }
                do throws(SQLiteFailure) { try self.insert.run() } catch { outcome = .failure(error) }
            }
        }
        try outcome.get()
        return link
    }

    func write(_ state: HardState, hint: LogIndex) throws(SQLiteFailure) {
        self.writeHard.bind(1, state.term.rawValue)
        self.writeHard.bind(2, state.vote?.rawValue)
        self.writeHard.bind(3, hint.rawValue)
        self.writeHard.bind(4, Self.hardSum(state, hint: hint))
        try self.writeHard.run()
    }

    func writeBase(_ position: LogPosition) throws(SQLiteFailure) {
        self.writeBase.bind(1, position.first.rawValue)
        self.writeBase.bind(2, position.termBefore.rawValue)
        self.writeBase.bind(3, position.chainBefore.bytes)
        self.writeBase.bind(
            4, Self.baseSum(first: position.first, term: position.termBefore, chain: position.chainBefore))
        try self.writeBase.run()
    }

    func write(_ identity: Identity) throws(SQLiteFailure) {
        self.writeIdentity.bind(1, identity.node)
        self.writeIdentity.bind(2, identity.cluster)
        try self.writeIdentity.run()
    }

    /// Term and link of the entry at `index`; nil when it is not there.
    func link(at index: LogIndex) throws(SQLiteFailure) -> (term: Term, chain: Chain)? {
        self.linkAt.bind(1, index.rawValue)
        defer { self.linkAt.reset() }
        guard try self.linkAt.step() else { return nil }
        guard let chain = Chain(self.linkAt.bytes(1)) else { return nil }
        return (Term(self.linkAt.unsigned(0)), chain)
    }

    // MARK: - Checksums of the small rows

    static func hardSum(_ state: HardState, hint: LogIndex) -> Int64 {
        var writer = ByteWriter()
        writer.put(state.term.rawValue)
        writer.put(UInt8(state.vote == nil ? 0 : 1))
        writer.put(state.vote?.rawValue ?? 0)
        writer.put(hint.rawValue)
        return Int64(CRC32C.checksum(writer.bytes))
    }

    static func baseSum(first: LogIndex, term: Term, chain: Chain) -> Int64 {
        var writer = ByteWriter()
        writer.put(first.rawValue)
        writer.put(term.rawValue)
        writer.put(raw: chain.bytes)
        return Int64(CRC32C.checksum(writer.bytes))
    }

    /// The commit index in the upper 48 bits, a check over it and the row's own index in the lower 16.
    static func packHint(_ hint: LogIndex, at index: LogIndex) -> Int64 {
        Int64(bitPattern: hint.rawValue << 16 | UInt64(Self.hintCheck(hint.rawValue, index)))
    }

    /// nil when the check fails: a wrong commit index would apply entries that nobody has committed.
    static func unpackHint(_ packed: UInt64, at index: LogIndex) -> LogIndex? {
        let hint = packed >> 16
        return packed & 0xFFFF == UInt64(Self.hintCheck(hint, index)) ? LogIndex(hint) : nil
    }

    private static func hintCheck(_ hint: UInt64, _ index: LogIndex) -> UInt16 {
        var writer = ByteWriter()
        writer.put(hint)
        writer.put(index.rawValue)
        return UInt16(truncatingIfNeeded: CRC32C.checksum(writer.bytes))
    }
}
