import Raft
import Units

/// What a node shows of itself after each step.
struct NodeStatus: Equatable {
    enum Role: UInt8 { case follower, candidate, leader }
    var role: Role
    var term: UInt64
    var leader: NodeID?
    var commit: UInt64
    var last: UInt64
    /// Where it says that the configuration stands that it counts by.
    var configuration: UInt64
    /// Up to where it says that its disk holds its log.
    var persisted: UInt64
}

/// Knows everything that any node ever wrote, sent, committed and applied, and complains about the first thing that
/// must not be. It sees the durable image of every node, crashed ones too.
final class Invariants {
    /// What is known about one server slot.
    struct Subject {
        var id: NodeID
        /// The log in the node's mind: what it asked the disk to hold.
        var log = LogMirror()
        /// The log on its disk.
        var durable = LogMirror()
        var hard = HardState()
        var durableHard = HardState()
        /// Batches on their way to the disk, oldest first.
        var pending: [PersistBatch] = []
        var lastBatch: UInt64 = 0
        var status = NodeStatus(
            role: .follower, term: 0, leader: nil, commit: 0, last: 0, configuration: 0, persisted: 0)
        var applied: UInt64 = 0
        var snapshot: UInt64 = 0
        /// Up to here its disk must heal before it counts again; nil when it is sound.
        var quarantine: UInt64?
        /// Level 1: something was done to its disk that no sound disk does.
        var isDamaged = false
        /// And it has not started since.
        var isDamageUnseen = false
        /// What the disk held before it lost it: acknowledged then, and to be healed before the node votes again.
        var beforeLoss: LogMirror?
        var isUp = false
        /// Configurations in its log, oldest first, with where they stand.
        var configurations: [(index: UInt64, configuration: Configuration)] = []
    }

    private(set) var finding: Finding?
    var now: UInt64 = 0
    var subjects: [Subject] = []
    /// On a full disk the second copy of term and vote may stay older than the first.
    var witnessMayLag = false

    // The one history: what was committed, by index from 1, and what applying it gave.
    private(set) var committedTerms: [UInt64] = [0]
    private(set) var committedChains: [UInt64] = [0]
    private var committingTerms: [UInt64] = [0]
    private var stateHashes: [UInt64?] = [0]
    /// Chains seen at each index, with their terms: the same term must give the same chain.
    private var seen: [[(term: UInt64, chain: UInt64)]] = [[]]
    private var leaders: [(term: UInt64, id: NodeID)] = []
    /// Each leader's log as it was when it was elected, by its term.
    private(set) var leaderLogs: [UInt64: LogMirror] = [:]
    /// The disks of servers that are no more: what they acknowledged in time counts.
    private var graves: [(id: NodeID, log: LogMirror)] = []
    private(set) var leaderChanges = 0
    /// What was committed anywhere when a linearizable read was asked for.
    private var readFloors: [Int: UInt64] = [:]

    var committed: UInt64 { UInt64(self.committedTerms.count - 1) }

    func fail(_ invariant: String, _ text: @autoclosure () -> String) {
        if self.finding == nil { self.finding = Finding(invariant, text(), time: self.now) }
    }

    func committedChain(at index: UInt64) -> UInt64? {
        index <= self.committed ? self.committedChains[Int(index)] : nil
    }

    // MARK: - I2: log matching

    func noteEntry(slot: Int, index: UInt64, term: UInt64, chain: UInt64) {
        while self.seen.count <= Int(index) { self.seen.append([]) }
        for known in self.seen[Int(index)] where known.term == term {
            if known.chain != chain {
                self.fail("I2", "s\(slot) holds another entry \(index) of term \(term), or another log before it")
            }
            return
        }
        self.seen[Int(index)].append((term, chain))
    }

    /// Of the one entry that was ever written with this index and term; nil for none.
    func chain(at index: UInt64, term: UInt64) -> UInt64? {
        guard index < UInt64(self.seen.count) else { return nil }
        return self.seen[Int(index)].first { $0.term == term }?.chain
    }

    // MARK: - I1 and I3: leaders

    func becameLeader(slot: Int, term: UInt64) {
        self.leaderChanges += 1
        let subject = self.subjects[slot]
        for leader in self.leaders where leader.term == term && leader.id != subject.id {
            self.fail("I1", "s\(slot) \(subject.id) leads term \(term), which \(leader.id) led")
        }
        self.leaders.append((term, subject.id))
        self.leaderLogs[term] = subject.log
        if !subject.configurations.contains(where: { $0.configuration.isVoter(subject.id) }) {
            self.fail("I11", "s\(slot) leads term \(term) without being a voter of any configuration in its log")
        }
        if subject.quarantine != nil { self.fail("I24", "s\(slot) leads term \(term) while quarantined") }
        self.checkCompleteness(slot: slot, term: term)
    }

    /// Everything committed in an earlier term must be in this leader's log.
    private func checkCompleteness(slot: Int, term: UInt64) {
        var index = self.committed
        while index > 0, self.committingTerms[Int(index)] >= term { index -= 1 }
        if index == 0 { return }
        let log = self.subjects[slot].log
        if index < log.baseIndex { return }
        if log.chain(at: index) != self.committedChains[Int(index)] {
            self.fail(
                "I3",
                "s\(slot) leads term \(term) without entry \(index), committed in term \(self.committingTerms[Int(index)]);"
                    + " its log ends at \(log.lastIndex)")
        }
    }

    // MARK: - I6, I7, I8: what a node says of itself

    func observed(slot: Int, _ status: NodeStatus) {
        let before = self.subjects[slot].status
        if status == before { return }
        self.subjects[slot].status = status
        if status.term < before.term {
            self.fail("I7", "s\(slot) went from term \(before.term) back to \(status.term)")
        }
        if status.commit < before.commit {
            self.fail("I7", "s\(slot) went from commit \(before.commit) back to \(status.commit)")
        }
        let log = self.subjects[slot].log
        if status.last != log.lastIndex {
            self.fail(
                "I8", "s\(slot) says its log ends at \(status.last), its directives made it end at \(log.lastIndex)")
        }
        if status.commit > status.last {
            self.fail("I8", "s\(slot) has commit \(status.commit) beyond its last entry \(status.last)")
        }
        if status.commit > before.commit { self.checkCommit(slot: slot, status, before: before) }
        let newest = self.subjects[slot].configurations.last?.index ?? 0
        if status.configuration != newest {
            self.fail(
                "I9",
                "s\(slot) counts by the configuration at \(status.configuration), its log's newest is at \(newest)")
        }
        let durable = self.subjects[slot].durable
        if status.persisted > durable.baseIndex, durable.chain(at: status.persisted) != log.chain(at: status.persisted)
        {
            self.fail(
                "I10",
                "s\(slot) says that its disk holds its log up to \(status.persisted); there it ends at \(durable.lastIndex)"
            )
        }
    }

    private func checkCommit(slot: Int, _ status: NodeStatus, before: NodeStatus) {
        let log = self.subjects[slot].log
        if status.commit > self.committed {
            // It may have committed and stepped down in one step.
            let leads = status.role == .leader
            let term = leads ? status.term : before.term
            guard leads || before.role == .leader else {
                self.fail("I3", "s\(slot), no leader, commits \(status.commit); leaders committed \(self.committed)")
                return
            }
            if log.term(at: status.commit) != term {
                self.fail("I3", "s\(slot) in term \(term) commits entry \(status.commit) of another term directly")
            }
            self.checkQuorum(slot: slot, index: status.commit, lastBefore: before.last)
            while self.committed < status.commit {
                let index = self.committed + 1
                guard let term = log.term(at: index), let chain = log.chain(at: index) else {
                    self.fail("I8", "s\(slot) commits \(index), which its log does not hold")
                    return
                }
                self.committedTerms.append(term)
                self.committedChains.append(chain)
                self.committingTerms.append(term)
            }
            for other in self.subjects.indices {
                let rival = self.subjects[other]
                if rival.isUp, rival.status.role == .leader, rival.status.term > term {
                    self.checkCompleteness(slot: other, term: rival.status.term)
                }
            }
        }
        if status.commit >= log.baseIndex, log.chain(at: status.commit) != self.committedChains[Int(status.commit)] {
            self.fail("I4", "s\(slot) commits \(status.commit) with another log than the one committed")
        }
    }

    /// Committed means: durable, right now, on a quorum of the configuration that the leader works with: the newest in
    /// its log, or, when this very step appended one after the commit, the one before.
    private func checkQuorum(slot: Int, index: UInt64, lastBefore: UInt64) {
        let known = self.subjects[slot].configurations
        guard let newest = known.last, let chain = self.subjects[slot].log.chain(at: index) else {
            self.fail("I6", "s\(slot) commits \(index) without a configuration")
            return
        }
        func holders(_ members: [Member]) -> Int {
            members.reduce(0) { count, member in
                let logs =
                    self.subjects.filter { $0.id == member.id }.map { $0.beforeLoss ?? $0.durable }
                    + self.graves.filter { $0.id == member.id }.map(\.log)
                let holds = logs.contains { $0.baseIndex > index || $0.chain(at: index) == chain }
                return count + (holds ? 1 : 0)
            }
        }
        func isHeld(_ configuration: Configuration) -> Bool {
            [configuration.voters, configuration.outgoing].compactMap { $0 }.allSatisfy {
                holders($0) >= $0.count / 2 + 1
            }
        }
        if isHeld(newest.configuration) { return }
        if newest.index > lastBefore, let before = known.last(where: { $0.index <= lastBefore }),
            isHeld(before.configuration)
        {
            return
        }
        self.fail(
            "I6",
            "s\(slot) commits \(index), durable on \(holders(newest.configuration.voters)) of"
                + " \(newest.configuration.voters.count) voters"
                + (newest.configuration.outgoing.map { ", \(holders($0)) of \($0.count) outgoing ones" } ?? ""))
    }

    func bury(slot: Int) {
        let subject = self.subjects[slot]
        self.graves.append((subject.id, subject.beforeLoss ?? subject.durable))
    }

    func quarantineLifted(slot: Int) {
        self.subjects[slot].quarantine = nil
        self.subjects[slot].beforeLoss = nil
    }

    // MARK: - I4 and I5: the state machine

    /// - Parameter stateHash: of the whole state after this entry.
    func applied(slot: Int, _ entry: Entry, stateHash: UInt64) {
        let index = entry.index.rawValue
        let subject = self.subjects[slot]
        if index != subject.applied + 1 {
            self.fail("I4", "s\(slot) applies \(index) after \(subject.applied)")
        }
        if index > subject.status.commit || index > self.committed {
            self.fail("I8", "s\(slot) applies \(index), its commit is \(subject.status.commit)")
            return
        }
        self.subjects[slot].applied = index
        if LogMirror.chain(after: self.committedChains[Int(index) - 1], entry) != self.committedChains[Int(index)] {
            self.fail("I4", "s\(slot) applies another entry \(index) than the one committed")
        }
        self.checkState(slot: slot, index: index, stateHash: stateHash)
    }

    func checkState(slot: Int, index: UInt64, stateHash: UInt64) {
        while self.stateHashes.count <= Int(index) { self.stateHashes.append(nil) }
        if let known = self.stateHashes[Int(index)] {
            if known != stateHash { self.fail("I5", "s\(slot) has another state than others at \(index)") }
        } else {
            self.stateHashes[Int(index)] = stateHash
        }
    }

    // MARK: - I18: read indexes

    func readAsked(attempt: Int) { self.readFloors[attempt] = self.committed }

    func readReady(slot: Int, attempt: Int, index: UInt64) {
        guard let floor = self.readFloors.removeValue(forKey: attempt) else {
            self.fail("I18", "s\(slot) answers a read that nobody asked, or twice")
            return
        }
        if index < floor {
            self.fail("I18", "s\(slot) lets a read see \(index), \(floor) was committed when it was asked")
        }
    }
}
