import Raft
import Units

/// What one run is like. Every value is drawn from the seed, so that each run stresses another corner.
public struct SwarmOptions: Sendable, Equatable {
    public enum Fault: String, Sendable, CaseIterable {
        case crash, crashLeader, powerCut, pause
        case isolate, halves, ring, bridge, oneWay, swizzle, clog
        case slowDisk, stallDisk, fullDisk
        case wipe, amnesia
        case membership, transfer, snapshot
        /// Each leader is cut off soon after it was elected, and comes back while the next one is.
        case carousel
        // Only real storage has these.
        case failedWrite, failedSync, rollback

        public static let onlyLevelOne: [Fault] = [.failedWrite, .failedSync, .rollback]
    }

    // cluster
    public var servers = 3
    /// Servers that wait outside the cluster for a membership change.
    public var spares = 0
    /// How far wall clocks lie apart at most.
    public var wallSkew: UInt64 = 2 * second
    public var safetyPhase: UInt64 = 60 * second
    public var clockRates: ClosedRange<Double> = 1...1
    /// How long a server gathers inputs before it flushes; 0 for none.
    public var gather: UInt64 = 0
    public var applyDelay: UInt64 = 0

    // clients
    public var clients = 4
    public var keys = 5
    public var thinkTime: UInt64 = 50 * millisecond
    public var readShare = 0.4
    public var staleShare = 0.1
    public var casShare = 0.2
    public var deleteShare = 0.1
    public var patience: UInt64 = 3 * second

    /// Writes in one go, from time to time; 0 for none.
    public var bulk = 0
    /// Level 1: clients that hold sessions and locks, and the keys that they lock.
    public var holders = 0
    public var lockKeys = 1

    /// Level 2: clients that wait for changes.
    public var waiters = 0
    /// Level 2: of the writes, those that their client does not number.
    public var unnumberedShare = 0.0
    /// Level 2: how long what is ready in a server waits for a thread, at most.
    public var hop: UInt64 = 0
    /// Level 2: how long a server tries a write, and a read.
    public var writeTimeout: UInt64 = 15 * second
    public var readTimeout: UInt64 = 10 * second

    // network, per directed link
    public var dropChance = 0.0
    public var duplicateChance = 0.0
    public var corruptChance = 0.0
    public var delay: UInt64 = millisecond
    public var tailChance = 0.0
    public var tailDelay: UInt64 = second
    /// Order is kept within a link, as TCP does.
    public var isOrdered = true

    // disk
    public var diskLatency: UInt64 = millisecond
    public var diskTailChance = 0.0

    // faults
    public var faults: [Fault] = []
    public var faultGap: UInt64 = 3 * second
    public var minorityOnly = false

    // product
    public var raft = RaftSettings()
    /// 0 for no snapshots but those a fault asks for.
    public var snapshotThreshold = 0
    public var trailing = 10
    /// Level 1: pages of 4 KiB in the write-ahead log before it is moved into the database.
    public var checkpointPages = 1_000

    public init() {}

    public static let millisecond: UInt64 = 1_000_000
    public static let second: UInt64 = 1_000_000_000
}

extension SwarmOptions {
    public static func drawn(from seed: UInt64, level: Int) -> SwarmOptions {
        var random = SimulationRandom(seed: seed, concern: "options")
        var options = SwarmOptions()
        options.drawCluster(&random, level: level)
        options.drawClients(&random)
        options.drawNetwork(&random)
        options.drawFaults(&random)
        options.drawProduct(&random)
        if level >= 1 { options.drawLevelOne(&random) }
        if level >= 2 { options.drawLevelTwo(&random) }
        return options
    }

    private mutating func drawCluster(_ random: inout SimulationRandom, level: Int) {
        self.servers = [3, 3, 3, 3, 5, 5, 5, 4, 2, 1][random.below(10)]
        self.spares = [0, 1, 1, 2][random.below(4)]
        self.safetyPhase = random.within(30...80) * Self.second / (level == 0 ? 1 : 2)
        if random.chance(0.3) { self.clockRates = 0.8...1.25 }
        if random.chance(0.4) { self.gather = random.within(50_000...3_000_000) }
        if random.chance(0.3) { self.applyDelay = random.within(100_000...60_000_000) }
    }

    private mutating func drawClients(_ random: inout SimulationRandom) {
        self.clients = random.within(1...8)
        self.keys = random.within(1...10)
        self.thinkTime = random.within(5...200) * Self.millisecond
        self.readShare = Double(random.within(1...6)) / 10
        self.staleShare = random.chance(0.5) ? 0.15 : 0
        self.casShare = Double(random.within(0...4)) / 10
        self.deleteShare = random.chance(0.5) ? 0.1 : 0
        self.patience = random.within(500...4_000) * Self.millisecond
    }

    private mutating func drawNetwork(_ random: inout SimulationRandom) {
        let quality = random.below(10)
        self.delay = quality < 6 ? random.within(200_000...3_000_000) : random.within(3_000_000...60_000_000)
        if random.chance(0.5) { self.dropChance = Double(random.within(0...20)) / 100 }
        if random.chance(0.5) { self.duplicateChance = Double(random.within(0...20)) / 100 }
        if random.chance(0.3) { self.corruptChance = Double(random.within(0...5)) / 100 }
        if random.chance(0.4) { self.tailChance = Double(random.within(1...20)) / 1000 }
        self.tailDelay = random.within(200...4_000) * Self.millisecond
        self.isOrdered = random.chance(0.5)
        self.diskLatency = random.within(50_000...8_000_000)
        if random.chance(0.3) { self.diskTailChance = 0.01 }
    }

    private mutating func drawFaults(_ random: inout SimulationRandom) {
        let share = [0.15, 0.3, 0.5, 0.9][random.below(4)]
        self.faults = Fault.allCases.filter { fault in
            !Fault.onlyLevelOne.contains(fault) && random.chance(share)
        }
        // A run with few members would wait for ever for what these break.
        if self.servers < 3 { self.faults.removeAll { $0 == .wipe || $0 == .amnesia } }
        if self.spares == 0, self.servers < 3 { self.faults.removeAll { $0 == .membership } }
        self.faultGap = random.within(400...8_000) * Self.millisecond
        self.minorityOnly = random.chance(0.4)
    }

    private mutating func drawProduct(_ random: inout SimulationRandom) {
        if random.chance(0.5) {
            let low = max(random.within(150...800), 10 * self.delay / Self.millisecond)
            self.raft.electionTimeoutMin = .milliseconds(low)
            self.raft.electionTimeoutMax = .milliseconds(low * 2)
            self.raft.heartbeatInterval = .milliseconds(max(20, low / 8))
            self.raft.splitVoteRetryMin = .milliseconds(random.within(10...50))
            self.raft.splitVoteRetryMax = .milliseconds(random.within(100...400))
        }
        if random.chance(0.4) { self.raft.inflightMessagesMax = [1, 1, 2, 3, 8][random.below(5)] }
        if random.chance(0.3) { self.raft.inflightBytes = ByteCount(random.within(64...4096)) }
        if random.chance(0.4) { self.raft.appendEntriesMax = [1, 1, 2, 3, 10][random.below(5)] }
        if random.chance(0.3) { self.raft.appendBytes = ByteCount(random.within(1...2048)) }
        if random.chance(0.3) { self.raft.cachedBytes = ByteCount(random.within(0...2048)) }
        if random.chance(0.2) { self.raft.uncommittedBytes = ByteCount(random.within(200...4096)) }
        if random.chance(0.2) { self.raft.readsPendingMax = random.within(1...8) }
        if random.chance(0.5) { self.raft.promotionLagMax = random.within(0...50) }
        self.raft.snapshotChunkBytes = ByteCount([16, 64, 200, 4096, 524_288][random.below(5)])
        if random.chance(0.6) { self.snapshotThreshold = random.within(3...60) }
        self.trailing = random.chance(0.3) ? 0 : random.within(0...20)
        self.checkpointPages = [8, 20, 100, 1_000][random.below(4)]
        if random.chance(0.3) {
            // As much as the windows let through in a few rounds, or nothing else would be done.
            let isNarrow = self.raft.appendBytes.rawValue < 200 || self.raft.inflightBytes.rawValue < 200
            let window = (isNarrow ? 1 : self.raft.appendEntriesMax) * self.raft.inflightMessagesMax
            self.bulk = min(random.within(10...300), 10 * window)
        }
        // Where one server that is away stops all work, less goes wrong and more is asked.
        if self.servers < 3 {
            self.clients = max(self.clients, 3)
            self.faultGap = max(self.faultGap, 2_500 * Self.millisecond)
        }
        // So much at once that whatever happens within it shares a batch.
        if random.chance(0.1) { self.gather = random.within(3...150) * Self.millisecond }
    }
}

extension SwarmOptions {
    /// Drawn last, so that level 0 has what it would have without.
    fileprivate mutating func drawLevelOne(_ random: inout SimulationRandom) {
        // A snapshot of real storage is a hundred kilobytes. In pieces of 16 bytes it takes a quarter of a minute; where no log
        // is kept behind it and it is made every few entries, every follower waits for one most of the time, and the work
        // that must be done after the heal is not (seed 707, before this line).
        self.raft.snapshotChunkBytes = max(self.raft.snapshotChunkBytes, .kibibytes(1))
        self.holders = [0, 2, 3, 3, 4][random.below(5)]
        self.lockKeys = random.within(1...3)
        let seconds: [UInt64] = [2, 2, 300, 7_200]
        self.wallSkew = seconds[random.below(4)] * Self.second
        let share = [0.15, 0.3, 0.5, 0.9][random.below(4)]
        for fault in Fault.onlyLevelOne where random.chance(share) && (fault != .rollback || self.servers >= 3) {
            self.faults.append(fault)
        }
    }
}

extension SwarmOptions {
    /// Drawn last, so that level 1 has what it would have without.
    fileprivate mutating func drawLevelTwo(_ random: inout SimulationRandom) {
        // Each request takes longer here, above all one that waits for a leader: a lone slow client would do too little.
        self.clients = max(self.clients, 3)
        self.thinkTime = min(self.thinkTime, 100 * Self.millisecond)
        self.waiters = [0, 1, 3, 6][random.below(4)]
        self.unnumberedShare = [0, 0.3, 0.6][random.below(3)]
        self.hop = [0, 20_000, 1_000_000, 20_000_000][random.below(4)]
        // A server may try longer than its client waits, and the other way round.
        self.patience = random.within(1_000...18_000) * Self.millisecond
        if random.chance(0.5) { self.writeTimeout = random.within(1...15) * Self.second }
        if random.chance(0.5) { self.readTimeout = random.within(1...10) * Self.second }
    }
}

extension SwarmOptions {
    /// Of the clients that hold locks, at level 2.
    var holderNames: [String] { (0..<self.holders).map { HTTPClients.holder($0) } }
}

extension SwarmOptions: CustomStringConvertible {
    /// On a few lines, for the report of a run.
    public var description: String {
        func milliseconds(_ value: UInt64) -> String { "\(Double(value / 10_000) / 100)ms" }
        return """
            cluster servers=\(self.servers) spares=\(self.spares) safety=\(milliseconds(self.safetyPhase)) \
            clocks=\(self.clockRates) gather=\(milliseconds(self.gather)) applyDelay=\(milliseconds(self.applyDelay))
            clients \(self.clients) keys=\(self.keys) think=\(milliseconds(self.thinkTime)) reads=\(self.readShare) \
            stale=\(self.staleShare) cas=\(self.casShare) delete=\(self.deleteShare) patience=\(milliseconds(self.patience)) \
            bulk=\(self.bulk) holders=\(self.holders) locks=\(self.lockKeys) wallSkew=\(milliseconds(self.wallSkew)) \
            waiters=\(self.waiters) unnumbered=\(self.unnumberedShare) hop=\(milliseconds(self.hop)) \
            timeouts=\(milliseconds(self.writeTimeout))/\(milliseconds(self.readTimeout))
            network drop=\(self.dropChance) duplicate=\(self.duplicateChance) corrupt=\(self.corruptChance) \
            delay=\(milliseconds(self.delay)) tail=\(self.tailChance)/\(milliseconds(self.tailDelay)) \
            \(self.isOrdered ? "ordered" : "reordered")
            disk latency=\(milliseconds(self.diskLatency)) tail=\(self.diskTailChance)
            raft election=\(self.raft.electionTimeoutMin)..\(self.raft.electionTimeoutMax) \
            heartbeat=\(self.raft.heartbeatInterval) inflight=\(self.raft.inflightMessagesMax)/\
            \(self.raft.inflightBytes.rawValue)B append=\(self.raft.appendEntriesMax)/\(self.raft.appendBytes.rawValue)B \
            cached=\(self.raft.cachedBytes.rawValue)B uncommitted=\(self.raft.uncommittedBytes.rawValue)B \
            reads=\(self.raft.readsPendingMax) promotionLag=\(self.raft.promotionLagMax) \
            chunk=\(self.raft.snapshotChunkBytes.rawValue)B snapshotThreshold=\(self.snapshotThreshold) \
            trailing=\(self.trailing) checkpoint=\(self.checkpointPages)
            faults every \(milliseconds(self.faultGap)): \(self.faults.map(\.rawValue).joined(separator: " ")) \
            \(self.minorityOnly ? "(a minority down at most)" : "")
            """
    }
}
