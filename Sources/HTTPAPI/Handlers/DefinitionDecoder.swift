import LocalAgent
import Units

/// Reads service and check definitions from JSON, as the agent's routes and configuration files carry them: field names
/// without regard to case, in CamelCase or snake_case (Consul's API pages Agent/Service, Agent/Check).
public enum DefinitionDecoder {
    public static func service(_ json: JSONValue) throws(JSONError) -> ServiceDefinition {
        try self.service(JSONFields(json, type: "structs.ServiceDefinition", snake: true))
    }

    public static func check(_ json: JSONValue) throws(JSONError) -> CheckDefinition {
        try self.check(JSONFields(json, type: "structs.CheckDefinition", snake: true))
    }

    /// What a check is that was written straight into the catalog with this `Definition`: "" for one that couldn't run.
    static func type(ofCatalogDefinition json: JSONValue) throws(JSONError) -> String {
        let check = try self.check(JSONFields(json, type: "structs.HealthCheckDefinition"))
        return check.interval > .zero || check.isTTL || check.isAlias ? check.type : ""
    }

    private static func service(_ fields: JSONFields) throws(JSONError) -> ServiceDefinition {
        var service = ServiceDefinition()
        try fields.refuseEnterpriseFields()
        service.id = try fields.string("ID")
        service.name = try fields.string("Name")
        service.kind = try fields.string("Kind")
        service.tags = try fields.strings("Tags")
        service.port = try fields.count("Port")
        service.address = try fields.string("Address")
        service.socketPath = try fields.string("SocketPath")
        service.meta = try fields.stringMap("Meta")
        service.enableTagOverride = try fields.bool("EnableTagOverride")
        service.token = try fields.string("Token")
        for entry in try fields.entries("TaggedAddresses", type: "map[string]structs.ServiceAddress") {
            let address = try JSONFields(entry.value, type: "structs.ServiceAddress", snake: true)
            service.taggedAddresses[entry.name] = .init(
                address: try address.string("Address"), port: try address.count("Port"))
        }
        if let weights = try fields.object("Weights", type: "structs.Weights") {
            service.weightPassing = try weights.count("Passing", default: 1)
            service.weightWarning = try weights.count("Warning", default: 1)
        }
        if let check = try fields.object("Check", type: "structs.CheckType") {
            service.checks.append(try self.check(check))
        }
        for check in try fields.objects("Checks", type: "structs.CheckType") ?? [] {
            service.checks.append(try self.check(check))
        }
        if let proxy = fields["Proxy"] { service.proxyJSON = CanonicalJSON.proxy(proxy, destinationType: "service") }
        if let connect = fields["Connect"] {
            service.connectJSON = CanonicalJSON.connect(connect)
            let block = try JSONFields(connect, type: "structs.ServiceConnect", snake: true)
            if let sidecar = try block.object("SidecarService", type: "structs.ServiceDefinition") {
                service.sidecar = [try self.service(sidecar)]
            }
        }
        return service
    }

    private static func check(_ fields: JSONFields) throws(JSONError) -> CheckDefinition {
        var check = CheckDefinition()
        try fields.refuseEnterpriseFields()
        check.id = try fields.string("CheckID")
        if check.id.isEmpty { check.id = try fields.string("ID") }
        check.name = try fields.string("Name")
        check.notes = try fields.string("Notes")
        check.serviceID = try fields.string("ServiceID")
        check.status = try fields.string("Status")
        check.token = try fields.string("Token")
        try self.readKind(fields, into: &check)
        check.tlsServerName = try fields.string("TLSServerName")
        check.tlsSkipVerify = try fields.bool("TLSSkipVerify")
        check.ttl = try self.duration("TTL", of: fields)
        check.interval = try self.duration("Interval", of: fields)
        check.timeout = try self.duration("Timeout", of: fields)
        check.deregisterCriticalServiceAfter = try self.duration("DeregisterCriticalServiceAfter", of: fields)
        check.successBeforePassing = try fields.count("SuccessBeforePassing")
        check.failuresBeforeCritical = try fields.count("FailuresBeforeCritical")
        check.failuresBeforeWarning = try fields.count("FailuresBeforeWarning", default: check.failuresBeforeCritical)
        check.outputMaxSize = try self.outputMaxSize(fields)
        return check
    }

    /// A negative time counts as none, as validation has it.
    private static func duration(_ name: String, of fields: JSONFields) throws(JSONError) -> Nanoseconds {
        switch fields[name] {
        case .string(let text) where text.hasPrefix("-") && GoDuration.parse(String(text.dropFirst())) != nil: .zero
        case .number(let text) where text.hasPrefix("-") && Double(text) != nil: .zero
        default: try fields.duration(name) ?? .zero
        }
    }

    /// Validation refuses what is negative.
    private static func outputMaxSize(_ fields: JSONFields) throws(JSONError) -> Int32 {
        if case .number(let text) = fields["OutputMaxSize"], let size = Int32(text), size < 0 { return size }
        return Int32(clamping: try fields.count("OutputMaxSize"))
    }

    private static func readKind(_ fields: JSONFields, into check: inout CheckDefinition) throws(JSONError) {
        check.args = try fields.strings("Args")
        if check.args.isEmpty { check.args = try fields.strings("ScriptArgs") }
        check.dockerContainerID = try fields.string("DockerContainerID")
        check.shell = try fields.string("Shell")
        check.http = try fields.string("HTTP")
        check.method = try fields.string("Method")
        check.body = try fields.string("Body")
        check.disableRedirects = try fields.bool("DisableRedirects")
        for entry in try fields.entries("Header", type: "map[string][]string") {
            let list = JSONFields([.init(name: "Header", value: entry.value)])
            check.header.append(.init(name: entry.name, values: try list.strings("Header")))
        }
        check.tcp = try fields.string("TCP")
        check.tcpUseTLS = try fields.bool("TCPUseTLS")
        check.udp = try fields.string("UDP")
        check.grpc = try fields.string("GRPC")
        check.grpcUseTLS = try fields.bool("GRPCUseTLS")
        check.h2ping = try fields.string("H2PING")
        check.h2pingUseTLS = try fields.bool("H2PingUseTLS", default: true)
        check.aliasNode = try fields.string("AliasNode")
        check.aliasService = try fields.string("AliasService")
        check.osService = try fields.string("OSService")
    }
}
