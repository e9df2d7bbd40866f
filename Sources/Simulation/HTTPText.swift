import HTTPAPI
import NIOCore
import NIOHTTP1

/// A request as a client writes it: the bytes of HTTP/1.1 (RFC 9112).
struct HTTPRequestText {
    var method: String
    var target: String
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []

    init(_ method: String, _ target: String, body: String = "") {
        self.method = method
        self.target = target
        self.body = Array(body.utf8)
    }

    var bytes: [UInt8] {
        var text = "\(self.method) \(self.target) HTTP/1.1\r\nHost: serai\r\n"
        for header in self.headers { text += "\(header.name): \(header.value)\r\n" }
        return Array("\(text)Content-Length: \(self.body.count)\r\n\r\n".utf8) + self.body
    }

    /// The bytes taken apart again, as the HTTP library does for a real server; nil when they are no request.
    static func parse(_ bytes: [UInt8]) -> (head: HTTPRequestHead, body: ByteBuffer)? {
        guard let lines = HTTPLines(bytes) else { return nil }
        let words = lines.first.split(separator: " ")
        guard words.count == 3 else { return nil }
        let head = HTTPRequestHead(
            version: .http1_1, method: HTTPMethod(rawValue: String(words[0])), uri: String(words[1]),
            headers: HTTPHeaders(lines.headers))
        return (head, ByteBuffer(bytes: lines.body))
    }
}

/// An answer as a client reads it.
struct HTTPAnswer {
    var status: Int
    /// By name in lower case.
    var headers: [String: String] = [:]
    var body: [UInt8]

    /// nil when the bytes are no answer, or not all of one.
    init?(_ bytes: [UInt8]) {
        guard let lines = HTTPLines(bytes) else { return nil }
        let words = lines.first.split(separator: " ")
        guard words.count >= 3, words[0] == "HTTP/1.1", let status = Int(words[1]) else { return nil }
        self.status = status
        self.body = Array(lines.body)
        for (name, value) in lines.headers { self.headers[name.lowercased()] = value }
        guard self.headers["content-length"] == "\(self.body.count)" else { return nil }
    }

    var text: String { String(decoding: self.body, as: UTF8.self) }
    var json: JSONValue? { try? JSONValue.parse(self.body) }
    /// `X-Consul-Index`; nil when there is none.
    var index: UInt64? { self.headers["x-consul-index"].flatMap { UInt64($0) } }
    var modifyIndex: UInt64? { self.headers["x-consul-modifyindex"].flatMap { UInt64($0) } }

    /// It says that the request was not done, and will not be. By what clients may rely on; what else is refused may have
    /// been done.
    var isCertainlyNotDone: Bool {
        switch self.status {
        case 400, 404, 413, 429: true
        case 500, 503:
            ["No cluster leader", "rate limit", "the write was not accepted"].contains { self.text.contains($0) }
        default: false
        }
    }

    /// A write that was retried so late that its result is not kept any more.
    var isForgotten: Bool { self.text.contains("no longer kept") }
}

/// First line, headers and body.
private struct HTTPLines {
    var first: Substring
    var headers: [(String, String)] = []
    var body: ArraySlice<UInt8>

    init?(_ bytes: [UInt8]) {
        var end: Int?
        for position in bytes.indices.dropLast(3) where bytes[position] == 13 && bytes[position + 2] == 13 {
            end = position
            break
        }
        guard let end else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        guard let first = lines.first else { return nil }
        self.first = first
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return nil }
            self.headers.append((String(line[..<colon]), String(line[line.index(colon, offsetBy: 2)...])))
        }
        self.body = bytes[(end + 4)...]
    }
}

extension JSONValue {
    subscript(name: String) -> JSONValue? {
        guard case .object(let fields) = self else { return nil }
        return fields.first { $0.name == name }?.value
    }

    var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    var text: String? { if case .string(let text) = self { text } else { nil } }
    var number: UInt64? { if case .number(let text) = self { UInt64(text) } else { nil } }
}

/// RFC 4648 §4.
enum Base64Text {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = (0..<3).map { start + $0 < bytes.count ? UInt32(bytes[start + $0]) : 0 }
            let bits = group[0] << 16 | group[1] << 8 | group[2]
            for place in 0..<4 {
                let isPadding = place > min(3, bytes.count - start)
                output.append(isPadding ? UInt8(ascii: "=") : self.alphabet[Int(bits >> UInt32(18 - 6 * place) & 63)])
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// nil when it is none.
    static func decode(_ text: String) -> [UInt8]? {
        var output: [UInt8] = []
        var bits: UInt32 = 0
        var count: UInt32 = 0
        for byte in text.utf8 where byte != UInt8(ascii: "=") {
            guard let value = self.alphabet.firstIndex(of: byte) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                output.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return output
    }
}
