import Cluster
import HTTPAPI
import LocalAgent
import NIOCore
import Protocol
import Synchronization
import Units

/// Registrations in memory, in their catalog form.
final class FakeAgent: LocalAgentAccess {
    private struct State {
        var generation: UInt64 = 0
        var services: [LogService] = []
        var checks: [LogCheck] = []
        var calls: [String] = []
        var definitions: [ServiceDefinition] = []
        var checkDefinitions: [CheckDefinition] = []
    }

    private let held = Mutex(State())

    var calls: [String] { self.held.withLock { $0.calls } }
    var definitions: [ServiceDefinition] { self.held.withLock { $0.definitions } }
    var checkDefinitions: [CheckDefinition] { self.held.withLock { $0.checkDefinitions } }

    func state() async -> LocalState {
        self.held.withLock { LocalState(generation: $0.generation, services: $0.services, checks: $0.checks) }
    }

    func waitForChange(after generation: UInt64, timeout: Nanoseconds) async {
        let deadline = ContinuousClock.now + .nanoseconds(Int64(timeout.rawValue))
        while self.held.withLock({ $0.generation }) == generation, .now < deadline, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(2))
        }
    }

    private func change(_ call: String, _ body: (inout State) -> Void) {
        self.held.withLock { state in
            state.calls.append(call)
            state.generation += 1
            body(&state)
        }
    }

    func registerService(_ definition: ServiceDefinition, replaceExistingChecks: Bool) async throws(LocalAgentError) {
        self.change("register \(definition.effectiveID) replace=\(replaceExistingChecks)") { state in
            state.definitions.append(definition)
            var service = LogService()
            service.id = definition.effectiveID
            service.name = definition.name
            service.tags = definition.tags
            service.port = definition.port
            service.address = definition.address
            service.meta = definition.meta
            service.weightPassing = definition.weightPassing
            service.weightWarning = definition.weightWarning
            service.enableTagOverride = definition.enableTagOverride
            service.proxyJson = .init(definition.proxyJSON)
            service.connectJson = .init(definition.connectJSON)
            state.services.removeAll { $0.id == service.id }
            state.services.append(service)
            state.services.sort { ByteKey($0.id) < ByteKey($1.id) }
            for check in definition.checks {
                var row = LogCheck()
                row.node = "s1"
                row.id = check.id.isEmpty ? "service:\(service.id)" : check.id
                row.name = check.name.isEmpty ? "Service '\(service.name)' check" : check.name
                row.status = check.status.isEmpty ? "critical" : check.status
                row.serviceID = service.id
                row.serviceName = service.name
                row.type = check.type
                if check.interval > .zero { row.interval = GoDuration.format(check.interval) }
                state.checks.append(row)
            }
        }
    }

    func deregisterService(_ id: String) async throws(LocalAgentError) {
        guard self.held.withLock({ $0.services.contains { $0.id == id } }) else { throw .unknownService(id) }
        self.change("deregister \(id)") { state in
            state.services.removeAll { $0.id == id }
            state.checks.removeAll { $0.serviceID == id }
        }
    }

    func registerCheck(_ definition: CheckDefinition) async throws(LocalAgentError) {
        if !definition.serviceID.isEmpty,
            !self.held.withLock({ $0.services.contains { $0.id == definition.serviceID } })
        {
            throw .serviceOfCheckMissing(definition.serviceID)
        }
        self.change("check \(definition.effectiveID)") { state in
            state.checkDefinitions.append(definition)
            var row = LogCheck()
            row.node = "s1"
            row.id = definition.effectiveID
            row.name = definition.name
            row.status = definition.status.isEmpty ? "critical" : definition.status
            row.type = definition.type
            state.checks.append(row)
        }
    }

    func deregisterCheck(_ id: String) async throws(LocalAgentError) {
        guard self.held.withLock({ $0.checks.contains { $0.id == id } }) else { throw .unknownCheck(id) }
        self.change("uncheck \(id)") { state in state.checks.removeAll { $0.id == id } }
    }

    func updateCheck(_ id: String, status: String, output: String) async throws(LocalAgentError) {
        guard let check = self.held.withLock({ $0.checks.first { $0.id == id } }) else { throw .unknownCheck(id) }
        if check.type != "ttl" { throw .notTTL(id) }
        self.change("\(status) \(id)") { state in
            for position in state.checks.indices where state.checks[position].id == id {
                state.checks[position].status = status
                state.checks[position].output = output
            }
        }
    }

    func setServiceMaintenance(_ id: String, enabled: Bool, reason: String) async throws(LocalAgentError) {
        guard self.held.withLock({ $0.services.contains { $0.id == id } }) else { throw .unknownService(id) }
        self.setMaintenance("_service_maintenance:\(id)", service: id, enabled: enabled, reason: reason)
    }

    func setNodeMaintenance(enabled: Bool, reason: String) async throws(LocalAgentError) {
        self.setMaintenance("_node_maintenance", service: "", enabled: enabled, reason: reason)
    }

    private func setMaintenance(_ id: String, service: String, enabled: Bool, reason: String) {
        self.change("maintenance \(id) \(enabled)") { state in
            state.checks.removeAll { $0.id == id }
            if !enabled { return }
            var row = LogCheck()
            row.node = "s1"
            row.id = id
            row.status = "critical"
            row.notes = reason
            row.serviceID = service
            state.checks.append(row)
        }
    }

    func members(wide: Bool) async -> [Member] {
        [
            Member(
                name: "s1", address: "10.0.0.1", port: 8301,
                tags: [("role", "consul"), ("build", "1.22.1:abc")], status: .alive)
        ]
    }

    func description() async -> AgentDescription {
        AgentDescription(
            version: "1.22.1", revision: "abc", buildDate: "2026-01-01T00:00:00Z",
            stats: [("agent", [("out_of_sync", "0")])])
    }

    func metrics() async -> [Metric] { [Metric(kind: .gauge, name: "serai.raft.applied", value: 12)] }

    func join(_ address: String) async throws(LocalAgentError) { self.change("join \(address)") { _ in } }
    func leave() async throws(LocalAgentError) { self.change("leave") { _ in } }
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError) {
        if name == "nobody" { throw .unknownMember(name) }
        self.change("force-leave \(name) prune=\(prune)") { _ in }
    }
    func reload() async throws(LocalAgentError) { throw .failed("no configuration files") }
}

/// Hands out three chunks; keeps what is restored.
final class FakeSnapshot: SnapshotAccess {
    private let kept = Mutex<[UInt8]>([])
    var restored: [UInt8] { self.kept.withLock { $0 } }

    private actor Chunks {
        var left = ["one", "two", "three"]
        func take() -> ByteBuffer? { self.left.isEmpty ? nil : ByteBuffer(string: self.left.removeFirst()) }
    }

    func save(stale: Bool) async throws(ClusterError) -> SnapshotArchive {
        let chunks = Chunks()
        return SnapshotArchive(index: 42, bytes: BodyStream { await chunks.take() })
    }

    func restore(_ archive: BodyStream) async throws(ClusterError) {
        var bytes: [UInt8] = []
        do {
            while let piece = try await archive.next() { bytes += Array(piece.readableBytesView) }
        } catch {
            throw .refused(status: 400, text: "broken off")
        }
        if bytes == Array("junk".utf8) { throw .refused(status: 400, text: "not a snapshot") }
        self.kept.withLock { $0 = bytes }
    }
}
