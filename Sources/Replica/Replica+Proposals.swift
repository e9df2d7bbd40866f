import DequeModule
import Protocol
import Raft
import Registry
import SwiftProtobuf
import Units

extension Replica {
    mutating func propose(
        _ envelope: LogEnvelope, token: UInt64, at now: Instant, wallTime: UInt64,
        into directives: inout [ReplicaDirective]
    ) {
        guard self.isLeader else {
            directives.append(.refuse(token: token, .notLeader(self.raft.leader), mayApply: false))
            return
        }
        // Entries of earlier leaders may name later times than this server's clock. Until they are applied, they are not
        // known, and time would go back in the log: lock delays would end early.
        guard self.registry.appliedTerm == self.raft.term else {
            self.proposalRefused(token: token, .notLeader(nil), into: &directives)
            return
        }
        var stamped = envelope
        stamped.format = Self.envelopeFormat
        stamped.wallTimeNs = self.clock.stamp(
            at: now, wallTime: wallTime, notBefore: self.registry.newestWallTime)
        guard let bytes: [UInt8] = try? stamped.serializedBytes() else {
            directives.append(.refuse(token: token, .invalid("the command cannot be encoded"), mayApply: false))
            return
        }
        guard bytes.count <= self.settings.largestEntry.rawValue else {
            let text = "a command of \(bytes.count) bytes is larger than \(self.settings.largestEntry.rawValue)"
            directives.append(.refuse(token: token, .invalid(text), mayApply: false))
            return
        }
        self.proposing = stamped
        self.raftStep(.propose(token: token, payloads: [bytes]), at: now, into: &directives)
        self.proposing = nil
    }

    /// The format that this version writes, and the newest it reads.
    public static var envelopeFormat: UInt32 { 1 }

    mutating func proposed(token: UInt64, at index: LogIndex, term: Term) {
        guard let envelope = self.proposing else { return }
        invariant(
            self.proposals.last.map { $0.index < index || $0.term < term } ?? true,
            "proposal \(index) of term \(term) after \(String(describing: self.proposals.last?.index))")
        self.proposals.append(PendingProposal(index: index, term: term, token: token, envelope: envelope))
    }

    mutating func proposalRefused(
        token: UInt64, _ reason: RefusalReason, into directives: inout [ReplicaDirective]
    ) {
        if token & Self.internalBit == 0 {
            directives.append(.refuse(token: token, reason, mayApply: false))
        }
    }

    // MARK: - Apply

    mutating func apply(_ entries: [Entry], at now: Instant, into directives: inout [ReplicaDirective]) {
        for entry in entries {
            invariant(
                entry.index == self.registry.appliedIndex.next,
                "apply \(entry.index) after \(self.registry.appliedIndex)")
            let pending = self.takeProposal(at: entry, into: &directives)
            switch entry.payload {
            case .noop, .configuration:
                self.registry.applyEmpty(at: entry.index, term: entry.term)
            case .command(let bytes):
                self.bytesSinceSnapshot += UInt64(bytes.count)
                guard let applied = self.apply(bytes, of: entry, pending: pending, into: &directives) else { return }
                self.finish(applied, token: pending?.token, envelope: pending?.envelope, at: now, into: &directives)
            }
            self.appliedInStep = true
        }
    }

    /// nil when the server must stop.
    private mutating func apply(
        _ bytes: [UInt8], of entry: Entry, pending: PendingProposal?, into directives: inout [ReplicaDirective]
    ) -> Applied? {
        do {
            let envelope = try pending?.envelope ?? LogEnvelope(serializedBytes: bytes)
            guard envelope.format <= Self.envelopeFormat else {
                self.halt(
                    "log entry \(entry.index) has format \(envelope.format), this version knows up to "
                        + "\(Self.envelopeFormat): run the version that wrote it, or a newer one", into: &directives)
                return nil
            }
            return try self.registry.apply(envelope, at: entry.index, term: entry.term)
        } catch {
            self.halt("log entry \(entry.index) of term \(entry.term) can't be applied: \(error)", into: &directives)
            return nil
        }
    }

    private mutating func finish(
        _ applied: Applied, token: UInt64?, envelope: LogEnvelope?, at now: Instant,
        into directives: inout [ReplicaDirective]
    ) {
        if applied.everythingTouched {
            self.everythingTouched = true
        } else {
            self.touched += applied.touched
        }
        if self.duties != nil { self.noteApplied(applied, at: now) }
        if let token, token & Self.internalBit == 0 {
            directives.append(.answer(token: token, applied.result))
        }
    }

    /// The proposal that stands at the entry's index, if it is the one that this server made. Proposals before it, or
    /// at it with another term, were overwritten: they can never be applied.
    private mutating func takeProposal(at entry: Entry, into directives: inout [ReplicaDirective]) -> PendingProposal? {
        while let first = self.proposals.first, first.index <= entry.index {
            self.proposals.removeFirst()
            if first.index == entry.index, first.term == entry.term { return first }
            if first.token & Self.internalBit == 0 {
                directives.append(.refuse(token: first.token, .lostLeadership, mayApply: false))
            }
        }
        return nil
    }

    /// Leadership is gone: whether these take effect is the next leader's to say. Their callers retry with the same
    /// sequence, which is applied once.
    mutating func refuseProposals(into directives: inout [ReplicaDirective]) {
        for proposal in self.proposals where proposal.token & Self.internalBit == 0 {
            directives.append(.refuse(token: proposal.token, .lostLeadership, mayApply: true))
        }
        self.proposals.removeAll()
    }

    mutating func halt(_ reason: String, into directives: inout [ReplicaDirective]) {
        self.halted = true
        directives.append(.halt(reason))
    }
}

/// The leader's wall time for entries: it goes on by the monotonic clock within a term, so that a jump of the wall
/// clock moves no lock delay, and never behind what was applied before, in this life or in those before it: the registry,
/// which a snapshot brings back, remembers it.
package struct LeaderClock: Sendable {
    private var base: (wall: UInt64, at: Instant)?

    package init() {}

    mutating func becomeLeader() { self.base = nil }

    mutating func stamp(at now: Instant, wallTime: UInt64, notBefore newest: UInt64) -> UInt64 {
        let base = self.base ?? (max(wallTime, newest), now)
        self.base = base
        return max(base.wall &+ now.since(base.at).rawValue, newest)
    }
}
