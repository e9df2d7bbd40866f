import NIOCore
import Protocol
import Registry
import Synchronization
import Units

/// One topic's rows on an agent, as its server last told them.
final class AgentView: Sendable {
    let topic: ViewTopic
    /// Wakes whoever waits for another state.
    private let hub: WatchHub
    let content: Mutex<Content>

    struct Content {
        var rows = PartialRegistry()
        /// What is shown: `rows`, shared.
        var shown: SharedRegistry?
        /// Of `rows`; empty: all rows are asked for.
        var digest: [UInt8] = []
        var index: UInt64 = 0
        /// When the server last said that this is the topic's state, and how long it had not heard of a leader then.
        var confirmedAt = Instant.start
        var serverContact = Nanoseconds.zero
        var knownLeader = false
        var lastUse: Instant
        /// Differences that did not lead to what the server has, one after another.
        var mismatches = 0
        /// Why the topic can't be followed, and until when that is believed.
        var refusal: (error: ClusterError, until: Instant)?
        var task: Task<Void, Never>?
        /// The question that is under way.
        var asking: Task<Result<PeerResponse, ClusterError>, Never>?
    }

    init(_ topic: ViewTopic, on loop: any EventLoop, now: Instant) {
        self.topic = topic
        self.hub = WatchHub(eventLoop: loop)
        self.content = Mutex(Content(lastUse: now))
    }

    var bytes: Int { self.content.withLock { $0.rows.bytes } }

    /// Returns when a state after `index` was taken, or the time is over.
    func wait(after index: LogIndex, timeout: Nanoseconds) async -> Bool {
        await self.hub.wait(for: [], after: index, timeout: timeout)
    }

    /// What to ask the server.
    func question(wait: Nanoseconds) -> PeerRequest {
        self.content.withLock { content in
            var request = PeerRequest()
            request.view.kind = self.topic.kind
            request.view.key = .init(self.topic.key)
            request.view.digest = .init(content.digest)
            request.view.index = content.digest.isEmpty ? 0 : content.index
            request.view.applied = content.rows.registry.appliedIndex.rawValue
            request.view.waitMs = UInt32(clamping: wait.rawValue / 1_000_000)
            return request
        }
    }

    enum Outcome: Equatable {
        case taken
        /// All rows have to be asked for.
        case mismatch
    }

    /// Takes what the server answered.
    func take(_ answer: PeerViewAnswer, now: Instant) -> Outcome {
        let index: LogIndex? = self.content.withLock { content in
            content.confirmedAt = now
            content.serverContact = Nanoseconds(answer.lastContactNs)
            content.knownLeader = answer.knownLeader
            if answer.difference.isEmpty { return content.rows.registry.appliedIndex }
            var rows = content.rows
            guard (try? rows.take(Array(answer.difference))) != nil, rows.digest == Array(answer.digest) else {
                content.digest = []
                content.mismatches += 1
                return nil
            }
            content.mismatches = 0
            content.refusal = nil
            content.rows = rows
            content.shown = SharedRegistry(rows.registry)
            content.digest = Array(answer.digest)
            content.index = answer.index
            return rows.registry.appliedIndex
        }
        guard let index else { return .mismatch }
        if !answer.difference.isEmpty { self.hub.publish([], at: index, everything: true) }
        return .taken
    }

    /// Everybody asks again.
    func wakeAll() {
        let index = self.content.withLock { $0.rows.registry.appliedIndex }
        self.hub.publish([], at: index.next, everything: true)
    }

    /// Ends the following.
    func close() {
        let (task, asking) = self.content.withLock { ($0.task, $0.asking) }
        task?.cancel()
        asking?.cancel()
        self.wakeAll()
    }
}
