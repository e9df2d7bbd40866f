import Crypto
import SwiftASN1
import Units
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Decides whether a peer's certificate chain makes it a node of this cluster, and which one. Chains have one step: the
/// cluster's CA signs nodes directly. This is the only check that stands between a TCP connection and the cluster.
public struct CertificateVerifier: Sendable {
    private enum Trust: Sendable {
        case authority(Certificate)
        /// SHA-256 of the CA's SubjectPublicKeyInfo; the peer must send the CA certificate itself.
        case pin([UInt8])
    }

    /// A lower-case UUID.
    public let clusterID: String
    /// Seconds by which a certificate may be outside of its validity.
    public let clockSkew: Int64
    private let trust: Trust

    /// Trusts a known CA certificate: what a node does once it has its own.
    public init(
        clusterID: String, caDER: [UInt8], clockSkew: Int64 = CertificatePolicy().clockSkew
    ) throws(CertificatesError) {
        self.clusterID = clusterID
        self.clockSkew = clockSkew
        self.trust = .authority(try Self.parse(caDER))
    }

    /// Trusts a CA by the hash of its public key: what a joining node does with its token.
    public init(token: JoinToken, clockSkew: Int64 = CertificatePolicy().clockSkew) {
        self.clusterID = token.clusterID
        self.clockSkew = clockSkew
        self.trust = .pin(token.pin)
    }

    /// Checks the chain that a peer presented, leaf first, in DER. Throws why it is not accepted.
    public func verify(
        chainDER: [[UInt8]], now: UnixSeconds = .now()
    ) throws(CertificatesError) -> NodeIdentity {
        try self.check(chainDER: chainDER, now: now).identity
    }

    /// The same, with the time from which on the certificate will no longer be accepted here.
    public func check(
        chainDER: [[UInt8]], now: UnixSeconds = .now()
    ) throws(CertificatesError) -> (identity: NodeIdentity, acceptedUntil: UnixSeconds) {
        guard let leafDER = chainDER.first else { throw .untrustedCertificate("no certificate presented") }
        guard chainDER.count <= Self.chainLengthMax else { throw .untrustedCertificate("the chain is too long") }
        let leaf = try Self.parse(leafDER)
        let authority = try self.authority(in: chainDER)
        try self.checkAuthority(authority, now)
        try Self.checkIssued(leaf, by: authority)
        try self.checkTime(leaf, now)
        try Self.checkUse(leaf)
        let identity = try Self.identity(of: leaf)
        guard identity.clusterID == self.clusterID else {
            throw .foreignCluster(expected: self.clusterID, found: identity.clusterID)
        }
        return (identity, UnixSeconds(leaf.notValidAfter).adding(seconds: self.clockSkew))
    }

    private static let chainLengthMax = 4
    private static let certificateBytesMax = 16 * 1024

    static func parse(_ der: [UInt8]) throws(CertificatesError) -> Certificate {
        guard der.count <= Self.certificateBytesMax else { throw .malformedCertificate("too large") }
        do {
            return try Certificate(derEncoded: der)
        } catch {
            throw .malformedCertificate("not an X.509 certificate")
        }
    }

    private func authority(in chainDER: [[UInt8]]) throws(CertificatesError) -> Certificate {
        switch self.trust {
        case .authority(let certificate):
            return certificate
        case .pin(let pin):
            for der in chainDER.dropFirst() {
                let certificate = try Self.parse(der)
                if try publicKeyHash(certificate.publicKey) == pin { return certificate }
            }
            throw .untrustedCertificate("the peer's CA is not the one in the join token")
        }
    }

    private func checkAuthority(_ authority: Certificate, _ now: UnixSeconds) throws(CertificatesError) {
        guard authority.issuer == authority.subject,
            authority.publicKey.isValidSignature(authority.signature, for: authority)
        else { throw .untrustedCertificate("the CA certificate is not self-signed") }
        guard case .isCertificateAuthority = try? authority.extensions.basicConstraints,
            (try? authority.extensions.keyUsage)?.keyCertSign == true
        else { throw .untrustedCertificate("the CA certificate may not sign certificates") }
        try self.checkTime(authority, now)
    }

    private static func checkIssued(_ leaf: Certificate, by authority: Certificate) throws(CertificatesError) {
        guard leaf.issuer == authority.subject else { throw .untrustedCertificate("issued by another CA") }
        guard authority.publicKey.isValidSignature(leaf.signature, for: leaf) else {
            throw .untrustedCertificate("not signed by the cluster's CA")
        }
    }

    private func checkTime(_ certificate: Certificate, _ now: UnixSeconds) throws(CertificatesError) {
        let notBefore = UnixSeconds(certificate.notValidBefore)
        let notAfter = UnixSeconds(certificate.notValidAfter)
        if now.adding(seconds: self.clockSkew) < notBefore {
            throw .certificateNotYetValid(notBefore: notBefore, now: now)
        }
        if notAfter < now.adding(seconds: -self.clockSkew) { throw .certificateExpired(notAfter: notAfter, now: now) }
    }

    private static let knownExtensions: Set<ASN1ObjectIdentifier> = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
        .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.subjectKeyIdentifier,
        .X509ExtensionID.authorityKeyIdentifier,
    ]

    private static func checkUse(_ leaf: Certificate) throws(CertificatesError) {
        guard P256.Signing.PublicKey(leaf.publicKey) != nil else {
            throw .untrustedCertificate("the node's key is not P-256")
        }
        // RFC 5280 §4.2: a critical extension that is not understood makes a certificate unusable.
        for entry in leaf.extensions where entry.critical && !Self.knownExtensions.contains(entry.oid) {
            throw .untrustedCertificate("unknown critical extension \(entry.oid)")
        }
        guard case .notCertificateAuthority = try? leaf.extensions.basicConstraints else {
            throw .untrustedCertificate("not a node's certificate")
        }
        guard (try? leaf.extensions.keyUsage)?.digitalSignature == true else {
            throw .untrustedCertificate("not usable for signatures")
        }
        guard let usages = try? leaf.extensions.extendedKeyUsage, usages.contains(.clientAuth),
            usages.contains(.serverAuth)
        else { throw .untrustedCertificate("not usable for both ends of a connection") }
    }

    /// The one `serai://` URI of a certificate. Checks nothing else: only for certificates that are already trusted.
    static func identity(of certificate: Certificate) throws(CertificatesError) -> NodeIdentity {
        let names = try rethrowing({ .malformedCertificate($0) }) { try certificate.extensions.subjectAlternativeNames }
        var found: [String] = []
        for case .uniformResourceIdentifier(let uri) in names ?? SubjectAlternativeNames() { found.append(uri) }
        guard found.count == 1, let uri = found.first else {
            throw .malformedIdentity("a node's certificate must have exactly one URI")
        }
        return try NodeIdentity(uri: uri)
    }
}
