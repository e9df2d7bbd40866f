import Linearizability
import Raft
import Units

/// Closed-loop clients: one operation each at a time, retried until it is answered or given up.
final class Clients {
    struct Operation {
        var request: ClientRequest
        var call: UInt64
        var returned: UInt64?
        var result: ClientResult?
        /// Attempts that were not refused for certain: each may have reached the log.
        var possible = 0
        var isOver = false
    }
    private struct Attempt {
        var operation: Int
        var slot: Int
        var result: ClientResult?
        var wasSubmitted = false
        var isOver = false
        /// What its server had shown of the key when it came there.
        var floor: UInt64 = 0
    }
    private struct Client {
        var operation: Int?
        var leader: Int?
        var attempts = 0
        /// The newest ModifyIndex it knows of each key.
        var indexes: [UInt64]
    }
    /// A write as it was first applied.
    struct Effect {
        var index: UInt64
        var ok: Bool
    }

    private unowned let world: World
    private var random: SimulationRandom
    private var clients: [Client]
    private(set) var operations: [Operation] = []
    private var attempts: [Attempt] = []
    private var isStopped = false
    /// Newest sequence of each requester.
    private var sequences: [UInt64]
    /// By value, of which each write has its own: what the one history says about it.
    private var effects: [UInt64: Effect] = [:]
    /// By key, in order of index: what each write left behind.
    private var versions: [[(index: UInt64, value: UInt64?)]]
    private var newestApplied: UInt64 = 0
    /// The highest state that each server showed in a stale read, with the epoch; at level 2 of each key.
    private var staleFloors: [(epoch: Int, applied: UInt64)]

    init(world: World) {
        self.world = world
        self.random = SimulationRandom(seed: world.seed, concern: "workload")
        let options = world.options
        self.clients = Array(
            repeating: Client(indexes: Array(repeating: 0, count: options.keys)), count: options.clients)
        self.sequences = Array(repeating: 0, count: options.clients)
        self.versions = Array(repeating: [], count: options.keys)
        self.staleFloors = Array(repeating: (0, 0), count: (options.servers + options.spares) * options.keys)
    }

    func begin() {
        for client in self.clients.indices {
            self.world.schedule(.clientWake(client: client), at: self.random.within(0...self.world.options.thinkTime))
        }
    }

    /// No new operations.
    func stop() { self.isStopped = true }

    var isIdle: Bool { self.clients.allSatisfy { $0.operation == nil } }

    /// Writes and linearizable reads that began at or after `time` and succeeded.
    func succeeded(since time: UInt64) -> (writes: Int, reads: Int) {
        var counts = (writes: 0, reads: 0)
        for operation in self.operations.reversed() {
            // Operations are in order of call.
            if operation.call < time { break }
            switch operation.result {
            case .written: counts.writes += 1
            case .found: if operation.request.kind == .get { counts.reads += 1 }
            case .refused, .uncertain, nil: break
            }
        }
        return counts
    }

    // MARK: - A client's loop

    func wake(_ client: Int) {
        if let operation = self.clients[client].operation {
            self.attempt(operation)
        } else if !self.isStopped {
            self.startOperation(client)
        }
    }

    private func startOperation(_ client: Int) {
        let options = self.world.options
        let key = self.random.below(options.keys)
        var request = ClientRequest(client: client, sequence: 0, kind: .put, key: key)
        if self.random.chance(options.readShare) {
            request.kind = self.random.chance(options.staleShare) ? .staleGet : .get
        } else if self.random.chance(options.casShare) {
            request.kind = self.random.chance(0.2) ? .deleteCAS : .cas
            request.expectedIndex = self.clients[client].indexes[key]
            if request.kind == .deleteCAS, request.expectedIndex == 0 { request.kind = .put }
        } else if self.random.chance(options.deleteShare) {
            request.kind = .delete
        }
        if self.world.level >= 2 {
            request.variant = self.random.below(100)
            request.isUnnumbered = self.random.chance(options.unnumberedShare)
        }
        if !request.isRead {
            let requester = self.world.level == 0 ? client : Self.requester(of: client)
            if !request.isUnnumbered {
                self.sequences[requester] += 1
                request.sequence = self.sequences[requester]
            }
            request.value = UInt64(self.operations.count + 1)
            if self.world.level >= 1, request.kind == .put || request.kind == .cas {
                request.isTransaction = self.random.chance(0.25)
            }
        }
        self.operations.append(Operation(request: request, call: self.world.now))
        self.clients[client].operation = self.operations.count - 1
        self.clients[client].attempts = 0
        self.attempt(self.operations.count - 1)
    }

    private func attempt(_ operation: Int) {
        let client = self.operations[operation].request.client
        let everywhere =
            self.world.level >= 2 ? self.world.someServer(&self.random) : self.random.below(self.world.nodes.count)
        let isLocal = self.operations[operation].request.kind == .staleGet
        let stray = self.random.chance(self.operations[operation].request.kind == .get ? 0.5 : 0.1)
        let slot = isLocal || stray ? everywhere : self.clients[client].leader ?? everywhere
        self.clients[client].attempts += 1
        self.attempts.append(Attempt(operation: operation, slot: slot))
        let attempt = self.attempts.count - 1
        self.world.schedule(
            .request(attempt: attempt), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
        self.world.schedule(.clientTimeout(attempt: attempt), at: self.world.now + self.patience)
    }

    /// From level 1 on two clients are two threads of one process: they share its number and its sequence, so that several
    /// writes of one requester are under way at a time.
    static func requester(of client: Int) -> Int { client / 2 }

    /// The operation that writes this value.
    func request(writing value: UInt64) -> ClientRequest? {
        guard value > 0, value <= UInt64(self.operations.count) else { return nil }
        let request = self.operations[Int(value) - 1].request
        return request.value == value ? request : nil
    }

    /// The lowest sequence that a client's requester still waits for.
    func lowestOutstanding(beside request: ClientRequest) -> UInt64 {
        var lowest = request.sequence
        for other in self.clients.indices where Self.requester(of: other) == Self.requester(of: request.client) {
            guard let operation = self.clients[other].operation else { continue }
            let request = self.operations[operation].request
            if !request.isRead, !request.isUnnumbered { lowest = min(lowest, request.sequence) }
        }
        return lowest
    }

    /// A server says that a result is no longer kept: only what nobody waits for may be forgotten.
    func forgotten(attempt: Int) {
        let operation = self.attempts[attempt].operation
        let request = self.operations[operation].request
        let isWaitedFor = self.clients[request.client].operation == operation
        self.world.checkForgotten(isWaitedFor: isWaitedFor, requester: request.client, request.sequence)
    }

    private var patience: UInt64 { self.world.isHealed ? 2 * SwarmOptions.second : self.world.options.patience }

    /// A request reaches its server.
    func arrive(attempt: Int) {
        let slot = self.attempts[attempt].slot
        let node = self.world.nodes[slot]
        guard node.isUp else { return self.answered(attempt: attempt, .refused(leader: nil)) }
        // A stopped process reads it once it goes on.
        if self.world.waits(for: slot, .request(attempt: attempt)) { return }
        if self.attempts[attempt].isOver, self.random.chance(0.5) { return }
        let request = self.operations[self.attempts[attempt].operation].request
        self.world.record(.request, slot: slot, UInt64(attempt), UInt64(request.kind.rawValue), request.value)
        self.attempts[attempt].wasSubmitted = true
        let floor = self.staleFloors[self.floorPlace(attempt)]
        if floor.epoch == node.epoch { self.attempts[attempt].floor = floor.applied }
        self.operations[self.attempts[attempt].operation].possible += 1
        node.submit(request, attempt: attempt)
    }

    /// A server has answered; the answer is on its way.
    func answered(attempt: Int, _ result: ClientResult) {
        guard self.attempts[attempt].result == nil else { return }
        self.attempts[attempt].result = result
        if case .refused = result, self.attempts[attempt].wasSubmitted {
            self.operations[self.attempts[attempt].operation].possible -= 1
        }
        self.noteStaleRead(attempt, result)
        self.world.schedule(
            .response(attempt: attempt), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
    }

    func respond(attempt: Int) {
        guard !self.attempts[attempt].isOver, let result = self.attempts[attempt].result else { return }
        self.attempts[attempt].isOver = true
        self.settle(attempt, result)
    }

    func timeOut(attempt: Int) {
        guard !self.attempts[attempt].isOver else { return }
        self.attempts[attempt].isOver = true
        self.world.record(.timedOut, slot: self.attempts[attempt].slot, UInt64(attempt))
        self.settle(attempt, .uncertain)
    }

    private func settle(_ attempt: Int, _ result: ClientResult) {
        let operation = self.attempts[attempt].operation
        let client = self.operations[operation].request.client
        self.world.record(.response, slot: self.attempts[attempt].slot, UInt64(attempt), self.code(result))
        switch result {
        case .written, .found: self.finish(operation, result, slot: self.attempts[attempt].slot)
        case .refused(let leader):
            self.clients[client].leader = leader.flatMap { self.world.slot(of: $0) }
            self.retry(operation, isUncertain: false)
        case .uncertain:
            self.clients[client].leader = nil
            self.retry(operation, isUncertain: true)
        }
    }

    private func retry(_ operation: Int, isUncertain: Bool) {
        let client = self.operations[operation].request.client
        let age = self.world.now - self.operations[operation].call
        if self.operations[operation].request.isUnnumbered, self.operations[operation].possible > 0 || isUncertain {
            // Asked again, it would be another write.
            return self.finish(operation, nil, slot: nil)
        }
        if age > 4 * self.patience || self.clients[client].attempts >= 40 || self.isStopped && age > self.patience {
            self.finish(operation, nil, slot: nil)
        } else {
            let pause = 2 * SwarmOptions.millisecond + self.random.exponential(mean: 40 * SwarmOptions.millisecond)
            self.world.schedule(.clientWake(client: client), at: self.world.now + pause)
        }
    }

    private func finish(_ operation: Int, _ result: ClientResult?, slot: Int?) {
        let request = self.operations[operation].request
        self.operations[operation].isOver = true
        self.operations[operation].result = result
        self.operations[operation].returned = result == nil ? nil : self.world.now
        switch result {
        case .written(let ok, let index):
            self.world.tally.writes += 1
            self.clients[request.client].leader = slot
            if ok, index > 0, request.kind == .put || request.kind == .cas {
                self.clients[request.client].indexes[request.key] = index
            }
            self.checkWritten(request, ok: ok, index: index)
        case .found(let value, let modifyIndex, let applied):
            self.world.tally.reads += 1
            self.clients[request.client].indexes[request.key] = modifyIndex
            self.check(request.key, holds: value, of: modifyIndex, at: applied)
        case .refused, .uncertain, nil: self.world.tally.unknowns += request.isRead ? 0 : 1
        }
        self.clients[request.client].operation = nil
        let pause = self.random.exponential(
            mean: self.world.isHealed ? 50 * SwarmOptions.millisecond : self.world.options.thinkTime)
        self.world.schedule(.clientWake(client: request.client), at: self.world.now + 1_000 + pause)
    }

    private func code(_ result: ClientResult) -> UInt64 {
        switch result {
        case .written(let ok, let index): index << 2 | (ok ? 1 : 0)
        case .found(let value, _, let applied): applied << 32 ^ (value ?? 0) << 2 ^ 2
        case .refused: 3
        case .uncertain: 7
        }
    }

    // MARK: - I12, I13, I22: what the one history says

    /// Some server applied this write; the first to do so tells.
    func applied(_ request: ClientRequest, ok: Bool, index: UInt64) {
        guard index > self.newestApplied else { return }
        self.newestApplied = index
        if let before = self.effects[request.value] {
            self.world.invariants.fail(
                "I12", "write \(request.value) is applied at \(before.index) and again at \(index)")
        }
        self.effects[request.value] = Effect(index: index, ok: ok)
        guard ok else { return }
        let isDelete = request.kind == .delete || request.kind == .deleteCAS
        self.versions[request.key].append((index, isDelete ? nil : request.value))
    }

    private func checkWritten(_ request: ClientRequest, ok: Bool, index: UInt64) {
        guard let effect = self.effects[request.value] else {
            self.world.invariants.fail("I12", "write \(request.value) was acknowledged at \(index) and never applied")
            return
        }
        if index > 0 && effect.index != index || effect.ok != ok {
            self.world.invariants.fail(
                "I12",
                "write \(request.value) was acknowledged as (\(ok), \(index)), applied as (\(effect.ok), \(effect.index))"
            )
        }
    }

    /// Every read, stale ones too, must show exactly the state at the index it names.
    func check(_ key: Int, holds value: UInt64?, of modifyIndex: UInt64, at applied: UInt64) {
        let versions = self.versions[key]
        var (low, high) = (0, versions.count)
        while low < high {
            let middle = (low + high) / 2
            if versions[middle].index <= applied { low = middle + 1 } else { high = middle }
        }
        let version = low > 0 ? versions[low - 1] : (index: 0, value: nil)
        if version.value != value || (value != nil && version.index != modifyIndex) {
            self.world.invariants.fail(
                "I13",
                "key \(key) at \(applied) holds \(String(describing: version)), a read found"
                    + " \(String(describing: value)) of \(modifyIndex)")
        }
    }

    private func noteStaleRead(_ attempt: Int, _ result: ClientResult) {
        guard case .found(_, _, let applied) = result else { return }
        let slot = self.attempts[attempt].slot
        if applied > self.world.invariants.committed {
            self.world.invariants.fail("I13", "s\(slot) shows a state at \(applied), which is not committed")
        }
        let (epoch, place) = (self.world.nodes[slot].epoch, self.floorPlace(attempt))
        let known = self.staleFloors[place].epoch == epoch ? self.staleFloors[place].applied : 0
        // Above level 1 answers that are made at the same time may come in any order.
        let floor = self.world.level >= 2 ? self.attempts[attempt].floor : known
        if applied < floor { self.world.invariants.fail("I13", "s\(slot) shows \(applied) after it showed \(floor)") }
        self.staleFloors[place] = (epoch, max(known, applied))
    }

    private func floorPlace(_ attempt: Int) -> Int {
        let key = self.operations[self.attempts[attempt].operation].request.key
        return self.attempts[attempt].slot * self.world.options.keys + (self.world.level >= 2 ? key : 0)
    }

    /// The checks that need the whole run.
    func checkHistory() {
        for operation in self.operations where !operation.request.isRead {
            let effect = self.effects[operation.request.value]
            if case .written = operation.result, effect == nil {
                self.world.invariants.fail("I22", "write \(operation.request.value) was acknowledged and is lost")
            }
            if operation.possible == 0, effect != nil {
                self.world.invariants.fail(
                    "I12", "write \(operation.request.value) was refused each time and is applied")
            }
        }
        self.checkLinearizability()
    }

    private func checkLinearizability() {
        let checker = LinearizabilityChecker(model: KVRegister(), budget: 2_000_000)
        switch checker.check(self.operations.compactMap { self.historyOperation($0) }) {
        case .linearizable: break
        case .violation(let violation):
            self.world.invariants.fail(
                "I13", "key \(violation.key) is not linearizable: \(violation.unplaced.count) operations fit nowhere")
        case .unknown(let key): self.world.invariants.fail("I13", "the check of key \(key) ran out of budget")
        }
    }

    private func historyOperation(_ operation: Operation) -> HistoryOperation<KVRegister.Input, KVRegister.Output>? {
        let request = operation.request
        let input: KVRegister.Input
        switch request.kind {
        case .staleGet: return nil
        case .get: input = .get
        case .put: input = .put("\(request.value)")
        case .delete: input = .delete
        case .cas: input = .cas(index: request.expectedIndex, value: "\(request.value)")
        case .deleteCAS: input = .deleteCAS(index: request.expectedIndex)
        }
        var output: KVRegister.Output?
        var position: UInt64?
        switch operation.result {
        case .written(let ok, let index):
            let sets = ok && (request.kind == .put || request.kind == .cas)
            output = .done(ok, index: sets && index > 0 ? index : nil)
            position = index > 0 ? index : self.effects[request.value]?.index
        case .found(let value, let modifyIndex, let applied):
            output = .value(value.map { "\($0)" }, index: modifyIndex)
            position = applied
        case .refused, .uncertain, nil:
            // A read that failed says nothing; a write may have happened, and the log knows.
            guard !request.isRead, let effect = self.effects[request.value], effect.ok else {
                return nil
            }
            position = effect.index
        }
        return HistoryOperation(
            client: request.client, key: "\(request.key)", call: operation.call, returned: operation.returned,
            input: input, output: output, position: position, isRead: request.isRead)
    }
}
