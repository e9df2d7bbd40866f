import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

// How definitions are kept on disk: JSON with one key per field that differs from a fresh definition's value. A field
// that an older version never wrote reads as its default, and one that this version does not know is passed over.

struct StoredKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(_ name: String) { self.stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
}

/// One field of a stored definition: its name in JSON and the place it is kept.
struct StoredField<Root> {
    let encode: (Root, Root, inout KeyedEncodingContainer<StoredKey>) throws -> Void
    let decode: (inout Root, KeyedDecodingContainer<StoredKey>) throws -> Void

    init<Value: Codable & Equatable>(_ name: String, _ path: WritableKeyPath<Root, Value>) {
        let key = StoredKey(name)
        self.encode = { value, fresh, container in
            if value[keyPath: path] != fresh[keyPath: path] {
                try container.encode(value[keyPath: path], forKey: key)
            }
        }
        self.decode = { value, container in
            if let stored = try container.decodeIfPresent(Value.self, forKey: key) { value[keyPath: path] = stored }
        }
    }

    /// A length of time, as its nanoseconds.
    init(_ name: String, time path: WritableKeyPath<Root, Nanoseconds>) {
        self.init(name, path.appending(path: \.storedNanoseconds))
    }
}

extension Nanoseconds {
    fileprivate var storedNanoseconds: UInt64 {
        get { self.rawValue }
        set { self = Nanoseconds(newValue) }
    }
}

protocol StoredDefinition {
    init()
    static var storedFields: [StoredField<Self>] { get }
}

/// A definition in its stored form.
struct Stored<Definition: StoredDefinition>: Codable {
    var definition: Definition

    init(_ definition: Definition) { self.definition = definition }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: StoredKey.self)
        let fresh = Definition()
        for field in Definition.storedFields { try field.encode(self.definition, fresh, &container) }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: StoredKey.self)
        self.definition = Definition()
        for field in Definition.storedFields { try field.decode(&self.definition, container) }
    }
}

extension CheckDefinition: StoredDefinition {
    static var storedFields: [StoredField<CheckDefinition>] {
        [
            .init("id", \.id), .init("name", \.name), .init("notes", \.notes), .init("service_id", \.serviceID),
            .init("status", \.status), .init("token", \.token), .init("ttl_ns", time: \.ttl), .init("args", \.args),
            .init("docker_container_id", \.dockerContainerID), .init("shell", \.shell), .init("http", \.http),
            .init("method", \.method), .init("header", \.header), .init("body", \.body),
            .init("disable_redirects", \.disableRedirects), .init("tcp", \.tcp), .init("tcp_use_tls", \.tcpUseTLS),
            .init("udp", \.udp), .init("grpc", \.grpc), .init("grpc_use_tls", \.grpcUseTLS), .init("h2ping", \.h2ping),
            .init("h2ping_use_tls", \.h2pingUseTLS), .init("alias_node", \.aliasNode),
            .init("alias_service", \.aliasService), .init("os_service", \.osService),
            .init("tls_server_name", \.tlsServerName), .init("tls_skip_verify", \.tlsSkipVerify),
            .init("interval_ns", time: \.interval), .init("timeout_ns", time: \.timeout),
            .init("deregister_critical_service_after_ns", time: \.deregisterCriticalServiceAfter),
            .init("success_before_passing", \.successBeforePassing),
            .init("failures_before_warning", \.failuresBeforeWarning),
            .init("failures_before_critical", \.failuresBeforeCritical), .init("output_max_size", \.outputMaxSize),
        ]
    }
}

extension ServiceDefinition: StoredDefinition {
    /// Without `checks` and `sidecar`: they are registrations with rows of their own.
    static var storedFields: [StoredField<ServiceDefinition>] {
        [
            .init("id", \.id), .init("name", \.name), .init("kind", \.kind), .init("tags", \.tags),
            .init("port", \.port), .init("address", \.address), .init("socket_path", \.socketPath),
            .init("tagged_addresses", \.taggedAddresses), .init("meta", \.meta),
            .init("enable_tag_override", \.enableTagOverride), .init("weight_passing", \.weightPassing),
            .init("weight_warning", \.weightWarning), .init("token", \.token), .init("proxy", \.proxyJSON),
            .init("connect", \.connectJSON),
        ]
    }
}

extension ServiceDefinition.TaggedAddress: Codable {
    private enum CodingKeys: String, CodingKey { case address, port }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            address: try container.decode(String.self, forKey: .address),
            port: try container.decode(UInt32.self, forKey: .port))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.address, forKey: .address)
        try container.encode(self.port, forKey: .port)
    }
}

extension CheckDefinition.Header: Codable {
    private enum CodingKeys: String, CodingKey { case name, values }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            name: try container.decode(String.self, forKey: .name),
            values: try container.decode([String].self, forKey: .values))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.name, forKey: .name)
        try container.encode(self.values, forKey: .values)
    }
}

/// A registered service on disk.
struct StoredService: Codable {
    var definition: Stored<ServiceDefinition>
    /// The service whose sidecar this is; "" for one that stands for itself.
    var parent: String
    /// From a configuration file rather than the API.
    var configured: Bool
}

/// A registered check on disk.
struct StoredCheck: Codable {
    var definition: Stored<CheckDefinition>
    var configured: Bool
}

/// A TTL check's last report on disk.
struct StoredCheckState: Codable, Equatable {
    var status: String
    var output: String
    /// Nanoseconds since 1970.
    var expiresAt: UInt64
}

/// A deregistration that the catalog may not know of yet.
struct StoredRemoval: Codable, Equatable {
    var isService: Bool
    var id: String
}

enum StoredCoding {
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(try encoder.encode(value))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
