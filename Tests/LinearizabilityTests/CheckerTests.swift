import Linearizability
import Testing

@Suite struct CheckerTests {
    @Test func thereAreAtLeastFiftyIllegalHistories() {
        #expect(registerIsIllegal.count + setIsIllegal.count + lockIsIllegal.count >= 50)
    }

    @Test(arguments: registerIsIllegal.indices)
    func anIllegalRegisterHistoryIsAViolation(_ row: Int) {
        let (name, history) = registerIsIllegal[row]
        let verdict = LinearizabilityChecker(model: KVRegister()).check(history)
        guard case .violation(let violation) = verdict else {
            Issue.record("\(name): \(verdict)")
            return
        }
        #expect(!violation.unplaced.isEmpty)
        #expect(violation.longestOrder.count + violation.unplaced.count <= history.count)
    }

    @Test(arguments: setIsIllegal.indices)
    func anIllegalSetHistoryIsAViolation(_ row: Int) {
        let (name, history) = setIsIllegal[row]
        let verdict = LinearizabilityChecker(model: AppendSet()).check(history)
        guard case .violation = verdict else {
            Issue.record("\(name): \(verdict)")
            return
        }
    }

    @Test(arguments: lockIsIllegal.indices)
    func anIllegalLockHistoryIsAViolation(_ row: Int) {
        let (name, history) = lockIsIllegal[row]
        let verdict = LinearizabilityChecker(model: FencedLock()).check(history)
        guard case .violation = verdict else {
            Issue.record("\(name): \(verdict)")
            return
        }
    }

    @Test func legalConcurrentRegisterHistoriesPass() {
        let legal: [[KVOperation]] = [
            [],
            [put(0...9, "a"), get(1...2, nil), get(3...4, "a")],
            [put(0...9, "a"), put(0...9, "b"), get(10...11, "a"), get(12...13, "a")],
            // A put that timed out may take effect long after.
            [put(0...1, "a"), kv(2..., .put("b")), get(3...4, "a"), get(50...51, "b")],
            [kv(0..., .put("a")), get(1...2, nil), get(3...4, nil)],
            // Touching in time counts as concurrent.
            [put(0...5, "a"), get(5...6, nil)],
            [cas(0...9, 0, "a", true), cas(0...9, 0, "b", false), get(10...11, "a")],
            [put(0...1, "a"), get(2...3, "a", index: 4), cas(4...9, 4, "b", true), cas(4...9, 4, "c", false)],
            [put(0...1, "a"), cas(2...3, 8, "b", false), get(4...5, "a", index: 7)],
            [
                put(0...1, "a", index: 3), deleteCAS(2...3, 3, true), deleteCAS(4...5, 3, true),
                cas(6...7, 0, "b", true),
            ],
        ]
        for history in legal {
            #expect(LinearizabilityChecker(model: KVRegister()).check(history) == .linearizable)
        }
    }

    @Test func legalLockHistoriesPass() {
        let legal: [[LockOperation]] = [
            [
                acquire(0...9, "a"), acquire(0...9, "b", false), release(10...11, "a"), acquire(12...13, "b"),
                holder(14...15, "b", 2),
            ],
            // Lock-delay: refused though free, because the last holder's session ended.
            [
                acquire(0...1, "a"), invalidate(2...3, "a"), acquire(4...5, "b", false), acquire(6...7, "b"),
                fenced(8...9, "a", 1, false),
            ],
            [acquire(0...1, "a"), acquire(2...3, "a"), fenced(4...5, "a", 1, true)],
            [lock(0..., .release(session: "a")), acquire(1...2, "a"), acquire(3...9, "b"), holder(10...11, "b", 2)],
        ]
        for history in legal {
            #expect(LinearizabilityChecker(model: FencedLock()).check(history) == .linearizable)
        }
    }

    @Test func aTrueWitnessSparesTheSearch() {
        var history: [KVOperation] = []
        for round in 0..<300 as Range<UInt64> {
            var write = kv(round...(round + 40), .put("v\(round)"), .done(true, index: round + 1))
            write.position = round + 1
            history.append(write)
        }
        // No step of search is allowed: only the witness can answer.
        #expect(LinearizabilityChecker(model: KVRegister(), budget: 0).check(history) == .linearizable)
    }

    @Test func aFalseWitnessCostsNothingButTime() {
        var first = put(0...1, "a")
        var second = put(2...3, "b")
        var last = get(4...5, "b")
        (first.position, second.position, last.position) = (2, 1, 3)
        #expect(LinearizabilityChecker(model: KVRegister()).check([first, second, last]) == .linearizable)
    }

    @Test func aWitnessThatBreaksRealTimeDoesNotExcuseAStaleRead() {
        var write = put(0...1, "a")
        var stale = get(2...3, nil)
        (stale.position, write.position) = (1, 2)
        guard case .violation = LinearizabilityChecker(model: KVRegister()).check([write, stale]) else {
            Issue.record("a stale read passed")
            return
        }
    }

    @Test func aSpentBudgetIsUnknownNotGreen() {
        let history =
            (0..<12 as Range<UInt64>).map { kv($0...100, .put("v\($0)"), .done(true)) } + [get(101...102, "x")]
        #expect(LinearizabilityChecker(model: KVRegister(), budget: 50).check(history) == .unknown(key: "k"))
    }

    @Test func aViolationOnOneKeyOutranksASpentBudgetOnAnother() {
        var history = (0..<12 as Range<UInt64>).map { kv($0...100, .put("v\($0)"), .done(true), key: "a") }
        history.append(kv(101...102, .get, .value("x"), key: "a"))
        history.append(kv(0...1, .get, .value("x"), key: "b"))
        guard case .violation(let violation) = LinearizabilityChecker(model: KVRegister(), budget: 50).check(history)
        else {
            Issue.record("no violation")
            return
        }
        #expect(violation.key == "b")
        #expect(violation.unplaced == [13])
    }
}
