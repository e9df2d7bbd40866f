import Cluster
import Registry
import Units

/// How a read is to be answered, from its query string (Consul's blocking queries).
struct ReadOptions: Sendable {
    var consistency = Consistency.default
    /// Answer when the index is above this; 0: at once.
    var index: UInt64 = 0
    var wait: Nanoseconds

    /// What Consul names the mode in `X-Consul-Effective-Consistency`.
    var consistencyName: StaticString {
        switch self.consistency {
        case .stale: "stale"
        case .default: "leader"
        case .consistent: "consistent"
        }
    }

    init(_ query: Query, _ settings: HTTPAPISettings) throws(APIError) {
        self.wait = settings.defaultWait
        if query.isEmpty { return }
        if let text = query.first("wait"), !text.isEmpty {
            guard let wait = GoDuration.parse(text) else { throw APIError(400, "Invalid wait time") }
            // Go's zero means "not given".
            self.wait = wait == .zero ? settings.defaultWait : min(wait, settings.maximumWait)
        }
        if let text = query.first("index"), !text.isEmpty {
            guard let index = UInt64(text), !text.hasPrefix("+") else { throw APIError(400, "Invalid index") }
            self.index = index
        }
        try self.readConsistency(query)
    }

    private mutating func readConsistency(_ query: Query) throws(APIError) {
        let isConsistent = query.has("consistent")
        if isConsistent { self.consistency = .consistent }
        if query.has("stale") {
            if isConsistent {
                throw APIError(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
            }
            self.consistency = .stale
        }
        if isConsistent && query.has("cached") {
            throw APIError(400, "Cannot specify ?cached with ?consistent, conflicting semantics.")
        }
        if let text = query.first("max_stale"), !text.isEmpty {
            guard GoDuration.parse(text) != nil else { throw APIError(400, "Invalid max_stale value \"\(text)\"") }
            // A linearizable answer is never too old.
        }
    }
}

extension HTTPAPI {
    /// Answers a read: at once, or, with `?index`, when the answer's index has passed it or the time is over.
    /// - Parameters:
    ///   - first: the state to look at first; nil: the one that the request asks for.
    ///   - query: runs once per look at the state.
    func read<Value: Sendable>(
        _ request: APIRequest, isCatalog: Bool = false, from first: ReadView? = nil,
        _ query: (Registry) throws(APIError) -> Answer<Value>,
        _ reply: (Value, ReadMark) throws(APIError) -> APIResponse
    ) async throws(APIError) -> APIResponse {
        let options = try ReadOptions(request.query, self.settings)
        var view: ReadView
        if let first { view = first } else { view = try await self.view(request, options.consistency) }
        var answer = try query(view.registry)
        if options.index > 0 && answer.index <= options.index {
            try self.startWaiting()
            defer { self.endWaiting() }
            let first = answer.index
            let deadline = self.surroundings.now() + self.time(of: options, request)
            // A lower index than before: the state was replaced by a backup, or tombstones were collected. The client
            // starts anew from there.
            while answer.index <= options.index && answer.index >= first {
                let left = deadline.since(self.surroundings.now())
                if left == .zero || request.connection?.ending == .draining { break }
                try await self.waitForChange(of: answer.watch, after: view.registry.appliedIndex, left, request)
                view = try await self.view(request, options.consistency)
                answer = try query(view.registry)
            }
        }
        let mark =
            isCatalog
            ? self.catalogMark(request, options, view, index: answer.index) : ReadMark(view, index: answer.index)
        return try reply(answer.value, mark)
    }

    func catalogMark(_ request: APIRequest, _ options: ReadOptions, _ view: ReadView, index: UInt64) -> ReadMark {
        var mark = ReadMark(view, index: index)
        mark.consistency = options.consistencyName
        if request.query.has("cached"), request.isCacheable {
            mark.cache = .init(isHit: request.topicWasThere, age: request.topic == nil ? .zero : view.lastContact)
        }
        return mark
    }

    func view(_ consistency: Consistency) async throws(APIError) -> ReadView {
        do throws(ClusterError) {
            return try await self.cluster.view(consistency, timeout: self.settings.readTimeout)
        } catch {
            throw APIError(error)
        }
    }

    /// How long a change is waited for. An agent waits for its client's time and `forwardMargin`; of the first, what it
    /// has waited at another server, which is gone, is over.
    private func time(of options: ReadOptions, _ request: APIRequest) -> Nanoseconds {
        let wait = self.jittered(options.wait)
        guard let patience = request.patience else { return wait }
        let margin = self.forwardMargin
        return patience > margin ? min(wait, Nanoseconds(patience.rawValue - margin.rawValue)) : .zero
    }

    /// Up to a sixteenth is added, so that clients that started together do not come back together.
    private func jittered(_ wait: Nanoseconds) -> Nanoseconds {
        wait + Nanoseconds(self.surroundings.random(wait.rawValue / 16))
    }

    private func waitForChange(
        of watch: [WatchKey], after index: LogIndex, _ timeout: Nanoseconds, _ request: APIRequest
    ) async throws(APIError) {
        let cluster = self.cluster
        let wait: @Sendable () async -> Result<Void, ClusterError> = {
            do throws(ClusterError) {
                if let topic = request.topic {
                    try await cluster.waitForChange(of: topic, after: index, timeout: timeout)
                } else {
                    try await cluster.waitForChange(of: watch, after: index, timeout: timeout)
                }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        let result = if let connection = request.connection { await connection.run(wait) } else { await wait() }
        if request.connection?.ending == .closed || Task.isCancelled { throw .clientGone }
        if request.connection?.ending == .draining { return }
        if case .failure(let error) = result { throw APIError(error) }
    }
}
