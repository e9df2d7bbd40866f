import HealthChecks
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Units

/// Datagrams to real ports of the loopback.
@Suite(.timeLimit(.minutes(1))) struct UDPTests {
    private func plan(_ port: Int, timeout: Nanoseconds) -> CheckPlan {
        let probe = UDPProbe(HostPort(host: "127.0.0.1", port: port))
        return CheckPlan(id: "udp", kind: .udp(probe), interval: .milliseconds(5), timeout: timeout)
    }

    @Test func anAnswerIsPassingAtOnce() async throws {
        let server = try await TestDatagramServer(answers: true)
        // The timeout is longer than the test may take: only the answer ends the probe.
        let found = await reports(self.plan(server.port, timeout: .seconds(300)))
        #expect(found.map(\.status) == [.passing])
        #expect(found[0].output == "UDP connect 127.0.0.1:\(server.port): Success")
        #expect(server.received == [0])
        try await server.close()
    }

    @Test func silenceIsPassingOnceTheTimeIsOver() async throws {
        let server = try await TestDatagramServer(answers: false)
        let start = ContinuousClock.now
        let found = await reports(self.plan(server.port, timeout: .milliseconds(150)))
        #expect(found.map(\.status) == [.passing])
        #expect(ContinuousClock.now - start >= .milliseconds(150))
        try await server.close()
    }

    @Test func aPortThatRefusesIsCritical() async throws {
        let server = try await TestDatagramServer(answers: false)
        let port = server.port
        try await server.close()
        let found = await reports(self.plan(port, timeout: .seconds(300)))
        #expect(found.map(\.status) == [.critical])
        #expect(found[0].output == "read udp 127.0.0.1:\(port): read: connection refused")
    }

    @Test func aNameThatDoesNotExistIsCritical() async {
        let probe = UDPProbe(HostPort(host: "no-such-host.invalid", port: 9))
        let found = await reports(CheckPlan(id: "udp", kind: .udp(probe), timeout: .seconds(30)))
        #expect(found.map(\.status) == [.critical])
        #expect(found[0].output.hasPrefix("dial udp no-such-host.invalid:9: "))
    }
}

/// Counts datagrams, and sends each back when it is to.
final class TestDatagramServer: Sendable {
    private let channel: any Channel
    private let sizes: Sizes

    final class Sizes: Sendable {
        let all = Mutex<[Int]>([])
    }

    var port: Int { self.channel.localAddress?.port ?? 0 }
    /// Bytes of each datagram.
    var received: [Int] { self.sizes.all.withLock { $0 } }

    init(answers: Bool) async throws {
        let sizes = Sizes()
        self.sizes = sizes
        self.channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Echo(answers: answers, sizes: sizes))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func close() async throws { try await self.channel.close() }

    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        typealias OutboundOut = AddressedEnvelope<ByteBuffer>
        private let answers: Bool
        private let sizes: Sizes

        init(answers: Bool, sizes: Sizes) {
            self.answers = answers
            self.sizes = sizes
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = self.unwrapInboundIn(data)
            self.sizes.all.withLock { $0.append(envelope.data.readableBytes) }
            let answer = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(string: "here"))
            if self.answers { context.writeAndFlush(self.wrapOutboundOut(answer), promise: nil) }
        }
    }
}
