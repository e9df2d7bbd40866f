import Certificates
import Protocol
import Testing
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct NodeIdentityTests {
    private let cluster = "0e2b41a3-58c7-4d0f-9f61-2c3d4e5f6a7b"

    @Test func anIdentityReadsItsOwnURI() throws {
        let node = try NodeIdentity(
            clusterID: self.cluster, role: .server, name: "A.b_c-9", nodeID: NodeID(0xFEDC_BA98_7654_3210))
        #expect(node.uri == "serai://\(self.cluster)/server/A.b_c-9/fedcba9876543210")
        #expect(try NodeIdentity(uri: node.uri) == node)
    }

    @Test(arguments: ["", "a b", "ä", "a/b", "a\u{0}", String(repeating: "x", count: 129), "a\n"])
    func aNameThatCouldBeSpelledInTwoWaysIsRefused(name: String) {
        #expect(throws: CertificatesError.self) {
            try NodeIdentity(clusterID: self.cluster, role: .agent, name: name, nodeID: NodeID(1))
        }
    }

    @Test func everyOtherSpellingOfAURIIsRefused() {
        let id = "00000000000000ff"
        let bad = [
            "", "serai://", "https://\(self.cluster)/agent/a/\(id)", "serai://\(self.cluster)/agent/a/\(id)/",
            "serai://\(self.cluster)/agent/a", "serai://\(self.cluster)/Agent/a/\(id)",
            "serai://\(self.cluster)/agent//\(id)", "serai://\(self.cluster)/agent/a/ff",
            "serai://\(self.cluster)/agent/a/00000000000000FF", "serai://\(self.cluster)/agent/a/0000000000000000",
            "serai://\(self.cluster.uppercased())/agent/a/\(id)", "serai://x/agent/a/\(id)",
            "serai://\(self.cluster)/agent/a%20b/\(id)", "SERAI://\(self.cluster)/agent/a/\(id)",
            "serai://0e2b41a358c7-4d0f-9f61-2c3d-4e5f6a7b/agent/a/\(id)",
        ]
        for uri in bad {
            #expect(throws: CertificatesError.self, "\(uri)") { try NodeIdentity(uri: uri) }
        }
    }
}

@Suite struct NodeCredentialsTests {
    @Test func credentialsComeBackFromTheirThreeFiles() throws {
        let scratch = try Scratch()
        let directory = "\(scratch.path)/tls"
        let secret = ClusterSecret.generate(now: start)
        let made = try CertificateAuthority(secret).issue(identity(secret), key: .generate(), now: start)
        #expect(try NodeCredentials.load(from: directory) == nil)
        try made.save(in: directory)
        let loaded = try #require(try NodeCredentials.load(from: directory))
        #expect(loaded.identity == made.identity)
        #expect(loaded.certificateDER == made.certificateDER)
        #expect(loaded.caDER == made.caDER)
        #expect(loaded.key.pem == made.key.pem)
        #expect(try scratch.mode("tls/node-key.pem") == 0o600)
        #expect(try scratch.mode("tls/node.pem") == 0o644)
        #expect(try scratch.mode("tls/ca.pem") == 0o644)
        #expect(try scratch.mode("tls") == 0o700)
    }

    @Test func aKeyThatOthersCanReadIsRefused() throws {
        let scratch = try Scratch()
        let secret = ClusterSecret.generate(now: start)
        try CertificateAuthority(secret).issue(identity(secret), key: .generate(), now: start).save(in: scratch.path)
        let path = "\(scratch.path)/node-key.pem"
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        #expect(throws: CertificatesError.filePermissions(path: path, mode: "0644")) {
            try NodeCredentials.load(from: scratch.path)
        }
    }

    @Test func aNodeKeepsItsKeyWhenItRenews() throws {
        let scratch = try Scratch()
        let first = try NodeKey.loadOrCreate(in: scratch.path)
        #expect(try NodeKey.loadOrCreate(in: scratch.path).pem == first.pem)
        #expect(try scratch.mode("node-key.pem") == 0o600)
    }

    @Test func damagedFilesAreNamed() throws {
        let scratch = try Scratch()
        let secret = ClusterSecret.generate(now: start)
        try CertificateAuthority(secret).issue(identity(secret), key: .generate(), now: start).save(in: scratch.path)
        try Data("nonsense".utf8).write(to: URL(filePath: "\(scratch.path)/ca.pem"))
        #expect(
            failure { _ = try NodeCredentials.load(from: scratch.path) }
                == .fileDamaged(path: "\(scratch.path)/ca.pem", reason: "not a certificate in PEM"))
    }

    @Test func anotherClustersAuthorityIsNoticedAtOnce() throws {
        let secret = ClusterSecret.generate(now: start)
        let key = NodeKey.generate()
        let made = try CertificateAuthority(secret).issue(identity(secret), key: key, now: start)
        let other = try CertificateAuthority(ClusterSecret.generate(now: start))
        #expect(throws: CertificatesError.self) {
            try NodeCredentials(certificateDER: made.certificateDER, key: key, caDER: other.certificateDER)
        }
    }
}

@Suite struct SigningAnswerTests {
    private let secret = ClusterSecret.generate(now: start)
    private let key = NodeKey.generate()

    private func request(_ role: String = "agent", name: String = "web-1", token: String = "") throws
        -> PeerSignCertificate
    {
        var request = PeerSignCertificate()
        request.csrDer = Data(try self.key.certificateRequest(name: name))
        request.name = name
        request.nodeID = 7
        request.role = role
        request.token = token
        return request
    }

    private func token(_ role: NodeRole = .agent, _ secret: ClusterSecret? = nil, lifetime: Int64? = nil) throws
        -> String
    {
        try JoinToken(role: role, secret: secret ?? self.secret, now: start, lifetime: lifetime).text
    }

    @Test func anAgentTokenBuysAnAgentsCertificate() throws {
        let authority = try CertificateAuthority(self.secret)
        let answer = try authority.answer(self.request(token: self.token()), from: nil, now: start)
        let credentials = try NodeCredentials(
            certificateDER: Array(answer.certificateDer), key: self.key, caDER: Array(answer.caDer))
        #expect(try credentials.identity == identity(self.secret))
        #expect(answer.clusterID == self.secret.clusterID)
    }

    @Test func noTokenBuysAServersCertificate() throws {
        let authority = try CertificateAuthority(self.secret)
        for role in NodeRole.allCases {
            let request = try self.request("server", token: self.token(role))
            #expect(throws: CertificatesError.signingRefused("role: only agents get certificates by token")) {
                try authority.answer(request, from: nil, now: start)
            }
        }
    }

    @Test func withoutAGoodTokenNobodyGetsACertificate() throws {
        let authority = try CertificateAuthority(self.secret)
        let late = start.adding(seconds: 11)
        let tokens = [
            "", "x", try self.token(.server), try self.token(.agent, ClusterSecret.generate(now: start)),
            try self.token(lifetime: 10),
        ]
        for token in tokens {
            let request = try self.request(token: token)
            #expect(throws: CertificatesError.self, "\(token)") { try authority.answer(request, from: nil, now: late) }
        }
    }

    @Test func aNodeRenewsItsOwnIdentityAndNoOther() throws {
        let authority = try CertificateAuthority(self.secret)
        let own = try identity(self.secret)
        _ = try authority.answer(self.request(), from: own, now: start)
        for other in [
            try identity(self.secret, name: "web-2"), try identity(self.secret, id: 8),
            try identity(self.secret, .server),
        ] {
            let request = try self.request()
            #expect(throws: CertificatesError.self) { try authority.answer(request, from: other, now: start) }
        }
    }

    @Test func aNodeWithACertificateCanNotUseATokenToBecomeAnother() throws {
        let authority = try CertificateAuthority(self.secret)
        let request = try self.request(name: "web-2", token: self.token())
        #expect(throws: CertificatesError.self) {
            try authority.answer(request, from: identity(self.secret), now: start)
        }
    }

    @Test func unknownRolesAndBadNamesAreRefused() throws {
        let authority = try CertificateAuthority(self.secret)
        for request in [try self.request("admin"), try self.request("agent", name: "a b")] {
            #expect(throws: CertificatesError.self) { try authority.answer(request, from: nil, now: start) }
        }
    }
}
