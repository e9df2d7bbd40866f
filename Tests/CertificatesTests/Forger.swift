import Certificates
import Crypto
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Makes certificates with a CA key of its own, under the name of a cluster's CA.
struct Forger {
    struct Leaf {
        var isAuthority = false
        var usages: [ExtendedKeyUsage.Usage] = [.clientAuth, .serverAuth]
        var keyUsage = KeyUsage(digitalSignature: true)
        var hasUnknownCriticalExtension = false
        var moreURIs: [String] = []
        var key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    }

    private let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    private let clusterID: String

    init(_ clusterID: String) { self.clusterID = clusterID }

    private func name() throws -> DistinguishedName {
        try DistinguishedName {
            OrganizationName("Serai")
            CommonName("Serai RPC CA \(self.clusterID)")
        }
    }

    func authority() throws -> [UInt8] {
        try self.signed(
            subject: self.name(), self.key,
            Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
            })
    }

    func leaf(uri: String?, _ change: (inout Leaf) -> Void = { _ in }) throws -> [UInt8] {
        var leaf = Leaf()
        change(&leaf)
        let uris = [uri].compactMap { $0 } + leaf.moreURIs
        var extensions = try Certificate.Extensions {
            Critical(
                leaf.isAuthority
                    ? BasicConstraints.isCertificateAuthority(maxPathLength: nil) : .notCertificateAuthority)
            Critical(leaf.keyUsage)
            try ExtendedKeyUsage(leaf.usages)
            SubjectAlternativeNames(uris.map { .uniformResourceIdentifier($0) })
        }
        if leaf.hasUnknownCriticalExtension {
            try extensions.append(
                Certificate.Extension(oid: [1, 3, 6, 1, 4, 1, 99999, 1], critical: true, value: [5, 0]))
        }
        return try self.signed(subject: DistinguishedName { CommonName("web-1") }, leaf.key, extensions)
    }

    private func signed(
        subject: DistinguishedName, _ key: Certificate.PrivateKey, _ extensions: Certificate.Extensions
    ) throws -> [UInt8] {
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
            notValidBefore: Date(timeIntervalSince1970: Double(start.rawValue - days(1))),
            notValidAfter: Date(timeIntervalSince1970: Double(start.rawValue + days(72))),
            issuer: self.name(), subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: self.key)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}
