import Raft
import Units

/// How servers with empty logs become one cluster, and never two.
///
/// A server founds only what every expected server has promised, and each server stands by one promise at a time, on
/// disk. The founder is the server with the lowest id; only it writes the first entry, after all promises are in.
///
/// Why two clusters can't come about: to found {A, B, C} its founder needs a promise of each of A, B and C, and so does
/// the founder of any other configuration that shares a server with it. A promise ends in two ways only, both while
/// every expected server answers with an empty log:
/// - the founder's data directory is gone (its name answers with another id): nothing that could have been acknowledged
///   in a cluster of its founding is left anywhere;
/// - the founder says that it stands by another's promise now: it has given its own attempt up, since it founds only
///   while it stands by itself. Its word counts when it was asked for after the promise was given; `generation` tells.
///   A founder gives its attempt up only for a server with a lower id, which may come up after a wipe.
public struct Bootstrap: Sendable {
    /// A server's word that it will be part of this configuration and no other; durable before it is given.
    public struct Promise: Sendable, Equatable {
        public var founder: NodeID
        /// Rises with each attempt of one founder.
        public var ballot: UInt64
        public var configuration: Configuration

        public init(founder: NodeID, ballot: UInt64, configuration: Configuration) {
            self.founder = founder
            self.ballot = ballot
            self.configuration = configuration
        }
    }

    /// What a server says of itself.
    public struct Answer: Sendable, Equatable {
        public var member: Member
        public var expect: Int
        /// Its log is not empty: a cluster exists.
        public var hasConfiguration: Bool
        /// The founder that it stands by; nil for none.
        public var promisedTo: NodeID?

        public init(member: Member, expect: Int, hasConfiguration: Bool, promisedTo: NodeID? = nil) {
            self.member = member
            self.expect = expect
            self.hasConfiguration = hasConfiguration
            self.promisedTo = promisedTo
        }
    }

    public enum Step: Sendable, Equatable {
        /// Not yet; the text says what is waited for.
        case wait(String)
        /// A cluster exists: ask these servers to be taken in.
        case join([Member])
        /// Make this promise durable, ask the others for the same, and found when all have given it and this server
        /// still stands by it.
        case prepare(Promise)
        /// The promise no longer binds; go on with the next round.
        case forget
    }

    public let me: Member
    public let expect: Int
    public private(set) var promise: Promise?
    /// Rises with each promise that is given. A round names the one it began its questions in.
    public private(set) var generation: UInt64 = 0

    public init(me: Member, expect: Int, promise: Promise?) {
        self.me = me
        self.expect = expect
        self.promise = promise
    }

    /// One round: everyone who answered, this server left out. `generation` as it was before anyone was asked.
    public mutating func round(_ answers: [Answer], asked generation: UInt64) -> Step {
        let others = answers.filter { $0.member.id != self.me.id }
        let existing = others.filter(\.hasConfiguration)
        if !existing.isEmpty { return .join(existing.map(\.member)) }
        guard self.expect > 0 else { return .wait("this server founds no cluster (bootstrap_expect is not set)") }
        if let other = others.first(where: { $0.expect != self.expect }) {
            return .wait(
                "\(other.member.name) expects \(other.expect) servers, this one \(self.expect): set bootstrap_expect alike"
            )
        }
        var members = [self.me]
        for answer in others where !members.contains(where: { $0.id == answer.member.id }) {
            if let twin = members.first(where: { $0.name == answer.member.name }) {
                return .wait("two servers are named \(twin.name): at \(twin.address) and at \(answer.member.address)")
            }
            members.append(answer.member)
        }
        guard members.count == self.expect else {
            return .wait("\(members.count) of \(self.expect) expected servers have answered")
        }
        guard generation == self.generation else {
            return .wait("another server has just asked for this one's promise")
        }
        return self.found(members, others)
    }

    private mutating func found(_ members: [Member], _ others: [Answer]) -> Step {
        if let promise = self.promise, promise.founder != self.me.id {
            if let founder = others.first(where: { $0.member.id == promise.founder }) {
                if founder.promisedTo != promise.founder {
                    self.promise = nil
                    return .forget
                }
            } else {
                let name = promise.configuration.member(promise.founder)?.name
                guard members.contains(where: { $0.name == name }) else {
                    return .wait("the founder \(name ?? promise.founder.description) does not answer")
                }
                self.promise = nil
                return .forget
            }
        }
        let configuration = Configuration(voters: members)
        guard configuration.voters.first?.id == self.me.id else {
            return .wait("\(configuration.voters.first?.name ?? "") founds the cluster")
        }
        if let promise = self.promise, promise.founder != self.me.id {
            return .wait("stands by \(promise.configuration.member(promise.founder)?.name ?? "another founder")")
        }
        let promise = Promise(
            founder: self.me.id, ballot: (self.promise?.ballot ?? 0) + 1, configuration: configuration)
        self.promise = promise
        return .prepare(promise)
    }

    /// Another server asks for this server's word. True: it must be durable before the answer leaves.
    public mutating func prepare(_ asked: Promise, logIsEmpty: Bool) -> Bool {
        guard logIsEmpty, asked.founder != self.me.id,
            asked.configuration.voters.contains(where: { $0.id == self.me.id }),
            asked.configuration.voters.contains(where: { $0.id == asked.founder })
        else { return false }
        if let promise = self.promise {
            let isNextAttempt = promise.founder == asked.founder && promise.ballot < asked.ballot
            let givesOwnUp = promise.founder == self.me.id && asked.founder < self.me.id
            guard isNextAttempt || givesOwnUp else { return false }
        }
        self.promise = asked
        self.generation += 1
        return true
    }
}
