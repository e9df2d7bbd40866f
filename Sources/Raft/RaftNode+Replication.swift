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
        for (id, _) in self.progress { self.sendAppend(to: id, force: false, at: now) }
    }

    /// One or more appends to a server, as far as its window allows. `force`: at least one, as a heartbeat.
    mutating func sendAppend(to peer: NodeID, force: Bool, at now: Instant) {
        var isForced = force
        while let progress = self.progress(of: peer) {
            switch progress.state {
            case .snapshot:
                // Entries wait for the snapshot; the server only needs to know that there is a leader.
                if isForced { self.sendHeartbeat(to: peer, progress, previous: .zero, previousTerm: .zero) }
                return
            case .probe, .replicate: break
            }
            let previous = progress.nextIndex.previous
            guard let previousTerm = self.log.term(at: previous) else {
                self.startSnapshot(to: peer, at: now)
                if isForced { continue }
                return
            }
            let lacksEntries = progress.nextIndex <= self.log.lastIndex
            let mayCarry = lacksEntries && self.mayCarryEntries(progress)
            if mayCarry, !self.log.isCached(progress.nextIndex) {
                self.fetch(for: peer, progress)
                if isForced { self.sendHeartbeat(to: peer, progress, previous: previous, previousTerm: previousTerm) }
                return
            }
            if mayCarry {
                let entries = self.log.entries(
                    from: progress.nextIndex, through: self.log.lastIndex, maxCount: self.settings.appendEntriesMax,
                    maxBytes: self.settings.appendBytes.rawValue)
                self.send(entries, to: peer, previous: previous, previousTerm: previousTerm)
                isForced = false
                continue
            }
            if isForced || self.hasNews(for: progress) {
                self.sendHeartbeat(to: peer, progress, previous: previous, previousTerm: previousTerm)
            }
            return
        }
    }

    private func mayCarryEntries(_ progress: Progress) -> Bool {
        if progress.isFetching { return false }
        switch progress.state {
        case .probe: return !progress.isPaused
        case .replicate:
            return progress.inflight.count < self.settings.inflightMessagesMax
                && progress.inflightBytes < self.settings.inflightBytes.rawValue
        case .snapshot: return false
        }
    }

    /// Something to say without entries: the commit index moved, or reads want confirmation.
    private func hasNews(for progress: Progress) -> Bool {
        guard case .leader(let leader) = self.state else { return false }
        if leader.reads.position > progress.readPositionSent { return true }
        return progress.state == .replicate && self.commitIndex > progress.commitSent
            && progress.commitSent < progress.nextIndex.previous
    }

    private mutating func send(_ entries: [Entry], to peer: NodeID, previous: LogIndex, previousTerm: Term) {
        let bytes = entries.reduce(0) { $0 + $1.payload.byteCount }
        let last = previous.advanced(by: entries.count)
        let append = self.append(entries, to: peer, previous: previous, previousTerm: previousTerm, wantsAnswer: true)
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

    private mutating func sendHeartbeat(
        to peer: NodeID, _ progress: Progress, previous: LogIndex, previousTerm: Term
    ) {
        guard case .leader(let leader) = self.state else { return }
        let newRead = leader.reads.position > progress.readPositionSent
        // A mere commit index needs no answer; the next heartbeat will get one.
        let wantsAnswer = newRead || progress.commitSent >= min(self.commitIndex, previous)
        let append = self.append([], to: peer, previous: previous, previousTerm: previousTerm, wantsAnswer: wantsAnswer)
        self.send(.append(append), to: peer, after: .nothing)
    }

    /// Sequence 0 asks for no answer unless the append is refused.
    private mutating func append(
        _ entries: [Entry], to peer: NodeID, previous: LogIndex, previousTerm: Term, wantsAnswer: Bool
    ) -> Message.Append {
        var position: UInt64 = 0
        var sequence: UInt64 = 0
        let commit = self.commitIndex
        self.withLeader { leader in
            position = leader.reads.position
            guard let index = leader.peers.firstIndex(where: { $0.id == peer }) else { return }
            if wantsAnswer {
                leader.peers[index].progress.sequence += 1
                sequence = leader.peers[index].progress.sequence
            }
            leader.peers[index].progress.readPositionSent = position
            leader.peers[index].progress.commitSent = min(commit, previous.advanced(by: entries.count))
        }
        return Message.Append(
            previousIndex: previous, previousTerm: previousTerm, entries: entries, commit: commit,
            readPosition: position, sequence: sequence)
    }

    // MARK: - Entries from disk

    private mutating func fetch(for peer: NodeID, _ progress: Progress) {
        self.withProgress(of: peer) { $0.isFetching = true }
        self.out.append(
            .fetchEntries(
                peer: peer, from: progress.nextIndex, to: self.log.cacheFirst.previous,
                maxBytes: self.settings.appendBytes.rawValue))
    }

    mutating func fetched(_ entries: [Entry], from: LogIndex, for peer: NodeID, at now: Instant) {
        if peer == self.id {
            self.isFetchingToApply = false
            self.handToApply(entries.filter { $0.index <= self.commitIndex })
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
        if self.installing != nil { return }
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
            if self.isDiskFull { return }
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

    /// A leader of this term is alive.
    mutating func heard(from leader: NodeID, at now: Instant) {
        invariant(self.role != .leader, "two leaders in term \(self.term): \(self.id) and \(leader)")
        if self.role != .follower || self.leader != leader { self.becomeFollower(term: self.term, leader: leader, at: now) }
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
        guard let progress = self.progress(of: peer) else { return }
        guard response.sequence <= progress.sequence, response.matchIndex <= self.log.lastIndex || response.rejected else {
            self.trace(.ignored("answer of \(peer) to an append that was never sent"))
            return
        }
        self.withProgress(of: peer) {
            $0.lastContact = now
            $0.isQuarantined = response.quarantined
            $0.appliedIndex = response.applied
            $0.readPosition = max($0.readPosition, response.readPosition)
        }
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
                // An answer to a heartbeat from before index 1 says nothing about where the logs agree.
                if response.matchIndex > .zero || progress.nextIndex.rawValue == 1 { progress.becomeReplicate() }
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
        guard let progress = self.progress(of: peer) else { return }
        let refused = response.matchIndex
        if refused <= progress.matchIndex {
            // Older than what it has accepted since: a late answer. Newer: its disk has lost what it once promised, so
            // that it counts from where it is now.
            guard response.sequence > progress.acceptedSequence else { return }
            self.withProgress(of: peer) {
                $0.matchIndex = .zero
                $0.becomeProbe(nextIndex: min(refused, response.hintIndex.next))
            }
            return
        }
        if case .probe = progress.state, refused != progress.nextIndex.previous { return }
        if case .snapshot = progress.state { return }
        let agreed =
            response.hintTerm > .zero
            ? self.log.lastIndex(notAbove: response.hintIndex, termAtMost: response.hintTerm) : response.hintIndex
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
            guard let progress = leader.peers.first(where: { $0.id == id })?.progress, !progress.isQuarantined else {
                return .zero
            }
            return progress.matchIndex
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
        var bytes = 0
        var next = before.next
        while next <= index {
            let entries = self.log.entries(from: next, through: index, maxCount: 1024, maxBytes: .max)
            if entries.isEmpty { break }
            for entry in entries {
                if case .command(let payload) = entry.payload { bytes += payload.count }
            }
            next = next.advanced(by: entries.count)
        }
        self.withLeader { $0.uncommittedBytes = max(0, $0.uncommittedBytes - bytes) }
    }

    private mutating func afterCommit(from before: LogIndex) {
        guard case .leader(let leader) = self.state, self.commitIndex >= leader.firstOwnIndex else { return }
        if before < leader.firstOwnIndex { self.releasePostponedReads() }
        if self.configurationIndex <= self.commitIndex { self.continueChange() }
    }
}
