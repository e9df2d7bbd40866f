import Glibc
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Bounds of a connection.
package struct ConnectionLimits: Sendable {
    package var idle: TimeAmount = .minutes(10)
    /// Between two packets of one request.
    package var reading: TimeAmount = .seconds(30)
    /// While the client takes nothing of its answer.
    package var writing: TimeAmount = .seconds(60)
    package var idleCheckInterval: TimeAmount = .seconds(15)
    /// How long a connection that closes goes on reading what the client still sends.
    package var linger: TimeAmount = .milliseconds(500)
    /// How long a connection without a request is kept when the listener shuts down: a client that is about to ask is
    /// still answered, and told that it was the last time.
    package var parting: TimeAmount = .seconds(1)
    package var headers = 80 * 1024
}

/// Serves the HTTP API at one address. `run()` returns when the listener was shut down and every connection has ended.
public struct HTTPListener: Sendable {
    private let server: Server<HTTPConnections>
    private let socket: SocketFile?

    init(
        api: HTTPAPI, address: BindAddress, socketPath: String? = nil, tls: ServerTLS? = nil,
        group: any EventLoopGroup, logger: Logger,
        onRunning: @escaping @Sendable (any Channel) async -> Void
    ) {
        let configuration = ServerConfiguration(
            address: address, backlog: 1024, reuseAddress: true,
            availableConnectionsDelegate: MaximumAvailableConnections(api.settings.maximumConnections, logger: logger))
        let socket = socketPath.map { SocketFile($0) }
        self.server = Server(
            childChannelSetup: HTTPConnections(api: api, limits: api.settings.connectionLimits, tls: tls),
            configuration: configuration,
            onServerRunning: { channel in
                socket?.remember()
                await onRunning(channel)
            }, eventLoopGroup: group, logger: logger)
        self.socket = socket
    }

    /// Binds and serves. Throws when the address can't be bound. A socket in the file system is removed in the end.
    public func run() async throws {
        defer { self.socket?.remove() }
        try await self.server.run()
    }

    /// Takes no further connections, answers what is being waited on, and closes.
    public func shutdown() async throws {
        try await self.server.shutdownGracefully()
    }
}

/// A listener's socket in the file system, so that no other process's that has taken its place is removed in the end.
private final class SocketFile: Sendable {
    private struct Identity: Equatable {
        var device: dev_t
        var inode: ino_t
    }

    private let path: String
    private let own = Mutex<Identity?>(nil)

    init(_ path: String) { self.path = path }

    private var present: Identity? {
        var status = stat()
        guard lstat(self.path, &status) == 0 else { return nil }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    func remember() { self.own.withLock { $0 = self.present } }

    func remove() {
        guard let own = self.own.withLock({ $0 }), own == self.present else { return }
        unlink(self.path)
    }
}

/// A connection of the listener: HTTP/1.1 requests in, encoded responses out, in order.
struct HTTPConnections: ServerChildChannel {
    struct Connection: ServerChildChannelValue {
        var parts: NIOAsyncChannel<Incoming, Outgoing>
        var signal: ConnectionSignal
        var channel: any Channel { self.parts.channel }
    }
    typealias Value = Connection

    let api: HTTPAPI
    let limits: ConnectionLimits
    let tls: ServerTLS?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Connection> {
        channel.eventLoop.makeCompletedFuture {
            let signal = ConnectionSignal()
            var decoderLimits = NIOHTTPDecoderLimitConfiguration()
            decoderLimits.maxHeaderFieldSize = self.limits.headers
            decoderLimits.maxHeaderListSize = self.limits.headers
            decoderLimits.maxHeaderFieldCount = 1000
            let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoderLimits)
            let api = self.api
            let assembler = HTTPAssembler(
                signal: signal, limits: self.limits, policy: api.settings.defaultPolicy,
                rule: { api.bodyRule(for: $0) },
                responder: { api.respondOnLoop(to: $0, body: $1, $2, $3) })
            try self.tls?.addHandlers(to: channel)
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(decoder))
            try channel.pipeline.syncOperations.addHandler(assembler)
            let asyncChannel = try NIOAsyncChannel<Incoming, Outgoing>(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
            return Connection(parts: asyncChannel, signal: signal)
        }
    }

    /// Runs on the connection's event loop: a request that needs no other thread is read, answered and written without
    /// a change of threads.
    func handle(value connection: Connection, logger: Logger) async {
        await withTaskExecutorPreference(EventLoopExecutor(connection.channel.eventLoop)) {
            await self.serve(connection, logger: logger)
        }
    }

    private func serve(_ connection: Connection, logger: Logger) async {
        do {
            try await connection.parts.executeThenClose { inbound, outbound in
                let reader = IncomingReader(inbound.makeAsyncIterator())
                while let incoming = try await reader.next() {
                    switch incoming {
                    case .request(let head, let body):
                        try await self.answer(head, body: body, stream: nil, connection, outbound)
                    case .streamed(let head):
                        let stream = BodyStream { try await reader.nextChunk() }
                        try await self.answer(head, body: ByteBuffer(), stream: stream, connection, outbound)
                        while try await reader.nextChunk() != nil {}
                    case .tooLarge(let head, let size):
                        let response = self.api.refuseTooLarge(head, size: size)
                        try await self.send(response, to: head, connection, outbound)
                    case .chunk, .end: break
                    }
                }
            }
        } catch {
            // The socket broke while reading or writing; there is nobody left to tell.
            logger.trace("connection ended: \(error)")
        }
    }

    private func answer(
        _ head: HTTPRequestHead, body: ByteBuffer, stream: BodyStream?, _ connection: Connection,
        _ outbound: NIOAsyncChannelOutboundWriter<Outgoing>
    ) async throws {
        let response = await self.api.respond(to: head, body: body, stream: stream, connection: connection.signal)
        try await self.send(response, to: head, connection, outbound)
    }

    private func send(
        _ response: APIResponse, to head: HTTPRequestHead, _ connection: Connection,
        _ outbound: NIOAsyncChannelOutboundWriter<Outgoing>
    ) async throws {
        let closes = response.closes || !head.isKeepAlive || connection.signal.ending == .draining
        let policy = self.api.settings.defaultPolicy
        guard let stream = response.stream else {
            let encoded = response.encodedHead(
                contentLength: response.body.readableBytes, closes: closes, policy: policy)
            let body = head.method == .HEAD ? ByteBuffer() : response.body
            try await outbound.write(.response(head: encoded, body: body, closes: closes))
            return
        }
        // HTTP/1.0 knows no chunks: there the connection's end is the body's (RFC 9112 §6.1).
        let isChunked = head.version != .http1_0
        let encoded = response.encodedHead(
            contentLength: nil, isChunked: isChunked, closes: closes || !isChunked, policy: policy)
        if head.method == .HEAD {
            try await outbound.write(.response(head: encoded, body: ByteBuffer(), closes: closes || !isChunked))
            return
        }
        try await outbound.write(.part(encoded))
        while let piece = try await stream.next() {
            if piece.readableBytes > 0 { try await outbound.write(.part(isChunked ? Self.chunk(piece) : piece)) }
        }
        try await outbound.write(
            .end(isChunked ? ByteBuffer(string: "0\r\n\r\n") : ByteBuffer(), closes: closes || !isChunked))
    }

    private static func chunk(_ piece: ByteBuffer) -> ByteBuffer {
        var chunk = ByteBuffer(string: String(piece.readableBytes, radix: 16) + "\r\n")
        chunk.writeImmutableBuffer(piece)
        chunk.writeStaticString("\r\n")
        return chunk
    }
}

/// Runs a task's jobs on an event loop.
private final class EventLoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// The connection's inbound iterator, shared between its loop and the body stream of the request being answered.
/// `@unchecked Sendable`: both run in the connection's one task, one after the other.
private final class IncomingReader: @unchecked Sendable {
    private var iterator: NIOAsyncChannelInboundStream<Incoming>.AsyncIterator
    private var bodyEnded = true

    init(_ iterator: NIOAsyncChannelInboundStream<Incoming>.AsyncIterator) { self.iterator = iterator }

    func next() async throws -> Incoming? {
        let incoming = try await self.iterator.next()
        if case .streamed? = incoming { self.bodyEnded = false }
        return incoming
    }

    /// Nil at the body's end. Throws when the connection ended before it.
    func nextChunk() async throws -> ByteBuffer? {
        if self.bodyEnded { return nil }
        switch try await self.iterator.next() {
        case .chunk(let piece)?: return piece
        case .end?:
            self.bodyEnded = true
            return nil
        case .request?, .streamed?, .tooLarge?, nil:
            self.bodyEnded = true
            throw ChannelError.inputClosed
        }
    }
}
