import Protocol
import Raft
import Registry
import Units

extension Replica {
    /// What operators' tables show; progress and contact times are filled in by a leader alone.
    public func status(at now: Instant) -> PeerRaftStatus {
        var status = PeerRaftStatus()
        status.configuration = PeerConfiguration(self.raft.configuration)
        status.configurationIndex = self.raft.configurationIndex.rawValue
        status.leader = self.raft.leader?.rawValue ?? 0
        status.term = self.raft.term.rawValue
        status.commit = self.raft.commitIndex.rawValue
        status.applied = self.registry.appliedIndex.rawValue
        status.lastIndex = self.raft.lastIndex.rawValue
        guard self.isLeader else { return status }
        for member in self.raft.configuration.allMembers {
            var progress = PeerPeerProgress()
            progress.id = member.id.rawValue
            if member.id == self.id {
                progress.matchIndex = self.raft.lastIndex.rawValue
            } else if let match = self.raft.matchIndex(of: member.id) {
                progress.matchIndex = match.rawValue
                let contact = self.raft.lastContact(with: member.id)
                progress.lastContactMs = contact.map { now.since($0).rawValue / 1_000_000 } ?? UInt64.max
            }
            status.progress.append(progress)
        }
        return status
    }
}

extension PeerMember {
    public init(_ member: Member) {
        self.init()
        self.id = member.id.rawValue
        self.name = member.name
        self.address = member.address
    }

    public var member: Member { Member(id: NodeID(self.id), name: self.name, address: self.address) }
}

extension PeerConfiguration {
    public init(_ configuration: Configuration) {
        self.init()
        self.voters = configuration.voters.map { PeerMember($0) }
        self.learners = configuration.learners.map { PeerMember($0) }
        self.joint = configuration.isJoint
        self.outgoing = (configuration.outgoing ?? []).map { PeerMember($0) }
    }

    public var configuration: Configuration {
        Configuration(
            voters: self.voters.map(\.member), outgoing: self.joint ? self.outgoing.map(\.member) : nil,
            learners: self.learners.map(\.member))
    }
}
