import DequeModule
import Units

/// The log as the algorithm sees it: terms of all entries on disk as runs, and the newest entries themselves.
package struct Log: Sendable {
    /// First index on disk; `lastIndex + 1` for an empty log.
    package private(set) var firstIndex: LogIndex
    package private(set) var lastIndex: LogIndex
    package private(set) var termBeforeFirst: Term
    private var runs: [RestoredState.TermRun]
    /// Contiguous, ends at `lastIndex`.
    private var cache: Deque<Entry>
    private var cachedBytes: Int

    package init(restored: RestoredState) {
        self.firstIndex = restored.firstIndex
        self.lastIndex = restored.lastIndex
        self.termBeforeFirst = restored.termBeforeFirst
        self.runs = restored.termRuns
        self.cache = Deque(restored.tail)
        self.cachedBytes = restored.tail.reduce(0) { $0 + $1.payload.byteCount }
        invariant(self.lastIndex.next >= self.firstIndex, "log from \(self.firstIndex) to \(self.lastIndex)")
        invariant(
            restored.tail.last.map { $0.index == self.lastIndex } ?? true,
            "tail ends at \(String(describing: restored.tail.last?.index)), log at \(self.lastIndex)")
    }

    package var lastTerm: Term { self.term(at: self.lastIndex) ?? self.termBeforeFirst }
    package var cacheFirst: LogIndex { LogIndex(self.lastIndex.rawValue + 1 - UInt64(self.cache.count)) }

    /// nil when the index is compacted away (but for the one before the first) or beyond the end.
    package func term(at index: LogIndex) -> Term? {
        if index > self.lastIndex { return nil }
        if index < self.firstIndex { return index == self.firstIndex.previous ? self.termBeforeFirst : nil }
        return self.runs[self.run(of: index)].term
    }

    private func run(of index: LogIndex) -> Int {
        // Most questions are about the newest run.
        if let last = self.runs.last, last.first <= index { return self.runs.count - 1 }
        var low = 0
        var high = self.runs.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if self.runs[middle].first <= index { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// The largest index at or below `index` whose term is at most `term`; both sides use it to jump over a whole
    /// diverging term at once. Leader: terms 1 1 1 5 5 5, asked for (6, term 3) → index 3.
    package func lastIndex(notAbove index: LogIndex, termAtMost term: Term) -> LogIndex {
        var index = min(index, self.lastIndex)
        while index >= self.firstIndex {
            let run = self.runs[self.run(of: index)]
            if run.term <= term { return index }
            index = max(run.first, self.firstIndex).previous
            if index == .zero { return .zero }
        }
        return index
    }

    package mutating func append(_ entry: Entry) {
        invariant(entry.index == self.lastIndex.next, "append \(entry.index) after \(self.lastIndex)")
        invariant(entry.term >= self.lastTerm, "append of term \(entry.term) after \(self.lastTerm)")
        if self.runs.last?.term != entry.term {
            self.runs.append(RestoredState.TermRun(first: entry.index, term: entry.term))
        }
        self.lastIndex = entry.index
        self.cache.append(entry)
        self.cachedBytes += entry.payload.byteCount
    }

    package mutating func truncate(from index: LogIndex) {
        invariant(index >= self.firstIndex && index <= self.lastIndex, "truncate from \(index)")
        while let last = self.cache.last, last.index >= index {
            self.cachedBytes -= last.payload.byteCount
            self.cache.removeLast()
        }
        while let run = self.runs.last, run.first >= index { self.runs.removeLast() }
        self.lastIndex = index.previous
    }

    /// Entries up to here are gone from disk.
    package mutating func compact(through index: LogIndex) {
        guard index >= self.firstIndex, let term = self.term(at: index) else { return }
        self.termBeforeFirst = term
        self.firstIndex = index.next
        let keep = self.run(of: index)
        self.runs.removeFirst(keep)
        if index == self.lastIndex {
            self.runs.removeAll()
        } else if self.runs.count > 1, self.runs[1].first <= self.firstIndex {
            self.runs.removeFirst()
        }
        if !self.runs.isEmpty, self.runs[0].first < self.firstIndex { self.runs[0].first = self.firstIndex }
        while let first = self.cache.first, first.index < self.firstIndex {
            self.cachedBytes -= first.payload.byteCount
            self.cache.removeFirst()
        }
    }

    /// A snapshot takes the place of everything.
    package mutating func reset(to index: LogIndex, term: Term) {
        self.firstIndex = index.next
        self.lastIndex = index
        self.termBeforeFirst = term
        self.runs = []
        self.cache = []
        self.cachedBytes = 0
    }

    /// Lets go of the oldest cached entries beyond `limit` bytes; never of those above `needed`.
    package mutating func trimCache(limit: Int, needed: LogIndex) {
        while self.cachedBytes > limit, let first = self.cache.first, first.index <= needed {
            self.cachedBytes -= first.payload.byteCount
            self.cache.removeFirst()
        }
    }

    /// Bytes of the commands above `index` and up to `last`, as far as they are cached; everything uncommitted is.
    package func commandBytes(above index: LogIndex, through last: LogIndex) -> Int {
        let first = max(index.next, self.cacheFirst)
        let end = min(last, self.lastIndex)
        guard first <= end else { return 0 }
        var bytes = 0
        for position in first.distance(from: self.cacheFirst)...end.distance(from: self.cacheFirst) {
            if case .command(let payload) = self.cache[position].payload { bytes += payload.count }
        }
        return bytes
    }

    package func isCached(_ index: LogIndex) -> Bool { index >= self.cacheFirst && index <= self.lastIndex }

    /// Cached entries from `index` on, at most `maxCount` of them and `maxBytes` in sum, but at least one.
    package func entries(from index: LogIndex, through last: LogIndex, maxCount: Int, maxBytes: Int) -> [Entry] {
        guard self.isCached(index), index <= last else { return [] }
        var found: [Entry] = []
        var bytes = 0
        var position = Int(index.rawValue - self.cacheFirst.rawValue)
        let end = min(self.cache.count, Int(last.rawValue - self.cacheFirst.rawValue) + 1)
        found.reserveCapacity(min(maxCount, end - position))
        while position < end, found.count < maxCount {
            let entry = self.cache[position]
            bytes += entry.payload.byteCount
            if bytes > maxBytes, !found.isEmpty { break }
            found.append(entry)
            position += 1
        }
        return found
    }
}
