import Cluster
import HealthChecks
import Protocol
import Registry
import Synchronization
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Repeats what the catalog says of another node, or of a service on it, by one blocking query after another.
final class AliasFollower: RunningCheck {
    private let target: AliasTarget
    private let own: (node: String, check: String)
    private let source: CatalogWatch
    private let pause: Nanoseconds
    private let sink: @Sendable (HealthStatus, String) async -> Void
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// Failures in a row before one is reported: the first may be a change of leader.
    private static let silentFailures = 1
    private static let longestWait = Nanoseconds.seconds(60)

    /// - Parameters:
    ///   - own: the alias itself, which it must not see.
    ///   - pause: the least time between two queries.
    init(
        target: AliasTarget, own: (node: String, check: String), source: CatalogWatch, pause: Nanoseconds,
        sink: @escaping @Sendable (HealthStatus, String) async -> Void
    ) {
        self.target = target
        self.own = own
        self.source = source
        self.pause = pause
        self.sink = sink
    }

    deinit { self.stop() }

    func start() {
        let (target, own, source, pause, sink) = (self.target, self.own, self.source, self.pause, self.sink)
        let task = Task { await AliasFollower.run(target, own, source, pause, sink) }
        self.task.withLock { $0 = task }
    }

    func stop() { self.task.withLock { $0 }?.cancel() }

    private static func run(
        _ target: AliasTarget, _ own: (node: String, check: String), _ source: CatalogWatch, _ pause: Nanoseconds,
        _ sink: @Sendable (HealthStatus, String) async -> Void
    ) async {
        var index: UInt64 = 0
        var failures = 0
        while !Task.isCancelled {
            var wait = pause
            do {
                let found = try await source.health(ofNode: target.node, after: index)
                failures = 0
                index = found.index
                let checks = found.checks.filter { $0.node != own.node || ByteKey($0.id) != ByteKey(own.check) }
                let (status, output) = target.verdict(of: checks) {
                    found.services.contains(ByteKey(target.service))
                }
                if Task.isCancelled { return }
                await sink(status, output)
            } catch {
                if Task.isCancelled { return }
                failures += 1
                if failures > self.silentFailures {
                    await sink(.critical, "Failure checking aliased node or service: \(error)")
                }
                // 1, 2, 4 … seconds.
                wait = max(pause, min(.seconds(1 << UInt64(min(failures - 1, 6))), self.longestWait))
            }
            do { try await Task.sleep(nanoseconds: wait.rawValue) } catch { return }
        }
    }
}

/// Asks for one node's health and waits for its changes: a server in its own state, an agent through its server.
struct CatalogWatch: Sendable {
    struct Health: Sendable, Equatable {
        /// To be handed back for what comes after; from 1.
        var index: UInt64
        var checks: [LogCheck]
        /// Ids of the node's services.
        var services: Set<ByteKey>
    }

    struct Refused: Error, CustomStringConvertible {
        var description: String
    }

    let cluster: any ClusterAccess
    private static let longestWait = Nanoseconds.seconds(60)

    init(cluster: any ClusterAccess) { self.cluster = cluster }

    /// At once with `index` 0; else when something has changed after it, or after a minute.
    func health(ofNode node: String, after index: UInt64) async throws -> Health {
        self.cluster.identity.isServer
            ? try await self.here(node, after: index) : try await self.forwarded(node, after: index)
    }

    private func here(_ node: String, after index: UInt64) async throws -> Health {
        if index > 0 {
            let registry = try await self.cluster.view(.stale, timeout: .seconds(10)).registry
            let watch = registry.checks(onNode: node).watch + registry.nodeServices(node).watch
            try await self.cluster.waitForChange(of: watch, after: LogIndex(index), timeout: CatalogWatch.longestWait)
        }
        let registry = try await self.cluster.view(.stale, timeout: .seconds(10)).registry
        return Health(
            index: max(1, registry.appliedIndex.rawValue), checks: registry.checks(onNode: node).value.map(\.message),
            services: Set(registry.nodeServices(node).value?.services.map { ByteKey($0.id) } ?? []))
    }

    // MARK: - through a server

    private struct ShownCheck: Decodable {
        var node: String
        var id: String
        var name: String
        var status: String
        var output: String
        var serviceID: String
        var type: String?
        enum CodingKeys: String, CodingKey {
            case node = "Node"
            case id = "CheckID"
            case name = "Name"
            case status = "Status"
            case output = "Output"
            case serviceID = "ServiceID"
            case type = "Type"
        }

        var row: LogCheck {
            var row = LogCheck()
            (row.node, row.id, row.name) = (self.node, self.id, self.name)
            (row.status, row.output, row.serviceID) = (self.status, self.output, self.serviceID)
            row.type = self.type ?? ""
            return row
        }
    }

    private struct ShownNode: Decodable {
        struct Service: Decodable {}
        var services: [String: Service]?
        enum CodingKeys: String, CodingKey { case services = "Services" }
    }

    private func forwarded(_ node: String, after index: UInt64) async throws -> Health {
        let wait = CatalogWatch.longestWait
        let name = PercentEncoding.of(node)
        let blocking = index > 0 ? "&index=\(index)&wait=\(GoDuration.format(wait))" : ""
        let (checks, body) = try await self.get("/v1/health/node/\(name)?stale\(blocking)", wait + .seconds(15))
        let (_, services) = try await self.get("/v1/catalog/node/\(name)?stale", .seconds(15))
        let found = try JSONDecoder().decode([ShownCheck].self, from: Data(body))
        let shown = try JSONDecoder().decode(ShownNode?.self, from: Data(services))
        return Health(
            index: checks, checks: found.map(\.row), services: Set((shown?.services ?? [:]).keys.map { ByteKey($0) }))
    }

    private func get(_ target: String, _ timeout: Nanoseconds) async throws -> (index: UInt64, body: [UInt8]) {
        var request = PeerHTTPRequest()
        request.method = "GET"
        request.target = target
        let response = try await self.cluster.forward(request, timeout: timeout)
        guard response.status == 200 else {
            throw Refused(description: "\(response.status) \(String(decoding: response.body, as: UTF8.self))")
        }
        let index = response.headers.first { $0.name.lowercased() == "x-consul-index" }.flatMap { UInt64($0.value) }
        return (max(1, index ?? 1), Array(response.body))
    }
}
