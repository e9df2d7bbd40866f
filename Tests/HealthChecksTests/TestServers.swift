import HealthChecks
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A web server on a free port of the loopback: paths choose what it answers.
final class TestWebServer: Sendable {
    struct Request: Sendable, Equatable {
        var method: String
        var uri: String
        var headers: [String: String]
        var body: String
    }

    let channel: any Channel
    private let seen: SeenRequests

    var port: Int { self.channel.localAddress?.port ?? 0 }
    var requests: [Request] { self.seen.all }
    func url(_ path: String) -> String { "http://127.0.0.1:\(self.port)\(path)" }

    init(tls: TLSConfiguration? = nil) async throws {
        let seen = SeenRequests()
        self.seen = seen
        let context = try tls.map { try NIOSSLContext(configuration: $0) }
        self.channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(TestWebHandler(seen: seen))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func close() async throws { try await self.channel.close() }
}

final class SeenRequests: Sendable {
    private let requests = Mutex<[TestWebServer.Request]>([])
    var all: [TestWebServer.Request] { self.requests.withLock { $0 } }
    func add(_ request: TestWebServer.Request) { self.requests.withLock { $0.append(request) } }
}

private final class TestWebHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let seen: SeenRequests
    private var request = TestWebServer.Request(method: "", uri: "", headers: [:], body: "")

    init(seen: SeenRequests) { self.seen = seen }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            var headers: [String: String] = [:]
            for (name, value) in head.headers { headers[name.lowercased(), default: ""] += value }
            self.request = TestWebServer.Request(
                method: head.method.rawValue, uri: head.uri, headers: headers, body: "")
        case .body(let buffer): self.request.body += String(buffer: buffer)
        case .end:
            self.seen.add(self.request)
            self.answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        var status = HTTPResponseStatus.ok
        var headers = HTTPHeaders()
        var body = ""
        switch self.request.uri {
        case "/slow": return
        case "/busy": status = .tooManyRequests
        case "/broken": status = .internalServerError
        case "/moved":
            status = .found
            headers.add(name: "Location", value: "/ok")
        case "/long": body = String(repeating: "x", count: 10_000) + "the end"
        default: body = "fine"
        }
        headers.add(name: "Content-Length", value: "\(body.utf8.count)")
        context.write(
            self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))),
            promise: nil)
        context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }
}

/// Gathers a runner's reports and hands them out one by one.
final class Reports: Sendable {
    let stream: AsyncStream<CheckReport>
    private let continuation: AsyncStream<CheckReport>.Continuation

    init() { (self.stream, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1000)) }

    func receive(_ report: CheckReport) { self.continuation.yield(report) }

    /// The next `count` reports; the test's time limit ends a wait for one that never comes.
    func next(_ count: Int) async -> [CheckReport] {
        var reports: [CheckReport] = []
        for await report in self.stream {
            reports.append(report)
            if reports.count == count { break }
        }
        return reports
    }
}

func quietLogger() -> Logger {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}

/// Runs a plan until it has reported `count` times; the test's time limit ends a wait for one that never comes.
func reports(_ plan: CheckPlan, count: Int = 1) async -> [CheckReport] {
    let reports = Reports()
    let runner = CheckRunner(plan: plan, run: 7, firstDelay: .zero, logger: quietLogger()) { reports.receive($0) }
    runner.start()
    defer { runner.stop() }
    return await reports.next(count)
}
