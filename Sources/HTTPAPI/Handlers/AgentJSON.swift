import LocalAgent
import Protocol
import Registry
import Units

// How the agent's own registrations look (Consul's API page Agent).
extension JSONWriter {
    /// `contentHash` "" leaves it out.
    mutating func agentService(_ service: LogService, datacenter: String, contentHash: String = "") {
        let row = service.row
        self.object { writer in
            writer.optionalField("Kind", row.kind)
            writer.field("ID", row.id)
            writer.field("Service", row.name)
            writer.key("Tags")
            writer.strings(row.tags)
            writer.key("Meta")
            writer.mapOrEmpty(row.meta)
            writer.key("Port")
            writer.number(UInt64(row.port))
            writer.field("Address", row.address)
            writer.optionalField("SocketPath", row.socketPath)
            if !row.taggedAddresses.isEmpty {
                writer.key("TaggedAddresses")
                writer.taggedAddresses(row.taggedAddresses)
            }
            writer.key("Weights")
            writer.weights(row.weightPassing, row.weightWarning)
            writer.key("EnableTagOverride")
            writer.bool(row.enableTagOverride)
            if !row.proxyJSON.isEmpty {
                writer.key("Proxy")
                writer.agentProxy(row.proxyJSON)
            }
            if !row.connectJSON.isEmpty {
                writer.key("Connect")
                writer.raw(json: row.connectJSON)
            }
            writer.field("Datacenter", datacenter)
            writer.optionalField("ContentHash", contentHash)
        }
    }

    /// The agent leaves out what an upstream does not say; the catalog spells it out.
    private mutating func agentProxy(_ json: [UInt8]) {
        guard case .object(var fields)? = try? JSONValue.parse(json) else { return self.raw(json: json) }
        fields.removeAll { $0 == .init(name: "Mode", value: .string("")) }
        for position in fields.indices where fields[position].name == "Upstreams" {
            guard case .array(let upstreams) = fields[position].value else { continue }
            fields[position].value = .array(
                upstreams.map { upstream in
                    guard case .object(let fields) = upstream else { return upstream }
                    return .object(
                        fields.filter { field in
                            switch field.name {
                            case "Datacenter": field.value != .string("")
                            case "Config": field.value != .null
                            default: true
                            }
                        })
                })
        }
        self.value(.object(fields))
    }

    mutating func agentCheck(_ check: LogCheck, in state: LocalState) { self.check(check.row(in: state)) }

    mutating func member(_ member: Member) {
        self.object { writer in
            writer.field("Name", member.name)
            writer.field("Addr", member.address)
            writer.key("Port")
            writer.number(member.port)
            writer.key("Tags")
            writer.object { writer in
                for tag in member.tags {
                    writer.key(text: tag.name)
                    writer.string(tag.value)
                }
            }
            writer.key("Status")
            writer.number(UInt64(member.status.rawValue))
            // What Serf's protocol would say; fixed, since there is no Serf here.
            writer.versions(
                [
                    ("ProtocolMin", 1), ("ProtocolMax", 5), ("ProtocolCur", 2), ("DelegateMin", 2), ("DelegateMax", 5),
                    ("DelegateCur", 4),
                ])
        }
    }

    private mutating func versions(_ versions: [(StaticString, UInt64)]) {
        for (name, version) in versions {
            self.key(name)
            self.number(version)
        }
    }
}

extension LogService {
    /// As the catalog has it.
    var row: ServiceInstance { ServiceInstance(self, node: "") }
}

extension LogCheck {
    /// As the catalog has it, with what it does not say of its service.
    func row(in state: LocalState) -> HealthCheck {
        let service = self.serviceID.isEmpty ? nil : state.service(self.serviceID)
        var shown = HealthCheck(shown: self, tags: service?.tags ?? [])
        if let service, shown.serviceName.isEmpty { shown.serviceName = service.name }
        return shown
    }
}

extension LocalState {
    func service(_ id: String) -> LogService? { self.services.first { $0.id == id } }

    /// The service's checks and the node's own.
    func checks(of service: LogService) -> [LogCheck] {
        self.checks.filter { $0.serviceID == service.id || $0.serviceID.isEmpty }
    }
}

/// The one word for a service's checks: maintenance before critical before warning before passing.
enum AggregatedStatus: String {
    case maintenance, critical, warning, passing

    init(_ checks: [LogCheck]) {
        var worst = AggregatedStatus.passing
        for check in checks {
            if check.id == "_node_maintenance" || check.id.hasPrefix("_service_maintenance:") {
                self = .maintenance
                return
            }
            if check.status == "critical" { worst = .critical }
            if check.status == "warning" && worst == .passing { worst = .warning }
        }
        self = worst
    }

    var httpStatus: Int {
        switch self {
        case .passing: 200
        case .warning: 429
        case .critical, .maintenance: 503
        }
    }

    /// Of several instances, the worst.
    static func worst(_ statuses: [AggregatedStatus]) -> AggregatedStatus {
        let order: [AggregatedStatus] = [.maintenance, .critical, .warning]
        return order.first { statuses.contains($0) } ?? .passing
    }
}
