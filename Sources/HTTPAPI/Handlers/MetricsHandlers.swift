import LocalAgent
import NIOCore
import Units

/// `/v1/agent/metrics…` (Consul's API page Agent).
enum MetricsHandlers {
    /// How often a stream of metrics brings new ones; Consul's interval of aggregation.
    private static let interval = Nanoseconds.seconds(10)

    static func metrics(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let metrics = await self.collect(api)
        if self.wantsPrometheus(request) { return self.prometheus(metrics) }
        return .json(request, capacity: 8192) { self.write(metrics, &$0) }
    }

    /// The metrics as they are, then again and again, one JSON object after the other, until the client goes.
    static func stream(_ api: HTTPAPI, _ request: APIRequest) async throws(APIError) -> APIResponse {
        let request = request.withoutBody
        let isFirst = OneTime()
        var response = APIResponse()
        response.stream = BodyStream {
            if !isFirst.take(), await !request.pause(Self.interval) { return nil }
            var writer = JSONWriter(pretty: true, capacity: 8192)
            Self.write(await Self.collect(api), &writer)
            return writer.finish()
        }
        return response
    }

    /// `?format=prometheus`, or `Accept` with a type that Prometheus names: it asks for OpenMetrics first. Consul has the
    /// text format's version wrong; who sends the right one means the same.
    private static func wantsPrometheus(_ request: APIRequest) -> Bool {
        if request.query["format"] == "prometheus" { return true }
        return request.accept.split(separator: ",").contains { element in
            let parts = element.split(separator: ";").map { $0.trimmingSpaces.lowercased() }
            guard let type = parts.first else { return false }
            if type == "application/openmetrics-text" { return true }
            return type == "text/plain"
                && parts.dropFirst().contains { ["version=0.0.4", "version=0.4.0"].contains($0) }
        }
    }

    private static func collect(_ api: HTTPAPI) async -> [Metric] {
        var metrics = await api.agent.metrics()
        for (part, count) in api.counters.snapshot() {
            metrics.append(Metric(kind: .counter, name: "serai.http.\(part.name).reads", value: Double(count.reads)))
            metrics.append(Metric(kind: .counter, name: "serai.http.\(part.name).writes", value: Double(count.writes)))
            metrics.append(
                Metric(kind: .counter, name: "serai.http.\(part.name).refused", value: Double(count.refused)))
        }
        metrics.append(Metric(kind: .gauge, name: "serai.http.waiting", value: Double(api.waitingCount)))
        return metrics
    }

    private static func write(_ metrics: [Metric], _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("Timestamp", HTTPDate.goText(second: HTTPDate.now))
            writer.key("Gauges")
            writer.array(metrics.filter { $0.kind == .gauge }) { self.gauge($1, &$0) }
            writer.key("Points")
            writer.array { _ in }
            writer.key("Counters")
            writer.array(metrics.filter { $0.kind == .counter }) { self.counter($1, &$0) }
            writer.key("Samples")
            writer.array { _ in }
        }
    }

    private static func gauge(_ metric: Metric, _ writer: inout JSONWriter) {
        writer.object {
            $0.field("Name", metric.name)
            $0.key("Value")
            $0.number(metric.value)
            $0.key("Labels")
            $0.object { _ in }
        }
    }

    /// Totals since the start, in Consul's shape: `Sum` is the total.
    private static func counter(_ metric: Metric, _ writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("Name", metric.name)
            for name: StaticString in ["Count", "Sum"] {
                writer.key(name)
                writer.number(metric.value)
            }
            writer.key("Labels")
            writer.object { _ in }
        }
    }

    /// The text format of Prometheus, version 0.0.4.
    private static func prometheus(_ metrics: [Metric]) -> APIResponse {
        var body = ByteBuffer()
        for metric in metrics {
            var name = String(metric.name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
            if metric.kind == .counter { name += "_total" }
            body.writeString("# TYPE \(name) \(metric.kind == .gauge ? "gauge" : "counter")\n\(name) \(metric.value)\n")
        }
        return APIResponse(content: .prometheus, body: body)
    }
}
