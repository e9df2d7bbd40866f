import Agent
import HTTPAPI
import Logging
import NIOCore
import Testing

/// The log, read over the API while it is written.
@Suite struct LogFollowersTests {
    let followers = LogFollowers()

    private func tell(_ level: Logger.Level, _ text: String) {
        self.followers.tell(level) { $0 ? "{\(text)}" : text }
    }

    private func text(_ follower: Follower) async -> String? {
        await follower.next().map { String(buffer: $0) }
    }

    @Test func aFollowerGetsItsLevelAndAbove() async throws {
        let info = try #require(self.followers.follow(.info, asJSON: false))
        let trace = try #require(self.followers.follow(.trace, asJSON: true))
        self.tell(.debug, "a")
        self.tell(.info, "b")
        self.tell(.error, "c")
        #expect(await self.text(info) == "b\nc\n")
        #expect(await self.text(trace) == "{a}\n{b}\n{c}\n")
    }

    @Test func theLowestLevelIsKnownAndForgotten() throws {
        #expect(self.followers.level == nil)
        let warning = try #require(self.followers.follow(.warning, asJSON: false))
        do {
            let debug = try #require(self.followers.follow(.debug, asJSON: false))
            #expect(self.followers.level == .debug)
            withExtendedLifetime(debug) {}
        }
        #expect(self.followers.level == .warning)
        withExtendedLifetime(warning) {}
    }

    @Test func aSlowReaderMissesLinesAndIsTold() async throws {
        let follower = try #require(self.followers.follow(.info, asJSON: false))
        let line = String(repeating: "x", count: 1023)
        for _ in 0..<300 { self.tell(.info, line) }
        let first = try #require(await follower.next())
        #expect(first.readableBytes <= Follower.mostBytes + 100)
        #expect(String(buffer: first).hasSuffix("\n[WARN]  monitor: lines were missed: count=44\n"))
        self.tell(.info, "again")
        #expect(await self.text(follower) == "again\n")
    }

    @Test func aCancelledReaderIsLetGo() async throws {
        let follower = try #require(self.followers.follow(.info, asJSON: false))
        let reading = Task { await follower.next() }
        reading.cancel()
        #expect(await reading.value == nil)
    }

    @Test func onlySoManyFollow() throws {
        var all: [Follower] = []
        for _ in 0..<LogFollowers.most { all.append(try #require(self.followers.follow(.info, asJSON: false))) }
        #expect(self.followers.follow(.info, asJSON: false) == nil)
        all.removeLast()
        #expect(self.followers.follow(.info, asJSON: false) != nil)
    }

    @Test func theMachineIsDescribed() throws {
        guard case .object(let fields) = HostFacts("/").json else {
            Issue.record("not an object")
            return
        }
        #expect(fields.map(\.name) == ["Memory", "CPU", "Host", "Disk", "CollectionTime", "Errors"])
        #expect(fields.last?.value == .null)
        guard case .object(let memory)? = fields.first?.value else {
            Issue.record("no memory")
            return
        }
        for name in ["total", "available", "free"] {
            guard case .number(let text)? = memory.first(where: { $0.name == name })?.value else {
                Issue.record("\(name) is missing")
                continue
            }
            #expect(UInt64(text) ?? 0 > 1 << 20)
        }
    }

    @Test func aPlaceThatCannotBeReadIsNamed() {
        guard case .object(let fields) = HostFacts("/nowhere").json else { return }
        #expect(fields.last?.value == .array([.string("Disk could not be read")]))
    }
}
