import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL
import Units

/// Asks one URL again and again, each time over a new connection: a service that only serves old connections is down.
struct HTTPProber: Prober {
    private let target: HTTPProbe
    private let plan: CheckPlan
    private let client: HTTPClient
    /// The URL with its host replaced by the TLS server name, when there is one.
    private let url: String
    private let headers: HTTPHeaders

    static let userAgent = "Consul Health Check"
    static let accept = "text/plain, text/*, */*"

    init(probe: HTTPProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = probe.followsRedirects ? .follow(max: 10, allowCycles: false) : .disallow
        configuration.timeout = HTTPClient.Configuration.Timeout(
            connect: plan.timeout.timeAmount, read: plan.timeout.timeAmount)
        configuration.httpVersion = .http1Only
        configuration.maximumUsesPerConnection = 1
        configuration.connectionPool.retryConnectionEstablishment = false
        if probe.tls.skipVerify {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.certificateVerification = .none
            configuration.tlsConfiguration = tls
        }
        var headers = HTTPHeaders()
        for header in probe.headers {
            for value in header.values { headers.add(name: header.name, value: value) }
        }
        if !headers.contains(name: "User-Agent") { headers.add(name: "User-Agent", value: HTTPProber.userAgent) }
        if !headers.contains(name: "Accept") { headers.add(name: "Accept", value: HTTPProber.accept) }
        headers.replaceOrAdd(name: "Connection", value: "close")
        var url = probe.url
        if let name = probe.tls.serverName, let parts = URLParts(probe.url), parts.scheme == "https" {
            // The client takes the name to verify from the URL; the address to connect to comes from the override.
            configuration.dnsOverride = [name: parts.host]
            if !headers.contains(name: "Host") { headers.add(name: "Host", value: parts.authority) }
            url = parts.url(withHost: name)
        }
        self.url = url
        self.headers = headers
        self.client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    func close() async {
        // Fails only when it was shut down before; there is nothing to do then.
        try? await self.client.shutdown()
    }

    func probe() async -> ProbeResult {
        do {
            return try await withProbeDeadline(self.plan.timeout) { try await self.ask() }
        } catch {
            return ProbeResult(status: .critical, output: "\(self.title): \(HTTPProber.reason(error))")
        }
    }

    private var title: String { "HTTP \(self.target.method) \(self.target.url)" }

    private func ask() async throws -> ProbeResult {
        var request = HTTPClientRequest(url: self.url)
        request.method = HTTPMethod(rawValue: self.target.method)
        request.headers = self.headers
        if !self.target.body.isEmpty { request.body = .bytes(Array(self.target.body.utf8)) }
        let response = try await self.client.execute(request, timeout: self.plan.timeout.timeAmount)
        var tail = OutputTail(limit: self.plan.outputLimit)
        for try await buffer in response.body { tail.append(buffer.readableBytesView) }
        let code = response.status.code
        let status: HealthStatus =
            switch code {
            case 200..<300: .passing
            case 429: .warning
            default: .critical
            }
        let output = "\(self.title): \(code) \(response.status.reasonPhrase) Output: \(tail.text)"
        return ProbeResult(status: status, output: output)
    }

    /// Why a request got no answer, in words that fit after the URL.
    static func reason(_ error: any Error) -> String {
        switch error {
        case is ProbeTimedOut: "context deadline exceeded"
        case let error as HTTPClientError
        where error == .deadlineExceeded || error == .connectTimeout || error == .readTimeout:
            "context deadline exceeded"
        case let error as HTTPClientError where error == .remoteConnectionClosed: "EOF"
        case let error as HTTPClientError: error.description
        default: ConnectFailure.reason(error)
        }
    }
}

/// Scheme, host and the rest of a URL: just enough to put another host into it.
struct URLParts: Equatable {
    var scheme: String
    /// Without brackets.
    var host: String
    /// `:port`, or "".
    var port: String
    /// Path, query and fragment.
    var rest: String

    init?(_ url: String) {
        guard let separator = URLParts.firstRange(of: "://", in: url) else { return nil }
        self.scheme = url[..<separator.lowerBound].lowercased()
        let tail = url[separator.upperBound...]
        let end = tail.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? tail.endIndex
        var authority = tail[..<end]
        self.rest = String(tail[end...])
        if let at = authority.lastIndex(of: "@") { authority = authority[authority.index(after: at)...] }
        if authority.first == "[", let close = authority.firstIndex(of: "]") {
            self.host = String(authority[authority.index(after: authority.startIndex)..<close])
            self.port = String(authority[authority.index(after: close)...])
        } else {
            let colon = authority.firstIndex(of: ":") ?? authority.endIndex
            self.host = String(authority[..<colon])
            self.port = String(authority[colon...])
        }
        if self.host.isEmpty || self.scheme.isEmpty { return nil }
    }

    var authority: String { self.host.contains(":") ? "[\(self.host)]\(self.port)" : self.host + self.port }

    func url(withHost host: String) -> String { "\(self.scheme)://\(host)\(self.port)\(self.rest)" }

    private static func firstRange(of needle: String, in text: String) -> Range<String.Index>? {
        var start = text.startIndex
        while start < text.endIndex {
            if text[start...].hasPrefix(needle) { return start..<text.index(start, offsetBy: needle.count) }
            start = text.index(after: start)
        }
        return nil
    }
}
