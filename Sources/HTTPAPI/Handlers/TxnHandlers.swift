import Cluster
import Protocol
import Registry
import Units

/// `PUT /v1/txn` (Consul's API page Txn): all operations or none. What only reads is answered without the log.
enum TxnHandlers {
    static func run(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var decoder = TxnDecoder(settings: api.settings, datacenter: api.cluster.identity.datacenter)
        let txn = try decoder.decode(request)
        if decoder.errors.isEmpty ? Registry.isReadOnly(txn) : !decoder.hasWrites {
            let options = try ReadOptions(request.query, api.settings)
            let view = try await api.view(options.consistency)
            let mark = ReadMark(index: nil, knownLeader: view.knownLeader, lastContact: view.lastContact)
            let result = decoder.errors.isEmpty ? view.registry.query(txn) : self.refusal(decoder.errors)
            return self.reply(request, result, view.registry, mark)
        }
        if !decoder.errors.isEmpty { return self.reply(request, self.refusal(decoder.errors), nil, nil) }
        var command = LogCommand()
        command.kind = .txn(txn)
        guard case .txn(let result)? = try await api.propose(command, request).kind else {
            throw APIError(500, "unexpected result of a transaction")
        }
        return self.reply(request, result, api.cluster.currentView?.registry, nil)
    }

    private static func refusal(_ errors: [LogTxnError]) -> LogTxnResult {
        var result = LogTxnResult()
        result.errors = errors
        return result
    }

    /// - Parameter mark: of a transaction that only reads; it stands in the body, too.
    private static func reply(
        _ request: APIRequest, _ result: LogTxnResult, _ registry: Registry?, _ mark: ReadMark?
    ) -> APIResponse {
        .json(request, status: result.errors.isEmpty ? 200 : 409, mark: mark) { writer in
            writer.object { writer in
                writer.key("Results")
                if result.errors.isEmpty {
                    writer.array(result.rows) { $0.txnRow($1, among: result.rows, registry) }
                } else {
                    writer.null()
                }
                writer.key("Errors")
                if result.errors.isEmpty { writer.null() } else { writer.array(result.errors) { $0.txnError($1) } }
                if let mark { writer.readMark(mark) }
            }
        }
    }

    /// The tags of a check's service, which the message of a check does not carry: as this transaction left them, else as
    /// they are.
    fileprivate static func tags(of check: LogCheck, among rows: [LogTxnRow], _ registry: Registry?) -> [String] {
        if check.serviceID.isEmpty { return [] }
        for row in rows.reversed() {
            if case .service(let row)? = row.kind, row.node == check.node, row.service.id == check.serviceID {
                return row.service.tags
            }
        }
        let services = registry?.nodeServices(check.node).value?.services
        return services?.first { $0.id == check.serviceID }?.tags ?? []
    }
}

extension JSONWriter {
    fileprivate mutating func txnError(_ error: LogTxnError) {
        self.object { writer in
            writer.key("OpIndex")
            writer.number(UInt64(error.opIndex))
            writer.field("What", error.what)
        }
    }

    /// Consul's QueryMeta: index and consistency are not told here.
    fileprivate mutating func readMark(_ mark: ReadMark) {
        self.key("Index")
        self.number(0)
        self.key("LastContact")
        self.number(mark.lastContact.rawValue)
        self.key("KnownLeader")
        self.bool(mark.knownLeader)
        self.field("ConsistencyLevel", "")
    }

    fileprivate mutating func txnRow(_ row: LogTxnRow, among rows: [LogTxnRow], _ registry: Registry?) {
        self.object { writer in
            switch row.kind {
            case .kv(let pair)?:
                writer.key("KV")
                writer.kvEntry(
                    key: [UInt8](pair.key), value: pair.value, flags: pair.flags, lockIndex: pair.lockIndex,
                    session: pair.session, createIndex: pair.createIndex, modifyIndex: pair.modifyIndex)
            case .node(let row)?:
                var node = Node(row.node)
                node.createIndex = row.indexes.create
                node.modifyIndex = row.indexes.modify
                writer.key("Node")
                writer.node(node)
            case .service(let row)?:
                var service = ServiceInstance(row.service, node: row.node)
                service.createIndex = row.indexes.create
                service.modifyIndex = row.indexes.modify
                writer.key("Service")
                writer.service(service)
            case .check(let row)?:
                writer.key("Check")
                let tags = TxnHandlers.tags(of: row.check, among: rows, registry)
                writer.check(HealthCheck(shown: row.check, tags: tags, row.indexes.create, row.indexes.modify))
            case nil: break
            }
        }
    }
}

extension HealthCheck {
    /// A check out of a message, to be shown.
    init(shown check: LogCheck, tags: [String] = [], _ createIndex: UInt64 = 0, _ modifyIndex: UInt64 = 0) {
        self.init(
            node: check.node, id: check.id, name: check.name, status: CheckStatus(rawValue: check.status) ?? .critical,
            notes: check.notes, output: check.output, serviceID: check.serviceID, serviceName: check.serviceName,
            serviceTags: tags, type: check.type, interval: check.interval, timeout: check.timeout,
            definitionJSON: [UInt8](check.definitionJson), createIndex: createIndex, modifyIndex: modifyIndex)
    }
}

/// Reads a transaction's body. What Go would refuse only while running it is noted in `errors`.
private struct TxnDecoder {
    let settings: HTTPAPISettings
    let datacenter: String
    var errors: [LogTxnError] = []
    /// One of the operations, noted in `errors` or not, is no read.
    private(set) var hasWrites = false

    init(settings: HTTPAPISettings, datacenter: String) {
        self.settings = settings
        self.datacenter = datacenter
    }

    mutating func decode(_ request: APIRequest) throws(APIError) -> LogTxn {
        let json = try request.json("Failed to parse body: ")
        guard case .array(let elements) = json else {
            if json.isNull { return LogTxn() }
            throw APIError(
                400, "Failed to parse body: json: cannot unmarshal \(json.kind) into Go value of type api.TxnOps")
        }
        if elements.count > self.settings.txnMaximumOperations {
            let limit = self.settings.txnMaximumOperations
            throw APIError(413, "Transaction contains too many operations (\(elements.count) > \(limit))")
        }
        var txn = LogTxn()
        for (position, element) in elements.enumerated() {
            do throws(JSONError) {
                if let operation = try self.operation(element, position) { txn.ops.append(operation) }
            } catch {
                throw APIError(400, "Failed to parse body: \(error.text)")
            }
        }
        for operation in txn.ops {
            guard case .kv(let kv)? = operation.kind else { continue }
            if kv.value.count > self.settings.kvMaximumValue.rawValue {
                let key = String(decoding: kv.key, as: UTF8.self)
                let limit = self.settings.kvMaximumValue.rawValue
                throw APIError(413, "Value for key \"\(key)\" is too large (\(kv.value.count) > \(limit) bytes)")
            }
        }
        return txn
    }

    /// Nil for an element that holds no operation.
    private mutating func operation(_ element: JSONValue, _ position: Int) throws(JSONError) -> LogTxnOp? {
        let fields = try JSONFields(element, type: "api.TxnOp")
        try fields.refuseOthers(than: ["KV", "Node", "Service", "Check", "Session"])
        var operation = LogTxnOp()
        if let kv = try fields.object("KV", type: "api.KVTxnOp") {
            operation.kind = try self.kv(kv, position).map { .kv($0) }
        } else if let node = try fields.object("Node", type: "api.NodeTxnOp") {
            operation.kind = try self.node(node, position).map { .node($0) }
        } else if let service = try fields.object("Service", type: "api.ServiceTxnOp") {
            operation.kind = try self.service(service, position).map { .service($0) }
        } else if let check = try fields.object("Check", type: "api.CheckTxnOp") {
            operation.kind = try self.check(check, position).map { .check($0) }
        } else if let session = try fields.object("Session", type: "api.SessionTxnOp") {
            operation.kind = try self.session(session, position).map { .session($0) }
        }
        return operation.kind == nil ? nil : operation
    }

    private mutating func refuse(_ position: Int, _ what: String) {
        var error = LogTxnError()
        error.opIndex = UInt32(position)
        error.what = what
        self.errors.append(error)
    }

    private mutating func kv(_ fields: JSONFields, _ position: Int) throws(JSONError) -> LogTxnKV? {
        try fields.refuseOthers(
            than: ["Verb", "Key", "Value", "Flags", "Index", "Session", "Namespace", "Partition"])
        var kv = LogTxnKV()
        let verb = try fields.string("Verb")
        kv.key = .init(try fields.string("Key").utf8)
        kv.value = .init(try Base64.decode(try fields.string("Value")))
        kv.flags = try fields.uint64("Flags")
        kv.index = try fields.uint64("Index")
        kv.session = try fields.string("Session")
        guard let known = Self.kvVerbs[verb] else {
            self.refuse(position, "unknown KV verb \"\(verb)\"")
            return nil
        }
        kv.verb = known
        if !Self.readVerbs.contains(known) { self.hasWrites = true }
        if kv.key.isEmpty && kv.verb != .kvDeleteTree {
            self.refuse(position, "Must provide key")
            return nil
        }
        return kv
    }

    private static let readVerbs: [LogKVVerb] = [
        .kvGet, .kvGetOrEmpty, .kvGetTree, .kvCheckIndex, .kvCheckSession, .kvCheckNotExists,
    ]

    private static let kvVerbs: [String: LogKVVerb] = [
        "set": .kvSet, "cas": .kvCas, "lock": .kvLock, "unlock": .kvUnlock, "get": .kvGet,
        "get-or-empty": .kvGetOrEmpty, "get-tree": .kvGetTree, "check-index": .kvCheckIndex,
        "check-session": .kvCheckSession, "check-not-exists": .kvCheckNotExists, "delete": .kvDelete,
        "delete-tree": .kvDeleteTree, "delete-cas": .kvDeleteCas,
    ]

    private mutating func rowVerb(_ fields: JSONFields, _ what: String, _ position: Int) throws(JSONError)
        -> LogRowVerb?
    {
        let verb = try fields.string("Verb")
        if ["set", "cas", "delete", "delete-cas"].contains(verb) { self.hasWrites = true }
        switch verb {
        case "get": return .rowGet
        case "set": return .rowSet
        case "cas": return .rowCas
        case "delete": return .rowDelete
        case "delete-cas": return .rowDeleteCas
        default:
            self.refuse(position, "unknown \(what) verb \"\(verb)\"")
            return nil
        }
    }

    private mutating func node(_ fields: JSONFields, _ position: Int) throws(JSONError) -> LogTxnNode? {
        let row = try fields.object("Node", type: "api.Node") ?? JSONFields([])
        var operation = LogTxnNode()
        operation.node = try LogNode(row, defaultDatacenter: self.datacenter)
        operation.index = try row.uint64("ModifyIndex")
        guard let verb = try self.rowVerb(fields, "Node", position) else { return nil }
        operation.verb = verb
        return operation
    }

    private mutating func service(_ fields: JSONFields, _ position: Int) throws(JSONError) -> LogTxnService? {
        let row = try fields.object("Service", type: "api.AgentService") ?? JSONFields([])
        var operation = LogTxnService()
        operation.node = try fields.string("Node")
        operation.service = try LogService(row)
        operation.index = try row.uint64("ModifyIndex")
        guard let verb = try self.rowVerb(fields, "Service", position) else { return nil }
        operation.verb = verb
        return operation
    }

    private mutating func check(_ fields: JSONFields, _ position: Int) throws(JSONError) -> LogTxnCheck? {
        let row = try fields.object("Check", type: "api.HealthCheck") ?? JSONFields([])
        var operation = LogTxnCheck()
        operation.check = try LogCheck(row)
        operation.index = try row.uint64("ModifyIndex")
        guard let verb = try self.rowVerb(fields, "Check", position) else { return nil }
        operation.verb = verb
        return operation
    }

    private mutating func session(_ fields: JSONFields, _ position: Int) throws(JSONError) -> LogTxnSession? {
        var operation = LogTxnSession()
        operation.deleteID = try fields.object("Session", type: "api.Session")?.string("ID") ?? ""
        let verb = try fields.string("Verb")
        self.hasWrites = true
        if verb != "delete" {
            self.refuse(position, "unknown Session verb \"\(verb)\"")
            return nil
        }
        return operation
    }
}
