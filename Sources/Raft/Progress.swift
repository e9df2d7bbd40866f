import DequeModule
import Units

/// What a leader knows of one other server.
public struct Progress: Sendable, Equatable {
    public enum State: Sendable, Equatable {
        /// Where the logs agree is not known: one append at a time.
        case probe
        /// Appends are sent ahead of their answers.
        case replicate
        /// The server needs entries that are gone; it is sent a snapshot.
        case snapshot(SnapshotSend)
    }

    public struct SnapshotSend: Sendable, Equatable {
        public var meta: SnapshotMeta
        /// What the receiver holds.
        public var offset: UInt64
        /// When the last chunk was asked for or sent; it is sent again when no answer comes.
        public var askedAt: Instant
    }

    /// Everything up to here is known to be durable there.
    public internal(set) var matchIndex: LogIndex
    public internal(set) var nextIndex: LogIndex
    public internal(set) var state: State = .probe
    /// When an answer of this term came last.
    public internal(set) var lastContact: Instant
    /// Its disk may have lost entries: it counts in no quorum.
    public internal(set) var isQuarantined = false
    /// The newest sequence when it was last heard to be in quarantine. Without that mark, answers up to here are what the
    /// server said before it lost entries.
    var quarantinedThrough: UInt64 = 0
    public internal(set) var appliedIndex = LogIndex.zero

    /// Probe: an append is on its way. Cleared by an answer or the next heartbeat.
    var isPaused = false
    /// Entries are being read from disk for this server.
    var isFetching = false
    var inflight: Deque<Inflight> = []
    var inflightBytes = 0
    var sequence: UInt64 = 0
    /// Largest sequence among the accepting answers: an older refusal says nothing any more.
    var acceptedSequence: UInt64 = 0
    /// Messages up to this sequence were sent before probing began: their refusals are old news. Without this, each
    /// refusal of a window that arrived out of order would start another window.
    var ignoredThrough: UInt64 = 0
    var readPosition: UInt64 = 0
    var commitSent = LogIndex.zero
    var readPositionSent: UInt64 = 0

    struct Inflight: Sendable, Equatable {
        var last: LogIndex
        var bytes: Int
    }

    init(nextIndex: LogIndex, now: Instant) {
        self.matchIndex = .zero
        self.nextIndex = nextIndex
        self.lastContact = now
    }

    var isInSnapshot: Bool { if case .snapshot = self.state { true } else { false } }

    func mayCarryEntries(_ settings: RaftSettings) -> Bool {
        if self.isFetching { return false }
        switch self.state {
        case .probe: return !self.isPaused
        case .replicate:
            return self.inflight.count < settings.inflightMessagesMax
                && self.inflightBytes < settings.inflightBytes.rawValue
        case .snapshot: return false
        }
    }

    /// Something to say without entries: the commit index moved, or reads want confirmation.
    func hasNews(commit: LogIndex, readPosition: UInt64) -> Bool {
        if readPosition > self.readPositionSent { return true }
        return self.state == .replicate && commit > self.commitSent && self.commitSent < self.nextIndex.previous
    }

    /// It says that it is in quarantine. What it said before, it may no longer hold.
    mutating func heardOfQuarantine() {
        if !self.isQuarantined { self.matchIndex = .zero }
        self.isQuarantined = true
        self.quarantinedThrough = self.sequence
    }

    mutating func becomeProbe(nextIndex: LogIndex) {
        self.state = .probe
        self.ignoredThrough = self.sequence
        self.nextIndex = max(nextIndex, self.matchIndex.next)
        self.isPaused = false
        self.inflight.removeAll()
        self.inflightBytes = 0
    }

    mutating func becomeReplicate() {
        self.state = .replicate
        self.isPaused = false
        self.nextIndex = max(self.nextIndex, self.matchIndex.next)
        self.inflight.removeAll()
        self.inflightBytes = 0
    }

    mutating func sent(through last: LogIndex, bytes: Int) {
        self.inflight.append(Inflight(last: last, bytes: bytes))
        self.inflightBytes += bytes
    }

    mutating func acknowledged(through index: LogIndex) {
        while let first = self.inflight.first, first.last <= index {
            self.inflightBytes -= first.bytes
            self.inflight.removeFirst()
        }
    }
}
