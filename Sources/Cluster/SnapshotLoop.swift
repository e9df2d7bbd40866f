import Logging
import Raft
import Registry
import Replica
import Storage
import Units

/// What the snapshot thread is asked.
enum SnapshotItem: Sendable {
    case take(SnapshotRequest, chain: [UInt8])
    case readChunk(peer: NodeID, meta: SnapshotMeta, offset: UInt64, maxBytes: Int)
    case storeChunk(Message.SnapshotChunk, from: NodeID)
    case install(SnapshotMeta, from: NodeID)
    case stop
}

/// The thread that writes, reads and receives snapshot files, away from the log's thread.
final class SnapshotLoop: Sendable {
    let inbox = Inbox<SnapshotItem>(limit: 4096)
    let store: SnapshotStore
    private let logger: Logger
    private let report: @Sendable (ReplicaInput) -> Void
    private let replaceLog: @Sendable (SnapshotMeta, @escaping @Sendable (Bool) -> Void) -> Void

    init(
        store: SnapshotStore, logger: Logger, report: @escaping @Sendable (ReplicaInput) -> Void,
        replaceLog: @escaping @Sendable (SnapshotMeta, @escaping @Sendable (Bool) -> Void) -> Void
    ) {
        self.store = store
        self.logger = logger
        self.report = report
        self.replaceLog = replaceLog
    }

    func start() -> WorkerThread {
        WorkerThread(name: "serai-snapshot") {
            while let items = self.inbox.take(timeout: .seconds(60)) {
                for item in items {
                    if case .stop = item { return }
                    self.handle(item)
                }
            }
        }
    }

    private func handle(_ item: SnapshotItem) {
        switch item {
        case .take(let request, let chain): self.take(request, chain: chain)
        case .readChunk(let peer, let meta, let offset, let maxBytes):
            let chunk = try? self.store.readChunk(meta, offset: offset, maxBytes: maxBytes)
            self.report(
                .snapshotChunkRead(
                    peer: peer, meta: meta, offset: offset, data: chunk?.data, checksum: chunk?.checksum ?? 0,
                    isLast: chunk?.isLast ?? false))
        case .storeChunk(let chunk, let from):
            do {
                let nextOffset = try self.store.storeChunk(chunk)
                self.report(.snapshotChunkStored(meta: chunk.meta, nextOffset: nextOffset, from: from))
            } catch {
                self.logger.warning("a snapshot chunk could not be stored", metadata: ["error": "\(error)"])
            }
        case .install(let meta, let from): self.install(meta, from: from)
        case .stop: break
        }
    }

    private func take(_ request: SnapshotRequest, chain: [UInt8]) {
        do {
            let started = SystemClock.now()
            let meta = try self.store.write(
                request.registry, index: request.index, term: request.term, configuration: request.configuration,
                configurationIndex: request.configurationIndex, chain: chain)
            self.logger.info(
                "snapshot written",
                metadata: [
                    "index": "\(meta.index)", "bytes": "\(meta.totalBytes)",
                    "took": "\(SystemClock.now().since(started))",
                ])
            self.report(.snapshotWritten(meta))
        } catch {
            self.logger.error("a snapshot could not be written", metadata: ["error": "\(error)"])
            self.report(.snapshotWritten(nil))
        }
    }

    private func install(_ meta: SnapshotMeta, from: NodeID) {
        do {
            let registry = try self.store.finish(meta)
            self.replaceLog(meta) { [report] done in
                report(.snapshotLoaded(meta: meta, registry: done ? registry : nil, from: from))
            }
        } catch {
            self.logger.error(
                "a received snapshot can't be used, asking for it again",
                metadata: ["index": "\(meta.index)", "error": "\(error)"])
            self.report(.snapshotLoaded(meta: meta, registry: nil, from: from))
        }
    }
}
