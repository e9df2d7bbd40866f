import ArgumentParser
import Foundation
import Protocol
import Raft
import Registry
import Storage
import SwiftProtobuf
import Units

struct DebugCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "debug", abstract: "Looks into a stopped server's files",
        subcommands: [DebugLog.self, DebugSnapshot.self])
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
        discussion:
            "Works on a stopped server's data directory, or on a copy of one; changes nothing. Values are not shown.")

    @Option(name: .customLong("data-dir"), help: "The data directory.") var directory: String
    @Option(name: .customLong("from"), help: "First entry to show; the last 20 by default.") var from: UInt64?
    @Option(name: .customLong("to"), help: "Last entry to show.") var to: UInt64?
    @Option(name: .customLong("limit"), help: "Entries to show at most.") var limit = 1000
    @Option(name: .customLong("format"), help: "pretty or json.") var format: OutputFormat = .pretty

    func run() async throws {
        let (summary, entries) = try ServerFolder.withLog(self.directory) { log in
            let summary = try log.summary()
            let end = self.to ?? summary.lastIndex.rawValue
            let start = self.from ?? (end > 20 ? end - 19 : 1)
            return (summary, try log.entries(from: LogIndex(start), to: LogIndex(end), limit: self.limit))
        }
        switch self.format {
        case .pretty: self.show(summary, entries)
        case .json: Output.line(try self.json(summary, entries))
        }
        if !summary.findings.isEmpty { throw CommandFailure("") }
    }

    private func show(_ summary: LogInspector.Summary, _ entries: [LogInspector.EntryView]) {
        Output.line(
            Output.table([
                ["Node", summary.identity?.node ?? "-"], ["Cluster", summary.identity?.cluster ?? "-"],
                ["Format", "\(summary.format)"], ["Term", "\(summary.hardState.term)"],
                ["Voted for", summary.hardState.vote.map { $0.uuid } ?? "-"],
                ["Entries", "\(summary.entryCount) (\(summary.firstIndex) to \(summary.lastIndex))"],
                ["Promised", summary.promisedIndex.map { "\($0)" } ?? "-"],
                ["Quarantine", summary.quarantinedUntil.map { "until \($0)" } ?? "no"],
                ["Findings", summary.findings.isEmpty ? "none: every checksum is right" : "\(summary.findings.count)"],
            ]))
        for finding in summary.findings { Output.line("  - \(finding)") }
        if entries.isEmpty { return }
        Output.line("")
        Output.print(
            table: [["Index", "Term", "Bytes", "Entry"]]
                + entries.map { ["\($0.index)", "\($0.term)", "\($0.data.count)", EntryText.of($0)] })
    }

    private struct Document: Encodable {
        var node: String?
        var cluster: String?
        var format: Int
        var term: UInt64
        var firstIndex: UInt64
        var lastIndex: UInt64
        var promisedIndex: UInt64?
        var quarantinedUntil: UInt64?
        var findings: [String]
        var entries: [Row]
        struct Row: Encodable {
            var index: UInt64
            var term: UInt64
            var bytes: Int
            var entry: String
        }
    }

    private func json(_ summary: LogInspector.Summary, _ entries: [LogInspector.EntryView]) throws -> String {
        let document = Document(
            node: summary.identity?.node, cluster: summary.identity?.cluster, format: summary.format,
            term: summary.hardState.term.rawValue, firstIndex: summary.firstIndex.rawValue,
            lastIndex: summary.lastIndex.rawValue, promisedIndex: summary.promisedIndex?.rawValue,
            quarantinedUntil: summary.quarantinedUntil?.rawValue, findings: summary.findings,
            entries: entries.map {
                .init(index: $0.index.rawValue, term: $0.term.rawValue, bytes: $0.data.count, entry: EntryText.of($0))
            })
        return try JSONText.of(document)
    }
}

/// An entry in a few words. Values stay out: they may be secrets.
enum EntryText {
    static func of(_ entry: LogInspector.EntryView) -> String {
        switch entry.payload {
        case .noop: "no-op"
        case .configuration(let configuration): "configuration: " + self.of(configuration)
        case .command(let bytes): self.command(bytes)
        case nil: "unknown kind \(entry.kind)"
        }
    }

    static func of(_ configuration: Configuration) -> String {
        func names(_ members: [Member]) -> String { members.map(\.name).joined(separator: ", ") }
        var text = "voters \(names(configuration.voters))"
        if let outgoing = configuration.outgoing { text += "; outgoing \(names(outgoing))" }
        if !configuration.learners.isEmpty { text += "; learners \(names(configuration.learners))" }
        return text
    }

    private static func command(_ bytes: [UInt8]) -> String {
        guard let envelope = try? LogEnvelope(serializedBytes: bytes) else { return "command that can't be read" }
        guard let kind = envelope.command.kind else { return "command of a newer version" }
        // The case's name says enough, whatever cases there are.
        let name = Mirror(reflecting: kind).children.first?.label ?? "command"
        switch kind {
        case .kvPut(let put): return "\(name) \(String(decoding: put.key, as: UTF8.self))"
        case .kvDelete(let delete): return "\(name) \(String(decoding: delete.key, as: UTF8.self))"
        case .register(let register):
            return "\(name) \(register.node.name)" + (register.hasService ? " \(register.service.id)" : "")
        case .deregister(let deregister):
            return "\(name) \(deregister.node) \(deregister.serviceID)\(deregister.checkID)"
        case .batch(let batch): return "\(name) of \(batch.commands.count)"
        default: return name
        }
    }
}

struct DebugSnapshot: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Checks a server's snapshots",
        discussion: "Works on a stopped server's data directory, or on a copy of one; changes nothing.")

    @Option(name: .customLong("data-dir"), help: "The data directory.") var directory: String
    @Option(name: .customLong("format"), help: "pretty or json.") var format: OutputFormat = .pretty

    private struct Document: Encodable {
        var name: String
        var index: UInt64?
        var term: UInt64?
        var bytes: UInt64
        var rows: [String: UInt64]
        var flaw: String?
    }

    func run() async throws {
        let path = ServerFolder.snapshots(self.directory)
        guard FileManager.default.fileExists(atPath: path) else {
            throw CommandFailure("Error! there is no folder \(path)")
        }
        let summaries: [SnapshotInspector.Summary]
        do {
            summaries = try SnapshotInspector.summaries(try SnapshotStore(directory: path))
        } catch {
            throw CommandFailure("Error! \(error)")
        }
        switch self.format {
        case .json:
            Output.line(
                try JSONText.of(
                    summaries.map { summary in
                        Document(
                            name: summary.name, index: summary.meta?.index.rawValue, term: summary.meta?.term.rawValue,
                            bytes: summary.bytes,
                            rows: Dictionary(summary.rows.map { ($0.table, $0.rows) }) { first, _ in first },
                            flaw: summary.flaw)
                    }))
        case .pretty:
            if summaries.isEmpty { return Output.error("No snapshots.") }
            for summary in summaries { self.show(summary) }
        }
        if summaries.contains(where: { $0.flaw != nil }) { throw CommandFailure("") }
    }

    private func show(_ summary: SnapshotInspector.Summary) {
        var rows = [["Snapshot", summary.name], ["Size", "\(summary.bytes)"]]
        if let meta = summary.meta {
            rows += [
                ["Index", "\(meta.index)"], ["Term", "\(meta.term)"], ["Servers", EntryText.of(meta.configuration)],
            ]
        }
        rows.append(["State", summary.flaw ?? "whole"])
        Output.line(Output.table(rows))
        for count in summary.rows where count.rows > 0 { Output.line("  \(count.table): \(count.rows)") }
        Output.line("")
    }
}

struct SnapshotInspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Shows what a saved snapshot holds, and checks it")

    @Option(name: .customLong("format"), help: "pretty or json.") var format: OutputFormat = .pretty
    @Argument(help: "The file.") var files: [String] = []

    private struct Document: Encodable {
        var file: String
        var size: UInt64
        var index: UInt64
        var nodes: Int
        var services: Int
        var keys: Int
        var sessions: Int
        enum CodingKeys: String, CodingKey {
            case file = "File"
            case size = "Size"
            case index = "Index"
            case nodes = "Nodes"
            case services = "Services"
            case keys = "Keys"
            case sessions = "Sessions"
        }
    }

    func run() async throws {
        guard self.files.count == 1 else { throw CommandFailure("This command takes one argument: FILE") }
        let path = self.files[0]
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            throw CommandFailure("Error opening snapshot file: \(path): no such file, or not readable")
        }
        let document = try self.read(path, size: (attributes[.size] as? NSNumber)?.uint64Value ?? 0)
        switch self.format {
        case .json: Output.line(try JSONText.of(document))
        case .pretty:
            Output.line(
                Output.table([
                    ["Size", "         \(document.size)"], ["Index", "         \(document.index)"],
                    ["Nodes", "         \(document.nodes)"], ["Services", "         \(document.services)"],
                    ["Keys", "         \(document.keys)"], ["Sessions", "         \(document.sessions)"],
                ]))
        }
    }

    private func read(_ path: String, size: UInt64) throws -> Document {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent(
            "serai-inspect-" + UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: scratch) }
        do {
            let registry = try SnapshotStore(directory: scratch.path).readArchive(path)
            return Document(
                file: path, size: size, index: registry.appliedIndex.rawValue, nodes: registry.catalogCounts.nodes,
                services: registry.catalogCounts.services, keys: registry.kvCount,
                sessions: registry.allSessions().value.count)
        } catch {
            throw CommandFailure("Error reading snapshot: \(error)")
        }
    }
}
