import FaultDisk
import Raft
import Storage
import Units

/// Failures of the disk that were brought about: what follows from them is no finding.
struct DiskTrouble {
    var isExpected = false
    /// The count of syncs at which one has failed.
    var failingSync: UInt64?
}

/// An older copy of a server's files.
struct Backup {
    var image: FaultDisk.Image
    /// Where the log ended when it was made, and what the file `promise` has promised since.
    var last: LogIndex
    var promised: LogIndex
}

extension ReplicaNode {
    func failNextWrite(after count: UInt64) {
        self.diskTrouble.isExpected = true
        self.disk.failWrite(nth: count)
    }

    func failNextSync(after count: UInt64) {
        self.diskTrouble.isExpected = true
        self.diskTrouble.failingSync = self.disk.counters.syncs + count
        self.disk.failSync(nth: count)
    }

    /// After a failed write nobody knows what is on the disk: storage must not work on, though the disk would.
    func checkRefusal(_ storage: LogStorage, _ batches: [PersistBatch]) {
        do throws(StorageError) {
            try storage.commit(batches)
            self.invariants.fail("I19", "s\(self.slot) goes on after a failed write or sync of its log")
        } catch {
            // As it should be.
        }
    }

    /// A bit of a snapshot turns over, mostly of the one that the next start loads, and where there is something: a small
    /// database is full of zeros that nobody reads. False when there is no snapshot.
    func damageSnapshot() -> Bool {
        let directory = "\(Self.directory)/snapshots"
        let names = ((try? self.disk.list(directory)) ?? []).filter {
            $0.hasPrefix("snapshot-") && $0.hasSuffix(".db")
        }
        let newest = names.max { Self.snapshotIndex($0) < Self.snapshotIndex($1) }
        guard let name = self.world.nodeRandom.chance(0.8) ? newest : self.world.nodeRandom.pick(names),
            let bytes = try? self.disk.read("\(directory)/\(name)", at: 0, count: 1 << 24), !bytes.isEmpty
        else { return false }
        var offset = 0
        for _ in 0..<32 where bytes[offset] == 0 || offset == 0 {
            offset = Int(self.world.nodeRandom.within(0...UInt64(bytes.count - 1)))
        }
        let bit = self.world.nodeRandom.below(8)
        let flipped = self.disk.flipBit("\(directory)/\(name)", at: UInt64(offset), bit: bit)
        self.invariants.damaged(slot: self.slot)
        self.world.record(
            .amnesia, slot: self.slot, UInt64(offset), UInt64(bytes.count), flipped ? 1 : 0,
            note: "bit of a snapshot flipped")
        return true
    }

    private static func snapshotIndex(_ name: String) -> UInt64 {
        UInt64(name.split(separator: "-").dropFirst().first ?? "") ?? 0
    }

    // MARK: - An old copy

    func makeBackup() {
        guard let storage = self.storage else { return }
        self.backup = Backup(image: self.disk.image(), last: storage.lastIndex, promised: .zero)
    }

    /// The promise, of a second ago at most, goes beyond what the copy holds. (A copy of everything, the promise too, is what
    /// no server can tell from the truth; nobody should bring one back under the same identity.)
    var hasUsefulBackup: Bool { self.backup.map { $0.promised > $0.last } ?? false }

    /// Log and snapshots go back; the promise stays. Only while down.
    func restoreBackup() {
        guard let backup = self.backup else { return }
        self.backup = nil
        let promise = "\(Self.directory)/promise"
        do {
            let bytes = try self.disk.read(promise, at: 0, count: 1 << 16)
            self.disk.restore(backup.image)
            try self.disk.write(promise, at: 0, bytes)
            try self.disk.sync(promise)
        } catch {
            self.invariants.fail("I19", "s\(self.slot)'s disk can't be rolled back: \(error)")
        }
        self.invariants.damaged(slot: self.slot)
        self.world.record(.amnesia, slot: self.slot, backup.last.rawValue, backup.promised.rawValue, note: "old copy")
    }
}
