import Protocol
import Raft
import SwiftProtobuf
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Raft messages to their wire form and back. Encoding is total. Decoding checks all that the algorithm takes for
/// granted about a message's shape (order of entries, sorted member lists, numbers that can be counted up from), so
/// that bytes from outside can't trip an invariant; it knows nothing about the receiver's state.
public enum RaftWire {
    public static func encode(_ message: Raft.Message) -> PeerRaftMessage {
        var wire = PeerRaftMessage()
        wire.from = message.from.rawValue
        wire.to = message.to.rawValue
        wire.term = message.term.rawValue
        wire.kind = Self.encode(message.body)
        return wire
    }

    private static func encode(_ body: Raft.Message.Body) -> PeerRaftMessage.OneOf_Kind {
        switch body {
        case .voteRequest(let lastIndex, let lastTerm, let pre, let transfer):
            var wire = PeerVoteRequest()
            wire.lastIndex = lastIndex.rawValue
            wire.lastTerm = lastTerm.rawValue
            wire.pre = pre
            wire.transfer = transfer
            return .voteRequest(wire)
        case .voteResponse(let granted, let pre):
            var wire = PeerVoteResponse()
            wire.granted = granted
            wire.pre = pre
            return .voteResponse(wire)
        case .append(let append): return .append(Self.encode(append))
        case .appendResponse(let response): return .appendResponse(Self.encode(response))
        case .snapshotChunk(let chunk): return .snapshotChunk(Self.encode(chunk))
        case .snapshotResponse(let response):
            var wire = PeerSnapshotResponse()
            wire.snapshotIndex = response.snapshotIndex.rawValue
            wire.nextOffset = response.nextOffset
            wire.installed = response.installed
            wire.refused = response.refused
            return .snapshotResponse(wire)
        case .timeoutNow: return .timeoutNow(PeerTimeoutNow())
        case .readIndexRequest(let context, let confirms):
            var wire = PeerReadIndexRequest()
            wire.context = context
            wire.confirms = confirms
            return .readIndexRequest(wire)
        case .readIndexResponse(let context, let index, let refused):
            var wire = PeerReadIndexResponse()
            wire.context = context
            wire.index = index.rawValue
            wire.refused = refused
            return .readIndexResponse(wire)
        }
    }

    private static func encode(_ append: Raft.Message.Append) -> PeerAppend {
        var wire = PeerAppend()
        wire.previousIndex = append.previousIndex.rawValue
        wire.previousTerm = append.previousTerm.rawValue
        wire.commit = append.commit.rawValue
        wire.entries = append.entries.map(Self.encode)
        wire.readPosition = append.readPosition
        wire.sequence = append.sequence
        wire.knowsQuarantine = append.knowsQuarantine
        return wire
    }

    private static func encode(_ response: Raft.Message.AppendResponse) -> PeerAppendResponse {
        var wire = PeerAppendResponse()
        wire.rejected = response.rejected
        wire.matchIndex = response.matchIndex.rawValue
        wire.hintIndex = response.hintIndex.rawValue
        wire.hintTerm = response.hintTerm.rawValue
        wire.readPosition = response.readPosition
        wire.sequence = response.sequence
        wire.applied = response.applied.rawValue
        wire.quarantined = response.quarantined
        return wire
    }

    private static func encode(_ chunk: Raft.Message.SnapshotChunk) -> PeerSnapshotChunk {
        var wire = PeerSnapshotChunk()
        wire.meta = Self.encode(chunk.meta)
        wire.offset = chunk.offset
        wire.data = Data(chunk.data)
        wire.crc32 = chunk.checksum
        wire.last = chunk.isLast
        return wire
    }

    /// Values of `Entry.kind`.
    enum EntryKind {
        static let noop: UInt32 = 0
        static let command: UInt32 = 1
        static let configuration: UInt32 = 2
    }

    public static func encode(_ entry: Raft.Entry) -> PeerEntry {
        var wire = PeerEntry()
        wire.term = entry.term.rawValue
        wire.index = entry.index.rawValue
        switch entry.payload {
        case .noop: wire.kind = EntryKind.noop
        case .command(let bytes):
            wire.kind = EntryKind.command
            wire.data = Data(bytes)
        case .configuration(let configuration):
            wire.kind = EntryKind.configuration
            // Fails only for required fields (proto3 has none) and beyond 2 GiB (member lists are bounded).
            let bytes: [UInt8]? = try? Self.encode(configuration).serializedBytes()
            wire.data = Data(bytes ?? [])
        }
        return wire
    }

    public static func encode(_ meta: Raft.SnapshotMeta) -> PeerSnapshotMeta {
        var wire = PeerSnapshotMeta()
        wire.index = meta.index.rawValue
        wire.term = meta.term.rawValue
        wire.configuration = Self.encode(meta.configuration)
        wire.configurationIndex = meta.configurationIndex.rawValue
        wire.totalBytes = meta.totalBytes
        wire.sha256 = Data(meta.sha256)
        wire.chain = Data(meta.chain)
        return wire
    }

    public static func encode(_ configuration: Raft.Configuration) -> PeerConfiguration {
        var wire = PeerConfiguration()
        wire.voters = configuration.voters.map(Self.encode)
        wire.outgoing = (configuration.outgoing ?? []).map(Self.encode)
        wire.learners = configuration.learners.map(Self.encode)
        wire.joint = configuration.isJoint
        return wire
    }

    public static func encode(_ member: Raft.Member) -> PeerMember {
        var wire = PeerMember()
        wire.id = member.id.rawValue
        wire.name = member.name
        wire.address = member.address
        return wire
    }
}
