import Units

/// Runs a program; its exit code is the result.
struct ScriptProber: Prober {
    let probe: ScriptProbe
    let plan: CheckPlan

    func probe() async -> ProbeResult {
        let outcome = await ChildProcess.run(
            self.probe.arguments, timeout: self.plan.timeout, outputLimit: self.plan.outputLimit)
        switch outcome.end {
        case .exited(let code):
            return ProbeResult(status: HealthStatus(exitCode: code), output: outcome.output.noted)
        case .killed: return ProbeResult(status: .critical, output: outcome.output.noted)
        case .timedOut:
            var text = ScriptProber.timedOut(self.plan)
            if outcome.output.total > 0 { text += "\n\n" + outcome.output.noted }
            return ProbeResult(status: .critical, output: text)
        case .notStarted(let reason): return ProbeResult(status: .critical, output: reason)
        }
    }

    static func timedOut(_ plan: CheckPlan) -> String { "Timed out (\(GoDuration.format(plan.timeout))) running check" }
}

extension HealthStatus {
    /// As Nagios's plugins say it.
    init(exitCode: Int32) {
        switch exitCode {
        case 0: self = .passing
        case 1: self = .warning
        default: self = .critical
        }
    }
}
