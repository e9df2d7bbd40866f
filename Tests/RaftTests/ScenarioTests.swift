import Foundation
import Raft
import Testing
import Units

/// Transcripts in `Scenarios`: a paragraph of prose, then commands (`> …`), and under each everything that came out.
/// `SERAI_REWRITE=1 swift test --filter ScenarioTests` writes them anew; the difference is what is to be judged.
@Suite struct ScenarioTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scenarios")

    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: Self.folder.path)) ?? []
        return files.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    @Test func thereAreScenarios() {
        #expect(Self.names.count >= 12)
    }

    @Test("A scenario goes as its transcript says", arguments: Self.names)
    func scenario(_ name: String) throws {
        let file = Self.folder.appendingPathComponent(name)
        let expected = try String(contentsOf: file, encoding: .utf8)
        let found = try Scenario.run(expected)
        if ProcessInfo.processInfo.environment["SERAI_REWRITE"] == "1" {
            try found.write(to: file, atomically: true, encoding: .utf8)
            return
        }
        if found == expected { return }
        let foundLines = found.split(separator: "\n").map(String.init)
        let expectedLines = expected.split(separator: "\n").map(String.init)
        let position = zip(foundLines, expectedLines).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        let line = position ?? min(foundLines.count, expectedLines.count)
        let instead = line < foundLines.count ? foundLines[line] : "nothing"
        let said = line < expectedLines.count ? expectedLines[line] : "nothing"
        Issue.record("\(name): found \"\(instead)\", the transcript says \"\(said)\"")
    }
}

/// Runs the commands of a transcript and writes it anew.
enum Scenario {
    struct Unknown: Error { var command: String }

    static func run(_ text: String) throws -> String {
        let stage = Stage()
        var written = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            guard line.hasPrefix("> ") else {
                // Prose stands before the first command, and between commands after a `#`.
                if line.hasPrefix("#"), !written.hasSuffix("\n\n") { written += "\n" }
                if !written.contains("\n> ") || line.hasPrefix("#") { written += line + "\n" }
                continue
            }
            let followsComment = written.split(separator: "\n").last?.hasPrefix("#") == true
            if !written.hasSuffix("\n\n"), !followsComment { written += "\n" }
            written += line + "\n"
            stage.forgetLines()
            var words = line.dropFirst(2).split(separator: " ").map(String.init)
            let isQuiet = words.first == "quietly"
            if isQuiet { words.removeFirst() }
            try self.perform(words, on: stage)
            if !isQuiet { for line in stage.lines { written += "  " + line + "\n" } }
        }
        return written
    }

    private static func perform(_ words: [String], on stage: Stage) throws {
        let rest = Array(words.dropFirst())
        let ids = rest.compactMap { UInt64($0) }
        func one() throws -> UInt64 {
            guard let id = ids.first else { throw Unknown(command: words.joined(separator: " ")) }
            return id
        }
        switch words.first {
        case "voters", "voters+learner":
            // The last one is a learner.
            let learners = words[0] == "voters" ? [] : ids.suffix(1)
            let configuration = Configuration(
                voters: ids.dropLast(learners.count).map(Stage.member), learners: learners.map(Stage.member))
            for id in ids { stage.start(id, Stage.Disk(configuration)) }
        case "log": try self.giveLog(rest, on: stage)
        case "empty": for id in ids { stage.start(id) }
        case "timeout", "beat": stage.timeout(try one())
        case "tick": for id in ids { stage.step(id, .tick) }
        case "wait": stage.wait(Array(ids.dropLast()), milliseconds: ids.last ?? 0)
        case "propose":
            stage.step(
                try one(), .propose(token: stage.nextToken(), payloads: rest.dropFirst().map { Array($0.utf8) }))
        case "read": stage.read(try one())
        case "change": try self.change(rest, on: stage)
        case "transfer": stage.step(try one(), .transferLeadership(token: stage.nextToken(), to: NodeID(ids.last ?? 0)))
        case "deliver", "drop": try self.move(words, on: stage)
        case "settle": stage.settle()
        case "slow": stage.slowDisks.formUnion(ids)
        case "persist": stage.persist(try one(), ids.count > 1 ? Int(ids[1]) : .max)
        case "quick":
            for id in ids {
                stage.slowDisks.remove(id)
                stage.persist(id)
            }
        case "isolate": stage.isolated.formUnion(ids)
        case "rejoin": stage.isolated.subtract(ids)
        case "crash": for id in ids { stage.crash(id) }
        case "restart": for id in ids { stage.restart(id) }
        case "lose": try self.lose(ids, on: stage)
        case "snapshot": stage.takeSnapshot(try one())
        case "full": stage.step(try one(), .diskFull(true))
        case "room": stage.step(try one(), .diskFull(false))
        case "show": for id in ids { stage.note(self.status(id, stage)) }
        default: throw Unknown(command: words.joined(separator: " "))
        }
    }

    /// `log 2 terms 1 1 2 [of 3]`: server 2 of voters 1…3 with entries 2, 3, 4 of these terms.
    private static func giveLog(_ rest: [String], on stage: Stage) throws {
        guard let id = rest.first.flatMap({ UInt64($0) }), rest.dropFirst().first == "terms" else {
            throw Unknown(command: "log " + rest.joined(separator: " "))
        }
        let terms = rest.dropFirst(2).prefix { $0 != "of" }.compactMap { UInt64($0) }
        let count = rest.last.flatMap { rest.contains("of") ? UInt64($0) : nil } ?? 3
        stage.start(id, Stage.Disk(Stage.voters(Array(1...count)), terms: terms))
    }

    /// `change 1 +4 ^4 -2`: add as a learner, promote, remove.
    private static func change(_ rest: [String], on stage: Stage) throws {
        guard let id = rest.first.flatMap({ UInt64($0) }) else { throw Unknown(command: "change") }
        func ids(_ sign: Character) -> [UInt64] {
            rest.dropFirst().compactMap { $0.first == sign ? UInt64($0.dropFirst()) : nil }
        }
        stage.change(id, add: ids("+"), promote: ids("^"), remove: ids("-"))
    }

    /// `deliver`, `deliver 1->2`, `deliver ->2`, `deliver 1-> 1` (at most one); `drop` likewise.
    private static func move(_ words: [String], on stage: Stage) throws {
        var from: UInt64?
        var to: UInt64?
        if words.count > 1 {
            guard let arrow = words[1].range(of: "->") else { throw Unknown(command: words.joined(separator: " ")) }
            from = UInt64(words[1][..<arrow.lowerBound])
            to = UInt64(words[1][arrow.upperBound...])
        }
        let count = words.count > 2 ? Int(words[2]) ?? 1 : Int.max
        if words[0] == "deliver" {
            stage.deliver(from: from, to: to, count: count)
        } else {
            stage.drop(from: from, to: to)
        }
    }

    /// `lose 3 2`: server 3 restarts without its two newest entries, and knows that there were more.
    private static func lose(_ ids: [UInt64], on stage: Stage) throws {
        guard ids.count == 2, var disk = stage.disks[ids[0]] else { throw Unknown(command: "lose") }
        disk.quarantinedUntil = disk.lastIndex
        disk.entries.removeLast(Int(ids[1]))
        stage.start(ids[0], disk)
    }

    private static func status(_ id: UInt64, _ stage: Stage) -> String {
        let node = stage[id]
        return "\(id) \(node.role) of term \(node.term), vote \(Rendering.text(node.vote)), "
            + "log \(node.firstIndex)...\(node.lastIndex).\(node.lastTerm), commit \(node.commitIndex), "
            + "durable \(node.persistedIndex), \(Rendering.text(node.configuration))"
            + (node.isQuarantined ? ", in quarantine" : "")
    }
}
