import ArgumentParser
import Foundation
import Testing
import serai

@Suite("Arguments")
struct ArgumentTests {
    @Test("One dash before a long name becomes two; values and positionals stay")
    func oneDashBecomesTwo() {
        #expect(
            Arguments.normalised(["kv", "get", "-recurse", "--keys", "-h", "a", "-separator=/", "-token", "x"])
                == ["kv", "get", "--recurse", "--keys", "--help", "a", "--separator=/", "--token", "x"])
        #expect(Arguments.normalised(["kv", "get", "-"]) == ["kv", "get", "-"])
    }

    @Test func aSwitchMayBeWrittenWithTrueOrFalse() {
        #expect(Arguments.normalised(["kv", "get", "-recurse=true", "a"]) == ["kv", "get", "--recurse", "a"])
        #expect(Arguments.normalised(["kv", "get", "-recurse=F", "a"]) == ["kv", "get", "a"])
        #expect(Arguments.normalised(["kv", "get", "-separator=true", "a"]) == ["kv", "get", "--separator=true", "a"])
        #expect(Arguments.normalised(["debug", "-archive=false"]) == ["debug", "--no-archive"])
    }

    @Test("Behind the first argument of a verb that takes data or a command nothing is a flag")
    func dataIsNoFlag() {
        #expect(
            Arguments.normalised(["kv", "put", "-flags", "1", "k", "-5.5"])
                == ["kv", "put", "--flags", "1", "--", "k", "-5.5"])
        #expect(
            Arguments.normalised(["lock", "-n=2", "p", "sh", "-c", "--", "x"])
                == ["lock", "--n=2", "--", "p", "sh", "-c", "--", "x"])
        #expect(Arguments.normalised(["kv", "put", "--", "k", "-cas"]) == ["kv", "put", "--", "k", "-cas"])
        #expect(Arguments.normalised(["kv", "put", "k", "-"]) == ["kv", "put", "--", "k", "-"])
    }

    @Test func aFlagsValueMayBeginWithADash() {
        #expect(
            Arguments.normalised(["maint", "-enable", "-reason", "-x", "-service", "web"])
                == ["maint", "--enable", "--reason=-x", "--service", "web"])
        #expect(Arguments.normalised(["kv", "get", "-separator=", "a"]) == ["kv", "get", "--separator", "", "a"])
    }

    @Test func theAgentReadsItsOwnFlags() {
        #expect(Arguments.normalised(["agent", "-dev", "-x=true"]) == ["agent", "-dev", "-x=true"])
    }

    @Test(
        "Truth values are spelt as in Go",
        arguments: [("1", true), ("T", true), ("true", true), ("0", false), ("False", false), ("yes", nil), ("", nil)])
    func truthValues(text: String, value: Bool?) {
        #expect(Arguments.truth(text) == value)
    }

    @Test("The lists of switches hold what the commands take without a value, and nothing else")
    func switchesAreComplete() throws {
        let root = try JSONSerialization.jsonObject(with: Data(Serai._dumpHelp().utf8)) as? [String: Any]
        var switches: Set<String> = []
        var valued: Set<String> = []
        func visit(_ command: [String: Any]) {
            for argument in command["arguments"] as? [[String: Any]] ?? [] {
                let names = (argument["names"] as? [[String: Any]] ?? []).filter { $0["kind"] as? String == "long" }
                let long = names.compactMap { $0["name"] as? String }
                switch argument["kind"] as? String {
                case "flag": switches.formUnion(long)
                case "option": valued.formUnion(long)
                default: break
                }
            }
            for next in command["subcommands"] as? [[String: Any]] ?? [] { visit(next) }
        }
        visit(try #require(root?["command"] as? [String: Any]))
        let known = Arguments.switches.union(Arguments.onByDefault).union(Arguments.onByDefault.map { "no-" + $0 })
        #expect(switches.count > 20)
        #expect(switches.subtracting(known) == [])
        #expect(valued.intersection(known) == [])
    }
}

@Suite("Help")
struct HelpTests {
    @Test(
        "A verb that does not exist names the nearest one",
        arguments: [
            ("membres", "members"), ("mem", "members"), ("snpashot", "snapshot"), ("k", "kv"), ("x", nil),
            ("kvv", "kv"),
            ("frobnicate", nil),
        ])
    func nearestVerb(word: String, nearest: String?) {
        #expect(Help.nearest(word, of: ["kv", "lock", "members", "snapshot"]) == nearest)
    }

    @Test func flagsAreShownWithOneDash() {
        #expect(
            Help.singleDashed("Unknown option '--bogus'\n  --name <x>, --no-color a--b -- c")
                == "Unknown option '-bogus'\n  -name <x>, -no-color a--b -- c")
    }

    @Test func whatIsNotOfferedSaysWhy() {
        for verb in ["acl", "connect", "config", "intention", "tls", "peering"] {
            #expect(NotOffered.reasons[verb]?.isEmpty == false)
        }
    }
}

@Suite("Tables")
struct TableTests {
    @Test func columnsAreAsWideAsTheirWidestCellAndLinesHaveNoTrailingSpace() {
        let text = Output.table([["Node", "Address", "DC"], ["a", "127.0.0.1:8300", "dc1"], ["long-name", "x", ""]])
        #expect(
            text == """
                Node       Address         DC
                a          127.0.0.1:8300  dc1
                long-name  x
                """)
    }
}
