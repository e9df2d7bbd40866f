import HTTPAPI
import Protocol
import Units

/// Level 2: how clients say what they want in HTTP, and what the answers mean to them.
enum HTTPClients {
    /// What a client numbers its writes under.
    static func requester(_ number: Int) -> String { "requester-\(number)" }
    static func holder(_ number: Int) -> String { "holder-\(number)" }

    /// The number by which the log knows a requester: FNV-1a, 64 bits, of what it calls itself.
    static func hash(_ name: String) -> UInt64 {
        name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }

    private static func number(_ name: String, _ sequence: UInt64, lowest: UInt64) -> (name: String, value: String) {
        ("Idempotency-Key", "\(name)/\(sequence)/\(lowest)")
    }

    // MARK: - Single keys

    /// - Parameter lowest: the lowest sequence that the requester still waits for.
    static func text(_ request: ClientRequest, lowest: UInt64) -> HTTPRequestText {
        let path = "/v1/kv/key/\(request.key)"
        var text: HTTPRequestText
        switch request.kind {
        case .get:
            text = HTTPRequestText("GET", path + ["", "?consistent", "?raw", "?pretty&dc=dc1"][request.variant % 4])
        case .staleGet: text = HTTPRequestText("GET", path + ["?stale", "?stale&raw"][request.variant % 2])
        case .put where request.isTransaction, .cas where request.isTransaction: text = Self.transaction(request)
        case .put: text = HTTPRequestText("PUT", path, body: "\(request.value)")
        case .cas: text = HTTPRequestText("PUT", "\(path)?cas=\(request.expectedIndex)", body: "\(request.value)")
        case .delete: text = HTTPRequestText("DELETE", path)
        case .deleteCAS: text = HTTPRequestText("DELETE", "\(path)?cas=\(request.expectedIndex)")
        }
        if request.isRead { return text }
        text.headers.append(("X-Consul-Token", "\(request.value)"))
        if !request.isUnnumbered {
            let name = Self.requester(Clients.requester(of: request.client))
            text.headers.append(Self.number(name, request.sequence, lowest: lowest))
        }
        return text
    }

    /// The second key first: when the condition on the other does not hold, it must be taken back.
    private static func transaction(_ request: ClientRequest) -> HTTPRequestText {
        let value = Base64Text.encode("\(request.value)")
        let verb = request.kind == .cas ? "\"cas\",\"Index\":\(request.expectedIndex)" : "\"set\""
        return HTTPRequestText(
            "PUT", "/v1/txn",
            body: "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"shadow/\(request.key)\",\"Value\":\"\(value)\"}},"
                + "{\"KV\":{\"Verb\":\(verb),\"Key\":\"key/\(request.key)\",\"Value\":\"\(value)\"}}]")
    }

    /// What an answer says; nil when it says what no such request may be told.
    static func result(_ answer: HTTPAnswer, _ request: ClientRequest) -> ClientResult? {
        if request.isRead { return Self.found(answer, key: request.key) }
        switch answer.status {
        case 200 where request.isTransaction:
            guard let row = answer.json?["Results"]?.elements?.last?["KV"], row["Key"]?.text == "key/\(request.key)",
                let index = row["ModifyIndex"]?.number
            else { return nil }
            return .written(true, index: index)
        case 409 where request.isTransaction:
            return answer.json?["Errors"]?.elements?.isEmpty ?? true ? nil : .written(false, index: 0)
        case 200 where answer.text == "true": return .written(true, index: answer.modifyIndex ?? 0)
        case 200 where answer.text == "false": return .written(false, index: 0)
        default: return Self.failed(answer)
        }
    }

    /// What one key's read says; nil when it says what no such read may be told.
    static func found(_ answer: HTTPAnswer, key: Int) -> ClientResult? {
        switch answer.status {
        case 200:
            guard let index = answer.index else { return nil }
            if answer.headers["content-type"] == "text/plain" {
                return UInt64(answer.text).map { .found($0, modifyIndex: index, applied: index) }
            }
            guard let rows = answer.json?.elements, rows.count == 1, let row = Self.row(rows[0]), row.key == key else {
                return nil
            }
            return .found(row.value, modifyIndex: row.modifyIndex, applied: index)
        case 404: return answer.index.map { .found(nil, modifyIndex: 0, applied: $0) }
        default: return Self.failed(answer)
        }
    }

    /// One key as the API shows it.
    static func row(_ row: JSONValue) -> (key: Int, value: UInt64, modifyIndex: UInt64)? {
        guard let name = row["Key"]?.text, name.hasPrefix("key/"), let key = Int(name.dropFirst("key/".count)),
            let bytes = row["Value"]?.text.flatMap({ Base64Text.decode($0) }),
            let value = UInt64(String(decoding: bytes, as: UTF8.self)), let index = row["ModifyIndex"]?.number
        else { return nil }
        return (key, value, index)
    }

    private static func failed(_ answer: HTTPAnswer) -> ClientResult? {
        if answer.isCertainlyNotDone, answer.status != 400, answer.status != 413 { return .refused(leader: nil) }
        return [500, 503].contains(answer.status) ? .uncertain : nil
    }

    // MARK: - Sessions and locks

    static func text(_ command: LogCommand, holder: Int, sequence: UInt64) -> HTTPRequestText {
        var text = Self.text(command)
        text.headers = [
            ("X-Consul-Token", Self.holder(holder)), Self.number(Self.holder(holder), sequence, lowest: sequence),
        ]
        return text
    }

    static func renewal(of session: String) -> HTTPRequestText {
        HTTPRequestText("PUT", "/v1/session/renew/\(session)")
    }

    private static func text(_ command: LogCommand) -> HTTPRequestText {
        switch command.kind {
        case .kvPut(let put):
            let how = put.mode == .putAcquire ? "?acquire=" : put.mode == .putRelease ? "?release=" : ""
            return HTTPRequestText(
                "PUT", "/v1/kv/\(String(decoding: put.key, as: UTF8.self))\(how)\(put.session)",
                body: String(decoding: put.value, as: UTF8.self))
        case .sessionCreate(let create):
            let checks = create.nodeChecks.map { "\"\($0)\"" }.joined(separator: ",")
            let ttl = create.ttlNs > 0 ? "\"TTL\":\"\(create.ttlNs / 1_000_000)ms\"," : ""
            return HTTPRequestText(
                "PUT", "/v1/session/create",
                body: "{\"Node\":\"\(create.node)\",\"NodeChecks\":[\(checks)],\(ttl)"
                    + "\"LockDelay\":\"\(create.lockDelayNs / 1_000_000)ms\","
                    + "\"Behavior\":\"\(create.behavior == .sessionDelete ? "delete" : "release")\"}")
        case .sessionDestroy(let destroy):
            return HTTPRequestText("PUT", "/v1/session/destroy/\(destroy.ids.first ?? "")")
        case .register(let register):
            let tags = register.service.tags.map { "\"\($0)\"" }.joined(separator: ",")
            let check = register.checks.first ?? LogCheck()
            return HTTPRequestText(
                "PUT", "/v1/catalog/register",
                body: "{\"Node\":\"\(register.node.name)\",\"Address\":\"\(register.node.address)\","
                    + "\"Service\":{\"ID\":\"web\",\"Service\":\"web\",\"Port\":\(register.service.port),\"Tags\":[\(tags)]},"
                    + "\"Check\":{\"Node\":\"\(check.node)\",\"CheckID\":\"\(check.id)\",\"Name\":\"\(check.name)\","
                    + "\"Status\":\"\(check.status)\"}}")
        case .deregister(let deregister):
            return HTTPRequestText("PUT", "/v1/catalog/deregister", body: "{\"Node\":\"\(deregister.node)\"}")
        default: return HTTPRequestText("GET", "/")
        }
    }

    /// What an answer says; nil when it says what no such request may be told.
    static func result(_ answer: HTTPAnswer, of command: LogCommand) -> HolderAnswer? {
        var result = LogResult()
        result.index = answer.modifyIndex ?? 0
        switch answer.status {
        case 200:
            if case .sessionCreate = command.kind {
                guard let id = answer.json?["ID"]?.text else { return nil }
                result.kind = .sessionID(id)
            } else {
                guard answer.text == "true" || answer.text == "false" else { return nil }
                result.kind = .ok(answer.text == "true")
            }
            return .result(result)
        case 500 where answer.isForgotten: result.failure.kind = .failureResultForgotten
        case 500 where !answer.isCertainlyNotDone && !answer.text.hasPrefix("outcome unknown"):
            result.failure.kind = .failureInvalid
        default:
            switch Self.failed(answer) {
            case .refused: return .refused(leader: nil)
            case .uncertain: return .uncertain
            case .written, .found, nil: return nil
            }
        }
        return .result(result)
    }

    /// What the answer to a renewal says.
    static func renewed(_ answer: HTTPAnswer) -> HolderAnswer? {
        switch answer.status {
        case 200: .renewed(true)
        case 404: .renewed(false)
        default: [429, 500, 503].contains(answer.status) ? .uncertain : nil
        }
    }
}

extension SimulatedServer {
    func submit(_ request: ClientRequest, attempt: Int) {
        let text = HTTPClients.text(request, lowest: self.world.clients.lowestOutstanding(beside: request))
        _ = self.exchange(text.bytes) { [unowned self] answer in
            guard let result = HTTPClients.result(answer, request) else { return self.refuse(answer, to: text) }
            if answer.isForgotten { self.world.clients.forgotten(attempt: attempt) }
            self.world.clients.answered(attempt: attempt, result)
        }
    }

    func submit(_ command: LogCommand, holder: Int, sequence: UInt64, attempt: Int) {
        let text = HTTPClients.text(command, holder: holder, sequence: sequence)
        _ = self.exchange(text.bytes) { [unowned self] answer in
            guard let result = HTTPClients.result(answer, of: command) else { return self.refuse(answer, to: text) }
            self.world.holders.answered(attempt: attempt, result)
        }
    }

    func renew(_ session: String, attempt: Int) {
        let text = HTTPClients.renewal(of: session)
        _ = self.exchange(text.bytes) { [unowned self] answer in
            guard let result = HTTPClients.renewed(answer) else { return self.refuse(answer, to: text) }
            self.world.holders.answered(attempt: attempt, result)
        }
    }

    /// What no such request may be told.
    func refuse(_ answer: HTTPAnswer, to request: HTTPRequestText) {
        self.world.invariants.fail(
            "I25",
            "s\(self.node.slot) answers \(request.method) \(request.target) with \(answer.status): \(answer.text)")
    }
}
