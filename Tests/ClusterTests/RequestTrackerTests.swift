import Cluster
import Protocol
import Testing

@Suite struct RequestTrackerTests {
    private func stamped(_ tracker: RequestTracker, _ ticket: RequestTracker.Ticket) -> LogEnvelope {
        var envelope = LogEnvelope()
        tracker.stamp(&envelope, ticket)
        return envelope
    }

    @Test func sequencesRiseFromOneAndCarryTheClient() {
        let tracker = RequestTracker(client: 7)
        let envelopes = (0..<3).map { _ in self.stamped(tracker, tracker.begin()) }
        #expect(envelopes.map(\.sequence) == [1, 2, 3])
        #expect(envelopes.allSatisfy { $0.client == 7 && $0.lowestOutstanding == 1 })
    }

    @Test func theLowestOutstandingStaysAtTheOldestThatIsOpen() {
        let tracker = RequestTracker(client: 7)
        let first = tracker.begin()
        let second = tracker.begin()
        let third = tracker.begin()
        tracker.end(second)
        #expect(self.stamped(tracker, third).lowestOutstanding == 1)
        tracker.end(first)
        #expect(self.stamped(tracker, third).lowestOutstanding == 3)
        tracker.end(third)
        let fourth = tracker.begin()
        #expect(fourth.sequence == 4)
        #expect(self.stamped(tracker, fourth).lowestOutstanding == 4)
    }
}
