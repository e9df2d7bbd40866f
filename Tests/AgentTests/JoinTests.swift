import Agent
import Testing

/// A join over the API is tried before it is believed.
@Suite(.serialized) struct JoinTests {
    @Test func aJoinThatReachesNobodyFailsInConsulsWords() async throws {
        try await TestNodes.with(expect: 1) { nodes in
            try await nodes.start("server-1")
            _ = try await nodes.leader()
            let nobody = "\(nodes.address("server-2")):1"
            let refused = try await nodes.put("server-1", "/v1/agent/join/\(nobody)", "")
            #expect(refused.status == 500)
            #expect(
                refused.text
                    == "1 error occurred:\n\t* Failed to join \(nodes.address("server-2")): dial tcp \(nobody): connect: connection refused\n\n"
            )
            let unnamed = try await nodes.put("server-1", "/v1/agent/join/no-such-host.invalid", "")
            #expect(unnamed.status == 500)
            #expect(unnamed.text.hasPrefix("1 error occurred:\n\t* Failed to resolve no-such-host.invalid: lookup"))
            // Itself it reaches.
            #expect(try await nodes.put("server-1", "/v1/agent/join/\(nodes.address("server-1"))", "").status == 200)
        }
    }
}
