import Agent
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// Nobody else's slowness holds an agent up.
@Suite(.serialized, .timeLimit(.minutes(2))) struct PatienceTests {
    /// Answers every request with the beginning of an answer that never ends.
    private final class Dribbler: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        static let asked = Mutex(0)

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard String(buffer: self.unwrapInboundIn(data)).hasPrefix("POST ") else { return }
            Self.asked.withLock { $0 += 1 }
            let text = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
        }
    }

    @Test func aHandlersAnswerThatNeverEndsIsGivenUp() async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Dribbler())
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        try await TestNodes.with(expect: 1) { nodes in
            var handler = WatchDefinition.HTTPHandler()
            handler.path = "http://127.0.0.1:\(port)/"
            handler.timeout = .milliseconds(500)
            var key = WatchDefinition()
            key.kind = .key
            key.key = "watched"
            key.handler = .http(handler)
            let watched = key
            try await nodes.start("server-1") { $0.watches = [watched] }
            _ = try await nodes.leader()
            for round in 1...2 {
                for _ in 0..<200 where Dribbler.asked.withLock({ $0 }) < round {
                    try await Task.sleep(nanoseconds: 50_000_000)
                }
                #expect(Dribbler.asked.withLock { $0 } == round)
                #expect(try await nodes.put("server-1", "/v1/kv/watched", "\(round)").text == "true")
            }
        }
        try await server.close()
    }

    @Test func aStopWaitsForClientsNoLongerThanItWasTold() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1") { $0.performance.leaveDrainTime = .milliseconds(500) }
            _ = try await nodes.leader()
            let value = String(repeating: "x", count: 500_000)
            for number in 0..<30 { _ = try await nodes.put("server-1", "/v1/kv/large/\(number)", value) }
            // Asks for 20 MB, and takes none of it.
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false)
                .connect(host: nodes.address("server-1"), port: 8500).get()
            let request = "GET /v1/kv/large?recurse HTTP/1.1\r\nHost: x\r\n\r\n"
            try await client.writeAndFlush(ByteBuffer(string: request))
            try await Task.sleep(nanoseconds: 1_000_000_000)
            let start = ContinuousClock.now
            await nodes.stop("server-1")
            #expect(ContinuousClock.now - start < .seconds(20))
            try await client.close()
        }
    }
}
