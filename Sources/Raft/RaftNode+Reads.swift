import Units

// Linearizable reads without a log write (dissertation §6.4). The leader issues positions that rise within its term;
// an answer at position p confirms only reads that were registered at p or before, however often a question was sent.
extension RaftNode {
    struct LeaderReads: Sendable {
        struct Remote: Sendable {
            var peer: NodeID
            var context: UInt64
        }

        struct Batch: Sendable {
            var position: UInt64
            /// The commit index when the batch was formed: all its reads had been asked before.
            var index: LogIndex
            var tokens: [UInt64]
            var remotes: [Remote]
        }

        /// Newest position issued.
        var position: UInt64 = 0
        /// Reads that go into the next batch.
        var tokens: [UInt64] = []
        var remotes: [Remote] = []
        /// Batches that wait for a quorum, oldest first.
        var batches: [Batch] = []

        var isGathering: Bool { !self.tokens.isEmpty || !self.remotes.isEmpty }
        var count: Int { self.tokens.count + self.batches.reduce(0) { $0 + $1.tokens.count } }
    }

    mutating func readIndex(token: UInt64, at now: Instant) {
        switch self.state {
        case .leader(let leader):
            guard leader.reads.count < self.settings.readsPendingMax else {
                self.out.append(.readRefused(tokens: [token], .overloaded))
                return
            }
            self.withLeader { $0.reads.tokens.append(token) }
        case .follower(var follower):
            guard self.leader != nil else {
                self.out.append(.readRefused(tokens: [token], .notLeader(nil)))
                return
            }
            guard follower.waitingReads.count < self.settings.readsPendingMax else {
                self.out.append(.readRefused(tokens: [token], .overloaded))
                return
            }
            follower.waitingReads.append(token)
            self.state = .follower(follower)
            if follower.askedReads == nil { self.askReads(at: now) }
        case .preCandidate, .candidate:
            self.out.append(.readRefused(tokens: [token], .notLeader(nil)))
        }
    }

    // MARK: - Leader

    /// Gives the reads gathered so far a position. One round is on its way at a time: reads that arrive meanwhile share
    /// the next, unless a heartbeat (`force`) goes out anyway. Nothing before the first commit of the own term (§6.4).
    mutating func formReadBatch(force: Bool) {
        guard case .leader(let leader) = self.state, leader.reads.isGathering, self.hasCommittedInTerm,
            force || leader.reads.batches.isEmpty
        else { return }
        let index = self.commitIndex
        self.withLeader { leader in
            leader.reads.position += 1
            leader.reads.batches.append(
                LeaderReads.Batch(
                    position: leader.reads.position, index: index, tokens: leader.reads.tokens,
                    remotes: leader.reads.remotes))
            leader.reads.tokens = []
            leader.reads.remotes = []
        }
        self.confirmReads()
    }

    mutating func releasePostponedReads() { self.formReadBatch(force: true) }

    /// Answers every batch whose position a quorum has echoed.
    mutating func confirmReads() {
        guard case .leader(let leader) = self.state, !leader.reads.batches.isEmpty else { return }
        let confirmed: UInt64? = Quorum.reached(in: self.configuration) { id in
            id == self.id ? leader.reads.position : leader.countedReadPosition(of: id)
        }
        guard let confirmed else { return }
        var ready: [LeaderReads.Batch] = []
        self.withLeader { leader in
            while let batch = leader.reads.batches.first, batch.position <= confirmed {
                ready.append(batch)
                leader.reads.batches.removeFirst()
            }
        }
        for batch in ready {
            if !batch.tokens.isEmpty { self.out.append(.readReady(tokens: batch.tokens, index: batch.index)) }
            for remote in batch.remotes {
                self.send(
                    .readIndexResponse(context: remote.context, index: batch.index, refused: false), to: remote.peer,
                    after: .nothing)
            }
        }
    }

    /// The question itself says that its sender followed this leader after its reads had been asked: one word of the
    /// quorum. Where that and the leader's own are enough, as among three, nobody else need be asked. For other reads
    /// it says nothing.
    mutating func receiveReadIndexRequest(context: UInt64, confirms: Bool, from peer: NodeID) {
        guard case .leader(let leader) = self.state, leader.reads.remotes.count < self.settings.readsPendingMax else {
            self.send(.readIndexResponse(context: context, index: .zero, refused: true), to: peer, after: .hardState)
            return
        }
        if confirms, self.hasCommittedInTerm,
            Quorum.result(in: self.configuration, { $0 == self.id || $0 == peer ? true : nil }) == .won
        {
            self.send(
                .readIndexResponse(context: context, index: self.commitIndex, refused: false), to: peer,
                after: .nothing)
            return
        }
        self.withLeader { $0.reads.remotes.append(LeaderReads.Remote(peer: peer, context: context)) }
    }

    mutating func dismissReads(_ reads: LeaderReads) {
        var tokens = reads.batches.flatMap(\.tokens)
        tokens += reads.tokens
        if !tokens.isEmpty { self.out.append(.readRefused(tokens: tokens, .lostLeadership)) }
        for remote in reads.batches.flatMap(\.remotes) + reads.remotes {
            self.send(
                .readIndexResponse(context: remote.context, index: .zero, refused: true), to: remote.peer,
                after: .nothing)
        }
    }

    // MARK: - Follower

    /// One question to the leader for everybody who waits.
    private mutating func askReads(patience: Nanoseconds? = nil, at now: Instant) {
        guard case .follower(var follower) = self.state, let leader = self.leader, !follower.waitingReads.isEmpty else {
            return
        }
        self.nextContext += 1
        follower.askedReads = AskedReads(
            context: self.nextContext, tokens: follower.waitingReads, sentAt: now,
            patience: patience ?? self.settings.heartbeatInterval + self.settings.heartbeatInterval)
        follower.waitingReads = []
        self.state = .follower(follower)
        self.send(
            .readIndexRequest(context: self.nextContext, confirms: !self.isQuarantined), to: leader, after: .hardState)
    }

    mutating func receiveReadIndexResponse(context: UInt64, index: LogIndex, refused: Bool, at now: Instant) {
        guard case .follower(var follower) = self.state, let asked = follower.askedReads, asked.context == context
        else {
            return
        }
        follower.askedReads = nil
        self.state = .follower(follower)
        if refused {
            self.out.append(.readRefused(tokens: asked.tokens, .notLeader(self.leader)))
        } else {
            self.out.append(.readReady(tokens: asked.tokens, index: index))
        }
        self.askReads(at: now)
    }

    /// A question without an answer is asked again under a new context: the old answer, should it come, confirms nothing.
    /// Each time it is waited for twice as long, or an answer that takes longer than the first wait would never count.
    mutating func retryReads(at now: Instant) {
        guard case .follower(let follower) = self.state, let asked = follower.askedReads,
            now.since(asked.sentAt) >= asked.patience
        else { return }
        self.askReadsAnew(patience: min(asked.patience + asked.patience, self.settings.electionTimeoutMax), at: now)
    }

    mutating func askReadsAnew(patience: Nanoseconds? = nil, at now: Instant) {
        guard case .follower(var follower) = self.state else { return }
        if let asked = follower.askedReads {
            follower.waitingReads = asked.tokens + follower.waitingReads
            follower.askedReads = nil
            self.state = .follower(follower)
        }
        if self.leader != nil { self.askReads(patience: patience, at: now) } else { self.refuseReads(.notLeader(nil)) }
    }

    mutating func refuseReads(_ reason: RefusalReason) {
        guard case .follower(var follower) = self.state else { return }
        let tokens = (follower.askedReads?.tokens ?? []) + follower.waitingReads
        follower.askedReads = nil
        follower.waitingReads = []
        self.state = .follower(follower)
        if !tokens.isEmpty { self.out.append(.readRefused(tokens: tokens, reason)) }
    }
}
