import Raft
import Units

extension LogStorage {
    /// Makes all batches durable, in order, in one transaction: one fdatasync, however many there are. Returns without
    /// touching the disk when nothing in them needs it (a commit index alone does not).
    ///
    /// Each batch: truncate, then append, then term and vote. A batch with hard state is followed by a write of the
    /// promise, which keeps the second copy of term and vote: one more fdatasync, once per election.
    ///
    /// - Throws: `.diskFull`, with nothing of it kept and the object usable; `.fatal` otherwise.
    public func commit(_ batches: [PersistBatch]) throws(StorageError) {
        try self.ensureUsable()
        var needed = false
        for batch in batches {
            needed = needed || batch.truncateFrom != nil || !batch.entries.isEmpty || batch.hardState != nil
        }
        guard needed else { return }
        let lowest = batches.compactMap(\.truncateFrom).min()
        if let lowest, lowest <= self.promise.index { try self.lowerPromise(below: lowest) }

        var position = self.position
        var hardState = self.hardState
        var hint = self.commitHint
        let statements = self.statements
        try self.transaction("writing the log") { () throws(SQLiteFailure) in
            for batch in batches {
                hint = max(hint, batch.commitHint)
                if let from = batch.truncateFrom { try statements.truncate(&position, from: from) }
                try statements.append(batch.entries, at: &position, hint: hint)
                if let state = batch.hardState {
                    invariant(state.term >= hardState.term, "term \(state.term) after \(hardState.term)")
                    try statements.write(state, hint: hint)
                    hardState = state
                }
            }
        }
        self.commits += 1
        let hardStateChanged = hardState != self.hardState
        self.position = position
        self.hardState = hardState
        self.commitHint = hint
        if hardStateChanged {
            // Without room the witness stays older; term and vote themselves are durable.
            do { try self.write(self.currentPromise()) } catch  where error == .diskFull {}
        }
    }

    // MARK: - The promise

    /// Writes the high-water mark: everything that is in the log now counts as acknowledged. One small write and one
    /// fdatasync of the file `promise`; nothing when it says so already. To be called about once a second.
    public func writePromise() throws(StorageError) {
        try self.ensureUsable()
        var promise = self.currentPromise()
        promise.sequence = self.promise.sequence
        if promise != self.promise { try self.write(promise) }
    }

    /// What can be promised now.
    func currentPromise() -> Promise {
        Promise(
            sequence: self.promise.sequence, index: self.position.last, term: self.position.lastTerm,
            chain: self.position.lastChain, hardTerm: self.hardState.term, vote: self.hardState.vote,
            commitHint: self.commitHint, quarantinedUntil: self.promise.quarantinedUntil,
            node: self.identity?.node ?? "", cluster: self.identity?.cluster ?? "")
    }

    func write(_ promise: Promise) throws(StorageError) {
        var promise = promise
        promise.sequence = self.promise.sequence + 1
        do {
            try self.promiseFile.write(promise)
        } catch {
            if error == .diskFull { throw error }
            throw self.end("writing the promise: \(error)")
        }
        self.promise = promise
    }

    /// Before a truncation: a new leader may take acknowledged entries back that were never committed, and a promise
    /// above them would look like a loss. A crash in between leaves the promise lower than the log, which is harmless.
    func lowerPromise(below index: LogIndex) throws(StorageError) {
        let last = index.previous
        guard let link = try self.link(at: last) else {
            throw self.end("the log is to be cut at \(index), but it begins at \(self.position.first)")
        }
        var promise = self.currentPromise()
        promise.index = last
        promise.term = link.term
        promise.chain = link.chain
        try self.write(promise)
    }

    /// Term and link at an index in the log or just before it.
    func link(at index: LogIndex) throws(StorageError) -> (term: Term, chain: Chain)? {
        let position = self.position
        if index == position.last { return (position.lastTerm, position.lastChain) }
        if index == position.first.previous { return (position.termBefore, position.chainBefore) }
        if index < position.first || index > position.last { return nil }
        let statements = self.statements
        let found = try self.guarded("reading entry \(index)") { () throws(SQLiteFailure) in
            try statements.link(at: index)
        }
        guard let found else { throw self.end("entry \(index) can't be read back") }
        return found
    }

    // MARK: - Founding

    /// Begins a cluster's log: entry 1 is `configuration`, in term 1, or in a later one that is stored already: this
    /// server may have voted in a cluster whose other members have lost their disks since. Only when the log is empty and
    /// this server has nothing to heal from; false otherwise, with nothing changed.
    public func found(_ configuration: Configuration) throws(StorageError) -> Bool {
        try self.ensureUsable()
        guard self.position == LogPosition(), self.quarantinedUntil == nil else { return false }
        let term = max(Term(1), self.hardState.term)
        let entry = Entry(term: term, index: LogIndex(1), payload: .configuration(configuration))
        let vote = self.hardState.term == term ? self.hardState.vote : nil
        try self.commit([
            PersistBatch(
                id: 0, truncateFrom: nil, entries: [entry], hardState: HardState(term: term, vote: vote),
                commitHint: .zero)
        ])
        try self.writePromise()
        return true
    }
}

extension LogStatements {
    func truncate(_ position: inout LogPosition, from index: LogIndex) throws(SQLiteFailure) {
        invariant(index >= position.first, "truncation from \(index) of a log that begins at \(position.first)")
        if index > position.last { return }
        if index == position.first {
            position = .empty(after: position.first.previous, term: position.termBefore, chain: position.chainBefore)
        } else {
            guard let link = try self.link(at: index.previous) else {
                throw SQLiteFailure(code: 11, message: "entry \(index.previous) can't be read back")
            }
            position.last = index.previous
            position.lastTerm = link.term
            position.lastChain = link.chain
        }
        self.truncate.bind(1, index.rawValue)
        try self.truncate.run()
    }

    func append(_ entries: [Entry], at position: inout LogPosition, hint: LogIndex) throws(SQLiteFailure) {
        for (offset, entry) in entries.enumerated() {
            invariant(
                entry.index == position.last.next && entry.term >= position.lastTerm,
                "entry \(entry.index) of term \(entry.term) after \(position.last) of term \(position.lastTerm)")
            let isLast = offset == entries.count - 1
            position.lastChain = try self.append(entry, after: position.lastChain, hint: isLast ? hint : nil)
            position.last = entry.index
            position.lastTerm = entry.term
        }
    }
}
