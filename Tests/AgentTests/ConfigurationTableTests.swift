import Agent
import Foundation
import Testing

/// `docs/configuration.md` shows the vocabulary as it is. `SERAI_WRITE_DOCS=1` writes the page anew.
@Suite struct ConfigurationTableTests {
    @Test func thePageOfKeysIsMadeFromTheirTable() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("docs/configuration.md").path
        let page = try String(contentsOfFile: path, encoding: .utf8)
        var wanted = page
        for part in ConfigurationTable.parts {
            let opening = "<!-- \(part.name) -->\n"
            let start = try #require(wanted.range(of: opening), "\(part.name) has no place in the page")
            let end = try #require(wanted.range(of: "<!-- end -->", range: start.upperBound..<wanted.endIndex))
            wanted.replaceSubrange(start.upperBound..<end.lowerBound, with: part.text + "\n")
        }
        if wanted == page { return }
        if ProcessInfo.processInfo.environment["SERAI_WRITE_DOCS"] != nil {
            try wanted.write(toFile: path, atomically: true, encoding: .utf8)
        } else {
            Issue.record("docs/configuration.md is not what the table of keys says; SERAI_WRITE_DOCS=1 writes it anew")
        }
    }
}
