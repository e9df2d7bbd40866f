/// What one checker says of a history.
public struct Finding: Sendable, Equatable {
    public enum Outcome: Sendable, Equatable {
        case holds
        case violated(String)
        /// The search was given up within its budget: a failure of the harness, not of the system.
        case undecided(String)
    }
    /// What was promised, as a short sentence.
    public var promise: String
    /// Records that the checker looked at; 0: it had nothing to judge.
    public var examined: Int
    public var outcome: Outcome

    public init(_ promise: String, examined: Int, _ outcome: Outcome) {
        self.promise = promise
        self.examined = examined
        self.outcome = outcome
    }
}

/// All checkers over one history. Another workload adds its checker to `findings`.
public struct HistoryJudge: Sendable {
    /// Steps that the search may take for each key.
    public var budget: Int
    /// How late a blocking query may return after the change it waited for, in nanoseconds.
    public var watchGrace: UInt64 = 3_000_000_000
    /// After a fault a server has this long before its watches count again, in nanoseconds.
    public var recovery: UInt64 = 6_000_000_000

    public init(budget: Int = 20_000_000) { self.budget = budget }

    public func findings(_ records: [HistoryRecord]) -> [Finding] {
        let records = Restores(records).judged(records)
        return [
            self.linearizable("single keys and transactions are linearizable", KVRegister(), records, \.register),
            self.linearizable("sets are linearizable", AppendSet(), records, \.appendSet),
            self.linearizable("locks have one holder, and tokens that rise", FencedLock(), records, \.lock),
            TransactionChecker.finding(records),
            AppendChecker.finding(records),
            CounterChecker.finding(records),
            StaleReadChecker.finding(records),
            SessionChecker.finding(records),
            WatchChecker(grace: self.watchGrace, recovery: self.recovery).finding(records),
        ].filter { $0.examined > 0 }
    }

    private func linearizable<Model: SequentialModel>(
        _ promise: String, _ model: Model, _ records: [HistoryRecord],
        _ operation: (HistoryRecord) -> HistoryOperation<Model.Input, Model.Output>?
    ) -> Finding {
        let operations = records.compactMap(operation)
        let outcome: Finding.Outcome =
            switch LinearizabilityChecker(model: model, budget: self.budget).check(operations) {
            case .linearizable: .holds
            case .violation(let violation):
                .violated(
                    "key \(violation.key): no place for "
                        + violation.unplaced.prefix(6).map { "\(operations[$0])" }.joined(separator: "; "))
            case .unknown(let key): .undecided("key \(key)")
            }
        return Finding(promise, examined: operations.count, outcome)
    }
}

/// What is written in one transaction is read in one transaction whole, or not at all.
enum TransactionChecker {
    static func finding(_ records: [HistoryRecord]) -> Finding {
        let reads = records.filter { $0.kind == .pairRead && $0.returned != nil }
        let torn = reads.first { $0.names?.count != 2 || $0.names?[0] != $0.names?[1] }
        return Finding(
            "transactions are seen whole", examined: reads.count,
            torn.map { .violated("\($0.key) was read as \($0.names ?? [])") } ?? .holds)
    }
}

/// Every acknowledged append is there at the end, on every server, and none that was refused.
enum AppendChecker {
    static func finding(_ records: [HistoryRecord]) -> Finding {
        let promise = "no acknowledged write is lost, no refused one is there"
        let appends = records.filter { $0.kind == .append }
        let surveys = records.filter { $0.kind == .survey }
        guard !appends.isEmpty else { return Finding(promise, examined: 0, .holds) }
        guard !surveys.isEmpty else {
            return Finding(promise, examined: appends.count, .undecided("nobody looked at the end"))
        }
        for survey in surveys {
            let there = Set(survey.names ?? [])
            let view = survey.view ?? survey.key
            if let lost = appends.first(where: { $0.ok == true && $0.returned != nil && !there.contains($0.key) }) {
                return Finding(promise, examined: appends.count, .violated("\(lost.key) is not on \(view)"))
            }
            if let ghost = appends.first(where: { $0.ok == false && $0.returned != nil && there.contains($0.key) }) {
                return Finding(
                    promise, examined: appends.count, .violated("\(ghost.key) was refused and is on \(view)"))
            }
            let known = Set(appends.map(\.key))
            if let stranger = survey.names?.first(where: { !known.contains($0) }) {
                return Finding(promise, examined: appends.count, .violated("nobody wrote \(stranger), on \(view)"))
            }
        }
        return Finding(promise, examined: appends.count, .holds)
    }
}

/// A counter stands at the number of acknowledged counts, or up to all that may have happened besides.
enum CounterChecker {
    static func finding(_ records: [HistoryRecord]) -> Finding {
        let promise = "each count is counted once"
        let counts = records.filter { $0.kind == .count }
        let totals = records.filter { $0.kind == .total }
        guard !counts.isEmpty else { return Finding(promise, examined: 0, .holds) }
        var least: [String: Int] = [:]
        var most: [String: Int] = [:]
        for count in counts where count.ok != false || count.returned == nil {
            most[count.key, default: 0] += 1
            if count.returned != nil { least[count.key, default: 0] += 1 }
        }
        guard Set(totals.map(\.key)).isSuperset(of: least.keys) else {
            return Finding(promise, examined: counts.count, .undecided("nobody looked at the end"))
        }
        for total in totals {
            let range = least[total.key, default: 0]...most[total.key, default: 0]
            guard let value = Int(total.result ?? "0"), range.contains(value) else {
                return Finding(
                    promise, examined: counts.count,
                    .violated(
                        "\(total.key) is \(total.result ?? "missing") on \(total.view ?? "a server"), "
                            + "not \(range.lowerBound) to \(range.upperBound)"))
            }
        }
        return Finding(promise, examined: counts.count, .holds)
    }
}
