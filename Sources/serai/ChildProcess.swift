import Foundation

/// A command of the user's in a process group of its own, so that all it started can be told to end.
struct ChildProcess: Sendable {
    let pid: pid_t
    /// The terminal is the child's for as long as it runs.
    private let tookTerminal: Bool

    enum Ending: Sendable, Equatable {
        case code(Int32)
        case signal(Int32)

        /// As Go says it.
        var text: String {
            switch self {
            case .code(let code): "exit status \(code)"
            case .signal(let signal): "signal: " + String(cString: strsignal(signal)).lowercased()
            }
        }
    }

    /// The words of `$SHELL -c LINE`, as Consul runs commands.
    static func shell(_ words: [String]) -> [String] {
        let shell = ProcessInfo.processInfo.environment["SHELL"] ?? ""
        return [shell.isEmpty ? "/bin/sh" : shell, "-c", words.joined(separator: " ")]
    }

    /// - Parameters:
    ///   - more: variables beside those of this process.
    ///   - takesInput: whether standard input is passed on; nothing is to be read there otherwise.
    static func start(_ words: [String], more: [String: String], takesInput: Bool) throws -> ChildProcess {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if !takesInput { posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        self.prepare(&attributes)
        let environment = ProcessInfo.processInfo.environment.merging(more) { _, new in new }
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, words[0], &actions, &attributes, &arguments, &variables)
        guard failure == 0 else {
            let reason =
                failure == ENOENT
                ? "executable file not found in $PATH" : String(cString: strerror(failure)).lowercased()
            throw CommandFailure("Error starting handler: exec: \"\(words[0])\": \(reason)")
        }
        return ChildProcess(pid: pid, tookTerminal: takesInput && self.giveTerminal(to: pid))
    }

    /// Signals as a fresh process has them, and a group of its own.
    private static func prepare(_ attributes: inout posix_spawnattr_t) {
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        var fresh = sigset_t()
        sigemptyset(&fresh)
        for signal in Signals.watched + [SIGPIPE, SIGTTOU] { sigaddset(&fresh, signal) }
        posix_spawnattr_setsigdefault(&attributes, &fresh)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
    }

    private static func giveTerminal(to group: pid_t) -> Bool {
        guard isatty(0) == 1, tcgetpgrp(0) == getpgrp() else { return false }
        _ = Glibc.signal(SIGTTOU, SIG_IGN)
        guard tcsetpgrp(0, group) == 0 else { return false }
        // It may have tried to read before the terminal was its own.
        _ = kill(-group, SIGCONT)
        return true
    }

    func send(_ signal: Int32) { _ = kill(-self.pid, signal) }

    /// Calls `body` when the child has ended, which still has to be collected.
    func whenEnded(_ body: @escaping @Sendable () -> Void) {
        let pid = self.pid
        Thread.detachNewThread {
            var info = siginfo_t()
            while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) == -1, errno == EINTR {}
            body()
        }
    }

    /// How a child ended that has ended. Its process id is free from here on.
    func collect() -> Ending {
        var status: Int32 = 0
        while waitpid(self.pid, &status, 0) == -1, errno == EINTR {}
        if self.tookTerminal { _ = tcsetpgrp(0, getpgrp()) }
        let signal = status & 0x7f
        return signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
    }
}

/// Signals that ask this process to end, as something that can be waited for.
final class Signals: Sendable {
    static let watched = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
    // Dispatch's sources are safe to cancel from anywhere, but its types don't say so.
    private nonisolated(unsafe) let sources: [any DispatchSourceSignal]

    /// From here on they end nothing by themselves. A hangup that was ignored from the start (nohup) stays ignored.
    init(_ body: @escaping @Sendable (Int32) -> Void) {
        self.sources = Self.watched.compactMap { number in
            let before = Glibc.signal(number, SIG_IGN)
            let wasIgnored = unsafeBitCast(before, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
            if wasIgnored, number == SIGHUP { return nil }
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { body(number) }
            source.resume()
            return source
        }
    }

    deinit { self.sources.forEach { $0.cancel() } }
}
