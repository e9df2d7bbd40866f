import GRDBSQLite
import Raft
import Units

extension LogStorage {
    /// Removes entries up to `through` from the log's beginning, `limitRows` at most (and
    /// `settings.compactionRowsMax`), in one transaction of its own. The caller holds a durable snapshot of at least
    /// `through`.
    ///
    /// - Returns: true when there is more to remove.
    public func compact(through: LogIndex, limitRows: Int = 1024) throws(StorageError) -> Bool {
        try self.ensureUsable()
        let rows = max(1, min(limitRows, self.settings.compactionRowsMax))
        let end = min(through, self.position.last)
        let cut = min(end, self.position.first.previous.advanced(by: rows))
        guard cut >= self.position.first, let link = try self.link(at: cut) else { return false }
        var position = self.position
        position.first = cut.next
        position.termBefore = link.term
        position.chainBefore = link.chain
        let statements = self.statements
        let shortened = position
        try self.transaction("compacting the log") { () throws(SQLiteFailure) in
            statements.deleteThrough.bind(1, cut.rawValue)
            try statements.deleteThrough.run()
            try statements.writeBase(shortened)
        }
        self.position = position
        return cut < end
    }

    /// After a snapshot from the leader was installed (and is durable): a log that holds the snapshot's last entry goes
    /// on, any other is emptied and begins anew after it (dissertation §5.1, figure 5.3). Durable when it returns.
    public func replaceLog(by snapshot: SnapshotMeta) throws(StorageError) {
        try self.ensureUsable()
        guard let chain = Chain(snapshot.chain) else {
            throw .invalid("a snapshot's chain has 16 bytes, not \(snapshot.chain.count)")
        }
        if let link = try self.link(at: snapshot.index), link.term == snapshot.term {
            if link.chain == chain { return }
            throw self.end("log and snapshot differ at \(snapshot.index) though their terms agree")
        }
        if snapshot.index < self.position.first {
            throw .invalid("the log begins at \(self.position.first), after the snapshot's \(snapshot.index)")
        }
        let empty = LogPosition.empty(after: snapshot.index, term: snapshot.term, chain: chain)
        if self.promise.index > snapshot.index {
            var promise = self.currentPromise()
            (promise.index, promise.term, promise.chain) = (empty.last, empty.lastTerm, empty.lastChain)
            try self.write(promise)
        }
        let statements = self.statements
        try self.transaction("replacing the log") { () throws(SQLiteFailure) in
            statements.truncate.bind(1, UInt64(0))
            try statements.truncate.run()
            try statements.writeBase(empty)
        }
        self.position = empty
        self.commitHint = max(self.commitHint, snapshot.index)
    }

    /// Moves the write-ahead log into the database when it has grown past the threshold. To be called after replies
    /// have gone out: it stalls this thread for some milliseconds.
    ///
    /// - Returns: whether it did. On `.diskFull` nothing is lost and it may be tried again.
    public func checkpointIfDue() throws(StorageError) -> Bool {
        try self.ensureUsable()
        if self.file.walPages < self.settings.checkpointPages + self.settings.checkpointPagesOffset { return false }
        try self.checkpoint()
        return true
    }

    func checkpoint() throws(StorageError) {
        let code = sqlite3_wal_checkpoint_v2(self.file.connection, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
        if code != SQLITE_OK { throw self.fail(self.file.failure(code), "moving the write-ahead log into raft.db") }
        self.file.walPages = 0
    }
}
