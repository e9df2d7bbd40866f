import Raft
import Units

extension LogStorage {
    /// What a log in use holds, for operators. `LogInspector` is for one that nobody uses.
    public struct Look: Sendable {
        public var identity: Identity?
        public var hardState: HardState
        public var firstIndex: LogIndex
        public var lastIndex: LogIndex
        /// The high-water mark: what a restart has to find.
        public var promisedIndex: LogIndex
        public var quarantinedUntil: LogIndex?
        public var entries: [Row]

        public struct Row: Sendable {
            public var index: LogIndex
            public var term: Term
            /// Size of the entry's data on disk.
            public var bytes: Int
            public var payload: Payload
        }
    }

    /// Entries from `from` on, the newest when nil: `count` at most, and no more than fit into `maxBytes`. Only the links
    /// of these are checked, and damage among them is fatal, as to any other reader.
    public func look(from: LogIndex?, count: Int, maxBytes: Int) throws(StorageError) -> Look {
        try self.ensureUsable()
        let newest = LogIndex(self.lastIndex.rawValue - min(self.lastIndex.rawValue, UInt64(max(count, 1) - 1)))
        let start = max(from ?? newest, self.firstIndex)
        var rows: [Look.Row] = []
        if count > 0, start <= self.lastIndex {
            let end = LogIndex(min(start.rawValue + UInt64(count - 1), self.lastIndex.rawValue))
            rows = try self.entries(from: start, to: end, maxBytes: maxBytes).map { entry in
                Look.Row(
                    index: entry.index, term: entry.term, bytes: EntryCoding.data(of: entry.payload).count,
                    payload: entry.payload)
            }
        }
        return Look(
            identity: self.identity, hardState: self.hardState, firstIndex: self.firstIndex, lastIndex: self.lastIndex,
            promisedIndex: self.promise.index, quarantinedUntil: self.quarantinedUntil, entries: rows)
    }
}
