import Foundation
import Synchronization

/// What people and programs see: results on standard output, errors on standard error.
package enum Output {
    package static func line(_ text: String) { write(Array((text + "\n").utf8)) }

    package static func bytes(_ bytes: [UInt8]) { write(bytes) }

    package static func error(_ text: String) { self.errorBytes(text + "\n") }

    static func errorBytes(_ text: String) { _ = self.write(Array(text.utf8), to: 2) }

    private static let refusal = Mutex<Int32?>(nil)

    /// The system's number for why standard output takes nothing any more. A command that holds something, such as a lock,
    /// goes on to give it back: that nobody reads is no reason to leave it behind.
    static var failure: Int32? { self.refusal.withLock { $0 } }

    private static func write(_ bytes: [UInt8]) {
        if self.failure != nil { return }
        if let error = self.write(bytes, to: 1) { self.refusal.withLock { $0 = error } }
    }

    /// Writes all of it, and waits where the other side is slow. Nil, or the number of what went wrong.
    package static func write(_ bytes: [UInt8], to file: Int32) -> Int32? {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(file, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if count >= 0 {
                written += count
            } else if errno == EAGAIN {
                var entry = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, -1)
            } else if errno != EINTR {
                return errno
            }
        }
        return nil
    }

    /// The exit code of a command that ended with `code`: what was not written was not done. A reader that has gone away
    /// ends the process by SIGPIPE, as it does any other that writes to it.
    static func ending(_ code: Int32) -> Int32 {
        guard code == 0, let failure else { return code }
        if failure == EPIPE {
            _ = signal(SIGPIPE, SIG_DFL)
            _ = raise(SIGPIPE)
        }
        self.error("Error! Standard output can't be written: \(String(cString: strerror(failure)).lowercased())")
        return 1
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
