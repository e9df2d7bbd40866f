/// Consul's flags are Go's: one dash or two, `-flag=value`, `-flag=true`. The parser wants two dashes and no value at a
/// flag that is on or off.
package enum Arguments {
    /// Flags that are on or off, and so take no value of their own behind them but may be written `-flag=true` or
    /// `-flag=false`. A test compares them with the commands.
    package static let switches: Set<String> = [
        "acquire", "all-datacenters", "allow-data-loss", "base64", "billable", "cas",
        "child-exit-code", "connect", "detailed", "disable", "enable", "force", "help", "keys", "kvdetails", "list",
        "list-primary", "local-only", "log-json", "no-color", "pass-stdin", "passingonly", "prune", "quiet", "raw",
        "recurse",
        "release", "stale", "tags", "verbose", "version", "wan",
    ]

    /// Flags that are on unless they are written `-flag=false`, which the parser knows as `--no-flag`.
    package static let onByDefault: Set<String> = ["archive", "shell"]

    /// Verbs whose arguments are data or a command of the user's own: what stands behind the first is no flag of ours.
    private static let dataVerbs: [[String]] = [
        ["kv", "put"], ["kv", "import"], ["event"], ["exec"], ["lock"], ["watch"],
    ]

    /// Go's spellings of a truth value (`strconv.ParseBool`); nil for none.
    package static func truth(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }

    /// `agent` reads its own flags, so all behind it stays as it is.
    package static func normalised(_ arguments: [String]) -> [String] {
        if arguments.first == "agent" { return arguments }
        let verb = self.dataVerbs.first { arguments.starts(with: $0) } ?? []
        var result = verb
        var rest = arguments.dropFirst(verb.count)
        while let argument = rest.popFirst() {
            if argument == "--" { return result + [argument] + rest }
            guard self.isFlag(argument) else {
                if !verb.isEmpty { return result + ["--", argument] + rest }
                result.append(argument)
                continue
            }
            guard let flag = self.normalised(flag: argument) else { continue }
            // `-separator=`: an empty value, which the parser takes only by itself.
            if flag.hasSuffix("="), !flag.dropLast().contains("=") {
                result += [String(flag.dropLast()), ""]
                continue
            }
            result.append(flag)
            // `-name -x`: a flag's value, whatever it begins with.
            if self.takesValue(flag), let value = rest.popFirst() {
                if value.hasPrefix("-") {
                    result[result.count - 1] += "=" + value
                } else {
                    result.append(value)
                }
            }
        }
        return result
    }

    private static func isFlag(_ text: String) -> Bool { text.hasPrefix("-") && text.utf8.count > 1 }

    /// Whether the value of `flag`, which has two dashes, is the next argument.
    private static func takesValue(_ flag: String) -> Bool {
        guard flag.hasPrefix("--"), !flag.contains("=") else { return false }
        let name = String(flag.dropFirst(2))
        return !self.switches.contains(name) && !self.onByDefault.contains(name)
            && !(name.hasPrefix("no-") && self.onByDefault.contains(String(name.dropFirst(3))))
    }

    /// Nil for `-flag=false`, which says nothing.
    private static func normalised(flag: String) -> String? {
        // `-n 2` is a name of one letter; `-h` asks for help.
        if flag == "-h" { return "--help" }
        let body = flag.hasPrefix("--") ? flag.dropFirst(2) : flag.dropFirst()
        let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 {
            let name = String(parts[0])
            if self.onByDefault.contains(name), let value = self.truth(String(parts[1])) {
                return value ? "--\(name)" : "--no-\(name)"
            }
            if self.switches.contains(name), let value = self.truth(String(parts[1])) {
                return value ? "--\(name)" : nil
            }
        }
        return "--" + body
    }
}
