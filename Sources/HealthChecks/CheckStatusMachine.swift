/// Turns a check's single results into its status (Consul's health check definitions, thresholds).
///
/// Passing and warning count as successes, critical as a failure; each ends the other's run. A run as long as its
/// threshold speaks: `successBeforePassing` successes, `failuresBeforeCritical` failures; `failuresBeforeWarning`
/// failures give a warning. Both counters start full, so that the first result speaks at once.
public struct CheckStatusMachine: Sendable, Equatable {
    private let successBeforePassing: UInt32
    private let failuresBeforeWarning: UInt32
    private let failuresBeforeCritical: UInt32
    private var successes: UInt32
    private var failures: UInt32

    /// `failuresBeforeWarning` of 0 stands for the same value as `failuresBeforeCritical`.
    public init(successBeforePassing: UInt32, failuresBeforeWarning: UInt32, failuresBeforeCritical: UInt32) {
        self.successBeforePassing = successBeforePassing
        self.failuresBeforeWarning = failuresBeforeWarning == 0 ? failuresBeforeCritical : failuresBeforeWarning
        self.failuresBeforeCritical = failuresBeforeCritical
        self.successes = successBeforePassing
        self.failures = failuresBeforeCritical
    }

    /// The status to show after `result`; nil when the one shown so far stays, with its output.
    public mutating func record(_ result: HealthStatus) -> HealthStatus? {
        switch result {
        case .passing, .warning:
            self.failures = 0
            self.successes = CheckStatusMachine.next(self.successes)
            return self.successes >= self.successBeforePassing ? result : nil
        case .critical:
            self.successes = 0
            self.failures = CheckStatusMachine.next(self.failures)
            if self.failures >= self.failuresBeforeCritical { return .critical }
            if self.failures >= self.failuresBeforeWarning { return .warning }
            return nil
        }
    }

    private static func next(_ count: UInt32) -> UInt32 { count == .max ? .max : count + 1 }
}
