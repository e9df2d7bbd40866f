import Filter
import LocalAgent
import Registry
import Units

// `?filter` (Consul's API page Filtering): what selectors may name of each kind of row.

extension APIRequest {
    /// The rows that `?filter` lets through; nil: all. Consul answers an expression that can't be read, or does not fit the
    /// rows, with 500.
    func filter<Row>(_ schema: FilterSchema<Row>) throws(APIError) -> RowFilter<Row>? {
        guard !self.query.isEmpty, let text = self.query.first("filter"), !text.isEmpty else { return nil }
        do throws(FilterError) {
            return try schema.filter(try FilterExpression(text))
        } catch {
            // Consul reads a read's other parameters first; of the agent's own lists it reads no others.
            let isRead = !self.path.hasPrefix("/v1/agent/")
            if isRead { _ = try ReadOptions(self.query, HTTPAPISettings()) }
            if case .tooLarge(let text) = error { throw APIError(400, "?filter: \(text)") }
            let refusal = APIError(500, "Failed to create boolean expression evaluator: \(error.text)")
            throw isRead ? refusal.marked : refusal
        }
    }
}

extension Optional {
    func admits<Row>(_ row: Row) -> Bool where Wrapped == RowFilter<Row> { self?.admits(row) ?? true }
}

extension Array where Element: Sendable {
    func filtered(by filter: RowFilter<Element>?) -> [Element] {
        guard let filter else { return self }
        return self.filter { filter.admits($0) }
    }
}

// MARK: - The catalog's rows

extension FilterField {
    static func map(_ value: @escaping @Sendable (Row) -> StringMap) -> Self {
        .map({ value($0)[$1] }, isEmpty: { value($0).isEmpty })
    }

    fileprivate static func taggedAddresses(_ service: @escaping @Sendable (Row) -> ServiceInstance) -> Self {
        let schema = FilterSchema<TaggedServiceAddress>([
            "Address": .string { $0.address },
            "Port": .integer { Int64($0.port) },
        ])
        return .objectMap(
            { row, tag in service(row).taggedAddresses.first { $0.tag.utf8.elementsEqual(tag.utf8) } },
            isEmpty: { service($0).taggedAddresses.isEmpty }, schema)
    }

    fileprivate static func weights(_ service: @escaping @Sendable (Row) -> ServiceInstance) -> Self {
        .object(
            { service($0) },
            FilterSchema<ServiceInstance>([
                "Passing": .integer { Int64($0.weightPassing) },
                "Warning": .integer { Int64($0.weightWarning) },
            ]))
    }

    fileprivate static func proxy(_ service: @escaping @Sendable (Row) -> ServiceInstance) -> Self {
        .object({ (try? JSONValue.parse(service($0).proxyJSON)) ?? .null }, .proxy)
    }

    fileprivate static func connect(_ service: @escaping @Sendable (Row) -> ServiceInstance) -> Self {
        .object({ service($0) }, FilterSchema<ServiceInstance>(["Native": .boolean { $0.isNative }]))
    }
}

extension FilterSchema<Node> {
    static let node = FilterSchema([
        "ID": .string { $0.id },
        "Node": .string { $0.name },
        "Address": .string { $0.address },
        "Datacenter": .string { $0.datacenter },
        "TaggedAddresses": .map { $0.taggedAddresses },
        "Meta": .map { $0.meta },
    ])
}

extension FilterSchema<ServiceInstance> {
    static let service = FilterSchema([
        "Kind": .string { $0.kind },
        "ID": .string { $0.id },
        "Service": .string { $0.name },
        "Tags": .strings { $0.tags },
        "Address": .string { $0.address },
        "TaggedAddresses": .taggedAddresses { $0 },
        "Meta": .map { $0.meta },
        "Port": .integer { Int64($0.port) },
        "SocketPath": .string { $0.socketPath },
        "Weights": .weights { $0 },
        "EnableTagOverride": .boolean { $0.enableTagOverride },
        "Proxy": .proxy { $0 },
        "Connect": .connect { $0 },
    ])
}

extension FilterSchema<CatalogInstance> {
    static let instance = FilterSchema([
        "ID": .string { $0.node.id },
        "Node": .string { $0.node.name },
        "Address": .string { $0.node.address },
        "Datacenter": .string { $0.node.datacenter },
        "TaggedAddresses": .map { $0.node.taggedAddresses },
        "NodeMeta": .map { $0.node.meta },
        "ServiceKind": .string { $0.service.kind },
        "ServiceID": .string { $0.service.id },
        "ServiceName": .string { $0.service.name },
        "ServiceTags": .strings { $0.service.tags },
        "ServiceAddress": .string { $0.service.address },
        "ServiceTaggedAddresses": .taggedAddresses { $0.service },
        "ServiceWeights": .weights { $0.service },
        "ServiceMeta": .map { $0.service.meta },
        "ServicePort": .integer { Int64($0.service.port) },
        "ServiceSocketPath": .string { $0.service.socketPath },
        "ServiceEnableTagOverride": .boolean { $0.service.enableTagOverride },
        "ServiceProxy": .proxy { $0.service },
        "ServiceConnect": .connect { $0.service },
    ])
}

extension FilterSchema<HealthCheck> {
    static let check = FilterSchema([
        "Node": .string { $0.node },
        "CheckID": .string { $0.id },
        "Name": .string { $0.name },
        "Status": .string { $0.status.rawValue },
        "Notes": .string { $0.notes },
        "Output": .string { $0.output },
        "ServiceID": .string { $0.serviceID },
        "ServiceName": .string { $0.serviceName },
        "ServiceTags": .strings { $0.serviceTags },
        "Type": .string { $0.type },
    ])
}

extension FilterSchema<ServiceHealth> {
    static let health = FilterSchema([
        "Node": .object({ $0.node }, .node),
        "Service": .object({ $0.service }, .service),
        "Checks": .objects({ $0.checks }, .check),
    ])
}

extension FilterSchema<WholeNode> {
    static let wholeNode = FilterSchema([
        "ID": .string { $0.node.id },
        "Node": .string { $0.node.name },
        "Address": .string { $0.node.address },
        "TaggedAddresses": .map { $0.node.taggedAddresses },
        "Meta": .map { $0.node.meta },
        "Services": .objects({ $0.services }, .service),
        "Checks": .objects({ $0.checks }, .check),
    ])
}

extension FilterSchema<Session> {
    static let session = FilterSchema([
        "ID": .string { $0.id },
        "Name": .string { $0.name },
        "Node": .string { $0.node },
        "Behavior": .string { $0.behavior == .delete ? "delete" : "release" },
        "TTL": .string { $0.ttlText },
        "LockDelay": .integer { Int64(clamping: $0.lockDelay.rawValue) },
        "NodeChecks": .strings { $0.nodeChecks },
        "ServiceChecks": .objects({ $0.serviceChecks }, FilterSchema<String>(["ID": .string { $0 }])),
    ])
}

// MARK: - Proxies

extension JSONValue {
    fileprivate func field(_ name: String) -> JSONValue {
        guard case .object(let fields) = self else { return .null }
        return fields.first { $0.name == name }?.value ?? .null
    }

    fileprivate func text(_ name: String) -> String {
        if case .string(let text) = self.field(name) { text } else { "" }
    }

    fileprivate func integer(_ name: String) -> Int64 {
        if case .number(let text) = self.field(name) { Int64(text) ?? 0 } else { 0 }
    }

    fileprivate func list(_ name: String) -> [JSONValue] {
        if case .array(let rows) = self.field(name) { rows } else { [] }
    }
}

extension FilterField<JSONValue> {
    fileprivate static func text(_ name: String) -> Self { .string { $0.text(name) } }
    fileprivate static func integer(_ name: String) -> Self { .integer { $0.integer(name) } }
    fileprivate static func flag(_ name: String) -> Self { .boolean { $0.field(name) == .bool(true) } }
    fileprivate static func part(_ name: String, _ schema: FilterSchema<JSONValue>) -> Self {
        .object({ $0.field(name) }, schema)
    }
    fileprivate static func parts(_ name: String, _ schema: FilterSchema<JSONValue>) -> Self {
        .objects({ $0.list(name) }, schema)
    }
}

extension FilterSchema<JSONValue> {
    fileprivate static let meshGateway = FilterSchema(["Mode": .text("Mode")])

    fileprivate static let proxy = FilterSchema([
        "Mode": .text("Mode"),
        "DestinationServiceName": .text("DestinationServiceName"),
        "DestinationServiceID": .text("DestinationServiceID"),
        "LocalServiceAddress": .text("LocalServiceAddress"),
        "LocalServicePort": .integer("LocalServicePort"),
        "LocalServiceSocketPath": .text("LocalServiceSocketPath"),
        "MeshGateway": .part("MeshGateway", .meshGateway),
        "Expose": .part(
            "Expose",
            FilterSchema([
                "Checks": .flag("Checks"),
                "Paths": .parts(
                    "Paths",
                    FilterSchema([
                        "ListenerPort": .integer("ListenerPort"),
                        "LocalPathPort": .integer("LocalPathPort"),
                        "Path": .text("Path"),
                        "Protocol": .text("Protocol"),
                        "ParsedFromCheck": .flag("ParsedFromCheck"),
                    ])),
            ])),
        "Upstreams": .parts(
            "Upstreams",
            FilterSchema([
                "DestinationType": .text("DestinationType"),
                "DestinationNamespace": .text("DestinationNamespace"),
                "DestinationName": .text("DestinationName"),
                "Datacenter": .text("Datacenter"),
                "LocalBindAddress": .text("LocalBindAddress"),
                "LocalBindPort": .integer("LocalBindPort"),
                "LocalBindSocketPath": .text("LocalBindSocketPath"),
                "MeshGateway": .part("MeshGateway", .meshGateway),
            ])),
    ])
}

// MARK: - The agent's own

extension FilterSchema<Member> {
    static let member = FilterSchema([
        "Name": .string { $0.name },
        "Addr": .string { $0.address },
        "Port": .integer { Int64($0.port) },
        "Status": .integer { Int64($0.status.rawValue) },
        "Tags": .map(
            { member, name in member.tags.first { $0.name.utf8.elementsEqual(name.utf8) }?.value },
            isEmpty: { $0.tags.isEmpty }),
    ])
}
