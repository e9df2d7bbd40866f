import Raft
import Units

/// Everything there is in a run: servers, network, clients, an operator, a source of faults, and a clock that jumps
/// from event to event. One seed determines all of it.
final class World {
    /// Servers are told the time this often.
    static let tickGap: UInt64 = 10 * SwarmOptions.millisecond

    /// Far above what a healthy run needs: beyond lies a storm of messages.
    static let eventsMax: UInt64 = 3_000_000

    let seed: UInt64
    let level: Int
    let options: SwarmOptions
    /// A state machine that is broken on purpose, to prove that a broken one is reported.
    let hasCanary: Bool

    private(set) var now: UInt64 = 0
    private var queue = EventQueue()
    private(set) var trace: Trace
    var tally = Tally()
    var nodeRandom: SimulationRandom
    private(set) var isHealed = false

    let invariants = Invariants()
    private(set) var nodes: [any SimulatedNode] = []
    private(set) var network: Network!
    private(set) var clients: Clients!
    private(set) var administrator: Administrator!
    private(set) var faults: Faults!
    private(set) var oracle: Oracle!
    private(set) var holders: Holders!
    private(set) var queries: BlockingQueries!

    /// Until when each process is stopped, and what waits for it to go on.
    private(set) var isPaused: [UInt64] = []
    private var deferred: [[EventQueue.Event]] = []
    private var isDown: [Bool] = []
    private var incarnations: [UInt64] = []
    private var serversMade = 0

    init(seed: UInt64, level: Int, options: SwarmOptions, canary: Bool, traceCapacity: Int, echo: ((String) -> Void)?) {
        self.seed = seed
        self.level = level
        self.options = options
        self.hasCanary = canary
        self.trace = Trace(capacity: traceCapacity)
        self.nodeRandom = SimulationRandom(seed: seed, concern: "nodes")
        if let echo { self.trace.echo = { echo($0.description) } }
        self.invariants.witnessMayLag = options.faults.contains(.fullDisk)
        let slots = options.servers + options.spares
        self.isPaused = Array(repeating: 0, count: slots)
        self.deferred = Array(repeating: [], count: slots)
        self.isDown = Array(repeating: false, count: slots)
        self.incarnations = Array(repeating: 1, count: slots)
        self.network = Network(world: self, slots: slots)
        self.clients = Clients(world: self)
        self.administrator = Administrator(world: self)
        self.faults = Faults(world: self)
        self.oracle = Oracle(world: self)
        self.holders = Holders(world: self)
        self.queries = BlockingQueries(world: self)
        for slot in 0..<slots {
            let id = Self.identity(slot: slot, incarnation: 1)
            self.invariants.subjects.append(Invariants.Subject(id: id))
            self.nodes.append(self.makeNode(slot: slot, id: id))
        }
    }

    private func makeNode(slot: Int, id: NodeID) -> any SimulatedNode {
        self.level == 0 ? CoreNode(world: self, slot: slot, id: id) : ReplicaNode(world: self, slot: slot, id: id)
    }

    static func identity(slot: Int, incarnation: UInt64) -> NodeID { NodeID(incarnation << 8 | UInt64(slot + 1)) }

    func slot(of id: NodeID) -> Int? {
        let slot = Int(id.rawValue & 0xFF) - 1
        return self.nodes.indices.contains(slot) && self.nodes[slot].id == id ? slot : nil
    }

    func member(_ slot: Int) -> Member {
        Member(id: self.nodes[slot].id, name: "server-\(slot)", address: "10.0.0.\(slot + 1):8300")
    }

    // MARK: - What nodes and the rest ask of the world

    func schedule(_ event: EventQueue.Event, at time: UInt64) { self.queue.push(event, at: time) }

    func record(
        _ kind: Trace.Kind, slot: Int = -1, peer: Int = -1, _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0,
        note: StaticString = ""
    ) {
        self.trace.add(kind, at: self.now, slot: slot, peer: peer, a, b, c, note: note)
    }

    func send(_ message: Message, from slot: Int, frame: [UInt8] = []) {
        guard let to = self.slot(of: message.to), to != slot else { return }
        if case .append(let append) = message.body { self.tally.entriesSent += append.entries.count }
        self.record(
            .sent, slot: slot, peer: to, MessageDigest.code(message), message.term.rawValue,
            note: MessageDigest.name(message))
        self.network.send(Network.Parcel(from: slot, to: to, content: .message(message), frame: frame))
    }

    /// A call was lost, and its connection with it: the caller notices after a while.
    func lost(_ parcel: Network.Parcel, after time: UInt64 = SimulatedServer.silence) {
        guard case .call(let call) = parcel.content else { return }
        self.schedule(.callLost(slot: call.caller, server: call.server, number: call.number), at: self.now + time)
    }

    /// Tokens of writes that nobody waits for.
    static let unheardToken: UInt64 = 1 << 60

    func respond(attempt: Int, _ result: ClientResult) {
        if attempt < Int(Self.unheardToken) { self.clients.answered(attempt: attempt, result) }
    }

    /// Dedup's promise: a result is kept for as long as its requester waits for it. (An hour by the leader's clock is the
    /// one limit, which a leader whose clock is far ahead brings about early.)
    func checkForgotten(isWaitedFor: Bool, requester: Int, _ sequence: UInt64) {
        guard isWaitedFor, self.options.wallSkew < 45 * 60 * SwarmOptions.second else { return }
        self.invariants.fail(
            "I12", "the result of \(requester)'s write \(sequence) is forgotten while it is waited for")
    }

    func traced(_ event: TraceEvent, slot: Int) {
        switch event {
        case .becameLeader(let term):
            self.tally.elections += 1
            self.record(.role, slot: slot, term.rawValue, note: "leader")
            self.invariants.becameLeader(slot: slot, term: term.rawValue)
        case .becameCandidate(let term): self.record(.role, slot: slot, term.rawValue, note: "candidate")
        case .becamePreCandidate(let term): self.record(.role, slot: slot, term.rawValue, note: "pre-candidate")
        case .becameFollower(let term, let leader):
            self.record(.role, slot: slot, term.rawValue, leader?.rawValue ?? 0, note: "follower")
        case .steppedDown(let term, _): self.record(.role, slot: slot, term.rawValue, note: "stepped down")
        case .configurationAppended(let configuration, let index):
            self.record(
                .configuration, slot: slot, index.rawValue, UInt64(configuration.voters.count), note: "appended")
        case .configurationCommitted(_, let index):
            self.record(.configuration, slot: slot, index.rawValue, note: "committed")
        case .configurationRolledBack(_, let index):
            self.record(.configuration, slot: slot, index.rawValue, note: "rolled back")
        case .quarantineLifted(let index):
            self.record(.amnesia, slot: slot, index.rawValue, note: "healed")
            self.invariants.quarantineLifted(slot: slot)
        case .snapshotSendStarted, .snapshotInstalled, .leaderChanged, .ignored: break
        }
    }

    /// How long servers gather inputs now.
    var gather: UInt64 {
        self.isHealed ? min(self.options.gather, 3 * SwarmOptions.millisecond) : self.options.gather
    }

    /// How long what is ready waits for a thread, at most.
    var hop: UInt64 { self.isHealed ? min(self.options.hop, SwarmOptions.millisecond) : self.options.hop }

    func nextServerNumber() -> Int {
        self.serversMade += 1
        return self.serversMade
    }

    func drawClockRate() -> Double {
        let range = self.options.clockRates
        let share = Double(self.nodeRandom.below(1001)) / 1000
        return range.lowerBound + (range.upperBound - range.lowerBound) * share
    }

    func diskLatency(factor: UInt64) -> UInt64 {
        if self.isHealed { return 50_000 + self.nodeRandom.exponential(mean: 300_000) }
        var latency = 30_000 + self.nodeRandom.exponential(mean: self.options.diskLatency)
        if self.nodeRandom.chance(self.options.diskTailChance) {
            latency += self.nodeRandom.exponential(mean: 500 * SwarmOptions.millisecond)
        }
        return latency * factor
    }

    /// The canary: one server's state machine goes wrong from entry 20 on.
    func stateHash(_ hash: UInt64, slot: Int, at index: UInt64) -> UInt64 {
        self.hasCanary && slot == 0 && index >= 20 ? hash ^ 1 : hash
    }

    // MARK: - Servers that come and go

    func nodeIsDown(_ slot: Int) {
        self.isDown[slot] = true
        self.queries.ended(at: slot)
    }

    func scheduleRestart(_ slot: Int, after delay: UInt64? = nil) {
        let pause = delay ?? self.nodeRandom.exponential(mean: 2 * SwarmOptions.second)
        self.schedule(.restart(slot: slot, epoch: self.nodes[slot].epoch), at: self.now + pause)
    }

    func wipe(_ slot: Int) {
        self.incarnations[slot] += 1
        self.nodes[slot].wipe(newID: Self.identity(slot: slot, incarnation: self.incarnations[slot]))
    }

    var downCount: Int { self.nodes.reduce(0) { $0 + ($1.isUp ? 0 : 1) } }

    /// The server that leads in the newest term; nil when none does.
    var leader: Int? {
        var best: (slot: Int, term: UInt64)?
        for node in self.nodes where node.isUp {
            let status = node.status
            if status.role == .leader, status.term > best?.term ?? 0 { best = (node.slot, status.term) }
        }
        return best?.slot
    }

    /// Level 2: whom a client asks that has no favourite. A server that is no member keeps it waiting, as it would: that is
    /// worth little of a run.
    func someServer(_ random: inout SimulationRandom) -> Int {
        let anyone = random.below(self.nodes.count)
        let isStray = random.chance(self.isHealed ? 0 : 0.05)
        let configuration = self.leader.map { self.nodes[$0].configuration } ?? .empty
        let members = configuration.voters.compactMap { self.slot(of: $0.id) }
        return isStray || members.isEmpty ? anyone : members[random.below(members.count)]
    }

    // MARK: - The run

    func begin() {
        let founders = (0..<self.options.servers).map { self.member($0) }
        let configuration = Configuration(voters: founders)
        for slot in self.nodes.indices {
            if slot < self.options.servers { self.nodes[slot].found(configuration) }
            self.nodes[slot].start()
        }
        self.clients.begin()
        if self.level >= 1 { self.holders.begin() }
        if self.level >= 2 { self.queries.begin() }
        if self.options.bulk > 0 { self.schedule(.bulk, at: SwarmOptions.second) }
        self.faults.begin()
        self.administrator.begin()
    }

    /// Goes on until `deadline`, the first broken invariant, or when `until` says so; it is asked after each tick.
    /// - Returns: whether `until` became true.
    @discardableResult
    func run(to deadline: UInt64, until: () -> Bool = { false }) -> Bool {
        while let item = self.queue.pop() {
            if item.time > deadline {
                self.queue.push(item.event, at: item.time)
                self.now = deadline
                return false
            }
            self.now = item.time
            self.invariants.now = item.time
            self.tally.events += 1
            if self.tally.events > Self.eventsMax {
                self.invariants.fail("I17", "\(Self.eventsMax) events in \(self.now / 1_000_000) ms: a storm")
            }
            self.dispatch(item.event)
            if self.invariants.finding != nil { return false }
            if case .tick = item.event, until() { return true }
        }
        return false
    }

    /// Many writes at once, which nobody waits for: they fill the pipelines.
    private func sendBulk() {
        if self.isHealed { return }
        if let leader = self.leader, self.isPaused[leader] <= self.now { self.nodes[leader].load(self.options.bulk) }
        self.schedule(.bulk, at: self.now + self.nodeRandom.exponential(mean: 4 * SwarmOptions.second))
    }

    /// Ends what would keep itself alive.
    func end() { for node in self.nodes { (node as? ReplicaNode)?.endServer() } }

    /// Ends every fault, present and to come.
    func heal() {
        self.isHealed = true
        self.record(.heal)
        self.network.heal()
        for slot in self.nodes.indices {
            self.isPaused[slot] = min(self.isPaused[slot], self.now)
            self.resume(slot)
            self.nodes[slot].diskFactor = 1
            self.nodes[slot].diskFull(false)
            self.nodes[slot].hurryDisk()
            if !self.nodes[slot].isUp { self.scheduleRestart(slot, after: self.nodeRandom.within(0...500_000_000)) }
        }
    }

    private func live(_ slot: Int, _ epoch: Int, _ event: EventQueue.Event) -> (any SimulatedNode)? {
        let node = self.nodes[slot]
        guard node.isUp, node.epoch == epoch else { return nil }
        // A stopped process sees nothing; when it goes on, everything is there at once.
        if self.isPaused[slot] > self.now {
            self.deferred[slot].append(event)
            return nil
        }
        return node
    }

    /// What comes for a stopped process from outside waits for it, too.
    func waits(for slot: Int, _ event: EventQueue.Event) -> Bool {
        guard self.isPaused[slot] > self.now else { return false }
        self.deferred[slot].append(event)
        return true
    }

    func pause(_ slot: Int, for length: UInt64) {
        self.isPaused[slot] = max(self.isPaused[slot], self.now + length)
        self.record(.paused, slot: slot, length)
        self.schedule(.resume(slot: slot), at: self.isPaused[slot])
    }

    /// What came while it was stopped is there at once, in order.
    private func resume(_ slot: Int) {
        guard self.isPaused[slot] <= self.now else { return }
        let events = self.deferred[slot]
        self.deferred[slot].removeAll()
        for event in events { self.schedule(event, at: self.now) }
    }

    private func dispatch(_ event: EventQueue.Event) {
        switch event {
        case .tick(let slot, let epoch): self.live(slot, epoch, event)?.tick()
        case .wake(let slot, let epoch): self.live(slot, epoch, event)?.wake()
        case .diskDone(let slot, let epoch, let ticket): self.live(slot, epoch, event)?.diskDone(ticket: ticket)
        case .later(let slot, let epoch, let work): self.live(slot, epoch, event)?.later(work)
        case .diskRecovers(let slot, let epoch): self.live(slot, epoch, event)?.diskFull(false)
        case .restart(let slot, let epoch):
            let node = self.nodes[slot]
            if !node.isUp, node.epoch == epoch {
                self.isDown[slot] = false
                node.start()
            }
        case .deliver(let place): self.deliver(place)
        case .request(let attempt): self.clients.arrive(attempt: attempt)
        case .response(let attempt): self.clients.respond(attempt: attempt)
        case .clientWake(let client): self.clients.wake(client)
        case .clientTimeout(let attempt): self.clients.timeOut(attempt: attempt)
        case .holderWake(let holder): self.holders.wake(holder)
        case .holderRequest(let attempt): self.holders.arrive(attempt: attempt)
        case .holderResponse(let attempt): self.holders.respond(attempt: attempt)
        case .holderTimeout(let attempt): self.holders.timeOut(attempt: attempt)
        case .holderRenewal(let holder, let session): self.holders.renew(holder, session: session)
        case .queryWake(let client): self.queries.wake(client)
        case .queryArrives(let query): self.queries.arrive(query)
        case .queryAnswered(let query): self.queries.answered(query)
        case .queryTimeout(let query): self.queries.timeOut(query)
        case .queryDue(let query): self.queries.checkDue(query)
        case .callLost(let slot, let server, let number): self.loseCall(slot, server, number)
        case .fault: if !self.isHealed { self.faults.strike() }
        case .carousel(let rounds, let since): if !self.isHealed { self.faults.turn(rounds: rounds, since: since) }
        case .partitionEnds(let number): self.network.endPartition(number)
        case .clog(let from, let to, let on): if !self.isHealed || !on { self.network.clog(from: from, to: to, on) }
        case .administrate: self.administrator.act()
        case .retire(let slot): self.administrator.retire(slot)
        case .resume(let slot): self.resume(slot)
        case .bulk: self.sendBulk()
        }
    }

    /// A stopped process finds its connection broken when it goes on.
    private func loseCall(_ slot: Int, _ server: Int, _ number: UInt64) {
        if self.waits(for: slot, .callLost(slot: slot, server: server, number: number)) { return }
        guard let caller = (self.nodes[slot] as? ReplicaNode)?.server, caller.number == server else { return }
        caller.finish(call: number, .failure(.connectionLost(reason: "nothing comes", sent: true)))
    }

    private func deliver(_ place: Int) {
        guard let parcel = self.network.take(place) else { return }
        let node = self.nodes[parcel.to]
        guard node.isUp else { return self.lost(parcel, after: SwarmOptions.millisecond) }
        if case .message(let message) = parcel.content, node.id != message.to { return }
        if self.isPaused[parcel.to] > self.now {
            self.network.putBack(parcel, place: place)
            self.deferred[parcel.to].append(.deliver(parcel: place))
            return
        }
        switch parcel.content {
        case .message(let message):
            self.record(
                .delivered, slot: parcel.to, peer: parcel.from, parcel.code, message.term.rawValue)
            node.receive(message, frame: parcel.frame, from: parcel.from)
        case .call(let call):
            self.record(.delivered, slot: parcel.to, peer: parcel.from, parcel.code)
            (node as? ReplicaNode)?.server?.receive(call, parcel.frame, from: parcel.from)
        }
    }
}
