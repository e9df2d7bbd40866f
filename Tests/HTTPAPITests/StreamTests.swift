import HTTPAPI
import Testing

/// `?stream`: a list and its changes as Server-Sent Events.
@Suite struct StreamTests {
    let desk = Desk()

    private func opening(_ client: Client, _ target: String, _ header: String = "") async throws {
        try await client.send("GET \(target) HTTP/1.1\r\nHost: x\r\n\(header)\r\n")
    }

    @Test func aStreamBeginsWithAllRowsAndGoesOnWithEachChange() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a/1", "one")
        _ = await desk.put("/v1/kv/a/2", "two")
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, "/v1/kv/a/?recurse&stream")
            var text = try await client.text(until: "event: ready")
            #expect(text.contains("Content-Type: text/event-stream\n"))
            #expect(text.contains("event: reset\ndata: {\"Index\":"))
            #expect(text.components(of: "event: put") == 2)
            #expect(text.contains("\"Key\":\"a/1\"") && text.contains("\"Key\":\"a/2\""))

            _ = await desk.put("/v1/kv/a/2", "zwei")
            text = try await client.text(until: "event: put")
            #expect(text.components(of: "event: put") == 1 && text.contains("\"Key\":\"a/2\""))
            _ = await desk.delete("/v1/kv/a/1")
            text = try await client.text(until: "event: delete")
            #expect(text.contains("data: {\"Key\":\"a/1\"}"))
            // Of its last row, too.
            _ = await desk.delete("/v1/kv/a/2")
            text = try await client.text(until: "event: delete")
            #expect(text.contains("data: {\"Key\":\"a/2\"}"))
            try await client.close()
        }
        #expect(await eventually { desk.api.waitingCount == 0 })
    }

    @Test(arguments: ["Last-Event-ID: 12\r\n", ""])
    func whoComesBackAndHasMissedNothingGetsNothingAgain(_ header: String) async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a", "one")
        _ = await desk.put("/v1/kv/a", "two")
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, "/v1/kv/a?stream\(header.isEmpty ? "&index=12" : "")", header)
            let text = try await client.text(until: "event: ready")
            #expect(!text.contains("event: reset") && !text.contains("event: put"))
            try await client.close()
            // Who has missed something gets all.
            let late = try await Client(port: port)
            try await self.opening(late, "/v1/kv/a?stream&index=11")
            #expect(try await late.text(until: "event: ready").contains("event: reset"))
            try await late.close()
        }
    }

    @Test(
        arguments: [
            "/v1/agent/self?stream", "/v1/kv/a?keys&stream", "/v1/kv/a?raw&stream", "/v1/status/leader?stream",
        ])
    func whatIsNoListIsRefused(_ target: String) async {
        let reply = await self.desk.get(target)
        #expect(reply.status == 400 && reply.body.contains("?stream"))
    }

    @Test func oneStreamTooManyIsRefusedAndLeavesTheCountAlone() async {
        var settings = HTTPAPISettings()
        settings.maximumWaiting = 0
        let desk = Desk(settings: settings)
        for _ in 0..<3 { #expect(await desk.get("/v1/catalog/nodes?stream").status == 429) }
        #expect(desk.api.waitingCount == 0)
    }

    @Test func aListsOwnRefusalIsTheAnswer() async {
        #expect(await self.desk.get("/v1/catalog/nodes?stream&stale&consistent").status == 400)
    }
}

extension String {
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
