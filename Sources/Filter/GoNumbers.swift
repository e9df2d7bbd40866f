/// Why a value is not what its field is; the text is Go's `strconv`'s.
struct NumberProblem: Error {
    var text: String

    init(_ function: String, _ value: String, _ problem: String) {
        self.text = "strconv.\(function): parsing \(goQuoted(value)): \(problem)"
    }
}

/// `strconv.ParseBool`.
func goBoolean(_ text: String) throws(NumberProblem) -> Bool {
    switch text {
    case "1", "t", "T", "true", "TRUE", "True": return true
    case "0", "f", "F", "false", "FALSE", "False": return false
    default: throw NumberProblem("ParseBool", text, "invalid syntax")
    }
}

/// `strconv.ParseInt` of 64 bits with base 0: the prefix says the base, and underscores may stand between digits.
func goInteger(_ text: String) throws(NumberProblem) -> Int64 {
    let wrong = NumberProblem("ParseInt", text, "invalid syntax")
    var digits = Substring(text)
    let isNegative = digits.first == "-"
    if isNegative || digits.first == "+" { digits.removeFirst() }
    var radix = 10
    var mayUnderscore = false
    if digits.first == "0" && digits.count > 1 {
        let prefixes: [(String, Int)] = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)]
        guard let (prefix, base) = prefixes.first(where: { digits.lowercased().hasPrefix($0.0) }) else { throw wrong }
        digits = digits.dropFirst(prefix.count)
        radix = base
        // One may stand right behind the prefix.
        mayUnderscore = true
    }
    var plain = ""
    for character in digits {
        if character == "_" {
            guard mayUnderscore else { throw wrong }
            mayUnderscore = false
        } else {
            guard let digit = character.hexDigitValue, character.isASCII, digit < radix else { throw wrong }
            plain.append(character)
            mayUnderscore = true
        }
    }
    guard !plain.isEmpty, digits.last != "_" else { throw wrong }
    guard let value = Int64((isNegative ? "-" : "") + plain, radix: radix) else {
        throw NumberProblem("ParseInt", text, "value out of range")
    }
    return value
}
