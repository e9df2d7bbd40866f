import ArgumentParser
import Foundation

/// Texts that tell how the command line is used.
package enum Help {
    /// Flags are shown as they are typed here: with one dash.
    package static func singleDashed(_ text: String) -> String {
        var result = ""
        var before: Character = " "
        var rest = text[...]
        while let character = rest.first {
            if " \n[(|'\"/,".contains(before), rest.hasPrefix("--"), let letter = rest.dropFirst(2).first,
                letter.isLetter
            {
                rest = rest.dropFirst()
            }
            result.append(rest.removeFirst())
            before = character
        }
        return result
    }

    /// The known word that `word` was most likely meant to be: at most two letters changed, added, left out or swapped,
    /// or the beginning of exactly one.
    package static func nearest(_ word: String, of known: [String]) -> String? {
        let beginnings = known.filter { $0.hasPrefix(word) }
        if word.count > 1, beginnings.count == 1 { return beginnings[0] }
        let allowed = word.count < 4 ? 1 : 2
        let near = known.map { ($0, self.distance(Array(word), Array($0))) }.filter { $0.1 <= allowed }
        return near.min { $0.1 < $1.1 }?.0
    }

    /// Optimal string alignment: Levenshtein's distance with swaps of neighbours.
    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        if left.count > 64 || right.count > 64 { return Int.max }
        var rows = [Array(0...right.count)]
        for (place, letter) in left.enumerated() {
            var row = [place + 1]
            for (column, other) in right.enumerated() {
                var best = min(
                    row[column] + 1, rows[place][column + 1] + 1, rows[place][column] + (letter == other ? 0 : 1))
                if place > 0, column > 0, letter == right[column - 1], left[place - 1] == other {
                    best = min(best, rows[place - 1][column - 1] + 1)
                }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[left.count][right.count]
    }

    /// `name    what it does`, a line for each verb.
    static func list(_ commands: [any ParsableCommand.Type]) -> String {
        let width = (commands.map { $0._commandName.count }.max() ?? 0) + 4
        return commands.map { command in
            "    " + command._commandName.padding(toLength: width, withPad: " ", startingAt: 0)
                + command.configuration.abstract
        }.joined(separator: "\n")
    }

    /// For a verb of verbs that was not told which: its verbs, and what was probably meant.
    static func verbs(of command: any ParsableCommand.Type, path: [String], unknown: String?) -> String {
        let names = command.configuration.subcommands
        let path = ([Serai.programName] + path).joined(separator: " ")
        let text =
            "Usage: \(path) <subcommand> [flags] [arguments]\n\n  \(command.configuration.abstract).\n\n"
            + "Subcommands:\n\(self.list(names))"
        guard let unknown else { return text }
        let meant =
            self.nearest(unknown, of: names.map { $0._commandName }).map { "; did you mean \(path) \($0)?" } ?? ""
        return text + "\n\nError! \(path) has no subcommand \"\(unknown)\"\(meant)"
    }
}
