import Units

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Asks systemd whether a unit is active. Consul's own agent does so on Windows alone; its documentation promises systemd.
struct OSServiceProber: Prober {
    let probe: OSServiceProbe
    let plan: CheckPlan

    func probe() async -> ProbeResult {
        let unit = self.probe.unit
        guard access(self.probe.marker, F_OK) == 0 else {
            let reason = "no systemd runs this machine: \(self.probe.marker) is missing"
            return ProbeResult(status: .critical, output: "OS service \"\(unit)\" can't be asked about: \(reason)")
        }
        let outcome = await ChildProcess.run(
            self.probe.query + [unit], timeout: self.plan.timeout, outputLimit: self.plan.outputLimit)
        // `active`, `inactive`, `failed`, `activating`…
        let state = outcome.output.text.filter { !$0.isNewline }
        switch outcome.end {
        case .exited(code: 0): return ProbeResult(status: .passing, output: "Service \"\(unit)\" is healthy")
        // systemctl(1): 3 is a unit that is not active, 4 one that does not exist.
        case .exited(code: 3), .exited(code: 4):
            let shown = state.isEmpty ? "not active" : state
            return ProbeResult(status: .critical, output: "OS Service unhealthy: \"\(unit)\" is \(shown)")
        case .exited(let code):
            return ProbeResult(
                status: .warning, output: "asking systemd about \"\(unit)\" failed with code \(code): \(state)")
        case .killed(let signal):
            return ProbeResult(status: .warning, output: "asking systemd about \"\(unit)\" ended by signal \(signal)")
        case .timedOut: return ProbeResult(status: .critical, output: ScriptProber.timedOut(self.plan))
        case .notStarted(let reason):
            return ProbeResult(status: .warning, output: "asking systemd about \"\(unit)\" failed: \(reason)")
        }
    }
}
