import Logging
import NIOCore
import NIOPosix
import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Units

/// What the replica's thread is asked.
enum LoopItem: Sendable {
    case input(ReplicaInput)
    case messages([Message])
    case propose(LogEnvelope, deadline: Instant, reply: @Sendable (ProposeOutcome) -> Void)
    case read(deadline: Instant, reply: @Sendable (ReadOutcome) -> Void)
    case renewSession(String, deadline: Instant, reply: @Sendable (RenewOutcome) -> Void)
    case administer(Administration, deadline: Instant, reply: @Sendable (RefusalReason?) -> Void)
    case status(reply: @Sendable (PeerRaftStatus) -> Void)
    case stop
}

enum Administration: Sendable {
    case join(Member)
    case change(MembershipChange)
    case transfer(to: NodeID?)
}

enum ProposeOutcome: Sendable {
    case applied(LogResult)
    /// `mayApply`: it may stand in the log; a retry must carry the same sequence.
    case refused(RefusalReason, mayApply: Bool)
}
enum ReadOutcome: Sendable { case readable, refused(RefusalReason) }
enum RenewOutcome: Sendable { case renewed(found: Bool), refused(RefusalReason) }

/// What other threads may look at, published after each batch.
struct Published: Sendable {
    var state: SharedRegistry
    var registry: Registry { self.state.registry }
    var isReady = false
    var leader: NodeID?
    var isLeader = false
    var term = Term.zero
    /// Whom this server voted for in `term`.
    var vote: NodeID?
    var configuration = Configuration.empty
    var lastLeaderContact = Instant.start
    /// Why the server stopped, once it has.
    var halted: String?

    var leaderMember: Member? { self.leader.flatMap { self.configuration.member($0) } }
}

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
        self.published = Mutex(Published(state: SharedRegistry(Registry())))
        self.watches = watches
        self.logger = logger
    }

    func start(_ replica: Replica, outlets: Outlets) -> WorkerThread {
        self.running.store(true, ordering: .releasing)
        return WorkerThread(name: "serai-replica") {
            var state = LoopState(replica: replica)
            self.publish(state.replica, Publication())
            self.run(&state, outlets)
        }
    }

    /// As before the first `start`; its thread has ended.
    func reset() {
        self.published.withLock { $0 = Published(state: SharedRegistry(Registry())) }
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
                state.expire(at: now)
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
        state.refuseAll()
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
        case .propose(let envelope, let deadline, let reply):
            let token = state.register(.propose(reply), deadline: deadline)
            state.replica.step(
                .propose(token: token, envelope: envelope), at: now, wallTime: wallTime, into: &directives)
        case .read(let deadline, let reply):
            let token = state.register(.read(reply), deadline: deadline)
            state.replica.step(.read(token: token), at: now, wallTime: wallTime, into: &directives)
        case .renewSession(let id, let deadline, let reply):
            let token = state.register(.renew(reply), deadline: deadline)
            state.replica.step(.renewSession(token: token, id: id), at: now, wallTime: wallTime, into: &directives)
        case .administer(let administration, let deadline, let reply):
            let token = state.register(.administer(reply), deadline: deadline)
            let input: ReplicaInput
            switch administration {
            case .join(let member): input = .join(token: token, member)
            case .change(let change): input = .changeMembership(token: token, change)
            case .transfer(let to): input = .transferLeadership(token: token, to: to)
            }
            state.replica.step(input, at: now, wallTime: wallTime, into: &directives)
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
        var publication = Publication()
        for directive in directives {
            switch directive {
            case .persist(let batch): batches.append(batch)
            case .send(let message): messages.append(message)
            case .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot, .takeSnapshot, .compact:
                Self.flush(&batches, to: outlets)
                outlets.storage(directive)
            case .publish(let keys, let everything): publication.add(keys, everything: everything)
            case .leadership: publication.leadershipChanged = true
            case .trace(let event):
                if case .quarantineLifted = event { outlets.quarantineLifted() }
                self.trace(event)
            case .halt(let reason):
                self.published.withLock { $0.halted = reason }
                outlets.halt(reason)
            case .answer, .refuse, .readable, .readRefused, .sessionRenewed, .administered: break
            }
        }
        if !messages.isEmpty { outlets.send(messages) }
        Self.flush(&batches, to: outlets)
        if publication.isNeeded || state.contactMoved() { self.publish(state.replica, publication) }
        if publication.leadershipChanged { outlets.leadershipChanged() }
        self.reply(directives, &state)
        directives.removeAll(keepingCapacity: true)
    }

    private func reply(_ directives: [ReplicaDirective], _ state: inout LoopState) {
        for directive in directives {
            switch directive {
            case .answer(let token, let result):
                if case .propose(let reply) = state.take(token) { reply(.applied(result)) }
            case .refuse(let token, let reason, let mayApply):
                state.refuse(token, reason, mayApply: mayApply)
            case .readable(let tokens):
                for token in tokens {
                    if case .read(let reply) = state.take(token) { reply(.readable) }
                }
            case .readRefused(let tokens, let reason):
                for token in tokens { state.refuse(token, reason, mayApply: false) }
            case .sessionRenewed(let token, let found):
                if case .renew(let reply) = state.take(token) { reply(.renewed(found: found)) }
            case .administered(let token, let reason):
                if case .administer(let reply) = state.take(token) { reply(reason) }
            case .persist, .send, .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot,
                .takeSnapshot, .compact, .publish, .leadership, .trace, .halt:
                break
            }
        }
    }

    private struct Publication {
        var touched: [Touch] = []
        var everything = false
        var changed = false
        var leadershipChanged = false
        var isNeeded: Bool { self.changed || self.leadershipChanged }

        mutating func add(_ keys: [Touch], everything: Bool) {
            self.changed = true
            self.touched += keys
            self.everything = self.everything || everything
        }
    }

    private static func flush(_ batches: inout [PersistBatch], to outlets: Outlets) {
        guard !batches.isEmpty else { return }
        outlets.persist(batches)
        batches.removeAll()
    }

    private func publish(_ replica: Replica, _ publication: Publication) {
        var state = SharedRegistry(replica.registry)
        // The one before is let go of only after the lock: much may go with it.
        self.published.withLock {
            swap(&$0.state, &state)
            $0.isReady = replica.isReady
            $0.leader = replica.raft.leader
            $0.isLeader = replica.isLeader
            $0.term = replica.raft.term
            $0.vote = replica.raft.vote
            $0.configuration = replica.raft.configuration
            $0.lastLeaderContact = replica.raft.lastLeaderContact
        }
        if publication.everything || !publication.touched.isEmpty {
            self.watches.publish(
                publication.touched, at: replica.registry.appliedIndex, everything: publication.everything)
        }
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
    enum Waiter {
        case propose(@Sendable (ProposeOutcome) -> Void)
        case read(@Sendable (ReadOutcome) -> Void)
        case renew(@Sendable (RenewOutcome) -> Void)
        case administer(@Sendable (RefusalReason?) -> Void)
    }

    var replica: Replica
    private var waiters: [UInt64: (waiter: Waiter, deadline: Instant)] = [:]
    private var nextToken: UInt64 = 0
    private var nextExpiry = Instant.start
    private var lastContactPublished = Instant.start

    init(replica: Replica) { self.replica = replica }

    mutating func register(_ waiter: Waiter, deadline: Instant) -> UInt64 {
        self.nextToken += 1
        self.waiters[self.nextToken] = (waiter, deadline)
        return self.nextToken
    }

    mutating func take(_ token: UInt64) -> Waiter? { self.waiters.removeValue(forKey: token)?.waiter }

    mutating func refuse(_ token: UInt64, _ reason: RefusalReason, mayApply: Bool) {
        switch self.take(token) {
        case .propose(let reply): reply(.refused(reason, mayApply: mayApply))
        case .read(let reply): reply(.refused(reason))
        case .renew(let reply): reply(.refused(reason))
        case .administer(let reply): reply(reason)
        case nil: break
        }
    }

    /// Ten times a second: whoever waits beyond the deadline is told so.
    mutating func expire(at now: Instant) {
        guard now >= self.nextExpiry else { return }
        self.nextExpiry = now + .milliseconds(100)
        let late = self.waiters.filter { $0.value.deadline <= now }.map(\.key)
        for token in late { self.refuse(token, .timedOut, mayApply: true) }
    }

    mutating func refuseAll() {
        for token in Array(self.waiters.keys) { self.refuse(token, .lostLeadership, mayApply: true) }
    }

    /// True when the last contact with a leader is newer than what was published, by a tenth of a second or more.
    mutating func contactMoved() -> Bool {
        let contact = self.replica.raft.lastLeaderContact
        guard contact.since(self.lastContactPublished) >= .milliseconds(100) else { return false }
        self.lastContactPublished = contact
        return true
    }
}
