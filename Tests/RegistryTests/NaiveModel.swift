import Protocol
import Registry
import Units

/// Keys, locks and sessions as plainly as they can be written down: dictionaries, and scans of all of them.
struct NaiveModel {
    struct Key: Equatable {
        var value: [UInt8]
        var flags: UInt64
        var session: String
        var lockIndex: UInt64
        var create: UInt64
        var modify: UInt64
    }
    struct Grave {
        var key: String
        var index: UInt64
        var at: UInt64
    }
    struct Owner {
        var deletes: Bool
        var delay: UInt64
    }

    var keys: [String: Key] = [:]
    var graves: [Grave] = []
    var sessions: [String: Owner] = [:]
    var delays: [String: UInt64] = [:]
    var index: UInt64 = 0
    var now: UInt64 = 0
    var tableIndex: UInt64 = 0

    private static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    func isDelayed(_ key: String) -> Bool { self.delays[key].map { self.now < $0 } ?? false }

    mutating func store(_ put: LogKVPut, session: String, lockIndex: UInt64) {
        let name = String(decoding: put.key, as: UTF8.self)
        let old = self.keys[name]
        var new = Key(
            value: [UInt8](put.value), flags: put.flags, session: session, lockIndex: lockIndex,
            create: old?.create ?? self.index, modify: old?.modify ?? self.index)
        if new == old { return }
        new.modify = self.index
        self.keys[name] = new
        self.tableIndex = self.index
    }

    /// nil where the registry refuses.
    mutating func put(_ put: LogKVPut) -> Bool? {
        let name = String(decoding: put.key, as: UTF8.self)
        let old = self.keys[name]
        switch put.mode {
        case .putSet: break
        case .putCas: if put.casIndex != (old?.modify ?? 0) { return false }
        case .putAcquire:
            if self.isDelayed(name) { return false }
            if self.sessions[put.session] == nil { return nil }
            if let holder = old?.session, holder != "", holder != put.session { return false }
            let isNew = (old?.session ?? "") == ""
            self.store(put, session: put.session, lockIndex: (old?.lockIndex ?? 0) + (isNew ? 1 : 0))
            return true
        case .putRelease:
            if old == nil || old?.session != put.session { return false }
            self.store(put, session: "", lockIndex: old?.lockIndex ?? 0)
            return true
        case .UNRECOGNIZED: return nil
        }
        self.store(put, session: old?.session ?? "", lockIndex: old?.lockIndex ?? 0)
        return true
    }

    mutating func bury(_ key: String) {
        self.graves.removeAll { $0.key == key }
        self.graves.append(Grave(key: key, index: self.index, at: self.now))
        self.graves.sort { $0.index != $1.index ? $0.index < $1.index : Self.precedes($0.key, $1.key) }
        self.tableIndex = self.index
    }

    mutating func delete(_ delete: LogKVDelete) -> Bool {
        let name = String(decoding: delete.key, as: UTF8.self)
        switch delete.mode {
        case .deleteTree:
            let under = self.keys.keys.filter { $0.utf8.starts(with: name.utf8) }
            for key in under { self.keys[key] = nil }
            if !under.isEmpty { self.bury(name) }
            return true
        case .deleteCas:
            guard let old = self.keys[name] else { return true }
            if old.modify != delete.casIndex { return false }
        case .deleteKey, .UNRECOGNIZED: break
        }
        if self.keys.removeValue(forKey: name) != nil { self.bury(name) }
        return true
    }

    mutating func destroy(_ id: String) {
        guard let owner = self.sessions.removeValue(forKey: id) else { return }
        for key in self.keys.keys.sorted(by: Self.precedes) where self.keys[key]?.session == id {
            if owner.deletes {
                self.keys[key] = nil
                self.bury(key)
            } else {
                self.keys[key]?.session = ""
                self.keys[key]?.modify = self.index
                self.tableIndex = self.index
            }
            if owner.delay > 0 { self.delays[key] = self.now + min(owner.delay, 60_000_000_000) }
        }
    }

    /// At most sixteen with each command.
    mutating func tidy() {
        for _ in 0..<16 {
            guard let oldest = self.graves.first, self.now - oldest.at >= 900_000_000_000 else { return }
            self.graves.removeFirst()
        }
    }

    func entries(under prefix: String) -> [KVEntry] {
        self.keys.filter { $0.key.utf8.starts(with: prefix.utf8) }
            .sorted { Self.precedes($0.key, $1.key) }
            .map { name, key in
                KVEntry(
                    key: ByteKey(name), value: key.value, flags: key.flags, lockIndex: key.lockIndex,
                    session: key.session, createIndex: key.create, modifyIndex: key.modify)
            }
    }

    func index(under prefix: String) -> UInt64 {
        if prefix.isEmpty { return max(1, self.tableIndex) }
        let live = self.entries(under: prefix).map(\.modifyIndex)
        let dead = self.graves.filter { $0.key.utf8.starts(with: prefix.utf8) }.map(\.index)
        return max(1, (live + dead).max() ?? self.tableIndex)
    }
}
