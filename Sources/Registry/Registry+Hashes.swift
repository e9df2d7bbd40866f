import PersistentMap
import Protocol
import Units

extension Registry {
    /// How many entries lie between two remembered hashes.
    public static let hashInterval: UInt64 = 1024
    static let rememberedHashes = 64

    public var hashes: StateHashes {
        StateHashes(
            kv: self.kv.hash, tombstones: self.tombstones.hash, lockDelays: self.lockDelays.hash,
            sessions: self.sessions.hash, nodes: self.nodes.hash, services: self.services.hash,
            checks: self.checks.hash, indexes: self.serviceIndexes.hash &+ self.tableIndexes.hash,
            clients: self.clients.hash &+ self.results.hash, cluster: self.revoked.hash &+ self.clusterHash)
    }

    /// The same made anew from every row: what `hashes` must equal. Takes as long as the state is large.
    public func recomputedHashes() -> StateHashes {
        StateHashes(
            kv: self.kv.recomputedHash(), tombstones: self.tombstones.recomputedHash(),
            lockDelays: self.lockDelays.recomputedHash(), sessions: self.sessions.recomputedHash(),
            nodes: self.nodes.recomputedHash(), services: self.services.recomputedHash(),
            checks: self.checks.recomputedHash(),
            indexes: self.serviceIndexes.recomputedHash() &+ self.tableIndexes.hash,
            clients: self.clients.recomputedHash() &+ self.results.recomputedHash(),
            cluster: self.revoked.recomputedHash() &+ self.clusterHash)
    }

    /// Over the whole state except `appliedIndex`, `appliedTerm` and the remembered hashes: 16 bytes.
    public var combinedHash: [UInt8] { self.hashes.combined }

    /// The state's hash after `index` was applied, where it is still remembered.
    public func rememberedHash(at index: LogIndex) -> [UInt8]? {
        self.marks.get(index.rawValue).map(Self.hashBytes)
    }

    /// The latest remembered hash: what a leader proposes in a `StateHash`.
    public var latestRememberedHash: (index: LogIndex, hash: [UInt8])? {
        self.marks.last.map { (LogIndex($0.key), Self.hashBytes($0.value)) }
    }

    static func hashBytes(_ hash: UInt128) -> [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: hash >> (120 - 8 * $0)) }
    }

    static func hashNumber(_ bytes: [UInt8]) -> UInt128? {
        bytes.count == 16 ? bytes.reduce(0) { $0 << 8 | UInt128($1) } : nil
    }

    mutating func markHash(_ index: LogIndex) {
        guard index.rawValue % Self.hashInterval == 0, let hash = Self.hashNumber(self.combinedHash) else { return }
        self.marks.set(index.rawValue, hash)
        while self.marks.count > Self.rememberedHashes, let oldest = self.marks.first { self.marks.remove(oldest.key) }
    }

    func compareHash(_ theirs: LogStateHash) throws(CommandFailure) {
        guard let ours = self.rememberedHash(at: LogIndex(theirs.atIndex)) else { return }
        if ours != theirs.hash.array { throw .stop(.stateDiverged(LogIndex(theirs.atIndex))) }
    }

    private var clusterHash: UInt128 {
        var hasher = RowHasher(seed: 20)
        hasher.number(UInt64(self.featureLevel))
        hasher.number(self.sweepClient)
        hasher.bytes(self.sweepLockDelay.bytes)
        if let staging = self.staging {
            hasher.number(staging.id)
            hasher.number(staging.totalBytes)
            hasher.bytes(staging.hash)
            hasher.number(staging.received)
            hasher.number(staging.seenWall)
        }
        return hasher.finished() &+ (self.staging?.chunks.hash ?? 0)
    }
}

extension TableIndexes {
    var hash: UInt128 {
        var hasher = RowHasher(seed: 21)
        for (_, index) in self.named { hasher.number(index) }
        return hasher.finished()
    }

    /// As rows name them.
    var named: [(name: String, index: UInt64)] {
        [
            ("kv", self.kv), ("sessions", self.sessions), ("nodes", self.nodes), ("services", self.services),
            ("checks", self.checks), ("service-extinction", self.serviceExtinction), ("restore", self.restore),
        ]
    }

    /// False for a name that is not one of `named`.
    mutating func set(_ name: String, _ index: UInt64) -> Bool {
        switch name {
        case "kv": self.kv = index
        case "sessions": self.sessions = index
        case "nodes": self.nodes = index
        case "services": self.services = index
        case "checks": self.checks = index
        case "service-extinction": self.serviceExtinction = index
        case "restore": self.restore = index
        default: return false
        }
        return true
    }
}
