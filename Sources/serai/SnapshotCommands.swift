import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Registry
import Storage
import Units

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Saves and restores the cluster's whole state",
        subcommands: [SnapshotInspect.self, SnapshotRestore.self, SnapshotSave.self])
}

enum SnapshotFile {
    static func one(_ files: [String]) throws -> String {
        if files.count > 1 { throw CommandFailure("Too many arguments (expected 1, got \(files.count))") }
        guard let file = files.first, !file.isEmpty else { throw CommandFailure("Missing FILE argument") }
        return file
    }

    /// The state that a saved snapshot holds; all of it is read and checked.
    static func registry(_ path: String) throws(StorageError) -> Registry {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent(
            "serai-snapshot-" + UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: scratch) }
        return try SnapshotStore(directory: scratch.path).readArchive(path)
    }
}

struct SnapshotSave: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "save", abstract: "Saves the state to a file")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(
        name: .customLong("append-filename"),
        help: .init("Put these into the file's name: version,dc,node,status.", valueName: "list"))
    var parts = ""
    @Argument(help: "The file to write.") var files: [String] = []

    func run() async throws {
        var path = try SnapshotFile.one(self.files)
        let client = try self.api.client()
        if !self.parts.isEmpty { path = try await self.named(path, client) }
        let response = try await client.open(.GET, "/v1/snapshot", query: [], body: nil, timeout: .minutes(10))
        guard response.status == .ok else {
            let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
            throw CommandFailure(
                "Error saving snapshot: Unexpected response code: \(response.status.code) (\(APIClient.trimmed(text)))")
        }
        let index = response.headers.first(name: "X-Consul-Index") ?? "unknown"
        try await self.write(response, to: path)
        Output.line("Saved and verified snapshot to index \(index)")
    }

    /// `backup.snap` with `-append-filename=dc,node` becomes `backup-dc1-n1.snap`.
    private func named(_ path: String, _ client: APIClient) async throws -> String {
        struct Itself: Decodable {
            var Config: Fields
            struct Fields: Decodable {
                var NodeName: String
                var Datacenter: String
                var Version: String
            }
        }
        let config = try await client.demand(.GET, "/v1/agent/self", failing: "Error querying agent")
            .decoded(Itself.self).Config
        var name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        for part in self.parts.split(separator: ",") {
            switch part {
            case "version": name += "-" + config.Version
            case "dc": name += "-" + config.Datacenter
            case "node": name += "-" + config.NodeName
            case "status": name += self.api.stale ? "-stale" : "-leader"
            default: throw CommandFailure("Error! -append-filename knows version, dc, node and status, not \(part)")
            }
        }
        let folder = path.contains("/") ? String(path[...(path.lastIndex(of: "/") ?? path.startIndex)]) : ""
        let ending = URL(fileURLWithPath: path).pathExtension
        return folder + name + (ending.isEmpty ? "" : "." + ending)
    }

    /// Beside the target first, so that a broken transfer leaves no file that looks like a snapshot.
    private func write(_ response: HTTPClientResponse, to path: String) async throws {
        let partial = path + ".unverified"
        let file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw CommandFailure(
                "Error writing unverified snapshot file: open \(partial): "
                    + String(cString: strerror(errno)).lowercased())
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        var progress = TransferProgress("Saving \(path)")
        do {
            for try await piece in response.body {
                try handle.write(contentsOf: Data(piece.readableBytesView))
                progress.add(piece.readableBytes)
            }
            progress.finish()
            try handle.synchronize()
            try handle.close()
        } catch {
            unlink(partial)
            throw CommandFailure("Error writing unverified snapshot file: \(error)")
        }
        do throws(StorageError) {
            _ = try SnapshotFile.registry(partial)
        } catch {
            unlink(partial)
            throw CommandFailure("Error verifying snapshot file: \(error)")
        }
        guard rename(partial, path) == 0 else {
            throw CommandFailure("Error renaming snapshot file: \(String(cString: strerror(errno)))")
        }
    }
}

struct SnapshotRestore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Replaces the cluster's state by a saved one")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Argument(help: "The file to read; - is standard input.") var files: [String] = []

    func run() async throws {
        let path = try SnapshotFile.one(self.files)
        let bytes: [UInt8]
        do throws(FileFailure) {
            bytes = path == "-" ? Files.standardInput() : try Files.read(path)
        } catch {
            throw CommandFailure("Error opening snapshot file: \(error.text)")
        }
        let client = try self.api.client()
        Progress.note("Restoring \(bytes.count / 1024) KiB")
        let answer = try await client.send(.PUT, "/v1/snapshot", body: bytes, timeout: .minutes(10))
        guard answer.status == 200 else {
            throw CommandFailure(
                "Error restoring snapshot: Unexpected response code: \(answer.status) (\(APIClient.trimmed(answer.text)))"
            )
        }
        Output.line("Restored snapshot")
    }
}
