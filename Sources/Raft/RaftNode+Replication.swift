import Units

// Proposals, appends and commit (dissertation §3.5, §3.6, §10.2).
extension RaftNode {
    // MARK: - Leader: proposals

    mutating func propose(_ payloads: [[UInt8]], token: UInt64) {
        guard case .leader(let leader) = self.state else {
            self.out.append(.proposalRefused(token: token, .notLeader(self.leader)))
            return
        }
        if self.isDiskFull {
            self.out.append(.proposalRefused(token: token, .diskFull))
            return
        }
        if leader.transfer != nil {
            self.out.append(.proposalRefused(token: token, .notLeader(nil)))
            return
        }
        let bytes = payloads.reduce(0) { $0 + $1.count }
        // One proposal always passes, however large, or it could never be made.
        if leader.uncommittedBytes > 0, leader.uncommittedBytes + bytes > self.settings.uncommittedBytes.rawValue {
            self.out.append(.proposalRefused(token: token, .overloaded))
            return
        }
        let first = self.log.lastIndex.next
        for payload in payloads {
            self.append(Entry(term: self.term, index: self.log.lastIndex.next, payload: .command(payload)))
        }
        self.withLeader { $0.uncommittedBytes += bytes }
        self.out.append(.proposed(token: token, first: first, term: self.term))
    }

    // MARK: - Leader: sending

    /// Once per flush: whatever each server lacks.
    mutating func replicate(at now: Instant) {
        self.formReadBatch(force: false)
        for id in self.peerIDs { self.sendAppend(to: id, force: false, at: now) }
    }

    /// What sending goes by. Not the progress itself: a copy of it would make each change of its window a copy, too.
    private struct Outlook {
        var nextIndex: LogIndex
        var isInSnapshot: Bool
        var mayCarry: Bool
        var hasNews: Bool
    }

    private func outlook(for peer: NodeID) -> Outlook? {
        guard case .leader(let leader) = self.state, let position = leader.position(of: peer) else { return nil }
        return Outlook(
            nextIndex: leader.peers[position].progress.nextIndex,
            isInSnapshot: leader.peers[position].progress.isInSnapshot,
            mayCarry: leader.peers[position].progress.mayCarryEntries(self.settings),
            hasNews: leader.peers[position].progress.hasNews(
                commit: self.commitIndex, readPosition: leader.reads.position))
    }

    /// One or more appends to a server, as far as its window allows. `force`: at least one, as a heartbeat.
    mutating func sendAppend(to peer: NodeID, force: Bool, at now: Instant) {
        var isForced = force
        while let outlook = self.outlook(for: peer) {
            let previous = outlook.nextIndex.previous
            guard !outlook.isInSnapshot, let previousTerm = self.log.term(at: previous) else {
                if !outlook.isInSnapshot { self.startSnapshot(to: peer, at: now) }
                // Entries wait for the snapshot; the server only needs to know that there is a leader.
                if isForced { self.sendHeartbeat(to: peer, previous: .zero, previousTerm: .zero) }
                return
            }
            let carries = outlook.mayCarry && outlook.nextIndex <= self.log.lastIndex
            guard carries, self.log.isCached(outlook.nextIndex) else {
                if carries { self.fetch(from: outlook.nextIndex, for: peer) }
                if isForced || (!carries && outlook.hasNews) {
                    self.sendHeartbeat(to: peer, previous: previous, previousTerm: previousTerm)
                }
                return
            }
            let entries = self.log.entries(
                from: outlook.nextIndex, through: self.log.lastIndex, maxCount: self.settings.appendEntriesMax,
                maxBytes: self.settings.appendBytes.rawValue)
            self.send(entries, to: peer, previous: previous, previousTerm: previousTerm)
            isForced = false
        }
    }

    private mutating func send(_ entries: [Entry], to peer: NodeID, previous: LogIndex, previousTerm: Term) {
        let bytes = entries.reduce(0) { $0 + $1.payload.byteCount }
        let last = previous.advanced(by: entries.count)
        let append = self.append(entries, to: peer, previous: previous, previousTerm: previousTerm)
        self.withProgress(of: peer) { progress in
            switch progress.state {
            case .probe: progress.isPaused = true
            case .replicate:
                progress.nextIndex = last.next
                progress.sent(through: last, bytes: bytes)
            case .snapshot: break
            }
        }
        self.send(.append(append), to: peer, after: .nothing)
    }

    private mutating func sendHeartbeat(to peer: NodeID, previous: LogIndex, previousTerm: Term) {
        self.send(
            .append(self.append([], to: peer, previous: previous, previousTerm: previousTerm)), to: peer,
            after: .nothing)
    }

    /// Sequence 0 asks for no answer unless the append is refused. Only what says nothing but a commit index goes without:
    /// the next heartbeat will have an answer.
    private mutating func append(
        _ entries: [Entry], to peer: NodeID, previous: LogIndex, previousTerm: Term
    ) -> Message.Append {
        var readPosition: UInt64 = 0
        var sequence: UInt64 = 0
        var knowsQuarantine = false
        let commit = self.commitIndex
        self.withLeader { leader in
            readPosition = leader.reads.position
            guard let position = leader.position(of: peer) else { return }
            knowsQuarantine = leader.peers[position].progress.isQuarantined
            let wantsAnswer =
                !entries.isEmpty || readPosition > leader.peers[position].progress.readPositionSent
                || leader.peers[position].progress.commitSent >= min(commit, previous)
            if wantsAnswer {
                leader.peers[position].progress.sequence += 1
                sequence = leader.peers[position].progress.sequence
            }
            leader.peers[position].progress.readPositionSent = readPosition
            leader.peers[position].progress.commitSent = min(commit, previous.advanced(by: entries.count))
        }
        return Message.Append(
            previousIndex: previous, previousTerm: previousTerm, entries: entries, commit: commit,
            readPosition: readPosition, sequence: sequence, knowsQuarantine: knowsQuarantine)
    }

    // MARK: - Entries from disk

    private mutating func fetch(from first: LogIndex, for peer: NodeID) {
        self.withProgress(of: peer) { $0.isFetching = true }
        self.out.append(
            .fetchEntries(
                peer: peer, from: first, to: self.log.cacheFirst.previous,
                maxBytes: self.settings.appendBytes.rawValue))
    }

    mutating func fetched(_ entries: [Entry], from: LogIndex, for peer: NodeID, at now: Instant) {
        if peer == self.id {
            self.isFetchingToApply = false
            self.handToApply(
                Array(entries.prefix { $0.index <= self.commitIndex && self.log.term(at: $0.index) == $0.term }))
            return
        }
        guard let progress = self.progress(of: peer), progress.isFetching else { return }
        self.withProgress(of: peer) { $0.isFetching = false }
        guard progress.nextIndex == from else { return }
        guard let first = entries.first, first.index == from, let previousTerm = self.log.term(at: from.previous),
            entries.allSatisfy({ self.log.term(at: $0.index) == $0.term })
        else {
            // They were compacted, or rewritten, while they were being read.
            if from < self.log.firstIndex { self.startSnapshot(to: peer, at: now) }
            return
        }
        self.send(entries, to: peer, previous: from.previous, previousTerm: previousTerm)
    }

    // MARK: - Follower

    mutating func receiveAppend(_ append: Message.Append, from peer: NodeID, at now: Instant) {
        self.heard(from: peer, at: now)
        if append.knowsQuarantine { self.healQuarantine(by: append.commit) }
        // While a snapshot is being loaded nothing is appended; the heartbeats that go with it are answered.
        if self.installing != nil, append.previousIndex > .zero || !append.entries.isEmpty { return }
        guard self.isWellFormed(append) else {
            self.trace(.ignored("malformed append from \(peer)"))
            return
        }
        var previous = append.previousIndex
        var entries = append.entries[...]
        // What is committed here equals the leader's log: skip it, the prefix may be compacted away.
        if previous < self.commitIndex, previous > .zero || !entries.isEmpty {
            let known = min(entries.count, self.commitIndex.distance(from: previous))
            entries = entries.dropFirst(known)
            previous = previous.advanced(by: known)
        } else if previous == .zero || self.log.term(at: previous) == append.previousTerm {
            // The logs agree up to there (§3.5).
        } else {
            self.refuse(append, from: peer)
            return
        }
        let verified = previous.advanced(by: entries.count)
        if let conflict = entries.firstIndex(where: { self.log.term(at: $0.index) != $0.term }) {
            if self.isDiskFull {
                self.answerWithoutRoom(append, from: peer)
                return
            }
            if entries[conflict].index <= self.log.lastIndex { self.truncate(from: entries[conflict].index) }
            for entry in entries[conflict...] { self.append(entry) }
        }
        self.commit(through: min(append.commit, verified))
        self.liftQuarantineIfHealed()
        guard append.sequence > 0 else { return }
        self.send(
            .appendResponse(
                Message.AppendResponse(
                    rejected: false, matchIndex: verified, hintIndex: .zero, hintTerm: .zero,
                    readPosition: append.readPosition, sequence: append.sequence, applied: self.appliedIndex,
                    quarantined: self.isQuarantined)),
            to: peer, after: .log)
    }

    /// No room for the entries: says that this server lives and whom it follows, and nothing of its log (sequence 0), so
    /// that the leader keeps its quorum and asks again at its next heartbeat.
    private mutating func answerWithoutRoom(_ append: Message.Append, from peer: NodeID) {
        self.send(
            .appendResponse(
                Message.AppendResponse(
                    rejected: true, matchIndex: .zero, hintIndex: self.log.lastIndex, hintTerm: self.log.lastTerm,
                    readPosition: append.readPosition, sequence: 0, applied: self.appliedIndex,
                    quarantined: self.isQuarantined)),
            to: peer, after: .hardState)
    }

    /// A leader of this term is alive.
    mutating func heard(from leader: NodeID, at now: Instant) {
        invariant(self.role != .leader, "two leaders in term \(self.term): \(self.id) and \(leader)")
        if self.role != .follower || self.leader != leader {
            self.becomeFollower(term: self.term, leader: leader, at: now)
        }
        self.lastLeaderContact = now
        self.electionDeadline = now + self.randomElectionTimeout()
    }

    private func isWellFormed(_ append: Message.Append) -> Bool {
        var index = append.previousIndex
        var term = append.previousTerm
        for entry in append.entries {
            if entry.index != index.next || entry.term < term || entry.term > self.term { return false }
            index = entry.index
            term = entry.term
        }
        return true
    }

    /// Where the leader should look next: the largest index whose term is not above the one it tried.
    private mutating func refuse(_ append: Message.Append, from peer: NodeID) {
        let hint = self.log.lastIndex(
            notAbove: min(append.previousIndex, self.log.lastIndex), termAtMost: append.previousTerm)
        let index = max(hint, self.commitIndex)
        self.send(
            .appendResponse(
                Message.AppendResponse(
                    rejected: true, matchIndex: append.previousIndex, hintIndex: index,
                    hintTerm: self.log.term(at: index) ?? .zero, readPosition: append.readPosition,
                    sequence: append.sequence, applied: self.appliedIndex, quarantined: self.isQuarantined)),
            to: peer, after: .hardState)
    }

    // MARK: - Leader: answers

    mutating func receiveAppendResponse(_ response: Message.AppendResponse, from peer: NodeID, at now: Instant) {
        guard case .leader(let leader) = self.state, let position = leader.position(of: peer) else { return }
        guard response.sequence <= leader.peers[position].progress.sequence, response.matchIndex <= self.log.lastIndex
        else {
            self.trace(.ignored("answer of \(peer) to an append that was never sent"))
            return
        }
        let isOld = !response.quarantined && response.sequence <= leader.peers[position].progress.quarantinedThrough
        self.withProgress(of: peer) {
            $0.lastContact = now
            if response.quarantined { $0.heardOfQuarantine() } else if !isOld { $0.isQuarantined = false }
            $0.appliedIndex = response.applied
            $0.readPosition = max($0.readPosition, response.readPosition)
        }
        // From before its disk lost entries: it may have accepted what it holds no more.
        if isOld, response.sequence > 0 { return self.confirmReads() }
        if response.rejected {
            self.repair(peer, response)
        } else {
            self.accepted(response, by: peer)
        }
        self.confirmReads()
    }

    private mutating func accepted(_ response: Message.AppendResponse, by peer: NodeID) {
        self.withProgress(of: peer) { progress in
            progress.acceptedSequence = max(progress.acceptedSequence, response.sequence)
            progress.matchIndex = max(progress.matchIndex, response.matchIndex)
            switch progress.state {
            case .probe:
                // The answer to what was asked, and not a late one that reaches less far.
                if response.matchIndex >= progress.nextIndex.previous { progress.becomeReplicate() }
            case .replicate: progress.acknowledged(through: response.matchIndex)
            case .snapshot(let send):
                if progress.matchIndex >= send.meta.index { progress.becomeProbe(nextIndex: progress.matchIndex.next) }
            }
        }
        self.maybeCommit()
        self.continueTransfer()
    }

    /// The server's log differs at `matchIndex` (which names the refused previous index here): jump back by a term.
    private mutating func repair(_ peer: NodeID, _ response: Message.AppendResponse) {
        guard let progress = self.progress(of: peer), response.sequence > progress.ignoredThrough else { return }
        let refused = response.matchIndex
        let hint = min(response.hintIndex, refused.previous)
        if refused <= progress.matchIndex {
            // Older than what it has accepted since: a late answer. Newer: its disk has lost what it once promised, so
            // that it counts from where it is now.
            guard response.sequence > progress.acceptedSequence else { return }
            self.withProgress(of: peer) {
                $0.matchIndex = .zero
                $0.becomeProbe(nextIndex: min(refused, hint.next))
            }
            return
        }
        if case .probe = progress.state, refused != progress.nextIndex.previous { return }
        if case .snapshot = progress.state { return }
        let agreed =
            response.hintTerm > .zero
            ? self.log.lastIndex(notAbove: hint, termAtMost: response.hintTerm) : hint
        self.withProgress(of: peer) { $0.becomeProbe(nextIndex: min(refused, agreed.next)) }
    }

    mutating func peerUnreachable(_ peer: NodeID) {
        self.withProgress(of: peer) { progress in
            if progress.state == .replicate { progress.becomeProbe(nextIndex: progress.matchIndex.next) }
        }
    }

    // MARK: - Commit

    /// An entry of the own term that a quorum's disks hold is committed, and with it everything before (§3.6.2).
    mutating func maybeCommit() {
        guard case .leader(let leader) = self.state else { return }
        let durable = self.durableIndex
        let own = self.isQuarantined ? .zero : durable
        let reached: LogIndex? = Quorum.reached(in: self.configuration) { id in
            if id == self.id { return own }
            return leader.countedMatch(of: id)
        }
        guard let reached, reached > self.commitIndex, self.log.term(at: reached) == self.term else { return }
        self.commit(through: reached)
    }

    mutating func commit(through index: LogIndex) {
        guard index > self.commitIndex else { return }
        invariant(index <= self.log.lastIndex, "commit \(index) beyond the log's end \(self.log.lastIndex)")
        let before = self.commitIndex
        self.commitIndex = index
        if case .leader = self.state { self.released(from: before, through: index) }
        if self.configurationIndex > before, self.configurationIndex <= index {
            self.trace(.configurationCommitted(self.configuration, at: self.configurationIndex))
        }
        if case .leader = self.state { self.afterCommit(from: before) }
    }

    /// Committed bytes no longer count against the bound.
    private mutating func released(from before: LogIndex, through index: LogIndex) {
        let bytes = self.log.commandBytes(above: before, through: index)
        self.withLeader { $0.uncommittedBytes = max(0, $0.uncommittedBytes - bytes) }
    }

    private mutating func afterCommit(from before: LogIndex) {
        guard case .leader(let leader) = self.state, self.commitIndex >= leader.firstOwnIndex else { return }
        if before < leader.firstOwnIndex { self.releasePostponedReads() }
        if self.configurationIndex <= self.commitIndex { self.continueChange() }
    }
}
