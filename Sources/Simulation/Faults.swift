import Raft
import Units

/// What goes wrong, and when.
final class Faults {
    private unowned let world: World
    private var random: SimulationRandom

    init(world: World) {
        self.world = world
        self.random = SimulationRandom(seed: world.seed, concern: "faults")
    }

    func begin() { self.scheduleNext() }

    private func scheduleNext() {
        if self.world.options.faults.isEmpty { return }
        self.world.schedule(
            .fault,
            at: self.world.now + 100 * SwarmOptions.millisecond
                + self.random.exponential(mean: self.world.options.faultGap))
    }

    /// No disk is lost or under repair: then one may be lost without losing what a quorum holds.
    var isWhole: Bool {
        self.world.administrator.lost.isEmpty
            && self.world.invariants.subjects.allSatisfy { $0.quarantine == nil && !$0.isDamageUnseen }
    }

    func strike() {
        self.scheduleNext()
        guard let fault = self.random.pick(self.world.options.faults) else { return }
        if self.install(fault) {
            self.world.tally.count(fault)
            self.world.record(
                .fault, UInt64(SwarmOptions.Fault.allCases.firstIndex(of: fault) ?? 0), note: Self.name(fault))
        }
    }

    private static func name(_ fault: SwarmOptions.Fault) -> StaticString {
        switch fault {
        case .crash: "crash"
        case .crashLeader: "crash of the leader"
        case .powerCut: "power cut"
        case .pause: "pause"
        case .isolate: "isolate"
        case .halves: "halves"
        case .ring: "ring"
        case .bridge: "bridge"
        case .oneWay: "one way"
        case .swizzle: "swizzle"
        case .clog: "clog"
        case .slowDisk: "slow disk"
        case .stallDisk: "stalled disk"
        case .fullDisk: "full disk"
        case .wipe: "lost disk"
        case .amnesia: "lost tail"
        case .membership: "membership"
        case .transfer: "transfer"
        case .snapshot: "snapshot"
        case .carousel: "carousel"
        case .failedWrite: "failed write"
        case .failedSync: "failed sync"
        case .rollback: "old copy"
        }
    }

    private func install(_ fault: SwarmOptions.Fault) -> Bool {
        switch fault {
        case .crash: return self.crash(self.random.below(self.world.nodes.count))
        case .crashLeader: return self.world.leader.map { self.crash($0) } ?? false
        case .powerCut: return self.powerCut()
        case .pause: return self.pause()
        case .isolate, .halves, .ring, .bridge, .oneWay: return self.partition(fault)
        case .swizzle: return self.swizzle()
        case .clog: return self.clog()
        case .slowDisk: return self.slowDisk(factor: 20)
        case .stallDisk: return self.slowDisk(factor: 1_000)
        case .fullDisk: return self.fillDisk()
        case .wipe: return self.wipe()
        case .amnesia: return self.amnesia()
        case .carousel:
            if self.world.nodes.count < 3 { return false }
            self.turn(rounds: self.random.within(2...6), since: self.world.now)
            return true
        case .failedWrite: return self.failDisk { $0.failNextWrite(after: self.random.within(1...20)) }
        case .failedSync: return self.failDisk { $0.failNextSync(after: self.random.within(1...6)) }
        case .rollback: return self.rollBack()
        case .membership:
            self.world.administrator.wish()
            return true
        case .transfer:
            self.world.administrator.transfer()
            return true
        case .snapshot:
            for node in self.world.nodes where node.isUp && self.random.chance(0.5) { node.snapshotNow() }
            return true
        }
    }

    // MARK: - Processes

    private func crash(_ slot: Int) -> Bool {
        let node = self.world.nodes[slot]
        guard node.isUp else { return false }
        if self.world.options.minorityOnly, self.world.downCount + 1 > (self.world.options.servers - 1) / 2 {
            return false
        }
        if self.random.chance(0.5) {
            node.crashAfter(directives: self.random.within(0...12))
        } else {
            node.crash()
            self.world.scheduleRestart(slot)
        }
        return true
    }

    private func powerCut() -> Bool {
        if self.world.options.minorityOnly { return false }
        for node in self.world.nodes where node.isUp {
            node.crash()
            self.world.scheduleRestart(node.slot, after: self.random.exponential(mean: SwarmOptions.second))
        }
        return true
    }

    private func pause() -> Bool {
        let slot = self.random.chance(0.4) ? self.world.leader ?? 0 : self.random.below(self.world.nodes.count)
        let length = self.random.exponential(
            mean: self.random.chance(0.2) ? 10 * SwarmOptions.second : SwarmOptions.second)
        self.world.pause(slot, for: length)
        return true
    }

    // MARK: - Wires

    private var partitionLength: UInt64 {
        200 * SwarmOptions.millisecond + self.random.exponential(mean: 4 * SwarmOptions.second)
    }

    private func partition(_ fault: SwarmOptions.Fault) -> Bool {
        let count = self.world.nodes.count
        if count < 2 { return false }
        var order = Array(0..<count)
        self.random.shuffle(&order)
        if let leader = self.world.leader, self.random.chance(0.5), let place = order.firstIndex(of: leader) {
            order.swapAt(0, place)
        }
        var isJoined = Array(repeating: Array(repeating: true, count: count), count: count)
        for left in 0..<count {
            for right in 0..<count where left != right {
                switch fault {
                case .isolate: isJoined[left][right] = left != 0 && right != 0
                case .halves: isJoined[left][right] = (left < count / 2) == (right < count / 2)
                // Each sees a majority, no two the same one.
                case .ring:
                    isJoined[left][right] =
                        min((left - right + count) % count, (right - left + count) % count) <= max(1, count / 4)
                // Two halves that only one server joins.
                case .bridge:
                    isJoined[left][right] =
                        left == 0 || right == 0 || (left < (count + 1) / 2) == (right < (count + 1) / 2)
                default: isJoined[left][right] = !(left == 0 && right != 0)
                }
            }
        }
        let isReversed = self.random.chance(0.5)
        var links: [(from: Int, to: Int)] = []
        for left in 0..<count {
            for right in 0..<count where left != right && !isJoined[left][right] {
                links.append(isReversed ? (order[right], order[left]) : (order[left], order[right]))
            }
        }
        let number = self.world.network.cut(links)
        self.world.record(.partition, UInt64(number), UInt64(links.count))
        self.world.schedule(.partitionEnds(number), at: self.world.now + self.partitionLength)
        return true
    }

    /// Some links stop one after another and come back in another order.
    private func swizzle() -> Bool {
        let count = self.world.nodes.count
        var links: [(from: Int, to: Int)] = []
        for from in 0..<count {
            for to in 0..<count where from != to && self.random.chance(0.5) { links.append((from, to)) }
        }
        self.random.shuffle(&links)
        let gap = self.random.within(10...400) * SwarmOptions.millisecond
        var time = self.world.now
        for link in links {
            self.world.schedule(.clog(from: link.from, to: link.to, on: true), at: time)
            time += self.random.exponential(mean: gap)
        }
        self.random.shuffle(&links)
        for link in links {
            time += self.random.exponential(mean: gap)
            self.world.schedule(.clog(from: link.from, to: link.to, on: false), at: time)
        }
        return !links.isEmpty
    }

    private func clog() -> Bool {
        let count = self.world.nodes.count
        let (from, to) = (self.random.below(count), self.random.below(count))
        if from == to { return false }
        self.world.schedule(.clog(from: from, to: to, on: true), at: self.world.now)
        self.world.schedule(.clog(from: from, to: to, on: false), at: self.world.now + self.partitionLength)
        return true
    }

    /// One turn of the carousel: whoever leads is cut off for about an election, so that it has entries nobody else has
    /// when it comes back, and the next leader meets the same.
    func turn(rounds: Int, since: UInt64) {
        let election = self.world.options.raft.electionTimeoutMax.rawValue
        var left = rounds
        if let leader = self.world.leader {
            left -= 1
            let others = self.world.nodes.indices.filter { $0 != leader }
            let number = self.world.network.cut(
                others.map { (from: leader, to: $0) } + others.map { (from: $0, to: leader) })
            self.world.record(.partition, slot: leader, UInt64(number), note: "carousel")
            let length = election / 2 + self.random.within(0...election)
            self.world.schedule(.partitionEnds(number), at: self.world.now + length)
        }
        guard left > 0, self.world.now - since < 30 * SwarmOptions.second else { return }
        let pause = 20 * SwarmOptions.millisecond + self.random.exponential(mean: 150 * SwarmOptions.millisecond)
        self.world.schedule(.carousel(rounds: left, since: since), at: self.world.now + pause)
    }

    // MARK: - Disks

    private func slowDisk(factor: UInt64) -> Bool {
        let slot = self.random.chance(0.5) ? self.world.leader ?? 0 : self.random.below(self.world.nodes.count)
        let node = self.world.nodes[slot]
        guard node.isUp else { return false }
        // Back to normal by the next such fault, or the heal.
        node.diskFactor = node.diskFactor > 1 ? 1 : factor
        return true
    }

    private func fillDisk() -> Bool {
        let slot = self.random.chance(0.5) ? self.world.leader ?? 0 : self.random.below(self.world.nodes.count)
        let node = self.world.nodes[slot]
        guard node.isUp else { return false }
        node.diskFull(true)
        self.world.schedule(
            .diskRecovers(slot: slot, epoch: node.epoch),
            at: self.world.now + self.random.exponential(mean: 3 * SwarmOptions.second))
        return true
    }

    private func wipe() -> Bool {
        guard self.isWhole, let slot = self.sacrifice() else { return false }
        let old = self.world.nodes[slot].id
        self.world.wipe(slot)
        self.world.administrator.lostDisk(slot: slot, old: old)
        self.world.scheduleRestart(slot)
        return true
    }

    private func amnesia() -> Bool {
        guard self.isWhole, let slot = self.sacrifice() else { return false }
        let node = self.world.nodes[slot]
        node.crash()
        node.loseTail(entries: self.random.within(1...20))
        self.world.scheduleRestart(slot)
        return true
    }

    /// The process must end by itself and come back; nothing is lost by it, so that it may strike anybody.
    private func failDisk(_ body: (ReplicaNode) -> Void) -> Bool {
        let slot = self.random.chance(0.4) ? self.world.leader ?? 0 : self.random.below(self.world.nodes.count)
        guard let node = self.world.nodes[slot] as? ReplicaNode, node.isUp else { return false }
        if self.world.options.minorityOnly, self.world.downCount + 1 > (self.world.options.servers - 1) / 2 {
            return false
        }
        body(node)
        return true
    }

    /// Somebody puts an older copy of log and snapshots back, as a restored backup would be. The first time a server is
    /// struck, the copy is made.
    private func rollBack() -> Bool {
        guard self.isWhole, let slot = self.sacrifice(), let node = self.world.nodes[slot] as? ReplicaNode else {
            return false
        }
        guard node.hasUsefulBackup else {
            node.makeBackup()
            return false
        }
        node.crash()
        node.restoreBackup()
        self.world.scheduleRestart(slot)
        return true
    }

    /// A server whose disk the cluster can afford to lose: a member of a settled configuration of three or more. Settled
    /// for all: a leader that was cut off does not know of a change that its successor began, and whose half may need
    /// this very server.
    private func sacrifice() -> Int? {
        guard let leader = self.world.leader else { return nil }
        let configuration = self.world.nodes[leader].configuration
        let subject = self.world.invariants.subjects[leader]
        guard !configuration.isJoint, configuration.voters.count >= 3,
            let newest = subject.configurations.last, newest.index <= subject.status.commit,
            self.world.invariants.subjects.allSatisfy({ ($0.configurations.last?.index ?? 0) <= newest.index })
        else { return nil }
        let members = configuration.voters.compactMap { self.world.slot(of: $0.id) }
        guard let slot = self.random.pick(members), self.world.nodes[slot].isUp else { return nil }
        return slot
    }
}
