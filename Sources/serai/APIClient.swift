import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import Units

enum HTTPVerb: String {
    case GET
    case PUT
    case POST
    case DELETE
}

struct APIResponse: Sendable {
    var status: Int
    var headers: [String: String]
    var body: [UInt8]

    var text: String { String(decoding: self.body, as: UTF8.self) }

    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(self.body))
        } catch {
            throw CommandFailure("Error reading the agent's answer: \(error)")
        }
    }
}

/// An agent's HTTP API, as the command line uses it: one request at a time.
struct APIClient: Sendable {
    /// Scheme and authority, without a path.
    var base: String
    var token: String?
    /// `user:password` of HTTP's basic authentication.
    var credentials: String?
    var datacenter: String?
    var stale: Bool
    var tls: TLSFiles

    /// A list of everything may be large; what a person gets on a screen is not larger than this.
    private static let bodyMax = 1 << 30
    private static let shared = Mutex<HTTPClient?>(nil)

    /// Sends a request and returns its answer, whatever its status.
    /// - Parameter timeout: for the whole answer.
    func send(
        _ method: HTTPVerb, _ path: String, query: [(String, String?)] = [], body: [UInt8]? = nil,
        timeout: TimeAmount = .seconds(60)
    ) async throws -> APIResponse {
        let end = ContinuousClock.now + .nanoseconds(timeout.nanoseconds)
        let response = try await self.open(
            method, path, query: query, body: body.map(ByteBuffer.init(bytes:)), timeout: timeout)
        do {
            let collected = try await Self.collect(response.body, until: end)
            return APIResponse(
                status: Int(response.status.code), headers: Self.headers(response),
                body: Array(collected.readableBytesView))
        } catch {
            throw self.failure(method, path, error)
        }
    }

    /// The client's own timeout ends with the answer's head.
    private static func collect(
        _ body: HTTPClientResponse.Body, until end: ContinuousClock.Instant
    ) async throws -> ByteBuffer {
        try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask { try await body.collect(upTo: self.bodyMax) }
            group.addTask {
                try await Task.sleep(until: end, clock: .continuous)
                throw HTTPClientError.deadlineExceeded
            }
            defer { group.cancelAll() }
            guard let collected = try await group.next() else { throw HTTPClientError.cancelled }
            return collected
        }
    }

    /// Sends a request whose answer must be 200, and throws `Unexpected response code: …` otherwise; 404 too.
    func demand(
        _ method: HTTPVerb, _ path: String, query: [(String, String?)] = [], body: [UInt8]? = nil,
        failing prefix: String
    ) async throws -> APIResponse {
        let response = try await self.send(method, path, query: query, body: body)
        guard response.status == 200 else {
            throw CommandFailure(
                "\(prefix): Unexpected response code: \(response.status) (\(Self.trimmed(response.text)))")
        }
        return response
    }

    static func trimmed(_ text: String) -> String { text.trimmingCharacters(in: .whitespacesAndNewlines) }

    /// Opens a request whose answer is read piece by piece.
    func open(
        _ method: HTTPVerb, _ path: String, query: [(String, String?)], body: ByteBuffer?, timeout: TimeAmount
    ) async throws -> HTTPClientResponse {
        var parameters = query
        if let datacenter { parameters.append(("dc", datacenter)) }
        if self.stale, method == .GET { parameters.append(("stale", nil)) }
        let text = parameters.map { name, value in
            value.map { name + "=" + PercentEncoding.of($0) } ?? name
        }.joined(separator: "&")
        var request = HTTPClientRequest(url: self.requestBase + path + (text.isEmpty ? "" : "?" + text))
        request.method = HTTPMethod(rawValue: method.rawValue)
        if let token { request.headers.add(name: "X-Consul-Token", value: token) }
        if let credentials {
            request.headers.add(
                name: "Authorization", value: "Basic " + Data(credentials.utf8).base64EncodedString())
        }
        if let body { request.body = .bytes(body) }
        let http = try self.http()
        do {
            return try await http.execute(request, timeout: timeout)
        } catch {
            throw self.failure(method, path, error)
        }
    }

    /// With -tls-server-name the agent is asked for by that name, which then leads to the address that was given.
    private var requestBase: String {
        guard let name = self.tls.serverName, let host = self.secureHost else { return self.base }
        return "https://" + name + self.base.dropFirst("https://".count + host.count)
    }

    /// The host of an https address, as it was written.
    private var secureHost: Substring? {
        guard self.base.hasPrefix("https://") else { return nil }
        let authority = self.base.dropFirst("https://".count)
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") { return authority[...end] }
        return authority.prefix { $0 != ":" && $0 != "/" }
    }

    private func http() throws -> HTTPClient {
        try Self.shared.withLock { client in
            if let client { return client }
            var settings = HTTPClient.Configuration(redirectConfiguration: .disallow)
            // A person waits: a refused connection is an answer, not something to try again for a minute.
            settings.connectionPool.retryConnectionEstablishment = false
            settings.timeout.connect = .seconds(5)
            if let host = self.secureHost {
                settings.tlsConfiguration = try self.tls.configuration()
                if let name = self.tls.serverName {
                    settings.dnsOverride = [name: host.trimmingCharacters(in: ["[", "]"])]
                }
            }
            let made = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
            client = made
            return made
        }
    }

    static func shutdown() async {
        let client = shared.withLock { client in
            defer { client = nil }
            return client
        }
        try? await client?.shutdown()
    }

    private static func headers(_ response: HTTPClientResponse) -> [String: String] {
        Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first }
    }

    private func failure(_ method: HTTPVerb, _ path: String, _ error: any Error) -> CommandFailure {
        CommandFailure("Error querying agent: \(method.rawValue) \(self.base)\(path): \(Self.reason(error))")
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let connection as NIOConnectionError:
            return connection.connectionErrors.first.map { reason($0.error) } ?? "no such host \(connection.host)"
        case let io as IOError:
            return String(cString: strerror(io.errnoCode)).lowercased()
        case let client as HTTPClientError where [.connectTimeout, .deadlineExceeded, .readTimeout].contains(client):
            return "timed out"
        case let client as HTTPClientError where client == .remoteConnectionClosed:
            return "the agent closed the connection"
        default:
            return "\(error)"
        }
    }
}
