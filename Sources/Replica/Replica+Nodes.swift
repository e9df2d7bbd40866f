import Protocol
import Raft
import Registry
import Units

// The leader's care for nodes: their leases become the check `serfHealth`, and the servers of the configuration stand
// in the catalog with the service `consul` (consul.md §2.8).
extension Replica {
    /// Turns leases that ran out, and nodes that came back, into checks.
    mutating func judgeNodes(at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]) {
        var judged = 0
        while judged < 256, let name = self.duties?.nodes.popExpired(at: now) {
            judged += 1
            guard self.registry.hasCheck(Self.serfHealth, onNode: name),
                !self.registry.hasCriticalCheck(Self.serfHealth, onNode: name)
            else { continue }
            self.duties?.nodes.set(name, deadline: now + self.settings.nodeLease)
            self.proposeHealth(of: name, alive: false, at: now, wallTime: wallTime, into: &directives)
        }
        let revived = self.duties?.revived ?? []
        self.duties?.revived.removeAll()
        for name in revived where self.registry.isMisjudged(Self.serfHealth, aliveNode: name) {
            self.proposeHealth(of: name, alive: true, at: now, wallTime: wallTime, into: &directives)
        }
    }

    private mutating func proposeHealth(
        of name: String, alive: Bool, at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]
    ) {
        // It may have been deregistered since: judging it must not bring it back.
        guard let spelled = self.registry.node(named: name).value?.name else { return }
        var register = LogRegister()
        register.node.name = spelled
        register.skipNodeUpdate = true
        register.checks = [Self.healthCheck(of: spelled, alive: alive)]
        var command = LogCommand()
        command.register = register
        self.decide(command, at: now, wallTime: wallTime, into: &directives)
    }

    /// The check that says whether a node's lease is held, with the texts that Consul's users know.
    public static func healthCheck(of node: String, alive: Bool) -> LogCheck {
        var check = LogCheck()
        check.node = node
        check.id = Self.serfHealth
        check.name = "Serf Health Status"
        check.status = alive ? "passing" : "critical"
        check.output = alive ? "Agent alive and reachable" : "Agent not live or unreachable"
        return check
    }

    /// After each change of the configuration, and once a minute: every server is in the catalog, no former one is.
    mutating func reconcileServers(at now: Instant, wallTime: UInt64, into directives: inout [ReplicaDirective]) {
        guard let duties = self.duties else { return }
        let configurationIndex = self.raft.configurationIndex
        let changed = duties.reconciledConfiguration != configurationIndex
        guard self.raft.commitIndex >= configurationIndex, changed || now.since(duties.reconciledAt) >= .seconds(60)
        else { return }
        self.duties?.reconciledConfiguration = configurationIndex
        self.duties?.reconciledAt = now
        let members = self.raft.configuration.allMembers
        for member in members {
            // Of two incarnations of a server the catalog shows the one that is alive.
            let hasTwin = members.contains { $0.name == member.name && $0.id != member.id }
            if hasTwin, !self.isAlive(member, at: now) { continue }
            var register = self.registration(of: member)
            let present = self.registry.node(named: member.name).value
            // What more is to be known of a node that is there, its own agent says: two writers would correct each other.
            register.skipNodeUpdate = present?.id == register.node.id
            guard self.registry.lacks(register) else { continue }
            var command = LogCommand()
            if let present, present.id != register.node.id, !present.id.isEmpty {
                command.batch.commands = Self.replacement(of: present.name, by: register)
            } else {
                command.register = register
            }
            self.decide(command, at: now, wallTime: wallTime, into: &directives)
        }
        for name in self.registry.nodesWithService("consul") where !members.contains(where: { $0.name == name }) {
            var command = LogCommand()
            command.deregister.node = name
            self.decide(command, at: now, wallTime: wallTime, into: &directives)
        }
    }

    /// A name belongs to the node that has it while that one seems alive; a new incarnation takes it by removing the old.
    private static func replacement(of name: String, by register: LogRegister) -> [LogCommand] {
        var deregister = LogCommand()
        deregister.deregister.node = name
        var anew = LogCommand()
        anew.register = register
        anew.register.checks = [Self.healthCheck(of: register.node.name, alive: true)]
        return [deregister, anew]
    }

    private func registration(of member: Member) -> LogRegister {
        let (host, port) = Self.split(address: member.address)
        var register = LogRegister()
        register.node.id = member.id.uuid
        register.node.name = member.name
        register.node.address = host
        register.node.datacenter = self.settings.datacenter
        register.node.taggedAddresses = ["lan": host, "lan_ipv4": host, "wan": host, "wan_ipv4": host]
        register.node.meta = ["consul-network-segment": ""]
        register.service.id = "consul"
        register.service.name = "consul"
        register.service.port = UInt32(port)
        register.service.weightPassing = 1
        register.service.weightWarning = 1
        register.service.meta = ["non_voter": "false", "raft_version": "3", "version": ReplicaVersion.reported]
        if !self.registry.hasCheck(Self.serfHealth, onNode: member.name) {
            register.checks = [Self.healthCheck(of: member.name, alive: true)]
        }
        return register
    }

    /// `host:port`, with or without brackets around an IPv6 host; port 0 when there is none.
    public static func split(address: String) -> (host: String, port: UInt16) {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else {
            return (address, 0)
        }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return (String(host), port)
    }
}

/// What this version calls itself towards clients, which gate features on Consul's version.
public enum ReplicaVersion {
    public static let reported = "1.22.1"
}
