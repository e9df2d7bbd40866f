import Certificates
import Crypto
import SwiftASN1
import Testing
import Units
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct CertificateAuthorityTests {
    @Test func everyServerBuildsTheSameAuthority() throws {
        let scratch = try Scratch()
        let secret = ClusterSecret.generate(now: start)
        try secret.save(to: "\(scratch.path)/k")
        let first = try CertificateAuthority(secret)
        let second = try CertificateAuthority(ClusterSecret.load(from: "\(scratch.path)/k"))
        #expect(first.pin == second.pin)
        // All but the signature, for which ECDSA draws a number.
        let parsed = try [first, second].map { try Certificate(derEncoded: $0.certificateDER) }
        #expect(parsed[0].tbsCertificateBytes == parsed[1].tbsCertificateBytes)
    }

    @Test func thePinIsTheHashOfTheSubjectPublicKeyInfo() throws {
        let authority = try CertificateAuthority(ClusterSecret.generate(now: start))
        let certificate = try Certificate(derEncoded: authority.certificateDER)
        let key = try #require(P256.Signing.PublicKey(certificate.publicKey))
        #expect(authority.pin == Array(SHA256.hash(data: key.derRepresentation)))
    }

    @Test func aCertificateOfOneServerIsAcceptedByEveryOther() throws {
        let secret = ClusterSecret.generate(now: start)
        let node = try identity(secret, .server, name: "s1")
        let credentials = try CertificateAuthority(secret).issue(node, key: .generate(), now: start)
        let chain = [credentials.certificateDER, credentials.caDER]
        #expect(try CertificateAuthority(secret).verifier.verify(chainDER: chain, now: start) == node)
        #expect(try credentials.verifier().verify(chainDER: [credentials.certificateDER], now: start) == node)
    }

    @Test func theDeclaredNamesStandInTheCertificate() throws {
        let secret = ClusterSecret.generate(now: start)
        let node = try identity(secret, .server, name: "s1")
        let credentials = try CertificateAuthority(secret).issue(
            node, key: .generate(), dnsNames: ["server.dc1.consul"], now: start)
        let certificate = try Certificate(derEncoded: credentials.certificateDER)
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        #expect(Array(names) == [.uniformResourceIdentifier(node.uri), .dnsName("server.dc1.consul")])
        #expect(node.uri == "serai://\(secret.clusterID)/server/s1/0000000000000007")
    }

    @Test func aCertificateLastsAsThePolicySays() throws {
        var policy = CertificatePolicy()
        policy.validity = days(40)
        let secret = ClusterSecret.generate(now: start)
        let credentials = try CertificateAuthority(secret, policy: policy).issue(
            identity(secret), key: .generate(), now: start)
        #expect(credentials.notBefore == start.adding(seconds: -hours(24)))
        #expect(credentials.expiry == start.adding(seconds: days(40)))
        // Half of the 41 days between the two.
        #expect(credentials.renewAt == start.adding(seconds: -hours(24) + hours(41 * 12)))
    }

    @Test func theDefaultValidityIs72Days() throws {
        let secret = ClusterSecret.generate(now: start)
        let credentials = try CertificateAuthority(secret).issue(identity(secret), key: .generate(), now: start)
        #expect(credentials.expiry == start.adding(seconds: days(72)))
    }

    @Test func aPolicyThatMakesNoSenseIsRefused() throws {
        var policy = CertificatePolicy()
        policy.validity = days(29)
        #expect(policy.complaint != nil)
        #expect(throws: CertificatesError.self) {
            try CertificateAuthority(ClusterSecret.generate(now: start), policy: policy)
        }
    }

    @Test func aRequestIsSignedForItsKey() throws {
        let secret = ClusterSecret.generate(now: start)
        let key = NodeKey.generate()
        let node = try identity(secret)
        let authority = try CertificateAuthority(secret)
        let der = try authority.sign(csrDER: key.certificateRequest(name: "web-1"), as: node, now: start)
        let credentials = try NodeCredentials(certificateDER: der, key: key, caDER: authority.certificateDER)
        #expect(credentials.identity == node)
        #expect(throws: CertificatesError.self) {
            try NodeCredentials(certificateDER: der, key: .generate(), caDER: authority.certificateDER)
        }
    }

    @Test func aRequestInAnotherNameIsRefused() throws {
        let secret = ClusterSecret.generate(now: start)
        let csr = try NodeKey.generate().certificateRequest(name: "web-2")
        #expect(throws: CertificatesError.signingRefused("csr_der: the common name is not 'web-1'")) {
            try CertificateAuthority(secret).sign(csrDER: csr, as: identity(secret), now: start)
        }
    }

    @Test func aRequestForAnIdentityOfAnotherClusterIsRefused() throws {
        let secret = ClusterSecret.generate(now: start)
        let other = ClusterSecret.generate(now: start)
        let csr = try NodeKey.generate().certificateRequest(name: "web-1")
        #expect(throws: CertificatesError.foreignCluster(expected: secret.clusterID, found: other.clusterID)) {
            try CertificateAuthority(secret).sign(csrDER: csr, as: identity(other), now: start)
        }
    }

    /// The signature in a request proves that its sender has the key: no byte of it may be changed.
    @Test func noChangedRequestIsSigned() throws {
        let secret = ClusterSecret.generate(now: start)
        let authority = try CertificateAuthority(secret)
        let csr = try NodeKey.generate().certificateRequest(name: "web-1")
        let node = try identity(secret)
        for position in csr.indices {
            var changed = csr
            changed[position] ^= 0x10
            #expect(throws: CertificatesError.self, "byte \(position)") {
                try authority.sign(csrDER: changed, as: node, now: start)
            }
        }
    }

    @Test func onlyP256KeysAreSigned() throws {
        let secret = ClusterSecret.generate(now: start)
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName("web-1") },
            privateKey: Certificate.PrivateKey(P384.Signing.PrivateKey()), attributes: .init(),
            signatureAlgorithm: .ecdsaWithSHA384)
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        let bytes = serializer.serializedBytes
        #expect(throws: CertificatesError.signingRefused("csr_der: the key must be P-256")) {
            try CertificateAuthority(secret).sign(csrDER: bytes, as: identity(secret), now: start)
        }
    }
}

@Suite struct CertificateVerifierTests {
    private let secret = ClusterSecret.generate(now: start)

    private func issued(_ now: UnixSeconds = start) throws -> NodeCredentials {
        try CertificateAuthority(self.secret).issue(identity(self.secret), key: .generate(), now: now)
    }

    @Test func clocksMayDifferByAnHourAtBothEnds() throws {
        let credentials = try self.issued()
        let verifier = try credentials.verifier()
        let chain = [credentials.certificateDER]
        let earliest = credentials.notBefore.adding(seconds: -hours(1))
        let latest = credentials.expiry.adding(seconds: hours(1))
        _ = try verifier.verify(chainDER: chain, now: earliest)
        _ = try verifier.verify(chainDER: chain, now: latest)
        let tooEarly = earliest.adding(seconds: -1)
        #expect(
            failure { _ = try verifier.verify(chainDER: chain, now: tooEarly) }
                == .certificateNotYetValid(notBefore: credentials.notBefore, now: tooEarly))
        let tooLate = latest.adding(seconds: 1)
        #expect(
            failure { _ = try verifier.verify(chainDER: chain, now: tooLate) }
                == .certificateExpired(notAfter: credentials.expiry, now: tooLate))
    }

    @Test func aFreshCertificateIsAcceptedWhereTheClockIsADaySlow() throws {
        let credentials = try self.issued()
        _ = try credentials.verifier().verify(
            chainDER: [credentials.certificateDER], now: start.adding(seconds: -hours(25)))
    }

    @Test func aCertificateOfAnotherClustersAuthorityIsRefused() throws {
        let other = ClusterSecret.generate(now: start)
        let foreign = try CertificateAuthority(other).issue(identity(other), key: .generate(), now: start)
        let verifier = try CertificateAuthority(self.secret).verifier
        #expect(
            failure { _ = try verifier.verify(chainDER: [foreign.certificateDER, foreign.caDER], now: start) }
                == .untrustedCertificate("issued by another CA"))
    }

    @Test func anAuthorityWithTheSameNameAndAnotherKeyIsRefused() throws {
        let forger = Forger(self.secret.clusterID)
        let chain = [try forger.leaf(uri: try identity(self.secret).uri), try forger.authority()]
        let verifier = try CertificateAuthority(self.secret).verifier
        #expect(
            failure { _ = try verifier.verify(chainDER: chain, now: start) }
                == .untrustedCertificate("not signed by the cluster's CA"))
    }

    @Test func aJoiningNodeFindsThePinnedAuthorityInTheChain() throws {
        let token = try JoinToken(role: .agent, secret: self.secret, now: start)
        let credentials = try self.issued()
        let verifier = CertificateVerifier(token: token)
        let found = try verifier.verify(chainDER: [credentials.certificateDER, credentials.caDER], now: start)
        #expect(found == credentials.identity)
        #expect(throws: CertificatesError.self) {
            try verifier.verify(chainDER: [credentials.certificateDER], now: start)
        }
        let forger = Forger(self.secret.clusterID)
        #expect(
            failure {
                let chain = [try forger.leaf(uri: credentials.identity.uri), try forger.authority()]
                _ = try verifier.verify(chainDER: chain, now: start)
            } == .untrustedCertificate("the peer's CA is not the one in the join token"))
        // The true CA certificate beside a leaf of a false one.
        #expect(throws: CertificatesError.self) {
            let chain = [try forger.leaf(uri: credentials.identity.uri), credentials.caDER]
            return try verifier.verify(chainDER: chain, now: start)
        }
    }

    @Test func theAuthoritysOwnCertificateIsNoNodes() throws {
        let authority = try CertificateAuthority(self.secret)
        #expect(throws: CertificatesError.self) {
            try authority.verifier.verify(chainDER: [authority.certificateDER], now: start)
        }
    }

    @Test func noCertificateIsNoIdentity() throws {
        let verifier = try CertificateAuthority(self.secret).verifier
        #expect(
            failure { _ = try verifier.verify(chainDER: [], now: start) }
                == .untrustedCertificate("no certificate presented"))
    }

    /// Signed by the right key, but not what this room issues: each departure is refused.
    @Test func whatTheAuthorityDoesNotIssueIsRefused() throws {
        let forger = Forger(self.secret.clusterID)
        let verifier = try CertificateVerifier(clusterID: self.secret.clusterID, caDER: forger.authority())
        let uri = try identity(self.secret).uri
        let good = try forger.leaf(uri: uri)
        #expect(try verifier.verify(chainDER: [good], now: start) == identity(self.secret))
        let other = ClusterSecret.generate(now: start)
        let bad: [(String, [UInt8])] = [
            ("CA", try forger.leaf(uri: uri) { $0.isAuthority = true }),
            ("no client use", try forger.leaf(uri: uri) { $0.usages = [.serverAuth] }),
            ("no server use", try forger.leaf(uri: uri) { $0.usages = [.clientAuth] }),
            ("no signature use", try forger.leaf(uri: uri) { $0.keyUsage = KeyUsage(keyAgreement: true) }),
            ("unknown critical extension", try forger.leaf(uri: uri) { $0.hasUnknownCriticalExtension = true }),
            ("two URIs", try forger.leaf(uri: uri) { $0.moreURIs = [uri] }),
            ("no URI", try forger.leaf(uri: nil)),
            ("other scheme", try forger.leaf(uri: "spiffe://a/b")),
            ("other cluster", try forger.leaf(uri: identity(other).uri)),
            ("P-384", try forger.leaf(uri: uri) { $0.key = Certificate.PrivateKey(P384.Signing.PrivateKey()) }),
        ]
        for (name, der) in bad {
            #expect(throws: CertificatesError.self, "\(name)") { try verifier.verify(chainDER: [der], now: start) }
        }
    }

    @Test func noChangedCertificateIsAccepted() throws {
        let credentials = try self.issued()
        let verifier = try credentials.verifier()
        for position in credentials.certificateDER.indices {
            var changed = credentials.certificateDER
            changed[position] ^= 0x10
            #expect(throws: CertificatesError.self, "byte \(position)") {
                try verifier.verify(chainDER: [changed], now: start)
            }
        }
    }

    @Test func garbageIsRefusedWithoutATrap() throws {
        let credentials = try self.issued()
        let verifiers = [
            try credentials.verifier(),
            CertificateVerifier(token: try JoinToken(role: .agent, secret: self.secret, now: start)),
        ]
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<3000 {
            var bytes = credentials.certificateDER
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[position] = UInt8.random(in: .min ... .max, using: &generator)
            }
            if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
            if bytes == credentials.certificateDER { continue }
            for verifier in verifiers {
                #expect(throws: CertificatesError.self) {
                    try verifier.verify(chainDER: [bytes, bytes], now: start)
                }
            }
        }
    }
}
