import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a new node needs to enter a cluster, as one line of text: `serai-agent-1.<base64url>` or
/// `serai-server-1.<base64url>`. It names the cluster, pins its CA, and carries a MAC by which servers recognise it
/// without keeping a list.
///
/// An agent token lets its holder ask for an agent's certificate until it expires. A **server token also carries the
/// cluster's root secret**: it is as powerful as the CA's private key, its expiry only keeps this software from using
/// it, and whoever may read it can act as any server for ever. Hand it over as one would a root password.
///
/// The expiry is checked when a node joins, not later: a node that has joined keeps its certificate.
public struct JoinToken: Sendable, Equatable {
    public let role: NodeRole
    /// A lower-case UUID.
    public let clusterID: String
    /// SHA-256 of the CA's SubjectPublicKeyInfo (RFC 7469 §2.4), 32 bytes: a joining agent trusts only a server whose
    /// chain leads to a key with this hash.
    public let pin: [UInt8]
    /// 16 random bytes in hexadecimal, for audit trails.
    public let id: String
    public let expiry: UnixSeconds
    /// Only in a server token.
    public let clusterSecret: ClusterSecret?
    let mac: [UInt8]

    public static let agentLifetime: Int64 = 365 * UnixSeconds.day
    public static let serverLifetime: Int64 = 30 * UnixSeconds.day

    /// Makes a token that ends `lifetime` seconds after `now` (30 days for servers, a year for agents, unless given).
    public init(
        role: NodeRole, secret: ClusterSecret, now: UnixSeconds = .now(), lifetime: Int64? = nil
    ) throws(CertificatesError) {
        let seconds = lifetime ?? (role == .server ? Self.serverLifetime : Self.agentLifetime)
        guard seconds > 0 else { throw .invalidSetting("a join token's lifetime must be positive") }
        self.role = role
        self.clusterID = secret.clusterID
        self.pin = try CertificateAuthority(secret).pin
        self.id = Hex.encode(randomBytes(16))
        self.expiry = now.adding(seconds: seconds)
        self.clusterSecret = role == .server ? secret : nil
        let body = try Self.body(
            clusterID: self.clusterID, pin: self.pin, id: self.id, expiry: self.expiry, secret: self.clusterSecret)
        self.mac = Array(
            HMAC<SHA256>.authenticationCode(for: Self.authenticated(role, body), using: secret.tokenKey))
    }

    public var text: String {
        // The body of a token that was made or parsed can't be malformed.
        let body = (try? self.body()) ?? []
        let sealed = body + self.mac
        return "\(Self.prefix(self.role))\(Base64URL.encode(sealed + Self.checksum(self.role, sealed)))"
    }

    // MARK: Reading

    /// Reads a token and checks what can be checked without the cluster's key: its shape, that no character was
    /// mistyped, its role (when `expecting` is given), its expiry, and for a server token also MAC and pin against the
    /// secret inside. Leading and trailing white space is ignored.
    public static func parse(
        _ text: String, expecting role: NodeRole? = nil, now: UnixSeconds = .now()
    ) throws(CertificatesError) -> JoinToken {
        let token = try Self.decode(text)
        if let role, token.role != role { throw .tokenRole(expected: role, found: token.role) }
        if let secret = token.clusterSecret {
            try token.verify(with: secret, expecting: .server, now: now)
            guard try CertificateAuthority(secret).pin == token.pin else {
                throw .malformedToken("its CA hash does not match its secret")
            }
        }
        try token.checkExpiry(now)
        return token
    }

    /// What a server checks before it lets somebody in: MAC, cluster, role, expiry, in this order of importance.
    public func verify(
        with secret: ClusterSecret, expecting role: NodeRole, now: UnixSeconds = .now()
    ) throws(CertificatesError) {
        guard self.clusterID == secret.clusterID else {
            throw .foreignCluster(expected: secret.clusterID, found: self.clusterID)
        }
        let message = Self.authenticated(self.role, try self.body())
        guard HMAC<SHA256>.isValidAuthenticationCode(self.mac, authenticating: message, using: secret.tokenKey) else {
            throw .tokenMACMismatch
        }
        guard self.role == role else { throw .tokenRole(expected: role, found: self.role) }
        try self.checkExpiry(now)
    }

    private func checkExpiry(_ now: UnixSeconds) throws(CertificatesError) {
        if now >= self.expiry { throw .tokenExpired(at: self.expiry, now: now) }
    }

    private static func decode(_ text: String) throws(CertificatesError) -> JoinToken {
        guard text.utf8.count <= 1024 else { throw .malformedToken("too long") }
        let trimmed = text.split(whereSeparator: \.isWhitespace)
        guard trimmed.count == 1, let word = trimmed.first else { throw .malformedToken("must be one word") }
        guard let role = NodeRole.allCases.first(where: { word.hasPrefix(Self.prefix($0)) }) else {
            throw .malformedToken("must begin with serai-server-1. or serai-agent-1.")
        }
        guard let bytes = Base64URL.decode(String(word.dropFirst(Self.prefix(role).count))) else {
            throw .malformedToken("a character is wrong or missing")
        }
        let sealed = Array(bytes.dropLast(4))
        guard bytes.count > 4, Self.checksum(role, sealed) == Array(bytes.suffix(4)) else {
            throw .malformedToken("its checksum does not match: was it copied whole?")
        }
        return try JoinToken(role: role, sealed: sealed)
    }

    private init(role: NodeRole, sealed: [UInt8]) throws(CertificatesError) {
        var reader = ByteReader(sealed)
        guard let uuid = reader.read(16), let pin = reader.read(32), let id = reader.read(16),
            let expiry = reader.readInt64()
        else { throw .malformedToken("too short") }
        var secret: ClusterSecret?
        if role == .server {
            guard let created = reader.readInt64(), let bytes = reader.read(ClusterSecret.secretLength) else {
                throw .malformedToken("too short")
            }
            secret = try ClusterSecret(
                clusterID: ClusterSecret.uuidText(uuid), createdAt: UnixSeconds(created), secret: bytes)
        }
        guard let mac = reader.read(32), reader.isAtEnd else { throw .malformedToken("wrong length") }
        self.role = role
        self.clusterID = ClusterSecret.uuidText(uuid)
        self.pin = pin
        self.id = Hex.encode(id)
        self.expiry = UnixSeconds(expiry)
        self.clusterSecret = secret
        self.mac = mac
    }

    // MARK: Bytes

    private static func prefix(_ role: NodeRole) -> String { "serai-\(role)-1." }

    private func body() throws(CertificatesError) -> [UInt8] {
        try Self.body(
            clusterID: self.clusterID, pin: self.pin, id: self.id, expiry: self.expiry, secret: self.clusterSecret)
    }

    /// Cluster id 16, CA hash 32, token id 16, expiry 8 (big-endian), and in a server token creation time 8, secret 32.
    private static func body(
        clusterID: String, pin: [UInt8], id: String, expiry: UnixSeconds, secret: ClusterSecret?
    ) throws(CertificatesError) -> [UInt8] {
        guard let uuid = ClusterSecret.uuidBytes(clusterID), let idBytes = Hex.decode(id) else {
            throw .malformedToken("its cluster id or id is malformed")
        }
        var bytes = uuid + pin + idBytes + bigEndianBytes(expiry.rawValue)
        if let secret { bytes += bigEndianBytes(secret.createdAt.rawValue) + secret.secret }
        return bytes
    }

    /// The role is under the MAC too: an agent token can't be dressed up as a server token.
    private static func authenticated(_ role: NodeRole, _ body: [UInt8]) -> [UInt8] {
        Array(Self.prefix(role).utf8) + body
    }

    /// Finds typing errors before any server is asked; it protects against nothing else.
    private static func checksum(_ role: NodeRole, _ sealed: [UInt8]) -> [UInt8] {
        Array(SHA256.hash(data: Self.authenticated(role, sealed)).prefix(4))
    }
}

extension JoinToken: CustomStringConvertible {
    /// Without the secret, so that a token in a log line harms nobody.
    public var description: String { "join token \(self.id) for role \(self.role) of cluster \(self.clusterID)" }
}
