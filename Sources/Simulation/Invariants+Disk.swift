import Raft
import Units

// What nodes ask their disks to hold, what the disks hold, and what may leave a node in between.
extension Invariants {
    /// A node starts, from what its disk holds.
    func started(slot: Int, status: NodeStatus, restored: RestoredState) {
        self.subjects[slot].isUp = true
        self.subjects[slot].status = status
        self.subjects[slot].applied = self.subjects[slot].snapshot
        self.subjects[slot].quarantine = restored.quarantinedUntil?.rawValue
        self.subjects[slot].lastBatch = 0
        self.subjects[slot].configurations = restored.configurations.map { ($0.index.rawValue, $0.configuration) }
        if let snapshot = restored.snapshot {
            self.subjects[slot].configurations.insert(
                (snapshot.configurationIndex.rawValue, snapshot.configuration), at: 0)
        }
        let durable = self.subjects[slot].durableHard
        if status.term < durable.term.rawValue {
            self.fail("I7", "s\(slot) starts in term \(status.term), its disk holds \(durable.term)")
        }
        if status.commit > self.committed {
            self.fail("I7", "s\(slot) starts with commit \(status.commit), only \(self.committed) is committed")
        }
    }

    /// A node is gone, and with it what had not reached the disk.
    func crashed(slot: Int) {
        self.subjects[slot].pending.removeAll()
        self.subjects[slot].log = self.subjects[slot].durable
        self.subjects[slot].hard = self.subjects[slot].durableHard
        let last = self.subjects[slot].durable.lastIndex
        self.subjects[slot].configurations.removeAll { $0.index > last }
        self.subjects[slot].isUp = false
    }

    /// The directory is gone; what comes back under this slot is another server.
    func wiped(slot: Int, newID: NodeID) {
        self.bury(slot: slot)
        self.subjects[slot] = Subject(id: newID)
    }

    func found(slot: Int, _ entry: Entry, _ configuration: Configuration) {
        let chain = LogMirror.chain(after: 0, entry)
        self.subjects[slot].durable.append(term: entry.term.rawValue, chain: chain)
        self.subjects[slot].log = self.subjects[slot].durable
        self.subjects[slot].durableHard = HardState(term: entry.term)
        self.subjects[slot].hard = self.subjects[slot].durableHard
        self.subjects[slot].configurations = [(entry.index.rawValue, configuration)]
        self.noteEntry(slot: slot, index: entry.index.rawValue, term: entry.term.rawValue, chain: chain)
    }

    /// A disk lost its newest entries while its node was down, and knows it.
    func lostTail(slot: Int, last: UInt64, quarantine: UInt64, restartsAfterSnapshot meta: SnapshotMeta?) {
        if self.subjects[slot].beforeLoss == nil { self.subjects[slot].beforeLoss = self.subjects[slot].durable }
        if let meta, self.subjects[slot].durable.lastIndex != last || self.subjects[slot].durable.baseIndex < last {
            self.subjects[slot].durable = LogMirror(
                baseIndex: meta.index.rawValue, baseTerm: meta.term.rawValue,
                baseChain: self.committedChain(at: meta.index.rawValue) ?? 0)
            self.subjects[slot].configurations = [(meta.configurationIndex.rawValue, meta.configuration)]
        } else if last < self.subjects[slot].durable.baseIndex {
            // Its newest snapshot is gone, too; it begins after an older one, or with nothing.
            self.subjects[slot].durable = LogMirror(
                baseIndex: last, baseTerm: self.committedTerms[Int(last)], baseChain: self.committedChain(at: last) ?? 0
            )
        } else {
            self.subjects[slot].durable.truncate(from: last + 1)
        }
        self.subjects[slot].log = self.subjects[slot].durable
        self.subjects[slot].configurations.removeAll { $0.index > last }
        self.subjects[slot].quarantine = quarantine
    }

    func emitted(slot: Int, _ batch: PersistBatch) {
        let subject = self.subjects[slot]
        if subject.lastBatch != 0, batch.id != subject.lastBatch + 1 {
            self.fail("I10", "s\(slot) emits batch \(batch.id) after \(subject.lastBatch)")
        }
        self.subjects[slot].lastBatch = batch.id
        if let hard = batch.hardState {
            if hard.term < subject.hard.term {
                self.fail("I7", "s\(slot) writes term \(hard.term) over \(subject.hard.term)")
            } else if hard.term == subject.hard.term, let vote = subject.hard.vote, hard.vote != vote {
                self.fail("I7", "s\(slot) changes its vote in term \(hard.term)")
            }
            self.subjects[slot].hard = hard
        }
        if let from = batch.truncateFrom {
            // The status is that of the whole step; what matters is what was committed before it, anywhere.
            self.checkLoss(slot: slot, subject.log, droppedFrom: from.rawValue, why: "truncates")
            self.subjects[slot].log.truncate(from: from.rawValue)
            self.subjects[slot].configurations.removeAll { $0.index >= from.rawValue }
        }
        for entry in batch.entries {
            let log = self.subjects[slot].log
            if entry.index.rawValue != log.lastIndex + 1 || entry.term.rawValue < log.lastTerm {
                self.fail(
                    "I8", "s\(slot) appends (\(entry.term), \(entry.index)) after (\(log.lastTerm), \(log.lastIndex))")
                return
            }
            let chain = LogMirror.chain(after: log.lastChain, entry)
            self.subjects[slot].log.append(term: entry.term.rawValue, chain: chain)
            self.noteEntry(slot: slot, index: entry.index.rawValue, term: entry.term.rawValue, chain: chain)
            if case .configuration(let configuration) = entry.payload {
                self.subjects[slot].configurations.append((entry.index.rawValue, configuration))
            }
        }
        self.subjects[slot].pending.append(batch)
    }

    /// I9: a leader appends a configuration only when the one before is committed, and something of its own term.
    /// Checked after the step, when the node's commit is known.
    func checkConfigurations(slot: Int, _ batch: PersistBatch) {
        let subject = self.subjects[slot]
        guard subject.status.role == .leader else { return }
        for entry in batch.entries where entry.term.rawValue == subject.status.term {
            guard case .configuration = entry.payload else { continue }
            let before = subject.configurations.last { $0.index < entry.index.rawValue }
            if let before, before.index > subject.status.commit {
                self.fail("I9", "s\(slot) appends configuration \(entry.index) while \(before.index) is not committed")
            }
            if subject.log.term(at: subject.status.commit) != subject.status.term {
                self.fail(
                    "I9", "s\(slot) appends configuration \(entry.index) before an entry of its term is committed")
            }
        }
    }

    /// The disk holds the oldest batch now.
    func persisted(slot: Int, batch: UInt64) {
        guard let first = self.subjects[slot].pending.first, first.id == batch else {
            self.fail("I10", "s\(slot) persisted batch \(batch) out of turn")
            return
        }
        self.settleFirstBatch(slot: slot)
    }

    func settleFirstBatch(slot: Int) {
        let batch = self.subjects[slot].pending.removeFirst()
        if let from = batch.truncateFrom {
            self.checkLoss(slot: slot, self.subjects[slot].durable, droppedFrom: from.rawValue, why: "truncates")
            self.subjects[slot].durable.truncate(from: from.rawValue)
        }
        for entry in batch.entries {
            if entry.index.rawValue != self.subjects[slot].durable.lastIndex + 1 {
                self.fail("I8", "s\(slot) has \(entry.index) written behind \(self.subjects[slot].durable.lastIndex)")
            }
            let chain = LogMirror.chain(after: self.subjects[slot].durable.lastChain, entry)
            self.subjects[slot].durable.append(term: entry.term.rawValue, chain: chain)
        }
        if let hard = batch.hardState { self.subjects[slot].durableHard = hard }
    }

    func checkLoss(slot: Int, _ log: LogMirror, droppedFrom: UInt64, why: String) {
        guard droppedFrom <= min(log.lastIndex, self.committed) else { return }
        if droppedFrom <= log.baseIndex || log.chain(at: droppedFrom) == self.committedChain(at: droppedFrom) {
            self.fail("I6", "s\(slot) \(why) its log from \(droppedFrom) on, which is committed")
        }
    }

    /// A snapshot replaces state and log. What the log held beyond it stays only where the log agrees with it.
    func installed(slot: Int, _ meta: SnapshotMeta, chain: UInt64, keepsSuffix: Bool) {
        let index = meta.index.rawValue
        if index > self.committed || chain != self.committedChain(at: index) {
            self.fail("I4", "s\(slot) installs a snapshot at \(index) that is no committed state")
        }
        if index < self.subjects[slot].snapshot {
            self.fail("I7", "s\(slot) goes from snapshot \(self.subjects[slot].snapshot) back to \(index)")
        }
        if !keepsSuffix, self.subjects[slot].durable.lastIndex > index {
            self.checkLoss(slot: slot, self.subjects[slot].durable, droppedFrom: index + 1, why: "replaces")
        }
        if keepsSuffix {
            self.subjects[slot].log.compact(through: index)
            self.subjects[slot].durable.compact(through: index)
        } else {
            let fresh = LogMirror(baseIndex: index, baseTerm: meta.term.rawValue, baseChain: chain)
            self.subjects[slot].log = fresh
            self.subjects[slot].durable = fresh
        }
        self.subjects[slot].snapshot = index
        self.subjects[slot].applied = max(self.subjects[slot].applied, index)
        self.subjects[slot].configurations.removeAll { $0.index <= index || !keepsSuffix }
        self.subjects[slot].configurations.insert((meta.configurationIndex.rawValue, meta.configuration), at: 0)
    }

    /// A snapshot of the node's own is durable, and its log is kept only after `through`.
    func compacted(slot: Int, snapshot: UInt64, through: UInt64) {
        if snapshot < self.subjects[slot].snapshot || through > snapshot {
            self.fail(
                "I8", "s\(slot) has snapshot \(snapshot) after \(self.subjects[slot].snapshot), compacted to \(through)"
            )
        }
        self.subjects[slot].snapshot = snapshot
        self.subjects[slot].log.compact(through: through)
        self.subjects[slot].durable.compact(through: through)
    }

    // MARK: - I10 and I11: what leaves a node

    func sending(slot: Int, _ message: Message) {
        let subject = self.subjects[slot]
        let durable = subject.durableHard
        switch message.body {
        case .voteResponse(let granted, let pre):
            guard granted else { break }
            if subject.quarantine != nil { self.fail("I11", "s\(slot) grants a vote while quarantined") }
            if !pre, durable != HardState(term: message.term, vote: message.to) {
                self.fail("I10", "s\(slot) grants its vote in term \(message.term), durable is \(durable)")
            }
        case .voteRequest(_, _, let pre, _):
            if subject.quarantine != nil { self.fail("I11", "s\(slot) campaigns while quarantined") }
            if !pre, durable != HardState(term: message.term, vote: subject.id) {
                self.fail("I10", "s\(slot) campaigns in term \(message.term), durable is \(durable)")
            }
        case .append, .timeoutNow, .snapshotChunk:
            if durable.term < message.term {
                self.fail("I10", "s\(slot) leads in term \(message.term), durable is \(durable.term)")
            }
        case .appendResponse(let response):
            self.checkAcknowledgement(slot: slot, subject, message, response)
        case .snapshotResponse(let response):
            if response.installed {
                self.checkHeld(slot: slot, through: response.snapshotIndex.rawValue, term: message.term)
            }
        case .readIndexRequest, .readIndexResponse: break
        }
    }

    private func checkAcknowledgement(
        slot: Int, _ subject: Subject, _ message: Message, _ response: Message.AppendResponse
    ) {
        if response.rejected { return }
        if subject.quarantine != nil, !response.quarantined {
            self.fail("I11", "s\(slot) acknowledges entries while quarantined, and does not say so")
        }
        self.checkHeld(slot: slot, through: response.matchIndex.rawValue, term: message.term)
    }

    /// Whoever says in a term that it holds the log up to an index must have on its disk, at that moment, what the leader
    /// of that term has there. (What is said late arrives late, and a late message is harmless; but a node holds its tongue
    /// until its disk is ready, and what it was going to say in an older term it does not say at all. See
    /// `docs/raft-contract.md`. The check knows no excuse, then, and a node that speaks for what its disk has lost or cut
    /// since is caught in the act, whether or not somebody counts it.)
    private func checkHeld(slot: Int, through index: UInt64, term: Term) {
        let subject = self.subjects[slot]
        if subject.durableHard.term != term {
            self.fail("I10", "s\(slot) acknowledges in term \(term), durable is \(subject.durableHard.term)")
        }
        if index <= subject.durable.baseIndex { return }
        guard let held = subject.durable.term(at: index) else {
            self.fail("I10", "s\(slot) acknowledges up to \(index), durable is \(subject.durable.lastIndex)")
            return
        }
        // An entry of the leader's own term is unique by I2.
        if held != term.rawValue, let leader = self.leaderLogs[term.rawValue], leader.baseIndex < index,
            leader.chain(at: index) != subject.durable.chain(at: index)
        {
            self.fail("I10", "s\(slot) acknowledges up to \(index), holds an entry of term \(held) the leader has not")
        }
    }
}
