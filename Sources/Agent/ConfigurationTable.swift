/// The vocabulary of configuration as tables for `docs/configuration.md`, which a test compares with them.
package enum ConfigurationTable {
    /// Parts of the page by name; each stands between `<!-- NAME -->` and `<!-- end -->`.
    package static var parts: [(name: String, text: String)] {
        [
            ("used", self.used(ConfigurationKeys.all)),
            ("service", self.used(ConfigurationKeys.service, showsReload: false)),
            ("check", self.used(ConfigurationKeys.check, showsReload: false)),
            ("watch", self.used(ConfigurationKeys.watch, showsReload: false)),
            ("ignored", self.reasons(.ignored)), ("refused", self.reasons(.refused)),
            ("flags", self.flags),
        ]
    }

    private static func used(_ keys: [ConfigurationKey], showsReload: Bool = true) -> String {
        var rows = [showsReload ? ["key", "value", "reload", ""] : ["key", "value", ""]]
        rows.append(rows[0].map { _ in "---" })
        for key in keys where key.standing == .used || key.standing == .live {
            let reload = key.standing == .live ? "yes" : ""
            let cells = ["`\(key.path)`", self.words(key.shape)] + (showsReload ? [reload] : []) + [key.about]
            rows.append(cells)
        }
        return self.table(rows)
    }

    private static func words(_ shape: ConfigurationShape) -> String {
        switch shape {
        case .flag: "true, false"
        case .count: "number"
        case .text: "text"
        case .duration: "duration"
        case .texts: "texts"
        case .textMap: "texts by name"
        case .textsMap: "lists of texts by name"
        case .block: "block"
        case .blocks: "blocks"
        case .map: "blocks by name"
        case .any: "any"
        }
    }

    /// Keys of one reason in one row, in their order.
    private static func reasons(_ standing: ConfigurationKey.Standing) -> String {
        var order: [String] = []
        var keys: [String: [String]] = [:]
        for key in ConfigurationKeys.all where key.standing == standing {
            if keys[key.about] == nil { order.append(key.about) }
            let names = key.names.isEmpty ? "" : " { " + key.names.map { "`\($0)`" }.joined(separator: ", ") + " }"
            keys[key.about, default: []].append("`\(key.path)`\(names)")
        }
        var rows = [["keys", "why"], ["---", "---"]]
        for why in order { rows.append([keys[why, default: []].joined(separator: ", "), why]) }
        return self.table(rows)
    }

    private static var flags: String {
        var rows = [["flag", "key", ""], ["---", "---", "---"]]
        for flag in AgentFlags.all {
            rows.append(["`-\(flag.name)`", flag.key.isEmpty ? "" : "`\(flag.key)`", flag.help])
        }
        return self.table(rows)
    }

    private static func table(_ rows: [[String]]) -> String {
        rows.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }
}
