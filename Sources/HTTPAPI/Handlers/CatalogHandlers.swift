import Cluster
import LocalAgent
import Protocol
import Registry
import Units

/// `/v1/catalog/…` (Consul's API page Catalog).
enum CatalogHandlers {
    // MARK: writes

    static func register(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let datacenter = api.cluster.identity.datacenter
        let register = try request.decode { json throws(JSONError) in
            try self.decodeRegister(json, datacenter: datacenter)
        }
        try self.check(register, datacenter: datacenter)
        var command = LogCommand()
        command.kind = .register(register)
        _ = try await api.propose(command, request)
        return .bool(request, true)
    }

    private static func decodeRegister(_ json: JSONValue, datacenter: String) throws(JSONError) -> LogRegister {
        let fields = try JSONFields(json, type: "structs.RegisterRequest")
        try fields.refuseEnterpriseFields(tellingWhy: true)
        var register = LogRegister()
        register.node = try LogNode(fields, metaName: "NodeMeta", defaultDatacenter: datacenter)
        register.skipNodeUpdate = try fields.bool("SkipNodeUpdate")
        if let service = try fields.object("Service", type: "structs.NodeService") {
            register.service = try LogService(service)
            if register.service.id.isEmpty { register.service.id = register.service.name }
        }
        if let check = try fields.object("Check", type: "structs.HealthCheck") {
            register.checks.append(try LogCheck(check))
        }
        for check in try fields.objects("Checks", type: "structs.HealthCheck") ?? [] {
            register.checks.append(try LogCheck(check))
        }
        return register
    }

    /// What can be refused without asking the log.
    private static func check(_ register: LogRegister, datacenter: String) throws(APIError) {
        let node = register.node
        if node.datacenter != datacenter { throw APIError(500, "No path to datacenter") }
        if node.name.isEmpty || (node.address.isEmpty && !register.skipNodeUpdate) {
            throw APIError(500, "Must provide node and address")
        }
        if !node.id.isEmpty && node.id.utf8.count != 36 {
            throw APIError(500, "Bad node ID: uuid string is wrong length")
        }
        if register.checks.contains(where: { $0.id.isEmpty }) {
            throw APIError(
                500,
                "failed inserting check: failed inserting check: object missing primary index on node \"\(node.name)\"")
        }
        guard register.hasService else { return }
        let service = register.service
        if service.name.isEmpty {
            throw APIError(
                500,
                service.id.isEmpty
                    ? "Must provide service name (Service.Service) when service is specified"
                    : "Must provide service name with ID")
        }
        if ["0.0.0.0", "::", "[::]"].contains(service.address) { throw APIError(500, "Invalid service address") }
        if let problem = MeshRules(service).problem { throw APIError(500, problem) }
    }

    static func deregister(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        var datacenter = ""
        let deregister = try request.decode { json throws(JSONError) in
            let fields = try JSONFields(json, type: "structs.DeregisterRequest")
            try fields.refuseEnterpriseFields(tellingWhy: true)
            var deregister = LogDeregister()
            deregister.node = try fields.string("Node")
            deregister.serviceID = try fields.string("ServiceID")
            deregister.checkID = try fields.string("CheckID")
            datacenter = try fields.string("Datacenter")
            return deregister
        }
        if !datacenter.isEmpty && datacenter != api.cluster.identity.datacenter {
            throw APIError(500, "No path to datacenter")
        }
        if deregister.node.isEmpty { throw APIError(500, "Must provide node") }
        var command = LogCommand()
        command.kind = .deregister(deregister)
        _ = try await api.propose(command, request)
        return .bool(request, true)
    }

    // MARK: reads

    /// Needs no leader: probes rely on it.
    static func datacenters(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        .json(request) { $0.strings([api.cluster.identity.datacenter]) }
    }

    static func nodes(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let meta = MetaFilter(request.query)
        let filter = try request.filter(.node)
        return try await api.read(request, isCatalog: true, { $0.allNodes() }) { nodes, mark in
            .json(request, mark: mark, capacity: nodes.count * 300) { writer in
                writer.array(nodes) { if meta.admits($1), filter.admits($1) { $0.node($1) } }
            }
        }
    }

    static func services(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let meta = MetaFilter(request.query)
        let filter = try request.filter(.instance)
        let query: (Registry) throws(APIError) -> Answer<[ServiceSummary]> = { registry in
            meta.isEmpty && filter == nil
                ? registry.allServices() : registry.services { meta.admits($0.node) && filter.admits($0) }
        }
        let isPlain = meta.isEmpty && filter == nil
        let index: (Registry) -> UInt64 = { isPlain ? $0.servicesIndex : $0.servicesAndNodesIndex }
        return try await api.readKept(request, index: index, query) { services, mark in
            .json(request, mark: mark, capacity: services.count * 48) { writer in
                writer.object { writer in
                    for service in services {
                        writer.key(text: service.name)
                        writer.strings(service.tags)
                    }
                }
            }
        }
    }

    static func service(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing service name") }
        // An empty one matches no service.
        let tags = request.query.all("tag")
        let meta = MetaFilter(request.query)
        let filter = try request.filter(.instance)
        let query: (Registry) throws(APIError) -> Answer<[CatalogInstance]> = {
            $0.instances(ofService: name, tags: tags)
        }
        return try await api.readKept(request, index: { $0.serviceIndex(named: name) }, query) { instances, mark in
            .json(request, mark: mark, capacity: instances.count * 512) { writer in
                writer.array(instances) { if meta.admits($1.node), filter.admits($1) { $0.catalogInstance($1) } }
            }
        }
    }

    static func node(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = try self.nodeName(request)
        let filter = try request.filter(.service)
        return try await api.read(request, isCatalog: true, { $0.nodeServices(name) }) { found, mark in
            .json(request, mark: mark) { writer in
                guard let found else { return writer.null() }
                writer.object { writer in
                    writer.key("Node")
                    writer.node(found.node)
                    writer.key("Services")
                    writer.object { writer in
                        for service in found.services where filter.admits(service) {
                            writer.key(text: service.id)
                            writer.service(service)
                        }
                    }
                }
            }
        }
    }

    static func nodeServices(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let name = try self.nodeName(request)
        let filter = try request.filter(.service)
        return try await api.read(request, isCatalog: true, { $0.nodeServices(name) }) { found, mark in
            .json(request, mark: mark) { writer in
                writer.object { writer in
                    writer.key("Node")
                    if let found { writer.node(found.node) } else { writer.null() }
                    writer.key("Services")
                    if let found {
                        writer.array(found.services.filtered(by: filter)) { $0.service($1) }
                    } else {
                        writer.null()
                    }
                }
            }
        }
    }

    private static func nodeName(_ request: APIRequest) throws(APIError) -> String {
        let name = request.restText
        if name.isEmpty { throw APIError(400, "Missing node name") }
        return name
    }
}

/// `?node-meta=k:v`, repeatable: every pair must be there.
struct MetaFilter: Sendable {
    private let pairs: [(key: String, value: String)]

    init(_ query: Query) {
        self.pairs =
            query.isEmpty
            ? []
            : query.all("node-meta").map { text in
                let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
            }
    }

    var isEmpty: Bool { self.pairs.isEmpty }

    func admits(_ node: Node) -> Bool {
        self.pairs.allSatisfy { node.meta[$0.key] == $0.value }
    }
}
