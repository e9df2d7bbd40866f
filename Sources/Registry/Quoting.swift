import Units

/// Text in double quotes as Go's `%q` writes it, which is how clients of Consul know it in error texts.
func quoted(_ text: String) -> String { quoted(bytes: Array(text.utf8)) }

func quoted(_ key: ByteKey) -> String { quoted(bytes: key.bytes) }

private func quoted(bytes: [UInt8]) -> String {
    var output = "\""
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var offset = 0
    while offset < bytes.count {
        // A fresh decoder per character keeps the number of consumed bytes known.
        decoder = UTF8()
        iterator = bytes[offset...].prefix(4).map { $0 }.makeIterator()
        switch decoder.decode(&iterator) {
        case .scalarValue(let scalar):
            output += escaped(scalar)
            offset += UTF8.width(scalar)
        case .error:
            output += "\\x" + hexadecimal(UInt32(bytes[offset]), digits: 2)
            offset += 1
        case .emptyInput:
            offset = bytes.count
        }
    }
    return output + "\""
}

private func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar {
    case "\"": return "\\\""
    case "\\": return "\\\\"
    case "\u{07}": return "\\a"
    case "\u{08}": return "\\b"
    case "\u{0C}": return "\\f"
    case "\n": return "\\n"
    case "\r": return "\\r"
    case "\t": return "\\t"
    case "\u{0B}": return "\\v"
    default: break
    }
    if isPrintable(scalar) { return String(scalar) }
    if scalar.value < 0x80 { return "\\x" + hexadecimal(scalar.value, digits: 2) }
    if scalar.value < 0x10000 { return "\\u" + hexadecimal(scalar.value, digits: 4) }
    return "\\U" + hexadecimal(scalar.value, digits: 8)
}

/// Fixed ranges rather than the standard library's Unicode tables: these texts are part of the replicated state, and
/// two versions of Serai in one cluster must agree on them.
private func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0xA0, 0xAD, 0x1680, 0x2000...0x200F, 0x2028...0x202F, 0x205F...0x206F, 0x3000,
        0xE000...0xF8FF, 0xFEFF, 0xFFF0...0xFFFB, 0xFFFE...0xFFFF, 0xE0000...0x10FFFF:
        false
    default: true
    }
}

private func hexadecimal(_ value: UInt32, digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
