import FaultDisk
import Raft
import Registry
import Replica
import Storage
import Units

/// What a replica's shell gives its disk to do, in order.
enum ReplicaWork {
    case persist(PersistBatch)
    case storeChunk(Message.SnapshotChunk, from: NodeID)
    case install(SnapshotMeta, from: NodeID)
    case snapshot(SnapshotRequest)
    case fetch(peer: NodeID, from: LogIndex, to: LogIndex, maxBytes: Int)
    case readChunk(peer: NodeID, meta: SnapshotMeta, offset: UInt64, maxBytes: Int)
    case compact(through: LogIndex)
    case liftQuarantine
}

extension ReplicaNode {
    func enqueue(_ work: ReplicaWork) {
        self.queue.append(work)
        self.startDisk()
    }

    private func startDisk() {
        guard self.diskInFlight == 0, !self.queue.isEmpty else { return }
        self.diskInFlight = min(self.queue.count, 32)
        self.scheduleDisk(after: self.world.diskLatency(factor: self.diskFactor))
    }

    private func scheduleDisk(after latency: UInt64) {
        self.diskTicket += 1
        self.world.schedule(
            .diskDone(slot: self.slot, epoch: self.epoch, ticket: self.diskTicket), at: self.world.now + latency)
    }

    func hurryDisk() {
        if self.isUp, self.diskInFlight > 0 { self.scheduleDisk(after: self.world.diskLatency(factor: 1)) }
    }

    /// The disk has room for no more than it holds, or as much as it likes.
    func diskFull(_ full: Bool) {
        self.disk.setCapacity(full ? self.disk.bytesUsed + 4096 : nil)
    }

    func diskDone(ticket: Int) {
        guard ticket == self.diskTicket, let storage = self.storage else { return }
        let works = Array(self.queue.prefix(self.diskInFlight))
        var inputs: [ReplicaInput] = []
        do throws(StorageError) {
            // Batches side by side are one transaction.
            var done = 0
            while done < works.count {
                var batches: [PersistBatch] = []
                while done + batches.count < works.count, case .persist(let batch) = works[done + batches.count] {
                    batches.append(batch)
                }
                if batches.isEmpty {
                    inputs += try self.perform(works[done], storage)
                    done += 1
                    self.queue.removeFirst()
                } else {
                    guard try self.commit(batches, storage, &inputs) else { break }
                    done += batches.count
                    self.queue.removeFirst(batches.count)
                }
            }
            try self.afterAcknowledging(storage)
        } catch {
            // A failed write or sync ends the process, which finds out by reading again what is on the disk.
            if self.diskTrouble.isExpected {
                self.world.record(.fault, slot: self.slot, note: "stops: the disk failed")
                self.crash()
                self.world.scheduleRestart(self.slot)
            } else {
                self.invariants.fail("I19", "s\(self.slot) storage failed on a sound disk: \(error)")
            }
            return
        }
        if let failing = self.diskTrouble.failingSync, self.disk.counters.syncs >= failing {
            self.invariants.fail("I19", "s\(self.slot) goes on after a failed sync")
        }
        self.diskInFlight = 0
        if self.isFull {
            // Asks again in a while whether there is room.
            self.diskInFlight = min(self.queue.count, 32)
            self.scheduleDisk(after: 250 * SwarmOptions.millisecond)
        } else {
            self.startDisk()
        }
        if !inputs.isEmpty { self.gather(inputs) }
    }

    /// - Returns: false when the disk has no room: the batches wait.
    private func commit(
        _ batches: [PersistBatch], _ storage: LogStorage, _ inputs: inout [ReplicaInput]
    ) throws(StorageError) -> Bool {
        if self.isFull, !storage.hasRoom() { return false }
        do throws(StorageError) {
            try storage.commit(batches)
        } catch .diskFull {
            if !self.isFull {
                self.isFull = true
                self.world.record(.fault, slot: self.slot, note: "no room")
                inputs.append(.diskFull(true))
            }
            return false
        } catch {
            self.checkRefusal(storage, batches)
            throw error
        }
        if self.isFull {
            self.isFull = false
            inputs.append(.diskFull(false))
        }
        if batches.contains(where: { $0.truncateFrom != nil }) { self.backup = nil }
        for batch in batches {
            self.invariants.persisted(slot: self.slot, batch: batch.id)
            inputs.append(.persisted(batch: batch.id))
        }
        self.world.record(.persisted, slot: self.slot, storage.lastIndex.rawValue, storage.lastTerm.rawValue)
        return true
    }

    private func afterAcknowledging(_ storage: LogStorage) throws(StorageError) {
        do throws(StorageError) {
            _ = try storage.checkpointIfDue()
            if self.compactThrough > .zero, try !storage.compact(through: self.compactThrough, limitRows: 512) {
                self.compactThrough = .zero
            }
            if self.world.now - self.promiseWrittenAt >= SwarmOptions.second {
                self.promiseWrittenAt = self.world.now
                try storage.writePromise()
                self.backup?.promised = storage.lastIndex
            }
        } catch .diskFull {
            self.compactThrough = .zero
        }
    }

    /// For a crash in the middle: whatever it does to the disk counts, what it says does not.
    func attempt(_ work: ReplicaWork) {
        guard let storage = self.storage, let snapshots = self.snapshots else { return }
        do throws(StorageError) {
            switch work {
            case .persist(let batch): try storage.commit([batch])
            case .install(let meta, _):
                _ = try snapshots.finish(meta)
                try storage.replaceLog(by: meta)
            case .snapshot(let request): _ = try self.write(request, storage, snapshots)
            case .storeChunk(let chunk, _): _ = try snapshots.storeChunk(chunk)
            case .compact(let through): _ = try storage.compact(through: through)
            case .liftQuarantine: try storage.liftQuarantine()
            case .fetch, .readChunk: break
            }
        } catch {
            // The process dies here anyway.
        }
    }

    private func write(
        _ request: SnapshotRequest, _ storage: LogStorage, _ snapshots: SnapshotStore
    ) throws(StorageError) -> SnapshotMeta? {
        guard let chain = try storage.chain(at: request.index) else { return nil }
        return try snapshots.write(
            request.registry, index: request.index, term: request.term, configuration: request.configuration,
            configurationIndex: request.configurationIndex, chain: chain)
    }

    private func perform(_ work: ReplicaWork, _ storage: LogStorage) throws(StorageError) -> [ReplicaInput] {
        guard let snapshots = self.snapshots else { return [] }
        switch work {
        case .persist: return []
        case .fetch(let peer, let from, let to, let maxBytes):
            let entries = try storage.entries(from: from, to: to, maxBytes: maxBytes)
            self.invariants.checkEntries(slot: self.slot, entries)
            return [.entriesFetched(peer: peer, from: from, entries: entries)]
        case .readChunk(let peer, let meta, let offset, let maxBytes):
            let chunk = try snapshots.readChunk(meta, offset: offset, maxBytes: maxBytes)
            return [
                .snapshotChunkRead(
                    peer: peer, meta: meta, offset: offset, data: chunk?.data, checksum: chunk?.checksum ?? 0,
                    isLast: chunk?.isLast ?? false)
            ]
        case .storeChunk(let chunk, let from):
            do throws(StorageError) {
                let next = try snapshots.storeChunk(chunk)
                self.world.record(.stored, slot: self.slot, next, chunk.meta.index.rawValue)
                return [.snapshotChunkStored(meta: chunk.meta, nextOffset: next, from: from)]
            } catch .diskFull {
                return []
            }
        case .install(let meta, let from): return [try self.install(meta, from: from, storage, snapshots)]
        case .snapshot(let request):
            do throws(StorageError) {
                let meta = try self.write(request, storage, snapshots)
                if let meta {
                    self.world.tally.snapshotsTaken += 1
                    self.invariants.compacted(slot: self.slot, snapshot: meta.index.rawValue, through: 0)
                    self.world.record(.snapshot, slot: self.slot, meta.index.rawValue)
                }
                return [.snapshotWritten(meta)]
            } catch .diskFull {
                return [.snapshotWritten(nil)]
            }
        case .compact(let through):
            self.compactThrough = max(self.compactThrough, through)
            return []
        case .liftQuarantine:
            do throws(StorageError) {
                try storage.liftQuarantine()
                self.invariants.repaired(slot: self.slot)
            } catch .diskFull {}
            return []
        }
    }

    private func install(
        _ meta: SnapshotMeta, from: NodeID, _ storage: LogStorage, _ snapshots: SnapshotStore
    ) throws(StorageError) -> ReplicaInput {
        let registry: Registry
        let keepsSuffix: Bool
        do throws(StorageError) {
            registry = try snapshots.finish(meta)
            keepsSuffix = try storage.term(at: meta.index) == meta.term
            try storage.replaceLog(by: meta)
        } catch .diskFull {
            return .snapshotLoaded(meta: meta, registry: nil, from: from)
        } catch .corrupt {
            // A piece of another transfer came in between and took the file's place: it will be sent again.
            return .snapshotLoaded(meta: meta, registry: nil, from: from)
        }
        self.compactThrough = .zero
        self.backup = nil
        self.invariants.installed(
            slot: self.slot, meta, chain: self.invariants.committedChain(at: meta.index.rawValue) ?? 0,
            keepsSuffix: keepsSuffix)
        self.world.tally.snapshotsInstalled += 1
        self.world.record(.installed, slot: self.slot, meta.index.rawValue, meta.term.rawValue)
        return .snapshotLoaded(meta: meta, registry: registry, from: from)
    }
}
