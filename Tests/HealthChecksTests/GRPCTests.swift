import GRPCCore
import GRPCNIOTransportHTTP2Posix
import HealthChecks
import NIOCore
import NIOPosix
import Protocol
import SwiftProtobuf
import Testing
import Units

/// A health service made with the same library, and servers that are none.
@Suite(.timeLimit(.minutes(1))) struct GRPCTests {
    private func plan(
        _ port: Int, _ service: String = "", tls: ProbeTLS? = nil, host: String = "127.0.0.1",
        timeout: Nanoseconds = .seconds(20)
    ) -> CheckPlan {
        let probe = GRPCProbe(address: HostPort(host: host, port: port), service: service, tls: tls)
        return CheckPlan(id: "grpc", kind: .grpc(probe), interval: .milliseconds(5), timeout: timeout)
    }

    @Test func whatServesIsPassing() async throws {
        try await withHealthServer(.plaintext) { port in
            let found = await reports(self.plan(port), count: 2)
            #expect(found.map(\.status) == [.passing, .passing])
            #expect(found[0].output == "gRPC check 127.0.0.1:\(port): success")
            let named = await reports(self.plan(port, "web"))
            #expect(named[0].output == "gRPC check 127.0.0.1:\(port)/web: success")
            let byName = await reports(self.plan(port, host: "localhost"))
            #expect(byName[0].status == .passing)
        }
    }

    @Test func whatDoesNotServeIsCritical() async throws {
        try await withHealthServer(.plaintext) { port in
            let down = await reports(self.plan(port, "down"))
            #expect(down[0].status == .critical)
            #expect(down[0].output == "gRPC 127.0.0.1:\(port)/down serving status: NOT_SERVING")
            let unknown = await reports(self.plan(port, "none"))
            #expect(unknown[0].status == .critical)
            #expect(unknown[0].output == "rpc error: code = NotFound desc = unknown service")
        }
    }

    @Test func aServerThatDoesNotAnswerIsCriticalAfterTheTimeout() async throws {
        try await withHealthServer(.plaintext) { port in
            let start = ContinuousClock.now
            let found = await reports(self.plan(port, "slow", timeout: .milliseconds(300)))
            #expect(ContinuousClock.now - start < .seconds(4))
            #expect(found[0].status == .critical)
            #expect(found[0].output == "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
        }
    }

    @Test func aPortWithoutAListenerIsCriticalAtOnce() async throws {
        let server = try await TestWebServer()
        let port = server.port
        try await server.close()
        let start = ContinuousClock.now
        let found = await reports(self.plan(port, timeout: .seconds(50)))
        #expect(found[0].status == .critical)
        #expect(found[0].output.hasPrefix("rpc error: code = Unavailable desc = "))
        #expect(found[0].output.contains("connection refused") || found[0].output.contains("Connection refused"))
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    @Test func aServerThatSpeaksNoHTTP2IsCritical() async throws {
        let server = try await TestWebServer()
        let found = await reports(self.plan(server.port, timeout: .seconds(2)))
        #expect(found[0].status == .critical)
        try await server.close()
    }

    @Test func withTLSTheCertificateIsVerifiedUnlessItIsNotToBe() async throws {
        let (certificate, key) = try selfSignedPair("localhost")
        let security = HTTP2ServerTransport.Posix.TransportSecurity.tls(
            certificateChain: [.bytes(certificate, format: .der)], privateKey: .bytes(key, format: .der))
        try await withHealthServer(security) { port in
            let lenient = ProbeTLS(skipVerify: true)
            let address = await reports(self.plan(port, tls: lenient))
            #expect(address[0].output == "gRPC check 127.0.0.1:\(port): success")
            let name = await reports(self.plan(port, tls: lenient, host: "localhost"))
            #expect(name[0].status == .passing)
            let other = await reports(self.plan(port, tls: ProbeTLS(serverName: "web.internal", skipVerify: true)))
            #expect(other[0].status == .passing)
            let strict = await reports(self.plan(port, tls: ProbeTLS(), timeout: .seconds(5)))
            #expect(strict[0].status == .critical)
            let plain = await reports(self.plan(port, timeout: .seconds(2)))
            #expect(plain[0].status == .critical)
        }
    }
}

/// Runs `body` with the port of a server: "" and "web" serve, "down" does not, "slow" says nothing for five seconds.
private func withHealthServer(
    _ security: HTTP2ServerTransport.Posix.TransportSecurity, _ body: (Int) async throws -> Void
) async throws {
    let transport = HTTP2ServerTransport.Posix(
        address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: security)
    try await withGRPCServer(transport: transport, services: [HealthService()]) { _ in
        let port = try await transport.listeningAddress.ipv4?.port ?? 0
        try await body(port)
    }
}

private struct HealthService: RegistrableRPCService {
    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.registerHandler(
            forMethod: MethodDescriptor(fullyQualifiedService: "grpc.health.v1.Health", method: "Check"),
            deserializer: Reader<GRPCHealthCheckRequest>(), serializer: Writer<GRPCHealthCheckResponse>()
        ) { request, _ in
            var service = ""
            for try await message in request.messages { service = message.service }
            var response = GRPCHealthCheckResponse()
            switch service {
            case "", "web": response.status = .serving
            case "down": response.status = .notServing
            case "slow": try await Task.sleep(for: .seconds(5))
            default: throw RPCError(code: .notFound, message: "unknown service")
            }
            return StreamingServerResponse(single: ServerResponse(message: response))
        }
    }

    struct Writer<Message: SwiftProtobuf.Message>: MessageSerializer {
        func serialize<Bytes: GRPCContiguousBytes>(_ message: Message) throws -> Bytes {
            let bytes: [UInt8] = try message.serializedBytes()
            return Bytes(bytes)
        }
    }

    struct Reader<Message: SwiftProtobuf.Message>: MessageDeserializer {
        func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
            try Message(serializedBytes: bytes.withUnsafeBytes { Array($0) })
        }
    }
}
