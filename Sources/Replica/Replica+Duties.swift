import FoundationEssentials
import Protocol
import Raft
import Registry
import Units

/// What only a leader keeps, in memory: session timers, node leases, servers on their way in. It is made anew, with
/// full leases, by each new leader.
package struct LeaderDuties: Sendable {
    var term: Term
    var since: Instant
    var sessions = DeadlineQueue()
    /// Sessions whose end is decided and not applied yet, with the time to decide it again.
    var endingSessions = DeadlineQueue()
    var nodes = DeadlineQueue()
    /// Nodes that are heard of although they stand as critical, or without the check.
    var revived: [String] = []
    /// Learners that have caught up, with the time that was first seen; sorted by id.
    var caughtUp: [(id: NodeID, since: Instant)] = []
    /// Token of the leader's own membership change that is not answered yet.
    var changeInFlight: UInt64?
    var hashProposedAt = LogIndex.zero
    var nextSweep: Instant
    /// The configuration whose servers stand in the catalog, and when that was last looked at.
    var reconciledConfiguration = LogIndex.zero
    var reconciledAt = Instant.start

    mutating func membershipAnswered(token: UInt64, _ reason: RefusalReason?) {
        if self.changeInFlight == token { self.changeInFlight = nil }
    }
}

extension Replica {
    /// Notices that leadership came or went, once per flush.
    mutating func noteLeadership(at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]) {
        let leads = self.isLeader
        if self.raft.leader != self.knownLeader || self.raft.term != self.knownTerm || leads != self.wasLeader {
            self.knownLeader = self.raft.leader
            self.knownTerm = self.raft.term
            directives.append(.leadership(leader: self.raft.leader, term: self.raft.term, isLeader: leads))
        }
        let stillSame = leads && self.duties?.term == self.raft.term
        if self.wasLeader, !stillSame {
            self.refuseProposals(into: &directives)
            self.duties = nil
        }
        if leads, self.duties == nil { self.takeUpDuties(at: now) }
        self.wasLeader = leads
    }

    private mutating func takeUpDuties(at now: Instant) {
        self.clock.becomeLeader()
        self.duties = LeaderDuties(term: self.raft.term, since: now, nextSweep: now)
        self.grantFullLeases(at: now)
    }

    /// To every session and node that is there, and to no other.
    private mutating func grantFullLeases(at now: Instant) {
        guard var duties = self.duties else { return }
        duties.sessions.removeAll()
        duties.nodes.removeAll()
        self.registry.forEachSessionWithTTL { id, ttl in
            if duties.endingSessions.deadline(of: id) == nil {
                duties.sessions.set(id, deadline: now + self.sessionLease(ttl))
            }
        }
        for name in self.registry.nodesWithCheck(Self.serfHealth) {
            duties.nodes.set(Self.folded(name), deadline: now + self.settings.nodeLease)
        }
        self.duties = duties
    }

    private func sessionLease(_ ttl: Nanoseconds) -> Nanoseconds {
        Nanoseconds(ttl.rawValue * self.settings.sessionTTLFactor)
    }

    static var serfHealth: String { "serfHealth" }

    /// Nodes are found without regard to ASCII case: one name, one lease.
    static func folded(_ name: String) -> String {
        String(decoding: name.utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }, as: UTF8.self)
    }

    /// Keeps the timers in step with what was applied.
    mutating func noteApplied(_ applied: Applied, at now: Instant) {
        // A restore names no single row.
        if applied.everythingTouched { return self.grantFullLeases(at: now) }
        for touch in applied.touched {
            switch touch.table {
            case .sessions:
                let id = touch.key.description
                if let ttl = self.registry.sessionTTL(id) {
                    if self.duties?.endingSessions.deadline(of: id) == nil,
                        self.duties?.sessions.deadline(of: id) == nil
                    {
                        let deadline = now + self.sessionLease(ttl)
                        self.duties?.sessions.set(id, deadline: deadline)
                    }
                } else {
                    self.duties?.sessions.remove(id)
                    self.duties?.endingSessions.remove(id)
                }
            case .nodes:
                let name = touch.key.description
                if self.registry.hasCheck(Self.serfHealth, onNode: name) {
                    if self.duties?.nodes.deadline(of: name) == nil {
                        self.duties?.nodes.set(name, deadline: now + self.settings.nodeLease)
                    }
                } else {
                    self.duties?.nodes.remove(name)
                }
            case .kv, .services, .checks:
                break
            }
        }
    }

    mutating func renewSession(
        _ id: String, token: UInt64, at now: Instant, into directives: inout [ReplicaDirective]
    ) {
        guard let duties = self.duties, self.isLeader else {
            directives.append(.refuse(token: token, .notLeader(self.raft.leader), mayApply: false))
            return
        }
        // Among the entries that are not applied yet may be the end of this session, decided by a leader before.
        guard self.registry.appliedTerm == self.raft.term else {
            directives.append(.refuse(token: token, .termNotCommitted, mayApply: false))
            return
        }
        // Whose end is on its way to the log is not told that it lives on.
        let found = self.registry.hasSession(id) && duties.endingSessions.deadline(of: id) == nil
        if found, let ttl = self.registry.sessionTTL(id) {
            let deadline = now + self.sessionLease(ttl)
            self.duties?.sessions.set(id, deadline: deadline)
        }
        directives.append(.sessionRenewed(token: token, found: found))
    }

    mutating func leasesHeld(_ names: [String], at now: Instant) {
        guard self.duties != nil else { return }
        for name in names {
            self.duties?.nodes.set(Self.folded(name), deadline: now + self.settings.nodeLease)
            self.noteAlive(name)
        }
    }

    /// A node that is heard of although it stands as critical is to be set right at the next sweep.
    mutating func noteAlive(_ name: String) {
        guard self.registry.isMisjudged(Self.serfHealth, aliveNode: name),
            let revived = self.duties?.revived, revived.count < 1024, !revived.contains(name)
        else { return }
        self.duties?.revived.append(name)
    }

    // MARK: - On each tick

    mutating func performDuties(at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]) {
        // Nothing is proposed before an entry of the own term is applied, and a duty is not to be taken for done.
        guard self.isLeader, self.duties != nil, self.registry.appliedTerm == self.raft.term else { return }
        self.expireSessions(at: now, wallTime: wallTime, into: &directives)
        self.proposeStateHash(at: now, wallTime: wallTime, into: &directives)
        guard let sweep = self.duties?.nextSweep, sweep <= now else { return }
        self.duties?.nextSweep = now + .milliseconds(250)
        self.renewServerLeases(at: now)
        self.judgeNodes(at: now, wallTime: wallTime, into: &directives)
        self.reconcileServers(at: now, wallTime: wallTime, into: &directives)
        self.promoteJoined(at: now, into: &directives)
    }

    mutating func decide(
        _ command: LogCommand, at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]
    ) {
        var envelope = LogEnvelope()
        envelope.command = command
        envelope.originNode = self.id.rawValue
        envelope.identity = "leader"
        envelope.decidedInTerm = self.raft.term.rawValue
        self.propose(envelope, token: self.internalToken(), at: now, wallTime: wallTime, into: &directives)
    }

    private mutating func expireSessions(
        at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]
    ) {
        var destroy = LogSessionDestroy()
        while destroy.ids.count < 128, let id = self.duties?.sessions.popExpired(at: now) { destroy.ids.append(id) }
        // A proposal that got lost is made again.
        while destroy.ids.count < 256, let id = self.duties?.endingSessions.popExpired(at: now) {
            // A restore may have taken it away meanwhile.
            if self.registry.hasSession(id) { destroy.ids.append(id) }
        }
        guard !destroy.ids.isEmpty else { return }
        for id in destroy.ids { self.duties?.endingSessions.set(id, deadline: now + .seconds(10)) }
        var command = LogCommand()
        command.sessionDestroy = destroy
        self.decide(command, at: now, wallTime: wallTime, into: &directives)
    }

    private mutating func proposeStateHash(
        at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]
    ) {
        guard let (index, hash) = self.registry.latestRememberedHash,
            let last = self.duties?.hashProposedAt, index > last
        else { return }
        self.duties?.hashProposedAt = index
        var command = LogCommand()
        command.stateHash.atIndex = index.rawValue
        command.stateHash.hash = .init(hash)
        self.decide(command, at: now, wallTime: wallTime, into: &directives)
    }

    /// A server that answers the leader's appends is alive; so is the leader itself.
    private mutating func renewServerLeases(at now: Instant) {
        guard let since = self.duties?.since else { return }
        let deadline = now + self.settings.nodeLease
        for member in self.raft.configuration.allMembers {
            let recent: Bool
            if member.id == self.id {
                recent = true
            } else if let contact = self.raft.lastContact(with: member.id) {
                // Every server counts as heard of when leadership begins; that is no sign of life.
                recent = contact > since && now.since(contact) < .seconds(2)
            } else {
                recent = false
            }
            if recent {
                self.duties?.nodes.set(Self.folded(member.name), deadline: deadline)
                self.noteAlive(member.name)
            }
        }
    }
}
