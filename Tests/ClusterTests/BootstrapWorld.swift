import Raft
import Replica
import Units

/// Servers with empty logs, every step of theirs an event that the test chooses: who asks whom when, whose answer
/// arrives, who crashes, who loses its disk.
struct BootstrapWorld {
    enum Process: Hashable {
        case idle
        case asking(generation: UInt64, awaiting: [Int], answers: [Heard])
        case preparing(ballot: UInt64, members: [Member], awaiting: [Int], granted: Int)
        /// A cluster was seen that has this server, or would take it in.
        case joining
    }

    struct Heard: Hashable {
        var id: NodeID
        var server: Int
        var hasLog: Bool
        var promisedTo: NodeID?
    }

    struct Server {
        var bootstrap: Bootstrap
        /// Which founding its log comes from.
        var cluster: Int?
        var process = Process.idle
    }

    enum Event: Hashable {
        case start(Int)
        case answer(to: Int, from: Int)
        case close(Int)
        case ask(by: Int, of: Int)
        case finish(Int)
        case abandon(Int)
        case replicate(from: Int, to: Int)
        case crash(Int)
        /// A new disk and a new id, lower or higher than any before.
        case wipe(Int, lower: Bool)
    }

    var servers: [Server]
    var founded = 0
    var wipesLeft: Int
    var crashesLeft: Int
    /// Attempts that may still be begun; keeps an exhaustive search finite.
    var attemptsLeft: Int
    private var lowest: UInt64 = 1000
    private var highest: UInt64 = 1000

    init(servers count: Int, wipes: Int, crashes: Int, attempts: Int = .max) {
        self.servers = (0..<count).map { position in
            Server(bootstrap: Self.fresh(position, id: 1000 + UInt64(position), of: count))
        }
        self.highest += UInt64(count)
        self.wipesLeft = wipes
        self.crashesLeft = crashes
        self.attemptsLeft = attempts
    }

    private static func fresh(_ position: Int, id: UInt64, of count: Int, promise: Bootstrap.Promise? = nil)
        -> Bootstrap
    {
        Bootstrap(me: Member(id: NodeID(id), name: "server-\(position)"), expect: count, promise: promise)
    }

    /// Foundings that some server's log still comes from.
    var clusters: Set<Int> { Set(self.servers.compactMap(\.cluster)) }

    /// Two worlds with one key behave the same.
    var key: String {
        let servers = self.servers.map { server in
            let promise = server.bootstrap.promise
            let members =
                promise.map { $0.configuration.voters.map { "\($0.id.rawValue)" }.joined(separator: ",") } ?? ""
            return
                "\(server.bootstrap.me.id.rawValue) \(promise?.founder.rawValue ?? 0) \(promise?.ballot ?? 0) [\(members)] "
                + "\(server.bootstrap.generation) \(server.cluster ?? -1) \(server.process)"
        }
        return servers.joined(separator: "|") + "|\(self.wipesLeft) \(self.crashesLeft) \(self.attemptsLeft)"
    }

    var events: [Event] {
        var events: [Event] = []
        for (position, server) in self.servers.enumerated() {
            if self.wipesLeft > 0 { events += [.wipe(position, lower: true), .wipe(position, lower: false)] }
            guard server.cluster == nil else {
                for other in self.servers.indices where self.servers[other].process == .joining {
                    events.append(.replicate(from: position, to: other))
                }
                continue
            }
            switch server.process {
            case .idle: if self.attemptsLeft > 0 { events.append(.start(position)) }
            case .asking(_, let awaiting, _):
                events += awaiting.map { .answer(to: position, from: $0) }
                events.append(.close(position))
            case .preparing(_, _, let awaiting, _):
                events += awaiting.map { .ask(by: position, of: $0) }
                events.append(awaiting.isEmpty ? .finish(position) : .abandon(position))
            case .joining: events.append(.abandon(position))
            }
            if self.crashesLeft > 0, server.process != .idle { events.append(.crash(position)) }
        }
        return events
    }

    mutating func apply(_ event: Event) {
        switch event {
        case .start(let position):
            self.attemptsLeft -= 1
            let others = self.servers.indices.filter { $0 != position }
            let generation = self.servers[position].bootstrap.generation
            self.servers[position].process = .asking(generation: generation, awaiting: others, answers: [])
        case .answer(let to, let from): self.answer(to, from)
        case .close(let position): self.close(position)
        case .ask(let by, let of): self.ask(by, of)
        case .finish(let position): self.finish(position)
        case .abandon(let position): self.servers[position].process = .idle
        case .replicate(let from, let to):
            self.servers[to].cluster = self.servers[from].cluster
            self.servers[to].process = .idle
        case .crash(let position):
            self.crashesLeft -= 1
            let bootstrap = self.servers[position].bootstrap
            self.servers[position].bootstrap = Self.fresh(
                position, id: bootstrap.me.id.rawValue, of: self.servers.count, promise: bootstrap.promise)
            self.servers[position].process = .idle
        case .wipe(let position, let lower):
            self.wipesLeft -= 1
            if lower { self.lowest -= 1 } else { self.highest += 1 }
            let id = lower ? self.lowest : self.highest
            self.servers[position] = Server(bootstrap: Self.fresh(position, id: id, of: self.servers.count))
        }
    }

    private mutating func answer(_ to: Int, _ from: Int) {
        guard case .asking(let generation, var awaiting, var answers) = self.servers[to].process else { return }
        awaiting.removeAll { $0 == from }
        let server = self.servers[from]
        answers.append(
            Heard(
                id: server.bootstrap.me.id, server: from, hasLog: server.cluster != nil,
                promisedTo: server.bootstrap.promise?.founder))
        self.servers[to].process = .asking(generation: generation, awaiting: awaiting, answers: answers)
    }

    private mutating func close(_ position: Int) {
        guard case .asking(let generation, _, let answers) = self.servers[position].process else { return }
        let heard = answers.map { answer in
            Bootstrap.Answer(
                member: Member(id: answer.id, name: "server-\(answer.server)"), expect: self.servers.count,
                hasConfiguration: answer.hasLog, promisedTo: answer.promisedTo)
        }
        switch self.servers[position].bootstrap.round(heard, asked: generation) {
        case .wait, .forget: self.servers[position].process = .idle
        case .join: self.servers[position].process = .joining
        case .prepare(let promise):
            let others = self.servers.indices.filter { $0 != position }
            self.servers[position].process = .preparing(
                ballot: promise.ballot, members: promise.configuration.voters, awaiting: others, granted: 0)
        }
    }

    private mutating func ask(_ by: Int, _ of: Int) {
        guard case .preparing(let ballot, let members, var awaiting, var granted) = self.servers[by].process else {
            return
        }
        awaiting.removeAll { $0 == of }
        let configuration = Configuration(voters: members)
        let promise = Bootstrap.Promise(
            founder: self.servers[by].bootstrap.me.id, ballot: ballot, configuration: configuration)
        // Whoever is reached at the address may be another incarnation than the one that was meant.
        if self.servers[of].bootstrap.prepare(promise, logIsEmpty: self.servers[of].cluster == nil) { granted += 1 }
        self.servers[by].process = .preparing(ballot: ballot, members: members, awaiting: awaiting, granted: granted)
    }

    private mutating func finish(_ position: Int) {
        guard case .preparing(let ballot, _, _, let granted) = self.servers[position].process else { return }
        self.servers[position].process = .idle
        let promise = self.servers[position].bootstrap.promise
        guard granted == self.servers.count - 1, promise?.founder == self.servers[position].bootstrap.me.id,
            promise?.ballot == ballot
        else { return }
        self.founded += 1
        self.servers[position].cluster = self.founded
    }

    /// Everyone answers and nobody fails: rounds of all servers in turn.
    mutating func settle(rounds: Int) {
        for _ in 0..<rounds {
            for position in self.servers.indices where self.servers[position].cluster == nil {
                self.servers[position].process = .idle
                self.apply(.start(position))
                for other in self.servers.indices where other != position {
                    self.apply(.answer(to: position, from: other))
                }
                self.apply(.close(position))
                if case .preparing = self.servers[position].process {
                    for other in self.servers.indices where other != position {
                        self.apply(.ask(by: position, of: other))
                    }
                    self.apply(.finish(position))
                }
                if self.servers[position].process == .joining,
                    let from = self.servers.firstIndex(where: { $0.cluster != nil })
                {
                    self.apply(.replicate(from: from, to: position))
                }
            }
        }
    }
}
