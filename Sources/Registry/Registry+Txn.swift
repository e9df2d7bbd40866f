import PersistentMap
import Protocol
import Units

extension Registry {
    /// All operations or none. When one fails, the others are still tried, so that the answer names every failure; then
    /// everything is taken back.
    mutating func applyTxn(_ txn: LogTxn, _ context: inout ApplyContext) throws(CommandFailure) -> LogResult {
        var answer = self.lockDelayErrors(txn, at: context.now)
        if answer.errors.isEmpty {
            let before = self
            let touched = context.touched.count
            answer = try self.runTxn(txn, &context)
            if !answer.errors.isEmpty {
                self = before
                context.touched.removeSubrange(touched...)
            }
        }
        var result = LogResult()
        result.kind = .txn(answer)
        return result
    }

    /// True when no operation writes: such a transaction needs no log entry, `query` answers it.
    public static func isReadOnly(_ txn: LogTxn) -> Bool {
        txn.ops.allSatisfy { operation in
            switch operation.kind {
            case .kv(let kv):
                switch kv.verb {
                case .kvGet, .kvGetOrEmpty, .kvGetTree, .kvCheckIndex, .kvCheckSession, .kvCheckNotExists: true
                case .kvSet, .kvCas, .kvLock, .kvUnlock, .kvDelete, .kvDeleteTree, .kvDeleteCas, .UNRECOGNIZED: false
                }
            case .node(let node): node.verb == .rowGet
            case .service(let service): service.verb == .rowGet
            case .check(let check): check.verb == .rowGet
            case .session, nil: false
            }
        }
    }

    /// Answers a read-only transaction from this state.
    public func query(_ txn: LogTxn) -> LogTxnResult {
        var answer = LogTxnResult()
        guard Self.isReadOnly(txn) else {
            answer.errors = [LogTxnError(0, "a transaction that writes must go through the log")]
            return answer
        }
        // Nothing is written, but the operations are one code for both ways; the copy costs nothing.
        var copy = self
        var context = ApplyContext(index: self.appliedIndex.rawValue, now: 0)
        do {
            answer = try copy.runTxn(txn, &context)
        } catch {
            switch error {
            case .refused(_, let text): answer.errors = [LogTxnError(0, text)]
            case .stop(let error): answer.errors = [LogTxnError(0, error.description)]
            }
        }
        return answer
    }

    /// Looked at before anything else, so that these errors come alone.
    private func lockDelayErrors(_ txn: LogTxn, at now: UInt64) -> LogTxnResult {
        var answer = LogTxnResult()
        for (position, operation) in txn.ops.enumerated() {
            guard case .kv(let kv) = operation.kind, kv.verb == .kvLock else { continue }
            let key = ByteKey(kv.key.array)
            if self.isLockDelayed(key, at: now) {
                answer.errors.append(LogTxnError(position, "failed to lock key \(quoted(key)) due to lock delay"))
            }
        }
        return answer
    }

    private mutating func runTxn(_ txn: LogTxn, _ context: inout ApplyContext) throws(CommandFailure) -> LogTxnResult {
        var answer = LogTxnResult()
        for (position, operation) in txn.ops.enumerated() {
            do {
                answer.rows += try self.runOperation(operation, &context)
            } catch {
                switch error {
                case .refused(_, let text): answer.errors.append(LogTxnError(position, text))
                case .stop: throw error
                }
            }
        }
        if !answer.errors.isEmpty { answer.rows = [] }
        return answer
    }

    private mutating func runOperation(
        _ operation: LogTxnOp, _ context: inout ApplyContext
    ) throws(CommandFailure) -> [LogTxnRow] {
        switch operation.kind {
        case .kv(let kv): return try self.runKV(kv, &context)
        case .node(let node): return try self.runNode(node, &context)
        case .service(let service): return try self.runService(service, &context)
        case .check(let check): return try self.runCheck(check, &context)
        case .session(let session):
            self.destroySession(session.deleteID, &context)
            return []
        case nil: throw .stop(.unknownCommand("an operation within a transaction", LogIndex(context.index)))
        }
    }
}

extension LogTxnError {
    init(_ position: Int, _ what: String) {
        self.init()
        self.opIndex = UInt32(position)
        self.what = what
    }
}

// MARK: - Keys

extension Registry {
    private mutating func runKV(_ kv: LogTxnKV, _ context: inout ApplyContext) throws(CommandFailure) -> [LogTxnRow] {
        let key = ByteKey(kv.key.array)
        switch kv.verb {
        case .kvGet, .kvGetOrEmpty, .kvGetTree, .kvCheckIndex, .kvCheckSession, .kvCheckNotExists:
            return try self.readKV(kv, key)
        case .kvDelete:
            self.deleteKey(key, &context)
            return []
        case .kvDeleteTree:
            self.deleteTree(key, &context)
            return []
        case .kvDeleteCas:
            guard self.deleteKey(key, ifModifiedAt: kv.index, &context) else {
                throw .invalid("failed to delete key \(quoted(key)), index is stale")
            }
            return []
        case .kvSet, .kvCas, .kvLock, .kvUnlock:
            return [LogTxnRow(try self.writeKV(kv, key, &context), withValue: false)]
        case .UNRECOGNIZED(let verb): throw .stop(.unknownCommand("KV verb \(verb)", LogIndex(context.index)))
        }
    }

    private mutating func writeKV(
        _ kv: LogTxnKV, _ key: ByteKey, _ context: inout ApplyContext
    ) throws(CommandFailure) -> KVEntry {
        guard !key.isEmpty else { throw .invalid("Must provide key") }
        let write = KVWrite(key: key, value: kv.value.array, flags: kv.flags)
        if kv.verb == .kvCas {
            guard let entry = self.casKey(write, kv.index, &context) else {
                throw .invalid("failed to set key \(quoted(key)), index is stale")
            }
            return entry
        }
        if kv.verb == .kvLock {
            guard let entry = try self.lockKey(write, kv.session, &context) else {
                throw .invalid("failed to lock key \(quoted(key)), lock is already held")
            }
            return entry
        }
        if kv.verb == .kvUnlock {
            guard let entry = try self.unlockKey(write, kv.session, &context) else {
                throw .invalid("failed to unlock key \(quoted(key)), lock isn't held, or is held by another session")
            }
            return entry
        }
        return self.setKey(write, &context)
    }

    private func readKV(_ kv: LogTxnKV, _ key: ByteKey) throws(CommandFailure) -> [LogTxnRow] {
        let entry = self.kv.get(key)
        if kv.verb == .kvGetTree {
            return self.kvEntries(prefix: key).value.map { LogTxnRow($0, withValue: true) }
        }
        if kv.verb == .kvCheckNotExists {
            if entry != nil { throw .invalid("key \(quoted(key)) exists") }
            return []
        }
        if kv.verb == .kvGetOrEmpty {
            let shown = entry ?? KVEntry(key: key, value: [], flags: kv.flags, session: kv.session)
            return [LogTxnRow(shown, withValue: true)]
        }
        guard let entry else {
            if kv.verb == .kvCheckIndex { throw .invalid("failed to check index, key \(quoted(key)) doesn't exist") }
            if kv.verb == .kvCheckSession {
                throw .invalid("failed to check session, key \(quoted(key)) doesn't exist")
            }
            throw .invalid("key \(quoted(key)) doesn't exist")
        }
        if kv.verb == .kvCheckIndex, entry.modifyIndex != kv.index {
            throw .invalid(
                "failed index check for key \(quoted(key)), current modify index \(entry.modifyIndex) != \(kv.index)")
        }
        if kv.verb == .kvCheckSession, entry.session != kv.session {
            throw .invalid(
                "failed session check for key \(quoted(key)), current session "
                    + "\(quoted(entry.session)) != \(quoted(kv.session))")
        }
        return [LogTxnRow(entry, withValue: kv.verb == .kvGet)]
    }
}

// MARK: - Catalog rows

extension Registry {
    private mutating func runNode(
        _ operation: LogTxnNode, _ context: inout ApplyContext
    ) throws(CommandFailure) -> [LogTxnRow] {
        var node = Node(operation.node)
        let name = quoted(node.name)
        let byID = self.nodesByID.get(foldedKey(node.id)).flatMap { self.nodes.get($0) }
        let byName = self.nodes.get(foldedKey(node.name))
        switch operation.verb {
        case .rowGet:
            guard let found = node.id.isEmpty ? byName : byID else { throw .invalid("node \(name) doesn't exist") }
            return [LogTxnRow(found)]
        case .rowSet, .rowCas:
            guard !node.name.isEmpty else { throw .invalid("Must provide node and address") }
            if operation.verb == .rowCas, (byName?.modifyIndex ?? 0) != operation.index {
                throw .invalid("failed to set node \(name), index is stale")
            }
            try self.ensureNode(&node, &context)
            return [LogTxnRow(node)]
        case .rowDelete:
            self.removeNode(node.name, &context)
            return []
        case .rowDeleteCas:
            guard let byName, byName.modifyIndex == operation.index else {
                throw .invalid("failed to delete node \(name), index is stale")
            }
            self.removeNode(node.name, &context)
            return []
        case .UNRECOGNIZED(let verb): throw .stop(.unknownCommand("node verb \(verb)", LogIndex(context.index)))
        }
    }

    private mutating func runService(
        _ operation: LogTxnService, _ context: inout ApplyContext
    ) throws(CommandFailure) -> [LogTxnRow] {
        var service = ServiceInstance(operation.service, node: operation.node)
        if service.id.isEmpty { service.id = service.name }
        let key = onNodeKey(operation.node, service.id)
        let existing = self.services.get(key)
        let place = "service \(quoted(service.id)) on node \(quoted(operation.node))"
        switch operation.verb {
        case .rowGet:
            guard let existing else { throw .invalid("\(place) doesn't exist") }
            return [LogTxnRow(existing)]
        case .rowSet, .rowCas:
            guard !service.name.isEmpty else { throw .invalid("Must provide service name with ID") }
            if operation.verb == .rowCas, (existing?.modifyIndex ?? 0) != operation.index {
                throw .invalid("failed to set \(place), index is stale")
            }
            try self.ensureService(service, &context)
            return self.services.get(key).map { [LogTxnRow($0)] } ?? []
        case .rowDelete:
            self.removeService(service.id, on: operation.node, &context)
            return []
        case .rowDeleteCas:
            guard let existing, existing.modifyIndex == operation.index else {
                throw .invalid("failed to delete \(place), index is stale")
            }
            self.removeService(service.id, on: operation.node, &context)
            return []
        case .UNRECOGNIZED(let verb): throw .stop(.unknownCommand("service verb \(verb)", LogIndex(context.index)))
        }
    }

    private mutating func runCheck(
        _ operation: LogTxnCheck, _ context: inout ApplyContext
    ) throws(CommandFailure) -> [LogTxnRow] {
        let check = try HealthCheck(operation.check, at: context.index)
        let key = onNodeKey(check.node, check.id)
        let existing = self.checks.get(key)
        let place = "check \(quoted(check.id)) on node \(quoted(check.node))"
        switch operation.verb {
        case .rowGet:
            guard let existing else { throw .invalid("\(place) doesn't exist") }
            return [LogTxnRow(existing)]
        case .rowSet, .rowCas:
            if operation.verb == .rowCas, (existing?.modifyIndex ?? 0) != operation.index {
                throw .invalid("failed to set \(place), index is stale")
            }
            try self.ensureCheck(check, &context)
            return self.checks.get(key).map { [LogTxnRow($0)] } ?? []
        case .rowDelete:
            self.removeCheck(check.id, on: check.node, &context)
            return []
        case .rowDeleteCas:
            guard let existing, existing.modifyIndex == operation.index else {
                throw .invalid("failed to delete \(place), index is stale")
            }
            self.removeCheck(check.id, on: check.node, &context)
            return []
        case .UNRECOGNIZED(let verb): throw .stop(.unknownCommand("check verb \(verb)", LogIndex(context.index)))
        }
    }
}
