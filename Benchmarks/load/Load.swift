import ArgumentParser
import NIOCore
import NIOPosix

/// One load generator for all systems that are compared: closed loop, one request under way on each connection, every
/// answer checked, one event loop.
@main
struct Load: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Loads a key-value API and says what it bore.",
        subcommands: [Run.self, Fsync.self], defaultSubcommand: Run.self)
}

enum TargetKind: String, ExpressibleByArgument, CaseIterable {
    /// Consul's API over HTTP/1.1: Serai and Consul alike.
    case consulHTTP = "consul-http"
    /// etcd's own gRPC.
    case etcd
}

enum Operation: String, ExpressibleByArgument, CaseIterable {
    case put
    /// The API's default mode; etcd: linearizable.
    case get
    case getConsistent = "get-consistent"
    /// etcd: serializable.
    case getStale = "get-stale"
}

enum ReportFormat: String, ExpressibleByArgument {
    case text
    case json
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs one operation for a while.")

    @Option(help: "consul-http or etcd.") var target: TargetKind = .consulHTTP
    @Option(help: "put, get, get-consistent or get-stale.") var operation: Operation = .put
    @Option(help: "host:port, separated by commas; connections are spread over them.")
    var addresses = "127.0.0.1:8500"
    @Option(help: "Connections, each with one request under way.") var connections = 64
    @Option(help: "Seconds that count.") var seconds = 10
    @Option(help: "Seconds before, which don't.") var warmup = 2
    @Option(name: .customLong("value-bytes"), help: "Size of a value.") var valueBytes = 128
    @Option(help: "How many different keys; unique: every put writes a new one, gets read 10,000.") var keys = "unique"
    @Option(help: "Start of every key; a random one by default.") var prefix: String?
    @Option(help: "Seconds after which a request without an answer counts as an error.") var timeout = 10
    @Flag(help: "Check the body of every answer too, not only its status.") var verify = false
    @Flag(name: .customLong("allow-errors"), help: "Exit 0 in spite of errors: for runs with faults.")
    var allowErrors = false
    @Option(help: "text or json.") var format: ReportFormat = .text

    func validate() throws {
        if !(1...16_384).contains(self.connections) { throw ValidationError("--connections must be from 1 to 16384") }
        if !(1...86_400).contains(self.seconds) { throw ValidationError("--seconds must be from 1 to 86400") }
        if !(0...3600).contains(self.warmup) { throw ValidationError("--warmup must be from 0 to 3600") }
        if !(1...524_288).contains(self.valueBytes) { throw ValidationError("--value-bytes must be from 1 to 524288") }
        if self.keys != "unique", (Int(self.keys) ?? 0) < 1 {
            throw ValidationError("--keys must be unique or a number")
        }
    }

    func run() async throws {
        let workload = Workload(
            target: self.target, operation: self.operation, valueBytes: self.valueBytes,
            keyCount: Int(self.keys) ?? (self.operation == .put ? nil : 10_000),
            prefix: self.prefix ?? "bench/\(UInt32.random(in: 0...UInt32.max))/", verify: self.verify)
        let plan = Plan(
            addresses: try self.addresses.split(separator: ",").map { try Address(String($0)) },
            connections: self.connections, warmup: .seconds(Int64(self.warmup)),
            measured: .seconds(Int64(self.seconds)),
            timeout: .seconds(Int64(self.timeout)))
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let engine = Engine(workload: workload, plan: plan, loop: group.next())
        let report = try await engine.run()
        try await group.shutdownGracefully()
        print(self.format == .json ? report.json : report.text)
        if report.errors > 0, !self.allowErrors { throw ExitCode(1) }
    }
}

struct Address: Sendable, Hashable {
    var host: String
    var port: Int

    init(_ text: String) throws {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1]) else {
            throw ValidationError("\(text) is no host:port")
        }
        self.host = String(parts[0])
        self.port = port
    }

    var text: String { "\(self.host):\(self.port)" }
}

struct Plan: Sendable {
    var addresses: [Address]
    var connections: Int
    var warmup: TimeAmount
    var measured: TimeAmount
    var timeout: TimeAmount
}
