import Foundation
import HealthChecks
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing
import Units

/// Against a stand-in of the engine's socket: what it is asked, and what its answers come to.
@Suite(.timeLimit(.minutes(1))) struct DockerTests {
    private func report(_ engine: TestEngine, container: String = "web", limit: Int = 4096) async -> CheckReport? {
        let probe = DockerProbe(container: container, arguments: ["/check", "a b"], engine: engine.address)
        let plan = CheckPlan(
            id: "docker", kind: .docker(probe), interval: .milliseconds(5), timeout: .seconds(10), outputLimit: limit)
        return await reports(plan).first
    }

    @Test(arguments: [(0, HealthStatus.passing), (1, .warning), (2, .critical)])
    func theExitCodeIsTheResult(_ code: Int, _ status: HealthStatus) async throws {
        let engine = try await TestEngine(exitCode: code)
        let report = await self.report(engine)
        #expect(report?.status == status)
        #expect(report?.output == "all said")
        try await engine.close()
    }

    @Test func theEngineIsAskedInItsWords() async throws {
        let engine = try await TestEngine(exitCode: 0)
        _ = await self.report(engine, container: "a/b")
        let asked = engine.requests.prefix(3)
        #expect(asked.map(\.line) == ["POST /containers/a%2Fb/exec", "POST /exec/e1/start", "GET /exec/e1/json"])
        #expect(asked.map(\.host) == ["docker", "docker", "docker"])
        let first = try #require(asked.first)
        let body = try #require(try JSONSerialization.jsonObject(with: Data(first.body.utf8)) as? [String: Any])
        #expect(body["Cmd"] as? [String] == ["/check", "a b"])
        #expect(body["AttachStdout"] as? Bool == true && body["AttachStderr"] as? Bool == true)
        #expect(body["AttachStdin"] as? Bool == false && body["Tty"] as? Bool == false)
        try await engine.close()
    }

    @Test func onlyTheEndOfALongOutputIsKept() async throws {
        let engine = try await TestEngine(exitCode: 0)
        let report = await self.report(engine, limit: 4)
        #expect(report?.output == "Captured 4 of 8 bytes\n...\nsaid")
        try await engine.close()
    }

    @Test(
        arguments: [
            ("gone", "create exec failed for unknown container gone"),
            ("paused", "create exec failed since container paused is paused or stopped"),
            ("odd", "create exec failed for container odd with status 500: no"),
        ])
    func aContainerThatIsNotRunningIsCritical(_ container: String, _ output: String) async throws {
        let engine = try await TestEngine(exitCode: 0)
        let report = await self.report(engine, container: container)
        #expect(report?.status == .critical)
        #expect(report?.output == output)
        try await engine.close()
    }

    @Test func anEngineThatIsNotThereIsCritical() async throws {
        let probe = DockerProbe(container: "web", arguments: ["x"], engine: "unix:///no/such/socket")
        let found = await reports(CheckPlan(id: "docker", kind: .docker(probe), timeout: .seconds(10)))
        #expect(found[0].status == .critical)
        #expect(found[0].output.hasPrefix("create exec failed for container web: unix:///no/such/socket: "))
        let odd = DockerProbe(container: "web", arguments: ["x"], engine: "nonsense")
        let refused = await reports(CheckPlan(id: "docker", kind: .docker(odd)))
        #expect(refused[0].output == "unable to parse docker host `nonsense`")
    }
}

/// Answers as Docker's engine does on its socket.
private final class TestEngine: Sendable {
    struct Request: Sendable {
        var line: String
        var host: String
        var body: String
    }

    final class Seen: Sendable {
        let all = Mutex<[Request]>([])
    }

    private let channel: any Channel
    private let seen: Seen
    private let path: String

    var address: String { "unix://\(self.path)" }
    var requests: [Request] { self.seen.all.withLock { $0 } }

    init(exitCode: Int) async throws {
        let seen = Seen()
        self.seen = seen
        self.path = FileManager.default.temporaryDirectory.path + "/serai docker \(UUID().uuidString.prefix(8)).sock"
        self.channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Answers(seen: seen, exitCode: exitCode))
                }
            }
            .bind(unixDomainSocketPath: self.path, cleanupExistingSocketFile: true).get()
    }

    func close() async throws {
        try await self.channel.close()
        try? FileManager.default.removeItem(atPath: self.path)
    }

    private final class Answers: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        private let seen: Seen
        private let exitCode: Int
        private var request = Request(line: "", host: "", body: "")

        init(seen: Seen, exitCode: Int) {
            self.seen = seen
            self.exitCode = exitCode
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch self.unwrapInboundIn(data) {
            case .head(let head):
                self.request = Request(
                    line: "\(head.method.rawValue) \(head.uri)", host: head.headers.first(name: "Host") ?? "", body: "")
            case .body(let buffer): self.request.body += String(buffer: buffer)
            case .end:
                self.seen.all.withLock { $0.append(self.request) }
                self.answer(context)
            }
        }

        private func answer(_ context: ChannelHandlerContext) {
            switch self.request.line {
            case "POST /containers/gone/exec": self.send(context, .notFound, "{}")
            case "POST /containers/paused/exec": self.send(context, .conflict, "{}")
            case "POST /containers/odd/exec": self.send(context, .internalServerError, "no")
            case "POST /exec/e1/start": self.stream(context, "all said")
            case "GET /exec/e1/json":
                self.send(context, .ok, "{\"ID\":\"e1\",\"Running\":false,\"ExitCode\":\(self.exitCode)}")
            default: self.send(context, .created, "{\"Id\":\"e1\"}")
            }
        }

        private func send(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ body: String) {
            let headers: HTTPHeaders = ["Content-Length": "\(body.utf8.count)"]
            self.write(context, HTTPResponseHead(version: .http1_1, status: status, headers: headers), body)
            context.flush()
        }

        /// Raw until the connection ends, as the engine sends a program's output.
        private func stream(_ context: ChannelHandlerContext, _ body: String) {
            let headers: HTTPHeaders = [
                "Content-Type": "application/vnd.docker.raw-stream", "Connection": "close",
            ]
            self.write(context, HTTPResponseHead(version: .http1_1, status: .ok, headers: headers), body)
            context.flush()
            context.close(promise: nil)
        }

        private func write(_ context: ChannelHandlerContext, _ head: HTTPResponseHead, _ body: String) {
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
            context.write(self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}
