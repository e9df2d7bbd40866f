import Cluster
import Filter
import NIOCore
import Protocol
import Registry
import Units

/// `/v1/session/…` (Consul's API page Session).
enum SessionHandlers {
    static func create(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var create = LogSessionCreate()
        create.lockDelayNs = Nanoseconds.seconds(15).rawValue
        create.nodeChecks = [Registry.agentCheckID]
        if request.body.readableBytes > 0 {
            create = try self.decode(request, over: create)
        }
        if create.node.isEmpty { create.node = request.origin ?? api.cluster.identity.nodeName }
        try self.readTTL(&create, api.settings)
        create.id = randomUUID(api.surroundings)
        var command = LogCommand()
        command.kind = .sessionCreate(create)
        let result = try await api.propose(command, request)
        guard case .sessionID(let id)? = result.kind else { throw APIError(500, "unexpected result of a session") }
        return .json(request) { writer in writer.object { $0.field("ID", id) } }
    }

    private static func decode(
        _ request: APIRequest, over base: LogSessionCreate
    ) throws(APIError) -> LogSessionCreate {
        var behavior = ""
        var create = try request.decode { json throws(JSONError) in
            let fields = try JSONFields(json, type: "structs.Session")
            try fields.refuseEnterpriseFields(tellingWhy: true)
            if let value = fields["Behavior"] {
                guard case .string(let text) = value else {
                    throw fields.mismatch(value, "Behavior", "structs.SessionBehavior")
                }
                behavior = text
            }
            return try self.read(fields, over: base)
        }
        switch behavior {
        case "", "release": create.behavior = .sessionRelease
        case "delete": create.behavior = .sessionDelete
        default: throw APIError(500, "Invalid Behavior setting '\(behavior)'")
        }
        return create
    }

    private static func read(
        _ fields: JSONFields, over base: LogSessionCreate
    ) throws(JSONError) -> LogSessionCreate {
        var create = base
        create.name = try fields.string("Name")
        create.node = try fields.string("Node")
        // `Checks` is the older name: an explicit empty list leaves the session without any.
        if fields["NodeChecks"] != nil {
            create.nodeChecks = try fields.strings("NodeChecks")
        } else if fields["Checks"] != nil {
            create.nodeChecks = try fields.strings("Checks")
        }
        for check in try fields.objects("ServiceChecks", type: "structs.ServiceCheck") ?? [] {
            create.serviceChecks.append(try check.string("ID"))
        }
        create.ttlText = try fields.string("TTL")
        if let delay = fields["LockDelay"] { create.lockDelayNs = try self.lockDelay(delay).rawValue }
        return create
    }

    /// A value below 1000 ns is taken as seconds: `15` and `"15"`-like numbers mean what they look like.
    private static func lockDelay(_ value: JSONValue) throws(JSONError) -> Nanoseconds {
        var delay = Nanoseconds.zero
        switch value {
        case .string(let text):
            guard let parsed = GoDuration.parse(text) else { throw JSONError("time: invalid duration \"\(text)\"") }
            delay = parsed
        case .number(let text):
            guard let number = Double(text), number >= 0, number < 9.2e18 else {
                throw JSONError("LockDelay must not be negative: \(text)")
            }
            delay = Nanoseconds(UInt64(number))
        case .null, .bool, .array, .object: break
        }
        return delay.rawValue < 1000 ? .seconds(delay.rawValue) : delay
    }

    private static func readTTL(_ create: inout LogSessionCreate, _ settings: HTTPAPISettings) throws(APIError) {
        if create.ttlText.isEmpty { return }
        let bounds =
            "\(GoDuration.format(settings.sessionTTLMinimum))=\(GoDuration.format(settings.sessionTTLMaximum))"
        if create.ttlText.hasPrefix("-"), let below = GoDuration.parse(String(create.ttlText.dropFirst())) {
            throw APIError(500, "Invalid Session TTL '-\(below.rawValue)', must be between [\(bounds)]")
        }
        guard let ttl = GoDuration.parse(create.ttlText) else {
            throw APIError(
                500, "Session TTL '\(create.ttlText)' invalid: time: invalid duration \"\(create.ttlText)\"")
        }
        if ttl == .zero { return }
        if ttl < settings.sessionTTLMinimum || ttl > settings.sessionTTLMaximum {
            throw APIError(500, "Invalid Session TTL '\(ttl.rawValue)', must be between [\(bounds)]")
        }
        create.ttlNs = ttl.rawValue
    }

    /// The id in the path.
    private static func id(_ request: APIRequest) throws(APIError) -> String {
        let id = request.restText
        if id.isEmpty { throw APIError(400, "Missing session") }
        if id.utf8.count != 36 {
            throw APIError(500, "failed session lookup: index error: UUID must be 36 characters")
        }
        return id
    }

    static func destroy(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var destroy = LogSessionDestroy()
        destroy.ids = [try self.id(request)]
        var command = LogCommand()
        command.kind = .sessionDestroy(destroy)
        _ = try await api.propose(command, request)
        return .bool(request, true)
    }

    static func renew(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id = try self.id(request)
        let found: Bool
        do throws(ClusterError) {
            found = try await api.cluster.renewSession(id)
        } catch {
            throw APIError(error)
        }
        guard found, let session = try await api.view(.default).registry.session(id).value else {
            throw APIError(404, "Session id '\(id)' not found")
        }
        return .json(request) { writer in writer.array { $0.session(session) } }
    }

    static func info(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let id: String
        do throws(APIError) {
            id = try self.id(request)
        } catch {
            throw error.status == 500 ? error.marked : error
        }
        return try await api.read(request, { $0.session(id) }) { session, mark in
            .json(request, mark: mark) { writer in
                writer.array { writer in
                    if let session { writer.session(session) }
                }
            }
        }
    }

    static func onNode(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let node = request.restText
        if node.isEmpty { throw APIError(400, "Missing node name") }
        let filter = try request.filter(.session)
        return try await api.read(request, { $0.sessions(onNode: node) }) { self.list(request, filter, $0, $1) }
    }

    static func list(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try request.filter(.session)
        return try await api.read(request, { $0.allSessions() }) { self.list(request, filter, $0, $1) }
    }

    private static func list(
        _ request: APIRequest, _ filter: RowFilter<Session>?, _ sessions: [Session], _ mark: ReadMark
    ) -> APIResponse {
        .json(request, mark: mark, capacity: sessions.count * 200) { writer in
            writer.array(sessions.filtered(by: filter)) { $0.session($1) }
        }
    }
}

/// A random UUID (RFC 9562 §5.4), 36 characters.
func randomUUID(_ surroundings: ClusterSurroundings) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(16)
    for _ in 0..<2 {
        let half = surroundings.random(.max)
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: half >> UInt64(shift)))
        }
    }
    bytes[6] = bytes[6] & 0x0F | 0x40
    bytes[8] = bytes[8] & 0x3F | 0x80
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(36)
    for (position, byte) in bytes.enumerated() {
        if position == 4 || position == 6 || position == 8 || position == 10 { text.append(UInt8(ascii: "-")) }
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
