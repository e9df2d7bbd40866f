import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Encrypts the secrets that go into the log, snapshots and debug output, under the cluster's key (AES-256-GCM).
/// Format: version byte 1, nonce 12, ciphertext, tag 16. Nonces are random, so that up to 2^32 values may be sealed
/// under one key (NIST SP 800-38D §8.3).
public struct Sealer: Sendable {
    private let key: SymmetricKey
    private static let version: UInt8 = 1

    public init(_ secret: ClusterSecret) { self.key = secret.sealingKey }

    /// `context` says what the value is (`"acl-token/<id>"`): a value sealed for one place can't be opened in another.
    public func seal(_ bytes: [UInt8], context: String) throws(CertificatesError) -> [UInt8] {
        try rethrowing({ .sealBroken($0) }) {
            let box = try AES.GCM.seal(bytes, using: self.key, authenticating: Self.authenticated(context))
            return [Self.version] + box.nonce + box.ciphertext + box.tag
        }
    }

    /// Throws `.sealBroken` for another key or context, and for a changed or shortened value.
    public func open(_ sealed: [UInt8], context: String) throws(CertificatesError) -> [UInt8] {
        guard sealed.first == Self.version else { throw .sealBroken("unknown format") }
        guard sealed.count >= 1 + 12 + 16 else { throw .sealBroken("too short") }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed.dropFirst())
            return Array(try AES.GCM.open(box, using: self.key, authenticating: Self.authenticated(context)))
        } catch {
            throw .sealBroken("wrong cluster key or context, or changed bytes")
        }
    }

    private static func authenticated(_ context: String) -> [UInt8] { [Self.version] + Array(context.utf8) }
}
