import HealthChecks
import Units

// From what was registered to what a runner needs.
extension CheckDefinition {
    /// Bytes of output that are kept.
    func outputLimit(_ settings: LocalAgentSettings) -> Int {
        self.outputMaxSize <= 0
            ? settings.checkOutputLimit : min(Int(self.outputMaxSize), settings.checkOutputLimit)
    }

    /// What a runner needs; nil for a check that nothing is asked for: a TTL check, whose rest of time its owner knows, an
    /// alias, maintenance.
    /// - Throws: `invalid` with the text of a refusal: its target is malformed, or it has more than one.
    func polledPlan(_ settings: LocalAgentSettings) throws(LocalAgentError) -> CheckPlan? {
        let types = self.types
        if types.count > 1 {
            throw .invalid(
                "Invalid check: only one of HTTP, TCP, TTL and the other types may be given, "
                    + "not \(types.joined(separator: " and "))")
        }
        guard let kind = try self.polledKind(settings) else { return nil }
        return CheckPlan(
            id: self.effectiveID, kind: kind, interval: self.interval, timeout: self.timeout,
            outputLimit: self.outputLimit(settings), successBeforePassing: self.successBeforePassing,
            failuresBeforeWarning: self.failuresBeforeWarning, failuresBeforeCritical: self.failuresBeforeCritical)
    }

    private func polledKind(_ settings: LocalAgentSettings) throws(LocalAgentError) -> CheckPlan.Kind? {
        switch self.type {
        case "http": return .http(try self.httpProbe())
        case "tcp":
            let probe = TCPProbe(self.tcp, tls: self.tcpUseTLS ? self.tls : nil)
            return .tcp(try CheckDefinition.known(probe, "TCP must be host:port", self.tcp))
        case "udp":
            return .udp(UDPProbe(try CheckDefinition.known(HostPort(self.udp), "UDP must be host:port", self.udp)))
        case "grpc":
            let probe = GRPCProbe(self.grpc, tls: self.grpcUseTLS ? self.tls : nil)
            return .grpc(try CheckDefinition.known(probe, "GRPC must be host:port or host:port/service", self.grpc))
        case "h2ping":
            let address = try CheckDefinition.known(HostPort(self.h2ping), "H2PING must be host:port", self.h2ping)
            return .h2ping(H2PingProbe(address: address, tls: self.h2pingUseTLS ? self.tls : nil))
        case "script": return .script(ScriptProbe(arguments: self.args))
        case "docker":
            return .docker(
                DockerProbe(container: self.dockerContainerID, arguments: self.args, engine: settings.dockerEngine))
        case "os_service": return .osService(OSServiceProbe(unit: self.osService))
        default: return nil
        }
    }

    private var tls: ProbeTLS {
        ProbeTLS(serverName: self.tlsServerName.isEmpty ? nil : self.tlsServerName, skipVerify: self.tlsSkipVerify)
    }

    private static func known<Probe>(
        _ probe: Probe?, _ rule: String, _ written: String
    ) throws(LocalAgentError) -> Probe {
        guard let probe else { throw .invalid("Invalid check: \(rule), not \"\(written)\"") }
        return probe
    }

    private func httpProbe() throws(LocalAgentError) -> HTTPProbe {
        let lowered = self.http.lowercased()
        guard lowered.hasPrefix("http://") || lowered.hasPrefix("https://") else {
            throw .invalid("Invalid check: HTTP must be an http:// or https:// URL, not \"\(self.http)\"")
        }
        let method = self.method.isEmpty ? "GET" : self.method.uppercased()
        guard method.utf8.allSatisfy({ $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") }) else {
            throw .invalid("Invalid check: \"\(self.method)\" is no HTTP method")
        }
        return HTTPProbe(
            url: self.http, method: method,
            headers: self.header.map { HTTPProbe.Header(name: $0.name, values: $0.values) }, body: self.body,
            followsRedirects: !self.disableRedirects, tls: self.tls)
    }
}
