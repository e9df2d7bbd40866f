import Units

/// What a node may do in the cluster; it stands in its certificate.
public enum NodeRole: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// Keeps the replicated log: speaks Raft, and holds the root secret.
    case server
    /// Runs beside services; speaks for its own node only.
    case agent

    public var description: String { self.rawValue }
}

/// Who a node is, as its certificate says it: the URI `serai://<cluster-id>/<role>/<node-name>/<node-id, 16 hex
/// digits>`.
public struct NodeIdentity: Sendable, Hashable, CustomStringConvertible {
    /// A lower-case UUID.
    public let clusterID: String
    public let role: NodeRole
    /// 1 to 128 characters from `A-Z a-z 0-9 . _ -`, so that no two spellings are one name.
    public let name: String
    /// Never `NodeID.none`.
    public let nodeID: NodeID

    public static let nameLengthMax = 128

    /// Throws `.malformedIdentity` with the field's name.
    public init(clusterID: String, role: NodeRole, name: String, nodeID: NodeID) throws(CertificatesError) {
        guard ClusterSecret.uuidBytes(clusterID) != nil else {
            throw .malformedIdentity("cluster id '\(clusterID.prefix(64))' is not a lower-case UUID")
        }
        guard Self.isValid(name: name) else {
            throw .malformedIdentity(
                "node name '\(name.prefix(64))' must have 1 to \(Self.nameLengthMax) characters from A-Z a-z 0-9 . _ -")
        }
        guard nodeID != .none else { throw .malformedIdentity("node id is 0") }
        self.clusterID = clusterID
        self.role = role
        self.name = name
        self.nodeID = nodeID
    }

    public static func isValid(name: String) -> Bool {
        let bytes = name.utf8
        guard (1...Self.nameLengthMax).contains(bytes.count) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }

    static let scheme = "serai://"

    public var uri: String { "\(Self.scheme)\(self.clusterID)/\(self.role)/\(self.name)/\(self.nodeID)" }

    /// Reads exactly what `uri` writes; anything else is refused.
    public init(uri: String) throws(CertificatesError) {
        guard uri.utf8.count <= 512, uri.hasPrefix(Self.scheme) else {
            throw .malformedIdentity("not a serai:// URI")
        }
        let parts = uri.dropFirst(Self.scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 4 else { throw .malformedIdentity("URI must have four parts") }
        guard let role = NodeRole(rawValue: String(parts[1])) else {
            throw .malformedIdentity("unknown role '\(parts[1].prefix(32))'")
        }
        guard let idBytes = Hex.decode(String(parts[3])), idBytes.count == 8 else {
            throw .malformedIdentity("node id must be 16 hexadecimal digits")
        }
        let nodeID = idBytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        try self.init(clusterID: String(parts[0]), role: role, name: String(parts[2]), nodeID: NodeID(nodeID))
    }

    /// Role, name and id, for logs: `server web-1 (00112233aabbccdd)`.
    public var description: String { "\(self.role) \(self.name) (\(self.nodeID))" }
}
