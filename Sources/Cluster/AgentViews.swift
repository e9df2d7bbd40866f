import Logging
import NIOCore
import Protocol
import Registry
import Synchronization
import Units

/// What tunes an agent's views.
public struct ViewSettings: Sendable, Equatable {
    /// Of all views' rows as they are sent; what was used least recently goes.
    public var bytesMax: ByteCount = .mebibytes(128)
    public var viewsMax = 4096
    /// A view that nobody has asked for so long is given up.
    public var idleTime = Nanoseconds.seconds(600)
    /// How long a server lets a question wait for a change.
    public var wait = Nanoseconds.seconds(30)
    /// How long the first rows are waited for.
    public var firstTime = Nanoseconds.seconds(2)
    /// How long it is believed that a topic can't be followed.
    public var refusalTime = Nanoseconds.seconds(60)

    public init() {}
}

/// A state of one topic, on an agent.
public struct TopicView: Sendable {
    /// `lastContact` is the time since the agent last heard from a server, and that server from a leader.
    public var view: ReadView
    /// It was at hand, and nobody had to be asked.
    public var wasThere: Bool

    public init(view: ReadView, wasThere: Bool) {
        self.view = view
        self.wasThere = wasThere
    }
}

/// An agent's views: one for each topic that was asked for, kept by differences that its server sends as they come. They
/// answer without a server, too, and say how old they are.
package final class AgentViews: Sendable {
    /// Asks the server in use; throws `noServers` when there is none.
    package typealias Ask = @Sendable (PeerRequest, Nanoseconds) async throws(ClusterError) -> PeerResponse

    private let settings: ViewSettings
    private let group: any EventLoopGroup
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var views: [ViewTopic: AgentView] = [:]
        var ask: Ask?
        /// When the lease was last kept, at the server that is asked now: so long the connection was certainly there.
        var heardAt = Instant.start
        var isStopping = false
    }

    package init(_ settings: ViewSettings, group: any EventLoopGroup, logger: Logger) {
        self.settings = settings
        self.group = group
        self.logger = logger
    }

    package func start(_ ask: @escaping Ask) { self.state.withLock { $0.ask = ask } }

    package func stop() {
        let views = self.state.withLock { state in
            state.isStopping = true
            defer { state.views = [:] }
            return Array(state.views.values)
        }
        for view in views { view.close() }
    }

    /// The server has kept the lease.
    package func heard(at now: Instant) { self.state.withLock { $0.heardAt = now } }

    /// Another server is in use: what the one before was asked is asked anew.
    package func serverChanged() {
        let views = self.state.withLock { Array($0.views.values) }
        for view in views { view.content.withLock { $0.asking }?.cancel() }
    }

    /// Views, and bytes of their rows.
    package var size: (views: Int, bytes: Int) {
        let views = self.state.withLock { Array($0.views.values) }
        return (views.count, views.reduce(0) { $0 + $1.bytes })
    }

    // MARK: - Reading

    /// The topic's newest state. The first question of a topic waits for its rows; it throws when they don't come soon, and
    /// at once when they can't be had.
    package func view(of topic: ViewTopic, timeout: Nanoseconds) async throws(ClusterError) -> TopicView {
        let began = SystemClock.now()
        let view = try self.find(topic, now: began)
        if let found = try self.look(at: view, now: began) { return TopicView(view: found, wasThere: true) }
        let deadline = began + min(timeout, self.settings.firstTime)
        while true {
            let left = deadline.since(SystemClock.now())
            if left == .zero { throw .noServers }
            guard await view.wait(after: .zero, timeout: left) else { throw .overloaded(leaderOnly: false) }
            if Task.isCancelled { throw .shuttingDown }
            if let found = try self.look(at: view, now: SystemClock.now()) {
                return TopicView(view: found, wasThere: false)
            }
            // After a refusal whoever waits is woken at once, and no rows may be there for a while.
            try? await Task.sleep(nanoseconds: 20_000_000)
        }
    }

    /// Returns when the topic's state is no more the one that had applied `index`, or the time is over.
    package func waitForChange(
        of topic: ViewTopic, after index: LogIndex, timeout: Nanoseconds
    ) async throws(ClusterError) {
        let view = try self.find(topic, now: SystemClock.now())
        guard await view.wait(after: index, timeout: timeout) else { throw .overloaded(leaderOnly: false) }
    }

    private func look(at view: AgentView, now: Instant) throws(ClusterError) -> ReadView? {
        let heardAt = self.state.withLock { $0.heardAt }
        let found: Result<ReadView?, ClusterError> = view.content.withLock { content in
            content.lastUse = now
            if let refusal = content.refusal, refusal.until > now { return .failure(refusal.error) }
            guard let shown = content.shown else { return .success(nil) }
            // While a question is under way, whatever had changed would have been told.
            let asOf = content.asking == nil ? content.confirmedAt : max(content.confirmedAt, heardAt)
            let age = now.since(asOf)
            let isHeard = age < .seconds(5)
            return .success(
                ReadView(
                    shown, lastContact: age + (isHeard ? content.serverContact : .zero),
                    knownLeader: isHeard && content.knownLeader))
        }
        return try found.get()
    }

    private func find(_ topic: ViewTopic, now: Instant) throws(ClusterError) -> AgentView {
        let (view, isNew, isStopping) = self.state.withLock { state in
            if let known = state.views[topic] { return (known, false, state.isStopping) }
            let view = AgentView(topic, on: self.group.next(), now: now)
            if !state.isStopping { state.views[topic] = view }
            return (view, true, state.isStopping)
        }
        if isStopping { throw .shuttingDown }
        if isNew {
            let task = Task { await self.follow(view) }
            view.content.withLock { $0.task = task }
            self.makeRoom(sparing: topic)
        }
        return view
    }

    // MARK: - Following

    private func follow(_ view: AgentView) async {
        var failures: UInt64 = 0
        while !Task.isCancelled {
            // It was dropped, maybe before it knew of its task.
            guard self.state.withLock({ $0.views[view.topic] === view }) else { return }
            if self.giveUpIfIdle(view) { return }
            guard let ask = self.state.withLock({ $0.ask }) else { return }
            let question = view.question(wait: self.settings.wait)
            let timeout = self.settings.wait + .seconds(10)
            let asking = Task { () -> Result<PeerResponse, ClusterError> in
                do throws(ClusterError) { return .success(try await ask(question, timeout)) } catch {
                    return .failure(error)
                }
            }
            view.content.withLock { $0.asking = asking }
            let result = await withTaskCancellationHandler {
                await asking.value
            } onCancel: {
                asking.cancel()
            }
            let heardAt = self.state.withLock { $0.heardAt }
            view.content.withLock { content in
                content.asking = nil
                // Until then a change would have been told.
                content.confirmedAt = max(content.confirmedAt, heardAt)
            }
            if self.take(result, of: view) {
                failures = 0
            } else {
                if let until = view.content.withLock({ $0.refusal?.until }), until > SystemClock.now() {
                    // What is too large would be made and refused again for each question.
                    try? await Task.sleep(nanoseconds: until.since(SystemClock.now()).rawValue)
                    continue
                }
                failures += 1
                // Five times a second at most.
                try? await Task.sleep(nanoseconds: min(failures * 50, 1000) * 1_000_000)
            }
        }
    }

    /// False: the next question has to wait a little.
    private func take(_ result: Result<PeerResponse, ClusterError>, of view: AgentView) -> Bool {
        let now = SystemClock.now()
        switch result {
        case .failure: return false
        case .success(let response):
            if !response.error.isEmpty {
                // A server that has no leader, is behind or about to stop may soon answer, or another will.
                if [400, 413].contains(response.errorCode) {
                    self.refuse(view, .refused(status: Int(response.errorCode), text: response.error), now)
                }
                return false
            }
            guard case .view(let answer) = response.kind else { return false }
            if view.take(answer, now: now) == .mismatch {
                let mismatches = view.content.withLock { $0.mismatches }
                if mismatches < 2 { return true }
                self.refuse(view, .refused(status: 500, text: "the server's rows are not what it says"), now)
                return false
            }
            if !answer.difference.isEmpty { self.makeRoom(sparing: view.topic) }
            return true
        }
    }

    private func refuse(_ view: AgentView, _ error: ClusterError, _ now: Instant) {
        self.logger.info("a view can't be kept", metadata: ["topic": "\(view.topic)", "reason": "\(error)"])
        view.content.withLock { content in
            content.refusal = (error, now + self.settings.refusalTime)
            content.shown = nil
            content.rows = PartialRegistry()
            content.digest = []
        }
        // Whoever waits for the first rows learns it at once.
        view.wakeAll()
    }

    private func giveUpIfIdle(_ view: AgentView) -> Bool {
        let now = SystemClock.now()
        let isIdle = self.state.withLock { state in
            guard now.since(view.content.withLock({ $0.lastUse })) > self.settings.idleTime else { return false }
            state.views[view.topic] = nil
            return true
        }
        if isIdle { view.close() }
        return isIdle
    }

    /// Lets go of what was used least recently, until the rest fits.
    private func makeRoom(sparing topic: ViewTopic) {
        let dropped = self.state.withLock { state -> [AgentView] in
            var bytes = state.views.values.reduce(0) { $0 + $1.bytes }
            var dropped: [AgentView] = []
            guard bytes > self.settings.bytesMax.rawValue || state.views.count > self.settings.viewsMax else {
                return []
            }
            let byUse = state.views.values.map { ($0, $0.content.withLock { $0.lastUse }) }.sorted { $0.1 < $1.1 }
            for (view, _) in byUse where view.topic != topic {
                if bytes <= self.settings.bytesMax.rawValue, state.views.count <= self.settings.viewsMax { break }
                state.views[view.topic] = nil
                bytes -= view.bytes
                dropped.append(view)
            }
            return dropped
        }
        for view in dropped { view.close() }
    }
}
