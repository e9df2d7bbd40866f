import Raft
import Units

// Real storage decides itself what survives a crash: here it is held against what was durable, and what was on its way.
extension Invariants {
    /// A node is gone. What was on its way to the disk may be there after the restart.
    func vanished(slot: Int) {
        self.subjects[slot].isUp = false
        self.subjects[slot].log = self.subjects[slot].durable
        self.subjects[slot].hard = self.subjects[slot].durableHard
    }

    /// Bits turned over on its disk, or an old copy was put back.
    func damaged(slot: Int) {
        self.subjects[slot].isDamaged = true
        self.subjects[slot].isDamageUnseen = true
    }

    /// It has healed, and its disk knows.
    func repaired(slot: Int) { self.subjects[slot].isDamaged = false }

    /// What a restarted server found on its disk must be what was durable, or that and a prefix of the batches that were
    /// on their way. A disk that lost more must know it: then the server is in quarantine.
    ///
    /// - Parameter findings: what storage says was wrong.
    func recovered(slot: Int, _ restored: RestoredState, findings: [String]) {
        let before = self.subjects[slot]
        let snapshot = restored.snapshot?.index.rawValue ?? 0
        let (last, hard) = (restored.lastIndex.rawValue, restored.hardState)
        for surviving in 0...before.pending.count {
            if self.isWhole(slot: slot, last: last, lastTerm: self.lastTerm(restored), hard: hard) { break }
            if surviving < before.pending.count { self.settleFirstBatch(slot: slot) }
        }
        self.subjects[slot].pending.removeAll()
        if !self.isWhole(slot: slot, last: last, lastTerm: self.lastTerm(restored), hard: hard) {
            self.settleDifference(slot: slot, restored, before: before)
        }
        self.subjects[slot].isDamageUnseen = false
        if hard.term < before.durableHard.term, !self.witnessMayLag {
            self.fail("I7", "s\(slot) starts in term \(hard.term), it has been in \(before.durableHard.term)")
        }
        if restored.quarantinedUntil == nil {
            if before.quarantine != nil { self.fail("I24", "s\(slot) has forgotten that it is in quarantine") }
            self.subjects[slot].isDamaged = false
        } else if !before.isDamaged {
            self.fail(
                "I24",
                "s\(slot) is in quarantine, though its disk has lost nothing: \(findings.joined(separator: "; "))")
        }
        if snapshot < before.snapshot, restored.quarantinedUntil == nil, !before.isDamaged {
            self.fail("I7", "s\(slot) goes from snapshot \(before.snapshot) back to \(snapshot)")
        }
        self.checkEntries(slot: slot, restored.tail)
        self.subjects[slot].snapshot = snapshot
        self.subjects[slot].log = self.subjects[slot].durable
        self.subjects[slot].hard = hard
        self.subjects[slot].durableHard = hard
    }

    /// Entries that a disk gives back are those that it was given.
    func checkEntries(slot: Int, _ entries: [Entry]) {
        let log = self.subjects[slot].durable
        for entry in entries {
            guard let before = log.chain(at: entry.index.rawValue - 1), let here = log.chain(at: entry.index.rawValue),
                LogMirror.chain(after: before, entry) != here
            else { continue }
            self.fail("I24", "s\(slot) reads another entry \(entry.index) from its disk than it wrote")
            return
        }
    }

    private func lastTerm(_ restored: RestoredState) -> UInt64 {
        restored.termRuns.last?.term.rawValue ?? restored.termBeforeFirst.rawValue
    }

    private func isWhole(slot: Int, last: UInt64, lastTerm: UInt64, hard: HardState) -> Bool {
        let subject = self.subjects[slot]
        return subject.durable.lastIndex == last && subject.durable.lastTerm == lastTerm && subject.durableHard == hard
    }

    /// The log is another than it was: replaced by a snapshot whose installation was under way, or damaged.
    private func settleDifference(slot: Int, _ restored: RestoredState, before: Subject) {
        let last = restored.lastIndex.rawValue
        if let meta = restored.snapshot, meta.index.rawValue > before.snapshot, last == meta.index.rawValue {
            let chain = self.committedChain(at: last) ?? 0
            if last <= before.durable.lastIndex, before.durable.chain(at: last) == chain { return }
            self.checkLoss(slot: slot, before.durable, droppedFrom: last + 1, why: "replaces")
            self.subjects[slot].durable = LogMirror(baseIndex: last, baseTerm: meta.term.rawValue, baseChain: chain)
            return
        }
        guard let quarantine = restored.quarantinedUntil else {
            self.fail(
                "I24",
                "s\(slot) held \(before.durable.lastIndex) of term \(before.durable.lastTerm) with \(before.durableHard), finds"
                    + " \(last) with \(restored.hardState), and does not know that it lost something")
            return
        }
        self.subjects[slot].durable = before.durable
        self.lostTail(
            slot: slot, last: last, quarantine: quarantine.rawValue,
            restartsAfterSnapshot: restored.firstIndex > restored.lastIndex ? restored.snapshot : nil)
        self.takeOlderEntries(slot: slot, restored)
    }

    /// A write-ahead log that ends early shows the log as it once was: also entries that were cut off since and written
    /// anew in a later term. Each must be one that somebody wrote.
    private func takeOlderEntries(slot: Int, _ restored: RestoredState) {
        let log = self.subjects[slot].durable
        let first = max(log.baseIndex + 1, restored.firstIndex.rawValue)
        guard first <= log.lastIndex else { return }
        func term(at index: UInt64) -> UInt64 {
            restored.termRuns.last { $0.first.rawValue <= index }?.term.rawValue ?? 0
        }
        guard let older = (first...log.lastIndex).first(where: { log.term(at: $0) != term(at: $0) }) else { return }
        self.subjects[slot].durable.truncate(from: older)
        for index in older...log.lastIndex {
            guard let chain = self.chain(at: index, term: term(at: index)) else {
                return self.fail("I24", "s\(slot) holds entry \(index) of term \(term(at: index)), which nobody wrote")
            }
            self.subjects[slot].durable.append(term: term(at: index), chain: chain)
        }
    }

    /// A replica applied up to here; seen only at the end of a step.
    func appliedThrough(slot: Int, _ index: UInt64, stateHash: UInt64) {
        let subject = self.subjects[slot]
        if index < subject.applied { self.fail("I7", "s\(slot) goes from applied \(subject.applied) back to \(index)") }
        if index > subject.status.commit {
            self.fail("I8", "s\(slot) applies \(index), its commit is \(subject.status.commit)")
        }
        self.subjects[slot].applied = index
        self.checkState(slot: slot, index: index, stateHash: stateHash)
    }
}
