import Units

// A leader's own state, its clock, and how it goes.
extension RaftNode {
    struct LeaderState: Sendable {
        /// The first index of its own term: once that is committed, so is everything before it (§3.6.2).
        var firstOwnIndex: LogIndex
        var nextHeartbeat: Instant
        /// Every other member of the configuration, sorted by id.
        var peers: [(id: NodeID, progress: Progress)] = []
        /// Bytes of the commands above the commit index.
        var uncommittedBytes = 0
        var reads = LeaderReads()
        var change: PendingChange?
        var transfer: Transfer?

        init(firstOwnIndex: LogIndex, nextHeartbeat: Instant) {
            self.firstOwnIndex = firstOwnIndex
            self.nextHeartbeat = nextHeartbeat
        }

        /// By index, so that no element is copied.
        func position(of id: NodeID) -> Int? {
            for position in self.peers.indices where self.peers[position].id == id { return position }
            return nil
        }

        /// What counts towards a quorum: nothing from a server whose disk may have lost entries.
        func countedMatch(of id: NodeID) -> LogIndex {
            guard let position = self.position(of: id), !self.peers[position].progress.isQuarantined else {
                return .zero
            }
            return self.peers[position].progress.matchIndex
        }

        /// Nor does such a server confirm a read: it may have forgotten a later term.
        func countedReadPosition(of id: NodeID) -> UInt64 {
            guard let position = self.position(of: id), !self.peers[position].progress.isQuarantined else { return 0 }
            return self.peers[position].progress.readPosition
        }
    }

    struct PendingChange: Sendable {
        var token: UInt64
    }

    struct Transfer: Sendable {
        var token: UInt64
        var target: NodeID
        var deadline: Instant
        var isSent = false
    }

    /// Changes the leader's state in place; does nothing in any other role.
    mutating func withLeader(_ body: (inout LeaderState) -> Void) {
        guard case .leader(var leader) = self.state else { return }
        // The enum lets go of its payload, so that the change is made in place and not on a copy.
        self.state = .follower(FollowerState())
        body(&leader)
        self.state = .leader(leader)
    }

    mutating func withProgress(of peer: NodeID, _ body: (inout Progress) -> Void) {
        self.withLeader { leader in
            guard let position = leader.position(of: peer) else { return }
            body(&leader.peers[position].progress)
        }
    }

    /// The ids of the servers that a leader follows; for loops that send, which must not hold on to their progress.
    var peerIDs: [NodeID] {
        guard case .leader(let leader) = self.state else { return [] }
        return leader.peers.indices.map { leader.peers[$0].id }
    }

    // MARK: - Time

    mutating func leaderTick(at now: Instant) {
        guard case .leader(let leader) = self.state else { return }
        if !self.hasQuorumContact(leader, at: now) {
            let term = self.term
            self.trace(.steppedDown(term: term, reason: "no word from a quorum"))
            self.becomeFollower(term: term, leader: nil, at: now)
            return
        }
        if self.isStalled(at: now) || self.isDiskFull {
            self.handOver(because: self.isDiskFull ? "disk full" : "the disk does not answer", at: now)
            return
        }
        if let transfer = leader.transfer, now >= transfer.deadline {
            self.withLeader { $0.transfer = nil }
            self.out.append(.transferRefused(token: transfer.token, .timedOut))
        }
        if now >= leader.nextHeartbeat { self.heartbeat(at: now) }
    }

    /// CheckQuorum (§6.2): a leader that a quorum has not answered within an election timeout is none.
    private func hasQuorumContact(_ leader: LeaderState, at now: Instant) -> Bool {
        let result = Quorum.result(in: self.configuration) { id in
            if id == self.id { return true }
            guard let position = leader.position(of: id) else { return false }
            return now.since(leader.peers[position].progress.lastContact) < self.settings.electionTimeoutMin
        }
        return result == .won
    }

    private mutating func heartbeat(at now: Instant) {
        let interval = self.settings.heartbeatInterval
        self.formReadBatch(force: true)
        // The quorum that a batch waits for may have become smaller since.
        self.confirmReads()
        self.withLeader { leader in
            leader.nextHeartbeat = now + interval
            for position in leader.peers.indices { leader.peers[position].progress.isPaused = false }
        }
        for id in self.peerIDs {
            self.resendChunkIfLost(to: id, at: now)
            self.sendAppend(to: id, force: true, at: now)
        }
    }

    // MARK: - Going

    /// This server should not lead: the best other voter is asked to campaign, and this one steps back.
    mutating func handOver(because reason: String, at now: Instant) {
        guard case .leader(let leader) = self.state else { return }
        let term = self.term
        if let heir = self.bestHeir(leader, at: now) { self.send(.timeoutNow, to: heir, after: .nothing) }
        self.trace(.steppedDown(term: term, reason: reason))
        self.becomeFollower(term: term, leader: nil, at: now)
    }

    private func bestHeir(_ leader: LeaderState, at now: Instant) -> NodeID? {
        var best: (id: NodeID, match: LogIndex)?
        for (id, progress) in leader.peers
        where self.configuration.voters.contains(where: { $0.id == id }) && !progress.isQuarantined
            && now.since(progress.lastContact) < self.settings.electionTimeoutMin
        {
            if best.map({ progress.matchIndex > $0.match }) ?? true { best = (id, progress.matchIndex) }
        }
        return best?.id
    }

    /// Tells everybody who waits for this leader that it is one no more.
    mutating func dismiss(_ leader: LeaderState) {
        self.dismissReads(leader.reads)
        if let change = leader.change { self.out.append(.membershipRefused(token: change.token, .lostLeadership)) }
        if let transfer = leader.transfer { self.out.append(.transferDone(token: transfer.token)) }
    }

    /// A leader that is not part of the committed configuration has done its work (§4.2.2).
    mutating func stepDownIfRemoved(at now: Instant) {
        guard self.commitIndex >= self.configurationIndex, !self.configuration.isJoint,
            !self.configuration.isVoter(self.id)
        else { return }
        self.handOver(because: "removed from the configuration", at: now)
    }

    mutating func transferLeadership(to target: NodeID?, token: UInt64, at now: Instant) {
        guard case .leader(let leader) = self.state else {
            self.out.append(.transferRefused(token: token, .notLeader(self.leader)))
            return
        }
        if leader.transfer != nil {
            self.out.append(.transferRefused(token: token, .invalid("a transfer of leadership is under way")))
            return
        }
        guard let heir = target ?? self.bestHeir(leader, at: now) else {
            self.out.append(.transferRefused(token: token, .invalid("no other voter is in contact")))
            return
        }
        guard heir != self.id, self.configuration.voters.contains(where: { $0.id == heir }) else {
            self.out.append(.transferRefused(token: token, .invalid("\(heir) is not another voter")))
            return
        }
        let deadline = now + self.settings.electionTimeoutMin
        self.withLeader { $0.transfer = Transfer(token: token, target: heir, deadline: deadline) }
        self.continueTransfer()
    }

    /// As soon as the heir's log is whole it is told to campaign.
    mutating func continueTransfer() {
        guard case .leader(let leader) = self.state, let transfer = leader.transfer, !transfer.isSent,
            let progress = self.progress(of: transfer.target), progress.matchIndex == self.log.lastIndex
        else { return }
        self.withLeader { $0.transfer?.isSent = true }
        self.send(.timeoutNow, to: transfer.target, after: .nothing)
    }
}
