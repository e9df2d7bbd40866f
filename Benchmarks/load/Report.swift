import Histogram

/// What a run came to, for people and for programs. Latencies in microseconds, closed loop: a slow answer delays the
/// next request, so percentiles are those of the requests sent.
struct Report: Sendable {
    var workload: Workload
    var plan: Plan
    var operations: Int
    var seconds: Double
    var errors: Int
    var percentiles: [(name: String, microseconds: Double)]
    var longestGapMilliseconds: Double
    var perSecond: [Int]
    var firstErrors: [String]

    init(workload: Workload, plan: Plan, recorder: Recorder, firstErrors: [String]) {
        self.workload = workload
        self.plan = plan
        self.operations = recorder.operations
        self.seconds = recorder.seconds
        self.errors = recorder.errors
        let named: [(String, Double)] = [("p50", 50), ("p90", 90), ("p99", 99), ("p99_9", 99.9)]
        self.percentiles =
            named.map { ($0.0, Double(recorder.latency.valueAtPercentile($0.1)) / 1000) }
            + [("max", Double(recorder.latency.max) / 1000)]
        self.longestGapMilliseconds = Double(recorder.longestGap) / 1e6
        self.perSecond = recorder.perSecond
        self.firstErrors = firstErrors
    }

    var rate: Double { self.seconds > 0 ? Double(self.operations) / self.seconds : 0 }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    private static func hundredths(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }

    var text: String {
        let figures = self.percentiles.map { name, value in
            "\(name.replacing("_", with: ".")) \(Self.hundredths(value / 1000))"
        }.joined(separator: " ")
        var text =
            "\(self.workload.target.rawValue) \(self.workload.operation.rawValue): \(Int(self.rate.rounded())) ops/s, "
            + "ms: \(figures), \(self.errors) errors, longest gap \(Self.tenths(self.longestGapMilliseconds)) ms"
        for error in self.firstErrors { text += "\n  error: \(error)" }
        return text
    }

    var json: String {
        var fields = [
            "\"target\": \"\(self.workload.target.rawValue)\"",
            "\"operation\": \"\(self.workload.operation.rawValue)\"",
            "\"addresses\": [\(self.plan.addresses.map { "\"\($0.text)\"" }.joined(separator: ", "))]",
            "\"connections\": \(self.plan.connections)", "\"value_bytes\": \(self.workload.valueBytes)",
            "\"verified\": \(self.workload.verify)", "\"seconds\": \(Self.tenths(self.seconds))",
            "\"ops\": \(self.operations)", "\"ops_per_second\": \(Self.tenths(self.rate))",
        ]
        fields += self.percentiles.map { "\"\($0.name)_us\": \(Self.tenths($0.microseconds))" }
        fields += [
            "\"errors\": \(self.errors)", "\"longest_gap_ms\": \(Self.tenths(self.longestGapMilliseconds))",
            "\"per_second\": [\(self.perSecond.map(String.init).joined(separator: ", "))]",
        ]
        return "{" + fields.joined(separator: ", ") + "}"
    }
}
