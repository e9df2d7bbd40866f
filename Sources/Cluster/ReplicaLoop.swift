import Logging
import NIOCore
import NIOPosix
import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Units

/// The shell around the replica: a thread that takes everything that happened, steps, flushes once, and obeys. It
/// branches on no protocol state.
final class ReplicaLoop: Sendable {
    let inbox: Inbox<LoopItem>
    let published: Mutex<Published>
    let watches: WatchHub
    private let logger: Logger
    private let running = Atomic(false)
    private let wakeIsDue = Atomic(false)

    /// True from `start` to the end: only then are items taken, and each gets its reply.
    var isRunning: Bool { self.running.load(ordering: .acquiring) }

    /// Where directives go.
    struct Outlets: Sendable {
        var persist: @Sendable ([PersistBatch]) -> Void
        var send: @Sendable ([Message]) -> Void
        var storage: @Sendable (ReplicaDirective) -> Void
        /// Another leader, or none, is published.
        var leadershipChanged: @Sendable () -> Void
        /// The log holds again what this server once promised.
        var quarantineLifted: @Sendable () -> Void
        /// The server must stop; the text says why.
        var halt: @Sendable (String) -> Void
    }

    /// Waiting requests beyond this are refused as overloaded.
    static let requestsMax = 65_536
    /// Ticks come at least this often.
    private static let tick = Nanoseconds.milliseconds(10)

    init(watches: WatchHub, logger: Logger) {
        self.inbox = Inbox(limit: Self.requestsMax)
        self.published = Mutex(Published(Registry()))
        self.watches = watches
        self.logger = logger
    }

    func start(_ replica: Replica, outlets: Outlets) -> WorkerThread {
        self.running.store(true, ordering: .releasing)
        return WorkerThread(name: "serai-replica") {
            var state = LoopState(replica: replica)
            Audience.publish(state.replica, to: self.published, watches: self.watches)
            self.run(&state, outlets)
        }
    }

    /// As before the first `start`; its thread has ended.
    func reset() {
        self.published.withLock { $0 = Published(Registry()) }
        self.inbox.reopen()
        self.wakeIsDue.store(false, ordering: .releasing)
    }

    /// Hands in what a lower room reports; it is never turned away, since it answers a question of this loop.
    func report(_ input: ReplicaInput) {
        self.inbox.post(.input(input), always: true)
    }

    /// Hands in a request. False: it was not taken, and gets no reply.
    func ask(_ item: LoopItem) -> Bool {
        guard self.isRunning else { return false }
        guard let eventLoop = MultiThreadedEventLoopGroup.currentEventLoop else { return self.inbox.post(item) }
        guard self.inbox.post(item, wakes: false) else { return false }
        self.wake(after: eventLoop)
        return true
    }

    /// Wakes the thread once the event loop has handled all that its sockets had for it, so that they become one batch.
    /// One that another loop's turn is to wake for wakes for all; should that turn be long, the next tick comes first.
    private func wake(after eventLoop: any EventLoop) {
        guard !self.wakeIsDue.exchange(true, ordering: .acquiringAndReleasing) else { return }
        eventLoop.execute {
            self.wakeIsDue.store(false, ordering: .releasing)
            self.inbox.wake()
        }
    }

    private func run(_ state: inout LoopState, _ outlets: Outlets) {
        var directives: [ReplicaDirective] = []
        var lastTick = SystemClock.now()
        while let items = self.inbox.take(timeout: Self.tick) {
            let now = SystemClock.now()
            let wallTime = SystemClock.wallTime()
            for (position, item) in items.enumerated() {
                if case .stop = item { return self.end(items[(position + 1)...], &state) }
                self.handle(item, &state, at: now, wallTime: wallTime, into: &directives)
            }
            if now.since(lastTick) >= Self.tick || now >= state.replica.nextDeadline {
                lastTick = now
                state.replica.step(.tick, at: now, wallTime: wallTime, into: &directives)
                state.audience.expire(at: now)
            }
            state.replica.flush(at: now, wallTime: wallTime, into: &directives)
            self.obey(&directives, &state, outlets)
        }
        self.end([], &state)
    }

    /// Everyone who waits is told; what comes later is not taken.
    private func end(_ unhandled: ArraySlice<LoopItem>, _ state: inout LoopState) {
        self.running.store(false, ordering: .releasing)
        self.inbox.close()
        for item in unhandled + (self.inbox.take(timeout: .zero) ?? []) { Self.refuse(item) }
        state.audience.refuseAll()
    }

    private static func refuse(_ item: LoopItem) {
        switch item {
        case .propose(_, _, let reply): reply(.refused(.lostLeadership, mayApply: false))
        case .read(_, let reply): reply(.refused(.lostLeadership))
        case .renewSession(_, _, let reply): reply(.refused(.lostLeadership))
        case .administer(_, _, let reply): reply(.lostLeadership)
        case .status(let reply): reply(PeerRaftStatus())
        case .input, .messages, .stop: break
        }
    }

    private func handle(
        _ item: LoopItem, _ state: inout LoopState, at now: Instant, wallTime: UInt64,
        into directives: inout [ReplicaDirective]
    ) {
        switch item {
        case .input(let input):
            state.replica.step(input, at: now, wallTime: wallTime, into: &directives)
        case .messages(let messages):
            for message in messages {
                state.replica.step(.message(message), at: now, wallTime: wallTime, into: &directives)
            }
        case .propose, .read, .renewSession, .administer:
            if let input = state.audience.input(for: item) {
                state.replica.step(input, at: now, wallTime: wallTime, into: &directives)
            }
        case .status(let reply):
            reply(state.replica.status(at: now))
        case .stop:
            break
        }
    }

    /// First what others wait for (messages, disk), then what became visible, then the answers: whoever has an answer
    /// can see what it speaks of.
    private func obey(_ directives: inout [ReplicaDirective], _ state: inout LoopState, _ outlets: Outlets) {
        var batches: [PersistBatch] = []
        var messages: [Message] = []
        for directive in directives {
            switch directive {
            case .persist(let batch): batches.append(batch)
            case .send(let message): messages.append(message)
            case .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot, .takeSnapshot, .compact:
                Self.flush(&batches, to: outlets)
                outlets.storage(directive)
            case .trace(let event):
                if case .quarantineLifted = event { outlets.quarantineLifted() }
                self.trace(event)
            case .halt(let reason):
                self.published.withLock { $0.halted = reason }
                outlets.halt(reason)
            case .publish, .leadership, .answer, .refuse, .readable, .readRefused, .sessionRenewed, .administered: break
            }
        }
        if !messages.isEmpty { outlets.send(messages) }
        Self.flush(&batches, to: outlets)
        state.audience.tell(
            directives, of: state.replica, published: self.published, watches: self.watches,
            leadershipChanged: outlets.leadershipChanged)
        directives.removeAll(keepingCapacity: true)
    }

    private static func flush(_ batches: inout [PersistBatch], to outlets: Outlets) {
        guard !batches.isEmpty else { return }
        outlets.persist(batches)
        batches.removeAll()
    }

    private func trace(_ event: TraceEvent) {
        switch event {
        case .becameLeader(let term): self.logger.notice("leads", metadata: ["term": "\(term)"])
        case .steppedDown(let term, let reason):
            self.logger.notice("stepped down", metadata: ["term": "\(term)", "reason": "\(reason)"])
        case .leaderChanged(let leader, let term):
            self.logger.info(
                "leader changed", metadata: ["leader": "\(leader?.description ?? "none")", "term": "\(term)"])
        case .becameCandidate(let term): self.logger.info("campaigns", metadata: ["term": "\(term)"])
        case .configurationCommitted(let configuration, let index):
            let names = configuration.voters.map(\.name).joined(separator: ",")
            self.logger.notice("configuration committed", metadata: ["index": "\(index)", "voters": "\(names)"])
        case .quarantineLifted(let index):
            self.logger.notice("log healed, this server votes again", metadata: ["index": "\(index)"])
        case .snapshotInstalled(let index):
            self.logger.notice("snapshot installed", metadata: ["index": "\(index)"])
        case .snapshotSendStarted(let peer, let index):
            self.logger.info("sends a snapshot", metadata: ["to": "\(peer)", "index": "\(index)"])
        case .configurationAppended, .configurationRolledBack, .becameFollower, .becamePreCandidate, .ignored:
            self.logger.debug("\(event)")
        }
    }
}

/// What lives on the replica's thread alone.
struct LoopState {
    var replica: Replica
    var audience = Audience()
}
