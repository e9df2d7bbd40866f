import Units

/// What a view follows: the rows that one kind of question reads.
public enum ViewTopic: Sendable, Hashable {
    /// A service's instances, their nodes, and the checks of both. The name in ASCII small letters.
    case service(ByteKey)
    /// A node, its services and all its checks. The name in ASCII small letters.
    case node(ByteKey)
    /// Every node.
    case nodes
    /// Every instance, and the nodes.
    case services
    /// The checks in one state, or all, and the nodes.
    case checks(CheckStatus?)
    /// The keys with a prefix, and where keys below it used to be.
    case keys(ByteKey)

    public static func service(named name: String) -> ViewTopic { .service(foldedKey(name)) }
    public static func node(named name: String) -> ViewTopic { .node(foldedKey(name)) }
}

// As numbers and bytes, for messages.
extension ViewTopic {
    public var kind: UInt32 {
        switch self {
        case .service: 1
        case .node: 2
        case .nodes: 3
        case .services: 4
        case .checks: 5
        case .keys: 6
        }
    }

    public var key: [UInt8] {
        switch self {
        case .service(let name), .node(let name), .keys(let name): name.bytes
        case .nodes, .services: []
        case .checks(let status): Array((status?.rawValue ?? "").utf8)
        }
    }

    /// nil for what this version does not know.
    public init?(kind: UInt32, key: [UInt8]) {
        switch kind {
        case 1: self = .service(ByteKey(key))
        case 2: self = .node(ByteKey(key))
        case 3: self = .nodes
        case 4: self = .services
        case 5 where key.isEmpty: self = .checks(nil)
        case 5:
            guard let status = CheckStatus(rawValue: String(decoding: key, as: UTF8.self)) else { return nil }
            self = .checks(status)
        case 6: self = .keys(ByteKey(key))
        default: return nil
        }
    }
}
