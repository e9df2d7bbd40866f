import Raft
import Registry
import Units

extension Replica {
    /// A server that asks to be taken in becomes a learner. Its older incarnation, if there is one, stays a voter until
    /// the new one has caught up; if that older one is alive, two servers carry one name, which is refused.
    mutating func join(_ member: Member, token: UInt64, at now: Instant, into directives: inout [ReplicaDirective]) {
        let configuration = self.raft.configuration
        if configuration.contains(member.id) {
            directives.append(.administered(token: token, self.isLeader ? nil : .notLeader(self.raft.leader)))
            return
        }
        if let alive = configuration.allMembers.first(where: { $0.name == member.name && self.isAlive($0, at: now) }) {
            let text = "a server named \(member.name) is alive at \(alive.address): choose another node name"
            directives.append(
                .administered(token: token, self.isLeader ? .invalid(text) : .notLeader(self.raft.leader)))
            return
        }
        let older = configuration.learners.filter { $0.name == member.name }.map(\.id)
        let change = MembershipChange(addLearners: [member], remove: older)
        self.raftStep(.changeMembership(token: token, change), at: now, into: &directives)
    }

    func isAlive(_ member: Member, at now: Instant) -> Bool {
        if member.id == self.id { return true }
        guard let contact = self.raft.lastContact(with: member.id) else { return false }
        return now.since(contact) < .seconds(2)
    }

    /// Promotes a learner that has kept up for a while; the same joint change removes its older incarnation.
    mutating func promoteJoined(at now: Instant, into directives: inout [ReplicaDirective]) {
        guard var duties = self.duties, duties.changeInFlight == nil else { return }
        let configuration = self.raft.configuration
        guard !configuration.isJoint else { return }
        duties.caughtUp.removeAll { entry in !configuration.learners.contains { $0.id == entry.id } }
        var ready: Member?
        for learner in configuration.learners {
            guard self.raft.isCaughtUp(learner.id), self.isAlive(learner, at: now) else {
                duties.caughtUp.removeAll { $0.id == learner.id }
                continue
            }
            if let entry = duties.caughtUp.first(where: { $0.id == learner.id }) {
                if now.since(entry.since) >= self.settings.promotionDelay { ready = ready ?? learner }
            } else {
                duties.caughtUp.append((learner.id, now))
            }
        }
        self.duties = duties
        guard let learner = ready else { return }
        let older = configuration.voters.filter { $0.name == learner.name && $0.id != learner.id }.map(\.id)
        let token = self.internalToken()
        self.duties?.changeInFlight = token
        self.raftStep(
            .changeMembership(token: token, MembershipChange(promote: [learner.id], remove: older)), at: now,
            into: &directives)
    }
}
