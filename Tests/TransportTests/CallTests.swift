import Certificates
import NIOConcurrencyHelpers
import Protocol
import Testing
import Transport
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite(.oneAtATime) struct CallTests {
    @Test func aCallGetsItsAnswerAndBothEndsKnowEachOther() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster.credentials(.agent, "web-1", 9))
        let connection = try client.pool.connection(to: server.address)
        let response = try await connection.call(httpRequest([1, 2, 3]), timeout: .seconds(30))
        #expect(Array(response.http.body) == [1, 2, 3])
        let remote = try #require(connection.remote)
        #expect(try remote.identity == cluster.identity(.server, "server-1", 1))
        #expect(remote.featureLevel == 3)
        #expect(remote.rpcAddress == "127.0.0.1:8300")
        #expect(remote.datacenter == "dc1")
        let up = server.handler.seen.up
        #expect(try up.map(\.identity) == [cluster.identity(.agent, "web-1", 9)])
        #expect(up.map(\.featureLevel) == [2])
        client.pool.shutdown()
        try await eventually("the server hears of the end") { server.handler.seen.down == up }
        await server.stop()
    }

    @Test func tenThousandPipelinedCallsEachGetTheirOwnAnswer() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.inboundCallsMax = 16_384
        let server = try await TestServer(cluster, settings: settings)
        let client = try TestClient(cluster, settings: settings)
        let connection = try client.pool.connection(to: server.address)
        let outcome = NIOLockedValueBox<(right: Int, wrong: [String])>((0, []))
        for number in 0..<10_000 {
            let body = withUnsafeBytes(of: UInt64(number)) { Array($0) }
            connection.call(httpRequest(body), timeout: .seconds(120)) { result in
                outcome.withLockedValue { outcome in
                    switch result {
                    case .success(let response) where Array(response.http.body) == body: outcome.right += 1
                    case .success: outcome.wrong.append("\(number): another's answer")
                    case .failure(let error): outcome.wrong.append("\(number): \(error)")
                    }
                }
            }
        }
        try await eventually("all calls end") {
            outcome.withLockedValue { $0.right + $0.wrong.count } == 10_000
        }
        #expect(outcome.withLockedValue { $0.wrong } == [])
        #expect(server.handler.seen.requests == 10_000)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func proposalsTakeTheShortWayAndMayBeAnsweredInAnyOrder() async throws {
        let cluster = try TestCluster()
        let waiting = NIOLockedValueBox<[@Sendable (PeerResponse) -> Void]>([])
        let handler = Recorder(proposals: { envelope, reply in
            waiting.withLockedValue { waiting in
                waiting.append { _ in
                    var response = PeerResponse()
                    response.errorCode = UInt32(envelope.sequence)
                    reply(response)
                    // Only the first answer counts.
                    reply(.failure(500, "late"))
                }
            }
            return true
        })
        let server = try await TestServer(cluster, handler: handler)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let answers = NIOLockedValueBox<[UInt64: UInt32]>([:])
        for sequence in 1...100 as ClosedRange<UInt64> {
            connection.call(proposal(sequence), timeout: .seconds(60)) { result in
                answers.withLockedValue { $0[sequence] = (try? result.get())?.errorCode }
            }
        }
        try await eventually("all proposals arrive") { waiting.withLockedValue { $0.count } == 100 }
        for reply in waiting.withLockedValue({ $0 }).reversed() { reply(PeerResponse()) }
        try await eventually("all answers arrive") { answers.withLockedValue { $0.count } == 100 }
        #expect(answers.withLockedValue { answers in (1...100).allSatisfy { answers[$0] == UInt32($0) } })
        #expect(server.handler.seen.proposals == 100)
        #expect(server.handler.seen.requests == 0)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aProposalThatTheShortWayDeclinesIsHandledLikeAnyRequest() async throws {
        let cluster = try TestCluster()
        let handler = Recorder(proposals: { _, _ in false }, answer: { _, _ in .failure(307, "elsewhere") })
        let server = try await TestServer(cluster, handler: handler)
        let client = try TestClient(cluster)
        let response = try await client.pool.connection(to: server.address).call(proposal(1), timeout: .seconds(30))
        #expect(response.errorCode == 307)
        #expect(server.handler.seen.requests == 1)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aCallWithoutAnAnswerEndsAtItsDeadlineAndFreesTheOtherSide() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        #expect(await callFailure(connection, timeout: .milliseconds(50)) == .timedOut(sent: true))
        try await eventually("the handler is cancelled") { server.handler.seen.cancelled == 1 }
        // The connection is as good as before.
        #expect(connection.remote != nil)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aCancelledTaskFreesTheOtherSide() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let task = Task { await callFailure(connection, timeout: .seconds(600)) }
        try await eventually("the request arrives") { server.handler.seen.requests == 1 }
        task.cancel()
        #expect(await task.value == .cancelled(sent: true))
        try await eventually("the handler is cancelled") { server.handler.seen.cancelled == 1 }
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aCallInAnAlreadyCancelledTaskEndsAtOnce() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let task = Task {
            // Ends at the cancellation, or the test fails in time.
            try? await Task.sleep(nanoseconds: 60_000_000_000)
            return await callFailure(connection, timeout: .seconds(600))
        }
        task.cancel()
        guard case .cancelled = await task.value else {
            Issue.record("not cancelled")
            return
        }
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aRequestTellsTheHandlerHowLongItsSenderWaits() async throws {
        let cluster = try TestCluster()
        let handler = Recorder(answer: { request, _ in .failure(request.timeoutMs, "timeout") })
        let server = try await TestServer(cluster, handler: handler)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        #expect(try await connection.call(httpRequest(), timeout: .seconds(30)).errorCode == 30_000)
        var own = httpRequest()
        own.timeoutMs = 7
        #expect(try await connection.call(own, timeout: .seconds(30)).errorCode == 7)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func moreCallsThanTheBoundAreRefusedUnsent() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.callsMax = 3
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation))
        let client = try TestClient(cluster, settings: settings)
        let connection = try client.pool.connection(to: server.address)
        for _ in 0..<3 { connection.call(httpRequest(), timeout: .seconds(600)) { _ in } }
        let error = try #require(await callFailure(connection))
        #expect(error == .overloaded("3 calls wait for an answer"))
        #expect(error.surelyNotSent)
        client.pool.shutdown()
        await server.stop()
    }

    /// A leader may lose a proposal without an answer: its place must come free when the requester gives up.
    @Test func aProposalThatIsNeverAnsweredFreesItsPlace() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.inboundCallsMax = 1
        let handler = Recorder(proposals: { envelope, reply in
            if envelope.sequence == 2 { reply(.failure(299, "done")) }
            return true
        })
        let server = try await TestServer(cluster, handler: handler, settings: settings)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        try await eventually("connected") { connection.remote != nil }
        #expect(await callFailure(connection, proposal(1), timeout: .milliseconds(50)) == .timedOut(sent: true))
        #expect(try await connection.call(proposal(2), timeout: .seconds(30)).errorCode == 299)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aServerAnswersCallsBeyondItsBoundWith429() async throws {
        let cluster = try TestCluster()
        var settings = patient
        settings.inboundCallsMax = 2
        let server = try await TestServer(cluster, handler: Recorder(answer: waitForCancellation), settings: settings)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        for _ in 0..<2 { connection.call(httpRequest(), timeout: .seconds(600)) { _ in } }
        let response = try await connection.call(httpRequest(), timeout: .seconds(30))
        #expect(response.errorCode == 429)
        #expect(response.notProposed)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func largeRequestsAndAnswersGoThrough() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let body = (0..<(12 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let response = try await connection.call(httpRequest(body), timeout: .seconds(120))
        #expect(response.http.body == Data(body))
        client.pool.shutdown()
        await server.stop()
    }

    @Test func aRequestThatNoFrameCanCarryIsRefusedUnsent() async throws {
        let cluster = try TestCluster()
        let server = try await TestServer(cluster)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let error = try #require(await callFailure(connection, httpRequest([UInt8](repeating: 7, count: 16 << 20))))
        guard case .requestTooLarge = error else {
            Issue.record("\(error)")
            return
        }
        #expect(error.surelyNotSent)
        client.pool.shutdown()
        await server.stop()
    }

    @Test func anAnswerThatNoFrameCanCarryBecomesAnError() async throws {
        let cluster = try TestCluster()
        let handler = Recorder(answer: { _, _ in
            var response = PeerResponse()
            response.http.body = Data(repeating: 1, count: 17 << 20)
            return response
        })
        let server = try await TestServer(cluster, handler: handler)
        let client = try TestClient(cluster)
        let connection = try client.pool.connection(to: server.address)
        let response = try await connection.call(httpRequest(), timeout: .seconds(60))
        #expect(response.errorCode == 500)
        #expect(response.error.contains("larger than"))
        client.pool.shutdown()
        await server.stop()
    }
}
