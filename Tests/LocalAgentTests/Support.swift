import Cluster
import LocalAgent
import Logging
import Protocol
import Registry
import Synchronization
import Testing
import Units

/// A catalog in memory: what is proposed is applied to a real registry. It can be told to fail, and to refuse.
final class MemoryCluster: ClusterAccess, CatalogReader {
    private struct State {
        var registry = Registry()
        var commands: [LogCommand] = []
        var batchSizes: [Int] = []
        var failures = 0
        var attempts = 0
        var isDown = false
        var holdsAnswers = false
        var lagging: Registry?
        var refusal: String?
    }

    let identity = LocalIdentity(
        nodeName: "n1", nodeUUID: testNodeUUID, datacenter: "dc1", isServer: true, advertiseAddress: "10.0.0.1",
        serverPort: 8300, httpPort: 8500, dnsPort: 8600)
    private let state = Mutex(State())

    var registry: Registry { self.state.withLock { $0.registry } }
    /// What was applied, batches taken apart.
    var commands: [LogCommand] { self.state.withLock { $0.commands } }
    /// How many commands came in each write that held more than one.
    var batchSizes: [Int] { self.state.withLock { $0.batchSizes } }
    var attempts: Int { self.state.withLock { $0.attempts } }
    var catalog: CatalogNode? { CatalogNode("n1", in: self.registry) }

    func setDown(_ isDown: Bool) { self.state.withLock { $0.isDown = isDown } }
    /// Commands are applied, and who sent them does not hear of it.
    func holdAnswers(_ holds: Bool) { self.state.withLock { $0.holdsAnswers = holds } }
    /// Reads see this older state; nil: the present one.
    func setLagging(_ registry: Registry?) { self.state.withLock { $0.lagging = registry } }
    /// Every command fails in the state machine with this text.
    func setRefusal(_ text: String?) { self.state.withLock { $0.refusal = text } }

    /// Applies as somebody else would.
    @discardableResult
    func apply(_ command: LogCommand) -> LogResult {
        self.state.withLock { state in
            var envelope = LogEnvelope()
            envelope.format = 1
            envelope.command = command
            do {
                return try state.registry.apply(envelope, at: state.registry.appliedIndex.next, term: Term(1)).result
            } catch {
                Issue.record(error)
                return LogResult()
            }
        }
    }

    func service(_ id: String) -> LogService? { self.catalog?.services.first { $0.id == id } }
    func check(_ id: String) -> LogCheck? { self.catalog?.checks.first { $0.id == id } }

    func propose(_ command: LogCommand, identity: String, timeout: Nanoseconds) async throws(ClusterError) -> LogResult
    {
        let (isDown, refusal) = self.state.withLock { state in
            state.attempts += 1
            return (state.isDown, state.refusal)
        }
        if isDown { throw .noLeader }
        if let refusal {
            var failure = LogFailure()
            failure.kind = .failureInvalid
            failure.text = refusal
            var result = LogResult()
            result.kind = .failure(failure)
            return result
        }
        let result = self.apply(command)
        self.state.withLock { state in
            if case .batch(let batch)? = command.kind {
                state.commands += batch.commands
                state.batchSizes.append(batch.commands.count)
            } else {
                state.commands.append(command)
            }
        }
        while self.state.withLock({ $0.holdsAnswers }) { try? await Task.sleep(for: .milliseconds(2)) }
        return result
    }

    func node(_ name: String) async throws -> CatalogNode? {
        CatalogNode(name, in: self.state.withLock { $0.lagging ?? $0.registry })
    }

    func view(_ consistency: Consistency, timeout: Nanoseconds) async throws(ClusterError) -> ReadView {
        ReadView(registry: self.registry, lastContact: .zero, knownLeader: true)
    }

    func waitForChange(of watches: [WatchKey], after index: LogIndex, timeout: Nanoseconds) async throws(ClusterError) {
    }
    func renewSession(_ id: String) async throws(ClusterError) -> Bool { false }
    func leaderAddress() async -> String { "" }
    func peerAddresses() async -> [String] { [] }
    func raftStatus() async throws(ClusterError) -> PeerRaftStatus { throw .notAServer }
    func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) {}
    func forward(_ request: PeerHTTPRequest, timeout: Nanoseconds) async throws(ClusterError) -> PeerHTTPResponse {
        throw .notAServer
    }
    func forward(dns packet: [UInt8], overTCP: Bool) async throws(ClusterError) -> [UInt8] { throw .notAServer }
}

/// A local state in memory that outlives the agents made over it.
final class MemoryStore: LocalStateStore {
    private struct State {
        var rows: [StoredRow] = []
        var isBroken = false
        var isSlow = false
    }

    struct Broken: Error {}

    private let state = Mutex(State())

    var rows: [StoredRow] { self.state.withLock { $0.rows } }
    func setBroken(_ isBroken: Bool) { self.state.withLock { $0.isBroken = isBroken } }
    /// No write ends while it is.
    func setSlow(_ isSlow: Bool) { self.state.withLock { $0.isSlow = isSlow } }
    func rows(_ kind: StoredRow.Kind) -> [String] { self.rows.filter { $0.kind == kind }.map(\.id).sorted() }

    func load() async throws -> [StoredRow] { self.rows }

    func apply(_ changes: [StoredChange]) async throws {
        // A disk takes its time; others run meanwhile.
        await Task.yield()
        while self.state.withLock({ $0.isSlow }) { try? await Task.sleep(for: .milliseconds(2)) }
        try self.state.withLock { state in
            if state.isBroken { throw Broken() }
            for change in changes {
                switch change {
                case .put(let row):
                    state.rows.removeAll { $0.kind == row.kind && $0.id == row.id }
                    state.rows.append(row)
                case .remove(let kind, let id): state.rows.removeAll { $0.kind == kind && $0.id == id }
                }
            }
        }
    }
}

struct TestFacilities: AgentFacilities {
    func members(wide: Bool) async -> [Member] {
        [Member(name: wide ? "n1.dc1" : "n1", address: "10.0.0.1", port: 8301, tags: [], status: .alive)]
    }
    func description() async -> AgentDescription { AgentDescription(version: "1.22.1", revision: "r", buildDate: "d") }
    func metrics() async -> [Metric] { [] }
    func join(_ address: String) async throws(LocalAgentError) { throw .failed("no route to \(address)") }
    func leave() async throws(LocalAgentError) {}
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError) { throw .unknownMember(name) }
    func reload() async throws(LocalAgentError) {}
}

/// A wall clock that only moves by hand.
final class HandClock: Sendable {
    private let now = Mutex<UInt64>(1_700_000_000_000_000_000)
    func read() -> UInt64 { self.now.withLock { $0 } }
    func advance(_ time: Nanoseconds) { self.now.withLock { $0 += time.rawValue } }
}

/// An agent with its surroundings.
struct Bench {
    let cluster = MemoryCluster()
    let store = MemoryStore()
    let clock = HandClock()

    /// A started agent. `change` adjusts its settings, which are made for quick tests.
    func agent(_ change: (inout LocalAgentSettings) -> Void = { _ in }) async throws -> LocalAgent {
        let clock = self.clock
        var settings = LocalAgentSettings(
            nodeName: "n1", nodeUUID: testNodeUUID, datacenter: "dc1", address: "10.0.0.1",
            nodeMeta: ["consul-version": "1.22.1"], seed: 1, wallClock: { clock.read() })
        settings.retryMinimum = .milliseconds(5)
        settings.retryMaximum = .milliseconds(20)
        settings.failedSyncInterval = .milliseconds(20)
        settings.reapInterval = .milliseconds(10)
        settings.minimumCheckInterval = .milliseconds(5)
        change(&settings)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let agent = LocalAgent(
            settings: settings, cluster: self.cluster, catalog: self.cluster, store: self.store,
            facilities: TestFacilities(), logger: logger)
        try await agent.start()
        return agent
    }
}

let testNodeUUID = "11111111-2222-3333-4444-555555555555"

/// Waits until it is so; a test fails after ten seconds without.
func eventually(
    _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    for _ in 0..<2000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record(comment, sourceLocation: sourceLocation)
}

/// Waits until the catalog has all that the agent has.
func settled(_ agent: LocalAgent, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await eventually("the agent is in sync with the catalog", sourceLocation: sourceLocation) {
        await agent.outOfSync() == 0
    }
}

func service(_ name: String, id: String = "", _ change: (inout ServiceDefinition) -> Void = { _ in })
    -> ServiceDefinition
{
    var definition = ServiceDefinition()
    definition.name = name
    definition.id = id
    change(&definition)
    return definition
}

func ttlCheck(_ id: String = "", service: String = "", _ change: (inout CheckDefinition) -> Void = { _ in })
    -> CheckDefinition
{
    var definition = CheckDefinition()
    definition.id = id
    definition.name = id
    definition.serviceID = service
    definition.ttl = .seconds(3600)
    change(&definition)
    return definition
}

func registration(node: String = "n1", _ change: (inout LogRegister) -> Void) -> LogCommand {
    var register = LogRegister()
    register.node.name = node
    register.node.address = "10.0.0.1"
    register.skipNodeUpdate = true
    change(&register)
    var command = LogCommand()
    command.register = register
    return command
}
