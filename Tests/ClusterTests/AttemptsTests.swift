import Cluster
import Protocol
import Testing
import Transport
import Units

@Suite struct AttemptsTests {
    private func time(_ seconds: UInt64) -> Instant { .start + .seconds(seconds) }

    @Test func whoFindsNoLeaderWaitsForOneSevenSecondsLong() async throws {
        var attempts = Attempts(now: self.time(0), timeout: .seconds(300))
        try await attempts.pause(at: self.time(6))
        await #expect(throws: ClusterError.noLeader) { try await attempts.pause(at: self.time(7)) }
    }

    @Test func aServerThatIsLostAfterALongWaitLeavesTimeToFindAnother() async throws {
        var attempts = Attempts(now: self.time(0), timeout: .seconds(300))
        attempts.wasLost(at: self.time(100), mayApply: false)
        try await attempts.pause(at: self.time(106))
        await #expect(throws: ClusterError.noLeader) { try await attempts.pause(at: self.time(107)) }
        attempts.wasLost(at: self.time(299), mayApply: false)
        await #expect(throws: ClusterError.noLeader) { try await attempts.pause(at: self.time(300)) }
    }

    @Test func aRefusalStandsOnlyWhileNoEarlierAttemptMayHaveBeenApplied() {
        var refusal = PeerResponse()
        var mark = PeerHeader()
        (mark.name, mark.value) = (ForwardedHeader.notPlaced, "true")
        refusal.http.status = 500
        refusal.http.headers = [mark]
        var answer = PeerResponse()
        answer.http.status = 500
        let busy = PeerResponse.failure(429, "too many calls")

        var attempts = Attempts(now: self.time(0), timeout: .seconds(20))
        #expect([refusal, answer, busy].allSatisfy { attempts.isFinal($0) })
        attempts.wasLost(at: self.time(1), mayApply: false)
        #expect([refusal, answer, busy].allSatisfy { attempts.isFinal($0) })
        // The write may be in the log: that this server could not place it says nothing.
        attempts.wasLost(at: self.time(2), mayApply: true)
        #expect(!attempts.isFinal(refusal) && !attempts.isFinal(busy))
        #expect(attempts.isFinal(answer))
    }

    @Test func aWriteThatWasOnItsWayIsNeverSaidToHaveFailed() async throws {
        var attempts = Attempts(now: self.time(0), timeout: .seconds(20))
        attempts.wasLost(at: self.time(1), mayApply: true)
        try await attempts.pause(at: self.time(19))
        do {
            try await attempts.pause(at: self.time(20))
            Issue.record("its time is over")
        } catch {
            guard case .outcomeUnknown = error else {
                Issue.record("said \(error)")
                return
            }
        }
    }
}
