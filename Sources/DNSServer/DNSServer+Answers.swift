import Cluster
import DNSCodec
import Units

extension DNSServer {
    /// One packet's answer; empty when it gets none. What a server gives its agents' forwarded packets, too.
    public func answer(packet: [UInt8], overTCP: Bool) async -> [UInt8] {
        do {
            return self.cluster.identity.isServer
                ? try await self.answerHere(packet, overTCP: overTCP)
                : try await self.answerBeyond(packet, overTCP: overTCP)
        } catch {
            self.logger.debug("a DNS question could not be answered", metadata: ["error": "\(error)"])
            return self.responder.failure(packet: packet, overTCP: overTCP)
        }
    }

    /// A server's answer, from its state.
    private func answerHere(_ packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        let view = try await self.view()
        let beginning = self.responder.begin(
            packet: packet, overTCP: overTCP, view: view, seed: self.seed(), wallTime: self.wallTime())
        switch beginning {
        case .answer(let bytes): return bytes
        case .draft(let draft):
            guard let recursors = self.recursors else { return self.responder.finish(draft) }
            if draft.isForeign { return await self.recurse(draft.query, overTCP: overTCP, packet: packet) }
            return self.responder.finish(await self.complete(draft, recursors))
        }
    }

    private func view() async throws(ClusterError) -> ReadView {
        if self.listener.allowsStale {
            let view = try await self.cluster.view(.stale, timeout: self.listener.viewTimeout)
            if view.lastContact <= self.listener.maximumStaleness { return view }
        }
        return try await self.cluster.view(.default, timeout: self.listener.viewTimeout)
    }

    /// An agent's: its recursors know what lies outside our domains; of what lies within it has a view, or asks its server.
    /// Of a reversed address the server is asked first.
    private func answerBeyond(_ packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        guard self.recursors != nil, let query = self.responder.question(in: packet),
            self.responder.settings.zone(of: query.questions[0].name) == nil
        else { return try await self.answerFromView(packet, overTCP: overTCP) }
        if ReverseName(query.questions[0].name) != nil {
            let answer = try await self.cluster.forward(dns: packet, overTCP: overTCP)
            if let header = DNSMessage.header(of: answer), header.responseCode == .noError,
                (try? DNSMessage(decoding: answer))?.answers.isEmpty == false
            {
                return answer
            }
        }
        return await self.recurse(query, overTCP: overTCP, packet: packet)
    }

    /// What needs more than one view, or a newer one, the server answers; while no server can be reached a view's own
    /// answer is better than none.
    private func answerFromView(_ packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] {
        guard self.listener.allowsStale, let topic = self.responder.topic(of: packet),
            let view = try? await self.cluster.view(of: topic, timeout: self.listener.viewTimeout).view,
            view.lastContact <= self.listener.maximumStaleness
        else { return try await self.cluster.forward(dns: packet, overTCP: overTCP) }
        let beginning = self.responder.begin(
            packet: packet, overTCP: overTCP, view: view, isWhole: false, seed: self.seed(), wallTime: self.wallTime())
        guard case .draft(let draft) = beginning else {
            return try await self.cluster.forward(dns: packet, overTCP: overTCP)
        }
        if draft.hasFollowed || !draft.aliases.isEmpty || !draft.hosts.isEmpty {
            if let answer = try? await self.cluster.forward(dns: packet, overTCP: overTCP) { return answer }
        }
        return self.responder.finish(draft)
    }

    private func recurse(_ query: DNSMessage, overTCP: Bool, packet: [UInt8]) async -> [UInt8] {
        let limit = overTCP ? 65_535 : self.responder.datagramLimit(query)
        let answer = await self.recursors?.ask(query, overTCP: overTCP)
        return answer?.packet(limit: limit) ?? self.responder.failure(packet: packet, overTCP: overTCP)
    }

    /// Adds what recursors know of the names of others in it.
    private func complete(_ draft: DNSDraft, _ recursors: Recursors) async -> DNSDraft {
        var draft = draft
        let type = draft.query.questions[0].type
        for name in draft.aliases {
            draft.response.answers += await recursors.addresses(of: name, type: type)
        }
        for name in draft.hosts {
            draft.response.additional += await recursors.addresses(of: name, type: type)
        }
        return draft
    }
}
