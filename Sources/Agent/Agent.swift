import Cluster
import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Units

/// Why an agent did not start, or did not stop well. The text is for the operator.
public struct AgentFailure: Error, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
}

/// Runs a server or a client agent in this process until SIGTERM, SIGINT, or a leave over the API. Throws when it can't
/// start; what must stop it later ends the process with code 1, with the reason in the log.
///
/// - Parameter reload: reads the configuration again, for SIGHUP and the API; what a reload takes over stands in the table
///   of keys.
public func runAgent(
    _ configuration: AgentConfiguration,
    reload: (@Sendable () throws -> AgentConfiguration)? = nil
) async throws {
    AgentLog.level = configuration.logLevel.level
    let isJSON = configuration.logJSON
    let logger = Logger(label: "agent") { AgentLog(label: $0, isJSON: isJSON) }
    let temporary = configuration.development && configuration.dataDirectory.isEmpty ? try TemporaryDirectory() : nil
    var configuration = configuration
    if let temporary { configuration.dataDirectory = temporary.path }
    defer { temporary?.remove() }

    // Before anything asks for the shared group: it has its threads from then on.
    NIOSingletons.groupLoopCountSuggestion = configuration.performance.eventLoops
    let endings = Endings()
    let signals = Signals(configuration, to: endings)
    defer { signals.stop() }
    let agent = try await RunningAgent.start(
        configuration, group: MultiThreadedEventLoopGroup.singleton, logger: logger,
        fatal: { reason in
            logger.critical("\(reason)")
            _exit(1)
        },
        reload: reload ?? { throw AgentFailure("this agent was not started from files") },
        end: { endings.yield($0) })
    while let ending = await endings.next() {
        switch ending {
        case .reload: await agent.reload()
        case .stop(let leaving):
            signals.endAtOnceFromNowOn()
            logger.info(leaving ? "leaves the cluster and stops" : "stops")
            await agent.stop(leaving: leaving)
            logger.info("stopped")
            return
        }
    }
}

/// What ends an agent's run, or makes it read its configuration again.
package enum Ending: Sendable {
    case reload
    case stop(leaving: Bool)
}

/// What this process was asked to do, until it is done. Many reloads are one, and none of them keeps a stop from being
/// heard.
package final class Endings: Sendable {
    private struct State {
        var reloads = false
        var stop: Ending?
    }

    private let state = Mutex(State())
    private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    package init() {}

    package func yield(_ ending: Ending) {
        self.state.withLock { state in
            switch ending {
            case .reload: state.reloads = true
            case .stop: if state.stop == nil { state.stop = ending }
            }
        }
        self.wake.continuation.yield()
    }

    /// A stop before a reload; one reader at a time. Nil when its task was cancelled.
    package func next() async -> Ending? {
        var turns = self.wake.stream.makeAsyncIterator()
        while true {
            let found = self.state.withLock { state -> Ending? in
                if let stop = state.stop { return stop }
                defer { state.reloads = false }
                return state.reloads ? .reload : nil
            }
            if let found { return found }
            if await turns.next() == nil { return nil }
        }
    }
}

/// `-dev` keeps its state here, and nowhere after.
struct TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(base)/serai-dev-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw AgentFailure("no temporary directory in \(base): \(String(cString: strerror(errno)))")
        }
        self.path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: self.path)
    }
}
