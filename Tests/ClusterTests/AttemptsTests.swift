import Cluster
import Testing
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
