import Cluster
import HTTPAPI
import LocalAgent
import Protocol
import Units

/// Whoever shows a token is called by it. So each write carries the name of the operation that it belongs to into the log.
struct NamedByToken: Authorizer {
    func authorize(_ request: AccessRequest) throws(AccessDenied) -> String { request.token }
}

/// Backups are not part of the simulated workload.
struct NoSnapshots: SnapshotAccess {
    func save(stale: Bool) async throws(ClusterError) -> SnapshotArchive { throw .notAServer }
    func restore(_ archive: BodyStream) async throws(ClusterError) { throw .notAServer }
}

/// Nor is what a machine registers at its own agent.
struct NoLocalAgent: LocalAgentAccess {
    private static let absent = LocalAgentError.failed("there is no local agent")

    func state() async -> LocalState { LocalState(generation: 0, services: [], checks: []) }
    func waitForChange(after generation: UInt64, timeout: Nanoseconds) async {}
    func registerService(_ definition: ServiceDefinition, replaceExistingChecks: Bool) async throws(LocalAgentError) {
        throw Self.absent
    }
    func deregisterService(_ id: String) async throws(LocalAgentError) { throw Self.absent }
    func registerCheck(_ definition: CheckDefinition) async throws(LocalAgentError) { throw Self.absent }
    func deregisterCheck(_ id: String) async throws(LocalAgentError) { throw Self.absent }
    func updateCheck(_ id: String, status: String, output: String) async throws(LocalAgentError) { throw Self.absent }
    func setServiceMaintenance(_ id: String, enabled: Bool, reason: String) async throws(LocalAgentError) {
        throw Self.absent
    }
    func setNodeMaintenance(enabled: Bool, reason: String) async throws(LocalAgentError) { throw Self.absent }
    func members(wide: Bool) async -> [Member] { [] }
    func description() async -> AgentDescription { AgentDescription(version: "", revision: "", buildDate: "") }
    func metrics() async -> [Metric] { [] }
    func join(_ address: String) async throws(LocalAgentError) { throw Self.absent }
    func leave() async throws(LocalAgentError) { throw Self.absent }
    func forceLeave(_ name: String, prune: Bool) async throws(LocalAgentError) { throw Self.absent }
    func reload() async throws(LocalAgentError) { throw Self.absent }
}
