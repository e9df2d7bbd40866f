import Raft
import Units

/// A log as the checker knows it: terms and a hash chain over everything up to each entry, so that equal chains mean
/// equal logs.
struct LogMirror {
    /// The entry before the first one kept.
    private(set) var baseIndex: UInt64 = 0
    private(set) var baseTerm: UInt64 = 0
    private(set) var baseChain: UInt64 = 0
    private var terms: [UInt64] = []
    private var chains: [UInt64] = []

    init() {}

    init(baseIndex: UInt64, baseTerm: UInt64, baseChain: UInt64) {
        self.baseIndex = baseIndex
        self.baseTerm = baseTerm
        self.baseChain = baseChain
    }

    var lastIndex: UInt64 { self.baseIndex + UInt64(self.terms.count) }
    var lastTerm: UInt64 { self.terms.last ?? self.baseTerm }
    var lastChain: UInt64 { self.chains.last ?? self.baseChain }

    func chain(at index: UInt64) -> UInt64? {
        if index == self.baseIndex { return self.baseChain }
        guard index > self.baseIndex, index <= self.lastIndex else { return nil }
        return self.chains[Int(index - self.baseIndex - 1)]
    }

    func term(at index: UInt64) -> UInt64? {
        if index == self.baseIndex { return self.baseTerm }
        guard index > self.baseIndex, index <= self.lastIndex else { return nil }
        return self.terms[Int(index - self.baseIndex - 1)]
    }

    mutating func append(term: UInt64, chain: UInt64) {
        self.terms.append(term)
        self.chains.append(chain)
    }

    /// Drops `index` and everything after it.
    mutating func truncate(from index: UInt64) {
        guard index > self.baseIndex, index <= self.lastIndex else { return }
        let keep = Int(index - self.baseIndex - 1)
        self.terms.removeLast(self.terms.count - keep)
        self.chains.removeLast(self.chains.count - keep)
    }

    /// Forgets everything up to and including `index`, which must be in the log.
    mutating func compact(through index: UInt64) {
        guard index > self.baseIndex, let term = self.term(at: index), let chain = self.chain(at: index) else { return }
        let drop = Int(index - self.baseIndex)
        self.terms.removeFirst(drop)
        self.chains.removeFirst(drop)
        (self.baseIndex, self.baseTerm, self.baseChain) = (index, term, chain)
    }

    static func chain(after previous: UInt64, _ entry: Entry) -> UInt64 {
        var digest = Digest(previous)
        digest.add(entry.term.rawValue)
        digest.add(entry.index.rawValue)
        Self.add(entry.payload, to: &digest)
        return digest.value
    }

    private static func add(_ payload: Payload, to digest: inout Digest) {
        switch payload {
        case .noop: digest.add(1)
        case .command(let bytes):
            digest.add(2)
            digest.add(bytes)
        case .configuration(let configuration):
            digest.add(3)
            for member in configuration.voters { digest.add(member.id.rawValue) }
            digest.add(4)
            for member in configuration.outgoing ?? [] { digest.add(member.id.rawValue) }
            digest.add(configuration.isJoint ? 5 : 6)
            for member in configuration.learners { digest.add(member.id.rawValue) }
        }
    }
}
