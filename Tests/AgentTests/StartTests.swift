import Agent
import Certificates
import Cluster
import Foundation
import LocalAgent
import Testing
import Units

/// What a start refuses, and what one server does without any preparation.
@Suite(.serialized) struct StartTests {
    @Test func oneServerOnAnEmptyDirectoryMakesItsOwnClusterAndKeepsItsData() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1") { $0.joinToken = nil }
            _ = try await nodes.leader()
            #expect(try await nodes.put("server-1", "/v1/kv/a", "1").text == "true")
            await nodes.stop("server-1")
            try await nodes.start("server-1") { $0.joinToken = nil }
            try await nodes.eventually("kept", "server-1", "/v1/kv/a?raw") { $0.text == "1" }
        }
    }

    private func refusal(_ nodes: TestNodes, _ name: String, _ change: (inout AgentConfiguration) -> Void) async
        -> String
    {
        do {
            try await nodes.start(name, change)
            return "it started"
        } catch {
            return "\(error)"
        }
    }

    @Test func aSecondProcessOnADirectoryIsRefused() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1")
            let directory = nodes.dataDirectory("server-1")
            let text = await self.refusal(nodes, "server-2") { configuration in
                configuration.dataDirectory = directory
                configuration.retryJoin = []
            }
            #expect(text.contains("in use by another process"))
        }
    }

    @Test func aServerOfAnotherClusterIsRefused() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1")
            await nodes.stop("server-1")
            let foreign = try JoinToken(role: .server, secret: .generate()).text
            let text = await self.refusal(nodes, "server-1") { $0.joinToken = foreign }
            #expect(text.contains("belongs to cluster"))
            // The same with the key itself exchanged.
            let key = nodes.dataDirectory("server-1") + "/cluster.key"
            try FileManager.default.removeItem(atPath: key)
            try ClusterSecret.generate().save(to: key)
            let second = await self.refusal(nodes, "server-1") { $0.joinToken = nil }
            #expect(second.contains("belongs to cluster"))
        }
    }

    @Test func aWrongTokenIsRefusedAtOnce() async throws {
        try await TestNodes.with { nodes in
            let agentToken = try JoinToken(role: .agent, secret: .generate()).text
            let role = await self.refusal(nodes, "server-1") { $0.joinToken = agentToken }
            #expect(role.contains("role"))
            let garbled = await self.refusal(nodes, "server-1") { $0.joinToken = "serai-server-1.xyz" }
            #expect(garbled.contains("token"))
            let none = await self.refusal(nodes, "server-1") { $0.joinToken = nil }
            #expect(none.contains("join token"))
            let expired = try JoinToken(role: .agent, secret: .generate(), now: UnixSeconds(1_000_000), lifetime: 60)
                .text
            let late = await self.refusal(nodes, "agent-1") { $0.joinToken = expired }
            #expect(late.contains("expired"))
        }
    }

    @Test func anAgentWithAForeignTokenIsNotLetIn() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1")
            let foreign = try JoinToken(role: .agent, secret: .generate()).text
            try await nodes.start("agent-1") { $0.joinToken = foreign }
            // No server of that cluster is there; the agent never sends its token to another's.
            let answer = try await nodes.get("agent-1", "/v1/kv/a")
            #expect(answer.status == 500)
            #expect(answer.text.contains("No known Consul servers"))
        }
    }

    @Test func aTakenAddressIsRefusedAndLeavesTheDirectoryFree() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1")
            let address = nodes.address("server-1")
            let text = await self.refusal(nodes, "server-2") { configuration in
                configuration.bindAddress = address
                configuration.retryJoin = []
            }
            #expect(text.contains("can't listen"))
            try await nodes.start("server-2") { $0.retryJoin = [] }
            _ = try await nodes.put("server-2", "/v1/kv/a", "1")
        }
    }

    @Test func servicesOfTheConfigurationAreRegisteredAtStart() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1") { configuration in
                var web = ServiceDefinition()
                web.name = "web"
                web.port = 80
                var check = CheckDefinition()
                check.ttl = .seconds(10)
                web.checks = [check]
                configuration.serviceDefinitions = [web]
            }
            try await nodes.eventually("registered", "server-1", "/v1/catalog/service/web") {
                $0.text.contains("\"web\"")
            }
        }
    }
}
