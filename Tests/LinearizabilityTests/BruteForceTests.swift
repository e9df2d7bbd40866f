import Linearizability
import Testing

/// Tries every order of every subset that real time allows: what linearizability means, word for word.
private func bruteForce<Model: SequentialModel>(
    _ model: Model, _ operations: [HistoryOperation<Model.Input, Model.Output>]
) -> Bool {
    func extend(_ state: Model.State, _ placed: UInt64) -> Bool {
        let open = operations.indices.filter { placed & (1 << UInt64($0)) == 0 }
        if open.allSatisfy({ operations[$0].returned == nil }) { return true }
        for candidate in open {
            let overtakes = open.contains { other in
                guard other != candidate, let returned = operations[other].returned else { return false }
                return returned < operations[candidate].call
            }
            if overtakes { continue }
            guard let next = model.step(state, operations[candidate].input, operations[candidate].output) else {
                continue
            }
            if extend(next, placed | 1 << UInt64(candidate)) { return true }
        }
        return false
    }
    return extend(model.initial, 0)
}

/// SplitMix64: small, and the same everywhere.
struct Dice {
    var state: UInt64
    mutating func roll(_ sides: Int) -> Int {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ (mixed >> 31)) % UInt64(sides))
    }
}

@Suite struct BruteForceTests {
    /// Every way that `count` calls and returns can interleave, as (call, returned) pairs; returned nil for "never".
    private func interleavings(_ count: Int) -> [[(UInt64, UInt64?)]] {
        var all: [[(UInt64, UInt64?)]] = []
        func go(_ pairs: [(UInt64, UInt64?)], _ time: UInt64) {
            if pairs.count == count { all.append(pairs) }
            guard time <= UInt64(2 * count) else { return }
            if pairs.count < count { go(pairs + [(time, nil)], time + 1) }
            for index in pairs.indices where pairs[index].1 == nil {
                var next = pairs
                next[index].1 = time
                go(next, time + 1)
            }
        }
        go([], 1)
        return all
    }

    @Test func theCheckerAgreesWithBruteForceOnEveryHistoryOfThreePutsAndGets() {
        let checker = LinearizabilityChecker(model: KVRegister())
        let moves: [(KVRegister.Input, KVRegister.Output)] = [
            (.put("a"), .done(true)), (.put("b"), .done(true)), (.get, .value(nil)), (.get, .value("a")),
            (.get, .value("b")),
        ]
        var (legal, illegal) = (0, 0)
        for shape in self.interleavings(3) {
            for choice in 0..<(moves.count * moves.count * moves.count) {
                let picks = [choice % 5, choice / 5 % 5, choice / 25]
                let history = zip(shape, picks).map { time, pick in
                    KVOperation(
                        client: 0, key: "k", call: time.0, returned: time.1, input: moves[pick].0,
                        output: moves[pick].1, isRead: moves[pick].0 == .get)
                }
                let expected = bruteForce(KVRegister(), history)
                if expected { legal += 1 } else { illegal += 1 }
                #expect((checker.check(history) == .linearizable) == expected, "\(history)")
            }
        }
        #expect(legal > 1_000 && illegal > 1_000)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func theCheckerAgreesWithBruteForceOnSampledRegisterHistories(_ seed: UInt64) {
        var dice = Dice(state: seed &* 7_919 &+ 1)
        let checker = LinearizabilityChecker(model: KVRegister())
        var legal = 0
        for _ in 0..<400 {
            let history = (0..<(4 + dice.roll(2))).map { _ -> KVOperation in
                let call = UInt64(dice.roll(8))
                let returned = dice.roll(6) == 0 ? nil : call + UInt64(dice.roll(6))
                let value = ["a", "b"][dice.roll(2)]
                let index = UInt64(dice.roll(4))
                let pick = dice.roll(9)
                let (input, output): (KVRegister.Input, KVRegister.Output) =
                    switch pick {
                    case 0, 1: (.put(value), .done(true, index: dice.roll(2) == 0 ? nil : index + 1))
                    case 2: (.delete, .done(true))
                    case 3: (.cas(index: index, value: value), .done(dice.roll(2) == 0))
                    case 4: (.deleteCAS(index: index + 1), .done(dice.roll(2) == 0))
                    case 5: (.get, .value(nil))
                    default: (.get, .value(value, index: dice.roll(2) == 0 ? 0 : index + 1))
                    }
                let position = dice.roll(3) == 0 ? UInt64(dice.roll(6)) : nil
                return KVOperation(
                    client: 0, key: "k", call: call, returned: returned, input: input, output: output,
                    position: position, isRead: input == .get)
            }
            let expected = bruteForce(KVRegister(), history)
            if expected { legal += 1 }
            #expect((checker.check(history) == .linearizable) == expected, "\(history)")
        }
        #expect(legal > 10 && legal < 390)
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func theCheckerAgreesWithBruteForceOnSampledSetHistories(_ seed: UInt64) {
        var dice = Dice(state: seed &* 104_729 &+ 3)
        let checker = LinearizabilityChecker(model: AppendSet())
        for _ in 0..<400 {
            let history = (0..<5).map { _ -> SetOperation in
                let call = UInt64(dice.roll(8))
                let returned = dice.roll(6) == 0 ? nil : call + UInt64(dice.roll(6))
                let bits = dice.roll(4)
                let read = dice.roll(2) == 0
                let elements = [UInt64(0), 1].filter { bits & (1 << Int($0)) != 0 }
                return SetOperation(
                    client: 0, key: "s", call: call, returned: returned,
                    input: read ? .read : .add(UInt64(dice.roll(2))), output: read ? .elements(elements) : .added,
                    isRead: read)
            }
            #expect((checker.check(history) == .linearizable) == bruteForce(AppendSet(), history), "\(history)")
        }
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func theCheckerAgreesWithBruteForceOnSampledLockHistories(_ seed: UInt64) {
        var dice = Dice(state: seed &* 1_299_709 &+ 7)
        let checker = LinearizabilityChecker(model: FencedLock())
        for _ in 0..<400 {
            let history = (0..<5).map { _ -> LockOperation in
                let call = UInt64(dice.roll(8))
                let returned = dice.roll(6) == 0 ? nil : call + UInt64(dice.roll(6))
                let session = ["a", "b"][dice.roll(2)]
                let ok = dice.roll(3) > 0
                let (input, output): (FencedLock.Input, FencedLock.Output) =
                    switch dice.roll(7) {
                    case 0, 1, 2: (.acquire(session: session), .done(ok))
                    case 3: (.release(session: session), .done(ok))
                    case 4: (.invalidate(session: session), .done(true))
                    case 5: (.fencedWrite(session: session, lockIndex: UInt64(dice.roll(3))), .done(ok))
                    default:
                        (.inspect, .holder(session: dice.roll(2) == 0 ? nil : session, lockIndex: UInt64(dice.roll(3))))
                    }
                return LockOperation(
                    client: 0, key: "l", call: call, returned: returned, input: input, output: output,
                    isRead: input == .inspect)
            }
            #expect((checker.check(history) == .linearizable) == bruteForce(FencedLock(), history), "\(history)")
        }
    }
}
