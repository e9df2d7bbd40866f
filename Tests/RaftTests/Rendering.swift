import Raft
import Units

/// Directives as one line each, for scenarios. Entries are `index.term:payload`, a noop is `-`, a configuration
/// `{voters | old voters | learners}`.
enum Rendering {
    static func text(_ entry: Entry) -> String {
        switch entry.payload {
        case .noop: "\(entry.index).\(entry.term):-"
        case .command(let bytes): "\(entry.index).\(entry.term):\(String(decoding: bytes, as: UTF8.self))"
        case .configuration(let configuration): "\(entry.index).\(entry.term):\(Self.text(configuration))"
        }
    }

    static func text(_ entries: [Entry]) -> String { "[" + entries.map { Self.text($0) }.joined(separator: " ") + "]" }

    static func text(_ configuration: Configuration) -> String {
        func list(_ members: [Member]) -> String { members.map { "\($0.id.rawValue)" }.joined(separator: " ") }
        var parts = [list(configuration.voters)]
        if let outgoing = configuration.outgoing { parts.append("leaving " + list(outgoing)) }
        if !configuration.learners.isEmpty { parts.append("learning " + list(configuration.learners)) }
        return "{" + parts.joined(separator: ", ") + "}"
    }

    static func text(_ id: NodeID?) -> String { id.map { "\($0.rawValue)" } ?? "nobody" }

    static func text(_ directive: Directive) -> String {
        switch directive {
        case .persist(let batch): Self.text(batch)
        case .send(let message): "-> \(message.to.rawValue) t\(message.term) \(Self.text(message.body))"
        case .apply(let entries): "apply \(Self.text(entries))"
        case .fetchEntries(let peer, let from, let to, _): "fetch \(from)...\(to) for \(peer.rawValue)"
        case .readSnapshotChunk(let peer, let meta, let offset, _):
            "read snapshot \(meta.index) at \(offset) for \(peer.rawValue)"
        case .storeSnapshotChunk(let chunk, _):
            "store snapshot \(chunk.meta.index) bytes \(chunk.offset)..<\(chunk.offset + UInt64(chunk.data.count))"
        case .installSnapshot(let meta, _): "install snapshot \(meta.index).\(meta.term)"
        case .proposed(_, let first, let term): "proposed from \(first) in term \(term)"
        case .proposalRefused(_, let reason): "proposal refused: \(Self.text(reason))"
        case .readReady(let tokens, let index): "\(tokens.count) read(s) ready at \(index)"
        case .readRefused(let tokens, let reason): "\(tokens.count) read(s) refused: \(Self.text(reason))"
        case .membershipChanged: "membership changed"
        case .membershipRefused(_, let reason): "membership change refused: \(Self.text(reason))"
        case .transferDone: "transfer done"
        case .transferRefused(_, let reason): "transfer refused: \(Self.text(reason))"
        case .trace(let event): "* \(Self.text(event))"
        }
    }

    private static func text(_ batch: PersistBatch) -> String {
        var parts: [String] = []
        if let from = batch.truncateFrom { parts.append("cut from \(from)") }
        if !batch.entries.isEmpty { parts.append(Self.text(batch.entries)) }
        if let hard = batch.hardState { parts.append("term \(hard.term) vote \(Self.text(hard.vote))") }
        return "persist #\(batch.id) " + parts.joined(separator: ", ")
    }

    private static func text(_ body: Message.Body) -> String {
        switch body {
        case .voteRequest(let index, let term, let pre, let transfer):
            "\(pre ? "pre-vote" : "vote")? log \(index).\(term)\(transfer ? " by transfer" : "")"
        case .voteResponse(let granted, let pre): "\(pre ? "pre-vote" : "vote") \(granted ? "granted" : "refused")"
        case .append(let append):
            "append after \(append.previousIndex).\(append.previousTerm) \(Self.text(append.entries)) commit \(append.commit)"
                + (append.readPosition > 0 ? " read \(append.readPosition)" : "") + " #\(append.sequence)"
                + (append.knowsQuarantine ? " knowing of the quarantine" : "")
        case .appendResponse(let answer): Self.text(answer)
        case .snapshotChunk(let chunk):
            "snapshot \(chunk.meta.index).\(chunk.meta.term) at \(chunk.offset), \(chunk.data.count) bytes"
                + (chunk.isLast ? ", the last" : "")
        case .snapshotResponse(let answer):
            answer.refused
                ? "snapshot \(answer.snapshotIndex) refused"
                : answer.installed
                    ? "snapshot \(answer.snapshotIndex) installed" : "snapshot wanted from \(answer.nextOffset)"
        case .timeoutNow: "campaign now"
        case .readIndexRequest(_, let confirms): confirms ? "read index?" : "read index? (in quarantine)"
        case .readIndexResponse(_, let index, let refused): refused ? "read index refused" : "read index \(index)"
        }
    }

    private static func text(_ answer: Message.AppendResponse) -> String {
        let what =
            answer.rejected
            ? "refused after \(answer.matchIndex), try \(answer.hintIndex).\(answer.hintTerm)"
            : "matches to \(answer.matchIndex)"
        return what + (answer.readPosition > 0 ? " read \(answer.readPosition)" : "") + " #\(answer.sequence)"
            + (answer.quarantined ? " in quarantine" : "")
    }

    private static func text(_ reason: RefusalReason) -> String {
        switch reason {
        case .notLeader(let leader): "not the leader, that is \(Self.text(leader))"
        case .lostLeadership: "lost leadership"
        case .overloaded: "overloaded"
        case .diskFull: "disk full"
        case .quarantined: "quarantined"
        case .membershipChangeInProgress: "a change is in progress"
        case .termNotCommitted: "nothing of this term is committed"
        case .invalid: "invalid"
        case .timedOut: "timed out"
        }
    }

    private static func text(_ event: TraceEvent) -> String {
        switch event {
        case .becameFollower(let term, let leader): "follower of \(Self.text(leader)) in term \(term)"
        case .becamePreCandidate(let term): "pre-candidate in term \(term)"
        case .becameCandidate(let term): "candidate in term \(term)"
        case .becameLeader(let term): "leader of term \(term)"
        case .leaderChanged(let leader, _): "knows as leader: \(Self.text(leader))"
        case .configurationAppended(let configuration, let index):
            "configuration \(Self.text(configuration)) at \(index)"
        case .configurationCommitted(_, let index): "configuration at \(index) committed"
        case .configurationRolledBack(let configuration, let index):
            "configuration back to \(Self.text(configuration)) at \(index)"
        case .steppedDown(_, let reason): "stepped down: \(reason)"
        case .quarantineLifted(let index): "quarantine lifted at \(index)"
        case .snapshotSendStarted(let peer, let index): "sends snapshot \(index) to \(peer.rawValue)"
        case .snapshotInstalled(let index): "snapshot \(index) installed"
        case .ignored(let what): "ignored: \(what.prefix { $0 != "0" })"
        }
    }
}
