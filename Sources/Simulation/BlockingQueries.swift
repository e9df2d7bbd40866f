import HTTPAPI
import Registry
import Units

/// I26: clients that wait for changes through HTTP, level 2. Each asks one server about one thing over and over, with the
/// index of the answer before, and now and then goes away in the middle.
final class BlockingQueries {
    enum Subject {
        case key(Int), lock(Int), tree, names, sessions, sessionsOfHost, nodes, services, instances, health
    }
    private struct Client {
        var subject: Subject
        var slot: Int
        var mode: Consistent
        /// Of the last answer; 0: it starts anew.
        var index: UInt64 = 0
        /// The process that gave it.
        var server = 0
        var query: Int?
    }
    /// What the query says of its consistency.
    private enum Consistent: String { case stale = "?stale", plain = "?", consistent = "?consistent" }

    private struct Query {
        var client: Int
        var slot: Int
        var index: UInt64
        var wait: UInt64
        var server = 0
        /// By the world's clock, and by the server's.
        var arrivedAt: UInt64 = 0
        var arrived = Instant.start
        /// Since when its answer is overdue in `bound` from then; nil while it may wait.
        var dueSince: UInt64?
        /// It came to a server that could show its state.
        var isReady = false
        /// What the server had to tell when it was first asked.
        var seen: Sight?
        var task: Task<Void, Never>?
        var answer: HTTPAnswer?
        var isOver = false
    }

    private unowned let world: World
    private var random: SimulationRandom
    private var clients: [Client] = []
    private var queries: [Query] = []
    /// Those that servers work on.
    private var open: [Int] = []
    private var isStopped = false
    /// Old tombstones are collected by the leader's clock: one that jumps takes prefixes' indexes back.
    private let clocksAgree: Bool

    init(world: World) {
        self.world = world
        self.random = SimulationRandom(seed: world.seed, concern: "queries")
        self.clocksAgree = world.options.wallSkew < 10 * 60 * SwarmOptions.second
    }

    func begin() {
        for number in 0..<self.world.options.waiters {
            let subjects: [Subject] = [
                .key(self.random.below(self.world.options.keys)), .lock(self.random.below(self.world.options.lockKeys)),
                .tree, .names, .sessions, .sessionsOfHost, .nodes, .services, .instances, .health,
            ]
            let mode: Consistent = [.stale, .stale, .plain, .consistent][self.random.below(4)]
            self.clients.append(
                Client(
                    subject: self.random.chance(0.4) ? subjects[0] : subjects[self.random.below(subjects.count)],
                    slot: self.random.below(self.world.nodes.count), mode: mode))
            self.world.schedule(.queryWake(number), at: self.random.within(0...SwarmOptions.second))
        }
    }

    func stop() { self.isStopped = true }

    var isIdle: Bool { self.clients.allSatisfy { $0.query == nil } && self.open.isEmpty }

    // MARK: - A client's loop

    func wake(_ number: Int) {
        if self.isStopped || self.clients[number].query != nil { return }
        if self.random.chance(0.1) {
            self.clients[number].slot = self.world.someServer(&self.random)
            // Another server may be behind: who asks it for any state starts anew.
            if self.clients[number].mode == .stale { self.clients[number].index = 0 }
        }
        let client = self.clients[number]
        let wait = self.random.within(20...3_000) * SwarmOptions.millisecond
        self.queries.append(Query(client: number, slot: client.slot, index: client.index, wait: wait))
        let query = self.queries.count - 1
        self.clients[number].query = query
        self.world.schedule(.queryArrives(query), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
        let goesAway = self.random.chance(0.15)
        let patience = goesAway ? self.random.within(0...wait) : self.longest(query) + SwarmOptions.second
        self.world.schedule(.queryTimeout(query), at: self.world.now + patience + SwarmOptions.millisecond)
    }

    /// From its arrival on, an answer takes no longer: its time and a sixteenth, by a clock that may be slow. Where the state
    /// is not at hand, it is looked for twice.
    private func longest(_ number: Int) -> UInt64 {
        let wait = self.queries[number].wait
        let looks = self.isAtHand(number) ? 0 : 2 * self.world.options.readTimeout
        return (wait + wait / 16 + looks) * 5 / 4 + self.bound(number)
    }

    /// How long an answer may take once there is one to give, and what a client that has gone left behind may stay: where
    /// the state is not at hand, for as long as it is looked for.
    private func bound(_ number: Int) -> UInt64 {
        let looks = self.isAtHand(number) ? 0 : self.world.options.readTimeout + SwarmOptions.second
        return 8 * self.world.options.hop + 20 * SwarmOptions.millisecond + looks * 5 / 4
    }

    private func isAtHand(_ number: Int) -> Bool {
        self.queries[number].isReady && self.clients[self.queries[number].client].mode == .stale
    }

    private func target(_ query: Query) -> String {
        let client = self.clients[query.client]
        let path =
            switch client.subject {
            case .key(let key): "/v1/kv/key/\(key)"
            case .lock(let lock): "/v1/kv/lock/\(lock)"
            case .tree, .names: "/v1/kv/key/"
            case .sessions: "/v1/session/list"
            case .sessionsOfHost: "/v1/session/node/\(SessionModel.host(0))"
            case .nodes: "/v1/catalog/nodes"
            case .services: "/v1/catalog/services"
            case .instances: "/v1/catalog/service/web"
            case .health: "/v1/health/service/web"
            }
        var target = path + client.mode.rawValue
        if case .tree = client.subject { target += "&recurse" }
        if case .names = client.subject { target += "&keys" }
        if query.index > 0 { target += "&index=\(query.index)&wait=\(query.wait / 1_000_000)ms" }
        return target
    }

    /// A request reaches its server.
    func arrive(_ number: Int) {
        let slot = self.queries[number].slot
        if self.queries[number].isOver { return }
        guard let node = self.world.nodes[slot] as? ReplicaNode, let server = node.server else {
            return self.finish(number)
        }
        if self.world.waits(for: slot, .queryArrives(number)) { return }
        self.queries[number].server = server.number
        self.queries[number].arrivedAt = self.world.now
        self.queries[number].arrived = server.time.now
        self.queries[number].isReady = server.view(mustBeReady: true) != nil
        self.open.append(number)
        self.world.record(.request, slot: slot, UInt64(number), self.queries[number].index, note: "waits")
        let request = HTTPRequestText("GET", self.target(self.queries[number]))
        let task = server.exchange(request.bytes) { [unowned self] answer in self.reply(number, answer, request) }
        self.queries[number].task = task
        if self.queries[number].isReady {
            self.expect(number, server.published.withLock { $0.registry })
        }
    }

    /// A server has a newer state.
    func published(at slot: Int, _ registry: Registry) {
        for number in self.open where self.queries[number].slot == slot { self.expect(number, registry) }
    }

    /// Whoever asks for what is after an older index must be answered now, and whoever waits when there is something else to tell.
    private func expect(_ number: Int, _ registry: Registry) {
        let query = self.queries[number]
        guard query.dueSince == nil, query.answer == nil else { return }
        let client = self.clients[query.client]
        if let seen = query.seen, !seen.hasChanged(registry) { return }
        let now = self.look(client.subject, registry)
        self.queries[number].seen = now
        // The index of what is not there moves with others' changes, which wake nobody: an older one is no change.
        if query.index > 0, now.index <= query.index { return }
        self.queries[number].dueSince = self.world.now
        self.world.schedule(.queryDue(number), at: self.world.now + self.bound(number))
    }

    func checkDue(_ number: Int) {
        let query = self.queries[number]
        let bound = self.bound(number)
        guard let since = query.dueSince, query.answer == nil, self.isServed(query), self.world.now >= since + bound
        else { return }
        // A process that was stopped has had less time.
        if self.world.isPaused[query.slot] >= since {
            let start = max(self.world.now, self.world.isPaused[query.slot]) + 1
            self.queries[number].dueSince = start
            self.world.schedule(.queryDue(number), at: start + bound)
            return
        }
        let why = query.isOver ? "whose client is gone" : "which has had an answer"
        self.world.invariants.fail(
            "I26", "s\(query.slot) leaves \(self.target(query)) waiting, \(why) since \(since / 1_000_000) ms")
    }

    private func isServed(_ query: Query) -> Bool {
        (self.world.nodes[query.slot] as? ReplicaNode)?.server?.number == query.server
    }

    private func reply(_ number: Int, _ answer: HTTPAnswer, _ request: HTTPRequestText) {
        self.open.removeAll { $0 == number }
        if !self.queries[number].isOver { self.checkLate(number) }
        self.queries[number].answer = answer
        let query = self.queries[number]
        // Nobody is there any more.
        if query.isOver { return }
        self.world.record(.response, slot: query.slot, UInt64(number), UInt64(answer.status), answer.index ?? 0)
        switch answer.status {
        case 200, 404: self.check(query, answer)
        case 429, 500, 503: break
        default:
            self.world.invariants.fail("I25", "\(request.target) is answered with \(answer.status): \(answer.text)")
        }
        self.world.schedule(
            .queryAnswered(number), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
    }

    func answered(_ number: Int) {
        let query = self.queries[number]
        guard !query.isOver, let answer = query.answer else { return }
        if let index = answer.index {
            self.clients[query.client].index = index
            self.clients[query.client].server = query.server
            if query.index > 0, index > query.index { self.world.tally.wakeups += 1 }
        }
        self.finish(number)
    }

    /// The client goes away, or has waited for longer than any answer may take.
    func timeOut(_ number: Int) {
        let query = self.queries[number]
        if query.isOver { return }
        if query.answer == nil { self.checkLate(number) }
        if let task = query.task, query.answer == nil {
            // What it waited for is let go of at once.
            task.cancel()
            self.queries[number].dueSince = self.world.now
            self.world.schedule(.queryDue(number), at: self.world.now + self.bound(number))
        }
        self.finish(number)
    }

    private func checkLate(_ number: Int) {
        let query = self.queries[number]
        guard query.arrivedAt > 0, self.isServed(query), self.world.isPaused[query.slot] < query.arrivedAt,
            self.world.now > query.arrivedAt + self.longest(number)
        else { return }
        self.world.invariants.fail(
            "I26", "s\(query.slot) has worked on \(self.target(query)) since \(query.arrivedAt / 1_000_000) ms")
    }

    /// The process is gone, and its connections with it.
    func ended(at slot: Int) {
        let gone = self.open.filter { self.queries[$0].slot == slot }
        self.open.removeAll { gone.contains($0) }
        for number in gone where !self.queries[number].isOver { self.finish(number) }
    }

    private func finish(_ number: Int) {
        self.queries[number].isOver = true
        self.queries[number].task = nil
        self.queries[number].seen = nil
        let client = self.queries[number].client
        self.clients[client].query = nil
        self.world.schedule(
            .queryWake(client),
            at: self.world.now + 1_000 + self.random.exponential(mean: 100 * SwarmOptions.millisecond))
    }

    // MARK: - What an answer must be

    private func check(_ query: Query, _ answer: HTTPAnswer) {
        let client = self.clients[query.client]
        func fail(_ text: String) {
            self.world.invariants.fail("I26", "s\(query.slot), \(self.target(query)): \(text)")
        }
        guard let index = answer.index else { return fail("an answer without an index") }
        if index > self.world.invariants.committed { fail("shows a state at \(index), which is not committed") }
        var mayGoBack = false
        if case .tree = client.subject { mayGoBack = !self.clocksAgree }
        if case .names = client.subject { mayGoBack = !self.clocksAgree }
        if query.index > 0, index <= query.index, !mayGoBack,
            let server = (self.world.nodes[query.slot] as? ReplicaNode)?.server
        {
            // Nothing new: then the time must be over.
            let waited = server.time.now.since(query.arrived).rawValue + 1_000
            if waited < query.wait {
                fail("answers \(index) after \(waited / 1_000_000) ms, not \(query.wait / 1_000_000)")
            }
        }
        let isSame = client.mode != .stale || client.server == query.server
        if isSame, index < client.index, !mayGoBack { fail("the index goes from \(client.index) back to \(index)") }
        switch client.subject {
        case .key(let key):
            guard case .found(let value, let modifyIndex, _)? = HTTPClients.found(answer, key: key) else {
                return fail("says \(answer.text)")
            }
            self.world.clients.check(key, holds: value, of: modifyIndex, at: index)
        case .tree:
            guard let rows = answer.status == 404 ? [] : answer.json?.elements else {
                return fail("says \(answer.text)")
            }
            let found = rows.compactMap { HTTPClients.row($0) }
            if found.count != rows.count { fail("says \(answer.text)") }
            for key in 0..<self.world.options.keys {
                let row = found.first { $0.key == key }
                self.world.clients.check(key, holds: row?.value, of: row?.modifyIndex ?? 0, at: index)
            }
        case .lock, .names, .sessions, .sessionsOfHost, .nodes, .services, .instances, .health:
            if answer.status == 200, answer.json == nil { fail("says \(answer.text)") }
        }
    }

    /// What there is to tell now.
    private func look(_ subject: Subject, _ registry: Registry) -> Sight {
        let (prefix, host) = (ByteKey("key/"), SessionModel.host(0))
        return switch subject {
        case .key(let key): Sight(registry) { $0.kvEntry(Oracle.key(key)) }
        case .lock(let lock): Sight(registry) { $0.kvEntry(SessionModel.key(lock)) }
        case .tree: Sight(registry) { $0.kvEntries(prefix: prefix) }
        case .names: Sight(registry) { $0.kvKeys(prefix: prefix) }
        case .sessions: Sight(registry) { $0.allSessions() }
        case .sessionsOfHost: Sight(registry) { $0.sessions(onNode: host) }
        case .nodes: Sight(registry) { $0.allNodes() }
        case .services: Sight(registry) { $0.allServices() }
        case .instances: Sight(registry) { $0.instances(ofService: "web") }
        case .health: Sight(registry) { $0.health(ofService: "web") }
        }
    }

    /// An answer as it was once, to be compared with a later one.
    private struct Sight {
        var index: UInt64
        var hasChanged: (Registry) -> Bool

        init<Value: Equatable & Sendable>(_ registry: Registry, _ query: @escaping (Registry) -> Answer<Value>) {
            let before = query(registry)
            self.index = before.index
            self.hasChanged = { query($0).value != before.value }
        }
    }
}
