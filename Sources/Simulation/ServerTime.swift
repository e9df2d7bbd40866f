import Cluster
import Dispatch
import NIOCore
import Units

/// What one server process has to do later, in virtual time: its timers, and the tasks that are ready to go on. As on
/// real threads, a task that became ready goes on a little later, and other things come in between.
///
/// It ends with the process. Then everything that still waits goes on at once, finds that the process is over, and ends.
// Unchecked: a world, with all that lives in it, is on one thread.
final class ServerTime: @unchecked Sendable {
    private unowned let world: World
    private let node: (slot: Int, epoch: Int)
    private let clock: () -> Instant
    /// Its clock's seconds in one of the world's.
    private let rate: Double
    private var random: SimulationRandom
    private var due: [Int: () -> Void] = [:]
    private var last = 0
    private var jobs: [UnownedJob] = []
    private var jobsAreDue = false
    private(set) var isOver = false

    init(world: World, slot: Int, epoch: Int, rate: Double, seed: UInt64, clock: @escaping () -> Instant) {
        self.world = world
        self.node = (slot, epoch)
        self.rate = rate
        self.clock = clock
        self.random = SimulationRandom(seed: seed)
    }

    var now: Instant { self.clock() }

    func draw(_ max: UInt64) -> UInt64 { self.random.within(0...max) }

    /// How long what is ready waits for a thread.
    var hop: UInt64 { self.random.within(0...self.world.hop) }

    /// Does `body` after this much of the server's own time.
    /// - Returns: its number, to cancel it by.
    @discardableResult
    func later(_ time: Nanoseconds, _ body: @escaping () -> Void) -> Int {
        self.at(UInt64(Double(min(time.rawValue, 3_600 * SwarmOptions.second)) / self.rate) + 1, body)
    }

    /// Does `body` once a thread has time for it.
    func soon(_ body: @escaping () -> Void) { self.at(self.hop, body) }

    @discardableResult
    private func at(_ time: UInt64, _ body: @escaping () -> Void) -> Int {
        self.last += 1
        self.due[self.last] = body
        self.world.schedule(
            .later(slot: self.node.slot, epoch: self.node.epoch, work: self.last), at: self.world.now + time)
        return self.last
    }

    func cancel(_ number: Int) { self.due[number] = nil }

    /// The time of this number has come.
    func run(_ number: Int) { self.due.removeValue(forKey: number)?() }

    func enqueue(_ job: UnownedJob) {
        self.jobs.append(job)
        if self.isOver || self.jobsAreDue { return }
        self.jobsAreDue = true
        self.soon { self.runJobs() }
    }

    /// All that are ready, in order.
    private func runJobs() {
        self.jobsAreDue = false
        let ready = self.jobs
        self.jobs = []
        for job in ready { job.runSynchronously(on: self.executor) }
    }

    /// From here on nothing is asked and nothing said any more.
    func stop() { self.isOver = true }

    func end() {
        while let number = self.due.keys.min() { self.run(number) }
        while !self.jobs.isEmpty {
            self.jobs.removeFirst().runSynchronously(on: self.executor)
            while let number = self.due.keys.min() { self.run(number) }
        }
    }

    // MARK: - As the product's code wants it

    private(set) lazy var tasks = ServerExecutor(time: self)
    private var executor: UnownedTaskExecutor { self.tasks.asUnownedTaskExecutor() }
    private(set) lazy var loop = ServerLoop(time: self)

    var surroundings: ClusterSurroundings {
        ClusterSurroundings(
            now: { self.now }, pause: { try await self.pause($0) }, random: { self.draw($0) }, executor: self.tasks)
    }

    private func pause(_ time: Nanoseconds) async throws {
        if self.isOver || Task.isCancelled { throw CancellationError() }
        await withCheckedContinuation { continuation in _ = self.later(time) { continuation.resume() } }
        if self.isOver || Task.isCancelled { throw CancellationError() }
    }
}

/// The process's threads for tasks.
final class ServerExecutor: TaskExecutor {
    private unowned let time: ServerTime
    init(time: ServerTime) { self.time = time }
    func enqueue(_ job: consuming ExecutorJob) { self.time.enqueue(UnownedJob(job)) }
}

/// The process's event loop; the world's one thread is always on it.
final class ServerLoop: EventLoop {
    private unowned let time: ServerTime
    init(time: ServerTime) { self.time = time }

    var inEventLoop: Bool { true }
    func execute(_ task: @escaping @Sendable () -> Void) { self.time.soon(task) }

    func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        let passed = NIODeadline.uptimeNanoseconds(self.time.now.rawValue)
        return self.scheduleTask(in: deadline - passed, task)
    }

    func scheduleTask<T>(in amount: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        let promise = self.makePromise(of: T.self)
        let number = self.time.later(Nanoseconds(UInt64(max(0, amount.nanoseconds)))) {
            do { promise.assumeIsolated().succeed(try task()) } catch { promise.fail(error) }
        }
        return Scheduled(promise: promise, cancellationTask: { [time = self.time] in time.cancel(number) })
    }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        callback(nil)
    }
}
