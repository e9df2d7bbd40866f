import HealthChecks
import Testing

struct CheckStatusMachineTests {
    /// Feeds results and gathers what is shown; "-" where the status stays.
    private func shown(_ results: String, passing: UInt32 = 0, warning: UInt32 = 0, critical: UInt32 = 0) -> String {
        var machine = CheckStatusMachine(
            successBeforePassing: passing, failuresBeforeWarning: warning, failuresBeforeCritical: critical)
        return String(
            results.map { letter -> Character in
                let result: HealthStatus = letter == "p" ? .passing : letter == "w" ? .warning : .critical
                return machine.record(result)?.rawValue.first ?? "-"
            })
    }

    @Test func withoutThresholdsEachResultSpeaks() {
        #expect(self.shown("pcwpcc") == "pcwpcc")
    }

    @Test func theFirstResultSpeaksAtOnceWhateverTheThresholds() {
        #expect(self.shown("p", passing: 5, critical: 5) == "p")
        #expect(self.shown("c", passing: 5, critical: 5) == "c")
        #expect(self.shown("w", passing: 5, critical: 5) == "w")
    }

    @Test func passingNeedsItsRunOfSuccesses() {
        #expect(self.shown("cppp", passing: 3) == "c--p")
        #expect(self.shown("cppcppp", passing: 3) == "c--c--p")
    }

    @Test func aWarningCountsAsASuccess() {
        #expect(self.shown("cwwp", passing: 3) == "c--p")
        #expect(self.shown("cpww", passing: 3) == "c--w")
    }

    @Test func criticalNeedsItsRunOfFailures() {
        #expect(self.shown("pccc", critical: 3) == "p--c")
        #expect(self.shown("pccpccc", critical: 3) == "p--p--c")
    }

    @Test func aWarningComesBeforeCriticalWhereAsked() {
        #expect(self.shown("pccccc", warning: 2, critical: 4) == "p-wwcc")
    }

    @Test func withoutAWarningThresholdNoneIsShown() {
        #expect(self.shown("pcccc", warning: 0, critical: 4) == "p---c")
    }

    @Test func theAggregateIsTheWorst() {
        #expect(HealthStatus.aggregate([]) == .passing)
        #expect(HealthStatus.aggregate([.passing, .critical, .warning]) == .critical)
        #expect(HealthStatus.aggregate([.passing, .warning]) == .warning)
    }
}

struct OutputTests {
    @Test func aTailKeepsTheLastBytes() {
        var tail = OutputTail(limit: 4)
        for piece in ["ab", "cdefgh", "", "i"] { tail.append(Array(piece.utf8)) }
        #expect(tail.text == "fghi")
        #expect(tail.total == 9)
    }

    @Test func aTailOfNothingIsEmpty() {
        var tail = OutputTail(limit: 0)
        tail.append([1, 2, 3])
        #expect(tail.text == "")
        #expect(tail.total == 3)
    }

    @Test func aLongReportIsCutWithANote() {
        #expect(OutputTail.shorten("abcdef", limit: 6) == "abcdef")
        #expect(OutputTail.shorten("abcdef", limit: 4) == "abcd ... (captured 4 of 6 bytes)")
    }

    @Test func tcpTargetsAreHostAndPort() {
        #expect(TCPProbe("localhost:80") == TCPProbe(host: "localhost", port: 80))
        #expect(TCPProbe("[::1]:80") == TCPProbe(host: "::1", port: 80))
        #expect(TCPProbe("[::1]:80")?.target == "[::1]:80")
        for text in ["localhost", ":80", "a:", "a:0", "a:65536", "::1:80", "a:-1"] { #expect(TCPProbe(text) == nil) }
    }

    @Test func grpcTargetsMayNameAService() {
        #expect(GRPCProbe("h:1") == GRPCProbe(address: HostPort(host: "h", port: 1)))
        #expect(GRPCProbe("[::1]:1/a/b") == GRPCProbe(address: HostPort(host: "::1", port: 1), service: "a/b"))
        #expect(GRPCProbe("h:1/a")?.target == "h:1/a")
        for text in ["", "h", "/a", "h:/a", "h:0"] { #expect(GRPCProbe(text) == nil) }
    }

    @Test func aTailSaysWhatIsMissing() {
        var tail = OutputTail(limit: 4)
        tail.append(Array("abcd".utf8))
        #expect(tail.noted == "abcd")
        tail.append(Array("ef".utf8))
        #expect(tail.noted == "Captured 4 of 6 bytes\n...\ncdef")
    }

    @Test func programsMayTakeLongerThanConnections() {
        #expect(CheckPlan(id: "a", kind: .script(ScriptProbe(arguments: ["x"]))).timeout == .seconds(30))
        #expect(CheckPlan(id: "a", kind: .tcp(TCPProbe(host: "h", port: 1))).timeout == .seconds(10))
        #expect(
            CheckPlan(id: "a", kind: .osService(OSServiceProbe(unit: "x")), timeout: .seconds(2)).timeout == .seconds(2)
        )
    }
}
