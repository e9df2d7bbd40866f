import Units

/// A server as the log knows it. Its name and address travel with the configuration, so that every server can reach
/// every other from the log alone.
public struct Member: Sendable, Equatable, Hashable {
    public var id: NodeID
    public var name: String
    /// `host:port` of its RPC listener.
    public var address: String

    public init(id: NodeID, name: String = "", address: String = "") {
        self.id = id
        self.name = name
        self.address = address
    }
}

/// Who votes and who only listens. Lists are sorted by id and disjoint, except that `outgoing` may share members with
/// `voters` and `learners`: it is the old half of a joint configuration (dissertation §4.3), nil outside of one.
public struct Configuration: Sendable, Equatable {
    public var voters: [Member]
    public var outgoing: [Member]?
    public var learners: [Member]

    public init(voters: [Member], outgoing: [Member]? = nil, learners: [Member] = []) {
        self.voters = voters.sorted { $0.id < $1.id }
        self.outgoing = outgoing?.sorted { $0.id < $1.id }
        self.learners = learners.sorted { $0.id < $1.id }
    }

    public static let empty = Configuration(voters: [])

    public var isJoint: Bool { self.outgoing != nil }
    public var isEmpty: Bool { self.voters.isEmpty }

    /// Every member once, sorted by id.
    public var allMembers: [Member] {
        var members = self.voters
        for member in (self.outgoing ?? []) + self.learners where !members.contains(where: { $0.id == member.id }) {
            members.append(member)
        }
        return members.sorted { $0.id < $1.id }
    }

    public func isVoter(_ id: NodeID) -> Bool {
        self.voters.contains { $0.id == id } || (self.outgoing ?? []).contains { $0.id == id }
    }
    public func contains(_ id: NodeID) -> Bool { self.allMembers.contains { $0.id == id } }
    public func member(_ id: NodeID) -> Member? { self.allMembers.first { $0.id == id } }
}
