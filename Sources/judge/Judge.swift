import ArgumentParser
import Foundation
import Linearizability

/// Judges a stored history of key/value operations: is there an order in which one copy of the data would have given
/// every answer that clients saw?
@main
struct Judge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "judge",
        abstract: "Judges a history of key/value operations (JSON lines).",
        discussion: "Exit status: 0 linearizable, 1 not, 2 the file can't be read or the search was given up.")

    @Argument(help: "The history, one operation a line.")
    var history: String
    @Option(help: "How many steps the search may take for each key.")
    var budget = 20_000_000

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
        let operations = records.compactMap(\.register)
        guard operations.count == records.count, !operations.isEmpty else {
            self.complain("\(records.count - operations.count) of \(records.count) lines are no key/value operations")
            throw ExitCode(2)
        }
        switch LinearizabilityChecker(model: KVRegister(), budget: self.budget).check(operations) {
        case .linearizable:
            print("linearizable: \(operations.count) operations on \(Set(operations.map(\.key)).count) keys")
        case .violation(let violation):
            print("NOT linearizable: key \(violation.key)")
            for position in violation.unplaced.prefix(20) { print("  no place for: \(operations[position])") }
            throw ExitCode(1)
        case .unknown(let key):
            print("undecided within the budget: key \(key)")
            throw ExitCode(2)
        }
    }

    private func complain(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}
