/// A list whose changes can be followed, and what tells its rows apart.
enum ListKind: Sendable, Equatable {
    case keys
    case nodes
    /// An object of names and tags, not a list.
    case serviceNames
    case instances
    case health
    case checks
    case sessions

    /// nil when the path is not that of such a list.
    init?(path: String, _ query: Query) {
        switch path {
        case "/v1/catalog/nodes": self = .nodes
        case "/v1/catalog/services": self = .serviceNames
        case "/v1/session/list": self = .sessions
        default:
            let prefixes: [(String, ListKind)] = [
                ("/v1/kv/", .keys), ("/v1/catalog/service/", .instances), ("/v1/catalog/connect/", .instances),
                ("/v1/health/service/", .health), ("/v1/health/connect/", .health), ("/v1/health/ingress/", .health),
                ("/v1/health/node/", .checks), ("/v1/health/checks/", .checks), ("/v1/health/state/", .checks),
                ("/v1/session/node/", .sessions),
            ]
            guard let kind = prefixes.first(where: { path.hasPrefix($0.0) })?.1 else { return nil }
            self = kind
        }
        // Names alone, and bytes alone, are no rows.
        if self == .keys, query.has("keys") || query.has("raw") { return nil }
    }

    /// The fields that tell a row from all others, each by the way to it.
    private var identity: [(name: String, way: [String])] {
        switch self {
        case .keys: [("Key", ["Key"])]
        case .nodes: [("Node", ["Node"])]
        case .serviceNames: [("Name", ["Name"])]
        case .instances: [("Node", ["Node"]), ("ServiceID", ["ServiceID"])]
        case .health: [("Node", ["Node", "Node"]), ("ServiceID", ["Service", "ID"])]
        case .checks: [("Node", ["Node"]), ("CheckID", ["CheckID"])]
        case .sessions: [("ID", ["ID"])]
        }
    }

    /// The rows of an answer's body, each with the object that tells it from all others; nil for another shape.
    func rows(of answer: JSONValue) -> [(identity: JSONValue, row: JSONValue)]? {
        let rows: [JSONValue]
        switch (self, answer) {
        case (_, .null): rows = []
        case (.serviceNames, .object(let fields)):
            rows = fields.map {
                .object([.init(name: "Name", value: .string($0.name)), .init(name: "Tags", value: $0.value)])
            }
        case (_, .array(let list)): rows = list
        default: return nil
        }
        return rows.map { row in
            let fields = self.identity.map { JSONValue.Field(name: $0.name, value: row.found(by: $0.way)) }
            return (.object(fields), row)
        }
    }
}

extension JSONValue {
    fileprivate func found(by way: [String]) -> JSONValue {
        way.reduce(self) { value, name in
            guard case .object(let fields) = value else { return .null }
            return fields.first { $0.name == name }?.value ?? .null
        }
    }
}
