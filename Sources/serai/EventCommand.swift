import ArgumentParser
import Foundation
import Pattern
import Units

struct EventCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "event", abstract: "Fires an event that agents tell their watches of",
        usage: "\(Serai.programName) event [flags] -name NAME [PAYLOAD]")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(name: .customLong("name"), help: .init("The event's name.", valueName: "name")) var name = ""
    @Option(
        name: .customLong("node"),
        help: .init("Only nodes whose name matches this regular expression.", valueName: "pattern"))
    var node = ""
    @Option(
        name: .customLong("service"),
        help: .init("Only nodes with a service whose name matches.", valueName: "pattern"))
    var service = ""
    @Option(
        name: .customLong("tag"), help: .init("Only such services with a tag that matches.", valueName: "pattern"))
    var tag = ""
    @Argument(help: "Bytes to send along.") var payload: [String] = []

    private struct Fired: Decodable {
        var id: String
        enum CodingKeys: String, CodingKey { case id = "ID" }
    }

    func run() async throws {
        if self.name.isEmpty { throw CommandFailure("Event name must be specified") }
        if self.payload.count > 1 { throw CommandFailure("Too many command line arguments.") }
        if !self.tag.isEmpty, self.service.isEmpty {
            throw CommandFailure("Cannot provide tag filter without service filter.")
        }
        var query: [(String, String?)] = []
        for (name, pattern) in [("node", self.node), ("service", self.service), ("tag", self.tag)]
        where !pattern.isEmpty {
            guard (try? Pattern(pattern)) != nil else {
                throw CommandFailure("Failed to compile \(name) filter regexp: \(pattern)")
            }
            query.append((name, pattern))
        }
        let answer = try await self.api.client().demand(
            .PUT, "/v1/event/fire/" + PercentEncoding.of(self.name), query: query,
            body: Array((self.payload.first ?? "").utf8), failing: "Error firing event")
        if self.api.format == .json { return Output.line(APIClient.trimmed(answer.text)) }
        Output.line("Event ID: \(try answer.decoded(Fired.self).id)")
    }
}

struct MonitorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "monitor", abstract: "Shows an agent's log as it is written",
        discussion: "Goes on until it is interrupted, or the agent stops.")
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Option(
        name: .customLong("log-level"),
        help: .init("Least level to show: trace, debug, info, warn or error.", valueName: "level"))
    var level = ""
    @Flag(name: .customLong("log-json"), help: "Each line as JSON.") var json = false
    @Argument(help: .hidden) var arguments: [String] = []

    func run() async throws {
        let client = try self.api.client()
        var query: [(String, String?)] = []
        if !self.level.isEmpty { query.append(("loglevel", self.level.lowercased())) }
        if self.json || self.api.format == .json { query.append(("logjson", nil)) }
        let streaming = Task {
            let response = try await client.open(
                .GET, "/v1/agent/monitor", query: query, body: nil, timeout: .hours(24 * 365))
            guard response.status == .ok else {
                let text = String(buffer: try await response.body.collect(upTo: 1 << 20))
                throw CommandFailure(
                    "Error starting monitor: Unexpected response code: \(response.status.code) "
                        + "(\(APIClient.trimmed(text)))")
            }
            for try await piece in response.body {
                Output.bytes(Array(piece.readableBytesView))
                // Nobody reads it any more.
                if Output.failure != nil { return }
            }
        }
        let signals = Signals { _ in streaming.cancel() }
        defer { withExtendedLifetime(signals) {} }
        do {
            try await streaming.value
        } catch let failure as CommandFailure where !streaming.isCancelled {
            throw failure
        } catch {
            if streaming.isCancelled { return }
            throw CommandFailure("Error! The agent's log ended: \(error)")
        }
        if Output.failure != nil { return }
        throw CommandFailure("Error! The agent closed its log: it has stopped, or was told to drop this reader.")
    }
}
