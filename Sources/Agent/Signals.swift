import Dispatch
import Glibc
import Synchronization

/// SIGTERM, SIGINT and SIGHUP as endings. A second SIGTERM or SIGINT while the agent stops ends the process at once.
final class Signals: Sendable {
    // Sendable by never being changed after `init`; dispatch sources may be used from any thread.
    private struct Sources: @unchecked Sendable {
        var all: [any DispatchSourceSignal] = []
    }

    private let sources: Sources
    private let impatient = Atomic(false)

    init(_ configuration: AgentConfiguration, to endings: Endings) {
        let terminate = Ending.stop(leaving: configuration.leaveOnTerminate)
        let interrupt = Ending.stop(leaving: !configuration.skipLeaveOnInterrupt)
        var sources = Sources()
        let queue = DispatchQueue(label: "serai.signals")
        for number in [SIGTERM, SIGINT, SIGHUP] {
            signal(number, SIG_IGN)
            sources.all.append(DispatchSource.makeSignalSource(signal: number, queue: queue))
        }
        signal(SIGPIPE, SIG_IGN)
        self.sources = sources
        for (source, ending) in zip(sources.all, [terminate, interrupt, .reload]) {
            source.setEventHandler { [weak self] in
                if case .stop = ending, self?.impatient.load(ordering: .relaxed) == true { _exit(1) }
                endings.yield(ending)
            }
            source.resume()
        }
    }

    func endAtOnceFromNowOn() { self.impatient.store(true, ordering: .relaxed) }

    func stop() {
        for source in self.sources.all { source.cancel() }
    }
}
