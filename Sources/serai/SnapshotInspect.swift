import ArgumentParser
import Foundation
import Registry
import Storage
import Units

struct SnapshotInspect: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Shows what a saved snapshot holds, and checks it",
        discussion: "Reads all of the file; no agent is asked. Sizes are the bytes of keys and values.")

    @Option(name: .customLong("format"), help: .init("pretty or json.", valueName: "form"))
    var format: OutputFormat = .pretty
    @Flag(name: .customLong("kvdetails"), help: "Show how much is under each beginning of keys.") var kvDetails = false
    @Option(
        name: .customLong("kvdepth"),
        help: .init("Parts between slashes that make such a beginning.", valueName: "count"))
    var kvDepth = 2
    @Option(name: .customLong("kvfilter"), help: .init("Only keys with this prefix.", valueName: "prefix"))
    var kvFilter = ""
    @Argument(help: "The file.") var files: [String] = []

    struct Row: Encodable {
        var name: String
        var count: Int
        var size: Int?
        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case count = "Count"
            case size = "Size"
        }
        var cells: [String] { [self.name, "\(self.count)", self.size.map { "\($0)" } ?? "-"] }
    }

    private struct Document: Encodable {
        var file: String
        var size: UInt64
        var index: UInt64
        var types: [Row]
        var keys: [Row]?
        enum CodingKeys: String, CodingKey {
            case file = "File"
            case size = "Size"
            case index = "Index"
            case types = "Types"
            case keys = "Keys"
        }
    }

    func run() async throws {
        let path = try SnapshotFile.one(self.files)
        guard self.kvDepth > 0 else { throw CommandFailure("Error! -kvdepth must be at least 1") }
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else {
            throw CommandFailure("Error opening snapshot file: \(Files.openFailure(path))")
        }
        let registry: Registry
        do throws(StorageError) {
            registry = try SnapshotFile.registry(path)
        } catch {
            throw CommandFailure("Error verifying snapshot: \(error)")
        }
        let keys = registry.kvEntries(prefix: ByteKey([])).value
        let document = Document(
            file: path, size: (attributes[.size] as? NSNumber)?.uint64Value ?? 0,
            index: registry.appliedIndex.rawValue, types: Self.types(registry, keys),
            keys: self.kvDetails ? Self.grouped(keys, depth: self.kvDepth, prefix: self.kvFilter) : nil)
        switch self.format {
        case .json: Output.line(try JSONText.of(document))
        case .pretty: self.show(document)
        }
    }

    private func show(_ document: Document) {
        Output.line(Output.table([["Size", "  \(document.size)"], ["Index", "  \(document.index)"]]))
        Output.line("")
        Output.print(table: [["Type", "Count", "Size"]] + document.types.map(\.cells))
        guard let keys = document.keys else { return }
        Output.line("")
        Output.print(table: [["Key name", "Count", "Size"]] + keys.map(\.cells))
    }

    private static func types(_ registry: Registry, _ keys: [KVEntry]) -> [Row] {
        let counts = registry.catalogCounts
        return [
            Row(name: "Nodes", count: counts.nodes), Row(name: "Services", count: counts.services),
            Row(name: "Instances", count: counts.instances), Row(name: "Checks", count: counts.checks),
            Row(name: "KVs", count: keys.count, size: keys.reduce(0) { $0 + Self.size($1) }),
            Row(name: "Sessions", count: registry.allSessions().value.count),
        ]
    }

    private static func size(_ entry: KVEntry) -> Int { entry.key.bytes.count + entry.value.count }

    /// Keys by their first `depth` parts, the largest first.
    private static func grouped(_ keys: [KVEntry], depth: Int, prefix: String) -> [Row] {
        var found: [String: Row] = [:]
        for entry in keys {
            let name = String(decoding: entry.key.bytes, as: UTF8.self)
            guard prefix.isEmpty || name.hasPrefix(prefix) else { continue }
            let group = name.split(separator: "/", omittingEmptySubsequences: false).prefix(depth).joined(
                separator: "/")
            var row = found[group] ?? Row(name: group, count: 0, size: 0)
            row.count += 1
            row.size = (row.size ?? 0) + self.size(entry)
            found[group] = row
        }
        return found.values.sorted { ($1.size ?? 0, $0.name) < ($0.size ?? 0, $1.name) }
    }
}
