import Protocol
import Raft
import SwiftProtobuf
import Units

/// A second opinion for level 1: a small state machine of our own that applies what the cluster has committed, read from
/// the entries themselves. What clients are told is held against it.
final class Oracle {
    private unowned let world: World
    private var machine: ToyMachine
    /// Entries seen in logs and not yet applied here, by index from `base + 1`: one per term.
    private var seen: [UInt64: [Entry]] = [:]
    private var applied: UInt64 = 0

    init(world: World) {
        self.world = world
        self.machine = ToyMachine(keys: world.options.keys, clients: world.options.clients)
    }

    func note(_ entry: Entry) {
        let index = entry.index.rawValue
        guard index > self.applied else { return }
        if self.seen[index]?.contains(where: { $0.term == entry.term }) ?? false { return }
        self.seen[index, default: []].append(entry)
    }

    /// Applies what has been committed since.
    func advance() {
        let invariants = self.world.invariants
        while self.applied < invariants.committed {
            let index = self.applied + 1
            let term = invariants.committedTerms[Int(index)]
            let entries = self.seen.removeValue(forKey: index) ?? []
            guard let entry = entries.first(where: { $0.term.rawValue == term }) else {
                invariants.fail("I4", "entry \(index) of term \(term) is committed and was never seen in a log")
                return
            }
            self.applied = index
            var translated = entry
            if case .command(let bytes) = entry.payload { translated.payload = self.translate(bytes) }
            if let outcome = self.machine.apply(translated) {
                self.world.clients.applied(outcome.request, ok: outcome.result.ok, index: outcome.result.index)
            }
        }
    }

    /// A client's envelope as the toy machine's command; anything else, as what the leader proposes itself, as nothing.
    private func translate(_ bytes: [UInt8]) -> Payload {
        guard let envelope = try? LogEnvelope(serializedBytes: bytes), envelope.client > 0,
            let request = Self.request(envelope)
        else { return .noop }
        return .command(ToyMachine.encode(request))
    }

    // MARK: - Requests as commands

    static func envelope(_ request: ClientRequest) -> LogEnvelope {
        var envelope = LogEnvelope()
        envelope.client = UInt64(request.client) + 1
        envelope.sequence = request.sequence
        // A client has one request at a time: it waits for nothing older.
        envelope.lowestOutstanding = request.sequence
        switch request.kind {
        case .put, .cas, .get, .staleGet:
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

    private static func request(_ envelope: LogEnvelope) -> ClientRequest? {
        var request = ClientRequest(client: Int(envelope.client) - 1, sequence: envelope.sequence, kind: .put, key: 0)
        switch envelope.command.kind {
        case .kvPut(let put):
            guard let key = Self.number(put.key), let value = UInt64(String(decoding: put.value, as: UTF8.self)) else {
                return nil
            }
            request.kind = put.mode == .putCas ? .cas : .put
            (request.key, request.value, request.expectedIndex) = (key, value, put.casIndex)
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
