import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import Protocol
import SwiftProtobuf
import Units

/// Asks gRPC's health service, over a connection of its own each time.
struct GRPCProber: Prober {
    private let target: GRPCProbe
    private let plan: CheckPlan
    private let group: any EventLoopGroup

    private static let check = MethodDescriptor(fullyQualifiedService: "grpc.health.v1.Health", method: "Check")

    init(probe: GRPCProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.group = group
    }

    func probe() async -> ProbeResult {
        do {
            let status = try await withProbeDeadline(self.plan.timeout) { try await self.ask() }
            if status == .serving {
                return ProbeResult(status: .passing, output: "gRPC check \(self.target.target): success")
            }
            let name = GRPCProber.name(of: status)
            return ProbeResult(status: .critical, output: "gRPC \(self.target.target) serving status: \(name)")
        } catch {
            return ProbeResult(status: .critical, output: GRPCProber.reason(error))
        }
    }

    private func ask() async throws -> GRPCHealthCheckResponse.ServingStatus {
        var request = GRPCHealthCheckRequest()
        request.service = self.target.service
        var options = CallOptions.defaults
        options.waitForReady = false
        // Tells the server; this side watches the time itself.
        options.timeout = .nanoseconds(Int64(clamping: self.plan.timeout.rawValue))
        let message = ClientRequest(message: request)
        let response = try await withGRPCClient(transport: try self.transport()) { client in
            try await client.unary(
                request: message, descriptor: GRPCProber.check, serializer: MessageWriter<GRPCHealthCheckRequest>(),
                deserializer: MessageReader<GRPCHealthCheckResponse>(), options: options
            ) { try $0.message }
        }
        return response.status
    }

    private func transport() throws -> HTTP2ClientTransport.Posix {
        let security: HTTP2ClientTransport.Posix.TransportSecurity
        var configuration = HTTP2ClientTransport.Posix.Config.defaults
        if let tls = self.target.tls {
            configuration.http2.authority = tls.serverName
            security = .tls(.defaults { if tls.skipVerify { $0.serverCertificateVerification = .noVerification } })
        } else {
            security = .plaintext
        }
        return try HTTP2ClientTransport.Posix(
            target: self.address, transportSecurity: security, config: configuration, eventLoopGroup: self.group)
    }

    private var address: any ResolvableTarget {
        let (host, port) = (self.target.address.host, self.target.address.port)
        switch try? NIOCore.SocketAddress(ipAddress: host, port: port) {
        case .v4: return .ipv4(address: host, port: port)
        case .v6: return .ipv6(address: host, port: port)
        case .unixDomainSocket, nil: return .dns(host: host, port: port)
        }
    }

    private static func name(of status: GRPCHealthCheckResponse.ServingStatus) -> String {
        switch status {
        case .unknown: "UNKNOWN"
        case .serving: "SERVING"
        case .notServing: "NOT_SERVING"
        case .serviceUnknown: "SERVICE_UNKNOWN"
        case .UNRECOGNIZED(let number): "\(number)"
        }
    }

    private static let late = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"

    /// As Go's client says it.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case is ProbeTimedOut: return self.late
        case let error as RPCError where error.code == .deadlineExceeded: return self.late
        case let error as RPCError:
            let cause = error.cause.map { ": \(ConnectFailure.reason($0))" } ?? ""
            return "rpc error: code = \(self.name(of: error.code)) desc = \(error.message)\(cause)"
        default: return "rpc error: code = Unavailable desc = \(ConnectFailure.reason(error))"
        }
    }

    private static func name(of code: RPCError.Code) -> String {
        switch code {
        case .cancelled: "Canceled"
        case .unknown: "Unknown"
        case .invalidArgument: "InvalidArgument"
        case .deadlineExceeded: "DeadlineExceeded"
        case .notFound: "NotFound"
        case .alreadyExists: "AlreadyExists"
        case .permissionDenied: "PermissionDenied"
        case .resourceExhausted: "ResourceExhausted"
        case .failedPrecondition: "FailedPrecondition"
        case .aborted: "Aborted"
        case .outOfRange: "OutOfRange"
        case .unimplemented: "Unimplemented"
        case .internalError: "Internal"
        case .unavailable: "Unavailable"
        case .dataLoss: "DataLoss"
        case .unauthenticated: "Unauthenticated"
        default: "Code(\(code.rawValue))"
        }
    }
}

/// A protobuf message as gRPC carries it.
private struct MessageWriter<Message: SwiftProtobuf.Message>: MessageSerializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: Message) throws -> Bytes {
        let bytes: [UInt8] = try message.serializedBytes()
        return Bytes(bytes)
    }
}

private struct MessageReader<Message: SwiftProtobuf.Message>: MessageDeserializer {
    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Message {
        try Message(serializedBytes: bytes.withUnsafeBytes { Array($0) })
    }
}
