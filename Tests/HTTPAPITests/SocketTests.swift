import HTTPAPI
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Units

/// What only a real connection can show.
@Suite struct SocketTests {
    let desk = Desk()

    private func serving(_ desk: Desk, _ body: @Sendable @escaping (Int) async throws -> Void) async throws {
        try await desk.serving(body)
    }

    @Test func requestsOnOneConnectionAreAnsweredInOrder() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                    + "GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/none HTTP/1.1\r\nHost: x\r\n\r\n")
            let put = try await client.response()
            #expect(
                put.withoutDate == """
                    HTTP/1.1 200 OK
                    Content-Type: application/json
                    X-Consul-Default-Acl-Policy: allow
                    Vary: Accept-Encoding
                    X-Consul-ModifyIndex: 11
                    Content-Length: 4

                    true
                    """)
            let get = try await client.response()
            #expect(
                get.withoutDate == """
                    HTTP/1.1 200 OK
                    Content-Type: text/plain
                    X-Consul-Default-Acl-Policy: allow
                    Vary: Accept-Encoding
                    X-Consul-Index: 11
                    X-Consul-Knownleader: true
                    X-Consul-Lastcontact: 0
                    Content-Security-Policy: sandbox
                    X-Content-Type-Options: nosniff
                    Content-Length: 5

                    hello
                    """)
            #expect(get.head.contains("\r\nDate: "))
            #expect(try await client.response().head.hasPrefix("HTTP/1.1 404 Not Found\r\n"))
            try await client.close()
        }
    }

    /// Those for single keys are answered on the event loop, lists by the connection's task.
    @Test func pipelinedRequestsOfBothWaysAreAnsweredInOrder() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            var requests = ""
            for number in 0..<40 {
                requests += "PUT /v1/kv/k/\(number) HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv"
                requests += "GET /v1/kv/k/?keys HTTP/1.1\r\nHost: x\r\n\r\n"
                requests += "GET /v1/kv/k/\(number)?raw&stale HTTP/1.1\r\nHost: x\r\n\r\n"
                requests += "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            try await client.send(requests)
            for number in 0..<40 {
                #expect(try await client.response().body == "true")
                let keys = try await client.response().body
                #expect(keys.split(separator: ",").count == number + 1)
                #expect(try await client.response().body == "v")
                #expect(try await client.response().body == "\"10.0.0.1:8300\"")
            }
            try await client.close()
        }
    }

    @Test func headHasTheLengthButNoBody() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            _ = await desk.put("/v1/kv/a", "hello")
            let client = try await Client(port: port)
            try await client.send(
                "HEAD /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try await client.response(withBody: false)
            #expect(head.head.contains("Content-Length: 5\r\n"))
            #expect(try await client.response().body == "\"10.0.0.1:8300\"")
            try await client.close()
        }
    }

    @Test func aClientThatGoesAwayFreesItsWatchAtOnce() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a", "1")
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/kv/a?index=11&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { desk.cluster.waiterCount == 1 })
            try await client.close()
            #expect(await eventually { desk.cluster.waiterCount == 0 && desk.api.waitingCount == 0 })
        }
    }

    @Test func aConnectionLivesOnAfterAWait() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a", "1")
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/kv/a?index=11&wait=10m&raw HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { desk.cluster.waiterCount == 1 })
            _ = await desk.put("/v1/kv/a", "2")
            #expect(try await client.response().body == "2")
            try await client.send("GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.response().body == "2")
            try await client.close()
        }
    }

    @Test func shuttingDownAnswersThoseWhoWait() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a", "1")
        let clients = Mutex<Client?>(nil)
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/kv/a?index=11&wait=10m&raw HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { desk.cluster.waiterCount == 1 })
            clients.withLock { $0 = client }
        }
        let client = try #require(clients.withLock { $0 })
        #expect(try await client.response().body == "1")
        try await client.close()
    }

    @Test func shuttingDownAnswersWhoIsAboutToAskAndTellsItThatThisWasTheLastTime() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/a", "1")
        let clients = Mutex<[Client]>([])
        async let ended: Void = self.serving(desk) { port in
            for _ in 0..<2 {
                let client = try await Client(port: port)
                try await client.send("GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(!(try await client.response().head.contains("Connection: close")))
                clients.withLock { $0.append(client) }
            }
        }
        // Both connections are idle when the listener begins to shut down.
        #expect(await eventually { clients.withLock { $0.count } == 2 })
        try await Task.sleep(for: .milliseconds(200))
        let (asking, silent) = clients.withLock { ($0[0], $0[1]) }
        try await asking.send("GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n")
        let last = try await asking.response()
        #expect(last.body == "1")
        #expect(last.head.contains("Connection: close\r\n"))
        #expect(try await asking.isAtEnd())
        #expect(try await silent.isAtEnd())
        try await asking.close()
        try await silent.close()
        try await ended
    }

    @Test func aValueThatIsTooLargeIsRefusedBeforeItIsSent() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 600000\r\n\r\n")
            let reply = try await client.response()
            #expect(reply.head.hasPrefix("HTTP/1.1 413 Request Entity Too Large\r\n"))
            #expect(reply.head.contains("Connection: close\r\n"))
            #expect(reply.body.hasPrefix("Request body(600000 bytes) too large, max size: 524288 bytes."))
            #expect(try await client.isAtEnd())
        }
    }

    @Test func chunkedBodiesAreReadAndBounded() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
            #expect(try await client.response().body == "true")
            #expect(await desk.get("/v1/kv/a?raw").body == "abcde")
            let piece = String(repeating: "x", count: 0x40000)
            try await client.send(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "40000\r\n\(piece)\r\n40000\r\n\(piece)\r\n1\r\nx\r\n")
            #expect(try await client.response().head.hasPrefix("HTTP/1.1 413"))
            try await client.close()
        }
    }

    @Test func aClientThatExpectsContinueGetsIt() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            #expect(try await client.line() == "HTTP/1.1 100 Continue")
            #expect(try await client.line() == "")
            try await client.send("hello")
            #expect(try await client.response().body == "true")
            try await client.close()
        }
    }

    @Test func garbageIs400AndTheEndOfTheConnection() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("this is not http\r\n\r\n")
            #expect(try await client.response().head.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
            #expect(try await client.isAtEnd())
        }
    }

    @Test func garbageAfterARequestDoesNotTakeItsAnswer() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1 garbage\r\n\r\n")
            #expect(try await client.response().body == "true")
            #expect(try await client.isAtEnd())
        }
    }

    @Test func snapshotsAreStreamedBothWays() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try await client.head()
            #expect(head.contains("Transfer-Encoding: chunked\r\n"))
            var lines: [String] = []
            for _ in 0..<8 { lines.append(try await client.line()) }
            #expect(lines == ["3", "one", "3", "two", "5", "three", "0", ""])
            try await client.send(
                "PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\narch\r\n3\r\nive\r\n0\r\n\r\n"
            )
            #expect(try await client.response().head.hasPrefix("HTTP/1.1 200"))
            #expect(desk.snapshot.restored == Array("archive".utf8))
            try await client.close()
        }
    }

    @Test func theHeadOfAStreamHasNoBodyAndTheConnectionGoesOn() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "HEAD /v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await client.head().hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(try await client.response().body == "\"10.0.0.1:8300\"")
            try await client.close()
        }
    }

    @Test func anOldProtocolGetsAStreamWithoutChunks() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send("GET /v1/snapshot HTTP/1.0\r\n\r\n")
            let head = try await client.head()
            #expect(!head.contains("Transfer-Encoding") && head.contains("Connection: close\r\n"))
            #expect(try await client.rest() == "onetwothree")
        }
    }

    @Test func aClientThatDoesNotReadItsAnswersIsNotGivenMoreOfThem() async throws {
        let desk = self.desk
        _ = await desk.put("/v1/kv/large", String(repeating: "x", count: 400_000))
        let before = desk.cluster.views.count
        try await self.serving(desk) { port in
            let client = try await Client(port: port, reads: false)
            let request = "GET /v1/kv/large?raw HTTP/1.1\r\nHost: x\r\n\r\n"
            try await client.send(String(repeating: request, count: 300))
            #expect(await eventually { desk.cluster.views.count > before })
            try await Task.sleep(for: .milliseconds(500))
            // What the sockets' buffers take is some megabytes.
            #expect(desk.cluster.views.count - before < 150)
            try await client.startReading()
            for _ in 0..<300 { #expect(try await client.response().body.utf8.count == 400_000) }
            #expect(desk.cluster.views.count - before == 300)
            try await client.close()
        }
    }

    @Test func theLastAnswerReachesAClientThatTakesItsTime() async throws {
        var settings = HTTPAPISettings()
        settings.kvMaximumValue = .mebibytes(32)
        settings.connectionLimits.linger = .milliseconds(50)
        let desk = Desk(settings: settings)
        // More than the sockets' buffers take.
        let size = 24 << 20
        #expect(await desk.put("/v1/kv/large", String(repeating: "x", count: size)).short == "200 true")
        try await self.serving(desk) { port in
            let client = try await Client(port: port, reads: false)
            try await client.send("GET /v1/kv/large?raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            try await Task.sleep(for: .milliseconds(500))
            try await client.startReading()
            #expect(try await client.response().body.utf8.count == size)
            #expect(try await client.isAtEnd())
        }
    }

    @Test func aReaderMayTakeItsTimeAsLongAsItTakesSomething() async throws {
        var settings = HTTPAPISettings()
        settings.kvMaximumValue = .mebibytes(48)
        settings.connectionLimits.writing = .milliseconds(600)
        settings.connectionLimits.idleCheckInterval = .milliseconds(20)
        let desk = Desk(settings: settings)
        // More than the sockets' buffers take.
        let size = 48 << 20
        #expect(await desk.put("/v1/kv/large", String(repeating: "x", count: size)).short == "200 true")
        try await self.serving(desk) { port in
            let slow = try await Client(port: port, reads: false)
            let idle = try await Client(port: port, reads: false)
            for client in [slow, idle] {
                try await client.send("GET /v1/kv/large?raw HTTP/1.1\r\nHost: x\r\n\r\n")
            }
            // Three times as long as one may wait that takes nothing.
            for _ in 0..<90 {
                try await Task.sleep(for: .milliseconds(20))
                await slow.readSome()
            }
            try await slow.startReading()
            #expect(try await slow.response().body.utf8.count == size)
            try await idle.startReading()
            #expect(try await idle.rest().utf8.count < size)
            try await slow.close()
        }
    }

    @Test func aBodyThatStandsStillIsGivenUp() async throws {
        var settings = HTTPAPISettings()
        settings.connectionLimits.reading = .milliseconds(50)
        settings.connectionLimits.idleCheckInterval = .milliseconds(10)
        let desk = Desk(settings: settings)
        try await self.serving(desk) { port in
            for target in ["/v1/txn", "/v1/snapshot"] {
                let client = try await Client(port: port)
                try await client.send("PUT \(target) HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
                #expect(await eventually { await client.isGone }, "\(target)")
                try await client.close()
            }
        }
    }

    @Test func aLineBreakFromAClientNeverBecomesAHeader() async throws {
        var settings = HTTPAPISettings()
        settings.refusesUnprintablePaths = false
        let desk = Desk(settings: settings)
        try await self.serving(desk) { port in
            let client = try await Client(port: port)
            try await client.send(
                "GET /v1/agent/health/service/id/x%0D%0AInjected:%20yes HTTP/1.1\r\nHost: x\r\n\r\n")
            let reply = try await client.response()
            #expect(reply.head.contains("X-Consul-Reason: ServiceId x  Injected: yes not found\r\n"))
            #expect(!reply.head.contains("\r\nInjected"))
            try await client.close()
        }
    }

    @Test func anOldProtocolOrACloseEndsTheConnection() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            for request in [
                "GET /v1/status/leader HTTP/1.0\r\n\r\n",
                "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            ] {
                let client = try await Client(port: port)
                try await client.send(request)
                #expect(try await client.response().body == "\"10.0.0.1:8300\"")
                #expect(try await client.isAtEnd())
            }
        }
    }

    @Test func aStreamOfMetricsEndsWithItsClientOrTheServer() async throws {
        let desk = self.desk
        try await self.serving(desk) { port in
            let gone = try await Client(port: port)
            let staying = try await Client(port: port)
            for client in [gone, staying] {
                try await client.send("GET /v1/agent/metrics/stream HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try await client.head().hasPrefix("HTTP/1.1 200 OK\r\n"))
                _ = try await client.line()
                #expect(try await client.line() == "{")
                #expect(try await client.line().hasPrefix(#"    "Timestamp": "#))
            }
            try await gone.close()
        }
        // The listener has shut down: it waits for its connections.
    }
}
