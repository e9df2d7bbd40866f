import Crypto
import SwiftASN1
import Units
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A node's P-256 key. It is made once per data directory and kept when the certificate is renewed, so that a renewal
/// replaces one file only and a crash can't leave a certificate without its key.
public struct NodeKey: Sendable {
    let key: Certificate.PrivateKey
    /// PKCS #8. Secret.
    public let pem: String

    public static let fileName = "node-key.pem"

    public static func generate() -> NodeKey { NodeKey(P256.Signing.PrivateKey()) }

    private init(_ key: P256.Signing.PrivateKey) {
        self.key = Certificate.PrivateKey(key)
        self.pem = key.pemRepresentation
    }

    /// Throws `.malformedKey`, whose text holds nothing of the key.
    public init(pem: String) throws(CertificatesError) {
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: pem) else {
            throw .malformedKey("not a P-256 key in PEM")
        }
        self.init(key)
    }

    /// The key in `directory`, or a new one, saved there with mode 0600 before this returns. Blocks.
    public static func loadOrCreate(in directory: String) throws(CertificatesError) -> NodeKey {
        let path = "\(directory)/\(Self.fileName)"
        do {
            return try NodeKey(pem: String(decoding: try SecretFile.read(path, secret: true), as: UTF8.self))
        } catch .fileMissing {
            let key = NodeKey.generate()
            try SecretFile.makeDirectory(directory)
            try SecretFile.write(Array(key.pem.utf8), to: path)
            return key
        }
    }

    /// A PKCS #10 request whose common name is `name`.
    public func certificateRequest(name: String) throws(CertificatesError) -> [UInt8] {
        try rethrowing({ .signingRefused($0) }) {
            let request = try CertificateSigningRequest(
                version: .v1, subject: try Self.subject(name: name), privateKey: self.key,
                attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
            var serializer = DER.Serializer()
            try serializer.serialize(request)
            return serializer.serializedBytes
        }
    }

    static func subject(name: String) throws -> DistinguishedName { try DistinguishedName { CommonName(name) } }
}

/// What a node shows to others and what it checks them by: its certificate, its key and the CA's certificate. In the
/// data directory these are `node.pem`, `node-key.pem` (mode 0600) and `ca.pem`.
public struct NodeCredentials: Sendable {
    public let identity: NodeIdentity
    public let certificateDER: [UInt8]
    public let key: NodeKey
    public let caDER: [UInt8]
    public let notBefore: UnixSeconds
    /// When others stop accepting this certificate (but for the tolerated clock skew).
    public let expiry: UnixSeconds
    /// Half way between start and end of validity: ask for a new certificate from then on.
    public let renewAt: UnixSeconds

    public static let certificateFileName = "node.pem"
    public static let authorityFileName = "ca.pem"

    /// Throws `.malformedKey` when the certificate is for another key; does not check expiry, since an expired
    /// certificate still names the node.
    public init(certificateDER: [UInt8], key: NodeKey, caDER: [UInt8]) throws(CertificatesError) {
        let certificate = try CertificateVerifier.parse(certificateDER)
        guard certificate.publicKey == key.key.publicKey else {
            throw .malformedKey("the certificate belongs to another key; join again")
        }
        self.identity = try CertificateVerifier.identity(of: certificate)
        self.notBefore = UnixSeconds(certificate.notValidBefore)
        self.expiry = UnixSeconds(certificate.notValidAfter)
        let half = (self.expiry.rawValue - self.notBefore.rawValue) / 2
        self.renewAt = self.notBefore.adding(seconds: half)
        self.certificateDER = certificateDER
        self.key = key
        self.caDER = caDER
        // Finds a CA certificate that is not this one's issuer before a connection does.
        _ = try self.verifier().verify(chainDER: [certificateDER], now: self.notBefore)
    }

    /// What this node checks others by.
    public func verifier(
        clockSkew: Int64 = CertificatePolicy().clockSkew
    ) throws(CertificatesError) -> CertificateVerifier {
        try CertificateVerifier(clusterID: self.identity.clusterID, caDER: self.caDER, clockSkew: clockSkew)
    }

    /// Writes the three files, `node.pem` last, each durable when this returns. Makes the directory. Blocks.
    public func save(in directory: String) throws(CertificatesError) {
        try SecretFile.makeDirectory(directory)
        try SecretFile.write(Array(self.key.pem.utf8), to: "\(directory)/\(NodeKey.fileName)")
        let authority = Self.pem(self.caDER)
        try SecretFile.write(Array(authority.utf8), to: "\(directory)/\(Self.authorityFileName)", mode: 0o644)
        let certificate = Self.pem(self.certificateDER)
        try SecretFile.write(Array(certificate.utf8), to: "\(directory)/\(Self.certificateFileName)", mode: 0o644)
    }

    /// nil when there is no `node.pem`: this node has not joined yet. Blocks.
    public static func load(from directory: String) throws(CertificatesError) -> NodeCredentials? {
        let certificate: [UInt8]
        do {
            certificate = try Self.readPEM("\(directory)/\(Self.certificateFileName)")
        } catch .fileMissing {
            return nil
        }
        let keyText = try SecretFile.read("\(directory)/\(NodeKey.fileName)", secret: true)
        return try NodeCredentials(
            certificateDER: certificate, key: try NodeKey(pem: String(decoding: keyText, as: UTF8.self)),
            caDER: try Self.readPEM("\(directory)/\(Self.authorityFileName)"))
    }

    static func pem(_ der: [UInt8]) -> String {
        PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n"
    }

    private static func readPEM(_ path: String) throws(CertificatesError) -> [UInt8] {
        let text = String(decoding: try SecretFile.read(path, secret: false), as: UTF8.self)
        do {
            return try PEMDocument(pemString: text).derBytes
        } catch {
            throw .fileDamaged(path: path, reason: "not a certificate in PEM")
        }
    }
}

extension NodeCredentials: CustomStringConvertible {
    public var description: String { "\(self.identity), valid until \(self.expiry)" }
}
