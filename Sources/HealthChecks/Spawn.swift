#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// posix_spawn with what a check's program needs.
package enum Spawn {
    struct Child {
        var process: pid_t
        /// The reading end of its standard output and standard error; the caller closes it.
        var output: Int32
    }

    struct Failure: Error {
        /// As Go's os/exec says it.
        var text: String
    }

    /// - Parameter arguments: the program and what follows it; looked for in `PATH` unless it holds a slash.
    static func start(_ arguments: [String]) -> Result<Child, Failure> {
        guard let program = arguments.first, !program.isEmpty else {
            return .failure(Failure(text: "exec: no command"))
        }
        if arguments.contains(where: { $0.utf8.contains(0) }) {
            return .failure(Failure(text: "exec: an argument holds a zero byte"))
        }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .failure(Failure(text: "pipe: \(self.text(errno))")) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let (code, process) = self.spawn(arguments, program, output: ends[1])
        close(ends[1])
        if code == 0 { return .success(Child(process: process, output: ends[0])) }
        close(ends[0])
        if code == ENOENT, !program.contains("/") {
            return .failure(Failure(text: "exec: \"\(program)\": executable file not found in $PATH"))
        }
        return .failure(Failure(text: "fork/exec \(program): \(self.text(code))"))
    }

    private static func spawn(_ arguments: [String], _ program: String, output: Int32) -> (Int32, pid_t) {
        #if canImport(Darwin)
        var attributes: posix_spawnattr_t?
        var actions: posix_spawn_file_actions_t?
        #else
        var attributes = posix_spawnattr_t()
        var actions = posix_spawn_file_actions_t()
        #endif
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // This process blocks the signals that it takes from a file; its children must feel them.
        var all = sigset_t()
        sigfillset(&all)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, 0)
        var flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        #if canImport(Darwin)
        flags |= POSIX_SPAWN_CLOEXEC_DEFAULT
        #endif
        posix_spawnattr_setflags(&attributes, Int16(flags))
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        #if !canImport(Darwin)
        self.closeFiles(&actions)
        #endif
        var words = self.copied(arguments)
        var variables = self.copied(ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" })
        defer { for pointer in words + variables { free(pointer) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, program, &actions, &attributes, &words, &variables)
        return (code, process)
    }

    /// C strings with a nil behind them; the caller frees them.
    private static func copied(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { strdup($0) } + [nil]
    }

    #if !canImport(Darwin)
    private typealias CloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32

    /// glibc's own since 2.34, which its headers hide from Swift; nil in older ones and in musl.
    private static let closeFrom: CloseFrom? = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map {
        unsafeBitCast($0, to: CloseFrom.self)
    }

    /// Leaves the program none of this process's files but the first three: sockets here are not marked to be closed, and
    /// a program that stays would keep our ports taken and our clients waiting. To be called after what makes those three.
    package static func closeFiles(_ actions: inout posix_spawn_file_actions_t) {
        if let closeFrom = self.closeFrom { _ = closeFrom(&actions, 3) } else { self.markFiles() }
    }

    /// Marks what is open now to be closed. A socket that another thread opens meanwhile escapes.
    private static func markFiles() {
        let limit = Int32(clamping: min(sysconf(Int32(_SC_OPEN_MAX)), 65_536))
        for file in 3..<max(limit, 4) where fcntl(file, F_GETFD) >= 0 { _ = fcntl(file, F_SETFD, FD_CLOEXEC) }
    }
    #endif

    private static func text(_ code: Int32) -> String {
        switch code {
        case ENOENT: "no such file or directory"
        case EACCES: "permission denied"
        case ENOEXEC: "exec format error"
        case E2BIG: "argument list too long"
        case EAGAIN: "resource temporarily unavailable"
        case EMFILE: "too many open files"
        default: "error \(code)"
        }
    }
}
