import ArgumentParser
import Foundation

struct KeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Makes a random key of 32 bytes",
        discussion: "Serai itself needs none: `cluster init` makes what a cluster stands on.")
    @Argument(help: .hidden) var arguments: [String] = []

    func run() async throws {
        Output.line(Data((0..<32).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString())
    }
}

struct KeyringCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyring", abstract: "Says why there are no gossip keys to manage",
        discussion: """
            Consul encrypts its gossip with keys that all agents share. Serai has no gossip: servers and agents speak \
            over mutual TLS, and each renews its own certificate. Consul's flags are accepted, and answered by an error.
            """)
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("install"), help: .hidden) var install: String?
    @Option(name: .customLong("remove"), help: .hidden) var remove: String?
    @Option(name: .customLong("use"), help: .hidden) var use: String?
    @Option(name: .customLong("relay-factor"), help: .hidden) var relayFactor: Int?
    @Flag(name: .customLong("list"), help: .hidden) var list = false
    @Flag(name: .customLong("list-primary"), help: .hidden) var listPrimary = false
    @Flag(name: .customLong("local-only"), help: .hidden) var localOnly = false

    func run() async throws {
        let actions =
            [self.install, self.remove, self.use].count { $0 != nil } + (self.list ? 1 : 0)
            + (self.listPrimary ? 1 : 0)
        if actions > 1 { throw CommandFailure("Only a single action is allowed") }
        throw CommandFailure(
            "Error! There are no gossip keys: servers and agents speak over mutual TLS and renew their certificates "
                + "themselves. To let no machine in by an old join token, make new ones by cluster token.")
    }
}

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Says why commands are not run on other machines",
        discussion: "Consul's exec runs commands on every machine of a cluster. Consul turns it off by default.")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("node"), help: .hidden) var node: String?
    @Option(name: .customLong("service"), help: .hidden) var service: String?
    @Option(name: .customLong("tag"), help: .hidden) var tag: String?
    @Option(name: .customLong("prefix"), help: .hidden) var prefix: String?
    @Option(name: .customLong("wait"), help: .hidden) var wait: String?
    @Option(name: .customLong("wait-repl"), help: .hidden) var waitForReplicas: String?
    @Flag(name: .customLong("shell"), inversion: .prefixedNo, help: .hidden) var shell = true
    @Flag(name: .customLong("verbose"), help: .hidden) var verbose = false
    @Argument(help: .hidden) var arguments: [String] = []

    func run() async throws {
        if self.arguments.isEmpty { throw CommandFailure("Must specify a command to execute") }
        throw CommandFailure(
            "Error! exec is not offered: whoever could write to the cluster would command every machine of it. "
                + "Use ssh, or whatever else deploys to your machines; \(Serai.programName) members lists them.")
    }
}
