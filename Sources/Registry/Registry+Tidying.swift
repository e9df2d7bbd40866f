import PersistentMap
import Units

// Old things go in small steps, a few with each command, at times that the envelopes name: every server removes the
// same ones at the same index.

extension Registry {
    static let tombstonesOutlive = Nanoseconds.seconds(15 * 60)
    /// More than most entries can make, so that the queue shrinks.
    static let tombstonesAtOnce = 16
    /// A restore that nobody goes on with.
    static let stagingOutlives = Nanoseconds.seconds(3600)
    static let lockDelaysAtOnce = 8
    /// Every so many entries a few requesters have their turn.
    static let clientTurns: UInt64 = 16
    static let clientsAtOnce = 4

    mutating func tidy(_ context: ApplyContext) {
        self.tidyTombstones(context)
        if !self.lockDelays.isEmpty { self.tidyLockDelays(context) }
        if let staging = self.staging, distance(context.now, staging.seenWall) > Self.stagingOutlives.rawValue {
            self.staging = nil
        }
        if context.index % Self.clientTurns == 0, !self.clients.isEmpty { self.tidyClients(context) }
    }

    private mutating func tidyTombstones(_ context: ApplyContext) {
        for _ in 0..<Self.tombstonesAtOnce {
            guard let turn = self.tombstoneQueue.first?.key, let tombstone = self.tombstones.get(turn.key),
                distance(context.now, tombstone.wallTime) >= Self.tombstonesOutlive.rawValue
            else { return }
            self.tombstoneQueue.remove(turn)
            self.tombstones.remove(turn.key)
        }
    }

    /// Round and round the table: delays have different lengths, so none of them is always the first to end.
    private mutating func tidyLockDelays(_ context: ApplyContext) {
        var seen: [ByteKey] = []
        self.lockDelays.rows.forEach(from: self.sweepLockDelay) { key, _ in
            seen.append(key)
            return seen.count <= Self.lockDelaysAtOnce
        }
        self.sweepLockDelay = seen.count > Self.lockDelaysAtOnce ? seen.removeLast() : ByteKey([])
        for key in seen where self.lockDelays.get(key)?.isInForce(at: context.now) == false {
            self.lockDelays.remove(key)
        }
    }

    private mutating func tidyClients(_ context: ApplyContext) {
        var seen: [(UInt64, ClientWindow)] = []
        self.clients.rows.forEach(from: self.sweepClient) { client, hashed in
            seen.append((client, hashed.row))
            return seen.count <= Self.clientsAtOnce
        }
        self.sweepClient = seen.count > Self.clientsAtOnce ? seen.removeLast().0 : 0
        for (client, window) in seen { self.tidyClient(client, window, context) }
    }
}
