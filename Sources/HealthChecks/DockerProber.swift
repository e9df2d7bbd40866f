import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Runs a program in a container (Docker Engine API: exec create, start, inspect). Its exit code is the result.
struct DockerProber: Prober {
    private let target: DockerProbe
    private let plan: CheckPlan
    private let client: HTTPClient
    /// `http://…` up to the path; nil when the engine's address is neither a socket nor TCP.
    private let base: String?

    private struct Refused: Error {
        var text: String
    }

    private struct Creation: Encodable {
        var attachStdin = false
        var attachStdout = true
        var attachStderr = true
        var tty = false
        var command: [String]
        enum CodingKeys: String, CodingKey {
            case attachStdin = "AttachStdin"
            case attachStdout = "AttachStdout"
            case attachStderr = "AttachStderr"
            case tty = "Tty"
            case command = "Cmd"
        }
    }

    /// `Tty` here has the engine send the output as it comes, without its frames around each piece.
    private struct Start: Encodable {
        var detach = false
        var tty = true
        enum CodingKeys: String, CodingKey {
            case detach = "Detach"
            case tty = "Tty"
        }
    }

    private struct Created: Decodable {
        var id: String
        enum CodingKeys: String, CodingKey { case id = "Id" }
    }

    private struct Ended: Decodable {
        var code: Int32?
        enum CodingKeys: String, CodingKey { case code = "ExitCode" }
    }

    init(probe: DockerProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.base = DockerProber.base(of: probe.engine)
        var configuration = HTTPClient.Configuration()
        configuration.timeout = HTTPClient.Configuration.Timeout(
            connect: plan.timeout.timeAmount, read: plan.timeout.timeAmount)
        configuration.httpVersion = .http1Only
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.retryConnectionEstablishment = false
        self.client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    func close() async {
        // Fails only when it was shut down before; there is nothing to do then.
        try? await self.client.shutdown()
    }

    func probe() async -> ProbeResult {
        do {
            return try await withProbeDeadline(self.plan.timeout) { try await self.run() }
        } catch is ProbeTimedOut {
            return ProbeResult(status: .critical, output: ScriptProber.timedOut(self.plan))
        } catch let error as Refused {
            return ProbeResult(status: .critical, output: error.text)
        } catch {
            return ProbeResult(status: .critical, output: HTTPProber.reason(error))
        }
    }

    private func run() async throws -> ProbeResult {
        let id = try await self.create()
        let output = try await self.start(id)
        let code = try await self.inspect(id)
        return ProbeResult(status: HealthStatus(exitCode: code), output: output.noted)
    }

    // MARK: - the engine's calls

    private func create() async throws -> String {
        let container = self.target.container
        let title = "create exec failed for container \(container)"
        let path = "/containers/\(PercentEncoding.of(container))/exec"
        let (status, body) = try await self.call(.POST, path, Creation(command: self.target.arguments), title)
        switch status {
        case 201:
            guard let created = try? JSONDecoder().decode(Created.self, from: Data(body)) else {
                throw Refused(text: "create exec response for container \(container) cannot be parsed")
            }
            return created.id
        case 404: throw Refused(text: "create exec failed for unknown container \(container)")
        case 409: throw Refused(text: "create exec failed since container \(container) is paused or stopped")
        default: throw Refused(text: "\(title) with status \(status): \(String(decoding: body, as: UTF8.self))")
        }
    }

    private func start(_ id: String) async throws -> OutputTail {
        let container = self.target.container
        let title = "start exec failed for container \(container)"
        let request = try self.request(.POST, "/exec/\(PercentEncoding.of(id))/start", Start())
        let response = try await self.execute(request, title)
        var tail = OutputTail(limit: self.plan.outputLimit)
        do {
            for try await buffer in response.body { tail.append(buffer.readableBytesView) }
        } catch  where response.status == .ok && DockerProber.isReset(error) {
            // Engines close some of these connections so.
        }
        switch response.status.code {
        case 200: return tail
        case 404: throw Refused(text: "\(title): invalid exec id \(id)")
        case 409: throw Refused(text: "start exec failed since container \(container) is paused or stopped")
        default: throw Refused(text: "\(title) with status \(response.status.code): body: \(tail.text)")
        }
    }

    private func inspect(_ id: String) async throws -> Int32 {
        let title = "inspect exec failed for container \(self.target.container)"
        let path = "/exec/\(PercentEncoding.of(id))/json"
        let (status, body) = try await self.call(.GET, path, Start?.none, title)
        switch status {
        case 200:
            guard let ended = try? JSONDecoder().decode(Ended.self, from: Data(body)), let code = ended.code else {
                throw Refused(text: "inspect exec response for container \(self.target.container) cannot be parsed")
            }
            return code
        case 404: throw Refused(text: "\(title): invalid exec id \(id)")
        default: throw Refused(text: "\(title) with status \(status): \(String(decoding: body, as: UTF8.self))")
        }
    }

    // MARK: - requests

    /// Answers of more than 64 KiB are refused: these are small.
    private func call(
        _ method: HTTPMethod, _ path: String, _ body: (some Encodable)?, _ title: String
    ) async throws -> (status: UInt, body: [UInt8]) {
        let response = try await self.execute(try self.request(method, path, body), title)
        var bytes: [UInt8] = []
        for try await buffer in response.body {
            bytes.append(contentsOf: buffer.readableBytesView)
            if bytes.count > 65_536 { throw Refused(text: "\(title): the engine's answer is too long") }
        }
        return (response.status.code, bytes)
    }

    private func execute(_ request: HTTPClientRequest, _ title: String) async throws -> HTTPClientResponse {
        do {
            return try await self.client.execute(request, timeout: self.plan.timeout.timeAmount)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Refused(text: "\(title): \(self.target.engine): \(HTTPProber.reason(error))")
        }
    }

    private func request(_ method: HTTPMethod, _ path: String, _ body: (some Encodable)?) throws -> HTTPClientRequest {
        guard let base = self.base else {
            throw Refused(text: "unable to parse docker host `\(self.target.engine)`")
        }
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        request.headers.add(name: "Host", value: "docker")
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(Array(try JSONEncoder().encode(body)))
        }
        return request
    }

    private static func isReset(_ error: any Error) -> Bool {
        (error as? HTTPClientError) == .remoteConnectionClosed || error is IOError
    }

    private static func base(of engine: String) -> String? {
        if let path = engine.rest(ofScheme: "unix") {
            return path.isEmpty ? nil : "http+unix://" + PercentEncoding.of(String(path))
        }
        guard let rest = engine.rest(ofScheme: "tcp") ?? engine.rest(ofScheme: "http"), !rest.isEmpty else {
            return nil
        }
        return "http://" + (rest.hasSuffix("/") ? rest.dropLast() : rest)
    }
}

extension String {
    /// What follows `scheme://`; nil for another scheme.
    fileprivate func rest(ofScheme scheme: String) -> Substring? {
        self.hasPrefix(scheme + "://") ? self.dropFirst(scheme.count + 3) : nil
    }
}
