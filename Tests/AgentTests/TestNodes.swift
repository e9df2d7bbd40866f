import Agent
import Certificates
import Cluster
import Foundation
import Glibc
import Logging
import NIOPosix
import Testing
import Units

/// Nodes of one cluster in this process, with real sockets on loopback addresses that belong to this process alone, and
/// data directories that go with the value.
final class TestNodes: @unchecked Sendable {
    // Sendable: used by one test at a time.
    private(set) var running: [String: RunningAgent] = [:]
    let directory: String
    private let secret = ClusterSecret.generate()
    private let serverToken: String
    private let agentToken: String
    private let subnet: String
    let expect: Int
    /// What nodes had to end their process for.
    let fatal = Fatalities()

    final class Fatalities: @unchecked Sendable {
        // Sendable by the lock.
        private let lock = NSLock()
        private var texts: [String] = []
        func add(_ text: String) { self.lock.withLock { self.texts.append(text) } }
        var all: [String] { self.lock.withLock { self.texts } }
    }

    private static let counter = Counter()
    private final class Counter: @unchecked Sendable {
        // Sendable by the lock.
        private let lock = NSLock()
        private var value = 0
        func next() -> Int {
            self.lock.withLock {
                self.value += 1
                return self.value
            }
        }
    }

    init(expect: Int = 3) throws {
        self.expect = expect
        self.directory = NSTemporaryDirectory() + "serai-test-\(getpid())-\(UInt32.random(in: .min ... .max))"
        self.serverToken = try JoinToken(role: .server, secret: self.secret).text
        self.agentToken = try JoinToken(role: .agent, secret: self.secret).text
        // 127.64.0.0/10 is split by process and cluster, so that runs side by side don't meet.
        let pid = Int(getpid())
        self.subnet = "127.\(64 + (pid >> 8) % 128).\(pid % 256)"
        self.base = (Self.counter.next() * 8) % 240
    }

    private let base: Int

    func address(_ name: String) -> String {
        let number = Int(name.split(separator: "-").last ?? "") ?? 0
        return "\(self.subnet).\(self.base + number + (name.hasPrefix("agent") ? 5 : 0))"
    }

    func dataDirectory(_ name: String) -> String { "\(self.directory)/\(name)" }

    func configuration(_ name: String) -> AgentConfiguration {
        var configuration = AgentConfiguration()
        configuration.server = name.hasPrefix("server")
        configuration.nodeName = name
        configuration.dataDirectory = self.dataDirectory(name)
        configuration.bindAddress = self.address(name)
        configuration.advertiseAddress = self.address(name)
        configuration.clientAddresses = [self.address(name)]
        configuration.bootstrapExpect = configuration.server ? self.expect : 0
        configuration.retryJoin =
            self.expect == 1 && configuration.server
            ? [] : (1...self.expect).map { self.address("server-\($0)") }
        configuration.joinToken = configuration.server ? self.serverToken : self.agentToken
        configuration.raft.heartbeatInterval = .milliseconds(50)
        configuration.raft.electionTimeoutMin = .milliseconds(400)
        configuration.raft.electionTimeoutMax = .milliseconds(800)
        return configuration
    }

    func start(_ name: String, _ change: (inout AgentConfiguration) -> Void = { _ in }) async throws {
        try await self.start(name, reload: nil, change)
    }

    /// - Parameter reload: what a reload reads; nil is the same again.
    func start(
        _ name: String, reload: (@Sendable () throws -> AgentConfiguration)?,
        _ change: (inout AgentConfiguration) -> Void
    ) async throws {
        var configuration = self.configuration(name)
        change(&configuration)
        let level: Logger.Level = getenv("SERAI_TEST_LOG") == nil ? .critical : .debug
        let logger = Logger(label: name) { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        let fatal = self.fatal
        let again = configuration
        self.running[name] = try await RunningAgent.start(
            configuration, group: MultiThreadedEventLoopGroup.singleton, logger: logger, fatal: { fatal.add($0) },
            reload: reload ?? { again }, end: { _ in })
    }

    func startServers() async throws {
        for number in 1...self.expect { try await self.start("server-\(number)") }
    }

    func stop(_ name: String, leaving: Bool = false) async {
        await self.running.removeValue(forKey: name)?.stop(leaving: leaving)
    }

    func wipe(_ name: String) throws { try FileManager.default.removeItem(atPath: self.dataDirectory(name)) }

    /// Stops everything and removes the directories.
    func end() async {
        for name in self.running.keys.sorted() { await self.stop(name) }
        try? FileManager.default.removeItem(atPath: self.directory)
    }

    static func with(expect: Int = 3, _ body: (TestNodes) async throws -> Void) async throws {
        let nodes = try TestNodes(expect: expect)
        do {
            try await body(nodes)
        } catch {
            await nodes.end()
            throw error
        }
        await nodes.end()
        #expect(nodes.fatal.all == [])
    }

    // MARK: - Questions

    struct Answer: Sendable {
        var status = 0
        var body: [UInt8] = []
        var text: String { String(decoding: self.body, as: UTF8.self) }
        var json: Any? { try? JSONSerialization.jsonObject(with: Data(self.body)) }
    }

    func ask(_ node: String, _ method: String, _ target: String, body: [UInt8] = []) async throws -> Answer {
        try await PlainHTTP.ask(self.address(node), 8500, method, target, body: body)
    }

    func put(_ node: String, _ target: String, _ body: String) async throws -> Answer {
        try await self.ask(node, "PUT", target, body: Array(body.utf8))
    }

    func get(_ node: String, _ target: String) async throws -> Answer { try await self.ask(node, "GET", target) }

    /// Asks until the answer is as wanted; fails after a minute.
    func eventually(
        _ what: Comment, _ node: String, _ target: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ isWanted: (Answer) -> Bool
    ) async throws {
        var last = Answer()
        for _ in 0..<600 {
            if let answer = try? await self.get(node, target) {
                if isWanted(answer) { return }
                last = answer
            }
            try await Task.sleep(nanoseconds: 100_000_000)
        }
        Issue.record("\(what): \(last.status) \(last.text)", sourceLocation: sourceLocation)
    }

    /// Name of the server that leads; waits for one.
    func leader() async throws -> String {
        for _ in 0..<600 {
            for name in self.running.keys.sorted() where name.hasPrefix("server") {
                let answer = try await self.get(name, "/v1/status/leader").text
                for other in self.running.keys where answer == "\"\(self.address(other)):8300\"" { return other }
            }
            try await Task.sleep(nanoseconds: 100_000_000)
        }
        throw NoLeader()
    }

    struct NoLeader: Error {}
}

/// HTTP/1.1 in its plainest form: one request on one connection.
enum PlainHTTP {
    struct Broken: Error {}
    private static let thread = BlockingThreads()

    // Several, so that a question that waits holds no other up.
    private final class BlockingThreads: Sendable {
        let queue = DispatchQueue(label: "plain-http", attributes: .concurrent)
    }

    static func ask(
        _ address: String, _ port: UInt16, _ method: String, _ target: String, body: [UInt8]
    ) async throws -> TestNodes.Answer {
        try await withCheckedThrowingContinuation { continuation in
            self.thread.queue.async {
                continuation.resume(with: Result { try self.exchange(address, port, method, target, body) })
            }
        }
    }

    private static func exchange(
        _ address: String, _ port: UInt16, _ method: String, _ target: String, _ body: [UInt8]
    ) throws -> TestNodes.Answer {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard connection >= 0 else { throw Broken() }
        defer { close(connection) }
        var time = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var peer = sockaddr_in()
        peer.sin_family = sa_family_t(AF_INET)
        peer.sin_port = port.bigEndian
        inet_pton(AF_INET, address, &peer.sin_addr)
        let connected = withUnsafePointer(to: &peer) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Broken() }
        let head =
            "\(method) \(target) HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: \(body.count)\r\n\r\n"
        try self.send(connection, Array(head.utf8) + body)
        return try self.parse(self.readAll(connection))
    }

    private static func send(_ connection: Int32, _ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Broken() }
            sent += count
        }
    }

    private static func readAll(_ connection: Int32) throws -> [UInt8] {
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = piece.withUnsafeMutableBytes { read(connection, $0.baseAddress, $0.count) }
            if count < 0 { throw Broken() }
            if count == 0 { return all }
            all += piece[..<count]
        }
    }

    private static func parse(_ bytes: [UInt8]) throws -> TestNodes.Answer {
        guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: [13, 10, 13, 10]) }) else {
            throw Broken()
        }
        let head = String(decoding: bytes[..<end], as: UTF8.self)
        let lines = head.split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw Broken()
        }
        let body = Array(bytes[(end + 4)...])
        let isChunked = lines.contains {
            $0.lowercased().hasPrefix("transfer-encoding:") && $0.lowercased().hasSuffix("chunked")
        }
        return TestNodes.Answer(status: status, body: isChunked ? try self.joined(body) : body)
    }

    private static func joined(_ chunked: [UInt8]) throws -> [UInt8] {
        var body: [UInt8] = []
        var rest = chunked[...]
        while let line = rest.firstIndex(of: 13) {
            guard let size = Int(String(decoding: rest[..<line], as: UTF8.self), radix: 16) else { throw Broken() }
            if size == 0 { return body }
            let start = line + 2
            guard start + size + 2 <= rest.endIndex else { throw Broken() }
            body += rest[start..<(start + size)]
            rest = rest[(start + size + 2)...]
        }
        throw Broken()
    }
}
