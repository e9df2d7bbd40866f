import Protocol
import Raft
import SwiftProtobuf
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Why bytes are no Raft message.
public enum RaftWireError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The message has no kind, or one that this version does not know.
    case unknownKind
    /// A field's value makes no sense; named as in the schema.
    case invalid(field: String, reason: String)

    public var description: String {
        switch self {
        case .unknownKind: "unknown kind of Raft message"
        case .invalid(let field, let reason): "\(field) \(reason)"
        }
    }
}

extension RaftWire {
    /// Terms, indexes, positions and sequences stay below this (2^62), so that counting up from one can't overflow:
    /// at a thousand million a second it would take 146 years to get there.
    public static let numberMax: UInt64 = 1 << 62
    public static let membersMax = 64
    public static let textBytesMax = 512
    static let entriesMax = 65_536
    static let chainBytesMax = 64

    public static func decode(_ wire: PeerRaftMessage) throws(RaftWireError) -> Raft.Message {
        guard wire.from != 0 else { throw .invalid(field: "from", reason: "is 0") }
        guard wire.to != 0 else { throw .invalid(field: "to", reason: "is 0") }
        guard let kind = wire.kind else { throw .unknownKind }
        let term = Term(try Self.number(wire.term, "term"))
        return Raft.Message(
            from: NodeID(wire.from), to: NodeID(wire.to), term: term, body: try Self.decode(kind, term: term))
    }

    private static func decode(
        _ kind: PeerRaftMessage.OneOf_Kind, term: Term
    ) throws(RaftWireError) -> Raft.Message.Body {
        switch kind {
        case .voteRequest(let wire):
            return .voteRequest(
                lastIndex: try Self.index(wire.lastIndex, "last_index"),
                lastTerm: Term(try Self.number(wire.lastTerm, "last_term")), pre: wire.pre, transfer: wire.transfer)
        case .voteResponse(let wire): return .voteResponse(granted: wire.granted, pre: wire.pre)
        case .append(let wire): return .append(try Self.decode(wire, term: term))
        case .appendResponse(let wire): return .appendResponse(try Self.decode(wire))
        case .snapshotChunk(let wire): return .snapshotChunk(try Self.decode(wire))
        case .snapshotResponse(let wire):
            return .snapshotResponse(
                Raft.Message.SnapshotResponse(
                    snapshotIndex: try Self.index(wire.snapshotIndex, "snapshot_index"),
                    nextOffset: try Self.number(wire.nextOffset, "next_offset"), installed: wire.installed,
                    refused: wire.refused))
        case .timeoutNow: return .timeoutNow
        case .readIndexRequest(let wire): return .readIndexRequest(context: wire.context, confirms: wire.confirms)
        case .readIndexResponse(let wire):
            return .readIndexResponse(
                context: wire.context, index: try Self.index(wire.index, "index"), refused: wire.refused)
        }
    }

    private static func decode(_ wire: PeerAppend, term: Term) throws(RaftWireError) -> Raft.Message.Append {
        guard wire.entries.count <= Self.entriesMax else {
            throw .invalid(field: "entries", reason: "has more than \(Self.entriesMax)")
        }
        let previousIndex = try Self.index(wire.previousIndex, "previous_index")
        let previousTerm = Term(try Self.number(wire.previousTerm, "previous_term"))
        var entries: [Raft.Entry] = []
        entries.reserveCapacity(wire.entries.count)
        var last = (index: previousIndex, term: previousTerm)
        for wireEntry in wire.entries {
            let entry = try Self.decode(wireEntry)
            guard entry.index == last.index.next else {
                throw .invalid(field: "entries", reason: "jump from index \(last.index) to \(entry.index)")
            }
            guard entry.term >= last.term, entry.term <= term else {
                throw .invalid(field: "entries", reason: "have term \(entry.term) after \(last.term) in term \(term)")
            }
            last = (entry.index, entry.term)
            entries.append(entry)
        }
        return Raft.Message.Append(
            previousIndex: previousIndex, previousTerm: previousTerm, entries: entries,
            commit: try Self.index(wire.commit, "commit"),
            readPosition: try Self.number(wire.readPosition, "read_position"),
            sequence: try Self.number(wire.sequence, "sequence"), knowsQuarantine: wire.knowsQuarantine)
    }

    private static func decode(_ wire: PeerAppendResponse) throws(RaftWireError) -> Raft.Message.AppendResponse {
        Raft.Message.AppendResponse(
            rejected: wire.rejected,
            matchIndex: try Self.index(wire.matchIndex, "match_index"),
            hintIndex: try Self.index(wire.hintIndex, "hint_index"),
            hintTerm: Term(try Self.number(wire.hintTerm, "hint_term")),
            readPosition: try Self.number(wire.readPosition, "read_position"),
            sequence: try Self.number(wire.sequence, "sequence"),
            applied: try Self.index(wire.applied, "applied"),
            quarantined: wire.quarantined)
    }

    private static func decode(_ wire: PeerSnapshotChunk) throws(RaftWireError) -> Raft.Message.SnapshotChunk {
        guard wire.hasMeta else { throw .invalid(field: "meta", reason: "is missing") }
        let meta = try Self.decode(wire.meta)
        let offset = try Self.number(wire.offset, "offset")
        // Neither sum nor comparison can overflow: both are below 2^62.
        guard offset <= meta.totalBytes, UInt64(wire.data.count) <= meta.totalBytes - offset else {
            throw .invalid(field: "data", reason: "goes beyond the snapshot's \(meta.totalBytes) bytes")
        }
        return Raft.Message.SnapshotChunk(
            meta: meta, offset: offset, data: wire.data.array, checksum: wire.crc32, isLast: wire.last)
    }

    public static func decode(_ wire: PeerEntry) throws(RaftWireError) -> Raft.Entry {
        let index = try Self.index(wire.index, "entry.index")
        guard index != .zero else { throw .invalid(field: "entry.index", reason: "is 0") }
        let payload: Raft.Payload
        switch wire.kind {
        case EntryKind.noop:
            guard wire.data.isEmpty else { throw .invalid(field: "entry.data", reason: "must be empty for a no-op") }
            payload = .noop
        case EntryKind.command: payload = .command(wire.data.array)
        case EntryKind.configuration:
            guard let inner = try? PeerConfiguration(serializedBytes: wire.data) else {
                throw .invalid(field: "entry.data", reason: "is no configuration")
            }
            let configuration = try Self.decode(inner)
            guard !configuration.isEmpty else { throw .invalid(field: "voters", reason: "is empty") }
            payload = .configuration(configuration)
        default: throw .invalid(field: "entry.kind", reason: "\(wire.kind) is unknown")
        }
        return Raft.Entry(term: Term(try Self.number(wire.term, "entry.term")), index: index, payload: payload)
    }

    public static func decode(_ wire: PeerSnapshotMeta) throws(RaftWireError) -> Raft.SnapshotMeta {
        guard wire.sha256.count == 32 else { throw .invalid(field: "sha256", reason: "must have 32 bytes") }
        guard wire.chain.count <= Self.chainBytesMax else {
            throw .invalid(field: "chain", reason: "has more than \(Self.chainBytesMax) bytes")
        }
        let index = try Self.index(wire.index, "meta.index")
        let configurationIndex = try Self.index(wire.configurationIndex, "meta.configuration_index")
        guard configurationIndex <= index else {
            throw .invalid(field: "meta.configuration_index", reason: "lies beyond the snapshot")
        }
        return Raft.SnapshotMeta(
            index: index, term: Term(try Self.number(wire.term, "meta.term")),
            configuration: try Self.decode(wire.configuration), configurationIndex: configurationIndex,
            totalBytes: try Self.number(wire.totalBytes, "total_bytes"), sha256: wire.sha256.array,
            chain: wire.chain.array)
    }

    /// May be empty: a node that has no configuration yet says so. An entry's configuration may not.
    public static func decode(_ wire: PeerConfiguration) throws(RaftWireError) -> Raft.Configuration {
        let voters = try Self.members(wire.voters, "voters")
        let outgoing = try Self.members(wire.outgoing, "outgoing")
        let learners = try Self.members(wire.learners, "learners")
        guard wire.joint || outgoing.isEmpty else {
            throw .invalid(field: "outgoing", reason: "is set outside of a joint configuration")
        }
        guard !wire.joint || !outgoing.isEmpty else {
            throw .invalid(field: "outgoing", reason: "is empty in a joint configuration")
        }
        let voting = Set(voters.map(\.id))
        guard !learners.contains(where: { voting.contains($0.id) }) else {
            throw .invalid(field: "learners", reason: "names a voter")
        }
        return Raft.Configuration(voters: voters, outgoing: wire.joint ? outgoing : nil, learners: learners)
    }

    private static func members(_ wire: [PeerMember], _ field: String) throws(RaftWireError) -> [Raft.Member] {
        guard wire.count <= Self.membersMax else {
            throw .invalid(field: field, reason: "has more than \(Self.membersMax) members")
        }
        var members: [Raft.Member] = []
        for wireMember in wire {
            let member = try Self.decode(wireMember)
            if let last = members.last, last.id >= member.id {
                throw .invalid(field: field, reason: "is not sorted by id, or names a member twice")
            }
            members.append(member)
        }
        return members
    }

    public static func decode(_ wire: PeerMember) throws(RaftWireError) -> Raft.Member {
        guard wire.id != 0 else { throw .invalid(field: "member.id", reason: "is 0") }
        guard wire.name.utf8.count <= Self.textBytesMax else {
            throw .invalid(field: "member.name", reason: "is too long")
        }
        guard wire.address.utf8.count <= Self.textBytesMax else {
            throw .invalid(field: "member.address", reason: "is too long")
        }
        return Raft.Member(id: NodeID(wire.id), name: wire.name, address: wire.address)
    }

    private static func number(_ value: UInt64, _ field: String) throws(RaftWireError) -> UInt64 {
        guard value < Self.numberMax else { throw .invalid(field: field, reason: "\(value) is out of range") }
        return value
    }

    private static func index(_ value: UInt64, _ field: String) throws(RaftWireError) -> LogIndex {
        LogIndex(try Self.number(value, field))
    }
}
