/// Histories as JSON lines: one flat object per operation, absent fields left out, keys in a fixed order.
public enum HistoryLines {
    public static func encode(_ records: [HistoryRecord]) -> String {
        var text = ""
        for record in records {
            text += self.encode(record)
            text += "\n"
        }
        return text
    }

    public static func encode(_ record: HistoryRecord) -> String {
        var line = LineWriter()
        line.add("client", record.client)
        line.add("key", record.key)
        line.add("kind", record.kind.rawValue)
        line.add("call", record.call)
        line.add("returned", record.returned)
        line.add("value", record.value)
        line.add("index", record.index)
        line.add("session", record.session)
        line.add("ok", record.ok)
        line.add("result", record.result)
        line.add("resultIndex", record.resultIndex)
        line.add("elements", record.elements)
        line.add("names", record.names)
        line.add("view", record.view)
        line.add("seenIndex", record.seenIndex)
        line.add("position", record.position)
        return line.finished
    }

    /// Empty lines are skipped; unknown fields are refused, since a misspelt one would weaken the check unseen.
    public static func decode(_ text: String) throws(HistoryError) -> [HistoryRecord] {
        var records: [HistoryRecord] = []
        var number = 0
        for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
            do {
                records.append(try self.record(Array(line)))
            } catch {
                throw .badLine(number, reason: error.reason)
            }
        }
        return records
    }

    private static func record(_ bytes: [UInt8]) throws(LineError) -> HistoryRecord {
        var reader = LineReader(bytes: bytes)
        let fields = try reader.object()
        var record = HistoryRecord(client: 0, key: "", kind: .get, call: 0)
        var seen: Set<String> = []
        for (name, value) in fields {
            guard seen.insert(name).inserted else { throw LineError("the field \(name) stands twice") }
            switch name {
            case "client":
                guard let client = Int(exactly: try value.number(name)) else { throw LineError("client is too large") }
                record.client = client
            case "key": record.key = try value.string(name)
            case "kind":
                guard let kind = HistoryRecord.Kind(rawValue: try value.string(name)) else {
                    throw LineError("unknown kind")
                }
                record.kind = kind
            case "call": record.call = try value.number(name)
            case "returned": record.returned = try value.number(name)
            case "value": record.value = try value.string(name)
            case "index": record.index = try value.number(name)
            case "session": record.session = try value.string(name)
            case "ok": record.ok = try value.bool(name)
            case "result": record.result = try value.string(name)
            case "resultIndex": record.resultIndex = try value.number(name)
            case "elements": record.elements = try value.numbers(name)
            case "names": record.names = try value.strings(name)
            case "view": record.view = try value.string(name)
            case "seenIndex": record.seenIndex = try value.number(name)
            case "position": record.position = try value.number(name)
            default: throw LineError("unknown field \(name)")
            }
        }
        for name in ["client", "key", "kind", "call"] where !seen.contains(name) {
            throw LineError("the field \(name) is missing")
        }
        return record
    }
}

struct LineError: Error {
    var reason: String
    init(_ reason: String) { self.reason = reason }
}

private struct LineWriter {
    private var text = "{"

    var finished: String { self.text + "}" }

    mutating func add(_ name: String, _ value: Int) { self.raw(name, "\(value)") }
    mutating func add(_ name: String, _ value: UInt64?) { if let value { self.raw(name, "\(value)") } }
    mutating func add(_ name: String, _ value: Bool?) { if let value { self.raw(name, value ? "true" : "false") } }
    mutating func add(_ name: String, _ value: [UInt64]?) {
        if let value { self.raw(name, "[" + value.map { "\($0)" }.joined(separator: ",") + "]") }
    }
    mutating func add(_ name: String, _ value: [String]?) {
        if let value { self.raw(name, "[" + value.map(Self.quoted).joined(separator: ",") + "]") }
    }
    mutating func add(_ name: String, _ value: String?) {
        if let value { self.raw(name, Self.quoted(value)) }
    }

    private static func quoted(_ value: String) -> String {
        var quoted = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\t": quoted += "\\t"
            case "\r": quoted += "\\r"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    quoted.unicodeScalars.append(scalar)
                }
            }
        }
        return quoted + "\""
    }

    private mutating func raw(_ name: String, _ value: String) {
        if self.text.utf8.count > 1 { self.text += "," }
        self.text += "\"\(name)\":\(value)"
    }
}
