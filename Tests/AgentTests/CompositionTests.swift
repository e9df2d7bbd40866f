import Agent
import Cluster
import Foundation
import Testing

/// Whole servers and agents in this process, with real sockets and real files.
@Suite(.serialized) struct CompositionTests {
    /// The state hashes of all servers, once they have applied the same.
    private func expectEqualHashes(_ nodes: TestNodes) async throws {
        var hashes: Set<String> = []
        for _ in 0..<300 {
            hashes = []
            for name in nodes.running.keys where name.hasPrefix("server") {
                let stats =
                    (try await nodes.get(name, "/v1/agent/self").json as? [String: Any])?["Stats"] as? [String: Any]
                hashes.insert((stats?["raft"] as? [String: Any])?["state_hash"] as? String ?? "none")
            }
            if hashes.count == 1, hashes != ["none"] { return }
            try await Task.sleep(nanoseconds: 100_000_000)
        }
        Issue.record("the servers' states differ: \(hashes)")
    }

    private func voters(_ nodes: TestNodes, at name: String) async throws -> [String: String] {
        let answer = try await nodes.get(name, "/v1/operator/raft/configuration").json as? [String: Any]
        var voters: [String: String] = [:]
        for server in answer?["Servers"] as? [[String: Any]] ?? [] where server["Voter"] as? Bool == true {
            voters[server["Node"] as? String ?? ""] = server["ID"] as? String ?? ""
        }
        return voters
    }

    @Test func threeServersFoundOneClusterAndEachReadsWhatAnotherWrote() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            _ = try await nodes.leader()
            for number in 1...3 {
                let put = try await nodes.put("server-\(number)", "/v1/kv/key-\(number)", "value")
                #expect(put.text == "true")
                for other in 1...3 {
                    let read = try await nodes.get("server-\(other)", "/v1/kv/key-\(number)?raw")
                    #expect(read.text == "value")
                }
            }
            #expect(try await self.voters(nodes, at: "server-1").keys.sorted() == ["server-1", "server-2", "server-3"])
            try await self.expectEqualHashes(nodes)
        }
    }

    @Test func aBlockingQueryOnAFollowerIsWokenByAWriteElsewhere() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            let follower = leader == "server-1" ? "server-2" : "server-1"
            _ = try await nodes.put(leader, "/v1/kv/a", "1")
            let entry = (try await nodes.get(follower, "/v1/kv/a").json as? [[String: Any]])?.first
            let index = try #require(entry?["ModifyIndex"] as? Int)
            async let waiting = nodes.get(follower, "/v1/kv/a?raw&index=\(index)&wait=60s")
            try await Task.sleep(nanoseconds: 200_000_000)
            _ = try await nodes.put(leader, "/v1/kv/a", "2")
            #expect(try await waiting.text == "2")
        }
    }

    @Test func aLeaderThatStopsHandsOverAndNoWriteFails() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            let other = leader == "server-1" ? "server-2" : "server-1"
            async let writes = withThrowingTaskGroup(of: TestNodes.Answer.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        try await Task.sleep(nanoseconds: UInt64(number) * 20_000_000)
                        return try await nodes.put(other, "/v1/kv/n\(number)", "\(number)")
                    }
                }
                return try await group.reduce(into: [String]()) { $0.append($1.text) }
            }
            try await Task.sleep(nanoseconds: 200_000_000)
            await nodes.stop(leader)
            #expect(try await writes == Array(repeating: "true", count: 40))
            // It comes back with its disk and catches up.
            try await nodes.start(leader)
            try await nodes.eventually("the stopped server reads", leader, "/v1/kv/n39?raw") { $0.text == "39" }
            try await self.expectEqualHashes(nodes)
        }
    }

    @Test func aWipedServerReturnsAsANewIncarnationUnderItsName() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            _ = try await nodes.put(leader, "/v1/kv/kept", "yes")
            let wiped = leader == "server-3" ? "server-2" : "server-3"
            let before = try await self.voters(nodes, at: leader)
            await nodes.stop(wiped)
            try nodes.wipe(wiped)
            try await nodes.start(wiped)
            try await nodes.eventually("three voters, one of them new", leader, "/v1/operator/raft/configuration") {
                answer in
                let servers = (answer.json as? [String: Any])?["Servers"] as? [[String: Any]] ?? []
                return servers.count == 3
                    && servers.contains {
                        $0["Node"] as? String == wiped && $0["Voter"] as? Bool == true
                            && $0["ID"] as? String != before[wiped]
                    }
            }
            try await nodes.eventually("it reads what was written before", wiped, "/v1/kv/kept?raw") {
                $0.text == "yes"
            }
            let id = try await self.voters(nodes, at: leader)[wiped] ?? ""
            try await nodes.eventually("the catalog shows the new one", leader, "/v1/catalog/node/\(wiped)") {
                $0.text.contains(id)
            }
            try await self.expectEqualHashes(nodes)
        }
    }

    @Test func aServerThatLeavesIsNoMemberAnyMoreAndJoinsAnew() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            await nodes.stop(leader, leaving: true)
            let other = leader == "server-1" ? "server-2" : "server-1"
            #expect(try await self.voters(nodes, at: other).count == 2)
            try await nodes.start(leader)
            try await nodes.eventually("three again", other, "/v1/operator/raft/configuration") { answer in
                let servers = (answer.json as? [String: Any])?["Servers"] as? [[String: Any]] ?? []
                return servers.filter { $0["Voter"] as? Bool == true }.count == 3
            }
        }
    }

    @Test func aServerThatIsRemovedWhileItRunsIsCutOffAndDisturbsNobody() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            let removed = leader == "server-3" ? "server-2" : "server-3"
            let id = try await self.voters(nodes, at: leader)[removed] ?? ""
            let answer = try await nodes.ask(leader, "DELETE", "/v1/operator/raft/peer?id=\(id)")
            #expect(answer.status == 200)
            #expect(try await self.voters(nodes, at: leader).count == 2)
            try await nodes.eventually("it has no leader any more", removed, "/v1/status/leader") { $0.text == "\"\"" }
            let before = (try await nodes.get(leader, "/v1/agent/metrics").json as? [String: Any])?["Gauges"]
            // Time enough for it to campaign several times, if anybody listened.
            try await Task.sleep(nanoseconds: 3_000_000_000)
            let after = (try await nodes.get(leader, "/v1/agent/metrics").json as? [String: Any])?["Gauges"]
            func term(_ gauges: Any?) -> Double? {
                (gauges as? [[String: Any]])?.first { $0["Name"] as? String == "consul.raft.term" }?["Value"] as? Double
            }
            #expect(term(before) != nil && term(before) == term(after))
            #expect(try await nodes.leader() == leader)
            #expect(try await nodes.put(leader, "/v1/kv/a", "1").text == "true")
        }
    }

    @Test func anAgentJoinsAndItsServiceIsFoundOnEveryServer() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            try await nodes.start("agent-1")
            let body = #"{"Name":"web","Port":80,"Check":{"TTL":"60s","Status":"passing"}}"#
            let registered = try await nodes.put("agent-1", "/v1/agent/service/register", body)
            #expect(registered.status == 200)
            for number in 1...3 {
                try await nodes.eventually("found", "server-\(number)", "/v1/health/service/web?passing") {
                    $0.text.contains("\"agent-1\"") && $0.text.contains("serfHealth")
                }
            }
            // Forwarded: a write and a linearizable read through the agent.
            #expect(try await nodes.put("agent-1", "/v1/kv/through", "agent").text == "true")
            #expect(try await nodes.get("agent-1", "/v1/kv/through?raw&consistent").text == "agent")
            // Either role tells how long its certificate is good.
            for name in ["server-1", "agent-1"] {
                try await nodes.eventually("expiry", name, "/v1/agent/metrics?format=prometheus") { answer in
                    let line = answer.text.split(separator: "\n").first {
                        $0.hasPrefix("consul_agent_tls_cert_expiry ")
                    }
                    let left = line.flatMap { Double($0.dropFirst("consul_agent_tls_cert_expiry ".count)) } ?? 0
                    return abs(left - 72 * 86_400) < 600
                }
                let gauges = try await nodes.get(name, "/v1/agent/metrics").json as? [String: Any]
                let names = (gauges?["Gauges"] as? [[String: Any]])?.map { $0["Name"] as? String }
                #expect(names?.contains("consul.agent.tls.cert.expiry") == true)
            }
            try await nodes.eventually("members", "agent-1", "/v1/agent/members") { $0.text.contains("\"agent-1\"") }
            // It leaves: nothing of it stays in the catalog.
            await nodes.stop("agent-1", leaving: true)
            try await nodes.eventually("gone", "server-1", "/v1/catalog/nodes") { !$0.text.contains("agent-1") }
        }
    }

    @Test func anAgentGoesOnWithAnotherServerWhenItsOwnStops() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            try await nodes.start("agent-1")
            try await nodes.eventually("in use", "agent-1", "/v1/agent/self") { $0.text.contains(":8300") }
            _ = try await nodes.put("agent-1", "/v1/kv/a", "1")
            let own =
                ((try await nodes.get("agent-1", "/v1/agent/self").json as? [String: Any])?["Stats"] as? [String: Any])?[
                    "consul"]
            let address = (own as? [String: Any])?["server_in_use"] as? String ?? ""
            let server = try #require(nodes.running.keys.first { "\(nodes.address($0)):8300" == address })
            await nodes.stop(server)
            #expect(try await nodes.get("agent-1", "/v1/kv/a?raw").text == "1")
            #expect(try await nodes.put("agent-1", "/v1/kv/a", "2").text == "true")
        }
    }

    @Test func aBackupIsRestoredThroughAFollower() async throws {
        try await TestNodes.with { nodes in
            try await nodes.startServers()
            let leader = try await nodes.leader()
            let follower = leader == "server-1" ? "server-2" : "server-1"
            _ = try await nodes.put(leader, "/v1/kv/before", "1")
            let backup = try await nodes.get(follower, "/v1/snapshot")
            #expect(backup.status == 200)
            _ = try await nodes.put(leader, "/v1/kv/after", "2")
            var damaged = backup.body
            damaged[damaged.count / 2] ^= 1
            let refused = try await nodes.ask(follower, "PUT", "/v1/snapshot", body: damaged)
            #expect(refused.status == 400)
            #expect(try await nodes.get(leader, "/v1/kv/after?raw").text == "2")
            let restored = try await nodes.ask(follower, "PUT", "/v1/snapshot", body: backup.body)
            #expect(restored.status == 200)
            #expect(try await nodes.get(leader, "/v1/kv/?keys").text == "[\"before\"]")
            try await self.expectEqualHashes(nodes)
        }
    }

    @Test func theStartOrderMakesNoDifference() async throws {
        for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            try await TestNodes.with { nodes in
                for number in order {
                    try await nodes.start("server-\(number)")
                    try await Task.sleep(nanoseconds: 150_000_000)
                }
                let leader = try await nodes.leader()
                #expect(try await nodes.put(leader, "/v1/kv/a", "1").text == "true")
                for number in 1...3 { #expect(try await nodes.get("server-\(number)", "/v1/kv/a?raw").text == "1") }
            }
        }
    }
}
