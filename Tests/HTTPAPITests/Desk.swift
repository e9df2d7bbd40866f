import Cluster
import HTTPAPI
import Logging
import NIOCore
import Protocol
import Synchronization
import Testing
import Units

/// The API over a cluster, an agent and a snapshot store in memory, asked without a socket.
struct Desk {
    let cluster: FakeCluster
    let agent = FakeAgent()
    let snapshot = FakeSnapshot()
    let process = FakeProcess()
    let api: HTTPAPI

    init(
        cluster: FakeCluster = FakeCluster(), settings: HTTPAPISettings = HTTPAPISettings(),
        authorizer: any Authorizer = AllowAll()
    ) {
        self.cluster = cluster
        self.api = HTTPAPI(
            cluster: cluster, agent: self.agent, snapshot: self.snapshot, debug: FakeDebug(), process: self.process,
            settings: settings, authorizer: authorizer,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func ask(
        _ method: String, _ target: String, _ body: String = "", headers: [(String, String)] = []
    ) async -> Reply {
        await self.ask(method, target, bytes: Array(body.utf8), headers: headers)
    }

    func ask(
        _ method: String, _ target: String, bytes: [UInt8], headers: [(String, String)] = []
    ) async -> Reply {
        var request = PeerHTTPRequest()
        request.method = method
        request.target = target
        request.body = .init(bytes)
        request.headers = headers.map { name, value in
            var header = PeerHeader()
            header.name = name
            header.value = value
            return header
        }
        return Reply(await self.api.respond(to: request))
    }

    func get(_ target: String) async -> Reply { await self.ask("GET", target) }
    func put(_ target: String, _ body: String = "") async -> Reply { await self.ask("PUT", target, body) }
    func delete(_ target: String) async -> Reply { await self.ask("DELETE", target) }
}

struct Reply: Sendable {
    var status: Int
    var headers: [(name: String, value: String)]
    var bytes: [UInt8]

    init(_ response: PeerHTTPResponse) {
        self.status = Int(response.status)
        self.headers = response.headers.map { ($0.name, $0.value) }
        self.bytes = [UInt8](response.body)
    }

    var body: String { String(decoding: self.bytes, as: UTF8.self) }

    /// By the exact spelling of its name.
    subscript(name: String) -> String? { self.headers.first { $0.name == name }?.value }

    /// Status and body.
    var short: String { "\(self.status) \(self.body)" }

    /// Everything, as golden text.
    var full: String {
        let head = self.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
        return "\(self.status)\n\(head)\n\n\(self.body)"
    }
}

/// A log of one hundred entries.
struct FakeDebug: DebugAccess {
    func log(from: LogIndex?, count: Int) async throws(ClusterError) -> LogLook {
        var look = LogLook()
        look.node = "n"
        look.cluster = "c"
        look.format = 1
        look.term = Term(3)
        look.firstIndex = LogIndex(1)
        look.lastIndex = LogIndex(100)
        look.commitIndex = LogIndex(99)
        look.appliedIndex = LogIndex(98)
        look.promisedIndex = LogIndex(97)
        let start = from?.rawValue ?? 101 - UInt64(count)
        for index in start..<min(start + UInt64(count), 101) {
            look.entries.append(.init(index: LogIndex(index), term: Term(3), bytes: 7, text: "kvPut a\(index)"))
        }
        return look
    }

    func snapshots() async throws(ClusterError) -> [SnapshotLook] {
        [
            SnapshotLook(
                name: "snapshot-9-3", index: LogIndex(9), term: Term(3), servers: "voters s1", bytes: 4096,
                rows: [("nodes", 1), ("kv", 2)], flaw: nil),
            SnapshotLook(
                name: "snapshot-5-1", index: nil, term: nil, servers: "", bytes: 0, rows: [],
                flaw: "its description is damaged"),
        ]
    }
}

/// A log that tests write.
final class FakeProcess: ProcessAccess {
    final class Follower: LogFollower {
        let lines = AsyncStream.makeStream(of: ByteBuffer.self)
        let onEnd: @Sendable () -> Void
        init(onEnd: @escaping @Sendable () -> Void) { self.onEnd = onEnd }
        deinit { self.onEnd() }
        func next() async -> ByteBuffer? {
            var iterator = self.lines.stream.makeAsyncIterator()
            return await iterator.next()
        }
    }

    private struct State {
        var writers: [AsyncStream<ByteBuffer>.Continuation] = []
        var asked: [String] = []
        var ended = 0
        var isFull = false
    }

    private let state = Mutex(State())
    var asked: [String] { self.state.withLock { $0.asked } }
    var ended: Int { self.state.withLock { $0.ended } }

    func refuse() { self.state.withLock { $0.isFull = true } }

    func log(_ line: String) {
        for writer in self.state.withLock({ $0.writers }) { writer.yield(ByteBuffer(string: line + "\n")) }
    }

    func followLog(_ level: Logger.Level, asJSON: Bool) -> (any LogFollower)? {
        if self.state.withLock({ $0.isFull }) { return nil }
        let follower = Follower { [weak self] in self?.state.withLock { $0.ended += 1 } }
        self.state.withLock {
            $0.asked.append("\(level) \(asJSON)")
            $0.writers.append(follower.lines.continuation)
        }
        return follower
    }

    func host() async -> JSONValue { .object([.init(name: "Memory", value: .null)]) }
}

/// Looks every few milliseconds until the condition holds; false when it did not within five seconds.
func eventually(_ condition: () async -> Bool) async -> Bool {
    for _ in 0..<1000 {
        if await condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return false
}

/// A small generator, so that random tests are the same every time (splitmix64).
struct Dice: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { self.state = seed }
    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
