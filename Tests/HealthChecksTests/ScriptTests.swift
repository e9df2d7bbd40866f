import Foundation
import HealthChecks
import Testing
import Units

/// Real programs, some of which don't want to end.
@Suite(.timeLimit(.minutes(1))) struct ScriptTests {
    private func plan(
        _ arguments: [String], timeout: Nanoseconds = .seconds(30), limit: Int = 4096
    ) -> CheckPlan {
        CheckPlan(
            id: "script", kind: .script(ScriptProbe(arguments: arguments)), interval: .milliseconds(5),
            timeout: timeout,
            outputLimit: limit)
    }

    private func shell(_ line: String, timeout: Nanoseconds = .seconds(30), limit: Int = 4096) async -> CheckReport? {
        await reports(self.plan(["/bin/sh", "-c", line], timeout: timeout, limit: limit)).first
    }

    private func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("serai-script-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    /// Whether the process whose number stands in a file is gone, or a zombie.
    private func isGone(_ file: URL) throws -> Bool {
        let text = try String(contentsOf: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        guard let status = try? String(contentsOfFile: "/proc/\(text)/stat", encoding: .utf8) else { return true }
        return status.contains(") Z ")
    }

    @Test(arguments: [(0, HealthStatus.passing), (1, .warning), (2, .critical), (127, .critical)])
    func theExitCodeIsTheResult(_ code: Int, _ status: HealthStatus) async {
        let report = await self.shell("echo out; echo err >&2; exit \(code)")
        #expect(report?.status == status)
        #expect(report?.output == "out\nerr\n")
    }

    @Test func programsAreLookedForInThePath() async {
        let found = await reports(self.plan(["echo", "a b", "$HOME"]), count: 2)
        #expect(found.map(\.status) == [.passing, .passing])
        #expect(found[0].output == "a b $HOME\n")
    }

    @Test func aProgramThatIsNotThereIsCritical() async {
        let unknown = await reports(self.plan(["no-such-program-here"]))
        #expect(unknown[0].status == .critical)
        #expect(unknown[0].output == "exec: \"no-such-program-here\": executable file not found in $PATH")
        let missing = await reports(self.plan(["/no/such/program"]))
        #expect(missing[0].output == "fork/exec /no/such/program: no such file or directory")
        let folder = await reports(self.plan(["/tmp"]))
        #expect(folder[0].output == "fork/exec /tmp: permission denied")
    }

    @Test func aSignalIsCritical() async {
        let report = await self.shell("echo last words; kill -9 $$")
        #expect(report?.status == .critical)
        #expect(report?.output == "last words\n")
    }

    @Test func onlyTheEndOfALongOutputIsKept() async {
        let report = await self.shell(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done; echo end", limit: 8)
        #expect(report?.status == .passing)
        #expect(report?.output == "Captured 8 of 33004 bytes\n...\n789\nend\n")
    }

    @Test func whatHangsIsKilledWithAllThatItStarted() async throws {
        let folder = try self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        // The grandchild takes no SIGTERM, and holds the output open.
        let line = """
            (trap '' TERM; sh -c 'echo $$ > \(folder.path)/grandchild; exec sleep 300') &
            echo $$ > \(folder.path)/child; echo started; sleep 300
            """
        let start = ContinuousClock.now
        let report = await self.shell(line, timeout: .milliseconds(700))
        #expect(report?.status == .critical)
        #expect(report?.output == "Timed out (700ms) running check\n\nstarted\n")
        #expect(ContinuousClock.now - start < .seconds(30))
        for name in ["child", "grandchild"] {
            let file = folder.appendingPathComponent(name)
            for _ in 0..<200 where try !self.isGone(file) { try await Task.sleep(for: .milliseconds(10)) }
            #expect(try self.isGone(file), "\(name) is still there")
        }
    }

    @Test func aDaemonThatKeepsTheOutputOpenDoesNotHoldTheCheckForEver() async throws {
        let folder = try self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        // Out of the group, so that it lives on; the check must give up on it all the same.
        let line = "setsid sh -c 'echo $$ > \(folder.path)/daemon; exec sleep 5' & echo done"
        let start = ContinuousClock.now
        let report = await self.shell(line, timeout: .milliseconds(500))
        #expect(report?.status == .critical)
        #expect(ContinuousClock.now - start < .seconds(4))
    }

    @Test func aCheckThatIsStoppedKillsItsProgram() async throws {
        let folder = try self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("child")
        let plan = self.plan([
            "/bin/sh", "-c", "echo $$ > \(file.path).new; mv \(file.path).new \(file.path); sleep 300",
        ])
        let runner = CheckRunner(plan: plan, run: 1, firstDelay: .zero, logger: quietLogger()) { _ in }
        runner.start()
        for _ in 0..<1000 where !FileManager.default.fileExists(atPath: file.path) {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(try !self.isGone(file))
        runner.stop()
        for _ in 0..<1000 where try !self.isGone(file) { try await Task.sleep(for: .milliseconds(10)) }
        #expect(try self.isGone(file))
    }

    @Test func aProgramGetsNoneOfOurFilesAndItsSignalsBack() async {
        // Descriptors 0 to 2, and the one that lists them.
        let files = await self.shell("ls /proc/self/fd | wc -l")
        #expect(files?.output.trimmingCharacters(in: .whitespacesAndNewlines) == "4")
        // Signals 32 and 33 belong to the C library, which lets nobody set them.
        let signals = await self.shell("grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2")
        let sets = (signals?.output.split(separator: "\n") ?? []).compactMap { UInt64($0, radix: 16) }
        #expect(sets.count == 2 && sets.allSatisfy { $0 & ~0x1_8000_0000 == 0 })
        let group = await self.shell("cut -d' ' -f5 /proc/$$/stat; echo $$")
        let numbers = group?.output.split(separator: "\n") ?? []
        #expect(numbers.count == 2 && numbers[0] == numbers[1])
    }

    @Test func manyProgramsHangWithoutHoldingUpATask() async {
        // More than there are threads for tasks; the one that answers still does.
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<40 {
                group.addTask { _ = await self.shell("sleep 300", timeout: .seconds(3)) }
            }
            let start = ContinuousClock.now
            let report = await self.shell("exit 0")
            #expect(report?.status == .passing)
            #expect(ContinuousClock.now - start < .seconds(3))
        }
    }
}

/// A unit's state, told by a stand-in of systemctl.
@Suite(.timeLimit(.minutes(1))) struct OSServiceTests {
    private func report(_ line: String, marker: String = "/proc", timeout: Nanoseconds = .seconds(30)) async
        -> CheckReport?
    {
        var probe = OSServiceProbe(unit: "web")
        probe.query = ["/bin/sh", "-c", line, "sh"]
        probe.marker = marker
        return await reports(CheckPlan(id: "os", kind: .osService(probe), timeout: timeout)).first
    }

    @Test(
        arguments: [
            ("test $1 = web && echo active", HealthStatus.passing, "Service \"web\" is healthy"),
            ("echo inactive; exit 3", .critical, "OS Service unhealthy: \"web\" is inactive"),
            ("echo failed; exit 3", .critical, "OS Service unhealthy: \"web\" is failed"),
            ("exit 4", .critical, "OS Service unhealthy: \"web\" is not active"),
            ("echo no bus; exit 1", .warning, "asking systemd about \"web\" failed with code 1: no bus"),
        ])
    func aUnitIsAsWellAsSystemdSays(_ line: String, _ status: HealthStatus, _ output: String) async {
        let report = await self.report(line)
        #expect(report?.status == status)
        #expect(report?.output == output)
    }

    @Test func withoutSystemdItSaysSo() async {
        let report = await self.report("exit 0", marker: "/no/such/folder")
        #expect(report?.status == .critical)
        #expect(report?.output.contains("no systemd runs this machine: /no/such/folder is missing") == true)
    }

    @Test func systemdThatDoesNotAnswerIsCritical() async {
        let report = await self.report("sleep 300", timeout: .milliseconds(200))
        #expect(report?.status == .critical)
        #expect(report?.output == "Timed out (200ms) running check")
    }
}
