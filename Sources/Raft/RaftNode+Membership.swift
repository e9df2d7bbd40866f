import Units

// Configurations (dissertation §4): any change of voters goes through a joint configuration, learners come and go in one
// step. A configuration counts from append.
extension RaftNode {
    mutating func changeMembership(_ change: MembershipChange, token: UInt64, at now: Instant) {
        guard case .leader(let leader) = self.state else {
            self.out.append(.membershipRefused(token: token, .notLeader(self.leader)))
            return
        }
        // Two changes by successive leaders, the first never committed, could give disjoint quorums: nothing before an
        // own entry is committed, and one change at a time.
        guard self.hasCommittedInTerm else {
            self.out.append(.membershipRefused(token: token, .termNotCommitted))
            return
        }
        guard leader.change == nil, self.configurationIndex <= self.commitIndex, !self.configuration.isJoint else {
            self.out.append(.membershipRefused(token: token, .membershipChangeInProgress))
            return
        }
        if let complaint = self.complaint(about: change) {
            self.out.append(.membershipRefused(token: token, .invalid(complaint)))
            return
        }
        let target = Self.apply(change, to: self.configuration)
        if target == self.configuration {
            self.out.append(.membershipChanged(token: token))
            return
        }
        var next = target
        let votersChange = target.voters.map(\.id) != self.configuration.voters.map(\.id)
        if votersChange { next.outgoing = self.configuration.voters }
        self.withLeader { $0.change = PendingChange(token: token) }
        self.append(Entry(term: self.term, index: self.log.lastIndex.next, payload: .configuration(next)))
    }

    private func complaint(about change: MembershipChange) -> String? {
        let configuration = self.configuration
        for id in change.promote {
            if configuration.isVoter(id) { continue }
            guard
                configuration.learners.contains(where: { $0.id == id })
                    || change.addLearners.contains(where: { $0.id == id })
            else { return "\(id) is not a member: add it as a learner first" }
            guard self.isCaughtUp(id) else { return "\(id) has not caught up with the log yet" }
        }
        for id in change.remove where !configuration.contains(id) { return "\(id) is not a member" }
        for member in change.addLearners where member.id == .none { return "a member needs an id" }
        if Self.apply(change, to: configuration).voters.isEmpty { return "the last voter can't be removed" }
        return nil
    }

    static func apply(_ change: MembershipChange, to configuration: Configuration) -> Configuration {
        var voters = configuration.voters
        var learners = configuration.learners
        for member in change.addLearners where !configuration.contains(member.id) { learners.append(member) }
        for id in change.promote {
            if let position = learners.firstIndex(where: { $0.id == id }) {
                voters.append(learners.remove(at: position))
            }
        }
        voters.removeAll { change.remove.contains($0.id) }
        learners.removeAll { change.remove.contains($0.id) }
        return Configuration(voters: voters, learners: learners)
    }

    /// The newest configuration is committed: leave the joint one, or tell whoever asked for the change.
    mutating func continueChange() {
        guard case .leader(let leader) = self.state else { return }
        if self.configuration.isJoint {
            var final = self.configuration
            final.outgoing = nil
            self.append(Entry(term: self.term, index: self.log.lastIndex.next, payload: .configuration(final)))
        } else if let change = leader.change {
            self.withLeader { $0.change = nil }
            self.out.append(.membershipChanged(token: change.token))
        }
    }

    /// A leader follows every member of the configuration that counts now, and no one else.
    mutating func configurationChanged() {
        guard case .leader = self.state else { return }
        let members = self.configuration.allMembers
        let own = self.id
        let next = self.log.lastIndex
        let contact = self.lastLeaderContact
        self.withLeader { leader in
            leader.peers.removeAll { peer in !members.contains { $0.id == peer.id } }
            for member in members where member.id != own && !leader.peers.contains(where: { $0.id == member.id }) {
                leader.peers.append((member.id, Progress(nextIndex: max(next, LogIndex(1)), now: contact)))
            }
            leader.peers.sort { $0.id < $1.id }
        }
    }
}
