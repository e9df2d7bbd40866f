/// One operation in a form that any of the models can read and that fits on one line of JSON. Load generators and
/// chaos runs write these; a check reads them back.
public struct HistoryRecord: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case get, put, delete, cas, deleteCAS
        case add, read
        case acquire, release, invalidate, inspect, fencedWrite
        /// Two keys that are written together, read together: `names` holds both values.
        case pairRead
        /// A key written once by one client, and how a server was found to hold such keys at the end (`names`).
        case append, survey
        /// A counter raised by one, and how a server was found to hold it at the end (`result`).
        case count, total
        /// A read that promises nothing but order: `view` is one connection to one server.
        case staleGet
        /// A blocking query after `index`.
        case watch
        /// A session (the key) that was last known to live at `call`, when it was made or renewed, was found to be gone at
        /// `returned`, though nobody had ended it; `index` is its TTL in nanoseconds.
        case sessionLost
        /// Something was broken on purpose from `call` to `returned`; the key says what.
        case fault
        /// A backup that was begun at `call` had been restored at `returned`.
        case restore
    }

    public var client: Int
    public var key: String
    public var kind: Kind
    public var call: UInt64
    /// nil while nobody knows the outcome.
    public var returned: UInt64?
    /// What is written: `put`, `cas`; the element for `add` as a decimal number.
    public var value: String?
    /// The expected ModifyIndex of `cas` and `deleteCAS`; the token of `fencedWrite`.
    public var index: UInt64?
    public var session: String?
    /// A write's yes or no.
    public var ok: Bool?
    /// What `get` found, or who holds the lock; nil for nothing.
    public var result: String?
    /// The ModifyIndex that was read or given; the LockIndex that was seen.
    public var resultIndex: UInt64?
    public var elements: [UInt64]?
    /// Values of `pairRead`, left and right, each empty when its key is not there; keys of `survey`.
    public var names: [String]?
    /// Who was asked: the connection of `staleGet`, the server of `survey`, `total` and `watch`.
    public var view: String?
    /// The X-Consul-Index that came with the answer to `watch`.
    public var seenIndex: UInt64?
    /// See `HistoryOperation.position`.
    public var position: UInt64?

    public init(client: Int, key: String, kind: Kind, call: UInt64, returned: UInt64? = nil) {
        self.client = client
        self.key = key
        self.kind = kind
        self.call = call
        self.returned = returned
    }
}

extension HistoryRecord {
    /// This record for the key/value model; nil when its kind belongs to another model or a field is missing.
    public var register: HistoryOperation<KVRegister.Input, KVRegister.Output>? {
        let input: KVRegister.Input
        switch self.kind {
        case .get: input = .get
        case .pairRead:
            guard self.returned == nil || self.names?.count == 2 else { return nil }
            input = .get
        case .put:
            guard let value = self.value else { return nil }
            input = .put(value)
        case .delete: input = .delete
        case .cas:
            guard let value = self.value, let index = self.index else { return nil }
            input = .cas(index: index, value: value)
        case .deleteCAS:
            guard let index = self.index else { return nil }
            input = .deleteCAS(index: index)
        case .add, .read, .acquire, .release, .invalidate, .inspect, .fencedWrite, .append, .survey, .count, .total,
            .staleGet, .watch, .sessionLost, .fault, .restore:
            return nil
        }
        let output: KVRegister.Output? =
            switch self.kind {
            case .get: .value(self.result, index: self.resultIndex ?? 0)
            case .pairRead: .value(self.resultIndex == nil ? nil : self.names?.first, index: self.resultIndex ?? 0)
            default: self.ok.map { .done($0, index: self.resultIndex) }
            }
        return self.operation(input, output)
    }

    /// This record for the set model; nil when its kind belongs to another model or a field is missing.
    public var appendSet: HistoryOperation<AppendSet.Input, AppendSet.Output>? {
        switch self.kind {
        case .add:
            guard let element = self.value.flatMap(UInt64.init) else { return nil }
            return self.operation(.add(element), self.ok == true ? .added : nil)
        case .read: return self.operation(.read, self.elements.map { .elements($0) })
        default: return nil
        }
    }

    /// This record for the lock model; nil when its kind belongs to another model or a field is missing.
    public var lock: HistoryOperation<FencedLock.Input, FencedLock.Output>? {
        let token = self.kind == .acquire ? self.resultIndex : nil
        let done = self.ok.map { FencedLock.Output.done($0, token: token) }
        switch self.kind {
        case .inspect: return self.operation(.inspect, .holder(session: self.result, lockIndex: self.resultIndex ?? 0))
        case .acquire: return self.session.flatMap { self.operation(.acquire(session: $0), done) }
        case .release: return self.session.flatMap { self.operation(.release(session: $0), done) }
        case .invalidate: return self.session.flatMap { self.operation(.invalidate(session: $0), done) }
        case .fencedWrite:
            guard let session = self.session, let index = self.index else { return nil }
            return self.operation(.fencedWrite(session: session, lockIndex: index), done)
        default: return nil
        }
    }

    private func operation<Input, Output>(_ input: Input, _ output: Output?) -> HistoryOperation<Input, Output> {
        let isRead = [.get, .pairRead, .read, .inspect].contains(self.kind)
        return HistoryOperation(
            client: self.client, key: self.key, call: self.call, returned: self.returned, input: input,
            output: self.returned == nil ? nil : output, position: self.position, isRead: isRead)
    }
}

/// What is wrong with a history file.
public enum HistoryError: Error, Equatable, CustomStringConvertible {
    /// Line numbers count from 1.
    case badLine(Int, reason: String)

    public var description: String {
        switch self {
        case .badLine(let line, let reason): "history line \(line): \(reason)"
        }
    }
}
