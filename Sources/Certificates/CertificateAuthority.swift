import Crypto
import Protocol
import SwiftASN1
import Units
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// How node certificates are made and how much clocks may differ.
public struct CertificatePolicy: Sendable, Equatable {
    /// From issue to expiry, in seconds; a node renews at half of it.
    public var validity: Int64 = 72 * UnixSeconds.day
    /// How far before the time of issue a certificate starts to be valid, so that nodes with a slow clock accept it.
    public var backdating: Int64 = 24 * UnixSeconds.hour
    /// How far outside of its validity a certificate is still accepted.
    public var clockSkew: Int64 = UnixSeconds.hour

    public init() {}

    /// The first setting that makes no sense, with its name; nil when all do.
    public var complaint: String? {
        if self.validity < 30 * UnixSeconds.day { return "validity must be at least 30 days" }
        if self.validity > 3650 * UnixSeconds.day { return "validity must be at most 3650 days" }
        if !(0...7 * UnixSeconds.day).contains(self.backdating) { return "backdating must be between 0 and 7 days" }
        if !(0...UnixSeconds.day).contains(self.clockSkew) { return "clockSkew must be between 0 and 24 hours" }
        return nil
    }
}

/// The cluster's own CA for RPC between servers and agents. Each server derives it from the cluster secret: key,
/// subject, serial number and validity are the same everywhere, so that it does not matter which server issued a
/// certificate. Only the signature on the CA's own certificate differs, since ECDSA draws a number for it; nothing
/// depends on it.
public struct CertificateAuthority: Sendable {
    /// A lower-case UUID.
    public let clusterID: String
    /// The self-signed CA certificate.
    public let certificateDER: [UInt8]
    /// SHA-256 of the CA's SubjectPublicKeyInfo, 32 bytes; the same on every server and in every join token.
    public let pin: [UInt8]
    public let policy: CertificatePolicy
    private let secret: ClusterSecret
    private let key: Certificate.PrivateKey
    private let certificate: Certificate

    public init(
        _ secret: ClusterSecret, policy: CertificatePolicy = CertificatePolicy()
    ) throws(CertificatesError) {
        if let complaint = policy.complaint { throw .invalidSetting(complaint) }
        let key = Certificate.PrivateKey(try secret.authorityKey())
        let certificate = try rethrowing({ .malformedCertificate($0) }) {
            try Self.selfSigned(secret, key)
        }
        self.clusterID = secret.clusterID
        self.secret = secret
        self.key = key
        self.certificate = certificate
        self.policy = policy
        self.certificateDER = try certificateBytes(certificate)
        self.pin = try publicKeyHash(certificate.publicKey)
    }

    private static let lifetime: Int64 = 100 * 365 * UnixSeconds.day

    private static func selfSigned(_ secret: ClusterSecret, _ key: Certificate.PrivateKey) throws -> Certificate {
        let name = try Self.subject(clusterID: secret.clusterID)
        let created = secret.createdAt
        return try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(UInt8(1)),
            publicKey: key.publicKey,
            notValidBefore: created.adding(seconds: -UnixSeconds.day).date,
            notValidAfter: created.adding(seconds: Self.lifetime).date,
            issuer: name,
            subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key)
    }

    private static func subject(clusterID: String) throws -> DistinguishedName {
        try DistinguishedName {
            OrganizationName("Serai")
            CommonName("Serai RPC CA \(clusterID)")
        }
    }

    /// What verifies certificates of this cluster.
    public var verifier: CertificateVerifier {
        get throws(CertificatesError) {
            try CertificateVerifier(
                clusterID: self.clusterID, caDER: self.certificateDER, clockSkew: self.policy.clockSkew)
        }
    }

    // MARK: Issuing

    /// A certificate for a key that this process holds: how servers, which have the secret, get theirs.
    /// `dnsNames` become DNS SANs beside the identity's URI (`server.dc1.consul`).
    public func issue(
        _ identity: NodeIdentity, key nodeKey: NodeKey, dnsNames: [String] = [], now: UnixSeconds = .now()
    ) throws(CertificatesError) -> NodeCredentials {
        let der = try self.sign(nodeKey.key.publicKey, identity, dnsNames: dnsNames, now: now)
        return try NodeCredentials(certificateDER: der, key: nodeKey, caDER: self.certificateDER)
    }

    /// Signs a PKCS #10 request for `identity`. The request proves that its sender holds the key; the identity is what
    /// the caller has found the sender to be, and the request's common name must be its name.
    public func sign(
        csrDER: [UInt8], as identity: NodeIdentity, dnsNames: [String] = [], now: UnixSeconds = .now()
    ) throws(CertificatesError) -> [UInt8] {
        guard csrDER.count <= Self.requestBytesMax else { throw .signingRefused("csr_der: too large") }
        let request: CertificateSigningRequest
        do {
            request = try CertificateSigningRequest(derEncoded: csrDER)
        } catch {
            throw .signingRefused("csr_der: not a certificate signing request")
        }
        guard P256.Signing.PublicKey(request.publicKey) != nil else {
            throw .signingRefused("csr_der: the key must be P-256")
        }
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw .signingRefused("csr_der: the signature does not match the key")
        }
        let wanted = try rethrowing({ .signingRefused("csr_der: \($0)") }) { try NodeKey.subject(name: identity.name) }
        guard request.subject == wanted else {
            throw .signingRefused("csr_der: the common name is not '\(identity.name)'")
        }
        return try self.sign(request.publicKey, identity, dnsNames: dnsNames, now: now)
    }

    private static let requestBytesMax = 16 * 1024

    private func sign(
        _ publicKey: Certificate.PublicKey, _ identity: NodeIdentity, dnsNames: [String], now: UnixSeconds
    ) throws(CertificatesError) -> [UInt8] {
        guard identity.clusterID == self.clusterID else {
            throw .foreignCluster(expected: self.clusterID, found: identity.clusterID)
        }
        guard publicKey != self.key.publicKey else { throw .signingRefused("the CA's own key is no node's key") }
        let certificate = try rethrowing({ .malformedCertificate($0) }) {
            try Certificate(
                version: .v3,
                serialNumber: Certificate.SerialNumber(),
                publicKey: publicKey,
                notValidBefore: now.adding(seconds: -self.policy.backdating).date,
                notValidAfter: now.adding(seconds: self.policy.validity).date,
                issuer: self.certificate.subject,
                subject: try NodeKey.subject(name: identity.name),
                signatureAlgorithm: .ecdsaWithSHA256,
                extensions: try Certificate.Extensions {
                    Critical(BasicConstraints.notCertificateAuthority)
                    Critical(KeyUsage(digitalSignature: true))
                    try ExtendedKeyUsage([.clientAuth, .serverAuth])
                    SubjectAlternativeNames(
                        [.uniformResourceIdentifier(identity.uri)] + dnsNames.map { .dnsName($0) })
                    SubjectKeyIdentifier(hash: publicKey)
                    AuthorityKeyIdentifier(
                        keyIdentifier: SubjectKeyIdentifier(hash: self.key.publicKey).keyIdentifier)
                },
                issuerPrivateKey: self.key)
        }
        return try certificateBytes(certificate)
    }

    // MARK: Answering requests

    /// A server's answer to `SignCertificate`. Two may ask:
    /// - somebody without a certificate (`requester` nil, bootstrap connection): needs a valid agent token, and gets an
    ///   agent's certificate and nothing else; servers make their own from the secret in their token;
    /// - a node that renews (`requester` from its certificate): may ask for exactly the identity it has.
    ///
    /// The caller has refused revoked nodes before, and fills in `server_addresses`.
    public func answer(
        _ request: PeerSignCertificate, from requester: NodeIdentity?, now: UnixSeconds = .now()
    ) throws(CertificatesError) -> PeerSignedCertificate {
        guard let role = NodeRole(rawValue: request.role) else { throw .signingRefused("role: unknown") }
        let identity = try NodeIdentity(
            clusterID: self.clusterID, role: role, name: request.name, nodeID: NodeID(request.nodeID))
        if let requester {
            guard requester == identity else {
                throw .signingRefused("\(requester) may not have a certificate as \(identity)")
            }
        } else {
            guard role == .agent else { throw .signingRefused("role: only agents get certificates by token") }
            let token = try JoinToken.parse(request.token, expecting: .agent, now: now)
            try token.verify(with: self.secret, expecting: .agent, now: now)
        }
        var answer = PeerSignedCertificate()
        answer.certificateDer = Data(try self.sign(csrDER: Array(request.csrDer), as: identity, now: now))
        answer.caDer = Data(self.certificateDER)
        answer.clusterID = self.clusterID
        return answer
    }
}

// MARK: Small helpers of this room

extension UnixSeconds {
    var date: Date { Date(timeIntervalSince1970: Double(self.rawValue)) }

    init(_ date: Date) { self.init(Int64(date.timeIntervalSince1970)) }
}

func certificateBytes(_ certificate: Certificate) throws(CertificatesError) -> [UInt8] {
    try rethrowing({ .malformedCertificate($0) }) {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// SHA-256 of the SubjectPublicKeyInfo's DER.
func publicKeyHash(_ key: Certificate.PublicKey) throws(CertificatesError) -> [UInt8] {
    try rethrowing({ .malformedCertificate($0) }) {
        var serializer = DER.Serializer()
        try serializer.serialize(key)
        return Array(SHA256.hash(data: serializer.serializedBytes))
    }
}
