import Raft
import Units

/// The operator: takes servers in and out, replaces those that lost their disk, hands leadership over.
final class Administrator {
    private unowned let world: World
    private var random: SimulationRandom
    private var nextToken: UInt64 = 1 << 62
    private var outstanding: (token: UInt64, since: UInt64, isTransfer: Bool)?
    /// Slots whose disk was lost, with the identity that must leave the configuration.
    private(set) var lost: [(slot: Int, old: NodeID)] = []
    private var retiring: [Int] = []
    /// Changes still wanted by faults.
    private var wishes = 0

    init(world: World) {
        self.world = world
        self.random = SimulationRandom(seed: world.seed, concern: "administrator")
    }

    func begin() { self.world.schedule(.administrate, at: 500 * SwarmOptions.millisecond) }

    /// A fault asks for some change.
    func wish() { self.wishes += 1 }

    func lostDisk(slot: Int, old: NodeID) { self.lost.append((slot, old)) }

    func answered(token: UInt64, refusal: RefusalReason?) {
        guard let question = self.outstanding, question.token == token else { return }
        self.outstanding = nil
        if refusal == nil {
            if question.isTransfer { self.world.tally.transfers += 1 } else { self.world.tally.membershipChanges += 1 }
        }
        self.world.record(question.isTransfer ? .transfer : .membership, token, refusal == nil ? 1 : 0)
    }

    func transfer() {
        guard let leader = self.world.leader, self.outstanding == nil else { return }
        let voters = self.world.nodes[leader].configuration.voters
        let target = self.random.chance(0.3) ? nil : voters[self.random.below(voters.count)].id
        self.ask(leader, .transfer(target), isTransfer: true)
    }

    private func ask(_ slot: Int, _ request: AdminRequest, isTransfer: Bool = false) {
        guard self.world.isPaused[slot] <= self.world.now else { return }
        self.nextToken += 1
        self.outstanding = (self.nextToken, self.world.now, isTransfer)
        self.world.record(isTransfer ? .transfer : .membership, slot: slot, self.nextToken, note: "asked")
        self.world.nodes[slot].administer(request, token: self.nextToken)
    }

    // MARK: - Its round

    func act() {
        let pause = 100 * SwarmOptions.millisecond + self.random.exponential(mean: 300 * SwarmOptions.millisecond)
        self.world.schedule(.administrate, at: self.world.now + pause)
        if let question = self.outstanding {
            if self.world.now - question.since < 4 * SwarmOptions.second { return }
            self.outstanding = nil
        }
        guard let leader = self.world.leader else { return }
        let configuration = self.world.nodes[leader].configuration
        if configuration.isJoint { return }
        self.lost.removeAll { entry in
            // Settled once the old identity is out of a configuration that a leader committed.
            !configuration.contains(entry.old) && self.isCommitted(leader)
        }
        self.retireRemoved(configuration, leader: leader)
        if self.replaceLost(configuration, leader: leader) { return }
        if self.wishes > 0, !self.world.isHealed, self.change(configuration, leader: leader) { self.wishes -= 1 }
    }

    private func isCommitted(_ leader: Int) -> Bool {
        guard let newest = self.world.invariants.subjects[leader].configurations.last else { return false }
        return newest.index <= self.world.nodes[leader].status.commit
    }

    /// A server that lost its disk comes back as a learner under a new identity; one joint change swaps the two.
    private func replaceLost(_ configuration: Configuration, leader: Int) -> Bool {
        for entry in self.lost where configuration.contains(entry.old) {
            let fresh = self.world.nodes[entry.slot].id
            if configuration.learners.contains(where: { $0.id == fresh }) {
                let wasVoter = configuration.voters.contains { $0.id == entry.old }
                let promote = wasVoter ? [fresh] : []
                self.ask(leader, .change(MembershipChange(promote: promote, remove: [entry.old])))
            } else if !configuration.contains(fresh) {
                self.ask(leader, .change(MembershipChange(addLearners: [self.world.member(entry.slot)])))
            } else {
                self.ask(leader, .change(MembershipChange(remove: [entry.old])))
            }
            return true
        }
        return false
    }

    /// Servers that are out of the committed configuration live on for a while, then give up their disk.
    private func retireRemoved(_ configuration: Configuration, leader: Int) {
        guard self.isCommitted(leader) else { return }
        for node in self.world.nodes where !configuration.contains(node.id) && !self.retiring.contains(node.slot) {
            guard self.world.invariants.subjects[node.slot].log.lastIndex > 0,
                !self.lost.contains(where: { $0.slot == node.slot })
            else { continue }
            self.retiring.append(node.slot)
            self.world.schedule(
                .retire(slot: node.slot), at: self.world.now + self.random.exponential(mean: 5 * SwarmOptions.second))
        }
    }

    func retire(_ slot: Int) {
        self.retiring.removeAll { $0 == slot }
        // Between decision and deed it may have been taken in again.
        let id = self.world.nodes[slot].id
        guard !self.world.nodes.contains(where: { $0.configuration.contains(id) && $0.slot != slot }) else { return }
        self.world.wipe(slot)
        self.world.scheduleRestart(slot)
    }

    /// Some legal change of a healthy cluster. Between two and six voters, whatever the order.
    private func change(_ configuration: Configuration, leader: Int) -> Bool {
        let voters = configuration.voters
        var change = MembershipChange()
        if let learner = configuration.learners.first(where: { member in !self.lost.contains { $0.old == member.id } }),
            self.random.chance(0.7)
        {
            if self.random.chance(0.15) {
                change.remove = [learner.id]
            } else {
                change.promote = [learner.id]
                if voters.count >= 3, self.random.chance(0.5) {
                    change.remove = [voters[self.random.below(voters.count)].id]
                }
            }
        } else if let spare = self.world.nodes.first(where: { self.isSpare($0, configuration) }),
            self.random.chance(0.7)
        {
            change.addLearners = [self.world.member(spare.slot)]
            if voters.count >= 4, self.random.chance(0.3) {
                change.remove = [voters[self.random.below(voters.count)].id]
            }
        } else if voters.count >= 3 {
            change.remove = [voters[self.random.below(voters.count)].id]
        } else {
            return false
        }
        // With a disk under repair, the quorum has no member to spare.
        if !self.world.faults.isWhole, !change.remove.isEmpty { return false }
        self.ask(leader, .change(change))
        return true
    }

    private func isSpare(_ node: any SimulatedNode, _ configuration: Configuration) -> Bool {
        node.isUp && !configuration.contains(node.id) && !self.retiring.contains(node.slot)
            && self.world.invariants.subjects[node.slot].log.lastIndex == 0
    }
}
