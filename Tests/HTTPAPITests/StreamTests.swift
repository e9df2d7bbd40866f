import HTTPAPI
import Protocol
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

    @Test func whoComesBackAndHasMissedNothingGetsNothingAgain() async throws {
        let desk = self.desk
        for key in ["1", "2", "3"] { _ = await desk.put("/v1/kv/a/\(key)", "one") }
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, "/v1/kv/a/?recurse&stream")
            let id = try #require(try await client.text(until: "event: ready").lastID)
            try await client.close()
            for (query, header) in [("&index=\(id)", ""), ("", "Last-Event-ID: \(id)\r\n")] {
                let back = try await Client(port: port)
                try await self.opening(back, "/v1/kv/a/?recurse&stream\(query)", header)
                let text = try await back.text(until: "event: ready")
                #expect(!text.contains("event: reset") && !text.contains("event: put") && text.lastID == id)
                try await back.close()
            }
            // Who has missed something gets all.
            _ = await desk.put("/v1/kv/a/2", "two")
            let late = try await Client(port: port)
            try await self.opening(late, "/v1/kv/a/?recurse&stream&index=\(id)")
            #expect(try await late.text(until: "event: ready").components(of: "event: put") == 3)
            try await late.close()
        }
    }

    @Test func whoIsCutOffInTheMiddleHasNoIDThatSaysItHasAll() async throws {
        let desk = self.desk
        for key in ["1", "2", "3"] { _ = await desk.put("/v1/kv/a/\(key)", "one") }
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, "/v1/kv/a/?recurse&stream", "Last-Event-ID: 7-beef\r\n")
            let begun = try await client.text(until: "event: put")
            #expect(begun.contains("\nid:\nevent: reset") && begun.lastID == nil)
            try await client.close()
        }
    }

    @Test func valuesThatSwiftTakesForOneAreTwo() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a/caf%C3%A9", "1")
        _ = await desk.put("/v1/kv/a/cafe%CC%81", "2")
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, "/v1/kv/a/?recurse&stream")
            #expect(try await client.text(until: "event: ready").components(of: "event: put") == 2)
            _ = await desk.delete("/v1/kv/a/caf%C3%A9")
            #expect(try await client.text(until: "event: delete").contains("{\"Key\":\"a/caf\u{E9}\"}"))
            try await client.close()
        }
    }

    @Test(
        arguments: [
            ("/v1/catalog/nodes", "{\"Node\":\"n1\"}"), ("/v1/catalog/services", "{\"Name\":\"web\"}"),
            ("/v1/catalog/service/web", "{\"Node\":\"n1\",\"ServiceID\":\"w1\"}"),
            ("/v1/health/service/web", "{\"Node\":\"n1\",\"ServiceID\":\"w1\"}"),
            ("/v1/health/node/n1", "{\"Node\":\"n1\",\"CheckID\":\"c1\"}"),
            ("/v1/health/state/any", "{\"Node\":\"n1\",\"CheckID\":\"c1\"}"),
        ])
    func rowsAreToldApartByWhatNamesThem(_ target: String, _ identity: String) async throws {
        let desk = self.desk
        _ = await desk.put(
            "/v1/catalog/register",
            #"{"Node":"n1","Address":"10.0.0.1","Service":{"ID":"w1","Service":"web"},"Check":{"CheckID":"c1","Name":"c","ServiceID":"w1","Status":"passing"}}"#
        )
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await self.opening(client, target + "?stream")
            #expect(try await client.text(until: "event: ready").components(of: "event: put") == 1)
            _ = await desk.put("/v1/catalog/deregister", #"{"Node":"n1"}"#)
            #expect(try await client.text(until: "event: delete").contains("data: \(identity)\n"))
            try await client.close()
        }
    }

    @Test func aServerAnswersAnAgentWithTheListItself() async {
        _ = await self.desk.put("/v1/kv/a", "one")
        var request = PeerHTTPRequest()
        request.method = "GET"
        request.target = "/v1/kv/a?stream"
        let reply = Reply(await self.desk.api.respond(to: request, origin: "agent-1"))
        #expect(reply.status == 200 && reply.body.hasPrefix("[{"))
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
    /// What a browser would come back with; nil for none.
    fileprivate var lastID: String? {
        let ids = self.split(separator: "\n").filter { $0.hasPrefix("id:") }
        return ids.last.map { $0.dropFirst(3).drop { $0 == " " } }.flatMap { $0.isEmpty ? nil : String($0) }
    }

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
