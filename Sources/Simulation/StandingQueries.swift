import Registry
import Units

/// I14: what a client that waits on one server sees. Each query stands there for ever: after each publication it is asked
/// again, as its waiter would, and compared with what it said before.
struct StandingQueries {
    private var keys: [Answer<KVEntry?>] = []
    private var locks: [Answer<KVEntry?>] = []
    private var tree: Answer<[KVEntry]>?
    private var names: Answer<[ByteKey]>?
    private var sessions: Answer<[Session]>?
    private var sessionsOfHost: Answer<[Session]>?
    private var nodes: Answer<[Node]>?
    private var services: Answer<[ServiceSummary]>?
    private var servicesOfHost: Answer<NodeServices?>?
    private var instances: Answer<[CatalogInstance]>?
    private var health: Answer<[ServiceHealth]>?
    private var passing: Answer<[ServiceHealth]>?
    private var checksOfHost: Answer<[HealthCheck]>?
    private var critical: Answer<[HealthCheck]>?

    private let keyCount: Int
    private let lockCount: Int
    private let host = SessionModel.host(0)
    /// Old tombstones are collected by the leader's clock: one that jumps takes prefixes' indexes back.
    private let clocksAgree: Bool

    init(options: SwarmOptions) {
        self.keyCount = options.keys
        self.lockCount = options.lockKeys
        self.clocksAgree = options.wallSkew < 10 * 60 * SwarmOptions.second
    }

    /// - Returns: what is wrong, if anything.
    mutating func published(_ registry: Registry, touched: [Touch], everything: Bool) -> String? {
        let news = News(touched: touched, everything: everything)
        var wrong: String?
        func note(_ text: String?) { wrong = wrong ?? text }
        note(self.checkKeys(registry, news))
        note(Self.check("sessions", &self.sessions, registry.allSessions(), news))
        note(Self.check("sessions of a node", &self.sessionsOfHost, registry.sessions(onNode: self.host), news))
        note(Self.check("nodes", &self.nodes, registry.allNodes(), news))
        note(Self.check("services", &self.services, registry.allServices(), news))
        note(Self.check("services of a node", &self.servicesOfHost, registry.nodeServices(self.host), news))
        note(Self.check("instances", &self.instances, registry.instances(ofService: "web"), news))
        note(Self.check("health", &self.health, registry.health(ofService: "web"), news))
        note(Self.check("passing", &self.passing, registry.health(ofService: "web", passingOnly: true), news))
        note(Self.check("checks of a node", &self.checksOfHost, registry.checks(onNode: self.host), news))
        note(Self.check("critical checks", &self.critical, registry.checks(inState: .critical), news))
        return wrong
    }

    private mutating func checkKeys(_ registry: Registry, _ news: News) -> String? {
        var wrong: String?
        for key in 0..<self.keyCount {
            wrong = wrong ?? Self.check("key", &self.keys, at: key, registry.kvEntry(Oracle.key(key)), news)
        }
        for lock in 0..<self.lockCount {
            wrong = wrong ?? Self.check("lock", &self.locks, at: lock, registry.kvEntry(SessionModel.key(lock)), news)
        }
        let prefix = ByteKey("key/")
        let isPatient = !self.clocksAgree
        wrong = wrong ?? Self.check("tree", &self.tree, registry.kvEntries(prefix: prefix), news, mayGoBack: isPatient)
        wrong = wrong ?? Self.check("names", &self.names, registry.kvKeys(prefix: prefix), news, mayGoBack: isPatient)
        return wrong
    }

    private struct News {
        var touched: [Touch]
        var everything: Bool

        func wakes(_ watch: [WatchKey]) -> Bool {
            self.everything || self.touched.contains { touch in watch.contains { $0.isTouched(by: touch) } }
        }
    }

    private static func check(
        _ name: String, _ known: inout [Answer<KVEntry?>], at place: Int, _ answer: Answer<KVEntry?>, _ news: News
    ) -> String? {
        var before: Answer<KVEntry?>? = place < known.count ? known[place] : nil
        defer { if place < known.count { known[place] = answer } else { known.append(answer) } }
        return Self.check(name, &before, answer, news)
    }

    private static func check<Value: Equatable & Sendable>(
        _ name: String, _ known: inout Answer<Value>?, _ answer: Answer<Value>, _ news: News, mayGoBack: Bool = false
    ) -> String? {
        defer { known = answer }
        guard let before = known else { return nil }
        if answer.index < before.index {
            return mayGoBack
                ? nil : "the index of the query for \(name) goes from \(before.index) back to \(answer.index)"
        }
        if answer.value == before.value { return nil }
        if answer.index == before.index {
            return "the query for \(name) answers something new at the index \(answer.index) that it had before"
        }
        return news.wakes(before.watch)
            ? nil : "nobody who waits for \(name) is woken by the change at \(answer.index)"
    }
}
