import Agent
import Foundation
import LocalAgent
import Testing
import Units

/// What a reload takes over, over the API as after SIGHUP.
@Suite(.serialized) struct ReloadTests {
    private func service(_ name: String, port: UInt32 = 80) -> ServiceDefinition {
        var service = ServiceDefinition()
        service.name = name
        service.port = port
        return service
    }

    /// What the next reload reads.
    private final class Next: @unchecked Sendable {
        // Sendable by the lock.
        private let lock = NSLock()
        private var value: (@Sendable () throws -> AgentConfiguration)?
        func set(_ value: @escaping @Sendable () throws -> AgentConfiguration) {
            self.lock.withLock { self.value = value }
        }
        func read() throws -> AgentConfiguration {
            guard let value = self.lock.withLock({ self.value }) else { throw Missing() }
            return try value()
        }
        struct Missing: Error {}
    }

    private struct Bad: Error, CustomStringConvertible {
        var description: String { "a.hcl:3:1: invalid config key x" }
    }

    @Test func aReloadAddsChangesAndRemovesWhatFilesSayAndLeavesTheRest() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            let next = Next()
            try await nodes.start("server-1", reload: { try next.read() }) { configuration in
                configuration.serviceDefinitions = [self.service("a"), self.service("b")]
                configuration.nodeMeta = ["rack": "1"]
            }
            _ = try await nodes.put("server-1", "/v1/agent/service/register", #"{"Name": "api", "Port": 1}"#)
            try await nodes.eventually("registered", "server-1", "/v1/catalog/services") {
                $0.text.contains("\"a\"") && $0.text.contains("\"b\"") && $0.text.contains("\"api\"")
            }
            var wanted = nodes.configuration("server-1")
            wanted.serviceDefinitions = [self.service("b", port: 81), self.service("c")]
            wanted.nodeMeta = ["rack": "2"]
            let new = wanted
            next.set { new }
            let answer = try await nodes.put("server-1", "/v1/agent/reload", "")
            #expect(answer.status == 200, "\(answer.text)")
            let services = try await nodes.get("server-1", "/v1/agent/services").json as? [String: [String: Any]]
            #expect(services.map { Set($0.keys) } == ["api", "b", "c"])
            #expect(services?["b"]?["Port"] as? Int == 81)
            #expect(try await nodes.get("server-1", "/v1/agent/self").text.contains("\"rack\":\"2\""))
            try await nodes.eventually("node_meta", "server-1", "/v1/catalog/nodes") {
                $0.text.contains("\"rack\":\"2\"")
            }
        }
    }

    @Test func filesAreNotReadOnThePoolThatAnswersRequests() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            let next = Next()
            try await nodes.start("server-1", reload: { try next.read() }) { _ in }
            let same = nodes.configuration("server-1")
            next.set {
                // A thread of the pool is always at some task's work.
                if withUnsafeCurrentTask(body: { $0 != nil }) { throw Bad() }
                return same
            }
            let answer = try await nodes.put("server-1", "/v1/agent/reload", "")
            #expect(answer.status == 200, "\(answer.text)")
        }
    }

    @Test func aReloadOfABadFileChangesNothingAndSaysWhy() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            let next = Next()
            try await nodes.start("server-1", reload: { try next.read() }) { configuration in
                configuration.serviceDefinitions = [self.service("a")]
            }
            next.set { throw Bad() }
            let bad = try await nodes.put("server-1", "/v1/agent/reload", "")
            #expect(bad.status == 500 && bad.text.contains("a.hcl:3:1: invalid config key x"), "\(bad.text)")
            // The second service is one that the agent itself refuses; the first must not come alone.
            var reserved = self.service("x")
            reserved.id = "consul"
            var wanted = nodes.configuration("server-1")
            wanted.serviceDefinitions = [self.service("b"), reserved]
            let new = wanted
            next.set { new }
            let refused = try await nodes.put("server-1", "/v1/agent/reload", "")
            #expect(refused.status == 500 && refused.text.contains("reserved"), "\(refused.text)")
            var orphan = CheckDefinition()
            orphan.name = "orphan"
            orphan.ttl = .seconds(10)
            orphan.serviceID = "nowhere"
            wanted.serviceDefinitions = [self.service("b")]
            wanted.checkDefinitions = [orphan]
            let third = wanted
            next.set { third }
            let missing = try await nodes.put("server-1", "/v1/agent/reload", "")
            #expect(missing.status == 500 && missing.text.contains("there is no service nowhere"), "\(missing.text)")
            let services = try await nodes.get("server-1", "/v1/agent/services").json as? [String: Any]
            #expect(services.map { Set($0.keys) } == ["a"])
        }
    }

    @Test func pathsThatTheConfigurationBlocksAreForbidden() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1") { $0.http.blockEndpoints = ["/v1/agent/leave", "/v1/kv"] }
            let blocked = try await nodes.put("server-1", "/v1/kv/a", "1")
            #expect(blocked.status == 403 && blocked.text == "Endpoint is blocked by agent configuration")
            #expect(try await nodes.get("server-1", "/v1/agent/services").status == 200)
        }
    }

    @Test func watchesOfTheConfigurationRunTheirHandlersAndAReloadEndsThem() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            let next = Next()
            let file = nodes.directory + "/seen"
            var key = WatchDefinition()
            key.kind = .key
            key.key = "watched"
            key.handler = .script(["/bin/sh", "-c", "cat >> \(file); echo index $CONSUL_INDEX >> \(file)"])
            let watched = key
            try await nodes.start("server-1", reload: { try next.read() }) { $0.watches = [watched] }
            func seen(_ text: String) async throws -> Bool {
                for _ in 0..<300 {
                    let content = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
                    if content.contains(text) { return true }
                    try await Task.sleep(nanoseconds: 50_000_000)
                }
                return false
            }
            #expect(try await seen("null\n"))
            #expect(try await nodes.put("server-1", "/v1/kv/watched", "1").text == "true")
            // "MQ==" is 1.
            #expect(try await seen("MQ=="))
            let new = nodes.configuration("server-1")
            next.set { new }
            #expect(try await nodes.put("server-1", "/v1/agent/reload", "").status == 200)
            #expect(try await nodes.put("server-1", "/v1/kv/watched", "2").text == "true")
            try await Task.sleep(nanoseconds: 500_000_000)
            #expect(try !String(contentsOfFile: file, encoding: .utf8).contains("Mg=="))
        }
    }
}
