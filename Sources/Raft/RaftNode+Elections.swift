import Units

// Who leads: pre-vote, vote, lease and step-down (dissertation §3.4, §3.10, §4.2.3, §6.2, §9.6).
extension RaftNode {
    /// True while a leader was heard of within the shortest election timeout: then no vote is given to anybody.
    func hasLease(at now: Instant) -> Bool {
        if case .leader = self.state { return true }
        return self.leader != nil && now.since(self.lastLeaderContact) < self.settings.electionTimeoutMin
    }

    private func mayCampaign(at now: Instant) -> Bool {
        self.configuration.isVoter(self.id) && !self.isQuarantined && !self.isDiskFull && !self.isStalled(at: now)
            && self.installing == nil
    }

    // MARK: - Role changes

    mutating func becomeFollower(term: Term, leader: NodeID?, at now: Instant) {
        if term > self.term { self.set(term: term, vote: nil) }
        self.leaveRole(at: now)
        let kept: FollowerState
        if case .follower(let follower) = self.state { kept = follower } else { kept = FollowerState() }
        let wasFollower = self.role == .follower
        self.state = .follower(kept)
        if !wasFollower { self.trace(.becameFollower(term: term, leader: leader)) }
        self.electionDeadline = now + self.randomElectionTimeout()
        self.note(leader: leader)
        self.askReadsAnew(at: now)
    }

    mutating func note(leader: NodeID?) {
        guard leader != self.leader else { return }
        self.leader = leader
        self.trace(.leaderChanged(leader, term: self.term))
    }

    /// Everybody who waits for something only the old role could give is told.
    private mutating func leaveRole(at now: Instant) {
        if case .leader(let leader) = self.state { self.dismiss(leader) }
        if case .follower = self.state { return }
    }

    private mutating func becomeLeader(at now: Instant) {
        guard case .candidate = self.state else {
            invariant(false, "\(self.role) became leader of term \(self.term)")
            return
        }
        invariant(!self.isQuarantined, "quarantined server won term \(self.term)")
        let first = self.log.lastIndex.next
        var leader = LeaderState(firstOwnIndex: first, nextHeartbeat: now)
        for member in self.configuration.allMembers where member.id != self.id {
            leader.peers.append((member.id, Progress(nextIndex: first, now: now)))
        }
        leader.uncommittedBytes = self.log.commandBytes(above: self.commitIndex, through: self.log.lastIndex)
        self.state = .leader(leader)
        self.lastLeaderContact = now
        self.note(leader: self.id)
        self.trace(.becameLeader(term: self.term))
        self.append(Entry(term: self.term, index: first, payload: .noop))
    }

    // MARK: - Campaigns

    /// The election timeout passed: ask whether a campaign could be won before disturbing anybody (§9.6).
    mutating func campaign(at now: Instant) {
        self.electionDeadline = now + self.randomElectionTimeout()
        // Who may not campaign, a learner say, has lost its leader all the same.
        self.note(leader: nil)
        self.refuseReads(.notLeader(nil))
        guard self.mayCampaign(at: now) else { return }
        var candidate = CandidateState()
        candidate.votes = [(self.id, true)]
        self.state = .preCandidate(candidate)
        self.trace(.becamePreCandidate(term: self.term))
        self.requestVotes(term: self.term.next, pre: true, transfer: false)
        self.countVotes(at: now)
    }

    /// A real campaign: term and own vote are durable before anybody is asked.
    private mutating func runForLeader(transfer: Bool, at now: Instant) {
        self.set(term: self.term.next, vote: self.id)
        self.note(leader: nil)
        self.state = .candidate(CandidateState(votes: [], isTransfer: transfer, ownVoteBatch: self.nextBatch))
        self.electionDeadline = now + self.randomElectionTimeout()
        self.trace(.becameCandidate(term: self.term))
        self.requestVotes(term: self.term, pre: false, transfer: transfer)
    }

    private mutating func requestVotes(term: Term, pre: Bool, transfer: Bool) {
        for member in self.configuration.allMembers where member.id != self.id && self.configuration.isVoter(member.id)
        {
            self.send(
                .voteRequest(
                    lastIndex: self.log.lastIndex, lastTerm: self.log.lastTerm, pre: pre, transfer: transfer),
                to: member.id, term: term, after: .hardState)
        }
    }

    mutating func ownVoteDurable(through batch: UInt64, at now: Instant) {
        guard case .candidate(var candidate) = self.state, let own = candidate.ownVoteBatch, own <= batch else {
            return
        }
        candidate.ownVoteBatch = nil
        candidate.votes.append((self.id, true))
        self.state = .candidate(candidate)
        self.countVotes(at: now)
    }

    private mutating func countVotes(at now: Instant) {
        let (candidate, isPre): (CandidateState, Bool)
        switch self.state {
        case .preCandidate(let state): (candidate, isPre) = (state, true)
        case .candidate(let state): (candidate, isPre) = (state, false)
        case .follower, .leader: return
        }
        let result = Quorum.result(in: self.configuration) { id in
            candidate.votes.first { $0.voter == id }?.granted
        }
        switch result {
        case .pending: break
        case .won where isPre: self.runForLeader(transfer: false, at: now)
        case .won: self.becomeLeader(at: now)
        case .lost:
            // Nobody can win this term any more, or others are not ready: soon again, at another moment than the rest.
            let retry = self.random.duration(from: self.settings.splitVoteRetryMin, to: self.settings.splitVoteRetryMax)
            let lost = self.term
            self.becomeFollower(term: lost, leader: nil, at: now)
            self.electionDeadline = now + retry
        }
    }

    // MARK: - Votes

    mutating func receiveVoteRequest(
        from peer: NodeID, term: Term, lastIndex: LogIndex, lastTerm: Term, pre: Bool, transfer: Bool, at now: Instant
    ) {
        let upToDate = (lastTerm, lastIndex) >= (self.log.lastTerm, self.log.lastIndex)
        if pre {
            let granted =
                term > self.term && upToDate && !self.hasLease(at: now) && !self.isQuarantined
            // A granted pre-vote speaks of the term asked for; a refusal tells the own one.
            self.send(
                .voteResponse(granted: granted, pre: true), to: peer, term: granted ? term : self.term,
                after: .hardState)
            return
        }
        guard term == self.term else { return }
        let free = self.hardState.vote == nil || self.hardState.vote == peer
        guard free, upToDate, !self.isQuarantined, self.leader == nil || self.hardState.vote == peer else {
            self.send(.voteResponse(granted: false, pre: false), to: peer, after: .hardState)
            return
        }
        self.set(term: term, vote: peer)
        self.electionDeadline = now + self.randomElectionTimeout()
        self.send(.voteResponse(granted: true, pre: false), to: peer, after: .hardState)
    }

    mutating func receiveVoteResponse(from peer: NodeID, term: Term, granted: Bool, pre: Bool, at now: Instant) {
        switch self.state {
        case .preCandidate(var candidate):
            guard pre, term == (granted ? self.term.next : self.term) || !granted else { return }
            guard !candidate.votes.contains(where: { $0.voter == peer }) else { return }
            candidate.votes.append((peer, granted))
            self.state = .preCandidate(candidate)
            self.countVotes(at: now)
        case .candidate(var candidate):
            guard !pre, term == self.term, !candidate.votes.contains(where: { $0.voter == peer }) else { return }
            candidate.votes.append((peer, granted))
            self.state = .candidate(candidate)
            self.countVotes(at: now)
        case .follower, .leader: break
        }
    }

    /// The leader hands over: campaign at once, without pre-vote (§3.10).
    mutating func receiveTimeoutNow(at now: Instant) {
        guard case .follower = self.state, self.mayCampaign(at: now) else { return }
        self.refuseReads(.notLeader(nil))
        self.runForLeader(transfer: true, at: now)
    }
}

extension RaftNode {
    // MARK: - Messages

    mutating func receive(_ message: Message, at now: Instant) {
        guard message.to == self.id, message.from != self.id else {
            self.trace(.ignored("message from \(message.from) to \(message.to)"))
            return
        }
        if message.term > self.term {
            guard self.adoptTerm(of: message, at: now) else { return }
        } else if message.term < self.term {
            self.answerStale(message)
            guard case .readIndexResponse = message.body else { return }
        }
        switch message.body {
        case .voteRequest(let lastIndex, let lastTerm, let pre, let transfer):
            self.receiveVoteRequest(
                from: message.from, term: message.term, lastIndex: lastIndex, lastTerm: lastTerm, pre: pre,
                transfer: transfer, at: now)
        case .voteResponse(let granted, let pre):
            self.receiveVoteResponse(from: message.from, term: message.term, granted: granted, pre: pre, at: now)
        case .append(let append): self.receiveAppend(append, from: message.from, at: now)
        case .appendResponse(let response): self.receiveAppendResponse(response, from: message.from, at: now)
        case .snapshotChunk(let chunk): self.receiveSnapshotChunk(chunk, from: message.from, at: now)
        case .snapshotResponse(let response): self.receiveSnapshotResponse(response, from: message.from, at: now)
        case .timeoutNow: self.receiveTimeoutNow(at: now)
        case .readIndexRequest(let context, let confirms):
            self.receiveReadIndexRequest(context: context, confirms: confirms, from: message.from)
        case .readIndexResponse(let context, let index, let refused):
            self.receiveReadIndexResponse(context: context, index: index, refused: refused, at: now)
        }
    }

    /// A higher term: follow it, unless the message only asks, or comes from somebody who can't hear the leader that
    /// this server hears (§4.2.3). False: the message is done with.
    private mutating func adoptTerm(of message: Message, at now: Instant) -> Bool {
        switch message.body {
        case .voteRequest(_, _, true, _), .voteResponse(true, true): return true
        case .voteRequest(_, _, false, let transfer):
            if !transfer, self.hasLease(at: now) {
                self.trace(.ignored("vote request of \(message.from): a leader was heard of"))
                return false
            }
            self.becomeFollower(term: message.term, leader: nil, at: now)
            return true
        case .append, .snapshotChunk:
            self.becomeFollower(term: message.term, leader: message.from, at: now)
            return true
        case .voteResponse, .appendResponse, .snapshotResponse, .timeoutNow, .readIndexRequest, .readIndexResponse:
            self.becomeFollower(term: message.term, leader: nil, at: now)
            return true
        }
    }

    /// A lower term: tell a sender who does not know better, so that a server stuck at a higher term gets its leader to
    /// adopt it.
    private mutating func answerStale(_ message: Message) {
        switch message.body {
        case .append, .snapshotChunk:
            self.send(
                .appendResponse(
                    Message.AppendResponse(
                        rejected: true, matchIndex: .zero, hintIndex: self.log.lastIndex, hintTerm: self.log.lastTerm,
                        readPosition: 0, sequence: 0, applied: self.appliedIndex, quarantined: self.isQuarantined)),
                to: message.from, after: .hardState)
        case .voteRequest(_, _, let pre, _):
            self.send(.voteResponse(granted: false, pre: pre), to: message.from, after: .hardState)
        case .voteResponse, .appendResponse, .snapshotResponse, .timeoutNow, .readIndexRequest, .readIndexResponse:
            break
        }
    }
}
