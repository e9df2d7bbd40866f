import PersistentMap
import Protocol
import Units

extension Registry {
    /// The texts are those that clients of Consul look for.
    mutating func applySessionCreate(
        _ create: LogSessionCreate, _ context: inout ApplyContext
    ) throws(CommandFailure) -> String {
        let session = try Session(create, at: context.index)
        guard !session.id.isEmpty else { throw .invalid("Missing session ID") }
        guard !self.sessions.contains(ByteKey(session.id)) else {
            throw .invalid("Session \(quoted(session.id)) exists already")
        }
        guard self.nodes.contains(foldedKey(session.node)) else { throw .invalid("Missing node registration") }
        for id in session.nodeChecks + session.serviceChecks {
            guard let check = self.checks.get(onNodeKey(session.node, id)) else {
                throw .invalid("Missing check '\(id)' registration")
            }
            if check.status == .critical { throw .invalid("Check '\(id)' is in critical state") }
        }
        self.loadSession(session)
        self.tableIndexes.sessions = context.index
        context.touch(.sessions, ByteKey(session.id))
        return session.id
    }

    /// Its keys are released or deleted, and may not be locked while its lock delay lasts: on expiry, on a critical
    /// check and on an explicit destroy alike. An unknown session is no error.
    mutating func destroySession(_ id: String, _ context: inout ApplyContext) {
        guard let session = self.sessions.remove(ByteKey(id)) else { return }
        self.sessionsByNode.remove(sessionOnNodeKey(session.node, session: id))
        for check in session.nodeChecks + session.serviceChecks {
            self.sessionsByCheck.remove(sessionByCheckKey(session.node, check: check, session: id))
        }
        self.tableIndexes.sessions = context.index
        context.touch(.sessions, ByteKey(id))

        var held: [ByteKey] = []
        self.heldKeys.forEach(prefix: heldPrefix(id)) { _, key in
            held.append(key)
            return true
        }
        let delay = min(session.lockDelay, Self.longestLockDelay)
        for key in held {
            switch session.behavior {
            case .release: self.releaseKey(key, &context)
            case .delete: self.deleteKey(key, &context)
            }
            if delay > .zero {
                self.lockDelays.set(key, LockDelay(until: context.now &+ delay.rawValue))
            }
        }
    }

    mutating func destroySessions(boundTo check: String, on node: String, _ context: inout ApplyContext) {
        var prefix = CompositeKey()
        prefix.folded(node)
        prefix.folded(check)
        for id in self.sessionIDs(self.sessionsByCheck, prefix.key) { self.destroySession(id, &context) }
    }

    mutating func destroySessions(on node: String, _ context: inout ApplyContext) {
        for id in self.sessionIDs(self.sessionsByNode, onNodePrefix(node)) { self.destroySession(id, &context) }
    }

    mutating func loadSession(_ session: Session) {
        self.sessions.set(ByteKey(session.id), session)
        self.sessionsByNode.set(sessionOnNodeKey(session.node, session: session.id), session.id)
        for check in session.nodeChecks + session.serviceChecks {
            self.sessionsByCheck.set(sessionByCheckKey(session.node, check: check, session: session.id), session.id)
        }
    }

    func sessionIDs(_ index: PersistentMap<ByteKey, String>, _ prefix: ByteKey) -> [String] {
        var ids: [String] = []
        index.forEach(prefix: prefix) { _, id in
            ids.append(id)
            return true
        }
        return ids
    }
}

// MARK: - Queries

extension Registry {
    /// `GET /v1/session/info/:id`.
    public func session(_ id: String) -> Answer<Session?> {
        Answer(
            value: self.sessions.get(ByteKey(id)), index: self.tableIndexes.sessions,
            watch: [WatchKey(table: .sessions, key: ByteKey(id))])
    }

    /// `GET /v1/session/list`: in order of the ids.
    public func allSessions() -> Answer<[Session]> {
        var sessions: [Session] = []
        sessions.reserveCapacity(self.sessions.count)
        self.sessions.forEach { _, session in sessions.append(session) }
        return Answer(value: sessions, index: self.tableIndexes.sessions, watch: [.all(.sessions)])
    }

    /// `GET /v1/session/node/:node`: in order of the ids.
    public func sessions(onNode node: String) -> Answer<[Session]> {
        let ids = self.sessionIDs(self.sessionsByNode, onNodePrefix(node))
        return Answer(
            value: ids.compactMap { self.sessions.get(ByteKey($0)) }, index: self.tableIndexes.sessions,
            watch: [.all(.sessions)])
    }

    /// Every session that expires, in order of the ids: what a new leader starts its timers from.
    public func forEachSessionWithTTL(_ body: (_ id: String, _ ttl: Nanoseconds) -> Void) {
        self.sessions.forEach { _, session in
            if session.ttl > .zero { body(session.id, session.ttl) }
        }
    }

    /// The TTL of one session; nil when it is gone or never expires.
    public func sessionTTL(_ id: String) -> Nanoseconds? {
        guard let session = self.sessions.get(ByteKey(id)), session.ttl > .zero else { return nil }
        return session.ttl
    }
}
