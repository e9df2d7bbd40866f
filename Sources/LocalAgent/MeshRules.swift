import Protocol

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a proxy or a gateway must have, in Consul's words (Consul's pages on service definitions). Agent and catalog refuse
/// what breaks them.
public struct MeshRules {
    private let kind: String
    private let hasPort: Bool
    private let hasSocket: Bool
    private let isNative: Bool
    private let proxy: Fields

    private typealias Fields = [String: JSONValue]

    public init(_ service: LogService) {
        self.init(
            kind: service.kind, port: service.port, socketPath: service.socketPath,
            proxyJSON: [UInt8](service.proxyJson), connectJSON: [UInt8](service.connectJson))
    }

    init(kind: String, port: UInt32, socketPath: String, proxyJSON: [UInt8], connectJSON: [UInt8]) {
        self.kind = kind
        self.hasPort = port > 0
        self.hasSocket = !socketPath.isEmpty
        let decoder = JSONDecoder()
        let connect = (try? decoder.decode(Fields.self, from: Data(connectJSON))) ?? [:]
        self.isNative = connect["Native"] == .bool(true)
        self.proxy = (try? decoder.decode(Fields.self, from: Data(proxyJSON))) ?? [:]
    }

    private static func text(_ fields: Fields, _ name: String) -> String {
        if case .string(let text)? = fields[name] { text } else { "" }
    }

    private static func number(_ fields: Fields, _ name: String) -> Int64 {
        if case .integer(let number)? = fields[name] { number } else { 0 }
    }

    private var upstreams: [Fields] {
        guard case .array(let elements)? = self.proxy["Upstreams"] else { return [] }
        return elements.map { if case .object(let fields) = $0 { fields } else { [:] } }
    }

    /// Nil when nothing is wrong; else every fault, as Consul lists them.
    public var problem: String? {
        switch self.kind {
        case "connect-proxy": Self.list(self.proxyFaults)
        case "mesh-gateway", "terminating-gateway", "ingress-gateway": Self.list(self.gatewayFaults)
        default: nil
        }
    }

    static func list(_ faults: [String]) -> String? {
        if faults.isEmpty { return nil }
        let head = faults.count == 1 ? "1 error occurred:" : "\(faults.count) errors occurred:"
        return head + faults.map { "\n\t* \($0)" }.joined() + "\n\n"
    }

    private var proxyFaults: [String] {
        var faults: [String] = []
        if Self.text(self.proxy, "DestinationServiceName").allSatisfy(\.isWhitespace) {
            faults.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
        }
        if !self.hasPort && !self.hasSocket { faults.append("Port or SocketPath must be set for a Connect proxy") }
        if self.isNative { faults.append("A Proxy cannot also be Connect Native, only typical services") }
        return faults + self.upstreamFaults
    }

    private var upstreamFaults: [String] {
        var faults: [String] = []
        var names: Set<String> = []
        var places: Set<String> = []
        for upstream in self.upstreams {
            let name = Self.text(upstream, "DestinationName")
            let port = Self.number(upstream, "LocalBindPort")
            let socket = Self.text(upstream, "LocalBindSocketPath")
            var type = Self.text(upstream, "DestinationType")
            if type.isEmpty { type = "service" }
            if type != "service" && type != "prepared_query" {
                faults.append("unknown upstream destination type: \"\(type)\"")
            }
            if name.isEmpty {
                faults.append("upstream destination name cannot be empty")
                continue
            }
            if name == "*" { faults.append("upstream destination name cannot be a wildcard") }
            if port == 0 && socket.isEmpty {
                faults.append("upstream local bind port or local socket path must be defined and nonzero")
                continue
            }
            let address = Self.text(upstream, "LocalBindAddress")
            let place = socket.isEmpty ? "\(address.isEmpty ? "127.0.0.1" : address):\(port)" : socket
            if !places.insert(place).inserted {
                faults.append(
                    "upstreams cannot contain duplicates by local bind address and port or unix path; "
                        + "\"\(place)\" is specified twice")
            }
            let datacenter = Self.text(upstream, "Datacenter")
            let destination = "type=\"\(type)\", name=\"\(name)\", namespace=\"\", datacenter=\"\(datacenter)\""
            let peer = Self.text(upstream, "DestinationPeer")
            if !names.insert(destination + peer).inserted {
                faults.append("upstreams cannot contain duplicates of [\(destination)]")
            }
        }
        return faults
    }

    private var gatewayFaults: [String] {
        var faults: [String] = []
        if !self.hasPort { faults.append("Port must be non-zero for a \(self.kind)") }
        for name in ["DestinationServiceName", "DestinationServiceID", "LocalServiceAddress"]
        where !Self.text(self.proxy, name).isEmpty {
            faults.append(self.unwanted(name))
        }
        if Self.number(self.proxy, "LocalServicePort") != 0 { faults.append(self.unwanted("LocalServicePort")) }
        if !self.upstreams.isEmpty { faults.append(self.unwanted("Upstreams")) }
        return faults
    }

    private func unwanted(_ name: String) -> String {
        "The Proxy.\(name) configuration is invalid for a \(self.kind)"
    }
}

extension ServiceDefinition {
    /// Nil when the mesh's rules are kept; else why not.
    var invalidMesh: String? {
        if let sidecar = self.sidecar.first {
            var faults: [String] = []
            if !sidecar.sidecar.isEmpty { faults.append("A SidecarService cannot have a nested SidecarService") }
            // Filled in by `SidecarDefaults` it has one, and is looked at for itself.
            if !sidecar.id.isEmpty {
                faults.append("A SidecarService cannot specify an ID as this is managed by the agent")
            }
            if let text = MeshRules.list(faults) { return text }
        }
        return MeshRules(
            kind: self.kind, port: self.port, socketPath: self.socketPath, proxyJSON: self.proxyJSON,
            connectJSON: self.connectJSON
        ).problem
    }
}
