import Certificates
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Protocol
import SwiftProtobuf
import Testing
import Transport
import Units

/// A TLS client that speaks bytes: what somebody can send who does not use this room.
final class RawClient: Sendable {
    private let channel: any Channel
    private let collector: Collector

    private init(_ channel: any Channel, _ collector: Collector) {
        self.channel = channel
        self.collector = collector
    }

    /// Shows `credentials`, or no certificate at all.
    static func connect(
        port: Int, credentials: NodeCredentials?, alpn: [String] = ["serai-peer-1"], newest: TLSVersion = .tlsv13
    ) async throws -> RawClient {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.applicationProtocols = alpn
        configuration.maximumTLSVersion = newest
        if let credentials {
            configuration.certificateChain = [
                .certificate(try NIOSSLCertificate(bytes: credentials.certificateDER, format: .der))
            ]
            configuration.privateKey = .privateKey(
                try NIOSSLPrivateKey(bytes: Array(credentials.key.pem.utf8), format: .pem))
        }
        let context = try NIOSSLContext(configuration: configuration)
        let collector = Collector()
        let channel = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        try NIOSSLClientHandler(context: context, serverHostname: nil), collector.handler())
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return RawClient(channel, collector)
    }

    /// Bytes without TLS.
    static func connectPlain(port: Int) async throws -> RawClient {
        let collector = Collector()
        let channel = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(collector.handler())
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return RawClient(channel, collector)
    }

    func send(_ bytes: [UInt8]) async throws {
        try await self.channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    func send(_ frame: PeerFrame) async throws {
        let body: [UInt8] = try frame.serializedBytes()
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(body.count))
        buffer.writeBytes(body)
        try await self.channel.writeAndFlush(buffer).get()
    }

    /// What the other side has sent, as frames.
    var frames: [PeerFrame] {
        var reader = FrameReader(limit: 1 << 26)
        reader.append(self.collector.bytes)
        var frames: [PeerFrame] = []
        while let frame = try? reader.next() {
            if case .message(let message) = frame { frames.append(message) }
        }
        return frames
    }

    /// The text with which the other side turned this one away; waits until it has closed the connection.
    func refusal() async throws -> String? {
        try await self.waitUntilClosed()
        for case .hello(let hello) in self.frames.compactMap(\.kind) where !hello.refusal.isEmpty {
            return hello.refusal
        }
        return nil
    }

    func waitUntilClosed() async throws {
        let channel = self.channel
        try await eventually("the other side closes the connection") { !channel.isActive }
    }

    func close() { self.channel.close(promise: nil) }

    /// A greeting that agrees with `credentials`, unless it is changed.
    static func hello(_ identity: NodeIdentity, _ change: (inout PeerHello) -> Void = { _ in }) -> PeerFrame {
        var frame = PeerFrame()
        frame.hello.version = 1
        frame.hello.clusterID = identity.clusterID
        frame.hello.nodeID = identity.nodeID.rawValue
        frame.hello.name = identity.name
        frame.hello.role = identity.role.rawValue
        change(&frame.hello)
        return frame
    }

    private final class Collector: Sendable {
        private let box = NIOLockedValueBox(ByteBuffer())
        var bytes: ByteBuffer { self.box.withLockedValue { $0 } }

        func handler() -> Handler { Handler(self) }

        final class Handler: ChannelInboundHandler {
            typealias InboundIn = ByteBuffer
            private let collector: Collector
            init(_ collector: Collector) { self.collector = collector }

            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                var bytes = self.unwrapInboundIn(data)
                _ = self.collector.box.withLockedValue { $0.writeBuffer(&bytes) }
            }

            func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
        }
    }
}
