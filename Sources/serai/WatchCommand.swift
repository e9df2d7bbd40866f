import Agent
import ArgumentParser
import Foundation
import Units

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Runs a command on each change, or prints what is there",
        usage: "\(Serai.programName) watch [flags] -type TYPE [COMMAND…]",
        discussion: """
            TYPE is key, keyprefix, services, nodes, service, checks or event. Without a COMMAND the present state is \
            printed as JSON. A COMMAND is run for the present state and for each change; it gets the state as JSON on \
            standard input, and its index as CONSUL_INDEX in its environment.
            """)

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("type"), help: .init("What to watch.", valueName: "type")) var type = ""
    @Option(name: .customLong("key"), help: .init("Of type key.", valueName: "key")) var key = ""
    @Option(name: .customLong("prefix"), help: .init("Of type keyprefix.", valueName: "prefix")) var prefix = ""
    @Option(name: .customLong("service"), help: .init("Of types service and checks.", valueName: "name"))
    var service = ""
    @Option(name: .customLong("tag"), help: .init("Of type service; repeatable.", valueName: "tag"))
    var tags: [String] = []
    @Flag(name: .customLong("passingonly"), help: "Of type service: only instances that pass.") var passingOnly = false
    @Option(name: .customLong("state"), help: .init("Of type checks; any by default.", valueName: "status"))
    var state = ""
    @Option(name: .customLong("name"), help: .init("Of type event.", valueName: "name")) var name = ""
    @Option(name: .customLong("filter"), help: .init("Keeps what this expression matches.", valueName: "expression"))
    var filter = ""
    @Flag(
        name: .customLong("shell"), inversion: .prefixedNo,
        help: "Run the command by $SHELL -c (the default), or with -shell=false directly.")
    var shell = true
    @Argument(help: "The command.") var command: [String] = []

    func run() async throws {
        let definition = try self.definition()
        let client = try self.api.client()
        let outcome = Outcome()
        let prints = self.command.isEmpty
        let script = WatchScript(self.shell ? ChildProcess.shell(self.command) : self.command, inheritsOutput: true)
        let loop = WatchLoop(
            definition, ask: { try await Self.ask(client, $0, pretty: prints) },
            handle: { index, json in
                await outcome.sawAnswer()
                if prints {
                    Output.line(Self.readable(json, definition.kind))
                    return false
                }
                do {
                    let result = try await script.run(index: index, json: json)
                    if let failure = result.failure { Output.error("Error executing handler: \(failure)") }
                    return true
                } catch {
                    await outcome.fail("Error executing handler: \(error)")
                    return false
                }
            },
            complain: { reason, retry in
                // Nobody there from the beginning: a person waits for nothing.
                guard await outcome.hasAnswer else {
                    await outcome.fail(reason)
                    return false
                }
                Output.error(
                    "Error watching (\(definition.title)): \(reason); tries again in \(GoDuration.format(retry))")
                return true
            })
        let running = Task { await loop.run() }
        let signals = Signals { _ in running.cancel() }
        await running.value
        withExtendedLifetime(signals) {}
        if let failure = await outcome.failure { throw CommandFailure(failure) }
    }

    private actor Outcome {
        private(set) var hasAnswer = false
        private(set) var failure: String?
        func sawAnswer() { self.hasAnswer = true }
        func fail(_ text: String) { self.failure = text }
    }

    private func definition() throws -> WatchDefinition {
        if self.type.isEmpty { throw CommandFailure("Watch type must be specified") }
        guard let kind = WatchDefinition.Kind(rawValue: self.type) else {
            throw CommandFailure("Unsupported watch type: \(self.type); \(WatchDefinition.Kind.offered) are offered")
        }
        var definition = WatchDefinition()
        definition.kind = kind
        definition.key = self.key
        definition.prefix = self.prefix
        definition.service = self.service
        definition.tags = self.tags
        definition.passingOnly = self.passingOnly
        definition.state = self.state
        definition.name = self.name
        definition.filter = self.filter
        if let complaint = definition.complaint { throw CommandFailure(complaint) }
        return definition
    }

    private static func ask(_ client: APIClient, _ target: String, pretty: Bool) async throws -> WatchAnswer {
        let parts = target.split(separator: "?", maxSplits: 1)
        var query: [(String, String?)] = parts.dropFirst().flatMap { $0.split(separator: "&") }.map { pair in
            let sides = pair.split(separator: "=", maxSplits: 1).map { $0.removingPercentEncoding ?? String($0) }
            return (sides[0], sides.count > 1 ? sides[1] : nil)
        }
        if pretty { query.append(("pretty", nil)) }
        do {
            // An agent answers after five minutes and a little more at the latest.
            let answer = try await client.send(.GET, String(parts[0]), query: query, timeout: .minutes(12))
            return WatchAnswer(
                status: answer.status, index: answer.headers["x-consul-index"].flatMap { UInt64($0) } ?? 0,
                body: answer.body)
        } catch let failure as CommandFailure {
            throw WatchFailure(failure.text)
        }
    }

    /// A key's pair was within a list: its lines lose that indentation.
    private static func readable(_ json: [UInt8], _ kind: WatchDefinition.Kind) -> String {
        let text = APIClient.trimmed(String(decoding: json, as: UTF8.self))
        guard kind == .key else { return text }
        return text.split(separator: "\n", omittingEmptySubsequences: false).map {
            $0.hasPrefix("    ") ? String($0.dropFirst(4)) : String($0)
        }.joined(separator: "\n")
    }
}
