import HTTPAPI
import Testing

/// The log over a connection, and what else concerns the process.
@Suite struct MonitorTests {
    let desk = Desk()

    @Test(
        arguments: [
            ("", "info false"), ("?loglevel=debug", "debug false"), ("?loglevel=WARN&logjson", "warning true"),
            ("?loglevel=err", "error false"), ("?loglevel=trace&logjson=true", "trace true"),
        ])
    func theLogIsStreamedWhileItIsWritten(_ query: String, _ asked: String) async throws {
        let desk = self.desk
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/agent/monitor\(query) HTTP/1.1\r\nHost: x\r\n\r\n")
            // The head comes before the first line is logged.
            let head = try await client.head()
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.contains("Transfer-Encoding: chunked\r\n"))
            #expect(desk.process.asked == [asked])
            desk.process.log("one")
            #expect(try await client.line() == "4")
            #expect(try await client.line() == "one")
            _ = try await client.line()
            desk.process.log("two")
            #expect(try await client.line() == "4")
            #expect(try await client.line() == "two")
            try await client.close()
            #expect(await eventually { desk.process.ended == 1 })
        }
    }

    @Test func theListenersEndIsTheStreams() async throws {
        let desk = self.desk
        try await desk.serving { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await client.head()
        }
        #expect(desk.process.ended == 1)
    }

    @Test func anUnknownLevelIsRefusedAndSoAreTooMany() async {
        #expect(await self.desk.get("/v1/agent/monitor?loglevel=loud").short == "400 Unknown log level: loud")
        self.desk.process.refuse()
        let reply = await self.desk.get("/v1/agent/monitor")
        #expect(reply.status == 429 && reply["Retry-After"] == "10")
    }

    @Test func theMachineIsDescribed() async {
        #expect(await self.desk.get("/v1/agent/host").short == #"200 {"Memory":null}"#)
    }
}
