import HealthChecks
import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL
import Testing
import Units

/// Pings of a real HTTP/2 server.
@Suite(.timeLimit(.minutes(1))) struct H2PingTests {
    private func plan(_ port: Int, tls: ProbeTLS? = nil, timeout: Nanoseconds = .seconds(10)) -> CheckPlan {
        let probe = H2PingProbe(address: HostPort(host: "127.0.0.1", port: port), tls: tls)
        return CheckPlan(id: "h2", kind: .h2ping(probe), interval: .milliseconds(5), timeout: timeout)
    }

    private func server(tls: TLSConfiguration? = nil) async throws -> any Channel {
        let context = try tls.map { try NIOSSLContext(configuration: $0) }
        return try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.addHandler(NIOHTTP2Handler(mode: .server))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    private func port(_ channel: any Channel) -> Int { channel.localAddress?.port ?? 0 }

    @Test func anAcknowledgedPingIsPassing() async throws {
        let server = try await self.server()
        let found = await reports(self.plan(self.port(server)), count: 2)
        #expect(found.map(\.status) == [.passing, .passing])
        #expect(found[0].output == "HTTP2 ping was successful")
        try await server.close()
    }

    @Test func withTLSTheCertificateIsVerifiedUnlessItIsNotToBe() async throws {
        var tls = try selfSigned("localhost")
        tls.applicationProtocols = ["h2"]
        let server = try await self.server(tls: tls)
        let lenient = await reports(self.plan(self.port(server), tls: ProbeTLS(skipVerify: true)))
        #expect(lenient[0].status == .passing)
        let strict = await reports(self.plan(self.port(server), tls: ProbeTLS()))
        #expect(strict[0].status == .critical)
        #expect(strict[0].output.hasPrefix("Failed to dial to 127.0.0.1:\(self.port(server)): "))
        let plain = await reports(self.plan(self.port(server), timeout: .seconds(2)))
        #expect(plain[0].status == .critical)
        try await server.close()
    }

    @Test func aPortWithoutAListenerIsCritical() async throws {
        let server = try await self.server()
        let port = self.port(server)
        try await server.close()
        let found = await reports(self.plan(port))
        #expect(found[0].status == .critical)
        #expect(found[0].output == "Failed to dial to 127.0.0.1:\(port): connect: connection refused")
    }

    @Test func aServerThatSaysNothingIsCriticalAfterTheTimeout() async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let found = await reports(self.plan(self.port(server), timeout: .milliseconds(200)))
        #expect(found[0].status == .critical)
        #expect(found[0].output.hasPrefix("HTTP2 ping failed: "))
        try await server.close()
    }

    @Test func aServerOfHTTP1IsCritical() async throws {
        let server = try await TestWebServer()
        let found = await reports(self.plan(server.port, timeout: .seconds(5)))
        #expect(found[0].status == .critical)
        try await server.close()
    }
}
