import Raft
import Units

/// A disk as values: what is durable, and the work queued on it, done in order. A crash keeps a prefix of the queue,
/// since whatever was not reported done may or may not have reached the platter, but never out of order.
struct ToyDisk {
    struct Snapshot {
        var meta: SnapshotMeta
        var image: [UInt8]
    }

    enum Work {
        case persist(PersistBatch)
        case storeChunk(Message.SnapshotChunk, from: NodeID)
        case install(SnapshotMeta, from: NodeID)
        case snapshot(Snapshot, compactTo: UInt64)
        case fetch(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
        case readChunk(peer: NodeID, meta: SnapshotMeta, offset: UInt64, maxBytes: Int)
    }

    var hardState = HardState()
    /// Entries by position; the first one has index `firstIndex`.
    private(set) var entries: [Entry] = []
    private(set) var firstIndex: UInt64 = 1
    private(set) var termBeforeFirst: UInt64 = 0
    var snapshot: Snapshot?
    var commitHint = LogIndex.zero
    /// Set when the log lost entries that were once durable: how far it must heal.
    var quarantine: UInt64?
    private var received: (meta: SnapshotMeta, bytes: [UInt8])?

    var queue: [Work] = []

    var lastIndex: UInt64 { self.firstIndex + UInt64(self.entries.count) - 1 }
    var lastTerm: UInt64 { self.entries.last?.term.rawValue ?? self.termBeforeFirst }

    func term(at index: UInt64) -> UInt64? {
        if index + 1 == self.firstIndex { return self.termBeforeFirst }
        guard index >= self.firstIndex, index <= self.lastIndex else { return nil }
        return self.entries[Int(index - self.firstIndex)].term.rawValue
    }

    // MARK: - Work that is done

    mutating func persist(_ batch: PersistBatch) {
        if let from = batch.truncateFrom?.rawValue, from <= self.lastIndex, from >= self.firstIndex {
            self.entries.removeLast(Int(self.lastIndex - from) + 1)
        }
        self.entries += batch.entries
        if let hard = batch.hardState { self.hardState = hard }
        self.commitHint = batch.commitHint
    }

    /// - Returns: the next offset wanted.
    mutating func store(_ chunk: Message.SnapshotChunk) -> UInt64 {
        if self.received?.meta != chunk.meta || chunk.offset == 0 { self.received = (chunk.meta, []) }
        guard let held = self.received, UInt64(held.bytes.count) == chunk.offset,
            CRC32C.checksum(chunk.data) == chunk.checksum
        else { return UInt64(self.received?.bytes.count ?? 0) }
        self.received?.bytes += chunk.data
        return UInt64(held.bytes.count + chunk.data.count)
    }

    /// The received file as a state; nil, and nothing done, when it is not whole.
    mutating func install(_ meta: SnapshotMeta) -> (machine: ToyMachine, keepsSuffix: Bool)? {
        guard let received = self.received, received.meta == meta, UInt64(received.bytes.count) == meta.totalBytes,
            Self.fingerprint(received.bytes) == meta.sha256, let machine = ToyMachine(image: received.bytes, meta: meta)
        else { return nil }
        self.snapshot = Snapshot(meta: meta, image: received.bytes)
        self.received = nil
        // What follows the snapshot stays where the log agrees with it (dissertation §5).
        if self.term(at: meta.index.rawValue) == meta.term.rawValue {
            self.compact(through: meta.index.rawValue)
            return (machine, true)
        }
        self.entries = []
        self.firstIndex = meta.index.rawValue + 1
        self.termBeforeFirst = meta.term.rawValue
        return (machine, false)
    }

    mutating func compact(through index: UInt64) {
        guard index >= self.firstIndex, let term = self.term(at: index) else { return }
        self.entries.removeFirst(Int(index - self.firstIndex) + 1)
        self.firstIndex = index + 1
        self.termBeforeFirst = term
    }

    func fetch(from: LogIndex, to: LogIndex, maxBytes: Int) -> [Entry] {
        guard from.rawValue >= self.firstIndex, from.rawValue <= self.lastIndex else { return [] }
        var found: [Entry] = []
        var bytes = 0
        for index in from.rawValue...min(max(from, to).rawValue, self.lastIndex) {
            let entry = self.entries[Int(index - self.firstIndex)]
            if !found.isEmpty, bytes + entry.payload.byteCount > maxBytes { break }
            bytes += entry.payload.byteCount
            found.append(entry)
        }
        return found
    }

    func readChunk(_ meta: SnapshotMeta, offset: UInt64, maxBytes: Int) -> (data: [UInt8], isLast: Bool)? {
        guard let snapshot = self.snapshot, snapshot.meta == meta, offset <= UInt64(snapshot.image.count) else {
            return nil
        }
        let end = min(snapshot.image.count, Int(offset) + max(1, maxBytes))
        return (Array(snapshot.image[Int(offset)..<end]), end == snapshot.image.count)
    }

    // MARK: - Faults

    /// Loses the newest entries; what else the disk knows says how many there were.
    mutating func loseTail(_ count: Int) {
        self.quarantine = max(self.quarantine ?? 0, self.lastIndex)
        self.entries.removeLast(min(count, self.entries.count))
        // A log that ends before the snapshot begins anew after it.
        if let meta = self.snapshot?.meta, self.lastIndex < meta.index.rawValue {
            self.entries = []
            self.firstIndex = meta.index.rawValue + 1
            self.termBeforeFirst = meta.term.rawValue
        }
    }

    /// A founding server's log: the first configuration, in term 1.
    mutating func found(_ configuration: Configuration) {
        self.hardState = HardState(term: Term(1), vote: nil)
        self.entries = [Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration))]
    }

    /// Thirty-two bytes that stand for SHA-256.
    static func fingerprint(_ bytes: [UInt8]) -> [UInt8] {
        var digest = Digest()
        digest.add(bytes)
        return (0..<32 as Range<UInt64>).map {
            UInt8(truncatingIfNeeded: Digest.mixed(digest.value &+ $0 / 8) >> ($0 % 8 * 8))
        }
    }

    // MARK: - Booting

    func restored() -> RestoredState {
        var restored = RestoredState()
        restored.hardState = self.hardState
        restored.snapshot = self.snapshot?.meta
        restored.firstIndex = LogIndex(self.firstIndex)
        restored.lastIndex = LogIndex(self.lastIndex)
        restored.termBeforeFirst = Term(self.termBeforeFirst)
        restored.commitHint = self.commitHint
        restored.quarantinedUntil = self.quarantine.map { LogIndex($0) }
        let snapshotIndex = self.snapshot?.meta.index ?? .zero
        for entry in self.entries {
            if restored.termRuns.last?.term != entry.term {
                restored.termRuns.append(RestoredState.TermRun(first: entry.index, term: entry.term))
            }
            if case .configuration(let configuration) = entry.payload, entry.index > snapshotIndex {
                restored.configurations.append((entry.index, configuration))
            }
        }
        restored.tail = self.entries.filter { $0.index > snapshotIndex }
        return restored
    }
}
