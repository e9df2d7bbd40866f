import ArgumentParser
import Foundation
import Units

/// Consul's `debug`: what an agent says of itself, again and again for a while, in one archive.
struct DebugCapture: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture", abstract: "Records what an agent says of itself in an archive (the default)",
        discussion: """
            Writes OUTPUT.tar.gz with what is asked once (agent, cluster, host), what is asked every -interval (metrics) \
            and the log (logs). Interrupted, it writes what it has. What an agent says of itself holds no keys' values \
            and no secrets, but names, addresses and metadata.
            """)

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(
        name: .customLong("archive"), inversion: .prefixedNo,
        help: "Make one file of it (the default), or with -archive=false leave a folder.")
    var archive = true
    @Option(
        name: .customLong("capture"),
        help: .init("agent, cluster, host, metrics or logs; repeatable; all by default.", valueName: "what"))
    var wanted: [String] = []
    @Option(name: .customLong("duration"), help: .init("How long.", valueName: "duration")) var duration = "2m"
    @Option(name: .customLong("interval"), help: .init("How often.", valueName: "duration")) var interval = "30s"
    @Option(
        name: .customLong("output"), help: .init("Path of the archive, without .tar.gz.", valueName: "path"))
    var output: String?

    private static let once: [(what: String, file: String, path: String)] = [
        ("agent", "agent.json", "/v1/agent/self"), ("cluster", "members.json", "/v1/agent/members"),
        ("cluster", "raft.json", "/v1/operator/raft/configuration"), ("host", "host.json", "/v1/agent/host"),
    ]
    private static let kinds = ["agent", "cluster", "host", "logs", "metrics", "pprof"]

    func run() async throws {
        let duration = try Self.time(self.duration, "duration", least: 10)
        let interval = try Self.time(self.interval, "interval", least: 5)
        if let unknown = self.wanted.first(where: { !Self.kinds.contains($0) }) {
            throw CommandFailure(
                "Capture validation failed: -capture knows agent, cluster, host, logs and metrics, not \(unknown)")
        }
        let wanted = self.wanted.isEmpty ? Set(Self.kinds) : Set(self.wanted)
        let client = try self.api.client()
        let version = try await client.demand(
            .GET, "/v1/agent/self", failing: "Capture validation failed: error querying target agent")
        let folder = try self.makeFolder()
        Output.line("Starting debugger and capturing static information...")
        Output.line("  Agent: \(client.base), \(version.body.count) bytes of self-description")
        Output.line("  Interval: \(self.interval), duration: \(self.duration)")
        Output.line("  Output: \(folder)\(self.archive ? ".tar.gz" : "")")
        var files: [(name: String, bytes: [UInt8])] = []
        for item in Self.once where wanted.contains(item.what) {
            if let answer = try? await client.send(.GET, item.path, query: [("pretty", nil)]), answer.status == 200 {
                files.append((item.file, answer.body))
            }
        }
        files += await self.watch(client, wanted, .seconds(duration), .seconds(interval))
        try self.write(files, folder)
    }

    /// Seconds.
    private static func time(_ text: String, _ flag: String, least: Int64) throws -> Int64 {
        guard let value = GoDuration.parse(text), value >= .seconds(UInt64(least)) else {
            throw CommandFailure(
                "Capture validation failed: -\(flag) must be a duration of at least \(least)s, not \(text)")
        }
        return Int64(clamping: value.rawValue / 1_000_000_000)
    }

    private func makeFolder() throws -> String {
        let path = self.output ?? "serai-debug-\(Int(Date.now.timeIntervalSince1970))"
        for taken in [path, path + ".tar.gz"] where FileManager.default.fileExists(atPath: taken) {
            throw CommandFailure("Capture validation failed: \(taken) exists already: choose another -output")
        }
        return path
    }

    /// Metrics every interval, and the log all the while, until the time is over or somebody interrupts.
    private func watch(
        _ client: APIClient, _ wanted: Set<String>, _ duration: Duration, _ interval: Duration
    ) async -> [(name: String, bytes: [UInt8])] {
        let log = Task { () -> [UInt8] in
            guard wanted.contains("logs") else { return [] }
            var bytes: [UInt8] = []
            let answer = try? await client.open(
                .GET, "/v1/agent/monitor", query: [("loglevel", "debug")], body: nil, timeout: .hours(24))
            guard let answer, answer.status == .ok else { return [] }
            do {
                for try await piece in answer.body where bytes.count < 64 << 20 {
                    bytes += Array(piece.readableBytesView)
                }
            } catch {
                // The time is over.
            }
            return bytes
        }
        let metrics = Task { () -> [[UInt8]] in
            var found: [[UInt8]] = []
            let end = ContinuousClock.now + duration
            while !Task.isCancelled, ContinuousClock.now < end {
                if wanted.contains("metrics"), let answer = try? await client.send(.GET, "/v1/agent/metrics"),
                    answer.status == 200
                {
                    found.append(answer.body)
                }
                Progress.note("Captured \(found.count) times")
                try? await Task.sleep(until: min(.now + interval, end), clock: .continuous)
            }
            return found
        }
        let signals = Signals { _ in metrics.cancel() }
        defer { withExtendedLifetime(signals) {} }
        let samples = await metrics.value
        log.cancel()
        let lines = await log.value
        var files = samples.enumerated().map { (name: "metrics-\($0.offset + 1).json", bytes: $0.element) }
        if !lines.isEmpty { files.append((name: "agent.log", bytes: lines)) }
        return files
    }

    private func write(_ files: [(name: String, bytes: [UInt8])], _ folder: String) throws {
        if self.archive {
            let path = folder + ".tar.gz"
            let name = URL(fileURLWithPath: folder).lastPathComponent
            let tar = Archive.tar(
                files.map { (name + "/" + $0.name, $0.bytes) }, at: UInt64(Date.now.timeIntervalSince1970))
            try Self.save(Archive.gzip(tar), to: path)
            return Output.line("Saved debug archive: \(path)")
        }
        try FileSystem.makeFolder(folder)
        for file in files { try Self.save(file.bytes, to: folder + "/" + file.name) }
        Output.line("Saved debug folder: \(folder)")
    }

    private static func save(_ bytes: [UInt8], to path: String) throws {
        do {
            try Data(bytes).write(to: URL(fileURLWithPath: path), options: .withoutOverwriting)
        } catch {
            throw CommandFailure("Error creating archive: \(path): \(error.localizedDescription)")
        }
    }
}
