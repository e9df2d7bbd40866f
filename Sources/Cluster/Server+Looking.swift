import Protocol
import Raft
import Registry
import Storage
import Synchronization
import Units

/// What a running server's log holds: its own figures, and entries in a few words each.
public struct LogLook: Sendable {
    /// The node's UUID, and the cluster's id; "" before there are any.
    public var node = ""
    public var cluster = ""
    /// Of the file `raft.db`.
    public var format = 0
    public var term = Term.zero
    public var votedFor: NodeID?
    public var firstIndex = LogIndex.zero
    public var lastIndex = LogIndex.zero
    public var commitIndex = LogIndex.zero
    public var appliedIndex = LogIndex.zero
    public var promisedIndex = LogIndex.zero
    public var quarantinedUntil: LogIndex?
    public var entries: [Entry] = []

    /// Entries that one look reads at most.
    public static let entriesMax = 1000

    public struct Entry: Sendable {
        public var index: LogIndex
        public var term: Term
        public var bytes: Int
        /// Without values.
        public var text: String

        public init(index: LogIndex, term: Term, bytes: Int, text: String) {
            self.index = index
            self.term = term
            self.bytes = bytes
            self.text = text
        }
    }

    public init() {}

    init(_ log: LogStorage.Look) {
        self.node = log.identity?.node ?? ""
        self.cluster = log.identity?.cluster ?? ""
        self.format = LogStorage.format
        self.term = log.hardState.term
        self.votedFor = log.hardState.vote
        self.firstIndex = log.firstIndex
        self.lastIndex = log.lastIndex
        self.promisedIndex = log.promisedIndex
        self.quarantinedUntil = log.quarantinedUntil
        self.entries = log.entries.map {
            Entry(index: $0.index, term: $0.term, bytes: $0.bytes, text: EntryText.of($0.payload))
        }
    }
}

/// One snapshot of a running server.
public struct SnapshotLook: Sendable {
    public var name: String
    /// nil when its description is damaged.
    public var index: LogIndex?
    public var term: Term?
    /// The configuration in a few words.
    public var servers: String
    public var bytes: UInt64
    /// Rows by table, in the order in which they are loaded.
    public var rows: [(table: String, rows: UInt64)]
    /// Why it can't be used; nil when it can.
    public var flaw: String?

    public init(
        name: String, index: LogIndex?, term: Term?, servers: String, bytes: UInt64,
        rows: [(table: String, rows: UInt64)], flaw: String?
    ) {
        self.name = name
        self.index = index
        self.term = term
        self.servers = servers
        self.bytes = bytes
        self.rows = rows
        self.flaw = flaw
    }

    init(_ summary: SnapshotInspector.Summary) {
        self.init(
            name: summary.name, index: summary.meta?.index, term: summary.meta?.term,
            servers: summary.meta.map { EntryText.of($0.configuration) } ?? "", bytes: summary.bytes,
            rows: summary.rows.map { ($0.table, $0.rows) }, flaw: summary.flaw)
    }
}

// What operators see of a running server's files.
extension Server {
    /// What one look reads at most: the log's thread has other things to do.
    private static let lookBytesMax = 4 << 20

    /// Entries from `from` on, the newest when nil; fewer than `count` when they are large.
    public func lookAtLog(from: LogIndex?, count: Int) async throws(ClusterError) -> LogLook {
        let isThere = self.life.withLock { $0.threads != nil }
        guard isThere else { throw .refused(status: 503, text: "this server has no log yet: it looks for a cluster") }
        let storage = self.storageLoop.inbox
        let wanted = min(max(count, 1), LogLook.entriesMax)
        let answer = await Self.answer(within: .seconds(10)) { reply in
            storage.post(.look(from: from, count: wanted, maxBytes: Self.lookBytesMax, reply: reply))
        }
        guard let log = answer else { throw .refused(status: 503, text: "this server's log does not answer") }
        let status = await self.statusHere()
        var look = LogLook(log)
        look.commitIndex = LogIndex(status.commit)
        look.appliedIndex = LogIndex(status.applied)
        return look
    }

    /// This server's snapshots, newest first; every byte of them is read.
    public func lookAtSnapshots() async throws(ClusterError) -> [SnapshotLook] {
        let store = self.snapshotLoop.store
        do {
            return try await self.files.run {
                try SnapshotInspector.summaries(store, inUse: true).map { SnapshotLook($0) }
            }
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .refused(status: 500, text: "the snapshots can't be read: \(error)")
        }
    }

    /// Asks a thread that may end before it answers; nil when it did not take the question, or gave no answer in time.
    private static func answer<Value: Sendable>(
        within time: Nanoseconds, _ ask: (@escaping @Sendable (Value) -> Void) -> Bool
    ) async -> Value? {
        await withCheckedContinuation { continuation in
            let once = Once(continuation)
            let deadline = Task {
                try? await Task.sleep(nanoseconds: time.rawValue)
                once.resume(nil)
            }
            let taken = ask { value in
                once.resume(value)
                deadline.cancel()
            }
            // The deadline's task then answers at once.
            if !taken { deadline.cancel() }
        }
    }
}

/// A continuation that several may resume: the first one does.
private final class Once<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value?, Never>?>
    init(_ continuation: CheckedContinuation<Value?, Never>) { self.continuation = Mutex(continuation) }

    func resume(_ value: Value?) {
        let waiting = self.continuation.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        waiting?.resume(returning: value)
    }
}
