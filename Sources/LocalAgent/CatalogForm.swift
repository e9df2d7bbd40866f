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
