import NIOCore
import Protocol
import Registry
import Units

// Nodes, services and checks as catalog and transaction bodies carry them (Consul's API page Catalog).
extension LogNode {
    /// A node of a transaction: `Meta` where a registration says `NodeMeta`.
    init(_ fields: JSONFields, metaName: String = "Meta", name: String = "Node", defaultDatacenter: String)
        throws(JSONError)
    {
        self.init()
        self.id = try fields.string("ID")
        self.name = try fields.string(name)
        self.address = try fields.string("Address")
        self.datacenter = try fields.string("Datacenter")
        if self.datacenter.isEmpty { self.datacenter = defaultDatacenter }
        self.taggedAddresses = try fields.stringMap("TaggedAddresses")
        self.meta = try fields.stringMap(metaName)
    }
}

extension LogService {
    init(_ fields: JSONFields) throws(JSONError) {
        self.init()
        try fields.refuseEnterpriseFields(tellingWhy: true)
        self.id = try fields.string("ID")
        self.name = try fields.string("Service")
        self.kind = try fields.string("Kind")
        self.tags = try fields.strings("Tags")
        self.address = try fields.string("Address")
        self.port = try fields.count("Port")
        self.socketPath = try fields.string("SocketPath")
        self.meta = try fields.stringMap("Meta")
        self.enableTagOverride = try fields.bool("EnableTagOverride")
        for entry in try fields.entries("TaggedAddresses", type: "map[string]structs.ServiceAddress") {
            let address = try JSONFields(entry.value, type: "structs.ServiceAddress")
            var tagged = LogServiceAddress()
            tagged.address = try address.string("Address")
            tagged.port = try address.count("Port")
            self.taggedAddresses[entry.name] = tagged
        }
        let weights = try fields.object("Weights", type: "structs.Weights")
        self.weightPassing = try weights?.count("Passing", default: 1) ?? 1
        self.weightWarning = try weights?.count("Warning", default: 1) ?? 1
        if let proxy = fields["Proxy"] { self.proxyJson = .init(CanonicalJSON.proxy(proxy)) }
        if let connect = fields["Connect"] { self.connectJson = .init(CanonicalJSON.connect(connect)) }
    }
}

extension LogCheck {
    init(_ fields: JSONFields) throws(JSONError) {
        self.init()
        try fields.refuseEnterpriseFields(tellingWhy: true)
        self.node = try fields.string("Node")
        self.id = try fields.string("CheckID")
        self.name = try fields.string("Name")
        self.status = try fields.string("Status")
        self.notes = try fields.string("Notes")
        self.output = try fields.string("Output")
        self.serviceID = try fields.string("ServiceID")
        self.serviceName = try fields.string("ServiceName")
        self.type = try fields.string("Type")
        self.interval = try fields.string("Interval")
        self.timeout = try fields.string("Timeout")
        if self.id.isEmpty { self.id = self.name }
        if let definition = fields["Definition"] {
            self.definitionJson = .init(try CanonicalJSON.definition(definition))
            if self.type.isEmpty { self.type = try DefinitionDecoder.type(ofCatalogDefinition: definition) }
        }
    }
}

/// Blocks that the catalog keeps as text: known fields in Go's order and spelling, empty ones left out, further ones as
/// they came. Equal blocks give equal bytes, so that registering one again changes nothing.
enum CanonicalJSON {
    /// A service's `Proxy`. Empty bytes when it says nothing.
    /// - Parameter destinationType: of an upstream that gives none; an agent fills in `service`, the catalog nothing.
    static func proxy(_ value: JSONValue, destinationType: String = "") -> [UInt8] {
        guard case .object(let fields) = value, !fields.isEmpty else { return [] }
        var ordered = self.order(fields, by: self.proxyFields)
        if ordered.isEmpty { return [] }
        if let place = ordered.firstIndex(where: { $0.name == "Upstreams" }),
            case .array(let upstreams) = ordered[place].value
        {
            ordered[place].value = .array(upstreams.map { self.upstream($0, destinationType) })
        }
        // Go writes these three whatever they hold.
        self.supply(
            [("Mode", .string("")), ("MeshGateway", .object([])), ("Expose", .object([]))], to: &ordered,
            self.proxyFields)
        return self.bytes(.object(ordered))
    }

    private static let proxyFields = [
        "DestinationServiceName", "DestinationServiceID", "LocalServiceAddress", "LocalServicePort",
        "LocalServiceSocketPath", "Mode", "TransparentProxy", "Config", "Upstreams", "MeshGateway", "Expose",
    ]

    private static func upstream(_ value: JSONValue, _ destinationType: String) -> JSONValue {
        guard case .object(let fields) = value else { return value }
        var ordered = self.order(fields, by: self.upstreamFields)
        self.supply(
            [
                ("DestinationType", .string(destinationType)), ("DestinationName", .string("")),
                ("Datacenter", .string("")), ("Config", .null), ("MeshGateway", .object([])),
            ], to: &ordered, self.upstreamFields)
        return .object(ordered)
    }

    private static let upstreamFields = [
        "DestinationType", "DestinationNamespace", "DestinationPartition", "DestinationPeer", "DestinationName",
        "Datacenter", "LocalBindAddress", "LocalBindPort", "LocalBindSocketPath", "LocalBindSocketMode", "Config",
        "MeshGateway",
    ]

    /// Puts the defaults that are missing where their names stand in `names`.
    private static func supply(
        _ defaults: [(name: String, value: JSONValue)], to ordered: inout [JSONValue.Field], _ names: [String]
    ) {
        for (name, value) in defaults where !ordered.contains(where: { $0.name == name }) {
            let later = names.drop { $0 != name }
            let place = ordered.firstIndex { later.contains($0.name) || !names.contains($0.name) }
            ordered.insert(.init(name: name, value: value), at: place ?? ordered.count)
        }
    }

    /// A service's `Connect`, without the sidecar that it may ask for.
    static func connect(_ value: JSONValue) -> [UInt8] {
        guard case .object(let fields) = value else { return [] }
        let ordered = self.order(fields.filter { !self.isSame($0.name, "SidecarService") }, by: ["Native"])
        return ordered.isEmpty ? [] : self.bytes(.object(ordered))
    }

    /// A check's `Definition`. Durations become Go's text.
    static func definition(_ value: JSONValue) throws(JSONError) -> [UInt8] {
        let fields = try JSONFields(value, type: "structs.HealthCheckDefinition")
        guard case .object(let written) = value else { return [] }
        var ordered: [JSONValue.Field] = []
        let durations = ["Interval", "Timeout", "DeregisterCriticalServiceAfter"]
        for name in durations {
            guard let duration = try fields.duration(name), duration > .zero else { continue }
            ordered.append(.init(name: name, value: .string(GoDuration.format(duration))))
        }
        let rest = written.filter { field in !durations.contains { self.isSame(field.name, $0) } }
        ordered += self.order(
            rest,
            by: [
                "HTTP", "TLSServerName", "TLSSkipVerify", "Header", "Method", "Body", "DisableRedirects", "TCP",
                "TCPUseTLS", "UDP", "H2PING", "OSService", "H2PingUseTLS", "OutputMaxSize", "ScriptArgs",
                "DockerContainerID", "Shell", "GRPC", "GRPCUseTLS", "AliasNode", "AliasService", "TTL",
            ])
        return ordered.isEmpty ? [] : self.bytes(.object(ordered))
    }

    static func bytes(_ value: JSONValue) -> [UInt8] {
        var writer = JSONWriter()
        writer.value(value)
        return Array(writer.finish().readableBytesView)
    }

    /// Empty values are left out, whatever their kind.
    private static func order(_ fields: [JSONValue.Field], by names: [String]) -> [JSONValue.Field] {
        var ordered: [JSONValue.Field] = []
        for name in names {
            guard let field = fields.last(where: { self.isSame($0.name, name) }) else { continue }
            if !self.isEmpty(field.value) { ordered.append(.init(name: name, value: field.value)) }
        }
        let unknown = fields.filter { field in !names.contains { self.isSame(field.name, $0) } }
        return ordered + unknown.filter { !self.isEmpty($0.value) }
    }

    /// `destination_service_name` is `DestinationServiceName`.
    static func isSame(_ written: String, _ name: String) -> Bool {
        equalsIgnoringCase(written.utf8.lazy.filter { $0 != UInt8(ascii: "_") }, name.utf8)
    }

    private static func isEmpty(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false): true
        case .bool(true): false
        case .number(let text): text == "0"
        case .string(let text): text.isEmpty
        case .array(let elements): elements.isEmpty
        case .object(let fields): fields.isEmpty
        }
    }
}
