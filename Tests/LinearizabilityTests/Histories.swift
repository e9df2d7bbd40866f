import Linearizability

typealias KVOperation = HistoryOperation<KVRegister.Input, KVRegister.Output>
typealias SetOperation = HistoryOperation<AppendSet.Input, AppendSet.Output>
typealias LockOperation = HistoryOperation<FencedLock.Input, FencedLock.Output>

/// `at` is call and return; an open range (`returned` nil) never came back.
func kv(
    _ at: ClosedRange<UInt64>, _ input: KVRegister.Input, _ output: KVRegister.Output, key: String = "k"
) -> KVOperation {
    KVOperation(
        client: 0, key: key, call: at.lowerBound, returned: at.upperBound, input: input, output: output,
        isRead: input == .get)
}
func kv(_ from: PartialRangeFrom<UInt64>, _ input: KVRegister.Input, key: String = "k") -> KVOperation {
    KVOperation(client: 0, key: key, call: from.lowerBound, returned: nil, input: input, output: nil)
}
func put(_ at: ClosedRange<UInt64>, _ value: String, index: UInt64? = nil) -> KVOperation {
    kv(at, .put(value), .done(true, index: index))
}
func get(_ at: ClosedRange<UInt64>, _ value: String?, index: UInt64 = 0) -> KVOperation {
    kv(at, .get, .value(value, index: index))
}
func cas(_ at: ClosedRange<UInt64>, _ index: UInt64, _ value: String, _ ok: Bool) -> KVOperation {
    kv(at, .cas(index: index, value: value), .done(ok))
}
func delete(_ at: ClosedRange<UInt64>) -> KVOperation { kv(at, .delete, .done(true)) }
func deleteCAS(_ at: ClosedRange<UInt64>, _ index: UInt64, _ ok: Bool) -> KVOperation {
    kv(at, .deleteCAS(index: index), .done(ok))
}

func add(_ at: ClosedRange<UInt64>, _ element: UInt64) -> SetOperation {
    SetOperation(
        client: 0, key: "s", call: at.lowerBound, returned: at.upperBound, input: .add(element), output: .added)
}
func add(_ from: PartialRangeFrom<UInt64>, _ element: UInt64) -> SetOperation {
    SetOperation(client: 0, key: "s", call: from.lowerBound, returned: nil, input: .add(element), output: nil)
}
func read(_ at: ClosedRange<UInt64>, _ elements: [UInt64]) -> SetOperation {
    SetOperation(
        client: 0, key: "s", call: at.lowerBound, returned: at.upperBound, input: .read, output: .elements(elements),
        isRead: true)
}

func lock(_ at: ClosedRange<UInt64>, _ input: FencedLock.Input, _ ok: Bool = true) -> LockOperation {
    LockOperation(
        client: 0, key: "l", call: at.lowerBound, returned: at.upperBound, input: input, output: .done(ok))
}
func lock(_ from: PartialRangeFrom<UInt64>, _ input: FencedLock.Input) -> LockOperation {
    LockOperation(client: 0, key: "l", call: from.lowerBound, returned: nil, input: input, output: nil)
}
func acquire(_ at: ClosedRange<UInt64>, _ session: String, _ ok: Bool = true) -> LockOperation {
    lock(at, .acquire(session: session), ok)
}
func release(_ at: ClosedRange<UInt64>, _ session: String, _ ok: Bool = true) -> LockOperation {
    lock(at, .release(session: session), ok)
}
func invalidate(_ at: ClosedRange<UInt64>, _ session: String) -> LockOperation {
    lock(at, .invalidate(session: session))
}
func fenced(_ at: ClosedRange<UInt64>, _ session: String, _ index: UInt64, _ ok: Bool) -> LockOperation {
    lock(at, .fencedWrite(session: session, lockIndex: index), ok)
}
func holder(_ at: ClosedRange<UInt64>, _ session: String?, _ lockIndex: UInt64) -> LockOperation {
    LockOperation(
        client: 0, key: "l", call: at.lowerBound, returned: at.upperBound, input: .inspect,
        output: .holder(session: session, lockIndex: lockIndex), isRead: true)
}

let registerIsIllegal: [(String, [KVOperation])] = [
    ("a read of a value that nobody wrote", [get(0...1, "x")]),
    ("a missing key after a finished put", [put(0...1, "a"), get(2...3, nil)]),
    ("an old value after a newer finished put", [put(0...1, "a"), put(2...3, "b"), get(4...5, "a")]),
    ("a value from the future", [get(0...1, "a"), put(2...3, "a")]),
    (
        "two readers that disagree on the order of two puts",
        [put(0...9, "a"), put(0...9, "b"), get(10...11, "a"), get(12...13, "b")]
    ),
    (
        "new, then old, while both puts are running",
        [put(0...20, "a"), put(1...2, "b"), get(3...4, "a"), get(5...6, "b")]
    ),
    ("a read that goes back", [put(0...1, "a"), put(2...20, "b"), get(3...4, "b"), get(5...6, "a")]),
    ("a value that survives its delete", [put(0...1, "a"), delete(2...3), get(4...5, "a")]),
    (
        "a key that is missing, then there, without a put",
        [put(0...1, "a"), delete(2...9), get(3...4, nil), get(5...6, "a")]
    ),
    ("a lost put between two reads", [put(0...1, "a"), get(2...3, "a"), get(4...5, nil)]),
    (
        "an unknown put that takes effect twice",
        [put(0...1, "a"), kv(2..., .put("b")), get(3...4, "b"), put(5...6, "c"), get(7...8, "b")]
    ),
    ("an unknown put seen before it was called", [get(0...1, "b"), kv(2..., .put("b"))]),
    ("an unknown put seen, then gone", [put(0...1, "a"), kv(2..., .put("b")), get(3...4, "b"), get(5...6, "a")]),
    ("an unknown delete undone", [put(0...1, "a"), kv(2..., .delete), get(3...4, nil), get(5...6, "a")]),
    ("a cas-create that succeeds on an existing key", [put(0...1, "a"), cas(2...3, 0, "b", true)]),
    ("a cas-create that fails on a missing key", [cas(0...1, 0, "a", false)]),
    ("two cas-creates that both succeed", [cas(0...9, 0, "a", true), cas(0...9, 0, "b", true)]),
    ("two cas-creates that both fail", [cas(0...9, 0, "a", false), cas(0...9, 0, "b", false)]),
    (
        "a cas by an index that the key no longer has",
        [put(0...1, "a", index: 5), put(2...3, "b", index: 6), cas(4...5, 5, "c", true)]
    ),
    ("a cas by the right index that fails", [put(0...1, "a", index: 5), cas(2...3, 5, "b", false)]),
    ("a cas by an index that was never there", [put(0...1, "a", index: 5), cas(2...3, 4, "b", true)]),
    ("a cas on a missing key", [cas(0...1, 7, "a", true)]),
    (
        "two cas by one index",
        [put(0...1, "a"), get(2...3, "a", index: 9), cas(4...9, 9, "b", true), cas(4...9, 9, "c", true)]
    ),
    (
        "a failed cas by the index that a later read shows",
        [put(0...1, "a"), cas(2...3, 8, "b", false), get(4...5, "a", index: 8)]
    ),
    ("a failed cas whose value is read", [put(0...1, "a", index: 5), cas(2...3, 4, "b", false), get(4...5, "b")]),
    ("an index that changes without a write", [put(0...1, "a"), get(2...3, "a", index: 5), get(4...5, "a", index: 6)]),
    ("an index that goes back", [put(0...1, "a", index: 7), put(2...3, "b", index: 6)]),
    (
        "an index below its predecessor's, by reads",
        [put(0...1, "a"), get(2...3, "a", index: 9), put(4...5, "b"), get(6...7, "b", index: 9)]
    ),
    (
        "an index that an overwritten value had",
        [put(0...1, "a", index: 5), put(2...3, "b"), get(4...5, "b", index: 5)]
    ),
    (
        "a re-created key with its old index",
        [put(0...1, "a", index: 5), delete(2...3), put(4...5, "a"), get(6...7, "a", index: 5)]
    ),
    ("a delete-cas that fails on a missing key", [deleteCAS(0...1, 3, false)]),
    ("a delete-cas by the wrong index", [put(0...1, "a", index: 5), deleteCAS(2...3, 4, true)]),
    ("a delete-cas by the right index that fails", [put(0...1, "a", index: 5), deleteCAS(2...3, 5, false)]),
    ("a delete-cas that leaves the key", [put(0...1, "a", index: 5), deleteCAS(2...3, 5, true), get(4...5, "a")]),
    ("a put that says no", [kv(0...1, .put("a"), .done(false))]),
    (
        "one key bad among good ones",
        [kv(0...1, .put("a"), .done(true), key: "good"), kv(2...3, .get, .value("a"), key: "good"), get(4...5, "z")]
    ),
    (
        "a stale read next to an unknown cas that can't have happened",
        [put(0...1, "a", index: 5), kv(2..., .cas(index: 4, value: "b")), get(3...4, "b")]
    ),
]

let setIsIllegal: [(String, [SetOperation])] = [
    ("an element that nobody added", [read(0...1, [1])]),
    ("a lost element", [add(0...1, 1), read(2...3, [])]),
    ("one of two lost", [add(0...1, 1), add(2...3, 2), read(4...5, [2])]),
    ("an element before its time", [read(0...1, [1]), add(2...3, 1)]),
    ("an element twice", [add(0...1, 1), read(2...3, [1, 1])]),
    ("an element that vanishes", [add(0...20, 1), read(1...2, [1]), read(3...4, [])]),
    ("two readers that saw different firsts", [add(0...20, 1), add(0...20, 2), read(1...2, [1]), read(3...4, [2])]),
    ("an unknown add that vanishes", [add(0..., 1), read(1...2, [1]), read(3...4, [])]),
    ("an unknown add seen too early", [read(0...1, [7]), add(2..., 7)]),
    ("the later add without the earlier", [add(0...1, 1), add(2...9, 2), read(3...4, [2])]),
]

let lockIsIllegal: [(String, [LockOperation])] = [
    ("two holders", [acquire(0...9, "a"), acquire(0...9, "b")]),
    ("a second holder before the release", [acquire(0...1, "a"), acquire(2...3, "b"), release(4...5, "a")]),
    ("a refusal of a lock that was never held", [acquire(0...1, "a", false)]),
    ("a refusal after a plain release", [acquire(0...1, "a"), release(2...3, "a"), acquire(4...5, "b", false)]),
    ("a refusal to its own holder", [acquire(0...1, "a"), acquire(2...3, "a", false)]),
    ("a release by somebody else", [acquire(0...1, "a"), release(2...3, "b", true)]),
    ("a release refused to the holder", [acquire(0...1, "a"), release(2...3, "a", false)]),
    ("a release of a free lock", [release(0...1, "a", true)]),
    (
        "a lock index that stands still",
        [acquire(0...1, "a"), release(2...3, "a"), acquire(4...5, "b"), holder(6...7, "b", 1)]
    ),
    ("a lock index that rises on re-acquisition", [acquire(0...1, "a"), acquire(2...3, "a"), holder(4...5, "a", 2)]),
    ("the wrong holder", [acquire(0...1, "a"), holder(2...3, "b", 1)]),
    ("a free lock while it is held", [acquire(0...1, "a"), holder(2...3, nil, 1)]),
    ("a holder whose session ended", [acquire(0...1, "a"), invalidate(2...3, "a"), holder(4...5, "a", 1)]),
    ("an acquisition by a session that ended", [invalidate(0...1, "a"), acquire(2...3, "a")]),
    (
        "a fenced write by the last holder",
        [acquire(0...1, "a"), invalidate(2...3, "a"), acquire(4...5, "b"), fenced(6...7, "a", 1, true)]
    ),
    (
        "a fenced write with an old token",
        [acquire(0...1, "a"), release(2...3, "a"), acquire(4...5, "a"), fenced(6...7, "a", 1, true)]
    ),
    ("a fenced write refused to the holder", [acquire(0...1, "a"), fenced(2...3, "a", 1, false)]),
    (
        "an unknown acquisition that let two in",
        [lock(0..., .acquire(session: "a")), holder(1...2, "a", 1), acquire(3...4, "b")]
    ),
]
