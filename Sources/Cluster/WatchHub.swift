import NIOCore
import Registry
import Synchronization
import Units

/// Wakes blocking queries. A watch names keys or prefixes; a touch wakes those that cover it.
///
/// A query that read the state at index A and registers later must not miss a change in between: the hub remembers
/// the last touches, and a watch that asks about a time before those wakes at once, which costs one more look.
package final class WatchHub: Sendable {
    fileprivate struct Watcher {
        var watches: [WatchKey]
        var continuation: CheckedContinuation<Void, Never>
        var timer: Scheduled<Void>?
    }

    fileprivate struct Target: Hashable {
        var table: Table
        var key: ByteKey
    }

    fileprivate struct State {
        var watchers: [UInt64: Watcher] = [:]
        var exact: [Target: Set<UInt64>] = [:]
        var prefixes: [Target: Set<UInt64>] = [:]
        /// How many prefix watches there are of each length, so that a touch looks up only lengths in use.
        var prefixLengths: [Int: Int] = [:]
        var recent: [(index: LogIndex, touch: Touch)] = []
        /// Changes after this index are all in `recent`.
        var recentSince = LogIndex.zero
        var nextID: UInt64 = 0
        var cancelled: Set<UInt64> = []
    }

    /// Touches remembered; at 10,000 writes a second this is the last half second.
    private static let recentMax = 4096
    private let state = Mutex(State())
    private let eventLoop: any EventLoop
    private let watchersMax: Int

    package init(eventLoop: any EventLoop, watchersMax: Int = 100_000) {
        self.eventLoop = eventLoop
        self.watchersMax = watchersMax
    }

    package var count: Int { self.state.withLock { $0.watchers.count } }

    /// Returns when something in `watches` was touched after `index`, when everything was replaced, when the time is
    /// over or when the task is cancelled; the watch is gone then. False: too many watches.
    package func wait(for watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds) async -> Bool {
        let id: UInt64? = self.state.withLock { state in
            guard state.watchers.count < self.watchersMax else { return nil }
            state.nextID += 1
            return state.nextID
        }
        guard let id else { return false }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.register(id, watches, after: index, timeout: timeout, continuation)
            }
        } onCancel: {
            self.wake(id, cancelled: true)
        }
        // A cancellation that came after the wake-up left word for nobody.
        self.state.withLock { _ = $0.cancelled.remove(id) }
        return true
    }

    private func register(
        _ id: UInt64, _ watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds,
        _ continuation: CheckedContinuation<Void, Never>
    ) {
        let registered = self.state.withLock { state -> Bool in
            if state.cancelled.remove(id) != nil { return false }
            if index < state.recentSince { return false }
            // The newest touches stand at the end: look back only as far as the query's own index.
            for (touchedAt, touch) in state.recent.reversed() {
                if touchedAt <= index { break }
                if watches.contains(where: { $0.isTouched(by: touch) }) { return false }
            }
            state.watchers[id] = Watcher(watches: watches, continuation: continuation, timer: nil)
            for watch in watches { state.add(watch, id) }
            return true
        }
        guard registered else {
            continuation.resume()
            return
        }
        let timer = self.eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: timeout.rawValue))) { self.wake(id) }
        let stillThere = self.state.withLock { state -> Bool in
            guard state.watchers[id] != nil else { return false }
            state.watchers[id]?.timer = timer
            return true
        }
        if !stillThere { timer.cancel() }
    }

    private func wake(_ id: UInt64, cancelled: Bool = false) {
        let watcher = self.state.withLock { state -> Watcher? in
            let watcher = state.take(id)
            // Cancelled before it was registered: leave word for the registration.
            if watcher == nil, cancelled { state.cancelled.insert(id) }
            return watcher
        }
        watcher?.timer?.cancel()
        watcher?.continuation.resume()
    }

    /// Called by the replica's thread, in log order. Who has waited longest is woken first.
    package func publish(_ touched: [Touch], at index: LogIndex, everything: Bool) {
        let woken = self.state.withLock { state -> [Watcher] in
            if everything {
                state.recent.removeAll()
                state.recentSince = index
                return state.watchers.keys.sorted().compactMap { state.take($0) }
            }
            state.remember(touched, at: index, limit: Self.recentMax)
            if state.watchers.isEmpty { return [] }
            var ids: Set<UInt64> = []
            for touch in touched { state.collect(touch, into: &ids) }
            return ids.sorted().compactMap { state.take($0) }
        }
        for watcher in woken {
            watcher.timer?.cancel()
            watcher.continuation.resume()
        }
    }
}

extension WatchHub.State {
    fileprivate mutating func add(_ watch: WatchKey, _ id: UInt64) {
        let target = WatchHub.Target(table: watch.table, key: watch.key)
        if watch.isPrefix {
            self.prefixes[target, default: []].insert(id)
            self.prefixLengths[watch.key.count, default: 0] += 1
        } else {
            self.exact[target, default: []].insert(id)
        }
    }

    fileprivate mutating func take(_ id: UInt64) -> WatchHub.Watcher? {
        guard let watcher = self.watchers.removeValue(forKey: id) else { return nil }
        for watch in watcher.watches {
            let target = WatchHub.Target(table: watch.table, key: watch.key)
            if watch.isPrefix {
                self.prefixes[target]?.remove(id)
                if self.prefixes[target]?.isEmpty ?? false { self.prefixes[target] = nil }
                self.prefixLengths[watch.key.count, default: 1] -= 1
                if self.prefixLengths[watch.key.count] == 0 { self.prefixLengths[watch.key.count] = nil }
            } else {
                self.exact[target]?.remove(id)
                if self.exact[target]?.isEmpty ?? false { self.exact[target] = nil }
            }
        }
        return watcher
    }

    fileprivate mutating func remember(_ touched: [Touch], at index: LogIndex, limit: Int) {
        for touch in touched { self.recent.append((index, touch)) }
        guard self.recent.count > 2 * limit else { return }
        let dropped = self.recent.count - limit
        self.recentSince = self.recent[dropped - 1].index
        self.recent.removeFirst(dropped)
    }

    fileprivate func collect(_ touch: Touch, into ids: inout Set<UInt64>) {
        if touch.isPrefix { self.collectBelow(touch, into: &ids) }
        if let found = self.exact[WatchHub.Target(table: touch.table, key: touch.key)] { ids.formUnion(found) }
        for length in self.prefixLengths.keys where length <= touch.key.count {
            let prefix = ByteKey(Array(touch.key.bytes[..<length]))
            if let found = self.prefixes[WatchHub.Target(table: touch.table, key: prefix)] { ids.formUnion(found) }
        }
    }

    /// A whole tree was touched: everything watched within it. Rare enough to look at every watch.
    private func collectBelow(_ touch: Touch, into ids: inout Set<UInt64>) {
        for targets in [self.exact, self.prefixes] {
            for (target, watchers) in targets where target.table == touch.table && target.key.hasPrefix(touch.key) {
                ids.formUnion(watchers)
            }
        }
    }
}
