import NIOCore
import NIOPosix
import Units

/// Sends an empty datagram from a connected socket, which hears of ICMP's refusals, and listens for the timeout.
struct UDPProber: Prober {
    private let target: UDPProbe
    private let plan: CheckPlan
    private let group: any EventLoopGroup

    init(probe: UDPProbe, plan: CheckPlan, group: any EventLoopGroup) {
        self.target = probe
        self.plan = plan
        self.group = group
    }

    func probe() async -> ProbeResult {
        do {
            try await withProbeDeadline(self.plan.timeout) { try await self.ask() }
        } catch is ProbeTimedOut {
            // Nobody refused it.
        } catch {
            let reason: String
            if let error = error as? IOError {
                reason = "read udp \(self.target.address.text): read: \(ConnectFailure.text(of: error))"
            } else {
                reason = "dial udp \(self.target.address.text): \(ConnectFailure.reason(error))"
            }
            return ProbeResult(status: .critical, output: reason)
        }
        return ProbeResult(status: .passing, output: "UDP connect \(self.target.address.text): Success")
    }

    private func ask() async throws {
        let loop = self.group.next()
        let answered = loop.makePromise(of: Void.self)
        do {
            let channel = try await DatagramBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(AnswerWaiter(promise: answered))
                    }
                }
                .connect(host: self.target.address.host, port: self.target.address.port).get()
            try await closing(channel) {
                try await channel.writeAndFlush(ByteBuffer())
                try await answered.futureResult.get()
            }
        } catch {
            answered.fail(error)
            throw error
        }
    }
}

/// Tells a promise of the first datagram, or of what came in its place.
private final class AnswerWaiter: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let promise: EventLoopPromise<Void>

    init(promise: EventLoopPromise<Void>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.promise.succeed() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.promise.fail(error) }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}
