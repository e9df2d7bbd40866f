import Cluster
import NIOCore
import NIOPosix
import Registry
import Synchronization
import Testing
import Units

/// The newest index that a writer has written.
private final class Written: Sendable {
    let index = Mutex<UInt64>(0)
}

@Suite struct WatchHubTests {
    private let hub = WatchHub(eventLoop: MultiThreadedEventLoopGroup.singleton.next(), watchersMax: 64)

    private func key(_ text: String) -> WatchKey { WatchKey(table: .kv, key: ByteKey(text)) }
    private func prefix(_ text: String) -> WatchKey { WatchKey(table: .kv, key: ByteKey(text), isPrefix: true) }
    private func touch(_ text: String, isPrefix: Bool = false) -> Touch {
        Touch(table: .kv, key: ByteKey(text), isPrefix: isPrefix)
    }

    /// Waits until so many watches stand.
    private func registered(_ count: Int) async {
        while self.hub.count != count { try? await Task.sleep(nanoseconds: 1_000_000) }
    }

    /// True when `publish` ended the wait, which would else last a minute.
    private func wakes(
        _ watch: WatchKey, after index: UInt64 = 10, _ publish: @Sendable (WatchHub) -> Void
    ) async -> Bool {
        let hub = self.hub
        let ended = Task { await hub.wait(for: [watch], after: LogIndex(index), timeout: .seconds(60)) }
        await self.registered(1)
        publish(hub)
        let isGone = hub.count == 0
        ended.cancel()
        _ = await ended.value
        return isGone
    }

    @Test func aTouchOfTheKeyWakes() async {
        let touch = self.touch("a/b")
        #expect(await self.wakes(self.key("a/b")) { $0.publish([touch], at: LogIndex(11), everything: false) })
    }

    @Test func aTouchOfAnotherKeyDoesNot() async {
        let touch = self.touch("a/c")
        #expect(await !self.wakes(self.key("a/b")) { $0.publish([touch], at: LogIndex(11), everything: false) })
    }

    @Test func aTouchBelowAWatchedPrefixWakes() async {
        let touch = self.touch("a/b/c")
        #expect(await self.wakes(self.prefix("a/")) { $0.publish([touch], at: LogIndex(11), everything: false) })
    }

    @Test func aTouchOfAWholeTreeWakesWhatIsWatchedWithinIt() async {
        let touch = self.touch("a/", isPrefix: true)
        #expect(await self.wakes(self.key("a/b")) { $0.publish([touch], at: LogIndex(11), everything: false) })
        #expect(
            await self.wakes(self.prefix("a/b/"), after: 11) {
                $0.publish([touch], at: LogIndex(12), everything: false)
            })
        #expect(
            await !self.wakes(self.key("b"), after: 12) { $0.publish([touch], at: LogIndex(13), everything: false) })
    }

    @Test func aRestoredStateWakesEverybody() async {
        #expect(await self.wakes(self.key("x")) { $0.publish([], at: LogIndex(11), everything: true) })
    }

    @Test func aChangeBetweenTheReadAndTheWatchIsNotMissed() async {
        self.hub.publish([self.touch("a")], at: LogIndex(11), everything: false)
        // Registered late: what it waits for has happened already.
        #expect(await self.hub.wait(for: [self.key("a")], after: LogIndex(10), timeout: .seconds(3600)))
        #expect(self.hub.count == 0)
    }

    @Test func aWatchThatLooksBackBeyondWhatIsRememberedWakesAtOnce() async {
        for index in 1...9000 {
            self.hub.publish([self.touch("other")], at: LogIndex(UInt64(index)), everything: false)
        }
        #expect(await self.hub.wait(for: [self.key("a")], after: LogIndex(1), timeout: .seconds(3600)))
    }

    @Test func aCancelledWaitIsGoneAtOnce() async {
        let hub = self.hub
        let key = self.key("a")
        let waiting = Task { await hub.wait(for: [key], after: LogIndex(10), timeout: .seconds(3600)) }
        await self.registered(1)
        waiting.cancel()
        _ = await waiting.value
        #expect(hub.count == 0)
    }

    @Test func aWaitEndsWithItsTime() async {
        #expect(await self.hub.wait(for: [self.key("a")], after: LogIndex(10), timeout: .milliseconds(20)))
        #expect(self.hub.count == 0)
    }

    @Test func watchesBeyondTheBoundAreRefused() async {
        let hub = self.hub
        let key = self.key("a")
        let waiting = (0..<64).map { _ in
            Task { await hub.wait(for: [key], after: LogIndex(10), timeout: .seconds(3600)) }
        }
        await self.registered(64)
        #expect(await !hub.wait(for: [key], after: LogIndex(10), timeout: .seconds(3600)))
        for task in waiting { task.cancel() }
        for task in waiting { _ = await task.value }
        #expect(hub.count == 0)
    }

    @Test func readersThatFollowAWriterMissNothing() async {
        let hub = self.hub
        let written = Written()
        let last: UInt64 = 2000
        let key = self.key("a")
        let touch = self.touch("a")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var seen = written.index.withLock { $0 }
                    // An hour is never waited: a missed wake-up would hang the test.
                    while seen < last {
                        _ = await hub.wait(for: [key], after: LogIndex(seen), timeout: .seconds(3600))
                        seen = written.index.withLock { $0 }
                    }
                }
            }
            group.addTask {
                for index in 1...last {
                    written.index.withLock { $0 = index }
                    hub.publish([touch], at: LogIndex(index), everything: false)
                    if index % 7 == 0 { await Task.yield() }
                }
            }
        }
        #expect(hub.count == 0)
    }
}
