import HealthChecks
import Logging
import NIOCore
import NIOPosix
import Testing
import Units

/// Runners against real sockets of the loopback.
@Suite(.timeLimit(.minutes(1))) struct RunnerTests {
    private func http(_ probe: HTTPProbe, timeout: Nanoseconds = .seconds(10), limit: Int = 4096) -> CheckPlan {
        CheckPlan(id: "web", kind: .http(probe), interval: .milliseconds(5), timeout: timeout, outputLimit: limit)
    }

    @Test func anAnswerOf200IsPassingWithItsBody() async throws {
        let server = try await TestWebServer()
        let url = server.url("/ok")
        let found = await reports(self.http(HTTPProbe(url: url)), count: 2)
        let expected = CheckReport(id: "web", run: 7, status: .passing, output: "HTTP GET \(url): 200 OK Output: fine")
        #expect(found == [expected, expected])
        try await server.close()
    }

    @Test func anAnswerOf429IsAWarningAndOf500Critical() async throws {
        let server = try await TestWebServer()
        let busy = await reports(self.http(HTTPProbe(url: server.url("/busy"))))
        #expect(busy.map(\.status) == [.warning])
        #expect(busy[0].output == "HTTP GET \(server.url("/busy")): 429 Too Many Requests Output: ")
        let broken = await reports(self.http(HTTPProbe(url: server.url("/broken"))))
        #expect(broken.map(\.status) == [.critical])
        try await server.close()
    }

    @Test func methodHeadersAndBodyAreSent() async throws {
        let server = try await TestWebServer()
        let probe = HTTPProbe(
            url: server.url("/ok"), method: "POST",
            headers: [.init(name: "X-Probe", values: ["1", "2"]), .init(name: "Host", values: ["web.example"])],
            body: "are you well?")
        _ = await reports(self.http(probe))
        let request = try #require(server.requests.first)
        #expect(request.method == "POST")
        #expect(request.body == "are you well?")
        #expect(request.headers["x-probe"] == "12")
        #expect(request.headers["host"] == "web.example")
        #expect(request.headers["user-agent"] == "Consul Health Check")
        #expect(request.headers["accept"] == "text/plain, text/*, */*")
        try await server.close()
    }

    @Test func redirectsAreFollowedUnlessForbidden() async throws {
        let server = try await TestWebServer()
        let followed = await reports(self.http(HTTPProbe(url: server.url("/moved"))))
        #expect(followed.map(\.status) == [.passing])
        let kept = await reports(self.http(HTTPProbe(url: server.url("/moved"), followsRedirects: false)))
        #expect(kept.map(\.status) == [.critical])
        #expect(kept[0].output.contains(": 302 Found"))
        try await server.close()
    }

    @Test func onlyTheEndOfALongBodyIsKept() async throws {
        let server = try await TestWebServer()
        let url = server.url("/long")
        let found = await reports(self.http(HTTPProbe(url: url), limit: 10))
        #expect(found[0].output == "HTTP GET \(url): 200 OK Output: xxxthe end")
        try await server.close()
    }

    @Test func aServerThatDoesNotAnswerIsCriticalAfterTheTimeout() async throws {
        let server = try await TestWebServer()
        let url = server.url("/slow")
        let found = await reports(self.http(HTTPProbe(url: url), timeout: .milliseconds(100)))
        #expect(found[0].status == .critical)
        #expect(found[0].output == "HTTP GET \(url): context deadline exceeded")
        try await server.close()
    }

    @Test func aPortWithoutAListenerIsCritical() async throws {
        let server = try await TestWebServer()
        let url = server.url("/")
        let target = TCPProbe(host: "127.0.0.1", port: server.port)
        try await server.close()
        let http = await reports(self.http(HTTPProbe(url: url)))
        #expect(http[0].status == .critical)
        #expect(http[0].output.contains("connection refused"))
        let tcp = await reports(CheckPlan(id: "tcp", kind: .tcp(target), interval: .milliseconds(5)))
        #expect(tcp[0].status == .critical)
        #expect(tcp[0].output == "dial tcp \(target.target): connect: connection refused")
    }

    @Test func aConnectionThatIsMadeIsPassing() async throws {
        let server = try await TestWebServer()
        let target = TCPProbe(host: "127.0.0.1", port: server.port)
        let found = await reports(CheckPlan(id: "tcp", kind: .tcp(target), interval: .milliseconds(5)), count: 2)
        #expect(found.map(\.status) == [.passing, .passing])
        #expect(found[0].output == "TCP connect \(target.target): Success")
        try await server.close()
    }

    @Test func aTLSHandshakeThatFailsIsCritical() async throws {
        let server = try await TestWebServer()
        // The server speaks plain HTTP and answers the client's hello with a complaint.
        let target = TCPProbe(host: "127.0.0.1", port: server.port, tls: ProbeTLS(skipVerify: true))
        let plan = CheckPlan(id: "tcp", kind: .tcp(target), interval: .milliseconds(5), timeout: .seconds(5))
        let found = await reports(plan)
        #expect(found[0].status == .critical)
        try await server.close()
    }

    @Test func aTTLThatRunsOutIsCriticalOnce() async {
        let fresh = await reports(CheckPlan(id: "ttl", kind: .ttl(remaining: .milliseconds(10), lastOutput: "")))
        #expect(fresh == [CheckReport(id: "ttl", run: 7, status: .critical, output: "TTL expired")])
        let spoken = await reports(
            CheckPlan(id: "ttl", kind: .ttl(remaining: .milliseconds(10), lastOutput: "hi")))
        #expect(spoken[0].output == "TTL expired (last output before timeout follows): hi")
    }

    @Test func thresholdsHoldResultsBack() async throws {
        let server = try await TestWebServer()
        let url = server.url("/ok")
        var plan = self.http(HTTPProbe(url: url))
        plan.successBeforePassing = 3
        // The first speaks at once; so do all that follow it, since the run is never broken.
        let found = await reports(plan, count: 2)
        #expect(found.map(\.status) == [.passing, .passing])
        try await server.close()
    }

    @Test func aStoppedRunnerProbesNoMore() async throws {
        let server = try await TestWebServer()
        let reports = Reports()
        let plan = self.http(HTTPProbe(url: server.url("/ok")))
        let runner = CheckRunner(plan: plan, run: 1, firstDelay: .zero, logger: quietLogger()) { reports.receive($0) }
        runner.start()
        _ = await reports.next(1)
        runner.stop()
        // A probe that was under way may still arrive; after that the count stands.
        try await Task.sleep(for: .milliseconds(100))
        let count = server.requests.count
        try await Task.sleep(for: .milliseconds(100))
        #expect(server.requests.count == count)
        runner.start()
        try await Task.sleep(for: .milliseconds(50))
        #expect(server.requests.count == count)
        try await server.close()
    }
}
