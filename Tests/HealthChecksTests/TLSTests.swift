import Crypto
import Foundation
import HealthChecks
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SwiftASN1
import Testing
import Units
import X509

/// Probes of servers whose certificate nobody vouches for.
@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private func report(_ kind: CheckPlan.Kind) async -> CheckReport? {
        let reports = Reports()
        let plan = CheckPlan(id: "tls", kind: kind, interval: .milliseconds(5), timeout: .seconds(10))
        let runner = CheckRunner(plan: plan, run: 1, firstDelay: .zero, logger: quietLogger()) { reports.receive($0) }
        runner.start()
        defer { runner.stop() }
        return await reports.next(1).first
    }

    @Test func anUnknownCertificateIsCriticalUnlessItIsNotVerified() async throws {
        let server = try await TestWebServer(tls: try selfSigned("localhost"))
        let url = "https://127.0.0.1:\(server.port)/ok"
        let strict = await self.report(.http(HTTPProbe(url: url)))
        #expect(strict?.status == .critical)
        let lenient = await self.report(.http(HTTPProbe(url: url, tls: ProbeTLS(skipVerify: true))))
        #expect(lenient?.status == .passing)
        #expect(lenient?.output == "HTTP GET \(url): 200 OK Output: fine")
        try await server.close()
    }

    @Test func aServerNameTakesTheHostsPlaceInTheHandshakeAlone() async throws {
        let server = try await TestWebServer(tls: try selfSigned("web.internal"))
        let tls = ProbeTLS(serverName: "web.internal", skipVerify: true)
        let report = await self.report(.http(HTTPProbe(url: "https://127.0.0.1:\(server.port)/ok", tls: tls)))
        #expect(report?.status == .passing)
        #expect(server.requests.first?.headers["host"] == "127.0.0.1:\(server.port)")
        try await server.close()
    }

    @Test func aTCPCheckWithTLSNeedsItsHandshake() async throws {
        let server = try await TestWebServer(tls: try selfSigned("localhost"))
        let strict = await self.report(.tcp(TCPProbe(host: "127.0.0.1", port: server.port, tls: ProbeTLS())))
        #expect(strict?.status == .critical)
        let lenient = TCPProbe(host: "127.0.0.1", port: server.port, tls: ProbeTLS(skipVerify: true))
        let report = await self.report(.tcp(lenient))
        #expect(report?.status == .passing)
        #expect(report?.output == "TCP+TLS connect 127.0.0.1:\(server.port): Success")
        try await server.close()
    }
}

/// A server with a certificate that stands for itself.
func selfSigned(_ name: String) throws -> TLSConfiguration {
    let (certificate, key) = try selfSignedPair(name)
    return TLSConfiguration.makeServerConfiguration(
        certificateChain: [.certificate(try NIOSSLCertificate(bytes: certificate, format: .der))],
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: key, format: .der)))
}

/// A certificate that stands for itself, and its key, both in DER.
func selfSignedPair(_ name: String) throws -> (certificate: [UInt8], key: [UInt8]) {
    let key = P256.Signing.PrivateKey()
    let subject = try DistinguishedName { CommonName(name) }
    // In force from 2020 to 2100, whatever the day of the test.
    let certificate = try Certificate(
        version: .v3, serialNumber: Certificate.SerialNumber(bytes: [1]),
        publicKey: Certificate.PublicKey(key.publicKey),
        notValidBefore: .init(timeIntervalSince1970: 1_577_836_800),
        notValidAfter: .init(timeIntervalSince1970: 4_102_444_800),
        issuer: subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
        extensions: try Certificate.Extensions { SubjectAlternativeNames([.dnsName(name)]) },
        issuerPrivateKey: Certificate.PrivateKey(key))
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    return (serializer.serializedBytes, Array(key.derRepresentation))
}
