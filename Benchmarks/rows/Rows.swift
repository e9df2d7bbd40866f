import ArgumentParser
import Protocol
import Registry
import Units

#if canImport(Glibc)
import Glibc
#endif

/// Fills a registry with nodes, services and checks as a large cluster has them, and says what a service instance with
/// one check takes in memory: applied one by one, as by agents; read back from rows, as after a start; and written again,
/// as when checks have changed.
@main
struct Rows: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rows", abstract: "Measures what a service instance with one check takes in a registry's memory.")

    @Option(help: "How many nodes.") var nodes = 10_000
    @Option(help: "Service instances on each node, each with one check.") var perNode = 17
    @Option(help: "How many names the instances share.") var names = 1_000

    func validate() throws {
        guard self.nodes > 0, self.perNode > 0, self.names > 0 else {
            throw ValidationError("--nodes, --per-node and --names must be above 0")
        }
    }

    func run() throws {
        let instances = self.nodes * self.perNode
        print("\(self.nodes) nodes, \(instances) instances with a check each, \(self.names) service names")
        let empty = Self.residentBytes()
        var registry = Registry()
        let filling = try self.fill(&registry)
        self.report("applied", Self.residentBytes() - empty, instances, filling)

        let changing = try self.change(&registry)
        self.report("each check changed", Self.residentBytes() - empty, instances, changing)

        let before = Self.residentBytes()
        let clock = ContinuousClock()
        var copy = Registry()
        let loading = try clock.measure { try registry.forEachRow { row in try copy.load(row) } }
        self.report("read back beside it", Self.residentBytes() - before, instances, loading)
        guard copy.combinedHash == registry.combinedHash else {
            throw CleanExit.message("the copy differs from what it was made of")
        }
    }

    private func report(_ what: String, _ bytes: Int, _ instances: Int, _ time: Duration) {
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
        let tenths = Int(seconds * 10)
        print("\(what): \(bytes / instances) bytes for each instance, \(tenths / 10).\(tenths % 10) s")
    }

    // MARK: - What is registered

    private func fill(_ registry: inout Registry) throws -> Duration {
        try ContinuousClock().measure {
            for node in 0..<self.nodes {
                try self.apply(&registry) { $0.register = self.registration(node: node) }
                for instance in 0..<self.perNode {
                    try self.apply(&registry) { $0.register = self.registration(node: node, instance: instance) }
                }
            }
        }
    }

    /// Every check turns critical.
    private func change(_ registry: inout Registry) throws -> Duration {
        try ContinuousClock().measure {
            for node in 0..<self.nodes {
                for instance in 0..<self.perNode {
                    var register = self.registration(node: node, instance: instance)
                    register.clearService()
                    register.skipNodeUpdate = true
                    register.checks[0].status = "critical"
                    register.checks[0].output = "dial tcp 10.1.2.3:8080: connect: connection refused"
                    try self.apply(&registry) { $0.register = register }
                }
            }
        }
    }

    private func apply(_ registry: inout Registry, _ fill: (inout LogCommand) -> Void) throws {
        var envelope = LogEnvelope()
        envelope.format = 1
        envelope.wallTimeNs = 1_700_000_000_000_000_000
        fill(&envelope.command)
        // From bytes, as they come out of the log: text that two fields share was never one string.
        let bytes: [UInt8] = try envelope.serializedBytes()
        envelope = try LogEnvelope(serializedBytes: bytes)
        _ = try registry.apply(envelope, at: registry.appliedIndex.next, term: Term(1))
    }

    private func nodeName(_ node: Int) -> String { "worker-\(node).eu-west-1.example" }

    private func registration(node: Int) -> LogRegister {
        var register = LogRegister()
        register.node = self.node(node)
        var check = LogCheck()
        check.node = self.nodeName(node)
        check.id = "serfHealth"
        check.name = "Serf Health Status"
        check.status = "passing"
        check.output = "Agent alive and reachable"
        register.checks = [check]
        return register
    }

    private func node(_ number: Int) -> LogNode {
        var node = LogNode()
        let digits = "\(number)"
        node.id = "0d1f3a52-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
        node.name = self.nodeName(number)
        node.address = "10.\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)"
        node.datacenter = "dc1"
        node.taggedAddresses = ["lan": node.address, "wan": node.address]
        node.meta = ["consul-network-segment": "", "consul-version": "1.22.0"]
        return node
    }

    private func registration(node: Int, instance: Int) -> LogRegister {
        var register = LogRegister()
        register.node = self.node(node)
        register.skipNodeUpdate = true
        let number = node * self.perNode + instance
        let name = "service-\(number % self.names)"
        register.service.id = "_nomad-task-\(number)-\(name)-http"
        register.service.name = name
        register.service.tags = ["http", "v\(number % 7)", "traefik.enable=true"]
        register.service.address = register.node.address
        register.service.port = UInt32(20_000 + number % 10_000)
        register.service.weightPassing = 1
        register.service.weightWarning = 1
        register.service.meta = ["version": "1.\(number % 30)", "external-source": "nomad"]
        var check = LogCheck()
        check.node = register.node.name
        check.id = "service:\(register.service.id)"
        check.name = "Service '\(name)' check"
        check.status = "passing"
        check.serviceID = register.service.id
        check.type = "http"
        check.interval = "10s"
        check.timeout = "2s"
        check.output = "HTTP GET http://\(register.node.address):8080/health: 200 OK Output: ok"
        register.checks = [check]
        return register
    }

    // MARK: - The process

    /// What of this process lies in memory, after freed memory was given back.
    private static func residentBytes() -> Int {
        // Of the C library's extensions the module map leaves this one out.
        typealias Trim = @convention(c) (Int) -> Int32
        if let address = dlsym(nil, "malloc_trim") { _ = unsafeBitCast(address, to: Trim.self)(0) }
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var total = 0
        var resident = 0
        withUnsafeMutablePointer(to: &total) { total in
            withUnsafeMutablePointer(to: &resident) { resident in
                _ = withVaList([total, resident]) { vfscanf(file, "%ld %ld", $0) }
            }
        }
        return resident * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
