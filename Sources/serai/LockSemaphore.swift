import Foundation

/// Up to `limit` holders, as Consul's guide to semaphores describes them: each contender keeps a key of its own under the
/// prefix by its session, and `PREFIX/.lock` lists the holders. Who is listed without such a key is gone.
struct Semaphore: LockHolder {
    var store: LockStore
    var prefix: String
    var limit: Int

    /// Consul's mark of a semaphore's keys.
    static let flags: UInt64 = 0xe0f6_9a2b_aa41_4de0

    private var contender: String { self.prefix + "/" + self.store.session }
    private var key: String { self.prefix + "/.lock" }

    private struct Holders: Codable {
        var limit: Int
        var holders: [String: Bool]?
        enum CodingKeys: String, CodingKey {
            case limit = "Limit"
            case holders = "Holders"
        }
    }

    private struct View {
        var holders: Set<String>
        /// 0 when there is no such key.
        var modifyIndex: UInt64
        var index: UInt64
    }

    private func view(after index: UInt64) async throws -> View {
        let seen = try await self.store.entries(self.prefix + "/", recurse: true, after: index)
        guard let entry = seen[self.key] else { return View(holders: [], modifyIndex: 0, index: seen.index) }
        guard entry.flags == Self.flags else {
            throw LockRefusal(text: "Existing key does not match semaphore use")
        }
        guard let known = try? JSONDecoder().decode(Holders.self, from: Data(entry.bytes)) else {
            throw LockRefusal(text: "\(self.key) does not hold the holders of a semaphore")
        }
        guard known.limit == self.limit else {
            throw LockRefusal(text: "semaphore limit conflict (lock: \(known.limit), local: \(self.limit))")
        }
        let alive = Set(seen.all.compactMap { $0.session?.isEmpty == false ? $0.session : nil })
        return View(
            holders: alive.intersection(known.holders?.keys.map { $0 } ?? []), modifyIndex: entry.modifyIndex,
            index: seen.index)
    }

    func acquire() async throws -> LockGrant {
        // The mark of an unfit key is looked for before anything is written beside it.
        _ = try await self.store.patiently { try await self.view(after: 0) }
        let entered = try await self.store.patiently {
            try await self.store.write(
                .PUT, self.contender, [("flags", "\(Self.flags)"), ("acquire", self.store.session)])
        }
        guard entered else { throw LockRefusal(text: "failed to make contender entry") }
        var index: UInt64 = 0
        while true {
            let after = index
            let seen = try await self.store.patiently { try await self.view(after: after) }
            try Task.checkCancellation()
            if seen.holders.count >= self.limit, !seen.holders.contains(self.store.session) {
                Progress.note("all \(self.limit) places of \(self.prefix) are held; waiting")
                index = seen.index < index ? 0 : seen.index
                continue
            }
            index = 0
            let wrote = try await self.store.patiently {
                try await self.write(seen.holders.union([self.store.session]), over: seen.modifyIndex)
            }
            guard wrote else { continue }
            if let grant = try await self.store.patiently({ try await self.grant() }) { return grant }
        }
    }

    private func grant() async throws -> LockGrant? {
        let seen = try await self.view(after: 0)
        guard seen.holders.contains(self.store.session) else { return nil }
        return LockGrant(key: self.key, session: self.store.session, lockIndex: nil, fence: seen.modifyIndex)
    }

    private func write(_ holders: Set<String>, over index: UInt64) async throws -> Bool {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let listed = Dictionary(uniqueKeysWithValues: holders.map { ($0, true) })
        let body = try encoder.encode(Holders(limit: self.limit, holders: listed))
        return try await self.store.write(
            .PUT, self.key, [("cas", "\(index)"), ("flags", "\(Self.flags)")], Array(body))
    }

    func isHeld(after index: UInt64) async throws -> (held: Bool, index: UInt64) {
        let seen = try await self.view(after: index)
        return (seen.holders.contains(self.store.session), seen.index)
    }

    func release() async throws {
        while true {
            let seen = try await self.store.patiently { try await self.view(after: 0) }
            guard seen.holders.contains(self.store.session) else { break }
            let without = seen.holders.subtracting([self.store.session])
            if try await self.store.patiently({ try await self.write(without, over: seen.modifyIndex) }) { break }
        }
        _ = try await self.store.patiently { try await self.store.write(.DELETE, self.contender, []) }
    }

    func cleanUp() async throws -> Bool {
        let seen = try await self.view(after: 0)
        if seen.modifyIndex == 0 { return true }
        if !seen.holders.isEmpty { return false }
        return try await self.store.write(.DELETE, self.key, [("cas", "\(seen.modifyIndex)")])
    }
}
