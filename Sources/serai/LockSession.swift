import Foundation
import Units

/// A session that is kept alive for as long as a lock is wanted.
struct LockSession: Sendable {
    var client: APIClient
    var id: String
    var ttl: Duration

    /// - Parameter behavior: what its end does to its keys, `release` or `delete`.
    static func create(_ client: APIClient, name: String, ttl: String, behavior: String) async throws -> LockSession {
        guard let time = GoDuration.parse(ttl), time >= .seconds(10), time <= .seconds(86_400) else {
            throw CommandFailure("Lock setup failed: -session-ttl must be from 10s to 24h, not \(ttl)")
        }
        let body = try JSONEncoder().encode(["Name": name, "TTL": ttl, "Behavior": behavior])
        let answer = try await client.demand(
            .PUT, "/v1/session/create", body: Array(body),
            failing: "Lock acquisition failed: failed to create session")
        guard let id = try answer.decoded([String: String].self)["ID"] else {
            throw CommandFailure("Lock acquisition failed: the agent made a session without an ID")
        }
        return LockSession(client: client, id: id, ttl: .nanoseconds(Int64(clamping: time.rawValue)))
    }

    private func path(_ verb: String) -> String {
        "/v1/session/\(verb)/" + PercentEncoding.of(self.id)
    }

    /// Renews until the session is gone or could not be renewed for its TTL, and says which. Counted from before the
    /// last good request: a server ends it after the TTL at the earliest, counted from when it got that.
    func keptAlive() async -> String {
        var good = ContinuousClock.now
        while !Task.isCancelled {
            try? await Task.sleep(for: self.ttl / 3)
            let begun = ContinuousClock.now
            if let answer = try? await self.client.send(.PUT, self.path("renew"), timeout: .seconds(4)) {
                if answer.status == 200 { good = begun }
                if answer.status == 404 { return "its session was ended" }
            }
            if good.duration(to: .now) >= self.ttl { return "its session could not be renewed for its whole TTL" }
        }
        return "given up"
    }

    /// Best effort: a session that stays ends by its TTL.
    func destroy() async {
        _ = try? await self.client.send(.PUT, self.path("destroy"), timeout: .seconds(4))
    }
}
