import Protocol
import Registry
import Units

// What an agent's view asks: the answer comes when the topic is not what the agent has any more.
extension Server {
    private static let longestWait = Nanoseconds.seconds(60)
    private static let longestCatchingUp = Nanoseconds.seconds(5)

    func answer(_ request: PeerViewRequest) async -> PeerResponse {
        guard let topic = ViewTopic(kind: request.kind, key: Array(request.key)) else {
            return .failure(400, "a view of a kind that this version does not know")
        }
        let began = self.surroundings.now()
        let deadline = began + min(.milliseconds(UInt64(request.waitMs)), Self.longestWait)
        let digest = Array(request.digest)
        do throws(ClusterError) {
            while true {
                let view = try await self.view(.stale, timeout: .seconds(5))
                let now = self.surroundings.now()
                if view.registry.appliedIndex.rawValue < request.applied {
                    // What the agent has shown must not be taken back.
                    if now.since(began) > Self.longestCatchingUp { return .failure(503, "this server is behind") }
                    try await self.pauseBriefly()
                    continue
                }
                let version = await self.views.version(of: topic, in: view.registry)
                let hasChanged = version.digest != digest || version.part.index != request.index
                let left = deadline.since(now)
                if hasChanged || left == .zero {
                    return await self.answer(hasChanged ? version : nil, topic, digest, view)
                }
                if self.isDismissing { return .failure(503, "this server stops") }
                // What was true of an older state is still true of this one.
                let seen = max(version.part.appliedIndex, view.registry.appliedIndex)
                try await self.waitForChange(of: version.part.watch, after: seen, timeout: left)
            }
        } catch {
            return RefusalWire.response(to: error)
        }
    }

    private var isDismissing: Bool { self.agents.withLock { $0.isDismissing } }

    private func pauseBriefly() async throws(ClusterError) {
        do {
            try await self.surroundings.pause(.milliseconds(20))
        } catch {
            throw .shuttingDown
        }
    }

    /// - Parameter version: nil when the agent is up to date.
    private func answer(
        _ version: ViewBoard.Version?, _ topic: ViewTopic, _ digest: [UInt8], _ view: ReadView
    ) async -> PeerResponse {
        var response = PeerResponse()
        response.view = PeerViewAnswer()
        response.view.applied = view.registry.appliedIndex.rawValue
        response.view.lastContactNs = view.lastContact.rawValue
        response.view.knownLeader = view.knownLeader
        guard let version else { return response }
        guard let difference = await self.views.difference(to: version, of: topic, from: digest) else {
            return .failure(413, "more rows than an agent's view may hold")
        }
        response.view.difference = .init(difference)
        response.view.digest = .init(version.digest)
        response.view.index = version.part.index
        response.view.applied = max(response.view.applied, version.part.appliedIndex.rawValue)
        return response
    }
}
