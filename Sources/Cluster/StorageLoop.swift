import Logging
import Raft
import Registry
import Replica
import Storage
import Units

/// What the storage thread is asked, in order.
enum StorageItem: Sendable {
    case persist([PersistBatch])
    case fetch(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
    case compact(through: LogIndex)
    /// The hash chain at an index, for a snapshot of it.
    case chain(at: LogIndex, reply: @Sendable ([UInt8]?) -> Void)
    /// A received snapshot replaces the log.
    case replaceLog(by: SnapshotMeta, reply: @Sendable () -> Void)
    /// Work on the storage for operators, run on its thread.
    case inspect(@Sendable (LogStorage) -> Void)
    case stop
}

/// The thread that owns the log. It drains its queue into one transaction, so that writes which arrive while one is
/// being synced share the next sync.
// Sendable by confinement: `storage` is used on this loop's thread alone, after `init` handed it over.
final class StorageLoop: @unchecked Sendable {
    let inbox = Inbox<StorageItem>(limit: 100_000)
    private let storage: LogStorage
    private let logger: Logger
    private let report: @Sendable (ReplicaInput) -> Void
    private let fatal: @Sendable (String) -> Void
    private var waiting: [PersistBatch] = []
    private var isFull = false
    private var compactThrough = LogIndex.zero
    private var promiseWrittenAt = Instant.start

    init(
        storage: LogStorage, logger: Logger, report: @escaping @Sendable (ReplicaInput) -> Void,
        fatal: @escaping @Sendable (String) -> Void
    ) {
        self.storage = storage
        self.logger = logger
        self.report = report
        self.fatal = fatal
    }

    func start() -> WorkerThread {
        WorkerThread(name: "serai-storage") { self.run() }
    }

    private func run() {
        while let items = self.inbox.take(timeout: self.pause) {
            for item in items {
                switch item {
                case .persist(let batches): self.waiting += batches
                case .stop:
                    self.commit()
                    self.writePromise(always: true)
                    return
                default:
                    // Order matters to these: what was asked before them is on disk first.
                    self.commit()
                    self.handle(item)
                }
            }
            self.commit()
            self.afterAcknowledging(idle: items.isEmpty)
        }
    }

    /// How long to sleep when nothing is asked.
    private var pause: Nanoseconds {
        if self.compactThrough > .zero { return .zero }
        return self.isFull ? .milliseconds(250) : .milliseconds(500)
    }

    private func commit() {
        guard !self.waiting.isEmpty else { return }
        if self.isFull, !self.storage.hasRoom() { return }
        do {
            try self.storage.commit(self.waiting)
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
            self.logger.error("no space left on the disk of the data directory: this server neither leads nor accepts writes until there is")
            self.report(.diskFull(true))
        } catch {
            self.fatal("the log could not be written: \(error)")
        }
    }

    private func handle(_ item: StorageItem) {
        do {
            switch item {
            case .fetch(let peer, let from, let to, let maxBytes):
                let entries = try self.storage.entries(from: from, to: to, maxBytes: maxBytes)
                self.report(.entriesFetched(peer: peer, from: from, entries: entries))
            case .compact(let through):
                self.compactThrough = max(self.compactThrough, through)
            case .chain(let index, let reply):
                reply(try self.storage.chain(at: index))
            case .replaceLog(let meta, let reply):
                self.compactThrough = .zero
                try self.storage.replaceLog(by: meta)
                reply()
            case .inspect(let body): body(self.storage)
            case .persist, .stop: break
            }
        } catch {
            self.fatal("the log could not be read or changed: \(error)")
        }
    }

    /// What may take time comes after the acknowledgements have gone out.
    private func afterAcknowledging(idle: Bool) {
        do {
            try self.storage.checkpointIfDue()
            if self.compactThrough > .zero {
                let more = try self.storage.compact(through: self.compactThrough, limitRows: 512)
                if !more { self.compactThrough = .zero }
            }
        } catch StorageError.diskFull {
            self.logger.warning("compaction waits: no space left on the disk")
            self.compactThrough = .zero
        } catch {
            self.fatal("the log could not be compacted: \(error)")
        }
        self.writePromise(always: false)
    }

    private func writePromise(always: Bool) {
        let now = SystemClock.now()
        guard always || now.since(self.promiseWrittenAt) >= .seconds(1) else { return }
        self.promiseWrittenAt = now
        do {
            try self.storage.writePromise()
        } catch {
            self.logger.warning("the high-water mark could not be written", metadata: ["error": "\(error)"])
        }
    }
}
