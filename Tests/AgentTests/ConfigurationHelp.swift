import Agent
import Foundation

let machine = AgentConfiguration.Machine(
    hostName: "host-1", addresses: ["10.0.0.7"], workingDirectory: "/start")

func load(_ arguments: String...) throws -> AgentConfiguration {
    try AgentConfiguration.load(arguments: arguments, machine: machine)
}

func complaint(_ arguments: String...) -> String {
    do {
        _ = try AgentConfiguration.load(arguments: arguments, machine: machine)
        return "accepted"
    } catch {
        return "\(error)"
    }
}

/// A folder of files that is gone when the closure returns.
func withFiles<Result>(_ files: [String: String], _ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("serai-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, text) in files {
        try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }
    return try body(folder.path)
}

/// What a server with this one file in its folder complains of; the folder is called FOLDER.
func complaint(inFile text: String, named name: String = "a.json") throws -> String {
    try withFiles([name: text]) { folder in
        complaint("-server", "-bootstrap-expect", "1", "-data-dir", "/d", "-config-dir", folder)
            .replacingOccurrences(of: folder, with: "FOLDER")
    }
}
