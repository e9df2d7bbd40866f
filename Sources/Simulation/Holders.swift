import Protocol
import Raft
import Units

/// What a server answers to a client that holds locks.
enum HolderAnswer {
    case result(LogResult)
    /// A renewal: whether the session is still there.
    case renewed(Bool)
    /// Certainly not done.
    case refused(leader: NodeID?)
    /// May be done, may still be done.
    case uncertain
}

/// Clients with sessions and locks, level 1: each makes a session, renews it, locks and unlocks keys, lets its check turn
/// critical, and now and then dies, so that its session must expire. What they are told is held against `SessionModel`.
final class Holders {
    private struct Session {
        var id: String
        var ttl: UInt64
    }
    private struct Operation {
        var command: LogCommand
        var sequence: UInt64
        var began: UInt64
        var attempts = 0
    }
    private struct Holder {
        var sequence: UInt64 = 0
        var session: Session?
        var operation: Operation?
        var leader: Int?
        /// Its host is registered, as far as it knows, and its check passes.
        var isRegistered = false
        var sessionsMade = 0
    }
    private struct Attempt {
        var holder: Int
        var slot: Int
        /// Of the write; nil for a renewal, which names its session.
        var sequence: UInt64?
        var renews = ""
        var answer: HolderAnswer?
        var isOver = false
        var sentAt: UInt64 = 0
    }

    /// Tokens from here on are attempts of holders.
    static let firstToken: UInt64 = 1 << 61

    private unowned let world: World
    private var random: SimulationRandom
    private var holders: [Holder]
    private var attempts: [Attempt] = []
    private var isStopped = false
    /// When each session was last renewed by a leader in force, and by any.
    private var renewals: [String: UInt64] = [:]
    private var renewalsByAny: [String: UInt64] = [:]

    init(world: World) {
        self.world = world
        self.random = SimulationRandom(seed: world.seed, concern: "holders")
        self.holders = Array(repeating: Holder(), count: world.options.holders)
    }

    func begin() {
        for holder in self.holders.indices {
            self.world.schedule(.holderWake(holder), at: self.random.within(0...SwarmOptions.second))
        }
    }

    func stop() { self.isStopped = true }

    var isIdle: Bool { self.holders.allSatisfy { $0.operation == nil } }

    // MARK: - A holder's loop

    func wake(_ holder: Int) {
        if self.holders[holder].operation != nil {
            self.attempt(holder)
        } else if !self.isStopped, let command = self.nextCommand(holder) {
            self.holders[holder].sequence += 1
            self.holders[holder].operation = Operation(
                command: command, sequence: self.holders[holder].sequence, began: self.world.now)
            self.attempt(holder)
        } else if !self.isStopped {
            self.sleep(holder)
        }
    }

    private func sleep(_ holder: Int) {
        let pause = self.random.exponential(mean: 50 * SwarmOptions.millisecond)
        self.world.schedule(.holderWake(holder), at: self.world.now + SwarmOptions.millisecond + pause)
    }

    private func nextCommand(_ holder: Int) -> LogCommand? {
        var command = LogCommand()
        guard self.holders[holder].isRegistered else {
            command.register = self.registration(holder, status: "passing")
            return command
        }
        guard let session = self.holders[holder].session else {
            command.sessionCreate = self.newSession(holder)
            return command
        }
        let draw = self.random.below(100)
        let key = self.random.below(self.world.options.lockKeys)
        if draw < 84 {
            command.kvPut.key = .init(SessionModel.key(key).bytes)
            command.kvPut.value = .init(Array("\(holder)/\(self.random.below(3))".utf8))
            command.kvPut.mode = draw < 46 ? .putAcquire : draw < 74 ? .putRelease : .putSet
            if draw < 74 { command.kvPut.session = session.id }
        } else if draw < 88 {
            command.sessionDestroy.ids = [session.id]
        } else if draw < 91 {
            command.register = self.registration(holder, status: "critical")
        } else if draw < 92 {
            command.deregister.node = SessionModel.host(holder)
        } else if draw < 95, session.ttl > 0 {
            // It dies, and another one comes in its place.
            self.holders[holder].session = nil
            return nil
        } else {
            return nil
        }
        return command
    }

    private func registration(_ holder: Int, status: String) -> LogRegister {
        var register = LogRegister()
        register.node.name = SessionModel.host(holder)
        register.node.address = "10.1.0.\(holder + 1)"
        register.service.id = "web"
        register.service.name = "web"
        register.service.port = UInt32(8_000 + self.random.below(3))
        register.service.tags = ["v\(self.random.below(2))"]
        var check = LogCheck()
        check.node = register.node.name
        check.id = SessionModel.checkID
        check.name = SessionModel.checkID
        check.status = status
        register.checks = [check]
        return register
    }

    private func newSession(_ holder: Int) -> LogSessionCreate {
        self.holders[holder].sessionsMade += 1
        var create = LogSessionCreate()
        let number = "\(self.holders[holder].sessionsMade)"
        create.id = "0000000\(holder)-0000-4000-8000-\(String(repeating: "0", count: 12 - number.utf8.count))\(number)"
        create.node = SessionModel.host(holder)
        if self.random.chance(0.4) { create.nodeChecks = [SessionModel.checkID] }
        create.ttlNs = self.random.chance(0.8) ? self.random.within(10...40) * 100 * SwarmOptions.millisecond : 0
        create.lockDelayNs = self.random.chance(0.4) ? 0 : self.random.within(1...30) * 100 * SwarmOptions.millisecond
        create.behavior = self.random.chance(0.5) ? .sessionDelete : .sessionRelease
        return create
    }

    // MARK: - Attempts

    private func attempt(_ holder: Int) {
        guard let operation = self.holders[holder].operation else { return }
        self.holders[holder].operation?.attempts += 1
        self.send(Attempt(holder: holder, slot: self.target(holder), sequence: operation.sequence))
    }

    private func target(_ holder: Int) -> Int {
        let anywhere =
            self.world.level >= 2 ? self.world.someServer(&self.random) : self.random.below(self.world.nodes.count)
        return self.random.chance(0.1) ? anywhere : self.holders[holder].leader ?? anywhere
    }

    private func send(_ attempt: Attempt) {
        self.attempts.append(attempt)
        let number = self.attempts.count - 1
        self.attempts[number].sentAt = self.world.now
        self.world.schedule(
            .holderRequest(attempt: number), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
        self.world.schedule(.holderTimeout(attempt: number), at: self.world.now + self.patience)
    }

    private var patience: UInt64 { self.world.isHealed ? 2 * SwarmOptions.second : self.world.options.patience }

    /// A request reaches its server.
    func arrive(attempt number: Int) {
        let attempt = self.attempts[number]
        guard let node = self.world.nodes[attempt.slot] as? ReplicaNode else { return }
        guard node.isUp else { return self.answered(attempt: number, .refused(leader: nil)) }
        if self.world.waits(for: attempt.slot, .holderRequest(attempt: number)) { return }
        if let server = node.server { return self.ask(server, number) }
        let token = Self.firstToken + UInt64(number)
        if attempt.sequence == nil {
            node.take(.renewSession(token: token, id: attempt.renews))
        } else if let operation = self.holders[attempt.holder].operation, operation.sequence == attempt.sequence {
            var envelope = LogEnvelope()
            envelope.client = SessionModel.requester(attempt.holder)
            envelope.sequence = operation.sequence
            envelope.lowestOutstanding = operation.sequence
            envelope.command = operation.command
            self.world.record(.request, slot: attempt.slot, token, operation.sequence)
            node.take(.propose(token: token, envelope: envelope))
        }
    }

    /// Level 2: the same through HTTP.
    private func ask(_ server: SimulatedServer, _ number: Int) {
        let attempt = self.attempts[number]
        guard let sequence = attempt.sequence else { return server.renew(attempt.renews, attempt: number) }
        guard let operation = self.holders[attempt.holder].operation, operation.sequence == sequence else { return }
        self.world.record(.request, slot: attempt.slot, UInt64(number), sequence)
        server.submit(operation.command, holder: attempt.holder, sequence: sequence, attempt: number)
    }

    /// A server that leads, as far as it knows, has renewed a session.
    func renewed(_ id: String, at slot: Int) {
        self.renewalsByAny[id] = self.world.now
        if self.isInForce(slot) { self.renewals[id] = self.world.now }
    }

    /// A server has answered; the answer is on its way.
    func answered(attempt number: Int, _ answer: HolderAnswer) {
        guard self.attempts[number].answer == nil else { return }
        self.attempts[number].answer = answer
        let attempt = self.attempts[number]
        switch answer {
        case .renewed(true) where self.world.level < 2: self.renewed(attempt.renews, at: attempt.slot)
        case .renewed(true):
            if self.renewalsByAny[attempt.renews] ?? 0 < attempt.sentAt {
                self.world.invariants.fail(
                    "I15", "s\(attempt.slot) says that \(attempt.renews) is renewed; no leader did")
            }
        case .result(let result): self.checkResult(attempt, result)
        case .renewed, .refused, .uncertain: break
        }
        self.world.schedule(
            .holderResponse(attempt: number), at: self.world.now + 20_000 + self.random.exponential(mean: 200_000))
    }

    func respond(attempt number: Int) {
        guard !self.attempts[number].isOver, let answer = self.attempts[number].answer else { return }
        self.attempts[number].isOver = true
        self.settle(self.attempts[number], answer)
    }

    func timeOut(attempt number: Int) {
        guard !self.attempts[number].isOver else { return }
        self.attempts[number].isOver = true
        self.settle(self.attempts[number], .uncertain)
    }

    private func settle(_ attempt: Attempt, _ answer: HolderAnswer) {
        let holder = attempt.holder
        switch answer {
        case .refused(let leader): self.holders[holder].leader = leader.flatMap { self.world.slot(of: $0) }
        case .uncertain: self.holders[holder].leader = nil
        case .result, .renewed: self.holders[holder].leader = attempt.slot
        }
        if attempt.sequence == nil {
            if case .renewed(false) = answer, self.holders[holder].session?.id == attempt.renews {
                self.holders[holder].session = nil
            }
            return
        }
        guard let operation = self.holders[holder].operation, operation.sequence == attempt.sequence else { return }
        if case .result(let result) = answer {
            self.finish(holder, operation, result)
        } else if self.world.now - operation.began > 4 * self.patience || operation.attempts >= 40 {
            self.finish(holder, operation, nil)
        } else {
            let pause = 2 * SwarmOptions.millisecond + self.random.exponential(mean: 40 * SwarmOptions.millisecond)
            self.world.schedule(.holderWake(holder), at: self.world.now + pause)
        }
    }

    /// - Parameter result: nil when it was given up; whether it takes effect is then unknown.
    private func finish(_ holder: Int, _ operation: Operation, _ result: LogResult?) {
        self.holders[holder].operation = nil
        switch operation.command.kind {
        case .register(let register):
            if result != nil, register.checks.allSatisfy({ $0.status == "passing" }) {
                self.holders[holder].isRegistered = true
            } else {
                self.holders[holder].isRegistered = false
                self.holders[holder].session = nil
            }
        case .deregister:
            self.holders[holder].isRegistered = false
            self.holders[holder].session = nil
        case .sessionCreate(let create):
            if case .sessionID(let id)? = result?.kind {
                self.holders[holder].session = Session(id: id, ttl: create.ttlNs)
                self.renew(holder, session: id)
            }
        case .sessionDestroy: self.holders[holder].session = nil
        default:
            // The session that it names is gone.
            if case .failure? = result?.kind { self.holders[holder].session = nil }
        }
        self.sleep(holder)
    }

    /// Renews while the holder lives, three times in each TTL.
    func renew(_ holder: Int, session id: String) {
        guard !self.isStopped, let session = self.holders[holder].session, session.id == id, session.ttl > 0 else {
            return
        }
        self.send(Attempt(holder: holder, slot: self.target(holder), sequence: nil, renews: id))
        self.world.schedule(.holderRenewal(holder, session: id), at: self.world.now + session.ttl / 3)
    }

    // MARK: - I12, I15, I16

    /// What is acknowledged is what the committed entries came to.
    private func checkResult(_ attempt: Attempt, _ result: LogResult) {
        guard let sequence = attempt.sequence else { return }
        let told: SessionModel.Result
        switch result.kind {
        case .ok(let ok): told = .ok(ok)
        case .sessionID(let id): told = .session(id)
        case .failure(let failure):
            if failure.kind == .failureResultForgotten {
                self.world.checkForgotten(
                    isWaitedFor: self.holders[attempt.holder].operation?.sequence == sequence,
                    requester: attempt.holder,
                    sequence)
                return
            }
            told = .failure
        default:
            self.world.invariants.fail("I12", "holder \(attempt.holder) is answered \(result)")
            return
        }
        // A late answer to what it asked before its last question is not remembered.
        guard self.holders[attempt.holder].operation?.sequence == sequence else { return }
        let known = self.world.oracle.sessions.answer(holder: attempt.holder, sequence: sequence)
        // Through HTTP the index of a write is not always told.
        let index = self.world.level >= 2 && result.index == 0 ? known?.index : result.index
        if known?.result != told || known?.index != index {
            self.world.invariants.fail(
                "I16",
                "holder \(attempt.holder)'s write \(sequence) is answered \(told) at \(result.index), it came to"
                    + " \(String(describing: known))")
        }
    }

    /// A leader whose term is the newest that any server knows. One that has been overtaken may still take renewals, which
    /// bind nobody: whoever asks it is in the minority with it.
    private func isInForce(_ slot: Int) -> Bool {
        self.world.leader == slot
            && self.world.invariants.subjects.allSatisfy { $0.status.term <= self.world.nodes[slot].status.term }
    }

    /// It is committed that a leader has ended a session. Two of its TTLs must have passed on that leader's clock since it
    /// was made or renewed: one and a half at least, since clocks run fast by a quarter at most.
    func expired(_ session: SessionModel.Session, decidedAt: UInt64, createdAt: UInt64) {
        let since = max(createdAt, self.renewals[session.id] ?? 0)
        if session.ttl == 0 || decidedAt < since + session.ttl * 3 / 2 {
            self.world.invariants.fail(
                "I15",
                "session \(session.id) with a TTL of \(session.ttl / 1_000_000) ms, made or renewed at"
                    + " \(since / 1_000_000) ms, is ended at \(decidedAt / 1_000_000) ms")
        }
    }

    /// Long after the last renewal, no server holds a session whose time is up.
    func checkNoneOutlivedIts(ttlOn node: ReplicaNode) {
        for session in node.replica?.registry.allSessions().value ?? [] where session.ttl > .zero {
            self.world.invariants.fail("I15", "s\(node.slot) still holds session \(session.id), which nobody renews")
        }
    }
}
