import Raft
import Units

/// A few servers that do nothing by themselves: a test or a scenario says what happens, in which order, and sees everything
/// that comes out. Each server has a clock of its own, so that one can time out while the others still hear a leader.
final class Stage {
    struct Disk {
        var hardState = HardState()
        var snapshot: SnapshotMeta?
        var entries: [Entry] = []
        var firstIndex = LogIndex(1)
        var termBeforeFirst = Term.zero
        var waiting: [PersistBatch] = []
        var received: (meta: SnapshotMeta, bytes: UInt64)?
        var quarantinedUntil: LogIndex?
        /// How many of the newest entries `restored()` hands over; all when nil.
        var tailCount: Int?
        var lastIndex: LogIndex { self.entries.last?.index ?? self.firstIndex.previous }

        init() {}

        /// Entry 1 is the configuration, of term 1; commands of the given terms follow.
        init(_ configuration: Configuration, terms: [UInt64] = [], term: UInt64? = nil, vote: UInt64? = nil) {
            self.entries = [Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration))]
            for (position, value) in terms.enumerated() {
                let index = LogIndex(UInt64(position + 2))
                self.entries.append(
                    Entry(term: Term(value), index: index, payload: .command(Array("\(index).\(value)".utf8))))
            }
            self.hardState = HardState(term: Term(term ?? max(1, terms.last ?? 1)), vote: vote.map { NodeID($0) })
        }

        func restored() -> RestoredState {
            var restored = RestoredState()
            restored.hardState = self.hardState
            restored.snapshot = self.snapshot
            restored.firstIndex = self.firstIndex
            restored.lastIndex = self.lastIndex
            restored.termBeforeFirst = self.termBeforeFirst
            restored.quarantinedUntil = self.quarantinedUntil
            for entry in self.entries {
                if restored.termRuns.last?.term != entry.term {
                    restored.termRuns.append(RestoredState.TermRun(first: entry.index, term: entry.term))
                }
                if case .configuration(let configuration) = entry.payload {
                    restored.configurations.append((entry.index, configuration))
                }
            }
            restored.tail = Array(self.entries.suffix(self.tailCount ?? self.entries.count))
            return restored
        }

        mutating func write(_ batch: PersistBatch) {
            if let from = batch.truncateFrom { self.entries.removeAll { $0.index >= from } }
            for entry in batch.entries {
                precondition(entry.index == self.lastIndex.next, "\(entry.index) written after \(self.lastIndex)")
                self.entries.append(entry)
            }
            if let hardState = batch.hardState { self.hardState = hardState }
        }

        mutating func compact(through index: LogIndex) {
            guard let entry = self.entries.first(where: { $0.index == index }) else { return }
            self.termBeforeFirst = entry.term
            self.firstIndex = index.next
            self.entries.removeAll { $0.index <= index }
        }
    }

    var settings = RaftSettings()
    private(set) var nodes: [UInt64: RaftNode] = [:]
    var disks: [UInt64: Disk] = [:]
    private(set) var ids: [UInt64] = []
    private(set) var clocks: [UInt64: UInt64] = [:]
    private(set) var down: Set<UInt64> = []
    /// Servers that neither send nor receive.
    var isolated: Set<UInt64> = []
    /// Servers whose disk answers only when told.
    var slowDisks: Set<UInt64> = []
    var mail: [Message] = []
    private(set) var lines: [String] = []
    private(set) var applied: [UInt64: [Entry]] = [:]
    private var token: UInt64 = 0
    private var starts: UInt64 = 0

    init() { self.settings.snapshotChunkBytes = ByteCount(16) }

    /// Voters with a log that holds their configuration only.
    convenience init(voters: [UInt64], learners: [UInt64] = []) {
        self.init()
        let configuration = Configuration(voters: voters.map(Self.member), learners: learners.map(Self.member))
        for id in voters + learners { self.start(id, Disk(configuration)) }
    }

    static func member(_ id: UInt64) -> Member { Member(id: NodeID(id), name: "s\(id)") }
    static func voters(_ ids: [UInt64]) -> Configuration { Configuration(voters: ids.map(Self.member)) }

    subscript(_ id: UInt64) -> RaftNode {
        guard let node = self.nodes[id] else { preconditionFailure("no server \(id)") }
        return node
    }

    func instant(_ id: UInt64) -> Instant { Instant(nanoseconds: self.clocks[id] ?? 0) }

    // MARK: - Life

    func start(_ id: UInt64, _ disk: Disk = Disk()) {
        var disk = disk
        disk.waiting = []
        disk.received = nil
        self.disks[id] = disk
        self.down.remove(id)
        self.starts += 1
        if !self.ids.contains(id) { self.ids.append(id) }
        self.applied[id] = []
        self.nodes[id] = RaftNode(
            id: NodeID(id), settings: self.settings, restored: disk.restored(), seed: id &* 7919 &+ self.starts,
            now: self.instant(id))
    }

    func crash(_ id: UInt64) {
        self.down.insert(id)
        self.disks[id]?.waiting = []
    }

    func restart(_ id: UInt64) { self.start(id, self.disks[id] ?? Disk()) }

    // MARK: - Steps

    /// Hands in these inputs, flushes, obeys; returns everything that came out, also of what followed from it.
    @discardableResult
    func step(_ id: UInt64, _ inputs: Input...) -> [Directive] { self.step(id, inputs) }

    @discardableResult
    func step(_ id: UInt64, _ inputs: [Input]) -> [Directive] {
        guard !self.down.contains(id), self.nodes[id] != nil else { return [] }
        var all: [Directive] = []
        var inputs = inputs
        while !inputs.isEmpty {
            var directives: [Directive] = []
            for input in inputs { self.nodes[id]?.step(input, at: self.instant(id), into: &directives) }
            self.nodes[id]?.flush(at: self.instant(id), into: &directives)
            inputs = []
            for directive in directives {
                self.lines.append("\(id) " + Rendering.text(directive))
                inputs += self.obey(directive, id)
            }
            if !self.slowDisks.contains(id) { inputs += self.write(id, .max) }
            all += directives
        }
        return all
    }

    /// Makes up to `count` waiting batches durable.
    private func write(_ id: UInt64, _ count: Int) -> [Input] {
        guard let waiting = self.disks[id]?.waiting, !waiting.isEmpty, count > 0 else { return [] }
        let batches = waiting.prefix(count)
        for batch in batches { self.disks[id]?.write(batch) }
        self.disks[id]?.waiting.removeFirst(batches.count)
        return batches.map { .persisted(batch: $0.id) }
    }

    @discardableResult
    func persist(_ id: UInt64, _ count: Int = .max) -> [Directive] { self.step(id, self.write(id, count)) }

    private func obey(_ directive: Directive, _ id: UInt64) -> [Input] {
        switch directive {
        case .persist(let batch): self.disks[id]?.waiting.append(batch)
        case .send(let message):
            if !self.isolated.contains(id), !self.isolated.contains(message.to.rawValue) { self.mail.append(message) }
        case .apply(let entries):
            self.applied[id, default: []] += entries
            if let last = entries.last { return [.applied(last.index)] }
        case .fetchEntries(let peer, let from, let to, _):
            let found = self.disks[id]?.entries.filter { $0.index >= from && $0.index <= to } ?? []
            return [.entriesFetched(peer: peer, from: from, entries: found)]
        case .readSnapshotChunk(let peer, let meta, let offset, let maxBytes):
            let size = min(UInt64(maxBytes), meta.totalBytes - min(offset, meta.totalBytes))
            let isThere = self.disks[id]?.snapshot == meta
            return [
                .snapshotChunkRead(
                    peer: peer, meta: meta, offset: offset,
                    data: isThere ? [UInt8](repeating: 7, count: Int(size)) : nil,
                    checksum: 0, isLast: offset + size == meta.totalBytes)
            ]
        case .storeSnapshotChunk(let chunk, let from):
            var bytes: UInt64 = 0
            if let received = self.disks[id]?.received, received.meta == chunk.meta { bytes = received.bytes }
            if chunk.offset == bytes { bytes += UInt64(chunk.data.count) }
            self.disks[id]?.received = (chunk.meta, bytes)
            return [.snapshotChunkStored(meta: chunk.meta, nextOffset: bytes, from: from)]
        case .installSnapshot(let meta, let from):
            let written = self.write(id, .max)
            self.install(meta, id)
            return written + [.snapshotInstalled(meta: meta, succeeded: true, from: from)]
        case .proposed, .proposalRefused, .readReady, .readRefused, .membershipChanged, .membershipRefused,
            .transferDone,
            .transferRefused, .trace:
            break
        }
        return []
    }

    private func install(_ meta: SnapshotMeta, _ id: UInt64) {
        let agrees = self.disks[id]?.entries.contains { $0.index == meta.index && $0.term == meta.term } ?? false
        if agrees {
            self.disks[id]?.compact(through: meta.index)
        } else {
            self.disks[id]?.entries = []
            self.disks[id]?.firstIndex = meta.index.next
            self.disks[id]?.termBeforeFirst = meta.term
        }
        self.disks[id]?.snapshot = meta
        self.disks[id]?.received = nil
    }

    // MARK: - What happens

    /// Time passes on these servers, unnoticed by them.
    func wait(_ ids: [UInt64], milliseconds: UInt64) {
        for id in ids { self.clocks[id, default: 0] += milliseconds * 1_000_000 }
    }

    /// Time runs until the server's next deadline: an election timeout, or a leader's heartbeat.
    @discardableResult
    func timeout(_ id: UInt64) -> [Directive] {
        self.clocks[id] = max(self.clocks[id] ?? 0, self[id].nextDeadline.rawValue)
        return self.step(id, .tick)
    }

    func nextToken() -> UInt64 {
        self.token += 1
        return self.token
    }

    @discardableResult
    func propose(_ id: UInt64, _ text: String...) -> [Directive] {
        self.step(id, .propose(token: self.nextToken(), payloads: text.map { Array($0.utf8) }))
    }

    @discardableResult
    func read(_ id: UInt64) -> [Directive] { self.step(id, .readIndex(token: self.nextToken())) }

    @discardableResult
    func change(_ id: UInt64, add: [UInt64] = [], promote: [UInt64] = [], remove: [UInt64] = []) -> [Directive] {
        let change = MembershipChange(
            addLearners: add.map(Self.member), promote: promote.map { NodeID($0) }, remove: remove.map { NodeID($0) })
        return self.step(id, .changeMembership(token: self.nextToken(), change))
    }

    @discardableResult
    func receive(_ id: UInt64, from: UInt64, term: UInt64, _ body: Message.Body) -> [Directive] {
        self.step(id, .message(Message(from: NodeID(from), to: NodeID(id), term: Term(term), body: body)))
    }

    /// A snapshot of everything applied; the log goes up to `through`.
    func takeSnapshot(_ id: UInt64, through: LogIndex? = nil) {
        let node = self[id]
        let index = node.appliedIndex
        guard let entry = self.disks[id]?.entries.first(where: { $0.index == index }) else { return }
        let (configuration, at) = node.configuration(at: index)
        let meta = SnapshotMeta(
            index: index, term: entry.term, configuration: configuration, configurationIndex: at, totalBytes: 40,
            sha256: [UInt8(id & 0xFF)], chain: [])
        self.disks[id]?.snapshot = meta
        let end = through ?? index
        self.disks[id]?.compact(through: end)
        self.step(id, .snapshotTaken(meta: meta, compactedTo: end))
    }

    // MARK: - The network

    /// Delivers what matches and was on its way when this was called.
    func deliver(from: UInt64? = nil, to: UInt64? = nil, count: Int = .max) {
        var left = count
        var kept: [Message] = []
        let due = self.mail
        self.mail = []
        for message in due {
            if left > 0, from.map({ $0 == message.from.rawValue }) ?? true,
                to.map({ $0 == message.to.rawValue }) ?? true
            {
                left -= 1
                self.hand(message)
            } else {
                kept.append(message)
            }
        }
        self.mail = kept + self.mail
    }

    func hand(_ message: Message) {
        let to = message.to.rawValue
        if self.isolated.contains(to) || self.isolated.contains(message.from.rawValue) || self.nodes[to] == nil {
            return
        }
        self.step(to, .message(message))
    }

    func drop(from: UInt64? = nil, to: UInt64? = nil) {
        self.mail.removeAll { message in
            (from.map { $0 == message.from.rawValue } ?? true) && (to.map { $0 == message.to.rawValue } ?? true)
        }
    }

    /// Until nothing is on its way any more.
    func settle() {
        var rounds = 0
        while !self.mail.isEmpty {
            rounds += 1
            precondition(rounds < 2000, "messages without end")
            self.deliver()
        }
    }

    /// A campaign that nobody's lease holds back, and all that follows.
    func elect(_ id: UInt64) {
        for other in self.ids { self.wait([other], milliseconds: 3000) }
        self.timeout(id)
        self.settle()
    }

    /// A heartbeat and all that follows.
    func beat(_ id: UInt64) {
        self.timeout(id)
        self.settle()
    }

    func note(_ text: String) { self.lines.append(text) }
    func forgetLines() { self.lines = [] }
}

extension [Directive] {
    var messages: [Message] {
        self.compactMap { if case .send(let message) = $0 { message } else { nil } }
    }
    var appendAnswers: [Message.AppendResponse] {
        self.messages.compactMap { if case .appendResponse(let answer) = $0.body { answer } else { nil } }
    }
    var appends: [Message.Append] {
        self.messages.compactMap { if case .append(let append) = $0.body { append } else { nil } }
    }
    /// Granted or refused, of a real vote.
    var votes: [Bool] {
        self.messages.compactMap { if case .voteResponse(let granted, false) = $0.body { granted } else { nil } }
    }
    var preVotes: [Bool] {
        self.messages.compactMap { if case .voteResponse(let granted, true) = $0.body { granted } else { nil } }
    }
    var persists: [PersistBatch] {
        self.compactMap { if case .persist(let batch) = $0 { batch } else { nil } }
    }
    var appliedEntries: [Entry] {
        self.flatMap { directive -> [Entry] in if case .apply(let entries) = directive { entries } else { [] } }
    }
    var readIndexes: [LogIndex] {
        self.compactMap { if case .readReady(_, let index) = $0 { index } else { nil } }
    }
    var readRefusals: [RefusalReason] {
        self.compactMap { if case .readRefused(_, let reason) = $0 { reason } else { nil } }
    }
    var proposalRefusals: [RefusalReason] {
        self.compactMap { if case .proposalRefused(_, let reason) = $0 { reason } else { nil } }
    }
    var membershipRefusals: [RefusalReason] {
        self.compactMap { if case .membershipRefused(_, let reason) = $0 { reason } else { nil } }
    }
    var traces: [TraceEvent] {
        self.compactMap { if case .trace(let event) = $0 { event } else { nil } }
    }
}

/// An append as a test writes it: entries of the given terms after (previous, term).
func append(
    after previous: UInt64, term previousTerm: UInt64, _ terms: [UInt64] = [], commit: UInt64 = 0,
    readPosition: UInt64 = 0, sequence: UInt64 = 1, knowsQuarantine: Bool = false
) -> Message.Body {
    var entries: [Entry] = []
    for (position, term) in terms.enumerated() {
        let index = LogIndex(previous + UInt64(position) + 1)
        entries.append(Entry(term: Term(term), index: index, payload: .command(Array("\(index).\(term)".utf8))))
    }
    return .append(
        Message.Append(
            previousIndex: LogIndex(previous), previousTerm: Term(previousTerm), entries: entries,
            commit: LogIndex(commit),
            readPosition: readPosition, sequence: sequence, knowsQuarantine: knowsQuarantine))
}

func voteRequest(last: UInt64, term: UInt64, pre: Bool = false, transfer: Bool = false) -> Message.Body {
    .voteRequest(lastIndex: LogIndex(last), lastTerm: Term(term), pre: pre, transfer: transfer)
}
