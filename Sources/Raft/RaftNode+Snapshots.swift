import Units

// Snapshots (dissertation §5), in chunks: the receiver says what it wants next, so a broken transfer goes on where it
// stopped.
extension RaftNode {
    /// This server has written a snapshot; the log up to `compactedTo` may go.
    mutating func snapshotTaken(_ meta: SnapshotMeta, compactedTo: LogIndex) {
        guard meta.index > self.snapshot?.index ?? .zero else { return }
        invariant(meta.index <= self.handedIndex, "snapshot of \(meta.index), applied up to \(self.handedIndex)")
        invariant(compactedTo <= meta.index, "compaction to \(compactedTo) beyond the snapshot \(meta.index)")
        self.snapshot = meta
        self.log.compact(through: compactedTo)
        self.configurations.forget(before: meta.configurationIndex)
    }

    // MARK: - Leader

    mutating func startSnapshot(to peer: NodeID, at now: Instant) {
        guard let meta = self.snapshot, let progress = self.progress(of: peer) else { return }
        invariant(
            meta.index.next >= self.log.firstIndex,
            "log from \(self.log.firstIndex), newest snapshot \(meta.index)")
        if case .snapshot(let send) = progress.state, send.meta == meta { return }
        self.withProgress(of: peer) {
            $0.state = .snapshot(Progress.SnapshotSend(meta: meta, offset: 0, askedAt: now))
            $0.inflight.removeAll()
            $0.inflightBytes = 0
        }
        self.trace(.snapshotSendStarted(peer: peer, index: meta.index))
        self.readChunk(for: peer, meta, offset: 0)
    }

    private mutating func readChunk(for peer: NodeID, _ meta: SnapshotMeta, offset: UInt64) {
        self.out.append(
            .readSnapshotChunk(
                peer: peer, meta: meta, offset: offset, maxBytes: self.settings.snapshotChunkBytes.rawValue))
    }

    mutating func chunkRead(
        for peer: NodeID, _ meta: SnapshotMeta, offset: UInt64, data: [UInt8]?, checksum: UInt32, isLast: Bool,
        at now: Instant
    ) {
        guard let progress = self.progress(of: peer), case .snapshot(let send) = progress.state, send.meta == meta,
            send.offset == offset
        else { return }
        guard let data else {
            // The file was replaced by a newer one: begin anew with that.
            self.withProgress(of: peer) { $0.becomeProbe(nextIndex: $0.matchIndex.next) }
            return
        }
        self.setAsked(of: peer, offset: offset, at: now)
        let chunk = Message.SnapshotChunk(meta: meta, offset: offset, data: data, checksum: checksum, isLast: isLast)
        self.send(.snapshotChunk(chunk), to: peer, after: .nothing)
    }

    private mutating func setAsked(of peer: NodeID, offset: UInt64, at now: Instant) {
        self.withProgress(of: peer) { progress in
            guard case .snapshot(var send) = progress.state else { return }
            send.offset = offset
            send.askedAt = now
            progress.state = .snapshot(send)
        }
    }

    /// Loading a snapshot may take its receiver long; only what looks lost is sent again.
    mutating func resendChunkIfLost(to peer: NodeID, at now: Instant) {
        guard case .snapshot(let send)? = self.progress(of: peer)?.state else { return }
        guard now.since(send.askedAt) >= self.settings.electionTimeoutMin else { return }
        // A newer snapshot takes over when the old one makes no progress.
        if let meta = self.snapshot, meta != send.meta, send.offset == 0 {
            self.withProgress(of: peer) { $0.becomeProbe(nextIndex: $0.matchIndex.next) }
            return
        }
        self.setAsked(of: peer, offset: send.offset, at: now)
        self.readChunk(for: peer, send.meta, offset: send.offset)
    }

    mutating func receiveSnapshotResponse(_ response: Message.SnapshotResponse, from peer: NodeID, at now: Instant) {
        self.withProgress(of: peer) { $0.lastContact = now }
        guard let progress = self.progress(of: peer), case .snapshot(let send) = progress.state,
            send.meta.index == response.snapshotIndex
        else { return }
        if response.installed {
            self.withProgress(of: peer) {
                $0.matchIndex = max($0.matchIndex, send.meta.index)
                $0.becomeProbe(nextIndex: $0.matchIndex.next)
            }
            self.maybeCommit()
        } else if response.refused {
            self.withProgress(of: peer) { $0.becomeProbe(nextIndex: $0.matchIndex.next) }
        } else if response.nextOffset != send.offset, response.nextOffset < send.meta.totalBytes {
            self.setAsked(of: peer, offset: response.nextOffset, at: now)
            self.readChunk(for: peer, send.meta, offset: response.nextOffset)
        }
    }

    // MARK: - Follower

    mutating func receiveSnapshotChunk(_ chunk: Message.SnapshotChunk, from peer: NodeID, at now: Instant) {
        self.heard(from: peer, at: now)
        if chunk.meta.index <= self.commitIndex {
            self.answerSnapshot(chunk.meta.index, nextOffset: 0, installed: true, to: peer)
            return
        }
        if self.installing != nil || self.isDiskFull { return }
        self.out.append(.storeSnapshotChunk(chunk, from: peer))
    }

    mutating func chunkStored(_ meta: SnapshotMeta, nextOffset: UInt64, from peer: NodeID, at now: Instant) {
        // A candidate could win while its log is being replaced; the chunk is asked for again when a leader is there.
        guard case .follower = self.state else { return }
        guard self.installing == nil, meta.index > self.commitIndex else { return }
        if nextOffset >= meta.totalBytes {
            // Entries of this very round go to disk first: after the log was replaced they would stand in the wrong place.
            self.emitBatch(at: now)
            self.installing = meta
            self.out.append(.installSnapshot(meta, from: peer))
        } else {
            self.answerSnapshot(meta.index, nextOffset: nextOffset, installed: false, to: peer)
        }
    }

    /// The state machine holds the snapshot's state, and the log was replaced by it on disk, or nothing happened.
    mutating func snapshotInstalled(_ meta: SnapshotMeta, succeeded: Bool, from peer: NodeID, at now: Instant) {
        guard self.installing == meta else { return }
        self.installing = nil
        guard succeeded else {
            self.send(
                .snapshotResponse(
                    Message.SnapshotResponse(snapshotIndex: meta.index, nextOffset: 0, installed: false, refused: true)),
                to: peer, after: .hardState)
            return
        }
        invariant(meta.index > self.commitIndex, "installed \(meta.index), committed \(self.commitIndex)")
        self.snapshot = meta
        if self.log.term(at: meta.index) == meta.term, meta.index <= self.log.lastIndex {
            // What follows the snapshot in the log stays (§5): it continues what the snapshot holds.
            self.log.compact(through: meta.index)
            if self.configurationIndex <= meta.index { self.configurations.reset(to: meta) }
        } else {
            self.pending.entries = []
            self.pending.truncateFrom = nil
            self.log.reset(to: meta.index, term: meta.term)
            self.configurations.reset(to: meta)
            self.durableIndex = meta.index
        }
        self.durableIndex = max(self.durableIndex, meta.index)
        self.commitIndex = meta.index
        self.handedIndex = meta.index
        self.appliedIndex = meta.index
        self.isFetchingToApply = false
        self.trace(.snapshotInstalled(index: meta.index))
        self.liftQuarantineIfHealed()
        self.answerSnapshot(meta.index, nextOffset: meta.totalBytes, installed: true, to: peer)
    }

    /// What is here by commit may still be on its way to disk: the answer waits for it.
    private mutating func answerSnapshot(_ index: LogIndex, nextOffset: UInt64, installed: Bool, to peer: NodeID) {
        self.send(
            .snapshotResponse(
                Message.SnapshotResponse(
                    snapshotIndex: index, nextOffset: nextOffset, installed: installed, refused: false)),
            to: peer, after: .log)
    }
}
