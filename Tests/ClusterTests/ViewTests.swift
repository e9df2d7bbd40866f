import Cluster
import Logging
import NIOPosix
import Protocol
import Registry
import Synchronization
import Testing
import Units

/// A state that grows, and a board over it, asked as an agent asks a server.
private final class Source: Sendable {
    struct State {
        var registry = Registry()
        var refusal: (code: UInt32, text: String)?
        var isCutOff = false
        /// The next differences are spoilt.
        var isLying = false
        var questions: [PeerViewRequest] = []
        var whole = 0
    }

    let state = Mutex(State())
    let board: ViewBoard

    init(_ settings: ViewBoard.Settings = .init()) { self.board = ViewBoard(settings: settings) }

    var registry: Registry { self.state.withLock { $0.registry } }

    func put(_ key: String, _ value: String) {
        self.state.withLock { state in
            var envelope = LogEnvelope()
            envelope.format = 1
            envelope.command.kvPut.key = .init(key.utf8)
            envelope.command.kvPut.value = .init(value.utf8)
            _ = try? state.registry.apply(envelope, at: state.registry.appliedIndex.next, term: Term(1))
        }
    }

    func ask(_ request: PeerRequest) async throws(ClusterError) -> PeerResponse {
        let view = request.view
        self.state.withLock { $0.questions.append(view) }
        let end = SystemClock.now() + .milliseconds(UInt64(view.waitMs))
        guard let topic = ViewTopic(kind: view.kind, key: Array(view.key)) else { return .failure(400, "unknown") }
        while true {
            let (registry, refusal, isCutOff) = self.state.withLock { ($0.registry, $0.refusal, $0.isCutOff) }
            if isCutOff { throw .noServers }
            if let refusal { return .failure(refusal.code, refusal.text) }
            let version = await self.board.version(of: topic, in: registry)
            var response = PeerResponse()
            response.view.applied = registry.appliedIndex.rawValue
            response.view.knownLeader = true
            if version.digest != Array(view.digest) || version.part.index != view.index {
                let bytes = await self.board.difference(to: version, of: topic, from: Array(view.digest))
                guard let bytes else { return .failure(413, "too large") }
                let isLying = self.state.withLock { state in
                    state.whole += view.digest.isEmpty ? 1 : 0
                    return state.isLying
                }
                response.view.difference = .init(bytes)
                response.view.digest = isLying ? .init([1]) : .init(version.digest)
                response.view.index = version.part.index
                return response
            }
            if SystemClock.now() >= end || Task.isCancelled { return response }
            try? await Task.sleep(nanoseconds: 1_000_000)
        }
    }
}

extension PeerResponse {
    fileprivate static func failure(_ code: UInt32, _ text: String) -> PeerResponse {
        var response = PeerResponse()
        response.error = text
        response.errorCode = code
        return response
    }
}

@Suite struct ViewTests {
    private let topic = ViewTopic.keys(ByteKey("a/"))

    private func views(of source: Source, _ change: (inout ViewSettings) -> Void = { _ in }) -> AgentViews {
        var settings = ViewSettings()
        change(&settings)
        let views = AgentViews(
            settings, group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        views.start { request, _ async throws(ClusterError) in try await source.ask(request) }
        return views
    }

    private func values(_ view: ReadView, _ prefix: String = "a/") -> [String] {
        view.registry.kvEntries(prefix: ByteKey(prefix)).value.map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// Asks until the view holds these values.
    private func await(_ expected: [String], in views: AgentViews, _ topic: ViewTopic) async throws {
        for _ in 0..<5000 {
            if self.values(try await views.view(of: topic, timeout: .seconds(2)).view) == expected { return }
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        Issue.record("the view never held \(expected)")
    }

    @Test func theFirstQuestionBringsTheRowsAndLaterOnesFindThem() async throws {
        let source = Source()
        source.put("a/1", "one")
        source.put("b/1", "other")
        let views = self.views(of: source)
        defer { views.stop() }
        let first = try await views.view(of: self.topic, timeout: .seconds(5))
        #expect(!first.wasThere && self.values(first.view) == ["one"])
        #expect(first.view.registry.kvEntry(ByteKey("b/1")).value == nil)
        let second = try await views.view(of: self.topic, timeout: .seconds(5))
        #expect(second.wasThere && second.view.knownLeader)
        #expect(views.size.views == 1 && views.size.bytes > 0)
    }

    @Test func aChangeComesAsADifferenceAndWakesWhoWaits() async throws {
        let source = Source()
        source.put("a/1", "one")
        let views = self.views(of: source)
        defer { views.stop() }
        let topic = self.topic
        let seen = try await views.view(of: topic, timeout: .seconds(5)).view
        let waiting = Task {
            try await views.waitForChange(of: topic, after: seen.registry.appliedIndex, timeout: .seconds(60))
        }
        source.put("a/2", "two")
        try await waiting.value
        try await self.await(["one", "two"], in: views, topic)
        #expect(source.state.withLock { $0.whole } == 1)
    }

    @Test func aViewAnswersWithoutAServerAndSaysHowOldItIs() async throws {
        let source = Source()
        source.put("a/1", "one")
        let views = self.views(of: source) { $0.wait = .milliseconds(20) }
        defer { views.stop() }
        _ = try await views.view(of: self.topic, timeout: .seconds(5))
        source.state.withLock { $0.isCutOff = true }
        source.put("a/1", "unseen")
        try await Task.sleep(nanoseconds: 300_000_000)
        let old = try await views.view(of: self.topic, timeout: .seconds(5)).view
        #expect(self.values(old) == ["one"] && old.lastContact > .milliseconds(150))
        source.state.withLock { $0.isCutOff = false }
        try await self.await(["unseen"], in: views, self.topic)
    }

    @Test func withoutAServerTheFirstQuestionFailsSoon() async {
        let source = Source()
        source.state.withLock { $0.isCutOff = true }
        let views = self.views(of: source) { $0.firstTime = .milliseconds(100) }
        defer { views.stop() }
        await #expect(throws: ClusterError.noServers) { try await views.view(of: self.topic, timeout: .seconds(60)) }
    }

    @Test func whatAServerCantTellIsRefusedAtOnceAndForAWhile() async {
        let source = Source()
        source.state.withLock { $0.refusal = (400, "unknown request") }
        let views = self.views(of: source)
        defer { views.stop() }
        for _ in 0..<2 {
            await #expect(throws: ClusterError.refused(status: 400, text: "unknown request")) {
                try await views.view(of: self.topic, timeout: .seconds(60))
            }
        }
    }

    @Test func rowsThatAreNotWhatTheServerSaysAreNeverShown() async {
        let source = Source()
        source.put("a/1", "one")
        source.state.withLock { $0.isLying = true }
        let views = self.views(of: source)
        defer { views.stop() }
        await #expect(throws: ClusterError.self) { try await views.view(of: self.topic, timeout: .seconds(60)) }
        #expect(source.state.withLock { $0.questions }.count >= 2)
    }

    @Test func whatWasUsedLeastRecentlyGoesWhenThereIsNoRoom() async throws {
        let source = Source()
        for name in ["a", "b", "c"] { source.put("\(name)/1", String(repeating: "x", count: 1000)) }
        let views = self.views(of: source) { $0.bytesMax = ByteCount(2500) }
        defer { views.stop() }
        for name in ["a", "b", "a", "c"] {
            let found = try await views.view(of: .keys(ByteKey("\(name)/")), timeout: .seconds(5))
            #expect(self.values(found.view, "\(name)/").count == 1)
        }
        #expect(views.size.views == 2)
        #expect(try await views.view(of: .keys(ByteKey("a/")), timeout: .seconds(5)).wasThere)
        #expect(try await !views.view(of: .keys(ByteKey("b/")), timeout: .seconds(5)).wasThere)
    }

    @Test func aViewThatNobodyAsksForIsGivenUp() async throws {
        let source = Source()
        let views = self.views(of: source) { ($0.idleTime, $0.wait) = (.milliseconds(50), .milliseconds(10)) }
        defer { views.stop() }
        source.put("a/1", "one")
        _ = try await views.view(of: self.topic, timeout: .seconds(5))
        for _ in 0..<5000 where views.size.views > 0 { try await Task.sleep(nanoseconds: 1_000_000) }
        #expect(views.size.views == 0)
    }

    @Test func anotherServerIsAskedAnew() async throws {
        let source = Source()
        source.put("a/1", "one")
        let views = self.views(of: source)
        defer { views.stop() }
        _ = try await views.view(of: self.topic, timeout: .seconds(5))
        for _ in 0..<5000 where source.state.withLock({ $0.questions.count }) < 2 {
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        views.serverChanged()
        for _ in 0..<5000 where source.state.withLock({ $0.questions.count }) < 3 {
            try await Task.sleep(nanoseconds: 1_000_000)
        }
        let questions = source.state.withLock { $0.questions }
        #expect(questions.count >= 3 && questions.last?.digest.isEmpty == false)
    }

    @Test func aBoardKeepsNoMoreRowsThanItMay() async {
        var settings = ViewBoard.Settings()
        settings.rowsMax = 10
        let source = Source(settings)
        for number in 0..<8 {
            for name in ["a", "b", "c"] { source.put("\(name)/\(number)", "x") }
        }
        for name in ["a", "b", "c"] {
            let version = await source.board.version(of: .keys(ByteKey("\(name)/")), in: source.registry)
            #expect(version.part.rowCount == 8)
            #expect(await source.board.rows <= 10)
        }
    }

    @Test func fromAVersionThatIsKnownOnlyTheDifferenceIsSent() async throws {
        let source = Source()
        for number in 0..<50 { source.put("a/\(number)", String(repeating: "x", count: 100)) }
        let old = await source.board.version(of: self.topic, in: source.registry)
        source.put("a/0", "y")
        let new = await source.board.version(of: self.topic, in: source.registry)
        let short = try #require(await source.board.difference(to: new, of: self.topic, from: old.digest))
        let whole = try #require(await source.board.difference(to: new, of: self.topic, from: [1, 2, 3]))
        #expect(short.count < 300 && whole.count > 5000)
        var rows = PartialRegistry()
        try rows.take(whole)
        #expect(rows.digest == new.digest)
    }
}
