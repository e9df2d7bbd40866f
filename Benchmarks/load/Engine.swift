import Histogram
import NIOCore
import NIOPosix

/// Drives the connections of one run, all on one event loop.
///
/// `@unchecked Sendable` is right: every property is touched on `loop` alone, and `run` hops there before it reads any.
final class Engine: @unchecked Sendable {
    let workload: Workload
    let plan: Plan
    let loop: any EventLoop

    enum Phase { case loading, warmup, measuring, over }
    private(set) var phase = Phase.loading
    private var nextPosition = 0
    private var loadedLeft = 0
    private var loadingInFlight = 0
    private var recorder = Recorder()
    private var connections: [Connection] = []
    private var finished: EventLoopPromise<Void>
    private var firstErrors: [String] = []

    init(workload: Workload, plan: Plan, loop: any EventLoop) {
        self.workload = workload
        self.plan = plan
        self.loop = loop
        self.finished = loop.makePromise()
    }

    func run() async throws -> Report {
        try await self.loop.submit { self.start() }.get()
        try await self.finished.futureResult.get()
        return try await self.loop.submit { self.report() }.get()
    }

    private func start() {
        // Gets need something to find: load it through the same connections first.
        self.loadedLeft = self.workload.operation == .put ? 0 : self.workload.keyCount ?? 0
        self.connections = (0..<self.plan.connections).map { index in
            Connection(engine: self, address: self.plan.addresses[index % self.plan.addresses.count])
        }
        if self.loadedLeft == 0 { self.beginWarmup() }
        for connection in self.connections { connection.open() }
    }

    private func beginWarmup() {
        self.phase = .warmup
        self.nextPosition = 0
        self.loop.scheduleTask(in: self.plan.warmup) { self.beginMeasuring() }
    }

    private func beginMeasuring() {
        self.phase = .measuring
        self.recorder.begin(at: .now())
        self.loop.scheduleTask(in: self.plan.measured) {
            self.recorder.end(at: .now())
            self.phase = .over
            for connection in self.connections { connection.close() }
            self.finished.succeed()
        }
    }

    /// What the next free connection asks; nil when it has to wait or is done.
    func nextAsk() -> Ask? {
        switch self.phase {
        case .loading:
            guard self.loadedLeft > 0 else { return nil }
            self.loadedLeft -= 1
            self.loadingInFlight += 1
            return .put(self.loadedLeft)
        case .warmup, .measuring:
            let number = self.workload.keyNumber(of: self.nextPosition)
            self.nextPosition += 1
            return self.workload.operation == .put ? .put(number) : .get(number)
        case .over:
            return nil
        }
    }

    func answered(_ ask: Ask, sentAt: NIODeadline, complaint: String?) {
        switch self.phase {
        case .loading:
            self.loadingInFlight -= 1
            if let complaint {
                self.finished.fail(WireError(text: "loading keys failed: \(complaint)"))
                self.phase = .over
            } else if self.loadedLeft == 0, self.loadingInFlight == 0 {
                self.beginWarmup()
                for connection in self.connections { connection.goOn() }
            }
        case .warmup, .over:
            break
        case .measuring:
            if let complaint { return self.failed(complaint) }
            self.recorder.record(sentAt: sentAt, now: .now())
        }
    }

    /// A request that was under way, or a connection, broke.
    func failed(_ text: String) {
        if self.firstErrors.count < 5, !self.firstErrors.contains(text) { self.firstErrors.append(text) }
        switch self.phase {
        case .loading:
            self.finished.fail(WireError(text: text))
            self.phase = .over
        case .measuring: self.recorder.errors += 1
        case .warmup, .over: break
        }
    }

    private func report() -> Report {
        Report(workload: self.workload, plan: self.plan, recorder: self.recorder, firstErrors: self.firstErrors)
    }
}

/// What is counted while it counts.
struct Recorder {
    private(set) var latency = Histogram<UInt64>(
        highestTrackableValue: 100_000_000_000, numberOfSignificantValueDigits: .three)
    private(set) var perSecond: [Int] = []
    private(set) var longestGap: Int64 = 0
    var errors = 0
    private var begun = NIODeadline.uptimeNanoseconds(0)
    private var ended = NIODeadline.uptimeNanoseconds(0)
    private var lastAnswer = NIODeadline.uptimeNanoseconds(0)

    mutating func begin(at now: NIODeadline) {
        self.begun = now
        self.lastAnswer = now
    }

    mutating func end(at now: NIODeadline) {
        self.ended = now
        self.longestGap = max(self.longestGap, (now - self.lastAnswer).nanoseconds)
    }

    mutating func record(sentAt: NIODeadline, now: NIODeadline) {
        _ = self.latency.record(UInt64(max(1, (now - sentAt).nanoseconds)))
        self.longestGap = max(self.longestGap, (now - self.lastAnswer).nanoseconds)
        self.lastAnswer = now
        let second = Int((now - self.begun).nanoseconds / 1_000_000_000)
        while self.perSecond.count <= second { self.perSecond.append(0) }
        self.perSecond[second] += 1
    }

    var operations: Int { Int(self.latency.totalCount) }
    var seconds: Double { Double((self.ended - self.begun).nanoseconds) / 1e9 }
}
