import PersistentMap
import Testing
import Units

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// What the map is held against: a sorted array.
struct SortedArray: Equatable {
    var entries: [Entry] = []
    struct Entry: Equatable {
        var key: Int
        var value: Int
    }

    /// The first position whose key is not smaller.
    func slot(_ key: Int) -> Int {
        var low = 0
        var high = self.entries.count
        while low < high {
            let middle = (low + high) / 2
            if self.entries[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func set(_ key: Int, _ value: Int) -> Int? {
        let slot = self.slot(key)
        if slot < self.entries.count, self.entries[slot].key == key {
            defer { self.entries[slot].value = value }
            return self.entries[slot].value
        }
        self.entries.insert(Entry(key: key, value: value), at: slot)
        return nil
    }

    mutating func remove(_ key: Int) -> Int? {
        let slot = self.slot(key)
        guard slot < self.entries.count, self.entries[slot].key == key else { return nil }
        return self.entries.remove(at: slot).value
    }

    init() {}

    init(_ map: PersistentMap<Int, Int>) {
        for (key, value) in map { self.entries.append(Entry(key: key, value: value)) }
    }
}

struct PersistentMapModelTests {
    /// Phases of mostly growing and mostly shrinking, so that the tree gains and loses levels.
    @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6])
    func agreesWithASortedArrayOverRandomChanges(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var map = PersistentMap<Int, Int>()
        var model = SortedArray()
        var copies: [(map: PersistentMap<Int, Int>, model: SortedArray)] = []
        let span = [40, 300, 3000][Int(seed % 3)]
        for step in 0..<6000 {
            let isGrowing = (step / 1500) % 2 == 0
            let key = Int.random(in: 0..<span, using: &random)
            let agrees =
                Int.random(in: 0..<10, using: &random) < (isGrowing ? 8 : 2)
                ? map.set(key, step) == model.set(key, step)
                : map.remove(key) == model.remove(key)
            let probe = Int.random(in: -1...span, using: &random)
            if !agrees || !self.agree(map, model, at: probe) {
                Issue.record("step \(step), key \(key), probe \(probe)")
                return
            }
            if step % 97 == 0 {
                #expect(map.isWellFormed)
                copies.append((map, model))
            }
        }
        #expect(SortedArray(map) == model)
        for (copy, then) in copies {
            #expect(SortedArray(copy) == then)
            #expect(copy.isWellFormed)
        }
    }

    private func agree(_ map: PersistentMap<Int, Int>, _ model: SortedArray, at probe: Int) -> Bool {
        let lower = model.slot(probe)
        let isThere = lower < model.entries.count && model.entries[lower].key == probe
        let upper = isThere ? lower + 1 : lower
        func key(_ slot: Int) -> Int? { slot < model.entries.count ? model.entries[slot].key : nil }
        return map.count == model.entries.count
            && map.get(probe) == (isThere ? model.entries[lower].value : nil) && map.contains(probe) == isThere
            && map.lowerBound(probe)?.key == key(lower) && map.upperBound(probe)?.key == key(upper)
            && map.first?.key == model.entries.first?.key && map.last?.key == model.entries.last?.key
    }

    @Test(arguments: [UInt64(11), 12, 13])
    func scansVisitWhatLiesBetweenTheirBounds(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var map = PersistentMap<Int, Int>()
        var model = SortedArray()
        for _ in 0..<800 {
            let key = Int.random(in: 0..<2000, using: &random)
            map.set(key, key * 2)
            _ = model.set(key, key * 2)
        }
        for _ in 0..<300 {
            let low = Int.random(in: -5..<2005, using: &random)
            let high = Int.random(in: low...2010, using: &random)
            var seen: [Int] = []
            map.forEach(from: low, below: high) { key, _ in
                seen.append(key)
                return true
            }
            #expect(seen == model.entries.map(\.key).filter { $0 >= low && $0 < high })
            var three: [Int] = []
            map.forEach(from: low) { key, _ in
                three.append(key)
                return three.count < 3
            }
            #expect(three == Array(model.entries.map(\.key).filter { $0 >= low }.prefix(3)))
        }
    }
}

struct PersistentMapTests {
    @Test func anEmptyMapHasNothing() {
        var map = PersistentMap<Int, String>()
        #expect(map.isEmpty)
        #expect(map.first == nil)
        #expect(map.last == nil)
        #expect(map.lowerBound(0) == nil)
        #expect(map.remove(1) == nil)
        #expect(map.map(\.key).isEmpty)
        #expect(map.isWellFormed)
    }

    @Test(arguments: [1, 32, 33, 64, 1000, 5000])
    func keysInOrderAndInReverseMakeTheSameMap(count: Int) {
        var rising = PersistentMap<Int, Int>()
        var falling = PersistentMap<Int, Int>()
        for key in 0..<count { rising.set(key, key) }
        for key in (0..<count).reversed() { falling.set(key, key) }
        #expect(rising.map(\.key) == Array(0..<count))
        #expect(falling.map(\.key) == Array(0..<count))
        #expect(rising.isWellFormed && falling.isWellFormed)
    }

    @Test func removingEverythingLeavesAnEmptyWellFormedMap() {
        for order in [0, 1, 2] {
            var map = PersistentMap<Int, Int>()
            for key in 0..<3000 { map.set(key, key) }
            var keys = Array(0..<3000)
            var random = SeededGenerator(seed: 9)
            if order == 1 { keys.reverse() }
            if order == 2 { keys.shuffle(using: &random) }
            for (step, key) in keys.enumerated() {
                #expect(map.remove(key) == key)
                if step % 250 == 0 { #expect(map.isWellFormed) }
            }
            #expect(map.isEmpty && map.isWellFormed && map.first == nil)
        }
    }

    @Test func aCopyIsUntouchedByLaterChangesAndTheOtherWayRound() {
        var map = PersistentMap<Int, Int>()
        for key in 0..<500 { map.set(key, 0) }
        var copy = map
        for key in 0..<500 { map.set(key, 1) }
        for key in 0..<250 { copy.remove(key) }
        copy.set(1000, 7)
        #expect(map.count == 500)
        #expect(map.allSatisfy { $0.value == 1 })
        #expect(copy.count == 251)
        #expect(copy.get(300) == 0)
        #expect(map.get(1000) == nil)
    }

    @Test func theSubscriptReadsSetsAndRemoves() {
        var map = PersistentMap<String, Int>()
        map["a"] = 1
        map["b"] = 2
        map["a"] = nil
        #expect(map["a"] == nil)
        #expect(map["b"] == 2)
        #expect(map.count == 1)
    }

    @Test func anIteratorGoesOnOverTheMapAsItWas() {
        var map = PersistentMap<Int, Int>()
        for key in 0..<100 { map.set(key, key) }
        var seen: [Int] = []
        for (key, _) in map {
            seen.append(key)
            map.remove(99 - key)
        }
        #expect(seen == Array(0..<100))
        #expect(map.isEmpty)
    }
}

struct PrefixScanTests {
    private func map(_ keys: [String]) -> PersistentMap<ByteKey, Int> {
        var map = PersistentMap<ByteKey, Int>()
        for (position, key) in keys.enumerated() { map.set(ByteKey(key), position) }
        return map
    }

    @Test func aPrefixScanVisitsExactlyTheKeysThatStartWithIt() {
        let map = self.map(["a", "a/", "a/1", "a/2", "a0", "b", "ab", ""])
        #expect(map.keys(prefix: ByteKey("a/")).map(\.description) == ["a/", "a/1", "a/2"])
        #expect(map.keys(prefix: ByteKey("a")).map(\.description) == ["a", "a/", "a/1", "a/2", "a0", "ab"])
        #expect(map.keys(prefix: ByteKey("")).count == 8)
        #expect(map.keys(prefix: ByteKey("c")).isEmpty)
        #expect(map.containsPrefix(ByteKey("a/2")))
        #expect(!map.containsPrefix(ByteKey("a/3")))
    }

    @Test func aPrefixOfHighestBytesIsScannedToTheEnd() {
        var map = PersistentMap<ByteKey, Int>()
        for last in UInt8.min...UInt8.max { map.set(ByteKey([0xFF, last]), Int(last)) }
        #expect(map.keys(prefix: ByteKey([0xFF])).count == 256)
        #expect(map.keys(prefix: ByteKey([0xFF, 0xFF])) == [ByteKey([0xFF, 0xFF])])
    }

    @Test func canonicallyEqualTextIsTwoKeys() {
        let map = self.map(["\u{E9}", "e\u{301}"])
        #expect(map.count == 2)
    }

    @Test func aScanStopsWhenItsBodySaysSo() {
        let map = self.map((0..<200).map { "k\($0)" })
        var seen = 0
        map.forEach(prefix: ByteKey("k")) { _, _ in
            seen += 1
            return seen < 5
        }
        #expect(seen == 5)
    }
}
