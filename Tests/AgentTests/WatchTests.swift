import Agent
import Foundation
import Testing
import Units

private func watch(_ change: (inout WatchDefinition) -> Void) -> WatchDefinition {
    var definition = WatchDefinition()
    change(&definition)
    return definition
}

private func answer(_ index: UInt64, _ body: String, status: Int = 200) -> WatchAnswer {
    WatchAnswer(status: status, index: index, body: Array(body.utf8))
}

@Suite("Watches")
struct WatchTests {
    @Test(
        "A watch asks the route of its type",
        arguments: [
            (
                watch {
                    $0.kind = .key; $0.key = "a b/ü"
                }, "/v1/kv/a%20b/%C3%BC"
            ),
            (
                watch {
                    $0.kind = .keyprefix; $0.prefix = "a/"
                }, "/v1/kv/a/?recurse"
            ),
            (watch { $0.kind = .services }, "/v1/catalog/services"),
            (
                watch {
                    $0.kind = .nodes; $0.isStale = true
                }, "/v1/catalog/nodes?stale"
            ),
            (
                watch {
                    $0.kind = .service; $0.service = "web/1"; $0.tags = ["a", "b&c"]; $0.passingOnly = true
                },
                "/v1/health/service/web%2F1?tag=a&tag=b%26c&passing"
            ),
            (watch { $0.kind = .checks }, "/v1/health/state/any"),
            (
                watch {
                    $0.kind = .checks; $0.state = "critical"
                }, "/v1/health/state/critical"
            ),
            (
                watch {
                    $0.kind = .checks; $0.service = "web"
                }, "/v1/health/checks/web"
            ),
            (
                watch {
                    $0.kind = .event; $0.name = "deploy"
                }, "/v1/event/list?name=deploy"
            ),
        ])
    func aWatchAsksTheRouteOfItsType(definition: WatchDefinition, target: String) {
        #expect(definition.target == target)
    }

    @Test func onlyAnAnswerThatSaysSomethingElseIsHandedOver() throws {
        var progress = WatchProgress(.services)
        #expect(try progress.take(answer(5, "{\"a\":[]}\n"))?.json == Array("{\"a\":[]}".utf8))
        #expect(progress.index == 5)
        #expect(try progress.take(answer(9, "{\"a\":[]}\n")) == nil)
        #expect(progress.index == 9)
        #expect(try progress.take(answer(10, "{}\n"))?.index == 10)
        // The servers' state was restored: it counts from the beginning.
        #expect(try progress.take(answer(3, "{\"b\":[]}\n"))?.index == 3)
        #expect(progress.index == 0)
    }

    @Test func aKeyIsOnePairOrNull() throws {
        var progress = WatchProgress(.key)
        #expect(try progress.take(answer(1, "", status: 404))?.json == Array("null".utf8))
        #expect(try progress.take(answer(2, "[{\"Key\":\"a\"}]\n"))?.json == Array("{\"Key\":\"a\"}".utf8))
        #expect(throws: WatchFailure.self) { try progress.take(answer(2, "No cluster leader", status: 500)) }
    }

    @Test func eventsThatWereThereBeforeAreNone() throws {
        // An event's index is both halves of its id, laid upon each other.
        let old = "{\"ID\":\"00000000-0000-0001-0000-000000000004\",\"Name\":\"a\"}"
        let new = "{\"ID\":\"00000000-0000-0001-0000-000000000008\",\"Name\":\"a\",\"LTime\":7,\"Payload\":null}"
        var progress = WatchProgress(.event)
        #expect(try progress.take(answer(5, "[\(old)]")) == nil)
        let news = try #require(try progress.take(answer(9, "[\(old),\(new)]")))
        #expect(String(decoding: news.json, as: UTF8.self) == "[\(new)]")
    }

    @Test func failuresAreWaitedForLongerEachTime() throws {
        var progress = WatchProgress(.nodes)
        #expect(progress.fail() == .seconds(5) && progress.fail() == .seconds(10))
        for _ in 0..<100 { _ = progress.fail() }
        #expect(progress.fail() == .seconds(180))
        _ = try progress.take(answer(1, "[]"))
        #expect(progress.fail() == .seconds(5))
    }

    @Test func theLoopAsksBehindTheIndexThatItHasSeen() async {
        let asked = Asked()
        let loop = WatchLoop(
            watch {
                $0.kind = .service; $0.service = "web"; $0.passingOnly = true
            },
            ask: { target in
                let count = await asked.add(target)
                return answer(UInt64(count * 10), "[\(count)]")
            },
            handle: { index, json in index < 30 },
            complain: { _, _ in false })
        await loop.run()
        let route = "/v1/health/service/web?passing"
        #expect(await asked.all == [route, route + "&index=10", route + "&index=20"])
    }

    private actor Asked {
        private(set) var all: [String] = []
        func add(_ target: String) -> Int {
            self.all.append(target)
            return self.all.count
        }
    }
}

@Suite("Watch scripts")
struct WatchScriptTests {
    private func run(_ line: String, index: UInt64 = 7, _ json: String = "{\"a\":1}") async throws -> WatchScript.Result
    {
        try await WatchScript(["/bin/sh", "-c", line]).run(index: index, json: Array(json.utf8))
    }

    @Test func aScriptGetsTheAnswerOnStandardInputAndTheIndexInItsEnvironment() async throws {
        let result = try await self.run("cat; echo $CONSUL_INDEX; echo err >&2", index: 12)
        #expect(result.failure == nil)
        #expect(result.output == "{\"a\":1}\n12\nerr\n")
    }

    @Test func aScriptGetsNoneOfTheAgentsFiles() async throws {
        let file = open("/dev/null", O_RDONLY)
        defer { close(file) }
        // The fourth is the folder that is listed.
        #expect(try await self.run("ls /proc/self/fd").output == "0\n1\n2\n3\n")
    }

    @Test func anAnswerThatNobodyReadsHoldsNobodyUp() async throws {
        let large = String(repeating: "x", count: 4 << 20)
        #expect(try await self.run("exit 0", large).failure == nil)
        #expect(try await self.run("wc -c", large).output.contains("4194305"))
    }

    @Test func howAScriptEndsIsTold() async throws {
        #expect(try await self.run("exit 3").failure == "exit status 3")
        #expect(try await self.run("kill -9 $$").failure == "signal: killed")
        await #expect(throws: WatchFailure.self) {
            _ = try await WatchScript(["/nowhere/program"]).run(index: 1, json: [])
        }
    }

    @Test func onlyTheEndOfLongOutputIsKept() async throws {
        let result = try await self.run("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
        #expect(result.output.utf8.count == WatchScript.outputLimit && result.output.hasSuffix("line 2999\n"))
    }

    @Test("What a script leaves running with its output open is not waited for")
    func whatAScriptLeavesRunningIsNotWaitedFor() async throws {
        let start = ContinuousClock.now
        #expect(try await self.run("sleep 20 & echo started").output == "started\n")
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test(.timeLimit(.minutes(1))) func whatAScriptLeavesWritingForEverIsNotReadForEver() async throws {
        let result = try await self.run("yes & sleep 0.2; exit 3")
        #expect(result.failure == "exit status 3" && result.output.utf8.count == WatchScript.outputLimit)
    }

    @Test func cancellingEndsTheScriptAndWhatItHasStarted() async throws {
        let start = ContinuousClock.now
        let running = Task { try await self.run("sleep 30 | cat") }
        try await Task.sleep(nanoseconds: 200_000_000)
        running.cancel()
        #expect(try await running.value.failure == "signal: terminated")
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test func aScriptThatWillNotEndIsKilled() async throws {
        let mark = FileManager.default.temporaryDirectory.appendingPathComponent("serai-" + UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: mark) }
        let running = Task { try await self.run("trap '' TERM; touch \(mark); while :; do sleep 1; done") }
        for _ in 0..<600 where !FileManager.default.fileExists(atPath: mark) {
            try await Task.sleep(nanoseconds: 50_000_000)
        }
        running.cancel()
        #expect(try await running.value.failure == "signal: killed")
    }
}
