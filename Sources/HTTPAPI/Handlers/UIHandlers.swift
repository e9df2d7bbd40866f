import Cluster
import Filter
import Registry
import Units

/// `/v1/internal/ui/…`, as far as it reads the catalog alone: what Consul's own web interface asks.
enum UIHandlers {
    static func nodes(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try request.filter(.wholeNode)
        return try await api.read(request, { $0.wholeNodes }) { nodes, mark in
            .json(request, mark: mark, capacity: nodes.count * 1024) { writer in
                writer.array(nodes.filtered(by: filter)) { $0.wholeNode($1) }
            }
        }
    }

    static func node(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing node name") }
        return try await api.read(request, { $0.wholeNode(name) }) { node, mark throws(APIError) in
            guard let node else { return APIResponse(status: 404) }
            return .json(request, mark: mark, capacity: 4096) { $0.wholeNode(node) }
        }
    }

    static func services(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try request.filter(.health)
        let datacenter = api.cluster.identity.datacenter
        return try await api.read(request, { $0.wholeNodes }) { nodes, mark in
            let summaries = ServiceLine.all(filter == nil ? nodes : nodes.map { $0.filtered(by: filter) })
            return .json(request, mark: mark, capacity: summaries.count * 320) { writer in
                writer.array(summaries) { $0.serviceLine($1, datacenter) }
            }
        }
    }

    /// No gateway is bound to any service yet.
    static func gatewayServices(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        if request.restText.isEmpty { throw APIError(400, "Missing gateway name") }
        return try await api.read(request, { $0.allServices().map { _ in () } }) { _, mark in
            .json(request, mark: mark) { $0.array { _ in } }
        }
    }
}

/// A node with all that is on it.
struct WholeNode: Sendable {
    var node: Node
    var services: [ServiceInstance]
    var checks: [HealthCheck]
}

extension WholeNode {
    /// With those services alone that the filter lets through.
    fileprivate func filtered(by filter: RowFilter<ServiceHealth>?) -> WholeNode {
        var node = self
        node.services = self.services.filter { service in
            let checks = self.checks.filter { $0.serviceID.isEmpty || $0.serviceID == service.id }
            return filter.admits(ServiceHealth(node: self.node, service: service, checks: checks))
        }
        return node
    }
}

extension Registry {
    fileprivate var wholeNodes: Answer<[WholeNode]> {
        let nodes = self.allNodes()
        let whole = nodes.value.map { node in
            WholeNode(
                node: node, services: self.nodeServices(node.name).value?.services ?? [],
                checks: self.checks(onNode: node.name).value)
        }
        let services = self.allServices()
        let checks = self.checks(inState: .critical)
        return Answer(
            value: whole, index: max(nodes.index, services.index, checks.index),
            watch: nodes.watch + services.watch + checks.watch)
    }

    fileprivate func wholeNode(_ name: String) -> Answer<WholeNode?> {
        let found = self.nodeServices(name)
        let checks = self.checks(onNode: name)
        return Answer(
            value: found.value.map { WholeNode(node: $0.node, services: $0.services, checks: checks.value) },
            index: max(found.index, checks.index), watch: found.watch + checks.watch)
    }
}

/// A service's instances, summed up.
struct ServiceLine: Sendable {
    var name: String
    var kind = ""
    var tags: Set<String> = []
    var nodes: [String] = []
    var sources: Set<String> = []
    var proxyFor: [String] = []
    var instances = 0
    var checks: [CheckStatus: Int] = [:]
    var isNative = false
    var hasProxy = false

    /// In order of their names.
    static func all(_ nodes: [WholeNode]) -> [ServiceLine] {
        var lines: [String: ServiceLine] = [:]
        var proxied: Set<String> = []
        for node in nodes {
            // By the service that they are of; "" for the node's own.
            let checks = Dictionary(grouping: node.checks, by: \.serviceID)
            for service in node.services {
                // In its place: a copy for each instance would be a copy of all before it.
                lines[service.name, default: ServiceLine(name: service.name)]
                    .add(service, on: node.node.name, (checks[""] ?? []) + (checks[service.id] ?? []))
                if service.kind == "connect-proxy", let destination = service.destination {
                    proxied.insert(destination)
                }
            }
        }
        return lines.values.sorted { utf8Precedes($0.name, $1.name) }.map { line in
            var line = line
            line.hasProxy = proxied.contains(line.name)
            return line
        }
    }

    private mutating func add(_ service: ServiceInstance, on node: String, _ checks: [HealthCheck]) {
        self.instances += 1
        self.kind = service.kind
        self.isNative = self.isNative || service.isNative
        if self.nodes.last != node { self.nodes.append(node) }
        self.tags.formUnion(service.tags)
        if let source = service.meta["external-source"], !source.isEmpty { self.sources.insert(source) }
        if let destination = service.destination, service.kind == "connect-proxy", !self.proxyFor.contains(destination)
        {
            self.proxyFor.append(destination)
        }
        for check in checks { self.checks[check.status, default: 0] += 1 }
    }
}

extension ServiceInstance {
    /// Whom a proxy speaks for.
    fileprivate var destination: String? {
        guard case .object(let fields)? = try? JSONValue.parse(self.proxyJSON),
            case .string(let name)? = fields.first(where: { $0.name == "DestinationServiceName" })?.value
        else { return nil }
        return name
    }
}

extension JSONWriter {
    fileprivate mutating func wholeNode(_ whole: WholeNode) {
        self.object { writer in
            writer.field("ID", whole.node.id)
            writer.field("Node", whole.node.name)
            writer.field("Address", whole.node.address)
            writer.key("TaggedAddresses")
            writer.map(whole.node.taggedAddresses)
            writer.key("Meta")
            writer.map(whole.node.meta)
            writer.key("Services")
            writer.array(whole.services) { $0.service($1, noTagsAreNull: true) }
            writer.key("Checks")
            writer.array(whole.checks) { $0.check($1, noTagsAreNull: true) }
        }
    }

    fileprivate mutating func serviceLine(_ line: ServiceLine, _ datacenter: String) {
        self.object { writer in
            writer.optionalField("Kind", line.kind)
            writer.field("Name", line.name)
            writer.field("Datacenter", datacenter)
            writer.key("Tags")
            writer.stringsOrNull(line.tags.sorted(by: utf8Precedes))
            writer.key("Nodes")
            writer.strings(line.nodes)
            writer.key("InstanceCount")
            writer.number(line.instances)
            if !line.proxyFor.isEmpty {
                writer.key("ProxyFor")
                writer.strings(line.proxyFor)
            }
            let statuses: [(StaticString, CheckStatus)] = [
                ("ChecksPassing", .passing), ("ChecksWarning", .warning), ("ChecksCritical", .critical),
            ]
            for (name, status) in statuses {
                writer.key(name)
                writer.number(line.checks[status] ?? 0)
            }
            writer.key("ExternalSources")
            writer.stringsOrNull(line.sources.sorted(by: utf8Precedes))
            writer.key("GatewayConfig")
            writer.object { _ in }
            let flags: [(StaticString, Bool)] = [
                ("TransparentProxy", false), ("ConnectNative", line.isNative), ("ConnectedWithProxy", line.hasProxy),
                ("ConnectedWithGateway", false),
            ]
            for (name, flag) in flags {
                writer.key(name)
                writer.bool(flag)
            }
        }
    }
}
