import NIOCore
import NIOPosix
import Units

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Makes a connection and closes it again. A name with addresses of both families gets both tried.
struct TCPProber: Prober {
    private let target: TCPProbe
    private let plan: CheckPlan
    private let group: any EventLoopGroup
    /// Nil without TLS.
    private let tls: Result<ProbeTLS.Client, any Error>?

    init(probe: TCPProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.group = group
        self.tls = probe.tls.map { tls in Result { try tls.client(host: probe.address.host) } }
    }

    func probe() async -> ProbeResult {
        do {
            try await withProbeDeadline(self.plan.timeout) { try await self.connect() }
            let title = self.tls == nil ? "TCP" : "TCP+TLS"
            return ProbeResult(status: .passing, output: "\(title) connect \(self.target.target): Success")
        } catch {
            let reason = ConnectFailure.reason(error)
            return ProbeResult(status: .critical, output: "dial tcp \(self.target.target): \(reason)")
        }
    }

    private func connect() async throws {
        let client = try self.tls?.get()
        let loop = self.group.next()
        let secured = loop.makePromise(of: Void.self)
        do {
            let channel = try await ClientBootstrap(group: loop)
                .connectTimeout(self.plan.timeout.timeAmount)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try client?.secure(channel, promise: secured) }
                }
                .connect(host: self.target.address.host, port: self.target.address.port).get()
            if client == nil { secured.succeed() }
            try await closing(channel) { try await secured.futureResult.get() }
        } catch {
            secured.fail(error)
            throw error
        }
    }
}

/// Runs `body` and closes the channel after it, or as soon as the task is cancelled.
func closing<Value: Sendable>(
    _ channel: any Channel, _ body: @Sendable () async throws -> Value
) async throws -> Value {
    do {
        let value = try await withTaskCancellationHandler {
            try await body()
        } onCancel: {
            channel.close(promise: nil)
        }
        // Whoever closed first, it is closed.
        try? await channel.close()
        return value
    } catch {
        try? await channel.close()
        throw error
    }
}

/// Why a connection was not made, as Go's dialer says it: scripts look for these words.
enum ConnectFailure {
    static func reason(_ error: any Error) -> String {
        switch error {
        case is ProbeTimedOut: return "i/o timeout"
        case let error as NIOConnectionError:
            if let single = error.connectionErrors.first { return reason(single.error) }
            if error.dnsAError != nil || error.dnsAAAAError != nil { return "lookup \(error.host): no such host" }
            return "no address to connect to"
        case let error as IOError: return "connect: \(text(of: error))"
        case let error as ChannelError:
            if case .connectTimeout = error { return "i/o timeout" }
            return "\(error)"
        default: return "\(error)"
        }
    }

    static func text(of error: IOError) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "connection refused"
        case EHOSTUNREACH: "no route to host"
        case ENETUNREACH: "network is unreachable"
        case ECONNRESET: "connection reset by peer"
        case ETIMEDOUT: "connection timed out"
        default: error.description
        }
    }
}
