import Logging
import Raft
import Registry
import Replica
import Storage
import Synchronization
import Units

/// What the storage thread is asked, in order.
enum StorageItem: Sendable {
    case persist([PersistBatch])
    case fetch(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
    case compact(through: LogIndex)
    /// The hash chain at an index, for a snapshot of it.
    case chain(at: LogIndex, reply: @Sendable ([UInt8]?) -> Void)
    /// A received snapshot replaces the log.
    case replaceLog(by: SnapshotMeta, reply: @Sendable (_ done: Bool) -> Void)
    /// The log holds again what this server once promised.
    case liftQuarantine
    /// What the log holds, for operators.
    case look(from: LogIndex?, count: Int, maxBytes: Int, reply: @Sendable (LogStorage.Look) -> Void)
    case stop
}

/// The thread that owns the log. It drains its queue into one transaction, so that writes which arrive while one is
/// being synced share the next sync.
// Sendable by confinement: all but the inbox is used on this loop's thread alone.
final class StorageLoop: @unchecked Sendable {
    let inbox = Inbox<StorageItem>(limit: 100_000)
    /// Transactions written since the log was opened: each is one fdatasync.
    let commits = Atomic<UInt64>(0)
    private let logger: Logger
    private let report: @Sendable (ReplicaInput) -> Void
    private let fatal: @Sendable (String) -> Void
    private var waiting: [PersistBatch] = []
    private var isFull = false
    private var compactThrough = LogIndex.zero
    private var promiseWrittenAt = Instant.start

    init(
        logger: Logger, report: @escaping @Sendable (ReplicaInput) -> Void, fatal: @escaping @Sendable (String) -> Void
    ) {
        self.logger = logger
        self.report = report
        self.fatal = fatal
    }

    /// The storage belongs to the loop's thread from here on, and is closed when the loop has stopped.
    func start(_ log: OpenedLog) -> WorkerThread {
        WorkerThread(name: "serai-storage") {
            if let storage = log.take() { self.run(storage) }
        }
    }

    private func run(_ storage: LogStorage) {
        self.waiting = []
        self.isFull = false
        self.compactThrough = .zero
        while let items = self.inbox.take(timeout: self.pause) {
            for item in items {
                switch item {
                case .persist(let batches): self.waiting += batches
                case .stop:
                    self.commit(storage)
                    self.writePromise(storage, always: true)
                    return
                default:
                    // Order matters to these: what was asked before them is on disk first.
                    self.commit(storage)
                    self.handle(item, storage)
                }
            }
            self.commit(storage)
            self.afterAcknowledging(storage)
        }
    }

    /// How long to sleep when nothing is asked.
    private var pause: Nanoseconds {
        if self.compactThrough > .zero { return .zero }
        return self.isFull ? .milliseconds(250) : .milliseconds(500)
    }

    private func commit(_ storage: LogStorage) {
        guard !self.waiting.isEmpty else { return }
        if self.isFull, !storage.hasRoom() { return }
        do {
            try storage.commit(self.waiting)
            self.commits.store(storage.commits, ordering: .relaxed)
            let done = self.waiting
            self.waiting.removeAll()
            if self.isFull {
                self.isFull = false
                self.logger.notice("the disk has room again")
                self.report(.diskFull(false))
            }
            for batch in done { self.report(.persisted(batch: batch.id)) }
        } catch StorageError.diskFull {
            guard !self.isFull else { return }
            self.isFull = true
            self.logger.error(
                "no space left on the disk of the data directory: this server neither leads nor accepts writes until there is"
            )
            self.report(.diskFull(true))
        } catch {
            self.fatal("the log could not be written: \(error)")
        }
    }

    private func handle(_ item: StorageItem, _ storage: LogStorage) {
        do {
            switch item {
            case .fetch(let peer, let from, let to, let maxBytes):
                let entries = try storage.entries(from: from, to: to, maxBytes: maxBytes)
                self.report(.entriesFetched(peer: peer, from: from, entries: entries))
            case .compact(let through):
                self.compactThrough = max(self.compactThrough, through)
            case .chain(let index, let reply):
                reply(try storage.chain(at: index))
            case .replaceLog(let meta, let reply):
                // What waits for room on the disk would be written into the new log.
                guard self.waiting.isEmpty else { return reply(false) }
                self.compactThrough = .zero
                do throws(StorageError) {
                    try storage.replaceLog(by: meta)
                } catch .diskFull {
                    return reply(false)
                }
                reply(true)
            case .liftQuarantine:
                // Without room it stays in quarantine on disk, and heals again after a restart.
                do throws(StorageError) { try storage.liftQuarantine() } catch .diskFull {}
            case .look(let from, let count, let maxBytes, let reply):
                reply(try storage.look(from: from, count: count, maxBytes: maxBytes))
            case .persist, .stop: break
            }
        } catch {
            self.fatal("the log could not be read or changed: \(error)")
        }
    }

    /// What may take time comes after the acknowledgements have gone out.
    private func afterAcknowledging(_ storage: LogStorage) {
        do {
            _ = try storage.checkpointIfDue()
            if self.compactThrough > .zero {
                let more = try storage.compact(through: self.compactThrough, limitRows: 512)
                if !more { self.compactThrough = .zero }
            }
        } catch StorageError.diskFull {
            self.logger.warning("compaction waits: no space left on the disk")
            self.compactThrough = .zero
        } catch {
            self.fatal("the log could not be compacted: \(error)")
        }
        self.writePromise(storage, always: false)
    }

    private func writePromise(_ storage: LogStorage, always: Bool) {
        let now = SystemClock.now()
        guard always || now.since(self.promiseWrittenAt) >= .seconds(1) else { return }
        self.promiseWrittenAt = now
        do {
            try storage.writePromise()
        } catch {
            self.logger.warning("the high-water mark could not be written", metadata: ["error": "\(error)"])
        }
    }
}
