import Foundation
import HealthChecks
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Runs a watch's program: the answer on its standard input, the index in `CONSUL_INDEX`.
public struct WatchScript: Sendable {
    /// What is kept of the program's output: its end.
    public static let outputLimit = 4096

    public var words: [String]
    /// Whether output goes where this process's goes, rather than being kept.
    public var inheritsOutput: Bool

    public init(_ words: [String], inheritsOutput: Bool = false) {
        self.words = words
        self.inheritsOutput = inheritsOutput
    }

    public struct Result: Sendable {
        /// Nil for exit code 0; else how it ended: `exit status 3`, `signal: terminated`.
        public var failure: String?
        public var output: String
    }

    /// Returns once the program has ended. Cancelling the task sends SIGTERM to it and to what it has started, and SIGKILL
    /// two seconds later.
    public func run(index: UInt64, json: [UInt8]) async throws -> Result {
        let child = Child()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // It waits for the program, which may take its time: a thread of its own.
                Thread.detachNewThread {
                    continuation.resume(with: Swift.Result { try self.runHere(index, json, child) })
                }
            }
        } onCancel: {
            child.terminate()
        }
    }

    /// A process that may still be told to end: its id is not another's before it was waited for.
    private final class Child: Sendable {
        private let state = Mutex<(pid: pid_t?, cancelledAt: ContinuousClock.Instant?)>((nil, nil))

        func started(_ pid: pid_t) {
            self.state.withLock { state in
                state.pid = pid
                if state.cancelledAt != nil { kill(-pid, SIGTERM) }
            }
        }

        func terminate() {
            self.state.withLock { state in
                state.cancelledAt = .now
                if let pid = state.pid { kill(-pid, SIGTERM) }
            }
        }

        /// The process's end, if it has come: status as `waitpid` gives it.
        func collect(_ pid: pid_t) -> Int32? {
            self.state.withLock { state in
                var status: Int32 = 0
                let found = waitpid(pid, &status, WNOHANG)
                if found == 0 || found < 0 && errno == EINTR {
                    if let at = state.cancelledAt, .now - at > .seconds(2) { kill(-pid, SIGKILL) }
                    return nil
                }
                state.pid = nil
                return status
            }
        }
    }

    private func runHere(_ index: UInt64, _ json: [UInt8], _ child: Child) throws -> Result {
        // A file that has no name, so that a program which reads nothing holds nobody up.
        guard let input = tmpfile() else { throw WatchFailure("no temporary file: \(Self.reason(errno))") }
        defer { fclose(input) }
        let bytes = json + [UInt8(ascii: "\n")]
        guard fwrite(bytes, 1, bytes.count, input) == bytes.count, fflush(input) == 0 else {
            throw WatchFailure("no temporary file: \(Self.reason(errno))")
        }
        rewind(input)
        var ends: [Int32] = [-1, -1]
        if !self.inheritsOutput, pipe(&ends) != 0 { throw WatchFailure("no pipe: \(Self.reason(errno))") }
        defer { if ends[0] >= 0 { close(ends[0]) } }
        let pid: pid_t
        do {
            defer { if ends[1] >= 0 { close(ends[1]) } }
            pid = try self.spawn(input: fileno(input), output: ends[1], index)
        }
        child.started(pid)
        var output = Tail()
        if !self.inheritsOutput, let status = Self.follow(ends[0], &output, child, pid) {
            return Self.result(status, output)
        }
        while true {
            if let status = child.collect(pid) { return Self.result(status, output) }
            usleep(20_000)
        }
    }

    private func spawn(input: Int32, output: Int32, _ index: UInt64) throws -> pid_t {
        guard let program = self.words.first, !program.isEmpty else { throw WatchFailure("no program to run") }
        if self.words.contains(where: { $0.utf8.contains(0) }) {
            throw WatchFailure("\(program): an argument holds a zero byte")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        if output >= 0 {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
            posix_spawn_file_actions_adddup2(&actions, output, 2)
        }
        Spawn.closeFiles(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, and no signal ignored or blocked that this process ignores or blocks.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var standard = sigset_t()
        sigfillset(&standard)
        posix_spawnattr_setsigdefault(&attributes, &standard)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let environment = ProcessInfo.processInfo.environment.merging(["CONSUL_INDEX": "\(index)"]) { $1 }
        var arguments: [UnsafeMutablePointer<CChar>?] = self.words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, program, &actions, &attributes, &arguments, &variables)
        guard failure == 0 else { throw WatchFailure("\(program): \(Self.reason(failure))") }
        return pid
    }

    private static let pieceSize = 4096
    /// A pipe of Linux's holds 64 KiB (`pipe(7)`).
    private static let pipePieces = 65_536 / pieceSize

    /// Reads the pipe until the program has ended. What it has started may hold the pipe open for longer.
    private static func follow(_ file: Int32, _ output: inout Tail, _ child: Child, _ pid: pid_t) -> Int32? {
        while true {
            let isThere = self.readSome(file, &output, wait: 50)
            if let status = child.collect(pid) {
                // As much as a pipe holds: what the program left running may write for ever.
                var reads = 0
                while reads < Self.pipePieces, self.readSome(file, &output, wait: 0) == true { reads += 1 }
                return status
            }
            // Closed by the program, which goes on.
            if isThere == nil { return nil }
        }
    }

    /// Nil: nothing more will come. False: nothing came in time.
    private static func readSome(_ file: Int32, _ output: inout Tail, wait: Int32) -> Bool? {
        var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, wait) > 0 else { return false }
        var piece = [UInt8](repeating: 0, count: Self.pieceSize)
        let count = piece.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { return false }
        if count <= 0 { return nil }
        output.add(piece[..<count])
        return true
    }

    private struct Tail {
        var bytes: [UInt8] = []
        mutating func add(_ more: ArraySlice<UInt8>) {
            self.bytes += more
            let excess = self.bytes.count - WatchScript.outputLimit
            if excess > 0 { self.bytes.removeFirst(excess) }
        }
    }

    private static func result(_ status: Int32, _ output: Tail) -> Result {
        let signal = status & 0x7F
        let code = (status >> 8) & 0xFF
        let failure =
            signal != 0
            ? "signal: \(String(cString: strsignal(signal)).lowercased())" : code != 0 ? "exit status \(code)" : nil
        return Result(failure: failure, output: String(decoding: output.bytes, as: UTF8.self))
    }

    private static func reason(_ error: Int32) -> String {
        error == ENOENT ? "executable file not found in $PATH" : String(cString: strerror(error)).lowercased()
    }
}
