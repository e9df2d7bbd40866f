import PersistentMap
import Protocol
import Units

/// The replicated state: what every server holds after applying the same log up to `appliedIndex`. A value; a copy is
/// an immutable snapshot and costs a few references whatever the size, so readers take one and the writer goes on.
///
/// Applying is deterministic: it depends on nothing but the state, the entry's envelope, index and term.
public struct Registry: Sendable {
    /// The last entry that was applied (or passed over by `applyEmpty`).
    public internal(set) var appliedIndex = LogIndex.zero
    public internal(set) var appliedTerm = Term.zero
    /// The latest time that an applied entry named, nanoseconds since 1970: no later entry may name an earlier one.
    public internal(set) var newestWallTime: UInt64 = 0
    /// What every server of the cluster is known to understand; 0 until first set. It never falls.
    public internal(set) var featureLevel: UInt32 = 0

    // Keys. `heldKeys` finds the keys of a session; `tombstoneQueue` holds the tombstones by age.
    var kv = HashedTable<ByteKey, KVEntry>(seed: 1)
    var heldKeys = PersistentMap<ByteKey, ByteKey>()
    var tombstones = HashedTable<ByteKey, Tombstone>(seed: 2)
    var tombstoneQueue = PersistentMap<TombstoneTurn, Nothing>()
    var lockDelays = HashedTable<ByteKey, LockDelay>(seed: 3)

    // Sessions by id; the others lead to ids.
    var sessions = HashedTable<ByteKey, Session>(seed: 4)
    var sessionsByNode = PersistentMap<ByteKey, String>()
    var sessionsByCheck = PersistentMap<ByteKey, String>()

    // The catalog. Services and checks stand under (node, id); the others lead to those keys, by name in ASCII small
    // letters and by status.
    var nodes = HashedTable<ByteKey, Node>(seed: 5)
    var nodesByID = PersistentMap<ByteKey, ByteKey>()
    var services = HashedTable<ByteKey, ServiceInstance>(seed: 6)
    var servicesByName = GroupIndex()
    var checks = HashedTable<ByteKey, HealthCheck>(seed: 7)
    var checksByStatus = GroupIndex()

    var tableIndexes = TableIndexes()
    /// Of services that have an instance.
    var serviceIndexes = HashedTable<ByteKey, UInt64>(seed: 8)

    // Dedup: a row per requester, and the results that it may still ask for again.
    var clients = HashedTable<UInt64, ClientWindow>(seed: 9)
    var results = HashedTable<ResultKey, StoredResult>(seed: 10)

    var revoked = HashedTable<UInt64, RevokedNode>(seed: 11)

    /// Rows of all tables: what a snapshot writes.
    public var rowCount: Int {
        self.kv.count + self.tombstones.count + self.lockDelays.count + self.sessions.count + self.nodes.count
            + self.services.count + self.checks.count + self.serviceIndexes.count + self.clients.count
            + self.results.count + self.revoked.count
    }
    var staging: RestoreStaging?

    /// Hashes of this state at every 1,024th index, the last 64 of them. Not part of the hashed state itself.
    var marks = PersistentMap<UInt64, UInt128>()
    /// Where the next round of tidying goes on.
    var sweepClient: UInt64 = 0
    var sweepLockDelay = ByteKey([])

    public init() {}
}

/// Indexes of whole tables: the last entry that changed anything in them.
struct TableIndexes: Sendable, Equatable {
    var kv: UInt64 = 0
    var sessions: UInt64 = 0
    var nodes: UInt64 = 0
    var services: UInt64 = 0
    var checks: UInt64 = 0
    /// When a service last lost its last instance.
    var serviceExtinction: UInt64 = 0
    /// When a backup was last restored: a prefix's index is never lower.
    var restore: UInt64 = 0
}

// MARK: - Applying

extension Registry {
    static let envelopeFormat: UInt32 = 1

    /// Applies one committed entry. `index` is larger than `appliedIndex`.
    ///
    /// A command that can't be carried out changes nothing and says so in its result. An error means that this server
    /// can't know what the entry does, or that its state is not the cluster's: the server must stop, and this value
    /// must not be used again.
    public mutating func apply(
        _ envelope: LogEnvelope, at index: LogIndex, term: Term
    ) throws(RegistryError) -> Applied {
        guard envelope.format == Self.envelopeFormat else { throw .unknownFormat(envelope.format, index) }
        guard let kind = envelope.command.kind else { throw .unknownCommand("a command", index) }
        self.advance(to: index, term)
        self.newestWallTime = max(self.newestWallTime, envelope.wallTimeNs)
        var context = ApplyContext(index: index.rawValue, now: envelope.wallTimeNs)
        let asked = RequestIdentity(envelope)
        var result: LogResult
        var wasDuplicate = false
        switch self.recall(asked) {
        case .unheard:
            if envelope.decidedInTerm != 0, envelope.decidedInTerm != term.rawValue {
                result = .failure(.failureStaleTerm, "decided in term \(envelope.decidedInTerm), which has passed")
            } else {
                result = try self.run(kind, &context)
            }
            result.index = index.rawValue
            try self.settle(asked, fresh: result, context)
        case .known(let earlier):
            result = earlier
            wasDuplicate = true
            try self.settle(asked, fresh: nil, context)
        case .forgotten:
            result = .failure(.failureResultForgotten, "the result of this request is no longer kept")
            result.index = index.rawValue
            wasDuplicate = true
            try self.settle(asked, fresh: nil, context)
        }
        self.tidy(context)
        self.markHash(index)
        return Applied(
            result: result, touched: context.touched, everythingTouched: context.everythingTouched,
            wasDuplicate: wasDuplicate)
    }

    /// For entries that carry no command: a new leader's first entry, a configuration.
    public mutating func applyEmpty(at index: LogIndex, term: Term) {
        self.advance(to: index, term)
        self.markHash(index)
    }

    private mutating func advance(to index: LogIndex, _ term: Term) {
        invariant(
            index > self.appliedIndex && term >= self.appliedTerm,
            "applying entry \(index) of term \(term) to a registry at \(self.appliedIndex) of \(self.appliedTerm)")
        self.appliedIndex = index
        self.appliedTerm = term
    }

    /// One command, whose refusal becomes a result.
    private mutating func run(
        _ kind: LogCommand.OneOf_Kind, _ context: inout ApplyContext
    ) throws(RegistryError) -> LogResult {
        do {
            return try self.dispatch(kind, &context)
        } catch {
            switch error {
            case .refused(let kind, let text): return .failure(kind, text)
            case .stop(let error): throw error
            }
        }
    }

    private mutating func dispatch(
        _ kind: LogCommand.OneOf_Kind, _ context: inout ApplyContext
    ) throws(CommandFailure) -> LogResult {
        switch kind {
        case .kvPut(let put): return .ok(try self.applyPut(put, &context))
        case .kvDelete(let delete): return .ok(try self.applyDelete(delete, &context))
        case .txn(let txn): return try self.applyTxn(txn, &context)
        case .sessionCreate(let create): return .session(try self.applySessionCreate(create, &context))
        case .sessionDestroy(let destroy):
            for id in destroy.ids { self.destroySession(id, &context) }
            return .ok(true)
        case .register(let register):
            try self.applyRegister(register, &context)
            return .ok(true)
        case .deregister(let deregister):
            try self.applyDeregister(deregister, &context)
            return .ok(true)
        case .stateHash(let hash):
            try self.compareHash(hash)
            return .ok(true)
        case .restoreBegin(let begin):
            try self.applyRestoreBegin(begin, context)
            return .ok(true)
        case .restoreChunk(let chunk):
            try self.applyRestoreChunk(chunk, context)
            return .ok(true)
        case .restoreCommit(let commit):
            try self.applyRestoreCommit(commit, &context)
            return .ok(true)
        case .setFeatureLevel(let level):
            self.featureLevel = max(self.featureLevel, level.level)
            return .ok(true)
        case .revokeNode(let node):
            self.revoked.set(node.nodeID, RevokedNode(name: node.name))
            return .ok(true)
        case .batch(let batch): return try self.applyBatch(batch, &context)
        }
    }

    private mutating func applyBatch(
        _ batch: LogBatch, _ context: inout ApplyContext
    ) throws(CommandFailure) -> LogResult {
        var results = LogBatchResult()
        results.results.reserveCapacity(batch.commands.count)
        for command in batch.commands {
            guard let kind = command.kind else {
                throw .stop(.unknownCommand("a command within a batch", LogIndex(context.index)))
            }
            var result: LogResult
            if case .batch = kind {
                result = .failure(.failureInvalid, "a batch can't hold a batch")
            } else {
                do {
                    result = try self.run(kind, &context)
                } catch {
                    throw .stop(error)
                }
            }
            result.index = context.index
            results.results.append(result)
        }
        var result = LogResult()
        result.kind = .batch(results)
        return result
    }
}

extension LogResult {
    static func ok(_ value: Bool) -> LogResult {
        var result = LogResult()
        result.kind = .ok(value)
        return result
    }

    static func session(_ id: String) -> LogResult {
        var result = LogResult()
        result.kind = .sessionID(id)
        return result
    }

    static func failure(_ kind: LogFailureKind, _ text: String) -> LogResult {
        var failure = LogFailure()
        failure.kind = kind
        failure.text = text
        var result = LogResult()
        result.kind = .failure(failure)
        return result
    }
}
