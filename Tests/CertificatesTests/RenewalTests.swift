import Certificates
import Testing
import Units

@Suite struct RenewalTests {
    let issued = UnixSeconds(1_800_000_000)
    let credentials: NodeCredentials

    init() throws {
        let secret = ClusterSecret.generate(now: UnixSeconds(1_800_000_000))
        let identity = try NodeIdentity(
            clusterID: secret.clusterID, role: .server, name: "server-1", nodeID: NodeID(1))
        self.credentials = try CertificateAuthority(secret).issue(identity, key: .generate(), now: self.issued)
    }

    /// A node's own times, looked at one after another.
    private final class Looks {
        var times = RenewalTimes()
        let credentials: NodeCredentials
        init(_ credentials: NodeCredentials) { self.credentials = credentials }
        func isDue(_ now: UnixSeconds) -> Bool { self.times.attemptIsDue(self.credentials, now: now) }
        func warning(_ now: UnixSeconds) -> String? { self.times.warning(self.credentials, now: now) }
    }

    /// Days after the issue. The certificate counts from one day before it to 72 days after: 73 in all.
    private func day(_ day: Double) -> UnixSeconds { self.issued.adding(seconds: Int64(day * 86_400)) }

    @Test func aRenewalIsDueAtHalfLifeAndTriedOnceAMinute() {
        let looks = Looks(self.credentials)
        #expect(!looks.isDue(self.day(0)))
        #expect(!looks.isDue(self.day(35.49)))
        let half = self.day(35.5)
        #expect(looks.isDue(half))
        #expect(!looks.isDue(half.adding(seconds: 59)))
        #expect(looks.isDue(half.adding(seconds: 60)))
        // A clock that was set back does not put it off for ever.
        #expect(looks.isDue(half.adding(seconds: 30)))
    }

    @Test func theOperatorIsWarnedInTheLastQuarterEachDayAndOnTheLastDayEachHour() {
        let looks = Looks(self.credentials)
        #expect(looks.warning(self.day(53.7)) == nil)
        #expect(
            looks.warning(self.day(53.8))
                == "this node's certificate expires in 18 days and has not been renewed")
        #expect(looks.warning(self.day(54.7)) == nil)
        #expect(looks.warning(self.day(54.8)) != nil)
        #expect(
            looks.warning(self.day(71.5))
                == "this node's certificate expires in 13 hours and has not been renewed")
        #expect(looks.warning(self.day(71.53)) == nil)
        #expect(looks.warning(self.day(71.55)) != nil)
        #expect(looks.warning(self.day(72.1))?.contains("has expired") == true)
    }

    @Test func aCertificateTellsUntilWhenItIsAccepted() throws {
        let found = try self.credentials.verifier().check(
            chainDER: [self.credentials.certificateDER], now: self.day(1))
        #expect(found.acceptedUntil == self.day(72).adding(seconds: UnixSeconds.hour))
        #expect(found.identity == self.credentials.identity)
    }
}
