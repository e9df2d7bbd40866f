import Raft
import Units

/// One row of the table `log`, as it stands there.
struct LogRow {
    var index: LogIndex
    var term: Term
    var kind: Int64
    var chain: [UInt8]
    var data: [UInt8]
    var hint: UInt64?

    init(_ statement: SQLiteStatement) {
        self.index = LogIndex(statement.unsigned(0))
        self.term = Term(statement.unsigned(1))
        self.kind = statement.integer(2)
        self.chain = statement.bytes(3)
        self.data = statement.bytes(4)
        self.hint = statement.isNull(5) ? nil : statement.unsigned(5)
    }

    enum Flaw: Error, Equatable {
        case damaged(String)
        /// The link is right, so this is what was written: by a version that knows more.
        case unknownKind(LogIndex, UInt8)
    }

    /// The entry with its link, when the row is what follows `previous` and `chain` and its own link is right.
    func verified(after previous: LogIndex, term: Term, chain: Chain) throws(Flaw) -> (entry: Entry, link: Chain) {
        if self.index != previous.next { throw .damaged("entry \(previous.next) is missing") }
        guard let kind = UInt8(exactly: self.kind) else { throw .damaged("entry \(self.index) has kind \(self.kind)") }
        let link = self.data.withUnsafeBytes { chain.link(index: self.index, term: self.term, kind: kind, data: $0) }
        if Chain(self.chain) != link { throw .damaged("the checksum of entry \(self.index) is wrong") }
        if self.term < term { throw .damaged("the term falls at entry \(self.index)") }
        guard let payload = EntryCoding.payload(kind: kind, data: self.data) else {
            throw .unknownKind(self.index, kind)
        }
        return (Entry(term: self.term, index: self.index, payload: payload), link)
    }
}

/// What a pass over the log has found so far.
struct LogScan {
    var findings: [String]
    /// Something is lost or can't be trusted.
    private(set) var isQuarantined: Bool
    /// Rows, base or hard state must be written anew.
    private(set) var mustRewrite: Bool
    /// Even the database's own structure is damaged: rows can't be deleted one by one.
    private(set) var pagesDamaged = false
    /// False from the first flaw on.
    private(set) var isSound = true

    private(set) var position = LogPosition()
    var hardState = HardState()
    var hint = LogIndex.zero
    private(set) var termRuns: [RestoredState.TermRun] = []
    private(set) var configurations: [(index: LogIndex, configuration: Configuration)] = []
    /// The highest index that was seen in the file, sound or not.
    var highestSeen = LogIndex.zero

    /// The newest entries, from `tailStart` on.
    private var entries: [Entry] = []
    private var tailStart = 0
    private var tailBytes = 0
    var tail: [Entry] { Array(self.entries[self.tailStart...]) }

    /// Indexes whose links are wanted, and the links found.
    private let watched: [LogIndex]
    private var links: [LogIndex: Chain] = [:]

    init(findings: [String], mustQuarantine: Bool, watched: [LogIndex]) {
        self.findings = findings
        self.isQuarantined = mustQuarantine
        self.mustRewrite = mustQuarantine
        self.watched = watched
    }

    /// The link at a watched index or just before the log; nil when the log does not reach there.
    func link(at index: LogIndex) -> Chain? {
        index == self.position.first.previous ? self.position.chainBefore : self.links[index]
    }

    func term(at index: LogIndex) -> Term? {
        if index == self.position.first.previous { return self.position.termBefore }
        if index > self.position.last { return nil }
        return self.termRuns.last { $0.first <= index }?.term
    }

    // MARK: - Findings

    /// Something is lost or can't be trusted.
    mutating func damage(_ finding: String) {
        self.findings.append(finding)
        self.isQuarantined = true
        self.mustRewrite = true
    }

    mutating func damagePages(_ finding: String) {
        self.pagesDamaged = true
        self.isSound = false
        self.begin(LogPosition())
        self.damage(finding)
    }

    mutating func loseBase(_ finding: String) {
        self.isSound = false
        self.begin(LogPosition())
        self.damage(finding)
    }

    /// Term and vote fall back to the promise's copy, which was written with every vote. Where even that may be older,
    /// a vote for nobody keeps this server from voting twice in the term it knows.
    mutating func loseHardState(_ finding: String, _ promise: Promise) {
        self.hardState = HardState(term: promise.hardTerm, vote: promise.vote ?? NodeID.none)
        self.damage(finding)
    }

    /// The term is at least that of the log's last entry.
    mutating func raiseTerm(to term: Term) {
        self.hardState = HardState(term: term, vote: NodeID.none)
    }

    // MARK: - The pass

    mutating func begin(_ position: LogPosition) {
        self.position = position
        self.termRuns = []
        self.configurations = []
        self.entries = []
        self.tailStart = 0
        self.tailBytes = 0
        self.links = [:]
    }

    /// The log begins anew after the snapshot: it does not hold the snapshot's last entry.
    mutating func restart(after snapshot: SnapshotMeta, _ chain: Chain) {
        self.begin(.empty(after: snapshot.index, term: snapshot.term, chain: chain))
        self.mustRewrite = true
    }

    /// Takes the next row; entries up to `snapshot` are kept in memory only as far as `bytes` allows.
    mutating func take(_ row: LogRow, snapshot: LogIndex, tailBytes bytes: Int) throws(StorageError) {
        self.highestSeen = max(self.highestSeen, row.index)
        let entry: Entry
        let link: Chain
        do {
            (entry, link) = try row.verified(
                after: self.position.last, term: self.position.lastTerm, chain: self.position.lastChain)
        } catch {
            switch error {
            case .damaged(let text):
                self.isSound = false
                return self.damage(text)
            case .unknownKind(let index, let kind):
                throw .newerFormat(
                    file: "raft.db, entry \(index)", found: Int(kind), supported: Int(EntryCoding.configuration))
            }
        }
        if self.termRuns.last?.term != entry.term { self.termRuns.append(.init(first: entry.index, term: entry.term)) }
        if case .configuration(let configuration) = entry.payload {
            self.configurations.append((entry.index, configuration))
        }
        if self.watched.contains(entry.index) { self.links[entry.index] = link }
        if let packed = row.hint, let hint = LogStatements.unpackHint(packed, at: entry.index) {
            self.hint = max(self.hint, hint)
        }
        self.position.last = entry.index
        self.position.lastTerm = entry.term
        self.position.lastChain = link
        self.keep(entry, snapshot: snapshot, bytes: bytes)
    }

    private mutating func keep(_ entry: Entry, snapshot: LogIndex, bytes: Int) {
        self.entries.append(entry)
        self.tailBytes += entry.payload.byteCount
        while self.tailStart < self.entries.count, self.entries[self.tailStart].index <= snapshot,
            self.tailBytes - self.entries[self.tailStart].payload.byteCount >= bytes
        {
            self.tailBytes -= self.entries[self.tailStart].payload.byteCount
            self.tailStart += 1
        }
        if self.tailStart > 4096 && self.tailStart > self.entries.count / 2 {
            self.entries.removeFirst(self.tailStart)
            self.tailStart = 0
        }
    }
}
