import Protocol
import Raft
import Units

/// How often and how long a request is tried.
struct Attempts {
    let deadline: Instant
    private let holdUntil: Instant
    private var mayApply = false
    private var lastReason: RefusalReason = .notLeader(nil)
    private var pauses: UInt64 = 0

    init(now: Instant, timeout: Nanoseconds) {
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

    /// Waits a little before the next attempt; throws when the time is over.
    mutating func pause(at now: Instant) async throws(ClusterError) {
        if self.mayApply ? now >= self.deadline : now >= self.holdUntil {
            if self.mayApply {
                throw .outcomeUnknown("leadership changed and the write could not be confirmed in time")
            }
            if self.lastReason == .diskFull { throw .diskFull }
            throw .noLeader
        }
        self.pauses += 1
        do {
            try await Task.sleep(nanoseconds: min(50, 5 * self.pauses) * 1_000_000)
        } catch {
            throw .shuttingDown
        }
    }
}
