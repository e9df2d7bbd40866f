import Certificates
import Testing
import Units

@Suite struct JoinTokenTests {
    @Test func anAgentTokenIsReadByTheAgentAndRecognisedByEveryServer() throws {
        let secret = ClusterSecret.generate(now: start)
        let made = try JoinToken(role: .agent, secret: secret, now: start)
        let read = try JoinToken.parse(made.text, expecting: .agent, now: start)
        #expect(read == made)
        #expect(read.clusterID == secret.clusterID)
        #expect(try read.pin == CertificateAuthority(secret).pin)
        #expect(read.clusterSecret == nil)
        try read.verify(with: secret, expecting: .agent, now: start)
    }

    @Test func aServerTokenCarriesTheWholeSecret() throws {
        let secret = ClusterSecret.generate(now: start)
        let read = try JoinToken.parse(JoinToken(role: .server, secret: secret, now: start).text, now: start)
        #expect(read.clusterSecret == secret)
        let token = try JoinToken(role: .agent, secret: try #require(read.clusterSecret), now: start)
        try token.verify(with: secret, expecting: .agent, now: start)
    }

    @Test func theTextBeginsWithItsRole() throws {
        let secret = ClusterSecret.generate(now: start)
        #expect(try JoinToken(role: .agent, secret: secret, now: start).text.hasPrefix("serai-agent-1."))
        #expect(try JoinToken(role: .server, secret: secret, now: start).text.hasPrefix("serai-server-1."))
    }

    @Test func whiteSpaceAroundATokenDoesNoHarm() throws {
        let token = try JoinToken(role: .agent, secret: ClusterSecret.generate(now: start), now: start)
        #expect(try JoinToken.parse("  \(token.text)\r\n", now: start) == token)
    }

    @Test func theSecretIsInNoDescription() throws {
        let token = try JoinToken(role: .server, secret: ClusterSecret.generate(now: start), now: start)
        #expect(!"\(token)".contains(String(token.text.suffix(20))))
        #expect("\(token)".contains(token.id))
    }

    @Test(arguments: [NodeRole.agent, .server])
    func aTokenEndsWhenItsLifetimeIsOver(role: NodeRole) throws {
        let secret = ClusterSecret.generate(now: start)
        let token = try JoinToken(role: role, secret: secret, now: start, lifetime: 60)
        let end = start.adding(seconds: 60)
        _ = try JoinToken.parse(token.text, now: start.adding(seconds: 59))
        #expect(failure { _ = try JoinToken.parse(token.text, now: end) } == .tokenExpired(at: end, now: end))
        #expect(
            failure { try token.verify(with: secret, expecting: role, now: end) } == .tokenExpired(at: end, now: end))
    }

    @Test func lifetimesHaveDefaultsAndMustBePositive() throws {
        let secret = ClusterSecret.generate(now: start)
        #expect(try JoinToken(role: .server, secret: secret, now: start).expiry == start.adding(seconds: days(30)))
        #expect(try JoinToken(role: .agent, secret: secret, now: start).expiry == start.adding(seconds: days(365)))
        #expect(throws: CertificatesError.self) {
            try JoinToken(role: .agent, secret: secret, now: start, lifetime: 0)
        }
    }

    @Test func aTokenForTheOtherRoleIsRefusedByName() throws {
        let secret = ClusterSecret.generate(now: start)
        let agent = try JoinToken(role: .agent, secret: secret, now: start)
        let expected = CertificatesError.tokenRole(expected: .server, found: .agent)
        #expect(failure { _ = try JoinToken.parse(agent.text, expecting: .server, now: start) } == expected)
        #expect(failure { try agent.verify(with: secret, expecting: .server, now: start) } == expected)
    }

    @Test func aTokenOfAnotherClusterIsRefusedByName() throws {
        let ours = ClusterSecret.generate(now: start)
        let theirs = ClusterSecret.generate(now: start)
        let token = try JoinToken(role: .agent, secret: theirs, now: start)
        let expected = CertificatesError.foreignCluster(expected: ours.clusterID, found: theirs.clusterID)
        #expect(failure { try token.verify(with: ours, expecting: .agent, now: start) } == expected)
    }

    /// Every character is changed to every other character of the alphabet: nobody reads the result as a token that a
    /// server would accept.
    @Test func noChangedCharacterGetsThrough() throws {
        let secret = ClusterSecret.generate(now: start)
        let text = Array(try JoinToken(role: .agent, secret: secret, now: start).text.utf8)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        for position in text.indices {
            for character in alphabet where character != text[position] {
                var changed = text
                changed[position] = character
                let error = failure { _ = try JoinToken.parse(String(decoding: changed, as: UTF8.self), now: start) }
                guard case .malformedToken = error else {
                    Issue.record("character \(position): \(String(describing: error))")
                    return
                }
            }
        }
    }

    @Test func noShortenedOrLengthenedTokenGetsThrough() throws {
        let secret = ClusterSecret.generate(now: start)
        for role in NodeRole.allCases {
            let text = try JoinToken(role: role, secret: secret, now: start).text
            for count in 0..<text.count {
                #expect(throws: CertificatesError.self) { try JoinToken.parse(String(text.prefix(count)), now: start) }
            }
            for more in ["A", "AA", "AAAA", "=", " x"] {
                #expect(throws: CertificatesError.self) { try JoinToken.parse(text + more, now: start) }
            }
        }
    }

    /// Somebody who knows the format makes the checksum fit; the MAC stands in the way. Each body byte is changed in
    /// turn.
    @Test func aForgedTokenIsStoppedByItsMAC() throws {
        let secret = ClusterSecret.generate(now: start)
        let token = try JoinToken(role: .agent, secret: secret, now: start)
        let sealed = try TokenBytes.sealed(of: token.text)
        for position in sealed.indices {
            var forged = sealed
            forged[position] ^= 0x01
            let read = try JoinToken.parse(TokenBytes.text(.agent, forged), now: start)
            let error = failure { try read.verify(with: secret, expecting: .agent, now: start) }
            // The first 16 bytes are the cluster id.
            if position < 16 {
                guard case .foreignCluster = error else {
                    Issue.record("byte \(position): \(String(describing: error))")
                    continue
                }
            } else {
                #expect(error == .tokenMACMismatch, "byte \(position)")
            }
        }
    }

    @Test func aForgedServerTokenIsFoundOutWhereItIsRead() throws {
        let sealed = try TokenBytes.sealed(
            of: JoinToken(role: .server, secret: ClusterSecret.generate(now: start), now: start).text)
        for position in sealed.indices {
            var forged = sealed
            forged[position] ^= 0x01
            #expect(throws: CertificatesError.self, "byte \(position)") {
                try JoinToken.parse(TokenBytes.text(.server, forged), now: start)
            }
        }
    }

    @Test func anAgentTokenCanNotBeDressedUpAsAServerToken() throws {
        let secret = ClusterSecret.generate(now: start)
        let sealed = try TokenBytes.sealed(of: JoinToken(role: .agent, secret: secret, now: start).text)
        #expect(throws: CertificatesError.self) { try JoinToken.parse(TokenBytes.text(.server, sealed), now: start) }
    }

    @Test func garbageIsRefusedWithoutATrap() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...200, using: &generator)
            let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            let prefix = ["", "serai-agent-1.", "serai-server-1."].randomElement(using: &generator) ?? ""
            let text = prefix + String(decoding: bytes, as: UTF8.self)
            #expect(throws: CertificatesError.self) { try JoinToken.parse(text, now: start) }
            let role = NodeRole.allCases.randomElement(using: &generator) ?? .agent
            // Random bytes of the right length parse as an agent token; no server accepts them.
            _ = try? JoinToken.parse(TokenBytes.text(role, bytes), now: start)
        }
    }
}
