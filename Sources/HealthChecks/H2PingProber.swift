import NIOCore
import NIOHTTP2
import NIOPosix
import Synchronization
import Units

/// Opens an HTTP/2 connection, sends a PING (RFC 9113 §6.7) and waits for its acknowledgement.
struct H2PingProber: Prober {
    private let target: H2PingProbe
    private let plan: CheckPlan
    private let group: any EventLoopGroup
    /// Nil without TLS.
    private let tls: Result<ProbeTLS.Client, any Error>?

    init(probe: H2PingProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.group = group
        self.tls = probe.tls.map { tls in Result { try tls.client(host: probe.address.host, protocols: ["h2"]) } }
    }

    func probe() async -> ProbeResult {
        let connecting = "Failed to dial to \(self.target.address.text): "
        let connected = Flag()
        do {
            return try await withProbeDeadline(self.plan.timeout) {
                let secured = self.group.next().makePromise(of: Void.self)
                let acknowledged = self.group.next().makePromise(of: Void.self)
                do {
                    let channel = try await self.connect(secured, acknowledged)
                    return try await closing(channel) { await self.ping(secured, acknowledged, connected, connecting) }
                } catch {
                    secured.fail(error)
                    acknowledged.fail(error)
                    throw error
                }
            }
        } catch is ProbeTimedOut where connected.isSet.load(ordering: .relaxed) {
            return ProbeResult(status: .critical, output: "HTTP2 ping failed: context deadline exceeded")
        } catch {
            return ProbeResult(status: .critical, output: connecting + ConnectFailure.reason(error))
        }
    }

    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    private func connect(
        _ secured: EventLoopPromise<Void>, _ acknowledged: EventLoopPromise<Void>
    ) async throws -> any Channel {
        let client = try self.tls?.get()
        let channel = try await ClientBootstrap(group: self.group)
            .connectTimeout(self.plan.timeout.timeAmount)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try client?.secure(channel, promise: secured)
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOHTTP2Handler(mode: .client))
                    try pipeline.addHandler(PingSender(promise: acknowledged))
                }
            }
            .connect(host: self.target.address.host, port: self.target.address.port).get()
        if client == nil { secured.succeed() }
        return channel
    }

    private func ping(
        _ secured: EventLoopPromise<Void>, _ acknowledged: EventLoopPromise<Void>, _ connected: Flag,
        _ connecting: String
    ) async -> ProbeResult {
        do {
            try await secured.futureResult.get()
        } catch {
            // The handshake's failure is the ping's, too; somebody must take it.
            acknowledged.fail(error)
            return ProbeResult(status: .critical, output: connecting + ConnectFailure.reason(error))
        }
        connected.isSet.store(true, ordering: .relaxed)
        do {
            try await acknowledged.futureResult.get()
            return ProbeResult(status: .passing, output: "HTTP2 ping was successful")
        } catch {
            return ProbeResult(status: .critical, output: "HTTP2 ping failed: \(ConnectFailure.reason(error))")
        }
    }
}

/// Sends one ping as soon as the connection stands.
private final class PingSender: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame
    private static let data = HTTP2PingData(withInteger: 0x5365_7261_6950_696E)
    private let promise: EventLoopPromise<Void>

    init(promise: EventLoopPromise<Void>) { self.promise = promise }

    func channelActive(context: ChannelHandlerContext) {
        let frame = HTTP2Frame(streamID: .rootStream, payload: .ping(PingSender.data, ack: false))
        context.writeAndFlush(self.wrapOutboundOut(frame), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .ping(let data, ack: true) = self.unwrapInboundIn(data).payload, data.integer == PingSender.data.integer
        {
            self.promise.succeed()
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}
