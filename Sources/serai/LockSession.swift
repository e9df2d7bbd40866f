import Foundation
import NIOCore
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
        var plan = RenewalPlan(ttl: self.ttl, good: .now)
        while !Task.isCancelled {
            try? await Task.sleep(until: plan.next(after: .now), clock: .continuous)
            let begun = ContinuousClock.now
            guard let patience = plan.patience(at: begun) else {
                return "its session could not be renewed for its whole TTL"
            }
            let answer = try? await self.client.send(.PUT, self.path("renew"), timeout: TimeAmount(patience))
            if answer?.status == 404 { return "its session was ended" }
            if answer?.status == 200 { plan.renewed(at: begun) } else { plan.failed() }
        }
        return "given up"
    }

    /// Best effort: a session that stays ends by its TTL.
    func destroy() async {
        _ = try? await self.client.send(.PUT, self.path("destroy"), timeout: .seconds(4))
    }
}

/// When a session is renewed next, and when it counts as lost: at its TTL's end, whatever is under way then.
package struct RenewalPlan: Sendable {
    private let ttl: Duration
    /// From before the last request that renewed it.
    private var good: ContinuousClock.Instant
    private var isFailing = false

    package init(ttl: Duration, good: ContinuousClock.Instant) {
        self.ttl = ttl
        self.good = good
    }

    private var end: ContinuousClock.Instant { self.good + self.ttl }

    /// After a third of its time; after a failure, a second later.
    package func next(after now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        min(now + (self.isFailing ? .seconds(1) : self.ttl / 3), self.end)
    }

    /// How long a renewal may take that begins now; nil: the session's time is over.
    package func patience(at now: ContinuousClock.Instant) -> Duration? {
        let left = now.duration(to: self.end)
        return left > .zero ? min(.seconds(4), left) : nil
    }

    package mutating func renewed(at begun: ContinuousClock.Instant) {
        self.good = begun
        self.isFailing = false
    }

    package mutating func failed() { self.isFailing = true }
}
