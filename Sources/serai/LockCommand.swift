import ArgumentParser
import Foundation
import Units

struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock", abstract: "Runs a command while a lock is held",
        usage: "\(Serai.programName) lock [flags] PREFIX COMMAND…",
        discussion: """
            Takes the lock PREFIX/.lock, or with -n a place in the semaphore under PREFIX, and runs COMMAND; gives it up \
            when COMMAND ends. When the lock is lost, COMMAND and all that it started get SIGTERM, and SIGKILL five \
            seconds later.

            COMMAND finds in its environment: CONSUL_LOCK_HELD=true; SERAI_LOCK_KEY and SERAI_LOCK_SESSION; \
            SERAI_LOCK_FENCE, a number that is greater for every later holder, to hand to whatever the lock protects so \
            that it can turn away a holder that is late; SERAI_LOCK_INDEX, the key's LockIndex.

            Exit status: 0; 1 when the lock can't be had or was lost; 2 when COMMAND failed, with -child-exit-code.
            """)

    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("child-exit-code"), help: "Exit with 2 when the command fails.") var childExitCode = false
    @Option(
        name: .customLong("monitor-retry"),
        help: .init("Failures in a row, a second apart, that are tried again.", valueName: "count"))
    var retries = 3
    @Option(
        name: .customLong("n"),
        help: .init("How many may hold it at once; more than 1 is a semaphore.", valueName: "count"))
    var limit = 1
    @Option(name: .customLong("name"), help: .init("The session's name.", valueName: "name")) var name = ""
    @Flag(name: .customLong("pass-stdin"), help: "Pass standard input on to the command.") var passInput = false
    @Option(
        name: .customLong("session-ttl"),
        help: .init("The session lives this long without renewal.", valueName: "duration"))
    var ttl = "15s"
    @Flag(
        name: .customLong("shell"), inversion: .prefixedNo,
        help: "Run the command by $SHELL -c (the default), or with -shell=false directly.")
    var shell = true
    @Option(
        name: .customLong("timeout"),
        help: .init("Wait for the lock this long; 0 is for ever.", valueName: "duration"))
    var timeout = "0"
    @Option(name: .customLong("try"), help: .init("The same as -timeout.", valueName: "duration")) var attempt: String?
    @Flag(name: .customLong("verbose"), help: "Tell each step.") var verbose = false
    @Argument(help: .init("Prefix of the lock's keys, and the command.", valueName: "prefix and command"))
    var arguments: [String] = []

    func run() async throws {
        guard self.arguments.count > 1 else {
            throw CommandFailure("Key prefix and child command must be specified")
        }
        guard self.limit > 0 else { throw CommandFailure("Lock holder limit must be positive") }
        guard self.retries >= 0 else { throw CommandFailure("Number for '-monitor-retry' must be >= 0") }
        let patience = try self.patience()
        let client = try self.api.client()
        let prefix = self.arguments[0].split(separator: "/").joined(separator: "/")
        self.tell(
            self.limit == 1
                ? "Setting up lock at path: \(Self.key(prefix, ".lock"))"
                : "Setting up semaphore (limit \(self.limit)) at prefix: \(prefix)")
        let (events, sender) = AsyncStream.makeStream(of: LockEvent.self)
        let signals = Signals { sender.yield(.signal($0)) }
        defer { withExtendedLifetime(signals) {} }
        let command = self.arguments.dropFirst().joined(separator: " ")
        let session = try await LockSession.create(
            client, name: self.name.isEmpty ? "Consul lock for '\(command)' at '\(prefix)'" : self.name, ttl: self.ttl,
            behavior: self.limit == 1 ? "release" : "delete")
        let store = LockStore(client: client, session: session.id, retries: self.retries)
        let holder: any LockHolder =
            self.limit == 1
            ? KeyLock(store: store, key: Self.key(prefix, ".lock"))
            : Semaphore(store: store, prefix: prefix, limit: self.limit)
        let watched = LockedRun(command: self, holder: holder, events: sender, iterator: events.makeAsyncIterator())
        let renewal = Task { sender.yield(.lost(await session.keptAlive())) }
        do {
            try await watched.run(patience)
        } catch {
            renewal.cancel()
            await session.destroy()
            throw error
        }
        renewal.cancel()
        await session.destroy()
    }

    private static func key(_ prefix: String, _ name: String) -> String { prefix.isEmpty ? name : prefix + "/" + name }

    /// How long to wait for the lock; nil for ever.
    private func patience() throws -> Duration? {
        let text = self.attempt ?? self.timeout
        guard let time = GoDuration.parse(text) else {
            throw CommandFailure(
                "invalid value \"\(text)\" for flag -\(self.attempt == nil ? "timeout" : "try"): a duration such as 10s"
            )
        }
        if self.attempt != nil, time == .zero { throw CommandFailure("Timeout must be positive") }
        return time == .zero ? nil : .nanoseconds(Int64(clamping: time.rawValue))
    }

    func tell(_ text: String) {
        if self.verbose { Output.line(text) }
    }

    func start(_ grant: LockGrant) throws -> ChildProcess {
        let words = Array(self.arguments.dropFirst())
        return try ChildProcess.start(
            self.shell ? ChildProcess.shell(words) : words, more: grant.environment, takesInput: self.passInput)
    }
}

/// What a command under a lock lives through, in the order in which it happens.
enum LockEvent: Sendable {
    case acquired(LockGrant)
    case refused(String)
    /// -timeout is over.
    case late
    case signal(Int32)
    case lost(String)
    case childEnded
    /// Time is up for a child that was told to end: the next, harder signal is due.
    case due(Int32)
}

/// From the wait for the lock to its release.
final class LockedRun {
    private let command: LockCommand
    private let holder: any LockHolder
    private let events: AsyncStream<LockEvent>.Continuation
    private var iterator: AsyncStream<LockEvent>.Iterator
    private var tasks: [Task<Void, Never>] = []

    private static let grace = 5

    init(
        command: LockCommand, holder: any LockHolder, events: AsyncStream<LockEvent>.Continuation,
        iterator: AsyncStream<LockEvent>.Iterator
    ) {
        self.command = command
        self.holder = holder
        self.events = events
        self.iterator = iterator
    }

    func run(_ patience: Duration?) async throws {
        defer { self.tasks.forEach { $0.cancel() } }
        let grant = try await self.acquire(patience)
        let (holder, events, retries) = (self.holder, self.events, self.command.retries)
        self.spawn { events.yield(.lost(await holder.loss(retries: retries))) }
        var failed = true
        var loss: String?
        self.command.tell("Starting handler")
        do {
            (failed, loss) = try await self.accompany(try self.command.start(grant))
        } catch let failure as CommandFailure {
            Output.error(failure.text)
        }
        // What is lost is another's to release.
        if loss == nil { try await self.release() } else { self.command.tell("Cleanup aborted, lock lost") }
        if let loss { throw CommandFailure("Lock lost: \(loss)") }
        if failed, self.command.childExitCode { throw CommandFailure("", code: 2) }
    }

    private func spawn(_ body: @escaping @Sendable () async -> Void) { self.tasks.append(Task { await body() }) }

    private func next() async -> LockEvent? { await self.iterator.next() }

    private func acquire(_ patience: Duration?) async throws -> LockGrant {
        self.command.tell("Attempting lock acquisition")
        let (holder, events) = (self.holder, self.events)
        self.spawn {
            do {
                events.yield(.acquired(try await holder.acquire()))
            } catch {
                events.yield(.refused((error as? CommandFailure)?.text ?? "\(error)"))
            }
        }
        if let patience {
            self.spawn {
                try? await Task.sleep(for: patience)
                events.yield(.late)
            }
        }
        switch await self.next() {
        case .acquired(let grant): return grant
        case .refused(let text): throw CommandFailure("Lock acquisition failed: \(text)")
        case .lost(let text): throw CommandFailure("Lock acquisition failed: \(text)")
        case .late, .signal, .childEnded, .due, nil:
            throw CommandFailure("Shutdown triggered or timeout during lock acquisition")
        }
    }

    /// Until the child has ended: whether it failed, and why the lock was lost if it was.
    private func accompany(_ child: ChildProcess) async throws -> (failed: Bool, loss: String?) {
        let events = self.events
        child.whenEnded { events.yield(.childEnded) }
        var loss: String?
        var isEnding = false
        while let event = await self.next() {
            switch event {
            case .childEnded:
                // What it started must not go on without the lock; a free command may leave something behind.
                if loss != nil { child.send(SIGKILL) }
                let ending = child.collect()
                if ending != .code(0) { Output.error("Error running handler: \(ending.text)") }
                self.command.tell(isEnding ? "Child terminated" : "Child terminated, releasing lock")
                return (ending != .code(0), loss)
            case .signal(let signal):
                self.command.tell("Shutdown triggered, killing child")
                // Asked a second time: now.
                self.end(child, by: isEnding ? SIGKILL : signal, again: isEnding)
                isEnding = true
            case .lost(let why):
                if loss != nil { continue }
                loss = why
                self.command.tell("Lock lost, killing child")
                self.end(child, by: SIGTERM, again: isEnding)
                isEnding = true
            case .due(let signal):
                if signal == SIGKILL {
                    self.command.tell("Child did not exit after grace period of \(Self.grace)s")
                    self.command.tell("Killing child pid \(child.pid)")
                }
                child.send(signal)
            case .acquired, .refused, .late:
                continue
            }
        }
        return (true, loss)
    }

    private func end(_ child: ChildProcess, by signal: Int32, again: Bool) {
        self.command.tell("Terminating child pid \(child.pid)")
        child.send(signal)
        if again { return }
        let events = self.events
        if signal != SIGTERM {
            self.spawn {
                try? await Task.sleep(for: .seconds(1))
                events.yield(.due(SIGTERM))
            }
        }
        self.spawn {
            try? await Task.sleep(for: .seconds(Self.grace))
            events.yield(.due(SIGKILL))
        }
    }

    private func release() async throws {
        do {
            try await self.holder.release()
        } catch {
            throw CommandFailure("Lock release failed: \((error as? CommandFailure)?.text ?? "\(error)")")
        }
        do {
            let gone = try await self.holder.cleanUp()
            self.command.tell(gone ? "Cleanup succeeded" : "Cleanup aborted, lock in use")
        } catch {
            throw CommandFailure("Lock cleanup failed: \((error as? CommandFailure)?.text ?? "\(error)")")
        }
    }
}
