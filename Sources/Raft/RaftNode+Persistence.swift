import DequeModule
import Units

// What goes to disk, and what waits for it. Entries, term and vote of one batch are one transaction; batches finish in
// order. A message that speaks for something not yet durable is held until its batch is.
extension RaftNode {
    /// What is gathered for the next batch.
    struct PendingBatch: Sendable {
        var truncateFrom: LogIndex?
        var entries: [Entry] = []
        var hasHardState = false
        var isEmpty: Bool { self.truncateFrom == nil && self.entries.isEmpty && !self.hasHardState }
    }

    struct BatchOnItsWay: Sendable {
        var id: UInt64
        /// The log's end when the batch was made: durable once it is, if the entry there is still of this term.
        var lastIndex: LogIndex
        var lastTerm: Term
        /// What it removes from the disk before it writes.
        var truncateFrom: LogIndex?
        var hasHardState: Bool
        var sentAt: Instant
    }

    struct HeldMessage: Sendable {
        var batch: UInt64
        var message: Message
    }

    /// What a message speaks for.
    enum Dependency: Sendable { case nothing, hardState, log }

    mutating func send(_ body: Message.Body, to peer: NodeID, term: Term? = nil, after dependency: Dependency) {
        let message = Message(from: self.id, to: peer, term: term ?? self.term, body: body)
        guard let batch = self.batch(for: dependency) else {
            self.out.append(.send(message))
            return
        }
        if !self.joinHeldAnswer(message, batch: batch) { self.held.append(HeldMessage(batch: batch, message: message)) }
    }

    /// Acceptances that wait for one batch become one message, so that a disk that stalls gathers no heap of them:
    /// within a term the newest says all that the others said.
    private mutating func joinHeldAnswer(_ message: Message, batch: UInt64) -> Bool {
        guard case .appendResponse(var answer) = message.body, !answer.rejected else { return false }
        for position in self.held.indices.reversed() where self.held[position].batch == batch {
            let other = self.held[position].message
            guard other.to == message.to, other.term == message.term, case .appendResponse(let earlier) = other.body,
                !earlier.rejected
            else { continue }
            answer.matchIndex = max(answer.matchIndex, earlier.matchIndex)
            answer.readPosition = max(answer.readPosition, earlier.readPosition)
            answer.sequence = max(answer.sequence, earlier.sequence)
            self.held[position].message.body = .appendResponse(answer)
            return true
        }
        return false
    }

    /// The batch that must be durable first; nil when everything needed is durable already.
    private func batch(for dependency: Dependency) -> UInt64? {
        switch dependency {
        case .nothing: return nil
        case .hardState:
            if self.pending.hasHardState { return self.nextBatch }
            return self.batches.last { $0.hasHardState }?.id
        case .log:
            if !self.pending.isEmpty { return self.nextBatch }
            return self.batches.last?.id
        }
    }

    mutating func set(term: Term, vote: NodeID?) {
        invariant(term >= self.hardState.term, "term \(term) after \(self.hardState.term)")
        invariant(
            term > self.hardState.term || self.hardState.vote == nil || self.hardState.vote == vote,
            "second vote in term \(term): \(String(describing: self.hardState.vote)), then \(String(describing: vote))")
        guard term != self.hardState.term || vote != self.hardState.vote else { return }
        // What waits to be said in an older term is not said any more: nobody but a leader that was overtaken would listen,
        // and until the disk is ready the log that it speaks of may have been cut.
        if term > self.hardState.term { self.held.removeAll { $0.message.term < term } }
        self.hardState = HardState(term: term, vote: vote)
        self.pending.hasHardState = true
    }

    /// Appends to the log in memory and to the next batch.
    mutating func append(_ entry: Entry) {
        self.log.append(entry)
        self.pending.entries.append(entry)
        if case .configuration(let configuration) = entry.payload {
            self.configurations.append(configuration, at: entry.index)
            self.trace(.configurationAppended(configuration, at: entry.index))
            self.configurationChanged()
        }
    }

    mutating func truncate(from index: LogIndex) {
        invariant(index > self.commitIndex, "truncation from \(index), committed up to \(self.commitIndex)")
        invariant(index > self.handedIndex, "truncation from \(index), applied up to \(self.handedIndex)")
        self.log.truncate(from: index)
        self.durableIndex = min(self.durableIndex, index.previous)
        self.pending.entries.removeAll { $0.index >= index }
        self.pending.truncateFrom = min(self.pending.truncateFrom ?? index, index)
        if self.configurations.truncate(from: index) {
            self.trace(.configurationRolledBack(self.configuration, at: self.configurationIndex))
            self.configurationChanged()
        }
    }

    mutating func emitBatch(at now: Instant) {
        guard !self.pending.isEmpty else { return }
        let batch = PersistBatch(
            id: self.nextBatch, truncateFrom: self.pending.truncateFrom, entries: self.pending.entries,
            hardState: self.pending.hasHardState ? self.hardState : nil, commitHint: self.commitIndex)
        self.batches.append(
            BatchOnItsWay(
                id: self.nextBatch, lastIndex: self.log.lastIndex, lastTerm: self.log.lastTerm,
                truncateFrom: self.pending.truncateFrom, hasHardState: self.pending.hasHardState, sentAt: now))
        self.nextBatch += 1
        self.pending = PendingBatch()
        self.out.append(.persist(batch))
    }

    mutating func persisted(_ id: UInt64, at now: Instant) {
        while let batch = self.batches.first, batch.id <= id {
            self.batches.removeFirst()
            // The entry may have been rewritten by a later leader since: then that leader's batch speaks for it.
            if self.log.term(at: batch.lastIndex) == batch.lastTerm {
                self.durableIndex = max(self.durableIndex, min(batch.lastIndex, self.undisturbedIndex))
            }
        }
        self.release(through: id)
        self.ownVoteDurable(through: id, at: now)
        if case .leader = self.state { self.maybeCommit() }
        self.liftQuarantineIfHealed()
    }

    /// Entries above this are rewritten by a batch that is not durable yet.
    private var undisturbedIndex: LogIndex {
        var index = self.pending.truncateFrom?.previous ?? self.log.lastIndex
        for batch in self.batches { index = min(index, batch.truncateFrom?.previous ?? index) }
        return index
    }

    private mutating func release(through id: UInt64) {
        guard !self.held.isEmpty else { return }
        var waiting: [HeldMessage] = []
        for message in self.held {
            if message.batch <= id { self.out.append(.send(message.message)) } else { waiting.append(message) }
        }
        self.held = waiting
    }

    /// The disk has not answered for too long: such a server neither leads nor campaigns.
    func isStalled(at now: Instant) -> Bool {
        guard let oldest = self.batches.first else { return false }
        return now.since(oldest.sentAt) > self.settings.storageStallMax
    }

    mutating func diskFull(_ full: Bool, at now: Instant) {
        self.isDiskFull = full
        guard full else { return }
        switch self.state {
        case .leader: self.handOver(because: "disk full", at: now)
        case .preCandidate, .candidate: self.becomeFollower(term: self.term, leader: nil, at: now)
        case .follower: break
        }
    }

    /// The leader knows of the quarantine, and counts nothing that this server accepted before its disk lost entries. So
    /// whatever was committed with the help of that lies at or below the commit index that it told first.
    mutating func healQuarantine(by commit: LogIndex) {
        guard self.quarantinedUntil != nil, self.healing?.term != self.term else { return }
        self.healing = (self.term, commit)
    }

    mutating func liftQuarantineIfHealed() {
        // What was committed in earlier terms lies below the first entry of this leader's own term (§3.6.2).
        guard self.quarantinedUntil != nil, let healing = self.healing, healing.term == self.term,
            self.commitIndex >= healing.commit, self.log.term(at: self.commitIndex) == self.term,
            self.durableIndex >= self.commitIndex
        else { return }
        self.quarantinedUntil = nil
        self.trace(.quarantineLifted(at: self.commitIndex))
    }
}
