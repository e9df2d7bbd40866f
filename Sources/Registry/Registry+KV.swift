import PersistentMap
import Protocol
import Units

/// Where a key, or a deleted tree's prefix, used to be; kept for a while so that the index of a prefix does not go back
/// when its newest key is deleted.
struct Tombstone: Sendable, Equatable {
    var index: UInt64
    /// When it was put there, by the envelope.
    var wallTime: UInt64
}

/// A tombstone's place in the queue for removal.
struct TombstoneTurn: Comparable, Sendable {
    var index: UInt64
    var key: ByteKey

    static func < (left: TombstoneTurn, right: TombstoneTurn) -> Bool {
        left.index != right.index ? left.index < right.index : left.key < right.key
    }
}

/// Until when nobody may lock a key that an invalidated session held.
struct LockDelay: Sendable, Equatable {
    /// Nanoseconds since 1970, to compare with envelopes' wall times.
    var until: UInt64

    /// A clock that went back by more than the longest delay would lock the key for as long as it went back.
    func isInForce(at now: UInt64) -> Bool {
        now < self.until && self.until - now <= Registry.longestLockDelay.rawValue
    }
}

/// What a put asks for; the key's other fields follow from what is there.
struct KVWrite {
    var key: ByteKey
    var value: [UInt8]
    var flags: UInt64
}

extension Registry {
    static let longestLockDelay = Nanoseconds.seconds(60)

    mutating func applyPut(_ put: LogKVPut, _ context: inout ApplyContext) throws(CommandFailure) -> Bool {
        let write = KVWrite(key: ByteKey(put.key.array), value: put.value.array, flags: put.flags)
        guard !write.key.isEmpty else { throw .invalid("Missing key name") }
        switch put.mode {
        case .putSet:
            self.setKey(write, &context)
            return true
        case .putCas:
            return self.casKey(write, put.casIndex, &context) != nil
        case .putAcquire:
            if self.isLockDelayed(write.key, at: context.now) { return false }
            return try self.lockKey(write, put.session, &context) != nil
        case .putRelease:
            return try self.unlockKey(write, put.session, &context) != nil
        case .UNRECOGNIZED(let mode):
            throw .stop(.unknownCommand("KV put mode \(mode)", LogIndex(context.index)))
        }
    }

    mutating func applyDelete(_ delete: LogKVDelete, _ context: inout ApplyContext) throws(CommandFailure) -> Bool {
        let key = ByteKey(delete.key.array)
        switch delete.mode {
        case .deleteKey:
            self.deleteKey(key, &context)
            return true
        case .deleteTree:
            self.deleteTree(key, &context)
            return true
        case .deleteCas:
            return self.deleteKey(key, ifModifiedAt: delete.casIndex, &context)
        case .UNRECOGNIZED(let mode):
            throw .stop(.unknownCommand("KV delete mode \(mode)", LogIndex(context.index)))
        }
    }

    func isLockDelayed(_ key: ByteKey, at now: UInt64) -> Bool {
        self.lockDelays.get(key)?.isInForce(at: now) ?? false
    }
}

// MARK: - The verbs; each returns the key as it then is, nil where the condition does not hold.

extension Registry {
    /// Locks are advisory: whoever holds the key goes on holding it.
    @discardableResult
    mutating func setKey(_ write: KVWrite, _ context: inout ApplyContext) -> KVEntry {
        let existing = self.kv.get(write.key)
        return self.store(
            write, session: existing?.session ?? "", lockIndex: existing?.lockIndex ?? 0, over: existing, &context)
    }

    /// Index 0 means that the key must not be there.
    mutating func casKey(_ write: KVWrite, _ index: UInt64, _ context: inout ApplyContext) -> KVEntry? {
        let existing = self.kv.get(write.key)
        guard (existing?.modifyIndex ?? 0) == index else { return nil }
        return self.store(
            write, session: existing?.session ?? "", lockIndex: existing?.lockIndex ?? 0, over: existing, &context)
    }

    /// Lock delays are the caller's to look at.
    mutating func lockKey(
        _ write: KVWrite, _ session: String, _ context: inout ApplyContext
    ) throws(CommandFailure) -> KVEntry? {
        guard !session.isEmpty else { throw .invalid("missing session") }
        guard self.sessions.contains(ByteKey(session)) else { throw .invalid("invalid session \(quoted(session))") }
        let existing = self.kv.get(write.key)
        var lockIndex = existing?.lockIndex ?? 0
        if let existing, !existing.session.isEmpty {
            if existing.session != session { return nil }
        } else {
            lockIndex += 1
        }
        return self.store(write, session: session, lockIndex: lockIndex, over: existing, &context)
    }

    mutating func unlockKey(
        _ write: KVWrite, _ session: String, _ context: inout ApplyContext
    ) throws(CommandFailure) -> KVEntry? {
        guard !session.isEmpty else { throw .invalid("missing session") }
        guard let existing = self.kv.get(write.key), existing.session == session else { return nil }
        return self.store(write, session: "", lockIndex: existing.lockIndex, over: existing, &context)
    }

    /// An absent key moves no index.
    mutating func deleteKey(_ key: ByteKey, _ context: inout ApplyContext) {
        guard self.drop(key) else { return }
        self.bury(key, context)
        self.tableIndexes.kv = context.index
        context.touch(.kv, key)
    }

    /// True also when the key is absent, whatever the index.
    mutating func deleteKey(_ key: ByteKey, ifModifiedAt index: UInt64, _ context: inout ApplyContext) -> Bool {
        guard let existing = self.kv.get(key) else { return true }
        guard existing.modifyIndex == index else { return false }
        self.deleteKey(key, &context)
        return true
    }

    /// One tombstone stands for the whole tree, under its prefix.
    mutating func deleteTree(_ prefix: ByteKey, _ context: inout ApplyContext) {
        let keys = self.kv.rows.keys(prefix: prefix)
        guard !keys.isEmpty else { return }
        for key in keys { _ = self.drop(key) }
        self.bury(prefix, context)
        self.tableIndexes.kv = context.index
        context.touch(.kv, prefix, isPrefix: true)
    }
}

// MARK: - Rows

extension Registry {
    /// What is stored already is not stored again: its index stays and nobody wakes.
    private mutating func store(
        _ write: KVWrite, session: String, lockIndex: UInt64, over existing: KVEntry?, _ context: inout ApplyContext
    ) -> KVEntry {
        if let existing, existing.flags == write.flags, existing.lockIndex == lockIndex, existing.session == session,
            existing.value == write.value
        {
            return existing
        }
        let entry = KVEntry(
            key: write.key, value: write.value, flags: write.flags, lockIndex: lockIndex, session: session,
            createIndex: existing?.createIndex ?? context.index, modifyIndex: context.index)
        let holder = existing?.session ?? ""
        if holder != session {
            if !holder.isEmpty { self.heldKeys.remove(heldKey(holder, write.key)) }
            if !session.isEmpty { self.heldKeys.set(heldKey(session, write.key), write.key) }
        }
        self.kv.set(write.key, entry)
        self.tableIndexes.kv = context.index
        context.touch(.kv, write.key)
        return entry
    }

    /// The session is gone: the key is nobody's.
    mutating func releaseKey(_ key: ByteKey, _ context: inout ApplyContext) {
        guard let existing = self.kv.get(key) else { return }
        let write = KVWrite(key: key, value: existing.value, flags: existing.flags)
        _ = self.store(write, session: "", lockIndex: existing.lockIndex, over: existing, &context)
    }

    private mutating func drop(_ key: ByteKey) -> Bool {
        guard let removed = self.kv.remove(key) else { return false }
        if !removed.session.isEmpty { self.heldKeys.remove(heldKey(removed.session, key)) }
        return true
    }

    private mutating func bury(_ key: ByteKey, _ context: ApplyContext) {
        self.loadTombstone(key, Tombstone(index: context.index, wallTime: context.now))
    }

    mutating func loadTombstone(_ key: ByteKey, _ tombstone: Tombstone) {
        if let earlier = self.tombstones.get(key) {
            self.tombstoneQueue.remove(TombstoneTurn(index: earlier.index, key: key))
        }
        self.tombstones.set(key, tombstone)
        self.tombstoneQueue.set(TombstoneTurn(index: tombstone.index, key: key), Nothing())
    }

    mutating func loadKey(_ entry: KVEntry) {
        if let earlier = self.kv.get(entry.key), !earlier.session.isEmpty {
            self.heldKeys.remove(heldKey(earlier.session, entry.key))
        }
        self.kv.set(entry.key, entry)
        if !entry.session.isEmpty { self.heldKeys.set(heldKey(entry.session, entry.key), entry.key) }
    }
}
