import Cluster
import Testing
import Units

@Suite struct InboxTests {
    @Test func everythingThatWasPostedIsTakenAtOnceAndInOrder() {
        let inbox = Inbox<Int>(limit: 10)
        for number in 1...3 { inbox.post(number) }
        #expect(inbox.take(timeout: .zero) == [1, 2, 3])
        #expect(inbox.take(timeout: .zero) == [])
    }

    @Test func aFullInboxTurnsItemsAwayButForThoseThatMustBeReported() {
        let inbox = Inbox<Int>(limit: 2)
        let taken = [inbox.post(1), inbox.post(2), inbox.post(3), inbox.post(4, always: true)]
        #expect(taken == [true, true, false, true])
        #expect(inbox.take(timeout: .zero) == [1, 2, 4])
    }

    @Test func aClosedInboxIsEmptiedAndThenEnds() {
        let inbox = Inbox<Int>(limit: 2)
        inbox.post(1)
        inbox.close()
        #expect(!inbox.post(2, always: true))
        #expect(inbox.take(timeout: .seconds(10)) == [1])
        #expect(inbox.take(timeout: .seconds(10)) == nil)
    }

    @Test func manyThreadsPostAndNothingIsLostOrReordered() {
        let inbox = Inbox<(poster: Int, number: Int)>(limit: 1_000_000)
        let posters = (0..<4).map { poster in
            WorkerThread(name: "poster") {
                for number in 0..<5000 { inbox.post((poster, number)) }
            }
        }
        var next = [0, 0, 0, 0]
        while next.reduce(0, +) < 20_000, let items = inbox.take(timeout: .seconds(30)), !items.isEmpty {
            for item in items {
                #expect(next[item.poster] == item.number)
                next[item.poster] = item.number + 1
            }
        }
        #expect(next == [5000, 5000, 5000, 5000])
        for poster in posters { poster.join(timeout: .seconds(10)) }
    }

    @Test func whatIsPostedWithoutWakingIsTakenAtTheWakeUp() {
        let inbox = Inbox<Int>(limit: 3)
        let taken = Inbox<[Int]>(limit: 3)
        let thread = WorkerThread(name: "taker") {
            while let items = inbox.take(timeout: .seconds(30)) { taken.post(items) }
        }
        // Time for the thread to fall asleep: nothing wakes it until it is told.
        #expect(taken.take(timeout: .milliseconds(200)) == [])
        for number in 0..<3 { #expect(inbox.post(number, wakes: false)) }
        #expect(taken.take(timeout: .milliseconds(200)) == [])
        inbox.wake()
        #expect(taken.take(timeout: .seconds(10)) == [[0, 1, 2]])
        inbox.close()
        thread.join(timeout: .seconds(10))
    }

    @Test func aBlockingThreadRunsCallsInOrderAndPassesErrorsOn() async throws {
        struct Refusal: Error, Equatable {}
        let thread = BlockingThread(name: "test")
        let first = try await thread.run { 1 }
        #expect(first == 1)
        await #expect(throws: Refusal()) { try await thread.run { () throws -> Int in throw Refusal() } }
        thread.close()
        await #expect(throws: ClusterError.shuttingDown) { try await thread.run { 2 } }
    }
}
