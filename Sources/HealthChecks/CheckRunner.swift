import Logging
import NIOCore
import NIOPosix
import Synchronization
import Units

/// Runs one check in a task of its own until it is stopped: probe, report, wait the interval, again. A probe never
/// outlasts its timeout, and two of one check never overlap.
///
/// Reports go to `sink`, one after another; the runner waits for each, so a slow sink slows the check and nothing
/// queues up. A result that the thresholds hold back is not reported.
public final class CheckRunner: Sendable {
    public let plan: CheckPlan
    public let run: UInt64
    private let firstDelay: Nanoseconds
    private let group: any EventLoopGroup
    private let logger: Logger
    private let sink: @Sendable (CheckReport) async -> Void
    private let state = Mutex(State.new)

    private enum State {
        case new
        case running(Task<Void, Never>)
        case stopped
    }

    /// - Parameters:
    ///   - run: handed back in each report.
    ///   - firstDelay: before the first probe; owners draw it from 0 ..< interval so that the checks of a starting
    ///     agent spread out.
    public init(
        plan: CheckPlan, run: UInt64, firstDelay: Nanoseconds,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger, sink: @escaping @Sendable (CheckReport) async -> Void
    ) {
        self.plan = plan
        self.run = run
        self.firstDelay = firstDelay
        self.group = group
        self.logger = logger
        self.sink = sink
    }

    deinit {
        self.stop()
    }

    /// Starts the task; has no effect after the first call.
    public func start() {
        self.state.withLock { state in
            guard case .new = state else { return }
            let plan = self.plan
            let run = self.run
            let delay = self.firstDelay
            let group = self.group
            let logger = self.logger
            let sink = self.sink
            state = .running(
                Task {
                    if case .ttl(let remaining, let lastOutput) = plan.kind {
                        await CheckRunner.expire(
                            plan: plan, run: run, remaining: remaining, lastOutput: lastOutput, sink: sink)
                    } else if let prober = plan.prober(group: group) {
                        await CheckRunner.poll(
                            plan: plan, run: run, delay: delay, logger: logger, sink: sink, prober)
                        await prober.close()
                    }
                })
        }
    }

    /// Ends the task soon. A report under way may still reach the sink: its `run` tells.
    public func stop() {
        let task = self.state.withLock { state -> Task<Void, Never>? in
            defer { state = .stopped }
            guard case .running(let task) = state else { return nil }
            return task
        }
        task?.cancel()
    }

    private static func expire(
        plan: CheckPlan, run: UInt64, remaining: Nanoseconds, lastOutput: String,
        sink: @Sendable (CheckReport) async -> Void
    ) async {
        guard await CheckRunner.sleep(remaining) else { return }
        let output =
            lastOutput.isEmpty
            ? "TTL expired" : "TTL expired (last output before timeout follows): \(lastOutput)"
        await sink(CheckReport(id: plan.id, run: run, status: .critical, output: output))
    }

    private static func poll(
        plan: CheckPlan, run: UInt64, delay: Nanoseconds, logger: Logger, sink: @Sendable (CheckReport) async -> Void,
        _ prober: any Prober
    ) async {
        var machine = CheckStatusMachine(
            successBeforePassing: plan.successBeforePassing, failuresBeforeWarning: plan.failuresBeforeWarning,
            failuresBeforeCritical: plan.failuresBeforeCritical)
        guard await CheckRunner.sleep(delay) else { return }
        while !Task.isCancelled {
            let result = await prober.probe()
            if Task.isCancelled { return }
            if let status = machine.record(result.status) {
                await sink(CheckReport(id: plan.id, run: run, status: status, output: result.output))
            } else {
                logger.debug(
                    "check result held back by its threshold",
                    metadata: ["check": "\(plan.id)", "result": "\(result.status.rawValue)"])
            }
            guard await CheckRunner.sleep(plan.interval) else { return }
        }
    }

    /// False when the task was cancelled meanwhile.
    private static func sleep(_ duration: Nanoseconds) async -> Bool {
        do {
            try await Task.sleep(nanoseconds: min(duration.rawValue, UInt64(Int64.max)))
            return true
        } catch {
            return false
        }
    }
}

/// Asks one target, again and again.
protocol Prober: Sendable {
    /// Takes no longer than the plan's timeout, but for the little time that an end needs.
    func probe() async -> ProbeResult
    /// Frees what it keeps between probes.
    func close() async
}

extension Prober {
    func close() async {}
}

extension CheckPlan {
    /// Nil for a TTL check: nothing is asked.
    fileprivate func prober(group: any EventLoopGroup) -> (any Prober)? {
        switch self.kind {
        case .http(let probe): HTTPProber(probe: probe, plan: self, group: group)
        case .tcp(let probe): TCPProber(probe: probe, plan: self, group: group)
        case .udp(let probe): UDPProber(probe: probe, plan: self, group: group)
        case .grpc(let probe): GRPCProber(probe: probe, plan: self, group: group)
        case .h2ping(let probe): H2PingProber(probe: probe, plan: self, group: group)
        case .script(let probe): ScriptProber(probe: probe, plan: self)
        case .osService(let probe): OSServiceProber(probe: probe, plan: self)
        case .docker(let probe): DockerProber(probe: probe, plan: self, group: group)
        case .ttl: nil
        }
    }
}

/// One probe's outcome, before the thresholds.
struct ProbeResult: Sendable, Equatable {
    var status: HealthStatus
    var output: String
}

/// A probe ran out of its time.
struct ProbeTimedOut: Error {}

/// Runs `operation` for at most `timeout`; a late one is cancelled, and what it still returns is dropped.
func withProbeDeadline<Value: Sendable>(
    _ timeout: Nanoseconds, _ operation: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await operation() }
        group.addTask {
            try await Task.sleep(nanoseconds: min(timeout.rawValue, UInt64(Int64.max)))
            throw ProbeTimedOut()
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw ProbeTimedOut() }
        return first
    }
}

extension Nanoseconds {
    var timeAmount: TimeAmount { .nanoseconds(Int64(clamping: self.rawValue)) }
}
