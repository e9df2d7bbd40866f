import Foundation

/// What people and programs see: results on standard output, errors on standard error.
package enum Output {
    package static func line(_ text: String) { write(Array((text + "\n").utf8)) }

    package static func bytes(_ bytes: [UInt8]) { write(bytes) }

    package static func error(_ text: String) { self.errorBytes(text + "\n") }

    static func errorBytes(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

    private static func write(_ bytes: [UInt8]) {
        FileHandle.standardOutput.write(Data(bytes))
    }

    /// Columns aligned with two spaces between them, without spaces at the end of a line. The first row is the head.
    package static func table(_ rows: [[String]]) -> String {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }

    /// Bold, where somebody looks at a terminal and has not asked for none (NO_COLOR).
    static func head(_ text: String) -> String {
        guard isatty(1) == 1, (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty else { return text }
        return "\u{1B}[1m\(text)\u{1B}[0m"
    }

    static func print(table rows: [[String]]) {
        let lines = table(rows).split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
        line(([head(String(lines[0]))] + lines.dropFirst().map(String.init)).joined(separator: "\n"))
    }
}
