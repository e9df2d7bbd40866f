import HTTPAPI
import Logging
import NIOCore
import Synchronization

/// Those who read the log over the API while it is written.
package final class LogFollowers: Sendable {
    static let shared = LogFollowers()
    /// More are turned away.
    package static let most = 32

    private struct State {
        var followers: [Int: Follower.Inbox] = [:]
        var lastID = 0
    }

    package init() {}

    private let state = Mutex(State())
    /// The place in `Logger.Level.allCases` of the lowest level that anyone follows; beyond them all when nobody does.
    private let lowest = Atomic(Logger.Level.allCases.count)

    /// Nil when nobody follows.
    package var level: Logger.Level? {
        let place = self.lowest.load(ordering: .relaxed)
        return place < Logger.Level.allCases.count ? Logger.Level.allCases[place] : nil
    }

    /// Nil when there are as many already as may be.
    package func follow(_ level: Logger.Level, asJSON: Bool) -> Follower? {
        self.state.withLock { state in
            if state.followers.count >= Self.most { return nil }
            state.lastID += 1
            let inbox = Follower.Inbox(level: level, isJSON: asJSON)
            state.followers[state.lastID] = inbox
            self.noteLowest(state)
            return Follower(inbox) { [weak self, id = state.lastID] in self?.forget(id) }
        }
    }

    private func forget(_ id: Int) {
        self.state.withLock { state in
            state.followers[id] = nil
            self.noteLowest(state)
        }
    }

    private func noteLowest(_ state: State) {
        let places = state.followers.values.compactMap { Logger.Level.allCases.firstIndex(of: $0.level) }
        self.lowest.store(places.min() ?? Logger.Level.allCases.count, ordering: .relaxed)
    }

    /// - Parameter line: the line as JSON or not, without its end.
    package func tell(_ level: Logger.Level, _ line: (_ asJSON: Bool) -> String) {
        let inboxes = self.state.withLock { state in state.followers.values.filter { $0.level <= level } }
        for inbox in inboxes { inbox.put(line(inbox.isJSON)) }
    }
}

/// One of them.
package final class Follower: LogFollower {
    package static let mostBytes = 256 * 1024

    /// Lines that wait to be read, bounded.
    final class Inbox: Sendable {
        let level: Logger.Level
        let isJSON: Bool
        private let state = Mutex(State())
        private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

        private struct State {
            var bytes = ByteBuffer()
            var missed = 0
        }

        init(level: Logger.Level, isJSON: Bool) {
            self.level = level
            self.isJSON = isJSON
        }

        func put(_ line: String) {
            self.state.withLock { state in
                if state.bytes.readableBytes + line.utf8.count >= Follower.mostBytes {
                    state.missed += 1
                } else {
                    state.bytes.writeString(line)
                    state.bytes.writeInteger(UInt8(ascii: "\n"))
                }
            }
            self.wake.continuation.yield()
        }

        func take() async -> ByteBuffer? {
            var turns = self.wake.stream.makeAsyncIterator()
            while await turns.next() != nil {
                let (bytes, missed) = self.state.withLock { state in
                    defer { state = State() }
                    return (state.bytes, state.missed)
                }
                if bytes.readableBytes == 0 { continue }
                return missed == 0 ? bytes : self.telling(missed, after: bytes)
            }
            return nil
        }

        private func telling(_ missed: Int, after bytes: ByteBuffer) -> ByteBuffer {
            var bytes = bytes
            bytes.writeString(
                self.isJSON
                    ? #"{"@level":"warn","@message":"lines were missed","@module":"monitor","count":"\#(missed)"}"#
                        + "\n"
                    : "[WARN]  monitor: lines were missed: count=\(missed)\n")
            return bytes
        }
    }

    private let inbox: Inbox
    private let end: @Sendable () -> Void

    init(_ inbox: Inbox, end: @escaping @Sendable () -> Void) {
        self.inbox = inbox
        self.end = end
    }

    deinit { self.end() }

    package func next() async -> ByteBuffer? { await self.inbox.take() }
}
