import Protocol
import Raft
import Units

/// How often and how long a request is tried.
package struct Attempts: Sendable {
    let deadline: Instant
    private var holdUntil: Instant
    private var mayApply = false
    private var lastReason: RefusalReason = .notLeader(nil)
    private var pauses: UInt64 = 0

    package init(now: Instant, timeout: Nanoseconds) {
        self.deadline = now + timeout
        self.holdUntil = now + min(timeout, Server.holdTime)
    }

    /// A result, or nil to try again.
    mutating func judge(_ outcome: ProposeOutcome) throws(ClusterError) -> LogResult? {
        switch outcome {
        case .applied(let result): return result
        case .refused(let reason, let mayApply):
            self.lastReason = reason
            if mayApply { self.mayApply = true }
            switch reason {
            case .overloaded where !self.mayApply: throw .overloaded(leaderOnly: true)
            case .invalid(let text): throw .refused(status: 400, text: text)
            case .timedOut: throw .outcomeUnknown("the write was not confirmed within its time")
            default: return nil
            }
        }
    }

    /// Whoever was asked had the request until now, and is gone: the time to look for another begins. `mayApply`: it was
    /// a write.
    package mutating func wasLost(at now: Instant, mayApply: Bool) {
        if mayApply { self.mayApply = true }
        self.holdUntil = max(self.holdUntil, min(self.deadline, now + Server.holdTime))
    }

    /// False when this answer only says that the last attempt placed nothing, while an earlier one of the same write may
    /// have been applied: another attempt gets that one's result.
    package func isFinal(_ response: PeerResponse) -> Bool {
        guard self.mayApply else { return true }
        return response.error.isEmpty && !response.http.headers.contains { $0.name == ForwardedHeader.notPlaced }
    }

    /// Waits a little before the next attempt; throws when the time is over.
    package mutating func pause(
        at now: Instant, in surroundings: ClusterSurroundings = .process
    ) async throws(ClusterError) {
        if self.mayApply ? now >= self.deadline : now >= self.holdUntil {
            if self.mayApply {
                throw .outcomeUnknown("leadership changed and the write could not be confirmed in time")
            }
            if self.lastReason == .diskFull { throw .diskFull }
            throw .noLeader
        }
        self.pauses += 1
        do {
            try await surroundings.pause(.milliseconds(min(50, 5 * self.pauses)))
        } catch {
            throw .shuttingDown
        }
    }
}
