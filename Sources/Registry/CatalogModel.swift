import Units

/// A machine in the catalog. Names are found without regard to ASCII case.
public struct Node: Sendable, Equatable {
    /// A UUID of 36 characters, or "".
    public var id: String
    public var name: String
    public var address: String
    public var datacenter: String
    public var taggedAddresses: StringMap
    public var meta: StringMap
    public var createIndex: UInt64
    public var modifyIndex: UInt64

    public init(
        id: String = "", name: String, address: String = "", datacenter: String = "",
        taggedAddresses: StringMap = .empty, meta: StringMap = .empty, createIndex: UInt64 = 0, modifyIndex: UInt64 = 0
    ) {
        self.id = id
        self.name = name
        self.address = address
        self.datacenter = datacenter
        self.taggedAddresses = taggedAddresses
        self.meta = meta
        self.createIndex = createIndex
        self.modifyIndex = modifyIndex
    }
}

/// An address under a tag ("lan", "wan_ipv4"…).
public struct TaggedServiceAddress: Sendable, Equatable {
    public var tag: String
    public var address: String
    public var port: UInt32

    public init(tag: String, address: String, port: UInt32) {
        self.tag = tag
        self.address = address
        self.port = port
    }
}

/// One instance of a service on one node.
public struct ServiceInstance: Sendable, Equatable {
    public var node: String
    /// Unique on its node.
    public var id: String
    public var name: String
    public var kind: String
    /// In the order in which they were registered.
    public var tags: [String]
    /// "" where the node's address stands for it.
    public var address: String
    public var port: UInt32
    /// In bytewise order of the tags.
    public var taggedAddresses: [TaggedServiceAddress]
    public var meta: StringMap
    public var weightPassing: UInt32
    public var weightWarning: UInt32
    public var enableTagOverride: Bool
    public var socketPath: String
    /// Canonical JSON; empty when the block is absent.
    public var proxyJSON: [UInt8]
    /// Canonical JSON; empty when the block is absent.
    public var connectJSON: [UInt8]
    public var createIndex: UInt64
    public var modifyIndex: UInt64

    public init(
        node: String, id: String, name: String, kind: String = "", tags: [String] = [], address: String = "",
        port: UInt32 = 0, taggedAddresses: [TaggedServiceAddress] = [], meta: StringMap = .empty,
        weightPassing: UInt32 = 1, weightWarning: UInt32 = 1, enableTagOverride: Bool = false, socketPath: String = "",
        proxyJSON: [UInt8] = [], connectJSON: [UInt8] = [], createIndex: UInt64 = 0, modifyIndex: UInt64 = 0
    ) {
        self.node = node
        self.id = id
        self.name = name
        self.kind = kind
        self.tags = tags
        self.address = address
        self.port = port
        self.taggedAddresses = taggedAddresses
        self.meta = meta
        self.weightPassing = weightPassing
        self.weightWarning = weightWarning
        self.enableTagOverride = enableTagOverride
        self.socketPath = socketPath
        self.proxyJSON = proxyJSON
        self.connectJSON = connectJSON
        self.createIndex = createIndex
        self.modifyIndex = modifyIndex
    }
}

/// The raw value is Consul's word.
public enum CheckStatus: String, Sendable, CaseIterable {
    case passing
    case warning
    case critical

    private static let passingKey = ByteKey(Array("passing".utf8))
    private static let warningKey = ByteKey(Array("warning".utf8))
    private static let criticalKey = ByteKey(Array("critical".utf8))

    /// Under which `checksByStatus` has it.
    var key: ByteKey {
        switch self {
        case .passing: Self.passingKey
        case .warning: Self.warningKey
        case .critical: Self.criticalKey
        }
    }
}

/// A check's result in the catalog. The check itself runs on its node's agent.
public struct HealthCheck: Sendable, Equatable {
    public var node: String
    /// Unique on its node.
    public var id: String
    public var name: String
    public var status: CheckStatus
    public var notes: String
    public var output: String
    /// "" for a check of the node.
    public var serviceID: String
    /// Taken from the service, as are the tags.
    public var serviceName: String
    public var serviceTags: [String]
    public var type: String
    public var interval: String
    public var timeout: String
    /// Canonical JSON; empty when absent.
    public var definitionJSON: [UInt8]
    public var createIndex: UInt64
    public var modifyIndex: UInt64

    public init(
        node: String, id: String, name: String = "", status: CheckStatus = .critical, notes: String = "",
        output: String = "", serviceID: String = "", serviceName: String = "", serviceTags: [String] = [],
        type: String = "", interval: String = "", timeout: String = "", definitionJSON: [UInt8] = [],
        createIndex: UInt64 = 0, modifyIndex: UInt64 = 0
    ) {
        self.node = node
        self.id = id
        self.name = name
        self.status = status
        self.notes = notes
        self.output = output
        self.serviceID = serviceID
        self.serviceName = serviceName
        self.serviceTags = serviceTags
        self.type = type
        self.interval = interval
        self.timeout = timeout
        self.definitionJSON = definitionJSON
        self.createIndex = createIndex
        self.modifyIndex = modifyIndex
    }
}

/// A service's name and every tag that one of its instances carries, in bytewise order.
public struct ServiceSummary: Sendable, Equatable {
    public var name: String
    public var tags: [String]

    public init(name: String, tags: [String]) {
        self.name = name
        self.tags = tags
    }
}

/// An instance with the node that it runs on (`/v1/catalog/service/:name`).
public struct CatalogInstance: Sendable, Equatable {
    public var node: Node
    public var service: ServiceInstance

    public init(node: Node, service: ServiceInstance) {
        self.node = node
        self.service = service
    }
}

/// A node with its services in order of their ids (`/v1/catalog/node/:node`).
public struct NodeServices: Sendable, Equatable {
    public var node: Node
    public var services: [ServiceInstance]

    public init(node: Node, services: [ServiceInstance]) {
        self.node = node
        self.services = services
    }
}

/// An instance with its node and the checks of both (`/v1/health/service/:name`).
public struct ServiceHealth: Sendable, Equatable {
    public var node: Node
    public var service: ServiceInstance
    /// The node's own, then those of this instance; each in order of their ids.
    public var checks: [HealthCheck]

    public init(node: Node, service: ServiceInstance, checks: [HealthCheck]) {
        self.node = node
        self.service = service
        self.checks = checks
    }

    /// The worst of the checks; passing when there is none.
    public var status: CheckStatus {
        if self.checks.contains(where: { $0.status == .critical }) { return .critical }
        return self.checks.contains { $0.status == .warning } ? .warning : .passing
    }
}
