import Agent
import ArgumentParser
import Certificates
import Foundation
import Units

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "agent", abstract: "Runs a server or a client agent")

    @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

    func run() async throws {
        if self.arguments.contains(where: { ["-h", "-help", "--help"].contains($0) }) {
            return Output.line("Usage: \(Serai.programName) agent [flags]\n\n" + AgentFlags.help)
        }
        let settings: AgentConfiguration
        do {
            settings = try AgentConfiguration.load(arguments: self.arguments)
        } catch {
            throw CommandFailure("==> \(error)")
        }
        Memory.prepare()
        do {
            let arguments = self.arguments
            try await runAgent(settings) { try AgentConfiguration.load(arguments: arguments) }
        } catch {
            throw CommandFailure("==> Error starting agent: \(error)")
        }
    }
}

struct ValidateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Checks configuration files without starting")

    @Flag(name: .customLong("quiet"), help: "Say nothing when all is well.") var quiet = false
    @Option(
        name: .customLong("config-format"),
        help: .init("hcl or json: how all files are read, whatever their names.", valueName: "format"))
    var format: String?
    @Argument(help: "Files and folders.") var paths: [String] = []

    func run() async throws {
        if self.paths.isEmpty { throw CommandFailure("Must specify at least one config file or directory") }
        let format = self.format.map(AgentConfiguration.Format.init(rawValue:))
        if case .some(nil) = format {
            throw CommandFailure("-config-format must be either \"hcl\" or \"json\"")
        }
        do {
            let settings = try AgentConfiguration.validate(paths: self.paths, format: format ?? nil)
            for warning in settings.warnings where !self.quiet { Output.error("Warning: \(warning)") }
        } catch {
            throw CommandFailure("Config validation failed: \(error)")
        }
        if !self.quiet { Output.line("Configuration is valid!") }
    }
}

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Shows the version")

    @Option(name: .customLong("format")) var format: OutputFormat = .pretty

    func run() async throws {
        switch self.format {
        case .pretty: Output.line(Version.text)
        case .json: Output.line("{\n    \"Version\": \"\(Version.number)\"\n}")
        }
    }
}

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Makes a cluster's key and join tokens, offline",
        subcommands: [ClusterInit.self, ClusterToken.self])
}

struct ClusterInit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Makes the key of a new cluster and tokens to join it",
        discussion: """
            Writes three files of mode 0600: cluster.key, the secret that the cluster stands on; server.token, which \
            lets a machine in as a server and is as secret as the key; agent.token, which lets a machine in as a client \
            agent.
            """)

    @Option(name: .customLong("out"), help: "Folder to write to; made when missing.") var out = "."
    @Option(name: .customLong("datacenter"), help: "Datacenter named in the commands that are printed.")
    var datacenter = "dc1"

    func run() async throws {
        let keyPath = self.out + "/" + ClusterSecret.fileName
        let paths = [keyPath, self.out + "/server.token", self.out + "/agent.token"]
        if let taken = paths.first(where: { FileManager.default.fileExists(atPath: $0) }) {
            throw CommandFailure("Error! \(taken) exists already: a cluster was made here; choose another folder")
        }
        try FileSystem.makeFolder(self.out)
        let secret = ClusterSecret.generate()
        do {
            try secret.save(to: keyPath)
            try FileSystem.writeSecret(JoinToken(role: .server, secret: secret).text, to: paths[1])
            try FileSystem.writeSecret(JoinToken(role: .agent, secret: secret).text, to: paths[2])
        } catch let error as CertificatesError {
            throw CommandFailure("Error! \(error)")
        }
        Output.line(self.nextSteps(secret.clusterID))
    }

    private func nextSteps(_ clusterID: String) -> String {
        let datacenter = self.datacenter == "dc1" ? "" : " -datacenter \(self.datacenter)"
        return """
            Cluster \(clusterID) is made. In \(self.out):
              cluster.key    the cluster's secret; keep a copy in a safe place, the servers keep their own
              server.token   for each server, good for 30 days; as secret as the key
              agent.token    for each client agent, good for a year

            Next, on each of three servers (with its own address, and the addresses of the others):
              serai agent -server -bootstrap-expect 3 -data-dir DATA\(datacenter) -bind ADDRESS \
            -retry-join OTHER -retry-join OTHER -join-token-file server.token
            and on every other machine:
              serai agent -data-dir DATA\(datacenter) -bind ADDRESS -retry-join SERVER -join-token-file agent.token
            Delete a token's copy once its machine has joined.
            """
    }
}

struct ClusterToken: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Makes another join token from a cluster's key")

    @Option(name: .customLong("key"), help: "The cluster's key file; servers keep it as DATA/cluster.key.")
    var key = ClusterSecret.fileName
    @Option(name: .customLong("role"), help: "server or agent.") var role = "agent"
    @Option(name: .customLong("days"), help: "Days until the token expires; 30 for servers, 365 for agents.")
    var days: Int64?
    @Option(name: .customLong("ttl"), help: "The same as a duration: 90s, 1h30m.") var ttl: String?
    @Option(name: .customLong("out"), help: "File to write; standard output by default.") var out: String?

    /// Seconds; nil for the role's default.
    private func lifetime() throws -> Int64? {
        if let ttl {
            guard self.days == nil else { throw CommandFailure("Error! -days and -ttl say the same: give one") }
            guard let time = GoDuration.parse(ttl), time >= .seconds(1) else {
                throw CommandFailure("Error! -ttl must be a duration of at least 1s, not \(ttl)")
            }
            return Int64(clamping: time.rawValue / 1_000_000_000)
        }
        if let days, !(1...36_500).contains(days) { throw CommandFailure("Error! -days must be from 1 to 36500") }
        return self.days.map { $0 * UnixSeconds.day }
    }

    func run() async throws {
        guard let role = NodeRole(rawValue: self.role) else {
            throw CommandFailure("Error! -role must be server or agent, not \(self.role)")
        }
        let lifetime = try self.lifetime()
        do {
            let secret = try ClusterSecret.load(from: self.key)
            let token = try JoinToken(role: role, secret: secret, lifetime: lifetime)
            guard let out else { return Output.line(token.text) }
            try FileSystem.writeSecret(token.text, to: out)
        } catch let error as CertificatesError {
            throw CommandFailure("Error! \(error)")
        }
    }
}

enum FileSystem {
    static func makeFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw CommandFailure("Error! \(path) can't be made: \(error.localizedDescription)")
        }
    }

    /// A new file of mode 0600 with one line; never replaces one.
    static func writeSecret(_ text: String, to path: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw CommandFailure("Error! \(path) can't be made: \(String(cString: strerror(errno)))")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data((text + "\n").utf8))
            try handle.synchronize()
            try handle.close()
        } catch {
            throw CommandFailure("Error! \(path) can't be written: \(error.localizedDescription)")
        }
    }
}
