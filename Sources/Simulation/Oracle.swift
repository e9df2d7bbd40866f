import Protocol
import Raft
import Registry
import SwiftProtobuf
import Units

/// A second opinion for level 1: a small state machine of our own that applies what the cluster has committed, read from
/// the entries themselves. What clients are told is held against it.
final class Oracle {
    private unowned let world: World
    private var machine: ToyMachine
    private(set) var sessions: SessionModel
    /// Entries seen in logs and not yet applied here, by index: one per term, with the time it was first seen.
    private var seen: [UInt64: [(entry: Entry, at: UInt64)]] = [:]
    private var applied: UInt64 = 0
    private struct Window {
        /// Sequences at or below are not applied any more.
        var floor: UInt64 = 0
        var applied: Set<UInt64> = []
    }
    private var windows: [UInt64: Window] = [:]
    private var newestWallTime: UInt64 = 0
    /// When each session was made, by its id.
    private var sessionsMade: [String: UInt64] = [:]
    /// Digests of the sessions and of the locks, with the index from which they hold, in order.
    private var sessionDigests: [(index: UInt64, sessions: UInt64, locks: UInt64)]

    init(world: World) {
        self.world = world
        self.machine = ToyMachine(keys: world.options.keys, clients: world.options.clients)
        self.sessions = SessionModel(world.options)
        let digests = self.sessions.digests
        self.sessionDigests = [(0, digests.sessions, digests.locks)]
    }

    func note(_ entry: Entry) {
        let index = entry.index.rawValue
        guard index > self.applied else { return }
        if self.seen[index]?.contains(where: { $0.entry.term == entry.term }) ?? false { return }
        self.seen[index, default: []].append((entry, self.world.now))
    }

    /// Applies what has been committed since.
    func advance() {
        let invariants = self.world.invariants
        while self.applied < invariants.committed {
            let index = self.applied + 1
            let term = invariants.committedTerms[Int(index)]
            let entries = self.seen.removeValue(forKey: index) ?? []
            guard let (entry, seenAt) = entries.first(where: { $0.entry.term.rawValue == term }) else {
                invariants.fail("I4", "entry \(index) of term \(term) is committed and was never seen in a log")
                return
            }
            self.applied = index
            if case .command(let bytes) = entry.payload, var envelope = try? LogEnvelope(serializedBytes: bytes) {
                if envelope.wallTimeNs < self.newestWallTime {
                    invariants.fail("I15", "time goes back in the log, at entry \(index)")
                }
                self.newestWallTime = envelope.wallTimeNs
                if self.world.level >= 2 { self.attribute(&envelope) }
                let before = self.sessions.digests
                self.advanceSessions(envelope, entry, seenAt)
                self.apply(envelope, at: index)
                let digests = self.sessions.digests
                if digests != before { self.sessionDigests.append((index, digests.sessions, digests.locks)) }
            }
        }
    }

    /// A client's write is done once, whenever it comes, unless its requester has said that it waits for it no longer.
    private func apply(_ envelope: LogEnvelope, at index: UInt64) {
        guard envelope.client > 0, let request = Self.request(envelope) else { return }
        var window = self.windows[envelope.client] ?? Window()
        guard envelope.sequence > window.floor else { return }
        let isFresh = window.applied.insert(envelope.sequence).inserted
        let lowest = min(envelope.sequence, envelope.lowestOutstanding)
        window.floor = max(window.floor, lowest > 0 ? lowest - 1 : 0)
        self.windows[envelope.client] = window
        guard isFresh else { return }
        let isDone = self.machine.execute(request, at: index)
        if isDone, request.isTransaction { self.sessions.shadow(request.key, holds: request.value, at: index) }
        self.world.clients.applied(request, ok: isDone, index: index)
    }

    /// Level 2: the log knows servers and hashes of names. Whose operation it is stands in the identity, which is what the
    /// client showed as its token; what is in the log must be what it asked for.
    private func attribute(_ envelope: inout LogEnvelope) {
        if let holder = self.world.options.holderNames.firstIndex(of: envelope.identity) {
            if envelope.client != HTTPClients.hash(envelope.identity) { self.complain("numbered otherwise", envelope) }
            envelope.client = SessionModel.requester(holder)
            return
        }
        guard let value = UInt64(envelope.identity) else {
            envelope.originNode = 0
            return
        }
        guard let request = self.world.clients.request(writing: value) else {
            return self.complain("not asked", envelope)
        }
        if !request.isUnnumbered {
            let requester = Clients.requester(of: request.client)
            if envelope.client != HTTPClients.hash(HTTPClients.requester(requester))
                || envelope.sequence != request.sequence
            {
                self.complain("numbered otherwise", envelope)
            }
            envelope.client = UInt64(requester) + 1
        }
        envelope.originNode = UInt64(request.client) + 1
        guard let logged = Self.request(envelope), logged.kind == request.kind, logged.key == request.key,
            logged.value == value, logged.isTransaction == request.isTransaction,
            logged.expectedIndex == request.expectedIndex || request.kind == .put || request.kind == .delete
        else { return self.complain("asked otherwise", envelope) }
    }

    private func complain(_ what: String, _ envelope: LogEnvelope) {
        self.world.invariants.fail(
            "I25", "the log holds a write of \(envelope.identity), number \(envelope.sequence), that was \(what)")
    }

    // MARK: - Sessions and locks

    private func advanceSessions(_ envelope: LogEnvelope, _ entry: Entry, _ seenAt: UInt64) {
        let count = self.sessions.sessions.count
        let ended = self.sessions.apply(envelope, index: entry.index.rawValue, term: entry.term.rawValue)
        if self.sessions.sessions.count > count {
            for session in self.sessions.sessions where session.createIndex == entry.index.rawValue {
                self.sessionsMade[session.id] = self.world.now
            }
        }
        for session in ended {
            self.world.holders.expired(session, decidedAt: seenAt, createdAt: self.sessionsMade[session.id] ?? 0)
        }
    }

    /// What a server holds after an index must be what the committed entries come to.
    func check(_ registry: Registry, slot: Int) {
        let index = registry.appliedIndex.rawValue
        guard index > 0 else { return }
        var (low, high) = (0, self.sessionDigests.count)
        while low < high {
            let middle = (low + high) / 2
            if self.sessionDigests[middle].index <= index { low = middle + 1 } else { high = middle }
        }
        let expected = self.sessionDigests[low - 1]
        let found = SessionModel.digests(of: registry, options: self.world.options)
        if found.sessions != expected.sessions {
            self.world.invariants.fail("I15", "s\(slot) holds other sessions or checks at \(index) than it should")
        }
        if found.locks != expected.locks {
            self.world.invariants.fail(
                "I16", "s\(slot) holds other locks, or keys of transactions, at \(index) than it should")
        }
    }

    // MARK: - Requests as commands

    /// - Parameter lowest: the lowest sequence that the requester still waits for.
    static func envelope(_ request: ClientRequest, lowest: UInt64) -> LogEnvelope {
        var envelope = LogEnvelope()
        envelope.client = UInt64(Clients.requester(of: request.client)) + 1
        envelope.sequence = request.sequence
        envelope.lowestOutstanding = lowest
        envelope.originNode = UInt64(request.client) + 1
        switch request.kind {
        case .put, .cas, .get, .staleGet:
            if request.isTransaction {
                envelope.command.txn = Self.transaction(request)
                return envelope
            }
            envelope.command.kvPut.key = .init(Self.key(request.key).bytes)
            envelope.command.kvPut.value = .init(Array("\(request.value)".utf8))
            envelope.command.kvPut.mode = request.kind == .cas ? .putCas : .putSet
            envelope.command.kvPut.casIndex = request.expectedIndex
        case .delete, .deleteCAS:
            envelope.command.kvDelete.key = .init(Self.key(request.key).bytes)
            envelope.command.kvDelete.mode = request.kind == .deleteCAS ? .deleteCas : .deleteKey
            envelope.command.kvDelete.casIndex = request.expectedIndex
            // Unique as every write's: it tells the requests apart in the log.
            envelope.identity = "\(request.value)"
        }
        return envelope
    }

    /// The second key first: when the condition on the other does not hold, it must be taken back.
    private static func transaction(_ request: ClientRequest) -> LogTxn {
        var shadow = LogTxnKV()
        shadow.key = .init(SessionModel.shadow(request.key).bytes)
        shadow.value = .init(Array("\(request.value)".utf8))
        var write = shadow
        write.key = .init(Self.key(request.key).bytes)
        write.verb = request.kind == .cas ? .kvCas : .kvSet
        write.index = request.expectedIndex
        var txn = LogTxn()
        txn.ops = [shadow, write].map { kv in
            var operation = LogTxnOp()
            operation.kv = kv
            return operation
        }
        return txn
    }

    private static func request(_ envelope: LogEnvelope) -> ClientRequest? {
        guard envelope.originNode > 0, envelope.originNode < 1_000 else { return nil }
        var request = ClientRequest(
            client: Int(envelope.originNode) - 1, sequence: envelope.sequence, kind: .put, key: 0)
        switch envelope.command.kind {
        case .kvPut(let put):
            guard let key = Self.number(put.key), let value = UInt64(String(decoding: put.value, as: UTF8.self)) else {
                return nil
            }
            request.kind = put.mode == .putCas ? .cas : .put
            (request.key, request.value, request.expectedIndex) = (key, value, put.casIndex)
        case .txn(let txn):
            guard let write = txn.ops.last?.kv, let key = Self.number(write.key),
                let value = UInt64(String(decoding: write.value, as: UTF8.self))
            else { return nil }
            request.kind = write.verb == .kvCas ? .cas : .put
            (request.key, request.value, request.expectedIndex) = (key, value, write.index)
            request.isTransaction = true
        case .kvDelete(let delete):
            guard let key = Self.number(delete.key), let value = UInt64(envelope.identity) else { return nil }
            request.kind = delete.mode == .deleteCas ? .deleteCAS : .delete
            (request.key, request.value, request.expectedIndex) = (key, value, delete.casIndex)
        default: return nil
        }
        return request
    }

    static func key(_ number: Int) -> ByteKey { ByteKey("key/\(number)") }

    private static func number(_ bytes: some Collection<UInt8>) -> Int? {
        Int(String(decoding: bytes.dropFirst("key/".utf8.count), as: UTF8.self))
    }
}
