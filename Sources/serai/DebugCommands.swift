import ArgumentParser
import Cluster
import Foundation
import Raft
import Registry
import Storage
import Units

struct DebugCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug", abstract: "Records an archive for operators; looks into a server's log and snapshots",
        subcommands: [DebugCapture.self, DebugLog.self, DebugSnapshot.self],
        defaultSubcommand: DebugCapture.self)
}

/// Where a server keeps its log and snapshots in its data directory.
enum ServerFolder {
    /// Takes the data directory, or the folder of the log itself.
    static func log(_ directory: String) -> String {
        let inside = directory + "/raft"
        return FileManager.default.fileExists(atPath: inside + "/raft.db") ? inside : directory
    }

    static func snapshots(_ directory: String) -> String { self.log(directory) + "/snapshots" }

    /// Reads a log from a copy that is removed again.
    static func withLog<Result>(_ directory: String, _ body: (LogInspector) throws -> Result) throws -> Result {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("serai-debug-" + UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: scratch) }
        do {
            return try body(try LogInspector(directory: self.log(directory), scratch: scratch.path))
        } catch let error as StorageError {
            throw CommandFailure("Error! \(error)")
        }
    }
}

struct DebugLog: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Checks a server's log and shows entries",
        discussion: """
            Asks the running server at -http-addr; it checks the entries that it shows. With -data-dir it works on a \
            stopped server's data directory, or on a copy of one, checks every entry, and changes nothing. Values are \
            not shown.
            """)

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(
        name: .customLong("data-dir"), help: "A stopped server's data directory; without it, a running one is asked.")
    var directory: String?
    @Option(name: .customLong("from"), help: "First entry to show; the last 20 by default.") var from: UInt64?
    @Option(name: .customLong("to"), help: "Last entry to show.") var to: UInt64?
    @Option(name: .customLong("limit"), help: "Entries to show at most.") var limit = 1000

    func run() async throws {
        guard self.limit > 0 else { throw CommandFailure("Error! -limit must be at least 1") }
        let document = if let directory { try self.read(directory) } else { try await self.ask() }
        switch self.api.format {
        case .pretty: self.show(document)
        case .json: Output.line(try JSONText.of(document))
        }
        if !document.findings.isEmpty { throw CommandFailure("") }
    }

    private func read(_ directory: String) throws -> LogDocument {
        try ServerFolder.withLog(directory) { log in
            let summary = try log.summary()
            let end = self.to ?? summary.lastIndex.rawValue
            let start = self.from ?? (end > 20 ? end - 19 : 1)
            return LogDocument(
                summary, try log.entries(from: LogIndex(start), to: LogIndex(end), limit: self.limit))
        }
    }

    /// A server answers with as many entries as one look allows; the rest is asked for again.
    private func ask() async throws -> LogDocument {
        let client = try self.api.client()
        func page(_ from: UInt64?, _ count: Int) async throws -> LogDocument {
            let query: [(String, String?)] = [("count", "\(count)")] + (from.map { [("from", "\($0)")] } ?? [])
            return try await client.demand(
                .GET, "/v1/internal/debug/log", query: query, failing: "Error reading the log"
            ).decoded(LogDocument.self)
        }
        let start = self.from ?? self.to.map { $0 > 20 ? $0 - 19 : 1 }
        var document = try await page(start, min(self.limit, self.from == nil ? 20 : 1000))
        let end = min(self.to ?? .max, document.lastIndex)
        while let last = document.entries.last, last.index < end, document.entries.count < self.limit {
            let more = try await page(last.index + 1, min(self.limit - document.entries.count, 1000))
            if more.entries.isEmpty { break }
            document.entries += more.entries
        }
        document.entries.removeAll { $0.index > end }
        return document
    }

    private func show(_ document: LogDocument) {
        var rows = [
            ["Node", document.node ?? "-"], ["Cluster", document.cluster ?? "-"], ["Format", "\(document.format)"],
            ["Term", "\(document.term)"], ["Voted for", document.votedFor ?? "-"],
            ["Entries", "\(document.entryCount) (\(document.firstIndex) to \(document.lastIndex))"],
        ]
        if let commit = document.commitIndex, let applied = document.appliedIndex {
            rows += [["Committed", "\(commit)"], ["Applied", "\(applied)"]]
        }
        let sound = self.directory == nil ? "none in the entries below" : "none: every checksum is right"
        rows += [
            ["Promised", document.promisedIndex.map { "\($0)" } ?? "-"],
            ["Quarantine", document.quarantinedUntil.map { "until \($0)" } ?? "no"],
            ["Findings", document.findings.isEmpty ? sound : "\(document.findings.count)"],
        ]
        Output.line(Output.table(rows))
        for finding in document.findings { Output.line("  - \(finding)") }
        if document.entries.isEmpty { return }
        Output.line("")
        Output.print(
            table: [["Index", "Term", "Bytes", "Entry"]]
                + document.entries.map { ["\($0.index)", "\($0.term)", "\($0.bytes)", $0.entry] })
    }
}

/// A log as JSON: what a running server answers, and what is shown of a stopped one's.
struct LogDocument: Codable {
    var node: String?
    var cluster: String?
    var format: Int
    var term: UInt64
    var votedFor: String?
    var firstIndex: UInt64
    var lastIndex: UInt64
    /// Known to a running server alone.
    var commitIndex: UInt64?
    var appliedIndex: UInt64?
    var promisedIndex: UInt64?
    var quarantinedUntil: UInt64?
    var findings: [String]
    var entries: [Row]

    struct Row: Codable {
        var index: UInt64
        var term: UInt64
        var bytes: Int
        var entry: String
    }

    var entryCount: UInt64 { self.lastIndex + 1 - min(self.firstIndex, self.lastIndex + 1) }

    init(_ summary: LogInspector.Summary, _ entries: [LogInspector.EntryView]) {
        self.node = summary.identity?.node
        self.cluster = summary.identity?.cluster
        self.format = summary.format
        self.term = summary.hardState.term.rawValue
        self.votedFor = summary.hardState.vote?.uuid
        self.firstIndex = summary.firstIndex.rawValue
        self.lastIndex = summary.lastIndex.rawValue
        self.promisedIndex = summary.promisedIndex?.rawValue
        self.quarantinedUntil = summary.quarantinedUntil?.rawValue
        self.findings = summary.findings
        self.entries = entries.map { entry in
            Row(
                index: entry.index.rawValue, term: entry.term.rawValue, bytes: entry.data.count,
                entry: entry.payload.map { EntryText.of($0) } ?? "unknown kind \(entry.kind)")
        }
    }
}

struct DebugSnapshot: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Checks a server's snapshots",
        discussion: """
            Asks the running server at -http-addr, or with -data-dir works on a stopped server's data directory, or on a \
            copy of one; changes nothing.
            """)

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(
        name: .customLong("data-dir"), help: "A stopped server's data directory; without it, a running one is asked.")
    var directory: String?

    private struct Document: Codable {
        var name: String
        var index: UInt64?
        var term: UInt64?
        var servers: String?
        var bytes: UInt64
        var rows: [String: UInt64]
        var flaw: String?
    }

    func run() async throws {
        let documents = if let directory { try self.read(directory) } else { try await self.ask() }
        switch self.api.format {
        case .json: Output.line(try JSONText.of(documents))
        case .pretty:
            if documents.isEmpty { return Output.error("No snapshots.") }
            for document in documents { self.show(document) }
        }
        if documents.contains(where: { $0.flaw != nil }) { throw CommandFailure("") }
    }

    private func ask() async throws -> [Document] {
        try await self.api.client().demand(
            .GET, "/v1/internal/debug/snapshot", failing: "Error reading the snapshots"
        ).decoded([Document].self)
    }

    private func read(_ directory: String) throws -> [Document] {
        let path = ServerFolder.snapshots(directory)
        guard FileManager.default.fileExists(atPath: path) else {
            throw CommandFailure("Error! there is no folder \(path)")
        }
        do {
            return try SnapshotInspector.summaries(try SnapshotStore(directory: path)).map { summary in
                Document(
                    name: summary.name, index: summary.meta?.index.rawValue, term: summary.meta?.term.rawValue,
                    servers: summary.meta.map { EntryText.of($0.configuration) }, bytes: summary.bytes,
                    rows: Dictionary(summary.rows.map { ($0.table, $0.rows) }) { first, _ in first },
                    flaw: summary.flaw)
            }
        } catch {
            throw CommandFailure("Error! \(error)")
        }
    }

    private func show(_ document: Document) {
        var rows = [["Snapshot", document.name], ["Size", "\(document.bytes)"]]
        if let index = document.index, let term = document.term {
            rows += [["Index", "\(index)"], ["Term", "\(term)"], ["Servers", document.servers ?? "-"]]
        }
        rows.append(["State", document.flaw ?? "whole"])
        Output.line(Output.table(rows))
        for (table, count) in document.rows.sorted(by: { $0.key < $1.key }) where count > 0 {
            Output.line("  \(table): \(count)")
        }
        Output.line("")
    }
}
