import Glibc
import Logging
import Synchronization

/// Log lines on standard output, in the form that Consul's users read:
/// `2026-11-24T07:16:52.123Z [INFO]  agent: leads: term=3`, or one JSON object per line.
struct AgentLog: LogHandler {
    /// Of all loggers that set none of their own: a reload changes it.
    static var level: Logger.Level {
        get { Logger.Level.allCases[self.shared.load(ordering: .relaxed)] }
        set { self.shared.store(Logger.Level.allCases.firstIndex(of: newValue) ?? 0, ordering: .relaxed) }
    }
    private static let shared = Atomic(Logger.Level.allCases.firstIndex(of: .info) ?? 0)

    /// Lower than what is written while somebody follows more.
    var logLevel: Logger.Level {
        get {
            guard let followed = LogFollowers.shared.level else { return self.writtenLevel }
            return min(followed, self.writtenLevel)
        }
        set { self.ownLevel = newValue }
    }
    private var writtenLevel: Logger.Level { self.ownLevel ?? Self.level }
    private var ownLevel: Logger.Level?
    var metadata: Logger.Metadata = [:]
    private let label: String
    private let isJSON: Bool

    init(label: String, isJSON: Bool) {
        self.label = label
        self.isJSON = isJSON
    }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = self.metadata
        if let own = event.metadata { all.merge(own) { $1 } }
        // Sorted, so that equal events give equal lines.
        let fields = all.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        let line: (Bool) -> String = { asJSON in
            asJSON
                ? self.json(event.level, "\(event.message)", fields)
                : self.text(event.level, "\(event.message)", fields)
        }
        if event.level >= self.writtenLevel { Self.write(line(self.isJSON)) }
        if LogFollowers.shared.level != nil { LogFollowers.shared.tell(event.level, line) }
    }

    /// One call of the system for one line, so that lines of several threads don't mix; nothing is buffered.
    private static func write(_ line: String) {
        var bytes = Array(line.utf8)
        bytes.append(UInt8(ascii: "\n"))
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(1, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if count < 0 && errno == EINTR { continue }
            // Nobody reads: there is nobody to tell, either.
            if count <= 0 { return }
            written += count
        }
    }

    private func text(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) -> String {
        var line = "\(Self.timestamp()) \(Self.tag(level)) \(self.label): \(LogText.oneLine(message))"
        if !fields.isEmpty { line += ":" }
        for (key, value) in fields {
            let needsQuotes =
                value.isEmpty || value.utf8.contains { $0 <= 0x20 || $0 == UInt8(ascii: "\"") || $0 == 0x7F }
            line += " \(key)=" + (needsQuotes ? "\"\(LogText.oneLine(value, quoted: true))\"" : value)
        }
        return line
    }

    private func json(_ level: Logger.Level, _ message: String, _ fields: [(String, String)]) -> String {
        var line = "{\"@level\":\"\(Self.name(level))\",\"@message\":\"\(Self.escaped(message))\""
        line += ",\"@module\":\"\(self.label)\",\"@timestamp\":\"\(Self.timestamp())\""
        for (key, value) in fields { line += ",\"\(Self.escaped(key))\":\"\(Self.escaped(value))\"" }
        return line + "}"
    }

    private static func name(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info, .notice: "info"
        case .warning: "warn"
        case .error, .critical: "error"
        }
    }

    private static func tag(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "[TRACE]"
        case .debug: "[DEBUG]"
        case .info, .notice: "[INFO] "
        case .warning: "[WARN] "
        case .error, .critical: "[ERROR]"
        }
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if scalar.value < 0x20 {
                    result += "\\u00" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result
    }

    /// UTC with milliseconds (RFC 3339).
    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func padded(_ value: some BinaryInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(padded(parts.tm_year + 1900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
        let time = "\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2))"
        return "\(date)T\(time).\(padded(now.tv_nsec / 1_000_000, 3))Z"
    }
}

package enum LogText {
    /// Without what would end the line, or command the terminal of whoever reads it: texts may come from outside.
    package static func oneLine(_ text: String, quoted: Bool = false) -> String {
        var line = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\"" where quoted: line += "\\\""
            case "\u{00}"..."\u{1F}" where scalar != "\t", "\u{7F}"..."\u{9F}":
                line += "\\x" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}

extension AgentConfiguration.LogLevel {
    var level: Logger.Level {
        switch self {
        case .trace: .trace
        case .debug: .debug
        case .info: .info
        case .warn: .warning
        case .error: .error
        }
    }
}
