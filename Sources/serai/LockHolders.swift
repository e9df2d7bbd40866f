import Foundation
import Units

/// What is held: the numbers that a resource can tell a late holder by.
struct LockGrant: Sendable {
    var key: String
    var session: String
    /// How often the key went from free to held. Nil for a semaphore. Starts anew when the key was deleted in between.
    var lockIndex: UInt64?
    /// Index of the write that granted it: every later holder of this key has a greater one.
    var fence: UInt64

    /// What the child finds in its environment.
    var environment: [String: String] {
        var variables = [
            "CONSUL_LOCK_HELD": "true", "SERAI_LOCK_KEY": self.key, "SERAI_LOCK_SESSION": self.session,
            "SERAI_LOCK_FENCE": "\(self.fence)",
        ]
        if let lockIndex { variables["SERAI_LOCK_INDEX"] = "\(lockIndex)" }
        return variables
    }
}

/// A lock or a place in a semaphore, with the keys and flags that Consul's own clients use.
protocol LockHolder: Sendable {
    var store: LockStore { get }
    /// Returns once it is held; waits for ever.
    func acquire() async throws -> LockGrant
    /// Whether it is held, read when something after `index` has changed, with the index of the answer.
    func isHeld(after index: UInt64) async throws -> (held: Bool, index: UInt64)
    func release() async throws
    /// Deletes what nobody uses any more; false when somebody does.
    func cleanUp() async throws -> Bool
}

extension LockHolder {
    /// Returns why it is no longer held, as soon as that is seen.
    func loss(retries: Int) async -> String {
        var index: UInt64 = 0
        var failures = 0
        while !Task.isCancelled {
            do {
                let seen = try await self.isHeld(after: index)
                if !seen.held { return "another may hold it now" }
                // An index that fell belongs to a state that was restored: it is looked at from the start.
                index = seen.index < index ? 0 : seen.index
                failures = 0
            } catch {
                failures += 1
                if failures > retries {
                    return "it could not be watched: \((error as? CommandFailure)?.text ?? "\(error)")"
                }
                try? await Task.sleep(for: .seconds(1))
            }
        }
        return "given up"
    }
}

/// Requests that locks are made of. While a lock is waited for, the cluster may be without a leader now and then.
struct LockStore: Sendable {
    var client: APIClient
    var session: String
    /// Failures in a row that are tried again, a second apart.
    var retries: Int

    struct Entries {
        var all: [KVRow]
        var index: UInt64
        subscript(key: String) -> KVRow? { self.all.first { $0.key.utf8.elementsEqual(key.utf8) } }
    }

    private static let wait = 15

    private func path(_ key: String) -> String { "/v1/kv/" + PercentEncoding.of(key, keeping: "/") }

    /// The key, or all with this prefix; waits for a change after `index`, if it isn't 0, for 15 s.
    func entries(_ key: String, recurse: Bool, after index: UInt64) async throws -> Entries {
        var query: [(String, String?)] = [("consistent", nil)]
        if recurse { query.append(("recurse", nil)) }
        if index > 0 { query += [("index", "\(index)"), ("wait", "\(Self.wait)s")] }
        let answer = try await self.client.send(
            .GET, self.path(key), query: query, timeout: .seconds(Int64(Self.wait) + 11))
        switch answer.status {
        case 200, 404:
            return Entries(
                all: answer.status == 404 ? [] : try answer.decoded([KVRow].self),
                index: UInt64(answer.headers["x-consul-index"] ?? "") ?? 0)
        default:
            throw Self.refusal("failed to read lock", answer)
        }
    }

    /// Writes or deletes; false when the condition in `query` did not hold.
    func write(
        _ method: HTTPVerb, _ key: String, _ query: [(String, String?)], _ body: [UInt8] = []
    ) async throws -> Bool {
        let answer = try await self.client.send(method, self.path(key), query: query, body: body)
        guard answer.status == 200 else { throw Self.refusal("failed to write lock", answer) }
        return APIClient.trimmed(answer.text) == "true"
    }

    private static func refusal(_ what: String, _ answer: APIResponse) -> CommandFailure {
        CommandFailure("\(what): Unexpected response code: \(answer.status) (\(APIClient.trimmed(answer.text)))")
    }

    /// Tries `body` again after a failure that may pass; a ``LockRefusal`` does not.
    func patiently<Value>(_ body: () async throws -> Value) async throws -> Value {
        var failures = 0
        while true {
            do {
                return try await body()
            } catch let failure as CommandFailure where failures < self.retries {
                try Task.checkCancellation()
                // What the request itself is to blame for stays as it is.
                if failure.text.contains("response code: 4"), !failure.text.contains("code: 429") { throw failure }
                failures += 1
                try await Task.sleep(for: .seconds(1))
            }
        }
    }
}

/// The key is something else's: waiting does not help.
struct LockRefusal: Error, CustomStringConvertible {
    var text: String
    var description: String { self.text }
}

/// One holder: the key `PREFIX/.lock`, acquired by the session.
struct KeyLock: LockHolder {
    var store: LockStore
    var key: String

    /// Consul's mark of a lock's key.
    static let flags: UInt64 = 0x2ddc_cbc0_58a5_0c18

    func acquire() async throws -> LockGrant {
        var index: UInt64 = 0
        while true {
            let after = index
            let seen = try await self.store.patiently {
                try await self.store.entries(self.key, recurse: false, after: after)
            }
            try Task.checkCancellation()
            let entry = seen[self.key]
            if let entry, entry.flags != Self.flags { throw LockRefusal(text: "Existing key does not match lock use") }
            if let holder = entry?.session, !holder.isEmpty, holder != self.store.session {
                Progress.note("\(self.key) is held by session \(holder); waiting")
                index = seen.index < index ? 0 : seen.index
                continue
            }
            if let grant = try await self.store.patiently({ try await self.take() }) { return grant }
            index = 0
            // Free and refused: the last holder's lock delay runs, or another was faster, which the next look shows.
            try await Task.sleep(for: .seconds(1))
        }
    }

    /// Nil when it can't be had now.
    private func take() async throws -> LockGrant? {
        guard
            try await self.store.write(.PUT, self.key, [("flags", "\(Self.flags)"), ("acquire", self.store.session)])
        else { return nil }
        let seen = try await self.store.entries(self.key, recurse: false, after: 0)
        guard let entry = seen[self.key], entry.session == self.store.session else { return nil }
        return LockGrant(
            key: self.key, session: self.store.session, lockIndex: entry.lockIndex, fence: entry.modifyIndex)
    }

    func isHeld(after index: UInt64) async throws -> (held: Bool, index: UInt64) {
        let seen = try await self.store.entries(self.key, recurse: false, after: index)
        return (seen[self.key]?.session == self.store.session, seen.index)
    }

    func release() async throws {
        try await self.store.patiently {
            _ = try await self.store.write(
                .PUT, self.key, [("flags", "\(Self.flags)"), ("release", self.store.session)])
        }
    }

    func cleanUp() async throws -> Bool {
        let seen = try await self.store.entries(self.key, recurse: false, after: 0)
        guard let entry = seen[self.key] else { return true }
        if entry.session?.isEmpty == false { return false }
        return try await self.store.write(.DELETE, self.key, [("cas", "\(entry.modifyIndex)")])
    }
}
