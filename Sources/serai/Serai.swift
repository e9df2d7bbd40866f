import ArgumentParser
import Foundation

/// The command line. It answers the same when the file is called `consul`.
@main
package struct Serai: AsyncParsableCommand {
    package init() {}

    package static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: programName, abstract: "Service catalog, keys, health and names, with Consul's API.",
            version: Version.text, subcommands: commands)
    }

    static let commands: [any ParsableCommand.Type] = [
        AgentCommand.self, CatalogCommand.self, ClusterCommand.self, CompletionCommand.self, DebugCommand.self,
        EventCommand.self, ExecCommand.self, ForceLeaveCommand.self, InfoCommand.self, JoinCommand.self,
        KeygenCommand.self, KeyringCommand.self, KVCommand.self, LeaveCommand.self, LockCommand.self,
        MaintCommand.self, MembersCommand.self, MonitorCommand.self, OperatorCommand.self, ReloadCommand.self,
        RTTCommand.self, ServicesCommand.self, SessionCommand.self, SnapshotCommand.self, ValidateCommand.self,
        VersionCommand.self, WatchCommand.self,
    ]

    /// `consul` when called by that name.
    static var programName: String {
        let name = CommandLine.arguments.first.map { $0.split(separator: "/").last.map(String.init) ?? "" }
        return name == "consul" ? "consul" : "serai"
    }

    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        leave(Output.ending(await invoke(arguments)))
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
            if let answer = NotOffered.answer(first) {
                Output.error(answer)
                return 1
            }
            let meant = Help.nearest(first, of: commands.map { $0._commandName })
            let question = meant.map { "; did you mean \(programName) \($0)?" } ?? ""
            Output.error(usage + "\n\nError! There is no command \"\(first)\"\(question)")
            return 127
        }
        if let code = tellVerbs(arguments) { return code }
        do {
            var command = try parseAsRoot(Arguments.normalised(arguments))
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

    /// `kv` alone, or with a verb that it doesn't have, has to be told what: the verbs that there are. Nil for a whole
    /// command.
    private static func tellVerbs(_ arguments: [String]) -> Int32? {
        var path: [String] = []
        var known = commands
        for argument in arguments {
            guard let command = known.first(where: { $0._commandName == argument }) else {
                return known.isEmpty ? nil : tellVerbs(path, unknown: argument)
            }
            path.append(argument)
            let configuration = command.configuration
            known = configuration.defaultSubcommand == nil ? configuration.subcommands : []
        }
        return known.isEmpty ? nil : tellVerbs(path, unknown: nil)
    }

    private static func tellVerbs(_ path: [String], unknown: String?) -> Int32? {
        var command: any ParsableCommand.Type = Serai.self
        for name in path {
            guard let next = command.configuration.subcommands.first(where: { $0._commandName == name }) else {
                return nil
            }
            command = next
        }
        if let unknown, ["-h", "-help", "--help", "help"].contains(unknown) {
            Output.line(Help.verbs(of: command, path: path, unknown: nil))
            return 0
        }
        Output.error(Help.verbs(of: command, path: path, unknown: unknown))
        return 1
    }

    /// Help goes to standard output with 0; a wrong flag or argument to standard error with 1.
    private static func tell(_ error: any Error) -> Int32 {
        let code = exitCode(for: error)
        let text = Help.singleDashed(fullMessage(for: error))
            .replacingOccurrences(of: "[<options>]", with: "[flags]")
        if code.isSuccess {
            Output.line(text)
            return 0
        }
        Output.error(text.isEmpty ? "\(error)" : text)
        return 1
    }

    private static var usage: String {
        "Usage: \(programName) [-version] [-help] <command> [flags] [arguments]\n\nAvailable commands are:\n"
            + Help.list(commands)
            + "\n\n\(programName) <command> -help tells more. Flags take one dash or two, and stand before arguments."
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
