import Protocol
import Registry
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }
    mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }
    mutating func pick<Element>(_ from: [Element]) -> Element { from[self.below(from.count)] }
}

extension ByteKey: ExpressibleByStringLiteral {
    public init(stringLiteral value: String) { self.init(value) }
}

func data(_ text: String) -> Data { Data(text.utf8) }

/// A registry with a log in front of it: the next index, a term, a wall clock.
struct World {
    var registry = Registry()
    var index: UInt64 = 0
    var term: UInt64 = 1
    /// Nanoseconds since 1970.
    var now: UInt64 = 1_700_000_000_000_000_000
    var last = LogResult()
    var touched: [Touch] = []

    mutating func pass(seconds: UInt64) { self.now += seconds * 1_000_000_000 }

    func envelope(
        _ kind: LogCommand.OneOf_Kind?, client: UInt64 = 0, sequence: UInt64 = 0, lowest: UInt64 = 0,
        decided: UInt64 = 0
    ) -> LogEnvelope {
        var envelope = LogEnvelope()
        envelope.format = 1
        envelope.wallTimeNs = self.now
        envelope.client = client
        envelope.sequence = sequence
        envelope.lowestOutstanding = lowest
        envelope.decidedInTerm = decided
        envelope.command.kind = kind
        return envelope
    }

    @discardableResult
    mutating func apply(_ envelope: LogEnvelope) throws -> Applied {
        self.index += 1
        let applied = try self.registry.apply(envelope, at: LogIndex(self.index), term: Term(self.term))
        self.last = applied.result
        self.touched = applied.touched
        return applied
    }

    @discardableResult
    mutating func run(_ kind: LogCommand.OneOf_Kind) throws -> LogResult {
        try self.apply(self.envelope(kind)).result
    }

    /// Fills the log up to an index.
    mutating func skip(to index: UInt64) {
        while self.index < index {
            self.index += 1
            self.registry.applyEmpty(at: LogIndex(self.index), term: Term(self.term))
        }
    }

    /// The last result's failure text; "" when there was none.
    var failure: String { self.last.failure.text }
}

// MARK: - Keys

extension World {
    @discardableResult
    mutating func put(_ key: String, _ value: String = "", flags: UInt64 = 0) throws -> Bool {
        try self.run(.kvPut(Make.put(key, value, flags: flags))).ok
    }

    mutating func cas(_ key: String, _ value: String, _ index: UInt64) throws -> Bool {
        try self.run(.kvPut(Make.put(key, value, mode: .putCas, index: index))).ok
    }

    @discardableResult
    mutating func acquire(_ key: String, _ value: String = "", by session: String) throws -> Bool {
        try self.run(.kvPut(Make.put(key, value, mode: .putAcquire, session: session))).ok
    }

    @discardableResult
    mutating func release(_ key: String, _ value: String = "", by session: String) throws -> Bool {
        try self.run(.kvPut(Make.put(key, value, mode: .putRelease, session: session))).ok
    }

    @discardableResult
    mutating func delete(_ key: String, _ mode: LogDeleteMode = .deleteKey, index: UInt64 = 0) throws -> Bool {
        try self.run(.kvDelete(Make.delete(key, mode, index: index))).ok
    }

    func get(_ key: String) -> KVEntry? { self.registry.kvEntry(ByteKey(key)).value }
}

// MARK: - Sessions and the catalog

extension World {
    @discardableResult
    mutating func session(
        _ id: String, node: String = "n1", checks: [String] = [], serviceChecks: [String] = [],
        delaySeconds: UInt64 = 0, behavior: LogSessionBehavior = .sessionRelease, ttlSeconds: UInt64 = 0
    ) throws -> LogResult {
        var create = LogSessionCreate()
        create.id = id
        create.node = node
        create.nodeChecks = checks
        create.serviceChecks = serviceChecks
        create.lockDelayNs = delaySeconds * 1_000_000_000
        create.behavior = behavior
        create.ttlNs = ttlSeconds * 1_000_000_000
        create.ttlText = ttlSeconds == 0 ? "" : "\(ttlSeconds)s"
        return try self.run(.sessionCreate(create))
    }

    mutating func destroy(_ ids: String...) throws {
        var destroy = LogSessionDestroy()
        destroy.ids = ids
        try self.run(.sessionDestroy(destroy))
    }

    func hasSession(_ id: String) -> Bool { self.registry.session(id).value != nil }

    @discardableResult
    mutating func register(
        node: String = "n1", id: String = "", address: String = "10.0.0.1", service: LogService? = nil,
        checks: [LogCheck] = [], skipNodeUpdate: Bool = false
    ) throws -> LogResult {
        try self.run(
            .register(
                Make.register(
                    node: node, id: id, address: address, service: service, checks: checks,
                    skipNodeUpdate: skipNodeUpdate)))
    }

    mutating func deregister(node: String, service: String = "", check: String = "") throws {
        var deregister = LogDeregister()
        deregister.node = node
        deregister.serviceID = service
        deregister.checkID = check
        try self.run(.deregister(deregister))
    }

    @discardableResult
    mutating func txn(_ operations: LogTxnOp...) throws -> LogTxnResult {
        var txn = LogTxn()
        txn.ops = operations
        return try self.run(.txn(txn)).txn
    }
}

/// Messages in one line.
enum Make {
    static func put(
        _ key: String, _ value: String = "", flags: UInt64 = 0, mode: LogPutMode = .putSet, index: UInt64 = 0,
        session: String = ""
    ) -> LogKVPut {
        var put = LogKVPut()
        put.key = data(key)
        put.value = data(value)
        put.flags = flags
        put.mode = mode
        put.casIndex = index
        put.session = session
        return put
    }

    static func delete(_ key: String, _ mode: LogDeleteMode = .deleteKey, index: UInt64 = 0) -> LogKVDelete {
        var delete = LogKVDelete()
        delete.key = data(key)
        delete.mode = mode
        delete.casIndex = index
        return delete
    }

    static func kv(
        _ verb: LogKVVerb, _ key: String, _ value: String = "", flags: UInt64 = 0, index: UInt64 = 0,
        session: String = ""
    ) -> LogTxnOp {
        var kv = LogTxnKV()
        kv.verb = verb
        kv.key = data(key)
        kv.value = data(value)
        kv.flags = flags
        kv.index = index
        kv.session = session
        var operation = LogTxnOp()
        operation.kind = .kv(kv)
        return operation
    }

    static func service(_ name: String, id: String = "", tags: [String] = [], port: UInt32 = 80) -> LogService {
        var service = LogService()
        service.id = id.isEmpty ? name : id
        service.name = name
        service.tags = tags
        service.port = port
        service.weightPassing = 1
        service.weightWarning = 1
        return service
    }

    static func check(
        _ id: String, _ status: String = "passing", node: String = "", service: String = "", output: String = ""
    ) -> LogCheck {
        var check = LogCheck()
        check.node = node
        check.id = id
        check.name = id
        check.status = status
        check.serviceID = service
        check.output = output
        return check
    }

    static func node(_ name: String, id: String = "", address: String = "10.0.0.1") -> LogNode {
        var node = LogNode()
        node.name = name
        node.id = id
        node.address = address
        return node
    }

    static func register(
        node: String, id: String = "", address: String = "10.0.0.1", service: LogService? = nil,
        checks: [LogCheck] = [], skipNodeUpdate: Bool = false
    ) -> LogRegister {
        var register = LogRegister()
        register.node = self.node(node, id: id, address: address)
        if let service { register.service = service }
        register.checks = checks
        register.skipNodeUpdate = skipNodeUpdate
        return register
    }

    static func nodeOperation(_ verb: LogRowVerb, _ node: LogNode, index: UInt64 = 0) -> LogTxnOp {
        var operation = LogTxnOp()
        operation.node.verb = verb
        operation.node.node = node
        operation.node.index = index
        return operation
    }

    static func serviceOperation(
        _ verb: LogRowVerb, on node: String, _ service: LogService, index: UInt64 = 0
    ) -> LogTxnOp {
        var operation = LogTxnOp()
        operation.service.verb = verb
        operation.service.node = node
        operation.service.service = service
        operation.service.index = index
        return operation
    }

    static func checkOperation(_ verb: LogRowVerb, _ check: LogCheck, index: UInt64 = 0) -> LogTxnOp {
        var operation = LogTxnOp()
        operation.check.verb = verb
        operation.check.check = check
        operation.check.index = index
        return operation
    }

    static func sessionOperation(deleting id: String) -> LogTxnOp {
        var operation = LogTxnOp()
        operation.session.deleteID = id
        return operation
    }
}
