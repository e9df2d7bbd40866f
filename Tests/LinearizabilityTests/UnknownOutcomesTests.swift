import Linearizability
import Testing

/// One key and five clients on a bad day: now and then nobody answers for a while, and what is asked then takes effect
/// at some later time, or never.
private struct BadDay {
    private struct Client {
        var free: UInt64 = 0
        var index: UInt64 = 0
    }
    private struct Pending {
        var client: Int
        var call: UInt64
        var effect: UInt64
        var isLost: Bool
        var isSilent: Bool
        var input: KVRegister.Input
    }

    private var dice: Dice
    private var clients = Array(repeating: Client(), count: 5)
    private var pending: [Pending] = []
    private var (value, index, last) = (String?.none, UInt64(0), UInt64(0))
    private(set) var history: [KVOperation] = []

    init(seed: UInt64, operations: Int) {
        self.dice = Dice(state: seed)
        var serial = 0
        while serial < operations {
            let idle = self.clients.indices.filter { client in
                !self.pending.contains { $0.client == client && !$0.isSilent }
            }
            let next = idle.min { self.clients[$0].free < self.clients[$1].free }
            let due = self.pending.indices.min { self.pending[$0].effect < self.pending[$1].effect }
            if let next, due.map({ self.clients[next].free < self.pending[$0].effect }) ?? true {
                self.ask(next, serial)
                serial += 1
            } else if let due {
                self.takeEffect(self.pending.remove(at: due))
            }
        }
        for rest in self.pending { self.note(rest, nil, at: nil) }
    }

    private mutating func ask(_ client: Int, _ serial: Int) {
        let call = self.clients[client].free
        let isSilent = call % 2_000 > 1_400
        let input: KVRegister.Input =
            switch self.dice.roll(10) {
            case 0...3: .get
            case 4...6: .put("\(serial)")
            case 7, 8: .cas(index: self.clients[client].index, value: "\(serial)")
            default: .delete
            }
        self.pending.append(
            Pending(
                client: client, call: call, effect: call + UInt64(1 + self.dice.roll(isSilent ? 900 : 30)),
                isLost: isSilent && self.dice.roll(2) == 0, isSilent: isSilent, input: input))
        if isSilent { self.clients[client].free = call + UInt64(50 + self.dice.roll(20)) }
    }

    private mutating func takeEffect(_ request: Pending) {
        guard !request.isLost else { return self.note(request, nil, at: nil) }
        var output = KVRegister.Output.done(true)
        switch request.input {
        case .get: output = .value(self.value, index: self.index)
        case .put(let value): self.write(value)
        case .cas(let expected, let value):
            if expected == self.index { self.write(value) } else { output = .done(false) }
        case .delete, .deleteCAS: self.write(nil)
        }
        let returned = request.effect + UInt64(1 + self.dice.roll(10))
        self.note(request, output, at: request.isSilent ? nil : returned)
        guard !request.isSilent else { return }
        if case .value = output { self.clients[request.client].index = self.index }
        self.clients[request.client].free = returned + UInt64(self.dice.roll(40))
    }

    private mutating func write(_ value: String?) {
        self.last += 1
        (self.value, self.index) = (value, value == nil ? 0 : self.last)
    }

    private mutating func note(_ request: Pending, _ output: KVRegister.Output?, at returned: UInt64?) {
        guard returned != nil || request.input != .get else { return }
        self.history.append(
            KVOperation(
                client: request.client, key: "k", call: request.call, returned: returned, input: request.input,
                output: output, isRead: request.input == .get))
    }
}

@Suite struct UnknownOutcomesTests {
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func aLegalHistoryWithDozensOfUnknownOutcomesIsJudged(_ seed: UInt64) {
        let history = BadDay(seed: seed, operations: 700).history
        #expect(history.count { $0.returned == nil } > 50)
        #expect(LinearizabilityChecker(model: KVRegister()).check(history) == .linearizable)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func oneLostWriteAmongDozensOfUnknownOutcomesIsFound(_ seed: UInt64) {
        var history = BadDay(seed: seed, operations: 350).history
        // As if an acknowledged write that somebody read had never been asked for.
        let readers: Set<String> = Set(
            history.compactMap { if case .value(let value, _)? = $0.output { value } else { nil } })
        let victim = history.indices.filter { position in
            guard case .put(let value) = history[position].input else { return false }
            return history[position].returned != nil && readers.contains(value)
        }
        history.remove(at: victim[victim.count / 2])
        guard case .violation = LinearizabilityChecker(model: KVRegister()).check(history) else {
            Issue.record("seed \(seed): the lost write was not found")
            return
        }
    }
}
