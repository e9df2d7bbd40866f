import Raft
import Units

/// Level 0: the Raft core on a toy disk with a toy state machine. This class is its shell; it obeys directives and
/// decides nothing.
final class CoreNode: SimulatedNode {
    unowned let world: World
    let slot: Int
    private(set) var id: NodeID
    private(set) var epoch = 0
    private(set) var isUp = false
    var diskFactor: UInt64 = 1

    var raft: RaftNode?
    var disk = ToyDisk()
    var machine: ToyMachine
    private var inbox: [Input] = []
    private var isProcessing = false
    private var wakeIsDue = false
    private var out: [Directive] = []
    private var crashCountdown: Int?
    private var diskInFlight = 0
    /// Numbers the sweeps, so that one that was hurried is not done twice.
    private var diskTicket = 0

    private var bootedAt: UInt64 = 0
    private var clockBase: UInt64 = 0
    private var clockRate = 1.0

    /// Proposals in the log and not applied yet, in order of index.
    private var proposals: [(attempt: Int, index: UInt64, term: UInt64)] = []
    private var waitingReads: [(attempt: Int, index: UInt64)] = []
    /// Requests by attempt, for reads under way.
    private var readRequests: [Int: ClientRequest] = [:]
    private var applyQueue: [[Entry]] = []
    private var snapshotIsUnderWay = false

    init(world: World, slot: Int, id: NodeID) {
        self.world = world
        self.slot = slot
        self.id = id
        self.machine = ToyMachine(keys: world.options.keys, clients: world.options.clients)
    }

    private var invariants: Invariants { self.world.invariants }

    private var localNow: Instant {
        let passed = Double(self.world.now - self.bootedAt) * self.clockRate
        return Instant(nanoseconds: self.clockBase + UInt64(passed))
    }

    // MARK: - Life

    func found(_ configuration: Configuration) {
        self.disk.found(configuration)
        self.invariants.found(
            slot: self.slot, Entry(term: Term(1), index: LogIndex(1), payload: .configuration(configuration)),
            configuration)
    }

    func start() {
        self.isUp = true
        self.bootedAt = self.world.now
        self.clockBase = self.world.nodeRandom.within(0...1_000_000_000_000)
        self.clockRate = self.world.drawClockRate()
        self.machine = ToyMachine(keys: self.world.options.keys, clients: self.world.options.clients)
        if let snapshot = self.disk.snapshot, let loaded = ToyMachine(image: snapshot.image, meta: snapshot.meta) {
            self.machine = loaded
        }
        let restored = self.disk.restored()
        self.raft = RaftNode(
            id: self.id, settings: self.world.options.raft, restored: restored, seed: self.world.nodeRandom.next(),
            now: self.localNow)
        self.invariants.started(slot: self.slot, status: self.status, restored: restored)
        self.world.record(
            .started, slot: self.slot, self.disk.lastIndex, self.disk.hardState.term.rawValue, self.machine.appliedIndex
        )
        self.world.schedule(
            .tick(slot: self.slot, epoch: self.epoch),
            at: self.world.now + self.world.nodeRandom.within(0...World.tickGap))
    }

    func crash() {
        guard self.isUp else { return }
        self.isUp = false
        self.epoch += 1
        self.raft = nil
        let surviving = self.world.nodeRandom.within(0...self.disk.queue.count)
        for work in self.disk.queue.prefix(surviving) { _ = self.complete(work) }
        self.disk.queue.removeAll()
        self.invariants.crashed(slot: self.slot)
        self.world.tally.crashes += 1
        self.world.record(.crashed, slot: self.slot, self.disk.lastIndex, UInt64(surviving))
        self.inbox.removeAll()
        self.out.removeAll()
        self.wakeIsDue = false
        self.crashCountdown = nil
        self.diskInFlight = 0
        self.proposals.removeAll()
        self.waitingReads.removeAll()
        self.readRequests.removeAll()
        self.applyQueue.removeAll()
        self.snapshotIsUnderWay = false
        self.world.nodeIsDown(self.slot)
    }

    func crashAfter(directives: Int) { if self.isUp { self.crashCountdown = directives } }

    func wipe(newID: NodeID) {
        self.crash()
        self.epoch += 1
        self.id = newID
        self.disk = ToyDisk()
        self.invariants.wiped(slot: self.slot, newID: newID)
        self.world.record(.wiped, slot: self.slot, newID.rawValue)
    }

    func loseTail(entries: Int) {
        self.disk.loseTail(entries)
        self.invariants.lostTail(
            slot: self.slot, last: self.disk.lastIndex, quarantine: self.disk.quarantine ?? self.disk.lastIndex,
            restartsAfterSnapshot: self.disk.firstIndex == self.disk.lastIndex + 1 ? self.disk.snapshot?.meta : nil)
        self.world.record(.amnesia, slot: self.slot, self.disk.lastIndex, self.disk.quarantine ?? 0)
    }

    // MARK: - Inputs

    func tick() {
        self.world.schedule(.tick(slot: self.slot, epoch: self.epoch), at: self.world.now + World.tickGap)
        self.take(.tick)
    }

    func receive(_ message: Message, frame: [UInt8], from slot: Int) { self.take(.message(message)) }

    func submit(_ request: ClientRequest, attempt: Int) {
        switch request.kind {
        case .staleGet: self.answerRead(request, attempt: attempt)
        case .get:
            self.invariants.readAsked(attempt: attempt)
            self.readRequests[attempt] = request
            self.take(.readIndex(token: UInt64(attempt)))
        case .put, .delete, .cas, .deleteCAS:
            self.take(.propose(token: UInt64(attempt), payloads: [ToyMachine.encode(request)]))
        }
    }

    func load(_ count: Int) {
        self.inbox += (0..<count).map { number in
            Input.propose(token: World.unheardToken + UInt64(number), payloads: [[UInt8(truncatingIfNeeded: number)]])
        }
        self.process()
    }

    func administer(_ request: AdminRequest, token: UInt64) {
        switch request {
        case .change(let change): self.take(.changeMembership(token: token, change))
        case .transfer(let to): self.take(.transferLeadership(token: token, to: to))
        }
    }

    func diskFull(_ full: Bool) { if self.isUp { self.take(.diskFull(full)) } }

    func wake() {
        self.wakeIsDue = false
        self.process()
    }

    private func take(_ input: Input) {
        self.inbox.append(input)
        if self.world.gather == 0 {
            self.process()
        } else if !self.wakeIsDue, !self.isProcessing {
            self.wakeIsDue = true
            self.world.schedule(
                .wake(slot: self.slot, epoch: self.epoch), at: self.world.now + self.world.gather)
        }
    }

    private func process() {
        if self.isProcessing { return }
        self.isProcessing = true
        defer { self.isProcessing = false }
        while self.raft != nil, !self.inbox.isEmpty {
            let inputs = self.inbox
            self.inbox.removeAll(keepingCapacity: true)
            self.out.removeAll(keepingCapacity: true)
            var directives = self.out
            let now = self.localNow
            for input in inputs { self.raft?.step(input, at: now, into: &directives) }
            self.raft?.flush(at: now, into: &directives)
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
            self.out = directives
        }
    }

    private func observe(_ directives: [Directive]) {
        for case .persist(let batch) in directives { self.invariants.emitted(slot: self.slot, batch) }
        let before = self.invariants.subjects[self.slot].status
        let status = self.status
        self.invariants.observed(slot: self.slot, status)
        for case .persist(let batch) in directives { self.invariants.checkConfigurations(slot: self.slot, batch) }
        if status.commit != before.commit {
            self.world.record(.commit, slot: self.slot, status.commit, status.term, UInt64(status.role.rawValue))
        }
        if before.role == .leader, status.role != .leader || status.term != before.term { self.loseProposals() }
    }

    private func loseProposals() {
        for proposal in self.proposals { self.world.respond(attempt: proposal.attempt, .uncertain) }
        self.proposals.removeAll()
    }

    // MARK: - Directives

    private func obey(_ directive: Directive) {
        switch directive {
        case .persist(let batch): self.enqueue(.persist(batch))
        case .send(let message):
            self.invariants.sending(slot: self.slot, message)
            self.world.send(message, from: self.slot)
        case .apply(let entries):
            if self.world.options.applyDelay == 0 || self.world.isHealed, self.applyQueue.isEmpty {
                self.apply(entries)
            } else {
                self.applyQueue.append(entries)
                let delay = self.world.nodeRandom.exponential(mean: self.world.options.applyDelay)
                self.world.schedule(
                    .later(slot: self.slot, epoch: self.epoch, work: 0), at: self.world.now + delay)
            }
        case .fetchEntries(let peer, let from, let to, let maxBytes):
            self.enqueue(.fetch(peer: peer, from: from, to: to, maxBytes: maxBytes))
        case .readSnapshotChunk(let peer, let meta, let offset, let maxBytes):
            self.enqueue(.readChunk(peer: peer, meta: meta, offset: offset, maxBytes: maxBytes))
        case .storeSnapshotChunk(let chunk, let from): self.enqueue(.storeChunk(chunk, from: from))
        case .installSnapshot(let meta, let from): self.enqueue(.install(meta, from: from))
        case .proposed(let token, let first, let term):
            self.proposals.append((Int(token), first.rawValue, term.rawValue))
        case .proposalRefused(let token, let reason):
            self.world.respond(attempt: Int(token), .refused(leader: self.hint(reason)))
        case .readReady(let tokens, let index):
            for token in tokens {
                self.invariants.readReady(slot: self.slot, attempt: Int(token), index: index.rawValue)
                self.waitingReads.append((Int(token), index.rawValue))
            }
            self.world.record(.readReady, slot: self.slot, index.rawValue, UInt64(tokens.count))
            self.releaseReads()
        case .readRefused(let tokens, let reason):
            for token in tokens {
                self.readRequests[Int(token)] = nil
                self.world.respond(attempt: Int(token), .refused(leader: self.hint(reason)))
            }
        case .membershipChanged(let token), .transferDone(let token):
            self.world.administrator.answered(token: token, refusal: nil)
        case .membershipRefused(let token, let reason), .transferRefused(let token, let reason):
            self.world.administrator.answered(token: token, refusal: reason)
        case .trace(let event): self.world.traced(event, slot: self.slot)
        }
        if case .trace(.quarantineLifted) = directive { self.disk.quarantine = nil }
    }

    private func hint(_ reason: RefusalReason) -> NodeID? {
        if case .notLeader(let leader) = reason { return leader }
        return nil
    }

    // MARK: - The state machine

    func later(_ work: Int) {
        guard !self.applyQueue.isEmpty else { return }
        let entries = self.applyQueue.removeFirst().filter { $0.index.rawValue > self.machine.appliedIndex }
        if !entries.isEmpty { self.apply(entries) }
    }

    private func apply(_ entries: [Entry]) {
        for entry in entries {
            let outcome = self.machine.apply(entry)
            self.invariants.applied(
                slot: self.slot, entry,
                stateHash: self.world.stateHash(self.machine.hash, slot: self.slot, at: entry.index.rawValue))
            if let outcome {
                self.world.clients.applied(outcome.request, ok: outcome.result.ok, index: outcome.result.index)
            }
            while let first = self.proposals.first, first.index <= entry.index.rawValue {
                self.proposals.removeFirst()
                if first.index == entry.index.rawValue, first.term == entry.term.rawValue, let outcome {
                    self.world.respond(attempt: first.attempt, .written(outcome.result.ok, index: outcome.result.index))
                } else {
                    self.world.respond(attempt: first.attempt, .uncertain)
                }
            }
        }
        self.world.record(.applied, slot: self.slot, self.machine.appliedIndex, self.machine.hash)
        self.releaseReads()
        self.take(.applied(LogIndex(self.machine.appliedIndex)))
        let threshold = self.world.options.snapshotThreshold
        let since = self.machine.appliedIndex - (self.disk.snapshot?.meta.index.rawValue ?? 0)
        if threshold > 0, since >= UInt64(threshold) { self.snapshotNow() }
    }

    func snapshotNow() {
        let index = self.machine.appliedIndex
        guard self.isUp, !self.snapshotIsUnderWay, index > self.disk.snapshot?.meta.index.rawValue ?? 0 else { return }
        self.snapshotIsUnderWay = true
        let image = self.machine.image()
        let chain = self.invariants.committedChain(at: index) ?? 0
        let meta = SnapshotMeta(
            index: LogIndex(index), term: Term(self.machine.appliedTerm), configuration: self.machine.configuration,
            configurationIndex: LogIndex(self.machine.configurationIndex), totalBytes: UInt64(image.count),
            sha256: ToyDisk.fingerprint(image),
            chain: (0..<8).map { UInt8(truncatingIfNeeded: chain >> UInt64(8 * $0)) })
        let trailing = UInt64(self.world.options.trailing)
        self.enqueue(
            .snapshot(ToyDisk.Snapshot(meta: meta, image: image), compactTo: index > trailing ? index - trailing : 0))
    }

    private func releaseReads() {
        let ready = self.waitingReads.filter { $0.index <= self.machine.appliedIndex }
        if ready.isEmpty { return }
        self.waitingReads.removeAll { $0.index <= self.machine.appliedIndex }
        for read in ready {
            if let request = self.readRequests.removeValue(forKey: read.attempt) {
                self.answerRead(request, attempt: read.attempt)
            }
        }
    }

    private func answerRead(_ request: ClientRequest, attempt: Int) {
        let row = self.machine.rows[request.key]
        self.world.respond(
            attempt: attempt,
            .found(row?.value, modifyIndex: row?.modifyIndex ?? 0, applied: self.machine.appliedIndex))
    }

    // MARK: - The disk

    private func enqueue(_ work: ToyDisk.Work) {
        self.disk.queue.append(work)
        self.startDisk()
    }

    /// Whatever is queued when the disk is free goes in one sweep: a group commit.
    private func startDisk() {
        guard self.diskInFlight == 0, !self.disk.queue.isEmpty else { return }
        self.diskInFlight = min(self.disk.queue.count, 32)
        self.scheduleDisk()
    }

    private func scheduleDisk() {
        self.diskTicket += 1
        let latency = self.world.diskLatency(factor: self.diskFactor)
        self.world.schedule(
            .diskDone(slot: self.slot, epoch: self.epoch, ticket: self.diskTicket), at: self.world.now + latency)
    }

    func hurryDisk() { if self.isUp, self.diskInFlight > 0 { self.scheduleDisk() } }

    func diskDone(ticket: Int) {
        guard ticket == self.diskTicket else { return }
        let done = Array(self.disk.queue.prefix(self.diskInFlight))
        self.disk.queue.removeFirst(self.diskInFlight)
        self.diskInFlight = 0
        for work in done {
            if let input = self.complete(work) { self.inbox.append(input) }
        }
        self.startDisk()
        self.process()
    }

    /// The work is durable; also what happens to the surviving part of the queue in a crash.
    private func complete(_ work: ToyDisk.Work) -> Input? {
        switch work {
        case .persist(let batch):
            self.disk.persist(batch)
            self.invariants.persisted(slot: self.slot, batch: batch.id)
            self.world.record(
                .persisted, slot: self.slot, self.disk.lastIndex, self.disk.hardState.term.rawValue, batch.id)
            return .persisted(batch: batch.id)
        case .storeChunk(let chunk, let from):
            let next = self.disk.store(chunk)
            self.world.record(.stored, slot: self.slot, next, chunk.meta.index.rawValue)
            return .snapshotChunkStored(meta: chunk.meta, nextOffset: next, from: from)
        case .install(let meta, let from): return self.install(meta, from: from)
        case .snapshot(let snapshot, let compactTo):
            self.snapshotIsUnderWay = false
            if let held = self.disk.snapshot?.meta, held.index >= snapshot.meta.index { return nil }
            self.disk.snapshot = snapshot
            self.disk.compact(through: compactTo)
            self.invariants.compacted(slot: self.slot, snapshot: snapshot.meta.index.rawValue, through: compactTo)
            self.world.tally.snapshotsTaken += 1
            self.world.record(.snapshot, slot: self.slot, snapshot.meta.index.rawValue, compactTo)
            return .snapshotTaken(meta: snapshot.meta, compactedTo: LogIndex(compactTo))
        case .fetch(let peer, let from, let to, let maxBytes):
            let entries = self.disk.fetch(from: from, to: to, maxBytes: maxBytes)
            return .entriesFetched(peer: peer, from: from, entries: entries)
        case .readChunk(let peer, let meta, let offset, let maxBytes):
            let chunk = self.disk.readChunk(meta, offset: offset, maxBytes: maxBytes)
            return .snapshotChunkRead(
                peer: peer, meta: meta, offset: offset, data: chunk?.data,
                checksum: chunk.map { CRC32C.checksum($0.data) } ?? 0, isLast: chunk?.isLast ?? false)
        }
    }

    private func install(_ meta: SnapshotMeta, from: NodeID) -> Input? {
        guard let (machine, keepsSuffix) = self.disk.install(meta) else {
            return .snapshotInstalled(meta: meta, succeeded: false, from: from)
        }
        let chain = meta.chain.prefix(8).enumerated().reduce(UInt64(0)) {
            $0 | UInt64($1.element) << UInt64(8 * $1.offset)
        }
        if self.isUp, machine.appliedIndex < self.machine.appliedIndex {
            self.invariants.fail(
                "I7", "s\(self.slot) goes from applied \(self.machine.appliedIndex) back to \(machine.appliedIndex)")
        }
        self.machine = machine
        self.invariants.installed(slot: self.slot, meta, chain: chain, keepsSuffix: keepsSuffix)
        self.invariants.checkState(slot: self.slot, index: machine.appliedIndex, stateHash: machine.hash)
        self.world.tally.snapshotsInstalled += 1
        self.world.record(.installed, slot: self.slot, meta.index.rawValue, meta.term.rawValue)
        if self.isUp { self.releaseReads() }
        return .snapshotInstalled(meta: meta, succeeded: true, from: from)
    }

    // MARK: - Facts

    var appliedIndex: UInt64 { self.machine.appliedIndex }
    var configuration: Configuration { self.raft?.configuration ?? .empty }
    func isCaughtUp(_ id: NodeID) -> Bool { self.raft?.isCaughtUp(id) ?? false }
    var stateHash: UInt64? { self.isUp ? self.machine.hash : nil }

    var status: NodeStatus {
        guard let raft = self.raft else { return self.invariants.subjects[self.slot].status }
        let role: NodeStatus.Role =
            switch raft.role {
            case .leader: .leader
            default: .follower
            }
        return NodeStatus(
            role: role, term: raft.term.rawValue, leader: raft.leader, commit: raft.commitIndex.rawValue,
            last: raft.lastIndex.rawValue,
            configuration: raft.configurationIndex.rawValue, persisted: raft.persistedIndex.rawValue)
    }
}
