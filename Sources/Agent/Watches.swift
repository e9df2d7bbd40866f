import AsyncHTTPClient
import HTTPAPI
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import Protocol
import Synchronization
import Units

/// The watches of the configuration, each a task of its own that asks this agent.
final class Watches: Sendable {
    private let http: HTTPAPI
    private let logger: Logger
    private let running = Mutex<[(definition: WatchDefinition, task: Task<Void, Never>)]>([])

    init(http: HTTPAPI, logger: Logger) {
        self.http = http
        self.logger = logger
    }

    /// Starts what is new and ends what is gone; a watch that stays keeps what it has seen, and its handler is not run
    /// again for it.
    func set(_ wanted: [WatchDefinition]) {
        self.running.withLock { running in
            var before = running
            running = wanted.map { definition in
                if let place = before.firstIndex(where: { $0.definition == definition }) {
                    return before.remove(at: place)
                }
                return (definition, Task { await self.loop(definition).run() })
            }
            for gone in before { gone.task.cancel() }
        }
    }

    /// Ends all of them, and what their handlers run.
    func stop() async {
        let all = self.running.withLock { running in
            defer { running = [] }
            return running
        }
        for watch in all { watch.task.cancel() }
        for watch in all { await watch.task.value }
    }

    private func loop(_ definition: WatchDefinition) -> WatchLoop {
        let http = self.http
        let logger = self.logger
        let title = definition.title
        return WatchLoop(
            definition,
            ask: { target in
                var request = PeerHTTPRequest()
                request.method = "GET"
                request.target = target
                if !definition.token.isEmpty {
                    var header = PeerHeader()
                    header.name = "X-Consul-Token"
                    header.value = definition.token
                    request.headers = [header]
                }
                let answer = await http.respond(to: request)
                let index = answer.headers.first { $0.name.lowercased() == "x-consul-index" }?.value
                return WatchAnswer(
                    status: Int(answer.status), index: index.flatMap { UInt64($0) } ?? 0, body: [UInt8](answer.body))
            },
            handle: { index, json in
                await Self.handle(definition, index, json, logger)
                return true
            },
            complain: { reason, retry in
                logger.error(
                    "a watch failed",
                    metadata: ["watch": "\(title)", "error": "\(reason)", "retry": "\(GoDuration.format(retry))"])
                return true
            })
    }

    private static func handle(
        _ definition: WatchDefinition, _ index: UInt64, _ json: [UInt8], _ logger: Logger
    ) async {
        do {
            switch definition.handler {
            case .none:
                break
            case .script(let words):
                let result = try await WatchScript(words).run(index: index, json: json)
                if let failure = result.failure { throw WatchFailure("\(words[0]): \(failure): \(result.output)") }
                logger.debug(
                    "a watch's handler was run",
                    metadata: ["watch": "\(definition.title)", "output": "\(result.output)"])
            case .http(let handler):
                try await self.send(handler, index, json)
                logger.debug("a watch's handler was called", metadata: ["watch": "\(definition.title)"])
            }
        } catch {
            if Task.isCancelled { return }
            logger.error(
                "a watch's handler failed", metadata: ["watch": "\(definition.title)", "error": "\(error)"])
        }
    }

    private static func send(_ handler: WatchDefinition.HTTPHandler, _ index: UInt64, _ json: [UInt8]) async throws {
        var request = HTTPClientRequest(url: handler.path)
        request.method = HTTPMethod(rawValue: handler.method)
        request.headers.add(name: "Content-Type", value: "application/json")
        for (name, values) in handler.header.sorted(by: { $0.key < $1.key }) {
            request.headers.remove(name: name)
            for value in values { request.headers.add(name: name, value: value) }
        }
        request.headers.replaceOrAdd(name: "X-Consul-Index", value: "\(index)")
        request.body = .bytes(json + [UInt8(ascii: "\n")])
        var settings = HTTPClient.Configuration()
        if handler.skipVerify {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.certificateVerification = .none
            settings.tlsConfiguration = tls
        }
        // Made for one request: changes are rare, and a connection kept for hours would be dead by then.
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
        do {
            try await self.exchange(request, client, within: handler.timeout)
        } catch {
            try? await client.shutdown()
            throw error
        }
        try await client.shutdown()
    }

    /// - Parameter time: for the whole answer; the client's own timeout ends with the answer's head.
    private static func exchange(
        _ request: HTTPClientRequest, _ client: HTTPClient, within time: Nanoseconds
    ) async throws {
        let time = Int64(clamping: time.rawValue)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                let answer = try await client.execute(request, timeout: .nanoseconds(time))
                let beginning = try await self.beginning(of: answer.body)
                guard (200..<300).contains(Int(answer.status.code)) else {
                    throw WatchFailure("it was answered \(answer.status.code): \(beginning)")
                }
            }
            group.addTask {
                try await Task.sleep(for: .nanoseconds(time))
                throw HTTPClientError.deadlineExceeded
            }
            try await group.next()
        }
    }

    /// Reads all of it, and keeps what an error shows.
    private static func beginning(of body: HTTPClientResponse.Body) async throws -> String {
        var kept: [UInt8] = []
        for try await piece in body where kept.count < 512 { kept += piece.readableBytesView.prefix(512 - kept.count) }
        return String(decoding: kept, as: UTF8.self)
    }
}
