import Protocol
import Registry
import Units

/// Random commands of every kind over few names, so that they meet; with retries and passing time.
struct CommandGenerator {
    var random: SeededGenerator
    private var sessions = 0
    private var sequences: [UInt64] = [0, 0, 0]
    private var sent: [LogEnvelope] = []

    init(seed: UInt64) { self.random = SeededGenerator(seed: seed) }

    mutating func key() -> String { self.random.pick(["a", "a/1", "a/2", "a/b/1", "a/b/2", "b", "b/1", "c/\u{E9}"]) }
    mutating func nodeName() -> String { self.random.pick(["n1", "n2", "N2", "n3"]) }
    mutating func nodeID() -> String { self.random.pick(["", "", "id-1", "id-2"]) }
    mutating func sessionID() -> String { "s\(self.random.below(max(1, self.sessions + 1)))" }
    mutating func checkID() -> String { self.random.pick(["serfHealth", "c1", "c2"]) }
    mutating func status() -> String { self.random.pick(["passing", "passing", "warning", "critical"]) }
    mutating func small() -> String { "\(self.random.below(4))" }

    /// Sometimes an envelope that was sent before.
    mutating func envelope(_ world: World) -> LogEnvelope {
        if !self.sent.isEmpty, self.random.chance(8) {
            var again = self.random.pick(self.sent)
            again.wallTimeNs = world.now
            return again
        }
        let client = self.random.below(4)
        var sequence: UInt64 = 0
        if client < 3 {
            self.sequences[client] += 1
            sequence = self.sequences[client]
        }
        let envelope = world.envelope(
            self.command(world), client: client < 3 ? UInt64(client) + 100 : 0, sequence: sequence,
            lowest: sequence > 6 ? sequence - 6 : 1, decided: self.random.chance(5) ? world.term - 1 : 0)
        self.sent.append(envelope)
        if self.sent.count > 12 { self.sent.removeFirst() }
        return envelope
    }

    mutating func command(_ world: World) -> LogCommand.OneOf_Kind {
        switch self.random.below(100) {
        case 0..<30: return .kvPut(self.put(world))
        case 30..<40: return .kvDelete(self.delete(world))
        case 40..<50: return .sessionCreate(self.session())
        case 50..<53:
            var destroy = LogSessionDestroy()
            destroy.ids = [self.sessionID(), self.sessionID()]
            return .sessionDestroy(destroy)
        case 53..<75: return .register(self.register())
        case 75..<80: return .deregister(self.deregister())
        case 80..<95: return .txn(self.txn(world))
        case 95..<97:
            var batch = LogBatch()
            for _ in 0..<3 { batch.commands.append(.with(.kvPut(self.put(world)))) }
            return .batch(batch)
        case 97:
            var level = LogSetFeatureLevel()
            level.level = UInt32(self.random.below(5))
            return .setFeatureLevel(level)
        case 98:
            var revoke = LogRevokeNode()
            revoke.nodeID = UInt64(self.random.below(5))
            revoke.name = "server"
            return .revokeNode(revoke)
        default: return .restoreBegin(self.restoreBegin())
        }
    }

    private mutating func restoreBegin() -> LogRestoreBegin {
        var begin = LogRestoreBegin()
        begin.id = self.random.next()
        begin.totalBytes = 10
        begin.sha256 = data("0123456789abcdef")
        return begin
    }

    /// The key's own index half of the time.
    private mutating func index(of key: String, _ world: World) -> UInt64 {
        self.random.chance(50) ? world.get(key)?.modifyIndex ?? 0 : UInt64(self.random.below(3))
    }

    mutating func put(_ world: World) -> LogKVPut {
        let key = self.key()
        let mode = self.random.pick([LogPutMode.putSet, .putSet, .putCas, .putAcquire, .putAcquire, .putRelease])
        return Make.put(
            key, self.small(), flags: UInt64(self.random.below(2)), mode: mode, index: self.index(of: key, world),
            session: self.sessionID())
    }

    mutating func delete(_ world: World) -> LogKVDelete {
        let key = self.key()
        let mode = self.random.pick([LogDeleteMode.deleteKey, .deleteKey, .deleteTree, .deleteCas])
        let target = mode == .deleteTree ? self.random.pick(["a/", "a/b", "b", "none"]) : key
        return Make.delete(target, mode, index: self.index(of: key, world))
    }

    mutating func session() -> LogSessionCreate {
        self.sessions += 1
        var create = LogSessionCreate()
        create.id = "s\(self.sessions)"
        create.node = self.nodeName()
        if self.random.chance(50) { create.nodeChecks = [self.checkID()] }
        if self.random.chance(20) { create.serviceChecks = [self.checkID()] }
        create.lockDelayNs = UInt64(self.random.below(3)) * 15_000_000_000
        create.behavior = self.random.chance(50) ? .sessionDelete : .sessionRelease
        create.ttlNs = UInt64(self.random.below(2)) * 10_000_000_000
        return create
    }

    mutating func service() -> LogService {
        let name = self.random.pick(["web", "Web", "db", "api"])
        var service = Make.service(
            name, id: self.random.pick(["", "i1", "i2"]), tags: self.random.chance(50) ? ["v\(self.small())"] : [],
            port: UInt32(self.random.below(2)))
        service.meta = self.random.chance(30) ? ["k": self.small(), "l": "x", "m": "y"] : [:]
        return service
    }

    mutating func check() -> LogCheck {
        Make.check(
            self.checkID(), self.status(), service: self.random.pick(["", "", "web", "i1"]), output: self.small())
    }

    mutating func register() -> LogRegister {
        Make.register(
            node: self.nodeName(), id: self.nodeID(), address: "10.0.0.\(self.small())",
            service: self.random.chance(60) ? self.service() : nil,
            checks: (0..<self.random.below(3)).map { _ in self.check() }, skipNodeUpdate: self.random.chance(30))
    }

    mutating func deregister() -> LogDeregister {
        var deregister = LogDeregister()
        deregister.node = self.nodeName()
        switch self.random.below(4) {
        case 0: deregister.serviceID = self.random.pick(["web", "db", "i1"])
        case 1, 2: deregister.checkID = self.checkID()
        default: break
        }
        return deregister
    }

    mutating func txn(_ world: World) -> LogTxn {
        var txn = LogTxn()
        for _ in 0...self.random.below(4) { txn.ops.append(self.operation(world)) }
        return txn
    }

    private mutating func operation(_ world: World) -> LogTxnOp {
        let key = self.key()
        let verbs: [LogRowVerb] = [.rowGet, .rowSet, .rowSet, .rowCas, .rowDelete, .rowDeleteCas]
        switch self.random.below(10) {
        case 0: return Make.nodeOperation(self.random.pick(verbs), Make.node(self.nodeName(), id: self.nodeID()))
        case 1: return Make.serviceOperation(self.random.pick(verbs), on: self.nodeName(), self.service())
        case 2:
            var check = self.check()
            check.node = self.nodeName()
            return Make.checkOperation(self.random.pick(verbs), check)
        case 3: return Make.sessionOperation(deleting: self.sessionID())
        default:
            let common: [LogKVVerb] = [.kvSet, .kvSet, .kvGetOrEmpty, .kvGetTree, .kvDelete]
            let rare: [LogKVVerb] = [
                .kvCas, .kvLock, .kvUnlock, .kvGet, .kvCheckIndex, .kvCheckSession, .kvCheckNotExists, .kvDeleteTree,
                .kvDeleteCas,
            ]
            return Make.kv(
                self.random.chance(80) ? self.random.pick(common) : self.random.pick(rare), key, self.small(),
                index: self.index(of: key, world), session: self.sessionID())
        }
    }
}
