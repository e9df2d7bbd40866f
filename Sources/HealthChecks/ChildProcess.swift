import Synchronization
import Units

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Runs a program with a time limit, on a thread of its own: no task waits in a blocking call.
///
/// The program leads a process group, gets this process's environment and folder, nothing on its standard input, and
/// none of this process's open files. It has ended when it has exited and nobody holds its output open; when its time is
/// over before, the whole group is killed (SIGKILL, as Consul does).
enum ChildProcess {
    enum End: Sendable, Equatable {
        case exited(code: Int32)
        case killed(signal: Int32)
        case timedOut
        case notStarted(String)
    }

    struct Outcome: Sendable {
        var end: End
        /// Standard output and standard error, as they came.
        var output: OutputTail
    }

    /// Cancelling the task kills the group.
    static func run(_ arguments: [String], timeout: Nanoseconds, outputLimit: Int) async -> Outcome {
        let group = ProcessGroup()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let started = DetachedThread.start {
                    continuation.resume(returning: self.run(arguments, timeout, outputLimit, group))
                }
                if !started {
                    let end = End.notStarted("no thread to run \(arguments.first ?? "") on")
                    continuation.resume(returning: Outcome(end: end, output: OutputTail(limit: 0)))
                }
            }
        } onCancel: {
            group.cancel()
        }
    }

    private static func run(
        _ arguments: [String], _ timeout: Nanoseconds, _ outputLimit: Int, _ group: ProcessGroup
    ) -> Outcome {
        var output = OutputTail(limit: outputLimit)
        let deadline = ContinuousClock.now + .nanoseconds(Int64(clamping: timeout.rawValue))
        let spawned = group.start { Spawn.start(arguments) }
        guard case .success(let child) = spawned else {
            guard case .failure(let reason) = spawned else { return Outcome(end: .timedOut, output: output) }
            return Outcome(end: .notStarted(reason.text), output: output)
        }
        defer { close(child.output) }
        var isOver = self.collect(child.output, into: &output, until: deadline, group)
        if isOver { isOver = group.wait(until: deadline) }
        if !isOver {
            group.kill()
            // What it wrote last; others outside of its group may hold the pipe open for ever.
            _ = self.collect(child.output, into: &output, until: .now, group)
            group.waitForEnd()
            return Outcome(end: .timedOut, output: output)
        }
        // The lower seven bits are the signal that ended it; the next eight, its exit code (wait(2)).
        let status = group.status
        let signal = status & 0x7F
        return Outcome(end: signal == 0 ? .exited(code: (status >> 8) & 0xFF) : .killed(signal: signal), output: output)
    }

    /// True once nobody holds the writing end any more; false when the time is over before. What is there is read in any
    /// case.
    private static func collect(
        _ file: Int32, into output: inout OutputTail, until deadline: ContinuousClock.Instant, _ group: ProcessGroup
    ) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        // A pipe holds 64 KiB: that much may be there after the time is over. What is written still, is not waited for.
        var lateReads = 32
        while lateReads > 0 {
            let left = (deadline - .now) / .milliseconds(1)
            var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, left > 0 ? Int32(min(left.rounded(.up), 1000)) : 0)
            if ready > 0 {
                let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
                if count > 0 {
                    output.append(buffer[..<count])
                } else if count == 0 {
                    return true
                } else if errno != EINTR {
                    return false
                }
            } else if ready == 0, left <= 0 || group.isCancelled {
                return false
            }
            if left <= 0 { lateReads -= 1 }
        }
        return false
    }
}

/// A program's process group while it can be killed: its number is free for others once its leader has been waited for.
private final class ProcessGroup: Sendable {
    private struct State {
        var leader: pid_t?
        var isCancelled = false
        var status: Int32 = 0
    }

    private let state = Mutex(State())

    var isCancelled: Bool { self.state.withLock { $0.isCancelled } }
    /// Of the leader, once it was waited for.
    var status: Int32 { self.state.withLock { $0.status } }

    func start(_ spawn: () -> Result<Spawn.Child, Spawn.Failure>) -> Result<Spawn.Child, Spawn.Failure> {
        self.state.withLock { state in
            if state.isCancelled { return .failure(Spawn.Failure(text: "the check was stopped")) }
            let result = spawn()
            if case .success(let child) = result { state.leader = child.process }
            return result
        }
    }

    func cancel() {
        self.state.withLock { state in
            state.isCancelled = true
            if let leader = state.leader { killGroup(leader) }
        }
    }

    func kill() {
        self.state.withLock { state in
            if let leader = state.leader { killGroup(leader) }
        }
    }

    /// True once the leader has exited; false when the time is over before.
    func wait(until deadline: ContinuousClock.Instant) -> Bool {
        var pause: UInt32 = 500
        while true {
            if self.reap() { return true }
            if ContinuousClock.now >= deadline { return false }
            usleep(pause)
            pause = min(pause * 2, 50_000)
        }
    }

    /// After SIGKILL: soon, but for a process that hangs in the kernel. No second one is started beside it.
    func waitForEnd() { _ = self.wait(until: .now + .seconds(24 * 3600)) }

    private func reap() -> Bool {
        self.state.withLock { state in
            guard let leader = state.leader else { return true }
            var status: Int32 = 0
            let found = waitpid(leader, &status, WNOHANG)
            if found == 0 || (found < 0 && errno == EINTR) { return false }
            state.leader = nil
            state.status = status
            return true
        }
    }
}

private func killGroup(_ leader: pid_t) { _ = kill(-leader, SIGKILL) }

/// A thread that nobody waits for.
private enum DetachedThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// False when the system has no more threads to give.
    static func start(_ run: @escaping @Sendable () -> Void) -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let body = Unmanaged.passRetained(Body(run))
        #if canImport(Darwin)
        var thread: pthread_t?
        #else
        var thread = pthread_t()
        #endif
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                let pointer: UnsafeMutableRawPointer? = argument
                if let pointer { Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run() }
                return nil
            }, body.toOpaque())
        if result != 0 { body.release() }
        return result == 0
    }
}
