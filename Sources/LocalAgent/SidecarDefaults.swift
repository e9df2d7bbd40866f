import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a `SidecarService` block leaves out and its parent supplies (Consul's page on sidecar services).
enum SidecarDefaults {
    static let suffix = "-sidecar-proxy"

    /// - Throws: `invalid` when the `Proxy` block is not a JSON object.
    static func fill(
        _ written: ServiceDefinition, id: String, port: UInt32, parent: ServiceDefinition
    ) throws(LocalAgentError) -> ServiceDefinition {
        var sidecar = written
        sidecar.id = id
        sidecar.port = port
        if sidecar.name.isEmpty { sidecar.name = parent.name + self.suffix }
        if sidecar.kind.isEmpty { sidecar.kind = "connect-proxy" }
        if sidecar.address.isEmpty { sidecar.address = parent.address }
        if sidecar.tags.isEmpty { sidecar.tags = parent.tags }
        if sidecar.meta.isEmpty { sidecar.meta = parent.meta }
        if sidecar.token.isEmpty { sidecar.token = parent.token }
        sidecar.proxyJSON = try self.proxy(written.proxyJSON, parent: parent)
        if sidecar.checks.isEmpty { sidecar.checks = [self.listening(sidecar), self.aliasing(parent, sidecar)] }
        return sidecar
    }

    /// The first of two checks that Consul gives a sidecar without any.
    private static func listening(_ sidecar: ServiceDefinition) -> CheckDefinition {
        var check = CheckDefinition()
        check.id = "service:\(sidecar.id):1"
        check.name = "Connect Sidecar Listening"
        check.tcp = TCPTarget.text(host: sidecar.address.isEmpty ? "127.0.0.1" : sidecar.address, port: sidecar.port)
        check.interval = .seconds(10)
        return check
    }

    /// The second: a proxy is as well as what it stands before.
    private static func aliasing(_ parent: ServiceDefinition, _ sidecar: ServiceDefinition) -> CheckDefinition {
        var check = CheckDefinition()
        check.id = "service:\(sidecar.id):2"
        check.name = "Connect Sidecar Aliasing \(parent.effectiveID)"
        check.aliasService = parent.effectiveID
        return check
    }

    private static func proxy(_ written: [UInt8], parent: ServiceDefinition) throws(LocalAgentError) -> [UInt8] {
        do {
            var fields: [String: JSONValue] = [:]
            if !written.isEmpty { fields = try JSONDecoder().decode([String: JSONValue].self, from: Data(written)) }
            func supply(_ name: String, _ value: JSONValue) { if fields[name] == nil { fields[name] = value } }
            supply("DestinationServiceName", .string(parent.name))
            supply("DestinationServiceID", .string(parent.effectiveID))
            if parent.socketPath.isEmpty {
                supply("LocalServiceAddress", .string("127.0.0.1"))
                if parent.port > 0 { supply("LocalServicePort", .integer(Int64(parent.port))) }
            } else {
                supply("LocalServiceSocketPath", .string(parent.socketPath))
            }
            supply("Mode", .string(""))
            supply("MeshGateway", .object([:]))
            supply("Expose", .object([:]))
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(fields))
        } catch {
            throw .invalid("Invalid SidecarService: Proxy is not a JSON object")
        }
    }
}

enum TCPTarget {
    static func text(host: String, port: UInt32) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// Any JSON value; whole numbers stay whole.
enum JSONValue: Codable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}
