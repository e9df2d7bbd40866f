/// The path and query of a request line, taken from its raw bytes: nothing is normalised, so that a key's `//`, leading
/// `/` or `ç` reaches the store as it was sent.
package struct RequestTarget: Sendable {
    /// Percent-decoded once, after the split at `?`.
    package var path: [UInt8]
    package var query: Query

    package enum Malformed: Error { case path, query }

    package init(_ target: String) throws(Malformed) {
        var target = target
        var result: Result<RequestTarget, Malformed> = .failure(.path)
        target.withUTF8 { bytes in
            do throws(Malformed) {
                result = .success(try RequestTarget(bytes: bytes))
            } catch {
                result = .failure(error)
            }
        }
        self = try result.get()
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) throws(Malformed) {
        var start = 0
        // Absolute form (RFC 9112 §3.2.2): `http://host/path`.
        if let first = bytes.first, first != UInt8(ascii: "/"), first != UInt8(ascii: "?") {
            guard let scheme = bytes.firstRange(of: Array("://".utf8)) else { throw .path }
            start = bytes[scheme.upperBound...].firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
        }
        let mark = bytes[start...].firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        let raw = UnsafeBufferPointer(rebasing: bytes[start..<mark])
        guard let path = percentDecoded(raw, plusIsSpace: false) else { throw .path }
        self.path = path
        if mark == bytes.count {
            self.query = Query()
        } else {
            guard let query = Query(UnsafeBufferPointer(rebasing: bytes[(mark + 1)...])) else { throw .query }
            self.query = query
        }
    }
}

/// The parameters of a query string, in the order written; names may repeat.
package struct Query: Sendable {
    package struct Parameter: Sendable, Equatable {
        package var name: String
        package var value: String
        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var parameters: [Parameter] = []

    package init() {}

    /// Nil when an escape is malformed or a parameter holds a bare `;`, as in Go.
    init?(_ bytes: UnsafeBufferPointer<UInt8>) {
        var start = 0
        while start <= bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "&")) ?? bytes.count
            if end > start {
                guard let parameter = Query.parameter(UnsafeBufferPointer(rebasing: bytes[start..<end])) else {
                    return nil
                }
                self.parameters.append(parameter)
            }
            start = end + 1
        }
    }

    package init?(_ text: String) {
        var text = text
        guard let query = text.withUTF8({ Query($0) }) else { return nil }
        self = query
    }

    private static func parameter(_ bytes: UnsafeBufferPointer<UInt8>) -> Parameter? {
        if bytes.contains(UInt8(ascii: ";")) { return nil }
        let mark = bytes.firstIndex(of: UInt8(ascii: "="))
        let name = UnsafeBufferPointer(rebasing: bytes[..<(mark ?? bytes.count)])
        guard let name = text(name) else { return nil }
        guard let mark else { return Parameter(name: name, value: "") }
        guard let value = text(UnsafeBufferPointer(rebasing: bytes[(mark + 1)...])) else { return nil }
        return Parameter(name: name, value: value)
    }

    private static func text(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
        if !bytes.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) {
            return String(decoding: bytes, as: UTF8.self)
        }
        return percentDecoded(bytes, plusIsSpace: true).map { String(decoding: $0, as: UTF8.self) }
    }

    package var isEmpty: Bool { self.parameters.isEmpty }

    package func has(_ name: String) -> Bool {
        self.parameters.contains { $0.name == name }
    }

    /// The first value under this name; nil when there is none.
    package func first(_ name: String) -> String? {
        for parameter in self.parameters where parameter.name == name { return parameter.value }
        return nil
    }

    /// The first value, "" when there is none.
    package subscript(name: String) -> String { self.first(name) ?? "" }

    package func all(_ name: String) -> [String] {
        self.parameters.compactMap { $0.name == name ? $0.value : nil }
    }

    /// As Go's `url.Values.Encode`: sorted by name, escaped.
    package var encoded: String {
        let sorted = self.parameters.enumerated().sorted { left, right in
            let names = (Array(left.element.name.utf8), Array(right.element.name.utf8))
            return names.0 == names.1 ? left.offset < right.offset : names.0.lexicographicallyPrecedes(names.1)
        }
        return sorted.map { percentEncoded($0.element.name) + "=" + percentEncoded($0.element.value) }
            .joined(separator: "&")
    }
}

/// Nil when a `%` is not followed by two hexadecimal digits.
func percentDecoded(_ bytes: UnsafeBufferPointer<UInt8>, plusIsSpace: Bool) -> [UInt8]? {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count)
    var position = 0
    while position < bytes.count {
        let byte = bytes[position]
        if byte == UInt8(ascii: "%") {
            guard position + 2 < bytes.count, let high = hexDigit(bytes[position + 1]),
                let low = hexDigit(bytes[position + 2])
            else { return nil }
            output.append(high << 4 | low)
            position += 3
            continue
        }
        output.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
        position += 1
    }
    return output
}

/// Escapes all but letters, digits, `-`, `_`, `.`, `~`; a space becomes `+`.
func percentEncoded(_ text: String) -> String {
    var output = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
            UInt8(ascii: "~"):
            output.unicodeScalars.append(Unicode.Scalar(byte))
        case UInt8(ascii: " "): output.append("+")
        default:
            output.append(byte < 16 ? "%0" : "%")
            output.append(String(byte, radix: 16, uppercase: true))
        }
    }
    return output
}
