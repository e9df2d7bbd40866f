import Foundation

/// What takes long says so where somebody watches; a program that reads standard error is left alone.
enum Progress {
    static var isWatched: Bool { isatty(2) == 1 }

    static func note(_ text: String) {
        if self.isWatched { Output.error(text) }
    }
}

/// Bytes of a long transfer, on one line that is written again and again.
struct TransferProgress {
    private let what: String
    private var bytes = 0
    private var last = ContinuousClock.now

    init(_ what: String) { self.what = what }

    mutating func add(_ count: Int) {
        self.bytes += count
        guard Progress.isWatched, self.last.duration(to: .now) > .milliseconds(200) else { return }
        self.last = .now
        Output.errorBytes("\r\(self.what): \(self.bytes / 1024) KiB")
    }

    func finish() {
        if Progress.isWatched, self.bytes > 0 { Output.errorBytes("\r\u{1B}[K") }
    }
}
