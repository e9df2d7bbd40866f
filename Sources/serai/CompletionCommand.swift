import ArgumentParser

struct CompletionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", abstract: "Prints a completion script for bash, zsh or fish",
        usage: "\(Serai.programName) completion SHELL",
        discussion: """
            bash: eval "$(\(Serai.programName) completion bash)" in ~/.bashrc
            zsh:  \(Serai.programName) completion zsh > a folder of $fpath, as _\(Serai.programName)
            fish: \(Serai.programName) completion fish > ~/.config/fish/completions/\(Serai.programName).fish
            """)
    @Argument(help: "bash, zsh or fish.") var shells: [String] = []

    func run() async throws {
        guard self.shells.count == 1, let shell = CompletionShell(rawValue: self.shells[0]) else {
            throw CommandFailure("Error! completion takes one argument: bash, zsh or fish")
        }
        Output.line(Serai.completionScript(for: shell))
    }
}
