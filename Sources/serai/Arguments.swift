/// Consul's flags are Go's: one dash or two, `-flag=value`, `-flag=true`. The parser wants two dashes and no value at a
/// flag that is on or off.
package enum Arguments {
    /// Flags that are on or off, and so may be written `-flag=true` or `-flag=false`.
    private static let switches: Set<String> = [
        "acquire", "allow-data-loss", "base64", "cas", "detailed", "disable", "enable", "force", "keys", "no-color",
        "prune", "quiet", "raw", "recurse", "release", "stale", "tags", "wan",
    ]

    /// `agent` reads its own flags, so all behind it stays as it is.
    package static func normalised(_ arguments: [String]) -> [String] {
        if arguments.first == "agent" { return arguments }
        var result: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                result.append(argument)
                return result + rest
            }
            // `kv put balance -5`: a number, not a flag.
            if rest.isEmpty, isNegativeNumber(argument) {
                return result + ["--", argument]
            }
            if let flag = normalised(flag: argument) { result.append(flag) }
        }
        return result
    }

    /// Nil for `-flag=false`, which says nothing.
    private static func normalised(flag: String) -> String? {
        guard flag.hasPrefix("-"), flag.count > 2, flag != "--" else { return flag }
        let body = flag.hasPrefix("--") ? flag.dropFirst(2) : flag.dropFirst()
        let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2, switches.contains(String(parts[0])) {
            switch parts[1].lowercased() {
            case "true", "1", "t": return "--" + parts[0]
            case "false", "0", "f": return nil
            default: break
            }
        }
        return "--" + body
    }

    private static func isNegativeNumber(_ text: String) -> Bool {
        guard text.hasPrefix("-"), text.count > 1 else { return false }
        return text.dropFirst().allSatisfy { $0.isASCII && $0.isNumber || $0 == "." }
    }
}
