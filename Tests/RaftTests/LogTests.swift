import Raft
import Testing
import Units

/// The log in memory against a model that keeps everything in an array.
@Suite struct LogTests {
    struct Model {
        var entries: [Entry] = []
        var first = LogIndex(1)
        var termBeforeFirst = Term.zero
        var last: LogIndex { self.entries.last?.index ?? self.first.previous }

        func term(at index: LogIndex) -> Term? {
            if index == self.first.previous { return self.termBeforeFirst }
            return self.entries.first { $0.index == index }?.term
        }

        func lastIndex(notAbove index: LogIndex, termAtMost term: Term) -> LogIndex? {
            self.entries.last { $0.index <= index && $0.term <= term }?.index
        }
    }

    static func entry(_ index: LogIndex, _ term: Term, _ size: Int) -> Entry {
        Entry(
            term: term, index: index, payload: .command([UInt8](repeating: UInt8(index.rawValue & 0xFF), count: size)))
    }

    static func compare(_ log: Log, _ model: Model, _ seed: UInt64) {
        #expect(log.firstIndex == model.first && log.lastIndex == model.last, "seed \(seed)")
        #expect(log.lastTerm == model.term(at: model.last), "seed \(seed)")
        for raw in model.first.previous.rawValue...(model.last.rawValue + 2) {
            let index = LogIndex(raw)
            #expect(log.term(at: index) == model.term(at: index), "seed \(seed), index \(index)")
            if log.isCached(index) {
                let found = log.entries(from: index, through: model.last, maxCount: 1, maxBytes: .max)
                #expect(found == model.entries.filter { $0.index == index }, "seed \(seed), index \(index)")
            }
            for term in UInt64(0)...6 {
                guard let expected = model.lastIndex(notAbove: index, termAtMost: Term(term)) else { continue }
                #expect(
                    log.lastIndex(notAbove: index, termAtMost: Term(term)) == expected, "seed \(seed) \(index) \(term)")
            }
        }
    }

    @Test func anySequenceOfChangesLeavesTheLogAsTheModelHasIt() {
        for seed in UInt64(1)...60 {
            var dice = Dice(seed: seed)
            var log = Log(restored: RestoredState())
            var model = Model()
            for _ in 0..<40 {
                Self.change(&log, &model, &dice)
            }
            Self.compare(log, model, seed)
        }
    }

    static func change(_ log: inout Log, _ model: inout Model, _ dice: inout Dice) {
        switch dice.below(10) {
        case 0 where !model.entries.isEmpty:
            let index = model.entries[Int(dice.below(UInt64(model.entries.count)))].index
            log.truncate(from: index)
            model.entries.removeAll { $0.index >= index }
        case 1 where !model.entries.isEmpty:
            let entry = model.entries[Int(dice.below(UInt64(model.entries.count)))]
            log.compact(through: entry.index)
            model.first = entry.index.next
            model.termBeforeFirst = entry.term
            model.entries.removeAll { $0.index <= entry.index }
        case 2:
            log.trimCache(limit: Int(dice.below(40)), needed: LogIndex(dice.below(model.last.rawValue + 1)))
        case 3 where dice.below(5) == 0:
            let index = LogIndex(model.last.rawValue + dice.below(5))
            let term = Term((model.term(at: model.last)?.rawValue ?? 0) + dice.below(2))
            log.reset(to: index, term: term)
            model = Model(entries: [], first: index.next, termBeforeFirst: term)
        default:
            let term = Term((model.term(at: model.last)?.rawValue ?? 0) + dice.below(2))
            let entry = Self.entry(model.last.next, term, Int(dice.below(9)))
            log.append(entry)
            model.entries.append(entry)
        }
    }

    @Test func aLogRestoredWithoutItsEntriesKnowsTheirTerms() {
        var disk = Stage.Disk(Stage.voters([1]), terms: [1, 2, 2, 5, 5, 5])
        disk.tailCount = 2
        let log = Log(restored: disk.restored())
        #expect(log.lastIndex == LogIndex(7) && log.cacheFirst == LogIndex(6))
        #expect((1...8).map { log.term(at: LogIndex($0))?.rawValue } == [1, 1, 2, 2, 5, 5, 5, nil])
        #expect(log.lastIndex(notAbove: LogIndex(7), termAtMost: Term(3)) == LogIndex(4))
        #expect(!log.isCached(LogIndex(5)))
        #expect(log.entries(from: LogIndex(5), through: LogIndex(7), maxCount: 9, maxBytes: 99).isEmpty)
    }

    @Test func entriesAreBoundedByCountAndBytesButNeverNone() {
        var log = Log(restored: RestoredState())
        for index in UInt64(1)...5 { log.append(Self.entry(LogIndex(index), Term(1), 10)) }
        func count(_ maxCount: Int, _ maxBytes: Int) -> Int {
            log.entries(from: LogIndex(2), through: LogIndex(5), maxCount: maxCount, maxBytes: maxBytes).count
        }
        #expect(count(9, 99) == 4)
        #expect(count(2, 99) == 2)
        #expect(count(9, 30) == 3)
        #expect(count(9, 1) == 1)
    }

    @Test func theCacheKeepsWhatIsStillNeeded() {
        var log = Log(restored: RestoredState())
        for index in UInt64(1)...5 { log.append(Self.entry(LogIndex(index), Term(1), 10)) }
        log.trimCache(limit: 0, needed: LogIndex(3))
        #expect(log.cacheFirst == LogIndex(4))
        #expect(log.commandBytes(above: .zero, through: LogIndex(5)) == 20)
        #expect(log.commandBytes(above: LogIndex(4), through: LogIndex(9)) == 10)
        #expect(log.commandBytes(above: LogIndex(5), through: LogIndex(5)) == 0)
    }
}
