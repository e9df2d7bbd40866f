import Raft
import Registry
import Units

extension Replica {
    mutating func snapshotIfDue(into directives: inout [ReplicaDirective]) {
        guard self.registry.appliedIndex >= self.snapshotRetryAt else { return }
        let entries = self.registry.appliedIndex.distance(from: self.snapshotIndex)
        if self.settings.snapshotIsDue(
            entries: entries, bytes: self.bytesSinceSnapshot, rows: self.registry.rowCount,
            snapshotBytes: self.snapshotBytes)
        {
            self.takeSnapshot(into: &directives)
        }
    }

    /// One snapshot is made at a time; its state is a copy, so writing goes on meanwhile.
    mutating func takeSnapshot(into directives: inout [ReplicaDirective]) {
        guard !self.snapshotInProgress, self.registry.appliedIndex > self.snapshotIndex else { return }
        self.snapshotInProgress = true
        self.bytesSinceSnapshot = 0
        let index = self.registry.appliedIndex
        let (configuration, configurationIndex) = self.raft.configuration(at: index)
        directives.append(
            .takeSnapshot(
                SnapshotRequest(
                    registry: self.registry, index: index, term: self.registry.appliedTerm,
                    configuration: configuration, configurationIndex: configurationIndex)))
    }

    mutating func snapshotWritten(_ meta: SnapshotMeta?, at now: Instant, into directives: inout [ReplicaDirective]) {
        self.snapshotInProgress = false
        if meta == nil {
            // The disk may be too full for it, and writing as much of it as fits with each entry helps nobody.
            self.snapshotRetryAt = self.registry.appliedIndex.advanced(by: max(1, self.settings.snapshotThreshold / 16))
        }
        // A snapshot that a leader sent meanwhile may be newer: then the own one is of no use.
        guard let meta, meta.index > self.snapshotIndex else { return }
        self.snapshotIndex = meta.index
        self.snapshotBytes = meta.totalBytes
        let trailing = UInt64(self.settings.trailingLogs)
        let through = LogIndex(meta.index.rawValue > trailing ? meta.index.rawValue - trailing : 0)
        self.raftStep(.snapshotTaken(meta: meta, compactedTo: through), at: now, into: &directives)
        if through > .zero { directives.append(.compact(through: through)) }
    }

    mutating func snapshotLoaded(
        _ meta: SnapshotMeta, registry: Registry?, from: NodeID, at now: Instant,
        into directives: inout [ReplicaDirective]
    ) {
        if let registry {
            invariant(
                registry.appliedIndex == meta.index,
                "snapshot of \(meta.index) holds a state of \(registry.appliedIndex)")
            self.registry = registry
            self.snapshotIndex = meta.index
            self.snapshotBytes = meta.totalBytes
            self.bytesSinceSnapshot = 0
            self.refuseProposals(into: &directives)
            self.everythingTouched = true
            self.appliedInStep = true
        }
        self.raftStep(
            .snapshotInstalled(meta: meta, succeeded: registry != nil, from: from), at: now, into: &directives)
    }
}
