import Agent
import Glibc
import HTTPAPI
import Testing

@Suite("What the agent writes and reads in small")
struct SmallPartsTests {
    @Test(
        "An address gets its port in whichever form it was given",
        arguments: [
            ("10.0.0.1", "10.0.0.1:8300"), ("10.0.0.1:9", "10.0.0.1:9"), ("host", "host:8300"),
            ("fe80::1", "[fe80::1]:8300"), ("[fe80::1]", "[fe80::1]:8300"), ("[fe80::1]:9", "[fe80::1]:9"),
        ])
    func addressesWithPorts(given: String, expected: String) { #expect(MemberText.withPort(given, 8300) == expected) }

    @Test func aMembersNameIsEncodedInAPath() {
        #expect(MemberText.forceLeaveTarget("n 1?prune", prune: false) == "/v1/agent/force-leave/n%201%3Fprune")
        #expect(MemberText.forceLeaveTarget("n1", prune: true) == "/v1/agent/force-leave/n1?prune=1")
    }

    @Test func aLogLineHoldsNothingThatEndsItOrCommandsATerminal() {
        #expect(LogText.oneLine("a\nb\r\u{1B}[2J\u{7F}\u{9B}\tü\"") == "a\\nb\\r\\x1b[2J\\x7f\\x9b\tü\"")
        #expect(LogText.oneLine("\"", quoted: true) == "\\\"")
    }

    @Test func aFileSystemThatCountsStrangelyIsShownAllTheSame() {
        var facts = statvfs()
        facts.f_frsize = 4096
        facts.f_blocks = 10
        facts.f_bfree = 20
        facts.f_bavail = .max
        facts.f_files = 0
        facts.f_ffree = 7
        guard case .object(let fields) = HostFacts.disk(facts, at: "/d") else {
            Issue.record("no object")
            return
        }
        func number(_ name: String) -> String? {
            if case .number(let text) = fields.first(where: { $0.name == name })?.value { text } else { nil }
        }
        #expect(number("total") == "40960" && number("used") == "0" && number("free") == "\(UInt64.max)")
        #expect(number("usedPercent") == "0.0" && number("inodesUsed") == "0" && number("inodesFree") == "7")
    }

    @Test(.timeLimit(.minutes(1))) func manyReloadsAreOneAndKeepNoStopFromBeingHeard() async {
        let endings = Endings()
        for _ in 0..<100 { endings.yield(.reload) }
        #expect(await endings.next().map { "\($0)" } == "reload")
        for _ in 0..<100 { endings.yield(.reload) }
        endings.yield(.stop(leaving: true))
        endings.yield(.stop(leaving: false))
        #expect(await endings.next().map { "\($0)" } == "stop(leaving: true)")
        let quiet = Endings()
        quiet.yield(.reload)
        _ = await quiet.next()
        let waiting = Task { await quiet.next() }
        try? await Task.sleep(nanoseconds: 50_000_000)
        waiting.cancel()
        #expect(await waiting.value == nil)
    }
}
