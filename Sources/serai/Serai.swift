import ArgumentParser
import Foundation

/// The command line. It answers the same when the file is called `consul`.
@main
struct Serai: AsyncParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: programName, abstract: "Service catalog, keys, health and names, with Consul's API.",
            version: Version.text, subcommands: commands)
    }

    static let commands: [any ParsableCommand.Type] = [
        AgentCommand.self, CatalogCommand.self, ClusterCommand.self, DebugCommand.self, ForceLeaveCommand.self,
        InfoCommand.self, JoinCommand.self, KVCommand.self, LeaveCommand.self, MaintCommand.self, MembersCommand.self,
        OperatorCommand.self, ReloadCommand.self, ServicesCommand.self, SessionCommand.self, SnapshotCommand.self,
        ValidateCommand.self, VersionCommand.self,
    ]

    /// `consul` when called by that name.
    static var programName: String {
        let name = CommandLine.arguments.first.map { $0.split(separator: "/").last.map(String.init) ?? "" }
        return name == "consul" ? "consul" : "serai"
    }

    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        leave(await invoke(arguments))
    }

    /// Runs one command and says how it ended: 0; 1 for an error, told on standard error; 127 for an unknown command;
    /// other codes where Consul has them.
    static func invoke(_ arguments: [String]) async -> Int32 {
        if ["-v", "-version", "--version"].contains(arguments.first) {
            Output.line(Version.text)
            return 0
        }
        guard let first = arguments.first, !["-h", "-help", "--help", "help"].contains(first) else {
            Output.error(usage)
            return arguments.isEmpty ? 127 : 0
        }
        guard commands.contains(where: { $0._commandName == first }) else {
            Output.error(usage)
            return 127
        }
        do {
            var command = try parseAsRoot(Arguments.normalised(arguments))
            if !type(of: command).configuration.subcommands.isEmpty {
                // `kv` alone: it has to be told what.
                Output.error(helpMessage(for: type(of: command)))
                return 1
            }
            if var waiting = command as? any AsyncParsableCommand {
                try await waiting.run()
            } else {
                try command.run()
            }
            await APIClient.shutdown()
            return 0
        } catch let failure as CommandFailure {
            await APIClient.shutdown()
            if !failure.text.isEmpty { Output.error(failure.text) }
            return failure.code
        } catch {
            await APIClient.shutdown()
            return tell(error)
        }
    }

    /// Help goes to standard output with 0; a wrong flag or argument to standard error with 1.
    private static func tell(_ error: any Error) -> Int32 {
        let code = exitCode(for: error)
        let text = fullMessage(for: error)
        if code.isSuccess {
            Output.line(text)
            return 0
        }
        Output.error(text.isEmpty ? "\(error)" : text)
        return 1
    }

    private static var usage: String {
        let width = (commands.map { $0._commandName.count }.max() ?? 0) + 4
        let lines = commands.map { command in
            "    " + command._commandName.padding(toLength: width, withPad: " ", startingAt: 0)
                + command.configuration.abstract
        }
        return "Usage: \(programName) [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n"
            + lines.joined(separator: "\n")
    }
}

/// How a command ends other than well.
struct CommandFailure: Error {
    var text: String
    var code: Int32

    init(_ text: String, code: Int32 = 1) {
        self.text = text
        self.code = code
    }
}

enum Version {
    static let number = "0.1.0"
    static let text = "Serai v\(number)"
}

/// A command has a method of its own called `exit`.
private func leave(_ code: Int32) -> Never { exit(code) }
