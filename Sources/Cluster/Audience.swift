import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Units

/// What the replica's thread is asked.
package enum LoopItem: Sendable {
    case input(ReplicaInput)
    case messages([Message])
    case propose(LogEnvelope, deadline: Instant, reply: @Sendable (ProposeOutcome) -> Void)
    case read(deadline: Instant, reply: @Sendable (ReadOutcome) -> Void)
    case renewSession(String, deadline: Instant, reply: @Sendable (RenewOutcome) -> Void)
    case administer(Administration, deadline: Instant, reply: @Sendable (RefusalReason?) -> Void)
    case status(reply: @Sendable (PeerRaftStatus) -> Void)
    case stop
}

package enum Administration: Sendable {
    case join(Member)
    case change(MembershipChange)
    case transfer(to: NodeID?)
}

package enum ProposeOutcome: Sendable {
    case applied(LogResult)
    /// `mayApply`: it may stand in the log; a retry must carry the same sequence.
    case refused(RefusalReason, mayApply: Bool)
}
package enum ReadOutcome: Sendable { case readable, refused(RefusalReason) }
package enum RenewOutcome: Sendable { case renewed(found: Bool), refused(RefusalReason) }

/// What other threads may look at, published after each batch.
package struct Published: Sendable {
    var state: SharedRegistry
    package var registry: Registry { self.state.registry }
    package var isReady = false
    package var leader: NodeID?
    package var isLeader = false
    var term = Term.zero
    /// Whom this server voted for in `term`.
    var vote: NodeID?
    package var configuration = Configuration.empty
    var lastLeaderContact = Instant.start
    /// Why the server stopped, once it has.
    var halted: String?

    package init(_ registry: Registry) { self.state = SharedRegistry(registry) }

    var leaderMember: Member? { self.leader.flatMap { self.configuration.member($0) } }

    /// Who leads, as the server `id` knows; without an address when it is that server.
    package func knownLeader(to id: NodeID) -> (member: Member, isSelf: Bool)? {
        if self.isLeader { return (Member(id: id), true) }
        return self.leaderMember.map { ($0, false) }
    }

    /// `mustBeReady`: nil before the server may show its state.
    package func view(mustBeReady: Bool, at now: Instant) -> ReadView? {
        if mustBeReady, !self.isReady { return nil }
        if self.halted != nil { return nil }
        return ReadView(
            self.state, lastContact: self.isLeader ? .zero : now.since(self.lastLeaderContact),
            knownLeader: self.leader != nil)
    }

    /// - Parameter state: `replica`'s; changes places with the one before, much of which may go with it: it is let go of
    ///   outside of any lock.
    mutating func show(_ replica: Replica, _ state: inout SharedRegistry) {
        swap(&self.state, &state)
        self.isReady = replica.isReady
        self.leader = replica.raft.leader
        self.isLeader = replica.isLeader
        self.term = replica.raft.term
        self.vote = replica.raft.vote
        self.configuration = replica.raft.configuration
        self.lastLeaderContact = replica.raft.lastLeaderContact
    }
}

/// Who waits for the replica's answers. It tells each of them once, and whoever has an answer can see what it speaks of.
package struct Audience {
    private enum Waiter {
        case propose(@Sendable (ProposeOutcome) -> Void)
        case read(@Sendable (ReadOutcome) -> Void)
        case renew(@Sendable (RenewOutcome) -> Void)
        case administer(@Sendable (RefusalReason?) -> Void)
    }

    private struct Publication {
        var touched: [Touch] = []
        var everything = false
        var isNeeded = false
        var leadershipChanged = false

        mutating func add(_ directive: ReplicaDirective) {
            switch directive {
            case .publish(let keys, let everything):
                self.isNeeded = true
                self.touched += keys
                self.everything = self.everything || everything
            case .leadership:
                self.isNeeded = true
                self.leadershipChanged = true
            case .persist, .send, .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot,
                .takeSnapshot, .compact, .answer, .refuse, .readable, .readRefused, .sessionRenewed, .administered,
                .trace, .halt:
                break
            }
        }
    }

    private var waiters: [UInt64: (waiter: Waiter, deadline: Instant)] = [:]
    private var nextToken: UInt64 = 0
    private var nextExpiry = Instant.start
    private var lastContactPublished = Instant.start

    package init() {}

    /// What the replica is to be told of an item; nil when there is nobody to wait for its answer.
    package mutating func input(for item: LoopItem) -> ReplicaInput? {
        switch item {
        case .propose(let envelope, let deadline, let reply):
            return .propose(token: self.register(.propose(reply), deadline: deadline), envelope: envelope)
        case .read(let deadline, let reply):
            return .read(token: self.register(.read(reply), deadline: deadline))
        case .renewSession(let id, let deadline, let reply):
            return .renewSession(token: self.register(.renew(reply), deadline: deadline), id: id)
        case .administer(let administration, let deadline, let reply):
            let token = self.register(.administer(reply), deadline: deadline)
            switch administration {
            case .join(let member): return .join(token: token, member)
            case .change(let change): return .changeMembership(token: token, change)
            case .transfer(let to): return .transferLeadership(token: token, to: to)
            }
        case .input, .messages, .status, .stop: return nil
        }
    }

    private mutating func register(_ waiter: Waiter, deadline: Instant) -> UInt64 {
        self.nextToken += 1
        self.waiters[self.nextToken] = (waiter, deadline)
        return self.nextToken
    }

    private mutating func take(_ token: UInt64) -> Waiter? { self.waiters.removeValue(forKey: token)?.waiter }

    /// After a batch: first what became visible, then the answers.
    package mutating func tell(
        _ directives: [ReplicaDirective], of replica: Replica, published: borrowing Mutex<Published>,
        watches: WatchHub, leadershipChanged: () -> Void
    ) {
        var publication = Publication()
        for directive in directives { publication.add(directive) }
        if publication.isNeeded || self.contactMoved(replica) {
            Self.publish(replica, publication, published, watches)
        }
        if publication.leadershipChanged { leadershipChanged() }
        for directive in directives { self.answer(directive) }
    }

    /// Before the first batch.
    package static func publish(_ replica: Replica, to published: borrowing Mutex<Published>, watches: WatchHub) {
        Self.publish(replica, Publication(), published, watches)
    }

    private static func publish(
        _ replica: Replica, _ publication: Publication, _ published: borrowing Mutex<Published>, _ watches: WatchHub
    ) {
        var state = SharedRegistry(replica.registry)
        published.withLock { $0.show(replica, &state) }
        if publication.everything || !publication.touched.isEmpty {
            watches.publish(
                publication.touched, at: replica.registry.appliedIndex, everything: publication.everything)
        }
    }

    private mutating func answer(_ directive: ReplicaDirective) {
        switch directive {
        case .answer(let token, let result):
            if case .propose(let reply) = self.take(token) { reply(.applied(result)) }
        case .refuse(let token, let reason, let mayApply):
            self.refuse(token, reason, mayApply: mayApply)
        case .readable(let tokens):
            for token in tokens {
                if case .read(let reply) = self.take(token) { reply(.readable) }
            }
        case .readRefused(let tokens, let reason):
            for token in tokens { self.refuse(token, reason, mayApply: false) }
        case .sessionRenewed(let token, let found):
            if case .renew(let reply) = self.take(token) { reply(.renewed(found: found)) }
        case .administered(let token, let reason):
            if case .administer(let reply) = self.take(token) { reply(reason) }
        case .persist, .send, .fetchEntries, .readSnapshotChunk, .storeSnapshotChunk, .installSnapshot,
            .takeSnapshot, .compact, .publish, .leadership, .trace, .halt:
            break
        }
    }

    private mutating func refuse(_ token: UInt64, _ reason: RefusalReason, mayApply: Bool) {
        switch self.take(token) {
        case .propose(let reply): reply(.refused(reason, mayApply: mayApply))
        case .read(let reply): reply(.refused(reason))
        case .renew(let reply): reply(.refused(reason))
        case .administer(let reply): reply(reason)
        case nil: break
        }
    }

    /// Ten times a second: whoever waits beyond the deadline is told so.
    package mutating func expire(at now: Instant) {
        guard now >= self.nextExpiry else { return }
        self.nextExpiry = now + .milliseconds(100)
        let late = self.waiters.filter { $0.value.deadline <= now }.keys.sorted()
        for token in late { self.refuse(token, .timedOut, mayApply: true) }
    }

    /// The replica has ended.
    package mutating func refuseAll() {
        for token in self.waiters.keys.sorted() { self.refuse(token, .lostLeadership, mayApply: true) }
    }

    /// True when the last contact with a leader is newer than what was published, by a tenth of a second or more.
    private mutating func contactMoved(_ replica: Replica) -> Bool {
        let contact = replica.raft.lastLeaderContact
        guard contact.since(self.lastContactPublished) >= .milliseconds(100) else { return false }
        self.lastContactPublished = contact
        return true
    }
}
