import Raft
import Registry
import Units

/// What `LogStorage.recover` found.
public struct Recovery: Sendable {
    public var restored: RestoredState
    /// The state machine loaded from `restored.snapshot`; nil exactly when that is.
    public var registry: Registry?
    /// What was wrong, a sentence each; empty when all was well. For the operator's log.
    public var findings: [String]
}

extension LogStorage {
    /// Recovers from the newest snapshot that loads, and the log (see `recover(snapshot:)`). A snapshot that is bad is
    /// named in the findings, and the one before it is used.
    public func recover(snapshots: SnapshotStore) throws(StorageError) -> Recovery {
        let newest = try snapshots.newest()
        var recovery = try self.recover(snapshot: newest.meta)
        recovery.registry = newest.registry
        recovery.findings = newest.findings + recovery.findings
        return recovery
    }

    /// Reads the whole log, checking every link of its chain, and compares it with the snapshot and the promise.
    ///
    /// Damage never becomes silence: what can't be trusted is discarded, and `RestoredState.quarantinedUntil` is set,
    /// to the highest index that this server may have acknowledged. That is durable before anything is discarded, so a
    /// restart stays in quarantine until `liftQuarantine`. While quarantined, the commit hint is the snapshot's index.
    ///
    /// - Parameter snapshot: the newest snapshot that can be loaded (`SnapshotStore.newest`).
    /// - Returns: in `tail`, everything beyond the snapshot, and at least `settings.tailBytes` of what there is.
    /// - Throws: `.newerFormat` for an entry of a kind that this version does not know: it must not be skipped.
    public func recover(snapshot: SnapshotMeta?) throws(StorageError) -> Recovery {
        if let broken = self.broken { throw .fatal("refused after an earlier failure: \(broken)") }
        if self.isRecovered { throw .invalid("recover() was called twice") }
        var scan = LogScan(
            findings: self.openingFindings, mustQuarantine: self.mustQuarantine,
            watched: [snapshot?.index ?? .zero, self.promise.index])
        try self.scanLog(&scan, snapshot: snapshot?.index ?? .zero)
        self.reconcile(&scan, with: snapshot)
        self.compareWithPromise(&scan)
        if scan.isQuarantined, !scan.pagesDamaged, let finding = try self.pageDamage() {
            scan.damagePages(finding)
            self.reconcile(&scan, with: snapshot)
            self.compareWithPromise(&scan)
        }
        try self.settle(scan)
        if self.mustQuarantine, !scan.pagesDamaged { try self.emptyWriteAheadLog() }
        self.isRecovered = true
        return Recovery(
            restored: self.restoredState(scan, snapshot: snapshot), registry: nil, findings: scan.findings)
    }

    /// Lets this server vote again: it holds everything that was ever committed with its help (`docs/raft-contract.md`).
    public func liftQuarantine() throws(StorageError) {
        try self.ensureUsable()
        guard self.promise.quarantinedUntil != nil else { return }
        var promise = self.currentPromise()
        promise.quarantinedUntil = nil
        try self.write(promise)
    }

    // MARK: - Steps of recovery

    private func scanLog(_ scan: inout LogScan, snapshot: LogIndex) throws(StorageError) {
        do {
            try self.readHard(&scan)
            try self.readBase(&scan)
            let rows = try self.file.prepare("\(LogStatements.rows) ORDER BY idx")
            while scan.isSound, try rows.step() {
                try scan.take(LogRow(rows), snapshot: snapshot, tailBytes: self.settings.tailBytes.rawValue)
            }
            rows.reset()
            if !scan.isSound {
                let last = try self.file.integer("SELECT max(idx) FROM log") ?? 0
                scan.highestSeen = max(scan.highestSeen, LogIndex(UInt64(max(0, last))))
            }
        } catch let failure as SQLiteFailure {
            guard failure.isDamage else { throw self.fail(failure, "reading the log") }
            scan.damagePages("raft.db has damaged pages: \(failure.text)")
        } catch let error as StorageError {
            throw error
        } catch {
            throw self.end("reading the log: \(error)")
        }
    }

    /// Where one thing is damaged others may be: what is to be mended must be a database that can be written. nil when it
    /// is.
    private func pageDamage() throws(StorageError) -> String? {
        do throws(SQLiteFailure) {
            let verdict = try self.file.text("PRAGMA quick_check(1)") ?? "ok"
            return verdict == "ok" ? nil : "raft.db has damaged pages: \(verdict)"
        } catch {
            guard error.isDamage else { throw self.fail(error, "checking the pages of raft.db") }
            return "raft.db has damaged pages: \(error.text)"
        }
    }

    private func readHard(_ scan: inout LogScan) throws(SQLiteFailure) {
        let row = try self.file.prepare("SELECT term,vote,commit_hint,sum FROM hard WHERE id=1")
        guard try row.step() else { return scan.loseHardState("the row of term and vote is missing", self.promise) }
        let state = HardState(term: Term(row.unsigned(0)), vote: row.isNull(1) ? nil : NodeID(row.unsigned(1)))
        let hint = LogIndex(row.unsigned(2))
        if row.integer(3) != LogStatements.hardSum(state, hint: hint) {
            return scan.loseHardState("the row of term and vote is damaged", self.promise)
        }
        scan.hardState = state
        scan.hint = max(scan.hint, hint)
    }

    private func readBase(_ scan: inout LogScan) throws(SQLiteFailure) {
        let row = try self.file.prepare("SELECT first_idx,term_before,chain_before,sum FROM base WHERE id=1")
        guard try row.step() else { return scan.loseBase("the row of the log's beginning is missing") }
        let first = LogIndex(row.unsigned(0))
        let term = Term(row.unsigned(1))
        guard let chain = Chain(row.bytes(2)), first > .zero,
            row.integer(3) == LogStatements.baseSum(first: first, term: term, chain: chain)
        else { return scan.loseBase("the row of the log's beginning is damaged") }
        scan.begin(.empty(after: first.previous, term: term, chain: chain))
    }

    /// Puts log and snapshot in line, as Raft does after an install (dissertation §5.1, figure 5.3): a log that holds
    /// the snapshot's last entry goes on; any other begins anew after the snapshot.
    private func reconcile(_ scan: inout LogScan, with snapshot: SnapshotMeta?) {
        let before = scan.position.first.previous
        guard let snapshot, let chain = Chain(snapshot.chain) else {
            if before > .zero {
                scan.begin(LogPosition())
                scan.damage("the log begins after \(before), but no snapshot up to there can be read")
            }
            return
        }
        if before > snapshot.index {
            scan.restart(after: snapshot, chain)
            return scan.damage("the log begins after \(before), but the newest snapshot ends at \(snapshot.index)")
        }
        // Shorter than the snapshot, or of another term there: an install was cut off between snapshot and log (or the
        // log has lost its end, which the promise tells). The snapshot holds only what is committed.
        if scan.term(at: snapshot.index) != snapshot.term { return scan.restart(after: snapshot, chain) }
        if scan.link(at: snapshot.index) != chain {
            scan.restart(after: snapshot, chain)
            scan.damage("log and snapshot differ at \(snapshot.index) though their terms agree")
        }
    }

    private func compareWithPromise(_ scan: inout LogScan) {
        let promise = self.promise
        scan.highestSeen = max(scan.highestSeen, max(promise.index, scan.position.last))
        if scan.position.last < promise.index {
            scan.damage("the log ends at \(scan.position.last), but entries up to \(promise.index) were acknowledged")
        } else if promise.index >= scan.position.first.previous, scan.link(at: promise.index) != promise.chain {
            // Not discarded: which of the two is the cluster's, the leader will tell.
            scan.damage("entry \(promise.index) is not the one that was acknowledged")
        }
        if promise.hardTerm > scan.hardState.term {
            scan.loseHardState("the term is \(scan.hardState.term), but it has been \(promise.hardTerm)", promise)
        } else if promise.hardTerm == scan.hardState.term, let vote = promise.vote, scan.hardState.vote != vote {
            scan.loseHardState("the vote of term \(promise.hardTerm) is not the one that was given", promise)
        }
        if scan.position.lastTerm > scan.hardState.term {
            let lost = scan.hardState.term
            scan.raiseTerm(to: scan.position.lastTerm)
            // A snapshot's term is not written with the hard state in one transaction; an entry's is.
            if !scan.position.isEmpty {
                scan.damage("the log's last term is \(scan.position.lastTerm), but the stored term is \(lost)")
            }
        }
    }

    /// Makes what was decided durable: first the quarantine, then the discarding.
    private func settle(_ scan: LogScan) throws(StorageError) {
        self.position = scan.position
        self.hardState = scan.hardState
        let hint = scan.isQuarantined ? LogIndex.zero : max(scan.hint, self.promise.commitHint)
        self.commitHint = min(hint, scan.position.last)
        if scan.isQuarantined {
            var promise = self.currentPromise()
            promise.quarantinedUntil = max(promise.quarantinedUntil ?? .zero, max(scan.highestSeen, LogIndex(1)))
            try self.write(promise)
        }
        if scan.pagesDamaged { try self.replaceDatabase() }
        guard scan.mustRewrite else { return }
        let position = self.position
        let hardState = self.hardState
        let identity = self.identity
        let statements = self.statements
        try self.transaction("discarding what can't be trusted") { () throws(SQLiteFailure) in
            statements.truncate.bind(1, position.last.next.rawValue)
            try statements.truncate.run()
            statements.deleteThrough.bind(1, position.first.previous.rawValue)
            try statements.deleteThrough.run()
            try statements.writeBase(position)
            try statements.write(hardState, hint: .zero)
            if let identity { try statements.write(identity) }
        }
    }

    /// SQLite goes on writing behind the last good frame. The frames behind the damaged one would stay, and be found and
    /// mistrusted again at the next start, when nothing is lost any more.
    private func emptyWriteAheadLog() throws(StorageError) {
        do throws(StorageError) {
            try self.checkpoint()
            let path = "\(self.directory)/raft.db-wal"
            if try self.fileSystem.size(path) != nil { try self.fileSystem.sync(path) }
        } catch .diskFull {
            // Then it is found again: one quarantine more than needed.
        }
    }

    private func restoredState(_ scan: LogScan, snapshot: SnapshotMeta?) -> RestoredState {
        var restored = RestoredState()
        restored.hardState = self.hardState
        restored.snapshot = snapshot
        restored.firstIndex = self.position.first
        restored.lastIndex = self.position.last
        restored.termRuns = scan.termRuns
        restored.termBeforeFirst = self.position.termBefore
        restored.configurations = scan.configurations.filter { $0.index > snapshot?.index ?? .zero }
        restored.tail = scan.tail
        restored.commitHint = max(self.commitHint, snapshot?.index ?? .zero)
        restored.quarantinedUntil = self.promise.quarantinedUntil
        return restored
    }
}
