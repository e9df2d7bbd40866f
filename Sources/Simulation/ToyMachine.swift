import Raft
import Units

/// The state machine of level 0: a few keys, and each client's last result, so that a retried write is applied once.
struct ToyMachine {
    struct Row: Equatable {
        var value: UInt64
        var modifyIndex: UInt64
    }
    struct Result: Equatable {
        var sequence: UInt64
        var ok: Bool
        var index: UInt64
    }

    private(set) var rows: [Row?]
    private(set) var results: [Result]
    private(set) var appliedIndex: UInt64 = 0
    private(set) var appliedTerm: UInt64 = 0
    private(set) var configuration = Configuration.empty
    private(set) var configurationIndex: UInt64 = 0
    /// Of everything applied so far, in order.
    private(set) var hash: UInt64 = 0

    init(keys: Int, clients: Int) {
        self.rows = Array(repeating: nil, count: keys)
        self.results = Array(repeating: Result(sequence: 0, ok: false, index: 0), count: clients)
    }

    /// - Returns: the request's result; nil for what is no request, or one that its client gave up long ago.
    mutating func apply(_ entry: Entry) -> (request: ClientRequest, result: Result, isFirst: Bool)? {
        self.appliedIndex = entry.index.rawValue
        self.appliedTerm = entry.term.rawValue
        var digest = Digest(self.hash)
        digest.add(entry.index.rawValue)
        var outcome: (ClientRequest, Result, Bool)?
        switch entry.payload {
        case .noop: break
        case .configuration(let configuration):
            self.configuration = configuration
            self.configurationIndex = entry.index.rawValue
        case .command(let bytes):
            if let request = Self.decode(bytes), request.client < self.results.count {
                let known = self.results[request.client]
                if request.sequence == known.sequence {
                    outcome = (request, known, false)
                } else if request.sequence > known.sequence {
                    let result = Result(
                        sequence: request.sequence, ok: self.execute(request), index: self.appliedIndex)
                    self.results[request.client] = result
                    digest.add(request.value)
                    digest.add(UInt64(request.key))
                    digest.add(result.ok ? 1 : 0)
                    outcome = (request, result, true)
                }
            }
        }
        self.hash = digest.value
        return outcome
    }

    /// Does a write whatever was done before; level 1 keeps its own account of that.
    mutating func execute(_ request: ClientRequest, at index: UInt64) -> Bool {
        self.appliedIndex = index
        return self.execute(request)
    }

    private mutating func execute(_ request: ClientRequest) -> Bool {
        let row = self.rows[request.key]
        switch request.kind {
        case .get, .staleGet: return false
        case .put: break
        case .delete:
            self.rows[request.key] = nil
            return true
        case .cas:
            if (row?.modifyIndex ?? 0) != request.expectedIndex { return false }
        case .deleteCAS:
            if let row, row.modifyIndex != request.expectedIndex { return false }
            self.rows[request.key] = nil
            return true
        }
        self.rows[request.key] = Row(value: request.value, modifyIndex: self.appliedIndex)
        return true
    }

    // MARK: - Bytes

    static func encode(_ request: ClientRequest) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(40)
        for word in [
            UInt64(request.client), request.sequence, UInt64(request.kind.rawValue) | UInt64(request.key) << 8,
            request.value,
            request.expectedIndex,
        ] {
            Self.put(word, &bytes)
        }
        return bytes
    }

    static func decode(_ bytes: [UInt8]) -> ClientRequest? {
        var reader = WordReader(bytes: bytes)
        guard let client = reader.next(), let sequence = reader.next(), let packed = reader.next(),
            let value = reader.next(), let expected = reader.next(),
            let kind = ClientRequest.Kind(rawValue: UInt8(truncatingIfNeeded: packed))
        else { return nil }
        return ClientRequest(
            client: Int(client), sequence: sequence, kind: kind, key: Int(packed >> 8), value: value,
            expectedIndex: expected)
    }

    fileprivate static func put(_ word: UInt64, _ bytes: inout [UInt8]) {
        for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift))) }
    }

    /// The whole state; the configuration travels in the snapshot's description.
    func image() -> [UInt8] {
        var bytes: [UInt8] = []
        for word in [
            self.appliedIndex, self.appliedTerm, self.hash, UInt64(self.rows.count), UInt64(self.results.count),
        ] {
            Self.put(word, &bytes)
        }
        for row in self.rows {
            Self.put(row == nil ? 0 : 1, &bytes)
            Self.put(row?.value ?? 0, &bytes)
            Self.put(row?.modifyIndex ?? 0, &bytes)
        }
        for result in self.results {
            Self.put(result.sequence << 1 | (result.ok ? 1 : 0), &bytes)
            Self.put(result.index, &bytes)
        }
        return bytes
    }

    init?(image: [UInt8], meta: SnapshotMeta) {
        var reader = WordReader(bytes: image)
        guard let index = reader.next(), let term = reader.next(), let hash = reader.next(), let keys = reader.next(),
            let clients = reader.next(), keys < 1 << 16, clients < 1 << 16, index == meta.index.rawValue
        else { return nil }
        self.init(keys: Int(keys), clients: Int(clients))
        (self.appliedIndex, self.appliedTerm, self.hash) = (index, term, hash)
        for key in 0..<Int(keys) {
            guard let flag = reader.next(), let value = reader.next(), let modify = reader.next() else { return nil }
            self.rows[key] = flag == 1 ? Row(value: value, modifyIndex: modify) : nil
        }
        for client in 0..<Int(clients) {
            guard let packed = reader.next(), let index = reader.next() else { return nil }
            self.results[client] = Result(sequence: packed >> 1, ok: packed & 1 == 1, index: index)
        }
        self.configuration = meta.configuration
        self.configurationIndex = meta.configurationIndex.rawValue
    }
}

private struct WordReader {
    let bytes: [UInt8]
    var place = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func next() -> UInt64? {
        guard self.place + 8 <= self.bytes.count else { return nil }
        defer { self.place += 8 }
        return (0..<8).reduce(0) { $0 | UInt64(self.bytes[self.place + $1]) << UInt64(8 * $1) }
    }
}
