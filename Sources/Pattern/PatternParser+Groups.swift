extension PatternParser {
    /// `?P<name>` and, as Go has it since 1.22, `?<name>`; nil where neither stands.
    mutating func groupName(from start: Int) throws(PatternError) -> String? {
        let isPython = self.peek(1) == "P" && self.peek(2) == "<"
        guard isPython || (self.peek(1) == "<" && self.peek(2) != "=" && self.peek(2) != "!") else { return nil }
        self.position += isPython ? 3 : 2
        let first = self.position
        while let scalar = self.current, scalar != ">" { self.position += 1 }
        let name = self.scalars[first..<self.position]
        guard self.take(">") else { throw self.error(.invalidNamedCapture, from: start) }
        let isValid = name.allSatisfy { scalar in wordRanges.contains { $0.contains(scalar.value) } }
        guard isValid, let initial = name.first, !digitRanges.contains(where: { $0.contains(initial.value) }) else {
            throw self.error(.invalidNamedCapture, from: start)
        }
        var text = ""
        text.unicodeScalars.append(contentsOf: name)
        return text
    }

    /// `?flags:` begins a group; `?flags)`, for which the answer is true, is all of one and holds to the end of the group
    /// around it.
    mutating func groupFlags(from start: Int) throws(PatternError) -> Bool {
        self.position += 1
        var flags = self.flags
        var isOn = true
        var sawFlag = false
        while let scalar = self.current {
            self.position += 1
            switch scalar {
            case "i": flags.foldsCase = isOn
            case "m": flags.isMultiline = isOn
            case "s": flags.dotTakesNewline = isOn
            case "U": flags.isUngreedy = isOn
            case "-" where isOn:
                isOn = false
                sawFlag = false
                continue
            case ":" where isOn || sawFlag, ")" where isOn || sawFlag:
                self.flags = flags
                return scalar == ")"
            default: throw self.error(.invalidPerlOperator, from: start)
            }
            sawFlag = true
        }
        throw self.error(.invalidPerlOperator, from: start)
    }
}
