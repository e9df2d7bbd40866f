/// The JSON that this room writes into columns, and reads back: text, whole numbers, lists, and objects as lists of
/// pairs. No dictionary in between: Swift takes "é" and "e" + U+0301 for one key, the registry for two.
enum SmallJSON: Equatable {
    case text(String)
    case number(UInt64)
    case list([SmallJSON])
    case object([Pair])

    struct Pair: Equatable {
        var key: String
        var value: SmallJSON
    }

    var encoded: String {
        var output = ""
        self.write(to: &output)
        return output
    }

    private func write(to output: inout String) {
        switch self {
        case .text(let text): Self.quote(text, to: &output)
        case .number(let number): output += String(number)
        case .list(let items):
            output += "["
            for (position, item) in items.enumerated() {
                if position > 0 { output += "," }
                item.write(to: &output)
            }
            output += "]"
        case .object(let pairs):
            output += "{"
            for (position, pair) in pairs.enumerated() {
                if position > 0 { output += "," }
                Self.quote(pair.key, to: &output)
                output += ":"
                pair.value.write(to: &output)
            }
            output += "}"
        }
    }

    private static func quote(_ text: String, to output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\u{0}"..<" ":
                let digits = String(scalar.value, radix: 16)
                output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }

    /// nil for anything that `encoded` would not have written, up to white space.
    init?(_ text: String) {
        var parser = Parser(input: Array(text.utf8))
        guard let value = parser.value(depth: 0), parser.isAtEnd else { return nil }
        self = value
    }

    private struct Parser {
        let input: [UInt8]
        var position = 0

        private static let depthMax = 8

        init(input: [UInt8]) { self.input = input }

        var isAtEnd: Bool {
            mutating get {
                self.skipSpace()
                return self.position == self.input.count
            }
        }

        private mutating func skipSpace() {
            while let byte = self.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
                self.position += 1
            }
        }

        private var peek: UInt8? { self.position < self.input.count ? self.input[self.position] : nil }

        private mutating func take(_ byte: UInt8) -> Bool {
            self.skipSpace()
            guard self.peek == byte else { return false }
            self.position += 1
            return true
        }

        mutating func value(depth: Int) -> SmallJSON? {
            self.skipSpace()
            guard depth < Self.depthMax, let byte = self.peek else { return nil }
            switch byte {
            case UInt8(ascii: "\""): return self.text().map { .text($0) }
            case UInt8(ascii: "["): return self.list(depth: depth)
            case UInt8(ascii: "{"): return self.object(depth: depth)
            case UInt8(ascii: "0")...UInt8(ascii: "9"): return self.number()
            default: return nil
            }
        }

        private mutating func number() -> SmallJSON? {
            let start = self.position
            while let byte = self.peek, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { self.position += 1 }
            return UInt64(String(decoding: self.input[start..<self.position], as: UTF8.self)).map { .number($0) }
        }

        private mutating func list(depth: Int) -> SmallJSON? {
            guard self.take(UInt8(ascii: "[")) else { return nil }
            var items: [SmallJSON] = []
            if self.take(UInt8(ascii: "]")) { return .list(items) }
            repeat {
                guard let item = self.value(depth: depth + 1) else { return nil }
                items.append(item)
            } while self.take(UInt8(ascii: ","))
            return self.take(UInt8(ascii: "]")) ? .list(items) : nil
        }

        private mutating func object(depth: Int) -> SmallJSON? {
            guard self.take(UInt8(ascii: "{")) else { return nil }
            var pairs: [Pair] = []
            if self.take(UInt8(ascii: "}")) { return .object(pairs) }
            repeat {
                self.skipSpace()
                guard let key = self.text(), self.take(UInt8(ascii: ":")), let value = self.value(depth: depth + 1)
                else { return nil }
                pairs.append(Pair(key: key, value: value))
            } while self.take(UInt8(ascii: ","))
            return self.take(UInt8(ascii: "}")) ? .object(pairs) : nil
        }

        private mutating func text() -> String? {
            guard self.peek == UInt8(ascii: "\"") else { return nil }
            self.position += 1
            var bytes: [UInt8] = []
            while let byte = self.peek {
                self.position += 1
                switch byte {
                case UInt8(ascii: "\""): return String(validating: bytes, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = self.escape() else { return nil }
                    bytes.append(contentsOf: escaped)
                default: bytes.append(byte)
                }
            }
            return nil
        }

        private mutating func escape() -> [UInt8]? {
            guard let byte = self.peek else { return nil }
            self.position += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): return [byte]
            case UInt8(ascii: "u"):
                guard self.input.count - self.position >= 4 else { return nil }
                let digits = String(decoding: self.input[self.position..<self.position + 4], as: UTF8.self)
                self.position += 4
                guard let code = UInt16(digits, radix: 16), let scalar = Unicode.Scalar(code) else { return nil }
                return Array(String(Character(scalar)).utf8)
            default: return nil
            }
        }
    }
}
