import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The one secret that a cluster stands on: whoever has it can act as any server. Each server keeps it in
/// `cluster.key`. Out of it come, by HKDF-SHA256 with the cluster id as salt, the RPC CA's private key, the sealing
/// key and the key that authenticates join tokens; losing one of those does not reveal the others.
public struct ClusterSecret: Sendable, Equatable {
    /// A lower-case UUID.
    public let clusterID: String
    /// When the cluster was made; the CA certificate's validity is counted from it, so that every server builds the
    /// same one.
    public let createdAt: UnixSeconds
    /// 32 random bytes.
    let secret: [UInt8]

    static let secretLength = 32

    init(clusterID: String, createdAt: UnixSeconds, secret: [UInt8]) throws(CertificatesError) {
        guard Self.uuidBytes(clusterID) != nil else {
            throw .malformedIdentity("cluster id '\(clusterID.prefix(64))' is not a lower-case UUID")
        }
        guard secret.count == Self.secretLength else {
            throw .malformedKey("the cluster secret must have \(Self.secretLength) bytes")
        }
        guard (0...Self.createdAtMax).contains(createdAt.rawValue) else {
            throw .malformedKey("the cluster's time of creation is out of range")
        }
        self.clusterID = clusterID
        self.createdAt = createdAt
        self.secret = secret
    }

    /// The year 9000: far enough, and the CA's end of validity still has four digits for its year, as X.509 wants.
    private static let createdAtMax: Int64 = 221_845_392_000

    /// A new cluster.
    public static func generate(now: UnixSeconds = .now()) -> ClusterSecret {
        var uuid = randomBytes(16)
        uuid[6] = uuid[6] & 0x0F | 0x40  // version 4
        uuid[8] = uuid[8] & 0x3F | 0x80  // RFC 9562's variant
        let created = UnixSeconds(min(max(0, now.rawValue), Self.createdAtMax))
        return ClusterSecret(
            uncheckedID: Self.uuidText(uuid), createdAt: created, secret: randomBytes(Self.secretLength))
    }

    private init(uncheckedID clusterID: String, createdAt: UnixSeconds, secret: [UInt8]) {
        self.clusterID = clusterID
        self.createdAt = createdAt
        self.secret = secret
    }

    public static func == (left: ClusterSecret, right: ClusterSecret) -> Bool {
        left.clusterID == right.clusterID && left.createdAt == right.createdAt
            && SymmetricKey(data: left.secret) == SymmetricKey(data: right.secret)
    }

    // MARK: Derived keys

    /// `purpose` keeps the keys apart; changing one of these texts changes the key.
    func derive(_ purpose: String, attempt: UInt8 = 0) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: self.secret), salt: Array(self.clusterID.utf8),
            info: Array("serai \(purpose)".utf8) + [attempt], outputByteCount: 32)
    }

    var tokenKey: SymmetricKey { self.derive("join token") }
    var sealingKey: SymmetricKey { self.derive("sealing") }

    /// 32 bytes are a private key unless they are zero or not below the curve's order, which happens once in 2^32; then
    /// the next attempt is taken, the same on every server.
    func authorityKey() throws(CertificatesError) -> P256.Signing.PrivateKey {
        for attempt in UInt8.min ... .max {
            let bytes = self.derive("rpc authority", attempt: attempt)
            if let key = try? P256.Signing.PrivateKey(rawRepresentation: bytes) { return key }
        }
        throw .malformedKey("no CA key can be derived from the cluster secret")
    }

    // MARK: UUID text

    static func uuidText(_ bytes: [UInt8]) -> String {
        var text = ""
        for (position, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(position) { text += "-" }
            text += Hex.encode([byte])
        }
        return text
    }

    /// The 16 bytes of a lower-case UUID with its dashes in place; nil for any other text.
    static func uuidBytes(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 36, let bytes = Hex.decode(text.filter { $0 != "-" }), bytes.count == 16,
            Self.uuidText(bytes).utf8.elementsEqual(text.utf8)
        else { return nil }
        return bytes
    }
}

// MARK: The file

extension ClusterSecret {
    public static let fileName = "cluster.key"
    private static let firstLine = "serai-cluster-key-1"

    /// Writes the file with mode 0600, durable when this returns: written beside it, synced, renamed.
    public func save(to path: String) throws(CertificatesError) {
        let body = """
            \(Self.firstLine)
            cluster-id: \(self.clusterID)
            created: \(self.createdAt)
            secret: \(Hex.encode(self.secret))

            """
        try SecretFile.write(Array((body + "checksum: \(Self.checksum(body))\n").utf8), to: path)
    }

    /// Refuses a file that group or others may read or write (`.filePermissions`), and one that was changed
    /// (`.fileDamaged`).
    public static func load(from path: String) throws(CertificatesError) -> ClusterSecret {
        let text = String(decoding: try SecretFile.read(path, secret: true), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard lines.first == Self.firstLine else {
            throw .fileDamaged(path: path, reason: "its first line is not \(Self.firstLine)")
        }
        guard lines.count == 6, lines[5].isEmpty else {
            throw .fileDamaged(path: path, reason: "it must have five lines")
        }
        let body = lines.prefix(4).joined(separator: "\n") + "\n"
        guard lines[4] == "checksum: \(Self.checksum(body))" else {
            throw .fileDamaged(path: path, reason: "its checksum does not match")
        }
        guard let clusterID = Self.value(lines[1], "cluster-id"), let created = Self.value(lines[2], "created"),
            let createdAt = Int64(created), let hex = Self.value(lines[3], "secret"), let secret = Hex.decode(hex)
        else { throw .fileDamaged(path: path, reason: "a field is missing or malformed") }
        return try ClusterSecret(clusterID: clusterID, createdAt: UnixSeconds(createdAt), secret: secret)
    }

    private static func value(_ line: String, _ name: String) -> String? {
        line.hasPrefix("\(name): ") ? String(line.dropFirst(name.count + 2)) : nil
    }

    private static func checksum(_ body: String) -> String { Hex.encode(SHA256.hash(data: Array(body.utf8)).prefix(8)) }
}
