import HTTPAPI
import NIOCore
import NIOPosix
import Testing

extension Desk {
    /// Runs `body` against a listener on a free port of the loopback.
    func serving(_ body: @Sendable @escaping (Int) async throws -> Void) async throws {
        let ports = AsyncStream<Int>.makeStream()
        let listener = self.api.makeListener(host: "127.0.0.1", port: 0) { ports.continuation.yield($0) }
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

/// A connection that sends bytes and reads answers.
actor Client {
    struct Response {
        var head: String
        var body: String

        /// With plain line ends and without the only header that changes.
        var withoutDate: String {
            let lines = self.head.split(separator: "\r\n").filter { !$0.hasPrefix("Date: ") }
            return lines.joined(separator: "\n") + "\n\n" + self.body
        }
    }

    private let channel: any Channel
    private let inbound: AsyncThrowingStream<ByteBuffer, any Error>
    private var buffered = ByteBuffer()

    init(port: Int, reads: Bool = true) async throws {
        let (stream, continuation) = AsyncThrowingStream<ByteBuffer, any Error>.makeStream()
        self.inbound = stream
        self.channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: reads)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Collector(continuation))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let continuation: AsyncThrowingStream<ByteBuffer, any Error>.Continuation
        init(_ continuation: AsyncThrowingStream<ByteBuffer, any Error>.Continuation) {
            self.continuation = continuation
        }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.continuation.yield(self.unwrapInboundIn(data))
        }
        func channelInactive(context: ChannelHandlerContext) { self.continuation.finish() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { self.continuation.finish() }
    }

    func send(_ text: String) async throws {
        try await self.channel.writeAndFlush(ByteBuffer(string: text)).get()
    }

    /// Also when the server closed first.
    func close() async throws {
        do {
            try await self.channel.close().get()
        } catch ChannelError.alreadyClosed {
            return
        }
    }

    /// False at the end of the stream.
    private func more() async throws -> Bool {
        var iterator = self.inbound.makeAsyncIterator()
        guard var piece = try await iterator.next() else { return false }
        self.buffered.writeBuffer(&piece)
        return true
    }

    func readSome() { self.channel.read() }

    func startReading() async throws {
        try await self.channel.setOption(.autoRead, value: true).get()
    }

    var isGone: Bool { !self.channel.isActive }

    func isAtEnd() async throws -> Bool {
        if self.buffered.readableBytes > 0 { return false }
        return try await !self.more()
    }

    /// All up to the end of the stream.
    func rest() async throws -> String {
        while try await self.more() {}
        return self.buffered.readString(length: self.buffered.readableBytes) ?? ""
    }

    func line() async throws -> String {
        while true {
            let view = self.buffered.readableBytesView
            if let end = view.firstIndex(of: UInt8(ascii: "\n")) {
                let line = self.buffered.readString(length: end - view.startIndex + 1) ?? ""
                return String(line.unicodeScalars.filter { $0 != "\r" && $0 != "\n" }.map(Character.init))
            }
            guard try await self.more() else { throw ChannelError.eof }
        }
    }

    /// Lines up to the end of the paragraph in which `mark` stands.
    func text(until mark: String) async throws -> String {
        var text = ""
        var isFound = false
        while true {
            let line = try await self.line()
            text += line + "\n"
            isFound = isFound || line.contains(mark)
            if isFound && line.isEmpty { return text }
        }
    }

    func head() async throws -> String {
        var head = ""
        while true {
            let line = try await self.line()
            if line.isEmpty { return head }
            head += line + "\r\n"
        }
    }

    /// An answer whose body need not be text.
    func bytes() async throws -> (head: String, body: [UInt8]) {
        let head = try await self.head()
        let field = head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
        let length = field.flatMap { Int($0.dropFirst(16)) } ?? 0
        while self.buffered.readableBytes < length {
            guard try await self.more() else { throw ChannelError.eof }
        }
        return (head, self.buffered.readBytes(length: length) ?? [])
    }

    func response(withBody: Bool = true) async throws -> Response {
        let head = try await self.head()
        guard withBody, let field = head.split(separator: "\r\n").first(where: { $0.hasPrefix("Content-Length: ") }),
            let length = Int(field.dropFirst(16))
        else { return Response(head: head, body: "") }
        while self.buffered.readableBytes < length {
            guard try await self.more() else { throw ChannelError.eof }
        }
        return Response(head: head, body: self.buffered.readString(length: length) ?? "")
    }
}
