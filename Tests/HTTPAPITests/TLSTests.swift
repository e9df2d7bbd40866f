import Crypto
import Foundation
import HTTPAPI
import NIOCore
import NIOPosix
import NIOSSL
import SwiftASN1
import Testing
import X509

/// HTTPS and sockets in the file system, over real connections.
@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private let desk = Desk()

    @Test func requestsAreAnsweredOverTLSAndANewCertificateIsSeenByNewConnections() async throws {
        let folder = try Folder()
        let tls = try ServerTLS(try folder.settings("one"))
        try await self.serving(tls) { port in
            #expect(try await TLSClient.get(port, trusting: folder.certificate("one"), name: "one").contains("200 OK"))
            tls.take(try ServerTLS(try folder.settings("two")))
            #expect(try await TLSClient.get(port, trusting: folder.certificate("two"), name: "two").contains("200 OK"))
            await #expect(throws: (any Error).self) {
                _ = try await TLSClient.get(port, trusting: folder.certificate("one"), name: "one")
            }
        }
    }

    @Test func onlyClientsWithACertificateAreLetInWhenThatIsAsked() async throws {
        let folder = try Folder()
        var settings = try folder.settings("server")
        _ = try folder.settings("client")
        settings.verifiesClients = true
        settings.authorityFile = folder.path("client.pem")
        try await self.serving(try ServerTLS(settings)) { port in
            let trusted = try folder.certificate("server")
            await #expect(throws: (any Error).self) {
                _ = try await TLSClient.get(port, trusting: trusted, name: "server")
            }
            let answer = try await TLSClient.get(
                port, trusting: trusted, name: "server",
                identity: (folder.path("client.pem"), folder.path("client.key")))
            #expect(answer.contains("200 OK"))
        }
    }

    @Test func plainHTTPOnTheHTTPSPortEndsTheConnectionAlone() async throws {
        let folder = try Folder()
        try await self.serving(try ServerTLS(try folder.settings("one"))) { port in
            let plain = try await Client(port: port)
            try await plain.send("GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            await #expect(throws: (any Error).self) { _ = try await plain.response() }
            #expect(try await TLSClient.get(port, trusting: folder.certificate("one"), name: "one").contains("200 OK"))
        }
    }

    @Test func aClientThatDoesNotShakeHandsIsLetGo() async throws {
        let folder = try Folder()
        var settings = try folder.settings("one")
        settings.handshakeTimeout = .milliseconds(300)
        try await self.serving(try ServerTLS(settings)) { port in
            // One says nothing, one begins a record and leaves it at that.
            for opening in [nil, ByteBuffer(bytes: [22, 3, 1, 1, 0, 1])] {
                let start = ContinuousClock.now
                let silent = try await Client(port: port)
                if let opening { try await silent.send(String(buffer: opening)) }
                await #expect(throws: (any Error).self) { _ = try await silent.response() }
                #expect(ContinuousClock.now - start < .seconds(10))
            }
            // Who has shaken hands may take longer.
            let answer = try await TLSClient.get(
                port, trusting: folder.certificate("one"), name: "one", pause: .milliseconds(900))
            #expect(answer.contains("200 OK"))
        }
    }

    @Test func whatIsWrongWithAFileIsSaidWithItsName() throws {
        let folder = try Folder()
        let good = try folder.settings("good")
        let other = try folder.settings("other")
        func complaint(_ change: (inout TLSListenerSettings) -> Void) -> String {
            var settings = good
            change(&settings)
            do throws(ServerTLSError) {
                _ = try ServerTLS(settings)
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(complaint { _ in } == "none")
        let missing = folder.path("missing.pem")
        #expect(
            complaint { $0.certificateFile = missing } == "\(missing): can't be read: No such file or directory")
        #expect(complaint { $0.keyFile = missing } == "\(missing): can't be read: No such file or directory")
        #expect(complaint { $0.certificateFile = good.keyFile }.hasSuffix("holds no certificate in PEM form"))
        #expect(complaint { $0.keyFile = good.certificateFile }.contains("holds no private key in PEM form"))
        #expect(complaint { $0.keyFile = other.keyFile }.hasPrefix("\(other.keyFile) is not the key of"))
        #expect(complaint { $0.verifiesClients = true }.hasPrefix("verify_incoming is set, but neither"))
        #expect(
            complaint {
                $0.verifiesClients = true
                $0.authorityFolder = missing
            } == "\(missing): can't be read: No such file or directory")
    }

    @Test func aSocketInTheFileSystemHasItsModeAndGoesWithTheListener() async throws {
        let folder = try Folder()
        let path = folder.path("http.sock")
        let bound = AsyncStream<UnixSocketPermissions.Failure?>.makeStream()
        let listener = self.desk.api.makeListener(
            socketPath: path, permissions: UnixSocketPermissions(mode: "0640")
        ) { bound.continuation.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listener.run() }
            var iterator = bound.stream.makeAsyncIterator()
            #expect(try #require(await iterator.next()) == nil)
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o640)
            try await listener.shutdown()
            try await group.waitForAll()
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func permissionsThatMeanNothingAreTold() {
        func complaint(_ permissions: UnixSocketPermissions) -> UnixSocketPermissions.Failure? {
            do throws(UnixSocketPermissions.Failure) {
                try permissions.validate()
                return nil
            } catch {
                return error
            }
        }
        #expect(complaint(UnixSocketPermissions(user: "0", group: "0", mode: "0777")) == nil)
        #expect(complaint(UnixSocketPermissions(user: "root")) == nil)
        #expect(complaint(UnixSocketPermissions(user: "nobody of that name")) == .unknownUser("nobody of that name"))
        #expect(complaint(UnixSocketPermissions(group: "no such group")) == .unknownGroup("no such group"))
        for mode in ["abc", "0888", "1777", "-1"] {
            #expect(complaint(UnixSocketPermissions(mode: mode)) == .badMode(mode))
        }
    }

    private func serving(_ tls: ServerTLS, _ body: @Sendable @escaping (Int) async throws -> Void) async throws {
        let ports = AsyncStream<Int>.makeStream()
        let listener = self.desk.api.makeListener(host: "127.0.0.1", port: 0, tls: tls) { ports.continuation.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listener.run() }
            var iterator = ports.stream.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body(port)
            try await listener.shutdown()
            try await group.waitForAll()
        }
    }
}

/// Certificates that stand for themselves, in a folder that goes with the test.
private final class Folder: Sendable {
    private let url: URL

    init() throws {
        self.url = FileManager.default.temporaryDirectory.appendingPathComponent("serai-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: self.url) }

    func path(_ name: String) -> String { self.url.appendingPathComponent(name).path }

    func certificate(_ name: String) throws -> NIOSSLCertificate {
        try #require(try NIOSSLCertificate.fromPEMFile(self.path("\(name).pem")).first)
    }

    /// Writes a certificate for a name, and its key.
    func settings(_ name: String) throws -> TLSListenerSettings {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        // In force from 2020 to 2100, whatever the day of the test.
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(bytes: [1]),
            publicKey: Certificate.PublicKey(key.publicKey),
            notValidBefore: Date(timeIntervalSince1970: 1_577_836_800),
            notValidAfter: Date(timeIntervalSince1970: 4_102_444_800),
            issuer: subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions { SubjectAlternativeNames([.dnsName(name)]) },
            issuerPrivateKey: Certificate.PrivateKey(key))
        try Data(try certificate.serializeAsPEM().pemString.utf8).write(
            to: URL(fileURLWithPath: self.path("\(name).pem")))
        try Data(key.pemRepresentation.utf8).write(to: URL(fileURLWithPath: self.path("\(name).key")))
        return TLSListenerSettings(certificateFile: self.path("\(name).pem"), keyFile: self.path("\(name).key"))
    }
}

/// One request over TLS, and all that comes back.
private enum TLSClient {
    static func get(
        _ port: Int, trusting certificate: NIOSSLCertificate, name: String, identity: (String, String)? = nil,
        pause: Duration = .zero
    ) async throws -> String {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates([certificate])
        if let (chain, key) = identity {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(chain).map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
        }
        let context = try NIOSSLContext(configuration: configuration)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        try NIOSSLClientHandler(context: context, serverHostname: name))
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await Task.sleep(for: pause)
            try await outbound.write(
                ByteBuffer(string: "GET /v1/status/leader HTTP/1.1\r\nHost: \(name)\r\nConnection: close\r\n\r\n"))
            var text = ""
            for try await piece in inbound { text += String(buffer: piece) }
            if text.isEmpty { throw ChannelError.eof }
            return text
        }
    }
}
