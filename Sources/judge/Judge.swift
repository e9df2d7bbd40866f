import ArgumentParser
import Foundation
import Linearizability

/// Judges a stored history: was every promise kept to every client?
@main
struct Judge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "judge",
        abstract: "Judges a history of what clients asked and saw (JSON lines).",
        discussion:
            "Exit status: 0 all promises held, 1 one was broken, 2 the file can't be read, has nothing to judge, "
            + "or the search was given up.")

    @Argument(help: "The history, one operation a line.")
    var history: String
    @Option(help: "How many steps the search may take for each key.")
    var budget = 20_000_000
    @Option(help: "pretty or json.")
    var format = "pretty"

    func validate() throws {
        guard ["pretty", "json"].contains(self.format) else { throw ValidationError("format: pretty or json") }
    }

    func run() throws {
        let text: String
        do {
            text = try String(contentsOfFile: self.history, encoding: .utf8)
        } catch {
            self.complain("\(self.history) can't be read: \(error.localizedDescription)")
            throw ExitCode(2)
        }
        let records: [HistoryRecord]
        do {
            records = try HistoryLines.decode(text)
        } catch {
            self.complain("\(self.history): \(error)")
            throw ExitCode(2)
        }
        let findings = HistoryJudge(budget: self.budget).findings(records)
        guard !findings.isEmpty else {
            self.complain("\(self.history) holds nothing to judge")
            throw ExitCode(2)
        }
        print(self.format == "json" ? try self.json(findings) : self.table(findings), terminator: "")
        if findings.contains(where: { if case .violated = $0.outcome { true } else { false } }) { throw ExitCode(1) }
        if findings.contains(where: { $0.outcome != .holds }) { throw ExitCode(2) }
    }

    private func table(_ findings: [Finding]) -> String {
        findings.map { finding in
            switch finding.outcome {
            case .holds: "holds      \(finding.promise) (\(finding.examined))\n"
            case .violated(let how): "VIOLATED   \(finding.promise) (\(finding.examined))\n           \(how)\n"
            case .undecided(let why): "undecided  \(finding.promise) (\(finding.examined))\n           \(why)\n"
            }
        }.joined()
    }

    private struct Line: Encodable {
        var promise: String
        var examined: Int
        var outcome: String
        var detail: String?
    }

    private func json(_ findings: [Finding]) throws -> String {
        let lines = findings.map { finding in
            switch finding.outcome {
            case .holds: Line(promise: finding.promise, examined: finding.examined, outcome: "holds")
            case .violated(let how):
                Line(promise: finding.promise, examined: finding.examined, outcome: "violated", detail: how)
            case .undecided(let why):
                Line(promise: finding.promise, examined: finding.examined, outcome: "undecided", detail: why)
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(lines), as: UTF8.self) + "\n"
    }

    private func complain(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}
