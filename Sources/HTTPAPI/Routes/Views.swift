import Cluster
import Registry
import Units

// Reads that an agent answers itself: those that don't ask for the newest state (`?stale`, `?cached`), from views.

extension ViewTopic {
    static func service(_ request: APIRequest) -> ViewTopic? {
        let name = request.restText
        return name.isEmpty ? nil : .service(named: name)
    }

    static func node(_ request: APIRequest) -> ViewTopic? {
        let name = request.restText
        return name.isEmpty ? nil : .node(named: name)
    }

    static func checks(_ request: APIRequest) -> ViewTopic? {
        let state = request.restText
        if state == "any" { return .checks(nil) }
        return CheckStatus(rawValue: state).map { .checks($0) }
    }

    /// Of lists alone: what single keys are is asked each time, so that reads of several keys in a row don't go back.
    static func keys(_ request: APIRequest) -> ViewTopic? {
        guard request.query.has("recurse") || request.query.has("keys") else { return nil }
        return .keys(ByteKey(Array(request.rest)))
    }
}

extension APIRequest {
    var mayBeStale: Bool { self.query.has("stale") && !self.query.has("consistent") }

    /// Whether an answer from a view is what was asked for.
    var asksForView: Bool {
        guard self.method == .get || self.method == .head, !self.query.isEmpty else { return false }
        return self.mayBeStale || (self.query.has("cached") && self.isCacheable && !self.query.has("consistent"))
    }

    /// The greatest age that the client takes (`?max_stale`, `Cache-Control: max-age`); nil: any.
    var greatestAge: Nanoseconds? {
        var ages: [Nanoseconds] = []
        if self.mayBeStale, let text = self.query.first("max_stale"), let age = GoDuration.parse(text) {
            ages.append(age)
        }
        if self.query.has("cached") {
            for directive in self.cacheControl.split(separator: ",") {
                let directive = directive.trimmingSpaces.lowercased()
                guard directive.hasPrefix("max-age="), let age = UInt64(directive.dropFirst(8)) else { continue }
                ages.append(.seconds(min(age, 1 << 32)))
            }
        }
        return ages.min()
    }
}

extension HTTPAPI {
    /// The agent's view that answers the request; nil when there is none, or it is too old: a server is to be asked.
    func topicView(for request: APIRequest, _ route: Route) async -> (topic: ViewTopic, view: TopicView)? {
        guard let topic = route.topic?(request), request.asksForView else { return nil }
        let datacenter = request.query.first("dc") ?? ""
        if !datacenter.isEmpty, datacenter != self.cluster.identity.datacenter { return nil }
        guard let found = try? await self.cluster.view(of: topic, timeout: self.settings.readTimeout) else {
            return nil
        }
        if let age = request.greatestAge, found.view.lastContact > age { return nil }
        return (topic, found)
    }

    /// What a read looks at: the agent's view that was found for it, or the state of this server.
    func view(_ request: APIRequest, _ consistency: Consistency) async throws(APIError) -> ReadView {
        guard let topic = request.topic else { return try await self.view(consistency) }
        do throws(ClusterError) {
            return try await self.cluster.view(of: topic, timeout: self.settings.readTimeout).view
        } catch {
            throw APIError(error)
        }
    }
}
