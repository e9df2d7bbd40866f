import Linearizability
import Testing

/// Histories that no correct system can give, each with the promise that it breaks. Every one is a few lines of what
/// clients wrote down, and each is broken by one thing alone: without it the history is legal.
@Suite("Illegal histories")
struct IllegalHistoriesTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var promise: String
        var records: [HistoryRecord]
        var testDescription: String { self.name }
    }

    @Test(
        arguments: Self.registers + Self.transactions + Self.locks + Self.appends + Self.counters + Self.order
            + Self.sessions)
    func isRefused(_ illegal: Case) {
        let broken = HistoryJudge().findings(illegal.records).filter {
            if case .violated = $0.outcome { true } else { false }
        }
        #expect(broken.map(\.promise).contains { $0.contains(illegal.promise) }, "\(illegal.records)")
    }

    @Test func thereAreFiftyOfThemAtLeast() {
        let all =
            Self.registers + Self.transactions + Self.locks + Self.appends + Self.counters + Self.order + Self.sessions
        #expect(all.count >= 50 && Set(all.map(\.name)).count == all.count)
    }

    // MARK: writing them down

    /// Times in units of a second, so that what is about time can be said.
    private static func record(
        _ client: Int, _ key: String, _ kind: HistoryRecord.Kind, _ at: ClosedRange<Double>?, from call: Double = 0,
        _ fill: (inout HistoryRecord) -> Void = { _ in }
    ) -> HistoryRecord {
        var record = HistoryRecord(client: client, key: key, kind: kind, call: UInt64((at?.lowerBound ?? call) * 1e9))
        record.returned = at.map { UInt64($0.upperBound * 1e9) }
        fill(&record)
        return record
    }

    private static func put(_ at: ClosedRange<Double>, _ value: String, ok: Bool = true, index: UInt64? = nil)
        -> HistoryRecord
    {
        self.record(1, "k", .put, at) {
            $0.value = value
            $0.ok = ok
            $0.resultIndex = index
        }
    }
    private static func lostPut(_ call: Double, _ value: String) -> HistoryRecord {
        self.record(2, "k", .put, nil, from: call) { $0.value = value }
    }
    private static func get(_ at: ClosedRange<Double>, _ value: String?, _ index: UInt64 = 0, client: Int = 3)
        -> HistoryRecord
    {
        self.record(client, "k", .get, at) {
            $0.result = value
            $0.resultIndex = index == 0 ? nil : index
        }
    }
    private static func cas(_ at: ClosedRange<Double>, _ index: UInt64, _ value: String, _ ok: Bool) -> HistoryRecord {
        self.record(4, "k", .cas, at) {
            $0.index = index
            $0.value = value
            $0.ok = ok
        }
    }
    private static func delete(_ at: ClosedRange<Double>) -> HistoryRecord {
        self.record(5, "k", .delete, at) { $0.ok = true }
    }
    private static func deleteCAS(_ at: ClosedRange<Double>, _ index: UInt64, _ ok: Bool) -> HistoryRecord {
        self.record(5, "k", .deleteCAS, at) {
            $0.index = index
            $0.ok = ok
        }
    }

    private static let linearizable = "single keys"

    static let registers: [Case] = [
        ("a read before any write finds a value", [get(0...1, "a", 5)]),
        ("a value that nobody wrote", [put(0...1, "a"), get(2...3, "b", 5)]),
        ("an acknowledged write is not found", [put(0...1, "a"), get(2...3, nil)]),
        ("an old value after a newer one was acknowledged", [put(0...1, "a"), put(2...3, "b"), get(4...5, "a", 5)]),
        (
            "two readers see two writes in different orders",
            [
                put(0...10, "a"), lostPut(0, "b"), get(1...2, "a", 5, client: 6), get(3...4, "b", 6, client: 6),
                get(1...2, "b", 6, client: 7), get(3...4, "a", 5, client: 7),
            ]
        ),
        ("a read goes back within a write's time", [put(0...9, "a"), get(1...2, "a", 5), get(3...4, nil)]),
        (
            "a value comes back that was overwritten",
            [put(0...1, "a"), put(2...3, "b"), get(4...5, "b", 7), get(6...7, "a", 5)]
        ),
        ("a deleted key is still there", [put(0...1, "a"), delete(2...3), get(4...5, "a", 5)]),
        ("a deleted key comes back", [put(0...1, "a"), delete(2...3), get(4...5, nil), get(6...7, "a", 5)]),
        ("one index for two values", [put(0...1, "a"), get(2...3, "a", 5), put(4...5, "b"), get(6...7, "b", 5)]),
        ("an index falls", [put(0...1, "a"), get(2...3, "a", 9), put(4...5, "b"), get(6...7, "b", 8)]),
        ("an index changes without a write", [put(0...1, "a"), get(2...3, "a", 5), get(4...5, "a", 6)]),
        ("creation by compare-and-set succeeds twice", [cas(0...1, 0, "a", true), cas(2...3, 0, "b", true)]),
        ("creation by compare-and-set fails on nothing", [cas(0...1, 0, "a", false)]),
        (
            "two compare-and-sets from one index both succeed",
            [put(0...1, "a"), get(2...3, "a", 5), cas(4...5, 5, "b", true), cas(6...7, 5, "c", true)]
        ),
        (
            "a compare-and-set fails with the right index",
            [put(0...1, "a"), get(2...3, "a", 5), cas(4...5, 5, "b", false), get(6...7, "a", 5)]
        ),
        (
            "a compare-and-set succeeds with a wrong index",
            [put(0...1, "a"), get(2...3, "a", 5), cas(4...5, 4, "b", true)]
        ),
        (
            "a refused compare-and-set took effect",
            [put(0...1, "a"), get(2...3, "a", 5), cas(4...5, 4, "b", false), get(6...7, "b", 7)]
        ),
        (
            "an acknowledged compare-and-set is lost",
            [put(0...1, "a"), get(2...3, "a", 5), cas(4...5, 5, "b", true), get(6...7, "a", 5)]
        ),
        (
            "a delete by index with a wrong index",
            [put(0...1, "a"), get(2...3, "a", 5), deleteCAS(4...5, 4, true), get(6...7, nil)]
        ),
        (
            "a delete by index fails with the right index",
            [put(0...1, "a"), get(2...3, "a", 5), deleteCAS(4...5, 5, false), get(6...7, "a", 5)]
        ),
        ("a lost write is seen, then not", [lostPut(0, "a"), get(1...2, "a", 5), get(3...4, nil)]),
        ("a lost write is seen before it was sent", [get(0...1, "a", 5), lostPut(2, "a")]),
        (
            "a retried write is applied twice",
            [put(0...9, "a"), get(1...2, "a", 5), put(3...4, "b"), get(5...6, "b", 7), get(7...8, "a", 8)]
        ),
        (
            "a restarted server forgets a write and serves on",
            [put(0...1, "a"), get(2...3, "a", 5), get(4...5, nil), get(6...7, nil)]
        ),
    ].map { Case(name: $0.0, promise: linearizable, records: $0.1) }

    private static func pair(_ at: ClosedRange<Double>, _ left: String, _ right: String, _ index: UInt64?)
        -> HistoryRecord
    {
        self.record(3, "k", .pairRead, at) {
            $0.names = [left, right]
            $0.resultIndex = index
        }
    }

    static let transactions: [Case] = [
        Case(name: "half a transaction", promise: "seen whole", records: [put(0...1, "a"), pair(2...3, "a", "", 5)]),
        Case(
            name: "halves of two transactions", promise: "seen whole",
            records: [put(0...1, "a"), put(2...3, "b"), pair(2...4, "a", "b", 5)]),
        Case(
            name: "a whole transaction, but an old one", promise: linearizable,
            records: [put(0...1, "a"), put(2...3, "b"), pair(4...5, "a", "a", 5)]),
        Case(
            name: "a transaction that is gone", promise: linearizable,
            records: [put(0...1, "a"), pair(2...3, "a", "a", 5), pair(4...5, "", "", nil)]),
    ]

    private static func lock(
        _ at: ClosedRange<Double>, _ kind: HistoryRecord.Kind, _ session: String, _ ok: Bool = true,
        token: UInt64? = nil
    ) -> HistoryRecord {
        self.record(1, "l", kind, at) {
            $0.session = session
            $0.ok = ok
            if kind == .fencedWrite { $0.index = token } else { $0.resultIndex = token }
        }
    }
    private static func holder(_ at: ClosedRange<Double>, _ session: String?, _ token: UInt64) -> HistoryRecord {
        self.record(2, "l", .inspect, at) {
            $0.result = session
            $0.resultIndex = token
        }
    }

    static let locks: [Case] = [
        ("two holders", [lock(0...1, .acquire, "x"), lock(2...3, .acquire, "y")]),
        ("two holders, seen", [lock(0...1, .acquire, "x", token: 1), holder(2...3, "y", 1)]),
        ("a free lock is refused", [lock(0...1, .acquire, "x", false)]),
        ("a holder that holds nothing releases", [lock(0...1, .release, "x")]),
        ("a holder can't release", [lock(0...1, .acquire, "x"), lock(2...3, .release, "x", false)]),
        (
            "a released lock is still held",
            [lock(0...1, .acquire, "x"), lock(2...3, .release, "x"), holder(4...5, "x", 1)]
        ),
        ("a lock is forgotten", [lock(0...1, .acquire, "x"), holder(2...3, nil, 1)]),
        (
            "a token does not rise",
            [lock(0...1, .acquire, "x", token: 1), lock(2...3, .release, "x"), lock(4...5, .acquire, "y", token: 1)]
        ),
        (
            "a token falls",
            [
                lock(0...1, .acquire, "x", token: 1), lock(2...3, .release, "x"), lock(4...5, .acquire, "y", token: 2),
                holder(6...7, "y", 1),
            ]
        ),
        ("a token skips", [lock(0...1, .acquire, "x", token: 1), holder(2...3, "x", 2)]),
        ("an ended session acquires", [lock(0...1, .invalidate, "x"), lock(2...3, .acquire, "x")]),
        (
            "an ended session still holds",
            [lock(0...1, .acquire, "x"), lock(2...3, .invalidate, "x"), holder(4...5, "x", 1)]
        ),
        (
            "a write gets past the fence",
            [
                lock(0...1, .acquire, "x", token: 1), lock(2...3, .release, "x"),
                lock(4...5, .fencedWrite, "x", token: 1),
            ]
        ),
        (
            "a write with an old token",
            [
                lock(0...1, .acquire, "x", token: 1), lock(2...3, .release, "x"), lock(4...5, .acquire, "y", token: 2),
                lock(6...7, .fencedWrite, "y", token: 1),
            ]
        ),
        (
            "the holder's write is refused",
            [lock(0...1, .acquire, "x", token: 1), lock(2...3, .fencedWrite, "x", false, token: 1)]
        ),
    ].map { Case(name: $0.0, promise: "one holder", records: $0.1) }

    private static func append(_ key: String, _ ok: Bool?) -> HistoryRecord {
        self.record(1, key, .append, ok == nil ? nil : 0...1) { $0.ok = ok }
    }
    private static func survey(_ view: String, _ names: [String]) -> HistoryRecord {
        self.record(0, "append/", .survey, 9...9) {
            $0.view = view
            $0.names = names
        }
    }

    static let appends: [Case] = [
        ("an acknowledged append is lost", [append("a", true), append("b", true), survey("s1", ["a"])]),
        ("an acknowledged append is lost on one server", [append("a", true), survey("s1", ["a"]), survey("s2", [])]),
        ("a refused append is there", [append("a", true), append("b", false), survey("s1", ["a", "b"])]),
        ("an append that nobody made", [append("a", true), survey("s1", ["a", "z"])]),
        ("all appends are lost", [append("a", true), append("b", nil), survey("s1", [])]),
    ].map { Case(name: $0.0, promise: "no acknowledged write is lost", records: $0.1) }

    private static func count(_ ok: Bool?) -> HistoryRecord {
        self.record(1, "c", .count, ok == nil ? nil : 0...1) { $0.ok = ok }
    }
    private static func total(_ value: String?) -> HistoryRecord {
        self.record(0, "c", .total, 9...9) {
            $0.view = "s1"
            $0.result = value
        }
    }

    static let counters: [Case] = [
        ("a count is lost", [count(true), count(true), total("1")]),
        ("a count is counted twice", [count(true), count(true), total("3")]),
        ("more than was ever asked", [count(true), count(nil), total("3")]),
        ("a refused count is counted", [count(true), count(false), total("2")]),
        ("a counter is gone", [count(true), total(nil)]),
        ("a counter is no number", [count(true), total("x")]),
    ].map { Case(name: $0.0, promise: "counted once", records: $0.1) }

    private static func stale(_ at: Double, _ value: String?, _ index: UInt64?, view: String = "s1/1") -> HistoryRecord
    {
        self.record(1, "k", .staleGet, at...at) {
            $0.result = value
            $0.resultIndex = index
            $0.view = view
        }
    }
    private static func watch(
        _ at: ClosedRange<Double>, after: UInt64, seen: UInt64, _ value: String?, _ index: UInt64?
    ) -> HistoryRecord {
        self.record(2, "k", .watch, at) {
            $0.index = after
            $0.seenIndex = seen
            $0.result = value
            $0.resultIndex = index
            $0.view = "s1"
        }
    }
    private static let fault = record(0, "kill s1", .fault, 1...2)

    static let order: [Case] =
        [
            ("a stale read steps back", [stale(0, "b", 6), stale(1, "a", 5)]),
            (
                "a stale read steps back on one of two connections",
                [stale(0, "b", 6), stale(1, "a", 5, view: "s1/2"), stale(2, "a", 5)]
            ),
            (
                "an answer without an index steps back",
                [
                    stale(0, "a", 5, view: "s1/2"), stale(0, "b", 6, view: "s1/2"), stale(1, "b", nil),
                    stale(2, "a", nil),
                ]
            ),
            ("a deleted key is read again as it was", [stale(0, "a", 5), stale(1, nil, nil), stale(2, "a", 5)]),
            ("one index, two values", [stale(0, "a", 5), stale(1, "b", 5)]),
        ].map { Case(name: $0.0, promise: "never step back", records: $0.1) }
        + [
            ("a watch steps back", [watch(0...1, after: 9, seen: 8, "a", 8)]),
            (
                "a watch misses a change",
                [put(0...1, "a"), put(2...3, "b"), get(3...4, "b", 7), watch(1...12, after: 5, seen: 7, "b", 7)]
            ),
            (
                "a watch begins after a change and does not see it",
                [put(0...1, "b"), get(1...2, "b", 7), watch(2...9, after: 5, seen: 5, nil, nil)]
            ),
            (
                "a watch misses a change long after a fault",
                [fault, put(20...21, "b"), get(22...23, "b", 7), watch(19...30, after: 5, seen: 7, "b", 7)]
            ),
            (
                "a watch misses a change soon after a fault",
                [fault, put(9...10, "b"), get(10...11, "b", 7), watch(8.5...15, after: 5, seen: 7, "b", 7)]
            ),
        ].map { Case(name: $0.0, promise: "sees each change", records: $0.1) }

    private static func lost(_ at: ClosedRange<Double>, ttl: Double) -> HistoryRecord {
        self.record(1, "session-1", .sessionLost, at) { $0.index = UInt64(ttl * 1e9) }
    }

    static let sessions: [Case] = [
        ("a session ends before its TTL", [lost(0...9.9, ttl: 10)]),
        ("a session ends at once", [lost(5...5, ttl: 10)]),
        ("one of two sessions ends before its TTL", [lost(0...11, ttl: 10), lost(20...24, ttl: 10)]),
    ].map { Case(name: $0.0, promise: "as long as they are renewed", records: $0.1) }
}

@Suite("What the judge lets pass")
struct LegalHistoriesTests {
    private func record(
        _ key: String, _ kind: HistoryRecord.Kind, _ at: ClosedRange<UInt64>, _ fill: (inout HistoryRecord) -> Void
    ) -> HistoryRecord {
        var record = HistoryRecord(client: 1, key: key, kind: kind, call: at.lowerBound, returned: at.upperBound)
        fill(&record)
        return record
    }

    @Test func whatHappenedBetweenABackupAndItsRestoringIsNobodysPromise() {
        let put = self.record("k", .put, 20...21) {
            $0.value = "a"
            $0.ok = true
        }
        let get = self.record("k", .get, 40...41) { $0.result = nil }
        let restore = self.record("backup", .restore, 10...30) { _ in }
        let judge = HistoryJudge()
        #expect(judge.findings([put, get]).contains { $0.outcome != .holds })
        #expect(judge.findings([put, get, restore]).allSatisfy { $0.outcome == .holds })
        // What was acknowledged before the backup began is promised still.
        let early = self.record("e", .append, 1...2) { $0.ok = true }
        let between = self.record("b", .append, 15...16) { $0.ok = true }
        let survey = self.record("", .survey, 50...50) { $0.names = [] }
        #expect(judge.findings([between, survey, restore]).allSatisfy { $0.outcome == .holds })
        #expect(judge.findings([early, survey, restore]).contains { $0.outcome != .holds })
    }

    @Test func aWatchDuringAFaultMayBeLate() {
        let put = self.record("k", .put, 0...1) {
            $0.value = "a"
            $0.ok = true
        }
        let get = self.record("k", .get, 2...3) {
            $0.result = "a"
            $0.resultIndex = 7
        }
        let watch = self.record("k", .watch, 4...20_000_000_000) {
            $0.index = 5
            $0.seenIndex = 7
            $0.result = "a"
            $0.resultIndex = 7
        }
        let fault = self.record("kill", .fault, 10...20) { _ in }
        #expect(HistoryJudge().findings([put, get, watch]).contains { $0.outcome != .holds })
        #expect(HistoryJudge().findings([put, get, watch, fault]).allSatisfy { $0.outcome == .holds })
    }

    @Test func aSessionThatNobodyRenewedMayEnd() {
        let lost = self.record("session-1", .sessionLost, 0...10_000_000_000) { $0.index = 10_000_000_000 }
        #expect(HistoryJudge().findings([lost]).allSatisfy { $0.outcome == .holds })
        let early = self.record("session-1", .sessionLost, 5...9) { $0.index = 10_000_000_000 }
        let restore = self.record("backup", .restore, 7...8) { _ in }
        #expect(HistoryJudge().findings([early]).contains { $0.outcome != .holds })
        #expect(HistoryJudge().findings([early, restore]).allSatisfy { $0.outcome == .holds })
    }

    @Test func whatNobodyLookedAtIsUndecided() {
        let append = self.record("a", .append, 0...1) { $0.ok = true }
        let count = self.record("c", .count, 0...1) { $0.ok = true }
        for records in [[append], [count]] {
            guard case .undecided = HistoryJudge().findings(records).first?.outcome else {
                Issue.record("decided without evidence")
                continue
            }
        }
        #expect(HistoryJudge().findings([]).isEmpty)
    }
}
