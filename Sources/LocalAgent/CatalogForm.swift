import HealthChecks
import Protocol
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

// From what was registered to what the catalog shows, and to what a runner needs.

extension ServiceDefinition {
    /// The row of the catalog, defaults filled in. A service with an address that is an IP gets it among its tagged
    /// addresses too, for local and wide area, where it gave none itself.
    func catalogForm() -> LogService {
        var service = LogService()
        service.id = self.effectiveID
        service.name = self.name
        service.kind = self.kind
        service.tags = self.tags
        service.address = self.address
        service.port = self.port
        service.socketPath = self.socketPath
        service.meta = self.meta
        service.weightPassing = self.weightPassing
        service.weightWarning = self.weightWarning
        service.enableTagOverride = self.enableTagOverride
        service.proxyJson = .init(self.proxyJSON)
        service.connectJson = .init(self.connectJSON)
        for (name, value) in self.taggedAddresses {
            service.taggedAddresses[name] = ServiceDefinition.row(address: value.address, port: value.port)
        }
        if let family = AddressFamily(of: self.address) {
            for area in ["lan", "wan"] where service.taggedAddresses["\(area)_\(family.rawValue)"] == nil {
                service.taggedAddresses["\(area)_\(family.rawValue)"] =
                    ServiceDefinition.row(address: self.address, port: self.port)
            }
        }
        return service
    }

    private static func row(address: String, port: UInt32) -> LogServiceAddress {
        var row = LogServiceAddress()
        row.address = address
        row.port = port
        return row
    }
}

extension CheckDefinition {
    /// The row of the catalog with the status that a new check starts with.
    func catalogForm(node: String, serviceName: String) -> LogCheck {
        var check = LogCheck()
        check.node = node
        check.id = self.effectiveID
        check.name = self.name
        check.status = self.status.isEmpty ? HealthStatus.critical.rawValue : self.status
        check.notes = self.notes
        check.serviceID = self.serviceID
        check.serviceName = serviceName
        check.type = self.type
        check.interval = GoDuration.format(self.interval)
        check.timeout = GoDuration.format(self.timeout)
        return check
    }

    /// This definition with what is out of range brought into it: a poll more often than the agent allows, more output
    /// than it keeps, a removal sooner than it looks.
    func inRange(_ settings: LocalAgentSettings) -> CheckDefinition {
        var definition = self
        if definition.interval > .zero { definition.interval = max(definition.interval, settings.minimumCheckInterval) }
        if definition.deregisterCriticalServiceAfter > .zero {
            definition.deregisterCriticalServiceAfter =
                max(definition.deregisterCriticalServiceAfter, settings.minimumDeregisterAfter)
        }
        return definition
    }

    func outputLimit(_ settings: LocalAgentSettings) -> Int {
        self.outputMaxSize == 0
            ? settings.checkOutputLimit : min(Int(self.outputMaxSize), settings.checkOutputLimit)
    }

    /// What a runner needs; nil for a TTL check, whose rest of time its owner knows.
    /// - Throws: `invalid` with the text of a refusal: the type is not run by this version, or its target is malformed.
    func polledPlan(_ settings: LocalAgentSettings) throws(LocalAgentError) -> CheckPlan? {
        let type = self.type
        if let unsupported = UnsupportedCheckType(rawValue: type) {
            throw .invalid("Invalid check: \(unsupported.refusal)")
        }
        if [self.http.isEmpty, self.tcp.isEmpty, self.ttl == .zero].filter({ !$0 }).count > 1 {
            throw .invalid("Invalid check: only one of HTTP, TCP and TTL may be given")
        }
        let tls = ProbeTLS(
            serverName: self.tlsServerName.isEmpty ? nil : self.tlsServerName, skipVerify: self.tlsSkipVerify)
        let kind: CheckPlan.Kind
        switch type {
        case "http": kind = .http(try self.httpProbe(tls))
        case "tcp":
            guard let probe = TCPProbe(self.tcp, tls: self.tcpUseTLS ? tls : nil) else {
                throw .invalid("Invalid check: TCP must be host:port, not \"\(self.tcp)\"")
            }
            kind = .tcp(probe)
        default: return nil
        }
        return CheckPlan(
            id: self.effectiveID, kind: kind, interval: self.interval, timeout: self.timeout,
            outputLimit: self.outputLimit(settings), successBeforePassing: self.successBeforePassing,
            failuresBeforeWarning: self.failuresBeforeWarning, failuresBeforeCritical: self.failuresBeforeCritical)
    }

    private func httpProbe(_ tls: ProbeTLS) throws(LocalAgentError) -> HTTPProbe {
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
            followsRedirects: !self.disableRedirects, tls: tls)
    }
}

/// Which family an address belongs to, judged by its text alone.
enum AddressFamily: String {
    case ipv4
    case ipv6

    init?(of text: String) {
        if AddressFamily.isIPv4(text) {
            self = .ipv4
        } else if text.contains(":"), text.utf8.allSatisfy(AddressFamily.isIPv6Byte) {
            self = .ipv6
        } else {
            return nil
        }
    }

    private static func isIPv4(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                part.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } && UInt8(part) != nil
            }
    }

    private static func isIPv6Byte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}

extension LocalState {
    /// What `/v1/agent/health/service/*` says of an instance: maintenance outranks critical, warning and passing; the
    /// node's own checks count too. Nil when no such service is registered here.
    public func health(ofService id: String) -> LocalHealth? {
        let key = ByteKey(id)
        guard self.services.contains(where: { ByteKey($0.id) == key }) else { return nil }
        var worst = LocalHealth.passing
        for check in self.checks where check.serviceID.isEmpty || ByteKey(check.serviceID) == key {
            worst = max(worst, LocalHealth(check))
        }
        return worst
    }
}

/// An instance's health as a whole, from best to worst.
public enum LocalHealth: Int, Sendable, Comparable {
    case passing
    case warning
    case critical
    case maintenance

    init(_ check: LogCheck) {
        if Maintenance.isMaintenance(checkID: check.id) {
            self = .maintenance
        } else {
            switch HealthStatus(rawValue: check.status) {
            case .passing: self = .passing
            case .warning: self = .warning
            case .critical, nil: self = .critical
            }
        }
    }

    public static func < (left: LocalHealth, right: LocalHealth) -> Bool { left.rawValue < right.rawValue }

    /// `passing`, `warning`, `critical` or `maintenance`.
    public var text: String {
        switch self {
        case .passing: "passing"
        case .warning: "warning"
        case .critical: "critical"
        case .maintenance: "maintenance"
        }
    }
}

/// The two checks that put a node or a service out of rotation by hand.
enum Maintenance {
    static let nodeCheckID = "_node_maintenance"
    static let servicePrefix = "_service_maintenance:"

    static func isMaintenance(checkID: String) -> Bool {
        checkID == self.nodeCheckID || checkID.hasPrefix(self.servicePrefix)
    }

    static func check(service: String?, reason: String) -> CheckDefinition {
        var definition = CheckDefinition()
        definition.status = HealthStatus.critical.rawValue
        if let service {
            definition.id = self.servicePrefix + service
            definition.name = "Service Maintenance Mode"
            definition.serviceID = service
            definition.notes = reason.isEmpty ? "Maintenance mode is on for this service; no reason was given." : reason
        } else {
            definition.id = self.nodeCheckID
            definition.name = "Node Maintenance Mode"
            definition.notes = reason.isEmpty ? "Maintenance mode is on for this node; no reason was given." : reason
        }
        return definition
    }
}
