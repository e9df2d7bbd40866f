import FaultDisk
import Protocol
import Raft
import Registry
import Replica
import Storage
import SwiftProtobuf
import Synchronization
import Transport
import Units

/// Level 1: the whole replica on real storage, over a disk in memory that crashes badly, with real frames on the wires.
/// This class is its shell, as the server's loops are in production; it decides nothing.
final class ReplicaNode: SimulatedNode {
    unowned let world: World
    let slot: Int
    private(set) var id: NodeID
    private(set) var epoch = 0
    private(set) var isUp = false
    var diskFactor: UInt64 = 1

    var replica: Replica?
    var disk: FaultDisk
    var storage: LogStorage?
    var snapshots: SnapshotStore?
    var queue: [ReplicaWork] = []
    var diskInFlight = 0
    var diskTicket = 0
    var isFull = false
    var promiseWrittenAt: UInt64 = 0
    var compactThrough = LogIndex.zero
    var diskTrouble = DiskTrouble()
    var backup: Backup?
    /// Level 2: the process around the replica.
    private(set) var server: SimulatedServer?

    private var inbox: [ReplicaInput] = []
    private var isProcessing = false
    private var wakeIsDue = false
    private var crashCountdown: Int?
    private var bootedAt: UInt64 = 0
    private var clockBase: UInt64 = 0
    private var clockRate = 1.0
    private var wallSkew: UInt64 = 0
    private var readRequests: [Int: ClientRequest] = [:]
    private var standing: StandingQueries

    static let directory = "data"
    private static let disksMade = Mutex(0)

    init(world: World, slot: Int, id: NodeID) {
        self.world = world
        self.slot = slot
        self.id = id
        self.disk = Self.newDisk(seed: world.nodeRandom.next())
        self.standing = StandingQueries(options: world.options)
    }

    /// Disks are known to SQLite by a name that must be unique in the process; nothing else depends on it.
    private static func newDisk(seed: UInt64) -> FaultDisk {
        let number = Self.disksMade.withLock { count in
            count += 1
            return count
        }
        return FaultDisk(name: "simulated-\(number)", seed: seed)
    }

    var invariants: Invariants { self.world.invariants }

    private var localNow: Instant {
        let passed = Double(self.world.now - self.bootedAt) * self.clockRate
        return Instant(nanoseconds: self.clockBase + UInt64(passed))
    }

    private var wallTime: UInt64 { self.wallSkew + self.world.now }

    private var settings: ReplicaSettings {
        var settings = ReplicaSettings()
        settings.raft = self.world.options.raft
        settings.snapshotThreshold =
            self.world.options.snapshotThreshold > 0 ? self.world.options.snapshotThreshold : 100_000
        settings.trailingLogs = self.world.options.trailing
        return settings
    }

    private var storageSettings: StorageSettings {
        var settings = StorageSettings()
        settings.checkpointPages = self.world.options.checkpointPages
        settings.reserveBytes = .kibibytes(256)
        settings.cacheBytes = .mebibytes(1)
        settings.tailBytes = ByteCount(self.world.options.raft.cachedBytes.rawValue)
        return settings
    }

    // MARK: - Life

    /// Work on an undisturbed disk can't fail.
    private func expectingNoTrouble(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch { self.invariants.fail("I19", "s\(self.slot) \(what): \(error)") }
    }

    func found(_ configuration: Configuration) {
        self.expectingNoTrouble("founding") {
            let storage = try LogStorage(
                directory: Self.directory, settings: self.storageSettings, fileSystem: self.disk)
            let snapshots = try SnapshotStore(directory: "\(Self.directory)/snapshots", fileSystem: self.disk)
            _ = try storage.recover(snapshots: snapshots)
            if try !storage.found(configuration) { self.invariants.fail("I19", "s\(self.slot) can't found a cluster") }
        }
        self.invariants.found(
            slot: self.slot, Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration)),
            configuration)
        self.world.oracle.note(Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration)))
    }

    func start() {
        self.isUp = true
        self.bootedAt = self.world.now
        self.clockBase = self.world.nodeRandom.within(0...1_000_000_000_000)
        self.clockRate = self.world.drawClockRate()
        self.wallSkew = 1_700_000_000_000_000_000 + self.world.nodeRandom.within(0...self.world.options.wallSkew)
        self.standing = StandingQueries(options: self.world.options)
        let seed = self.world.nodeRandom.next()
        self.expectingNoTrouble("starting") {
            let storage = try LogStorage(
                directory: Self.directory, settings: self.storageSettings, fileSystem: self.disk)
            let snapshots = try SnapshotStore(directory: "\(Self.directory)/snapshots", fileSystem: self.disk)
            let recovery = try storage.recover(snapshots: snapshots)
            self.storage = storage
            self.snapshots = snapshots
            self.invariants.recovered(slot: self.slot, recovery.restored, findings: recovery.findings)
            let replica = Replica(
                id: self.id, settings: self.settings, restored: recovery.restored,
                registry: recovery.registry ?? Registry(),
                seed: seed, now: self.localNow)
            self.replica = replica
            if self.world.level >= 2 { self.server = self.makeServer(replica) }
            self.invariants.started(slot: self.slot, status: self.status, restored: recovery.restored)
            // The state that a snapshot brings back is the one that it was taken of.
            if let hash = self.stateHash, self.appliedIndex > 0 {
                self.invariants.checkState(
                    slot: self.slot, index: self.appliedIndex,
                    stateHash: self.world.stateHash(hash, slot: self.slot, at: self.appliedIndex))
            }
            self.world.record(
                .started, slot: self.slot, recovery.restored.lastIndex.rawValue,
                recovery.restored.hardState.term.rawValue, recovery.restored.snapshot?.index.rawValue ?? 0)
            if let until = recovery.restored.quarantinedUntil {
                self.world.record(.amnesia, slot: self.slot, recovery.restored.lastIndex.rawValue, until.rawValue)
            }
        }
        self.world.schedule(
            .tick(slot: self.slot, epoch: self.epoch),
            at: self.world.now + self.world.nodeRandom.within(0...World.tickGap))
    }

    func crash() {
        guard self.isUp else { return }
        self.isUp = false
        self.epoch += 1
        self.endServer()
        self.replica = nil
        // Half of the crashes come in the middle of what the disk is at.
        if self.diskInFlight > 0, self.world.nodeRandom.chance(0.5) {
            self.disk.halt(afterOperations: self.world.nodeRandom.within(1...30))
            for work in self.queue.prefix(self.diskInFlight) { self.attempt(work) }
        }
        let mode = FaultDisk.Crash.allCases[self.world.nodeRandom.below(FaultDisk.Crash.allCases.count)]
        self.disk.crash(seed: self.world.nodeRandom.next(), mode)
        self.storage = nil
        self.snapshots = nil
        self.invariants.vanished(slot: self.slot)
        self.world.tally.crashes += 1
        self.world.record(.crashed, slot: self.slot, UInt64(mode.rawValue), UInt64(self.queue.count))
        self.queue.removeAll()
        self.inbox.removeAll()
        self.wakeIsDue = false
        self.crashCountdown = nil
        self.diskInFlight = 0
        self.isFull = false
        self.compactThrough = .zero
        self.diskTrouble = DiskTrouble()
        self.readRequests.removeAll()
        self.disk.setCapacity(nil)
        self.world.nodeIsDown(self.slot)
    }

    private func makeServer(_ replica: Replica) -> SimulatedServer {
        let time = ServerTime(
            world: self.world, slot: self.slot, epoch: self.epoch, rate: self.clockRate,
            seed: self.world.nodeRandom.next(), clock: { [unowned self] in self.localNow })
        return SimulatedServer(node: self, world: self.world, time: time, replica: replica)
    }

    func endServer() {
        self.server?.end()
        self.server = nil
    }

    func crashAfter(directives: Int) { if self.isUp { self.crashCountdown = directives } }

    func wipe(newID: NodeID) {
        self.crash()
        self.epoch += 1
        self.id = newID
        self.disk = Self.newDisk(seed: self.world.nodeRandom.next())
        self.backup = nil
        self.invariants.wiped(slot: self.slot, newID: newID)
        self.world.record(.wiped, slot: self.slot, newID.rawValue)
    }

    /// A bit of the log's files turns over. In the write-ahead log that may take everything behind it along; its last
    /// transaction is spared, since nothing tells damage there from a write that the crash tore, until the promise that
    /// follows within a second.
    func loseTail(entries: Int) {
        if self.world.nodeRandom.chance(0.3), self.damageSnapshot() { return }
        let lastTransaction: UInt64 = 12 * 4120
        for (name, spared) in [("raft.db-wal", lastTransaction), ("raft.db", 0)] {
            let path = "\(Self.directory)/\(name)"
            guard let size = try? self.disk.size(path), size > 4096 + spared else { continue }
            let offset = self.world.nodeRandom.within(32...size - spared - 1)
            let flipped = self.disk.flipBit(path, at: offset, bit: self.world.nodeRandom.below(8))
            self.invariants.damaged(slot: self.slot)
            self.world.record(.amnesia, slot: self.slot, offset, size, flipped ? 1 : 0, note: "bit flipped")
            return
        }
    }

    // MARK: - Inputs

    func tick() {
        self.world.schedule(.tick(slot: self.slot, epoch: self.epoch), at: self.world.now + World.tickGap)
        self.take(.tick)
        self.server?.tick()
    }

    func receive(_ sent: Raft.Message, frame: [UInt8], from slot: Int) {
        guard let message = Self.decode(frame) else {
            self.world.record(.corrupted, slot: self.slot, peer: slot, note: "refused")
            return
        }
        if message != sent { self.invariants.fail("I19", "a message changed on the wire: \(sent)") }
        self.take(.message(message))
    }

    static func encode(_ message: Raft.Message) -> [UInt8]? {
        guard let bytes: [UInt8] = try? RaftWire.encode(message).serializedBytes() else { return nil }
        let checksum = CRC32C.checksum(bytes)
        return [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: checksum >> $0) } + bytes
    }

    static func decode(_ frame: [UInt8]) -> Raft.Message? {
        guard frame.count >= 4 else { return nil }
        let checksum = (0..<4).reduce(UInt32(0)) { $0 | UInt32(frame[$1]) << UInt32(8 * $1) }
        let bytes = Array(frame.dropFirst(4))
        guard CRC32C.checksum(bytes) == checksum, let wire = try? PeerRaftMessage(serializedBytes: bytes) else {
            return nil
        }
        return try? RaftWire.decode(wire)
    }

    func submit(_ request: ClientRequest, attempt: Int) {
        if let server = self.server { return server.submit(request, attempt: attempt) }
        switch request.kind {
        case .staleGet:
            if self.replica?.isReady ?? false {
                self.answerRead(request, attempt: attempt)
            } else {
                self.world.respond(attempt: attempt, .refused(leader: nil))
            }
        case .get:
            self.invariants.readAsked(attempt: attempt)
            self.readRequests[attempt] = request
            self.take(.read(token: UInt64(attempt)))
        case .put, .delete, .cas, .deleteCAS:
            let lowest = self.world.clients.lowestOutstanding(beside: request)
            self.take(.propose(token: UInt64(attempt), envelope: Oracle.envelope(request, lowest: lowest)))
        }
    }

    func load(_ count: Int) {
        self.gather(
            (0..<count).map { number -> ReplicaInput in
                var envelope = LogEnvelope()
                envelope.command.kvPut.key = .init("bulk/\(number)".utf8)
                envelope.command.kvPut.value = .init("\(self.world.now)".utf8)
                return .propose(token: World.unheardToken + UInt64(number), envelope: envelope)
            })
    }

    func administer(_ request: AdminRequest, token: UInt64) {
        switch request {
        case .change(let change): self.take(.changeMembership(token: token, change))
        case .transfer(let to): self.take(.transferLeadership(token: token, to: to))
        }
    }

    func snapshotNow() { if self.isUp { self.take(.snapshotNow) } }
    func later(_ work: Int) { self.server?.time.run(work) }

    func wake() {
        self.wakeIsDue = false
        self.process()
    }

    func take(_ input: ReplicaInput) {
        self.inbox.append(input)
        if self.world.gather == 0 {
            self.process()
        } else if !self.wakeIsDue, !self.isProcessing {
            self.wakeIsDue = true
            self.world.schedule(
                .wake(slot: self.slot, epoch: self.epoch), at: self.world.now + self.world.gather)
        }
    }

    /// Inputs that come with others are stepped with them.
    func gather(_ inputs: [ReplicaInput]) {
        self.inbox += inputs
        self.process()
    }

    private func process() {
        if self.isProcessing { return }
        self.isProcessing = true
        defer { self.isProcessing = false }
        while self.replica != nil, !self.inbox.isEmpty {
            let inputs = self.inbox
            self.inbox.removeAll(keepingCapacity: true)
            var directives: [ReplicaDirective] = []
            let (now, wallTime) = (self.localNow, self.wallTime)
            for input in inputs { self.replica?.step(input, at: now, wallTime: wallTime, into: &directives) }
            self.replica?.flush(at: now, wallTime: wallTime, into: &directives)
            self.observe(directives)
            for directive in directives {
                if let left = self.crashCountdown {
                    if left == 0 {
                        self.crash()
                        self.world.scheduleRestart(self.slot)
                        return
                    }
                    self.crashCountdown = left - 1
                }
                self.obey(directive)
                if !self.isUp { return }
            }
            if let replica = self.replica { self.server?.tell(directives, of: replica) }
        }
    }

    private func observe(_ directives: [ReplicaDirective]) {
        for case .persist(let batch) in directives {
            for entry in batch.entries { self.world.oracle.note(entry) }
            self.invariants.emitted(slot: self.slot, batch)
        }
        let before = self.invariants.subjects[self.slot]
        let status = self.status
        self.invariants.observed(slot: self.slot, status)
        for case .persist(let batch) in directives { self.invariants.checkConfigurations(slot: self.slot, batch) }
        if status.commit != before.status.commit {
            self.world.record(.commit, slot: self.slot, status.commit, status.term, UInt64(status.role.rawValue))
            self.world.oracle.advance()
        }
        if self.appliedIndex != before.applied, let hash = self.stateHash {
            self.world.record(.applied, slot: self.slot, self.appliedIndex, hash)
            self.invariants.appliedThrough(
                slot: self.slot, self.appliedIndex,
                stateHash: self.world.stateHash(hash, slot: self.slot, at: self.appliedIndex))
            if let registry = self.replica?.registry { self.world.oracle.check(registry, slot: self.slot) }
        }
    }

    // MARK: - Directives

    private func obey(_ directive: ReplicaDirective) {
        switch directive {
        case .persist(let batch): self.enqueue(.persist(batch))
        case .send(let message):
            self.invariants.sending(slot: self.slot, message)
            guard let frame = Self.encode(message) else {
                self.invariants.fail("I19", "a message can't be encoded: \(message)")
                return
            }
            self.world.send(message, from: self.slot, frame: frame)
        case .fetchEntries(let peer, let from, let to, let maxBytes):
            self.enqueue(.fetch(peer: peer, from: from, to: to, maxBytes: maxBytes))
        case .readSnapshotChunk(let peer, let meta, let offset, let maxBytes):
            self.enqueue(.readChunk(peer: peer, meta: meta, offset: offset, maxBytes: maxBytes))
        case .storeSnapshotChunk(let chunk, let from): self.enqueue(.storeChunk(chunk, from: from))
        case .installSnapshot(let meta, let from): self.enqueue(.install(meta, from: from))
        case .takeSnapshot(let request): self.enqueue(.snapshot(request))
        case .compact(let through): self.enqueue(.compact(through: through))
        case .answer, .refuse, .sessionRenewed, .readable, .readRefused: self.reply(directive)
        case .publish(let touched, let everything):
            guard let registry = self.replica?.registry else { break }
            if let wrong = self.standing.published(registry, touched: touched, everything: everything) {
                self.invariants.fail("I14", "s\(self.slot): \(wrong)")
            }
        case .administered(let token, let reason): self.world.administrator.answered(token: token, refusal: reason)
        case .trace(let event):
            self.world.traced(event, slot: self.slot)
            if case .quarantineLifted = event { self.enqueue(.liftQuarantine) }
        case .halt(let reason): self.invariants.fail("I5", "s\(self.slot) halts: \(reason)")
        case .leadership: break
        }
    }

    /// Answers go to whoever asked: at level 2 through the server, once all of the batch is obeyed.
    private func reply(_ directive: ReplicaDirective) {
        if self.server != nil { return }
        switch directive {
        case .answer(let token, let result): self.answer(token, result)
        case .refuse(let token, let reason, let mayApply):
            if token >= Holders.firstToken {
                self.world.holders.answered(
                    attempt: Int(token - Holders.firstToken),
                    mayApply ? .uncertain : .refused(leader: self.hint(reason)))
            } else {
                self.world.respond(attempt: Int(token), mayApply ? .uncertain : .refused(leader: self.hint(reason)))
            }
        case .sessionRenewed(let token, let found):
            self.world.holders.answered(attempt: Int(token - Holders.firstToken), .renewed(found))
        case .readable(let tokens):
            self.world.record(.readReady, slot: self.slot, self.appliedIndex, UInt64(tokens.count))
            for token in tokens {
                self.invariants.readReady(slot: self.slot, attempt: Int(token), index: self.appliedIndex)
                if let request = self.readRequests.removeValue(forKey: Int(token)) {
                    self.answerRead(request, attempt: Int(token))
                }
            }
        case .readRefused(let tokens, let reason):
            for token in tokens {
                self.readRequests[Int(token)] = nil
                self.world.respond(attempt: Int(token), .refused(leader: self.hint(reason)))
            }
        default: break
        }
    }

    private func hint(_ reason: RefusalReason) -> NodeID? {
        if case .notLeader(let leader) = reason { return leader }
        return nil
    }

    private func answer(_ token: UInt64, _ result: LogResult) {
        if token >= Holders.firstToken {
            self.world.holders.answered(attempt: Int(token - Holders.firstToken), .result(result))
        } else if case .ok(let ok) = result.kind {
            self.world.respond(attempt: Int(token), .written(ok, index: result.index))
        } else if case .txn(let txn) = result.kind {
            self.world.respond(attempt: Int(token), .written(txn.errors.isEmpty, index: result.index))
        } else {
            // Its result is forgotten: it may have been applied, who knows.
            self.world.clients.forgotten(attempt: Int(token))
            self.world.respond(attempt: Int(token), .uncertain)
        }
    }

    private func answerRead(_ request: ClientRequest, attempt: Int) {
        guard let registry = self.replica?.registry else { return }
        let entry = registry.kvEntry(Oracle.key(request.key)).value
        self.world.respond(
            attempt: attempt,
            .found(
                entry.flatMap { UInt64(String(decoding: $0.value, as: UTF8.self)) },
                modifyIndex: entry?.modifyIndex ?? 0,
                applied: registry.appliedIndex.rawValue))
    }

    // MARK: - Facts

    var appliedIndex: UInt64 { self.replica?.registry.appliedIndex.rawValue ?? 0 }
    var configuration: Configuration { self.replica?.raft.configuration ?? .empty }
    func isCaughtUp(_ id: NodeID) -> Bool { self.replica?.raft.isCaughtUp(id) ?? false }

    var stateHash: UInt64? {
        guard let replica = self.replica else { return nil }
        var digest = Digest()
        digest.add(replica.registry.combinedHash)
        digest.add(replica.registry.latestRememberedHash?.hash ?? [])
        return digest.value
    }

    var status: NodeStatus {
        guard let raft = self.replica?.raft else { return self.invariants.subjects[self.slot].status }
        return NodeStatus(
            role: raft.role == .leader ? .leader : .follower, term: raft.term.rawValue, leader: raft.leader,
            commit: raft.commitIndex.rawValue, last: raft.lastIndex.rawValue,
            configuration: raft.configurationIndex.rawValue, persisted: raft.persistedIndex.rawValue)
    }
}
