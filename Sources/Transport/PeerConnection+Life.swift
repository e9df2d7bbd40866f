import Certificates
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Protocol
import Raft
import Units

/// Connecting, greeting, losing, trying again. Everything here but `close` runs on the connection's event loop.
extension PeerConnection {
    func start() { self.eventLoop.execute { self.connect() } }

    /// Ends the connection for good; calls that wait fail with `.shutDown` or, when they were sent, `.connectionLost`.
    func close() {
        let (calls, channel) = self.state.withLockedValue { state in
            state.phase = .closed
            state.raft.removeAll()
            defer { state.channel = nil }
            return (state.calls.removeAll(), state.channel)
        }
        channel?.close(promise: nil)
        for call in calls {
            call.completion(
                .failure(call.isSent ? .connectionLost(reason: "closed by this side", sent: true) : .shutDown))
        }
    }

    // MARK: An attempt

    private func connect() {
        let begun = self.state.withLockedValue { state -> UInt64? in
            guard case .away = state.phase, state.isAttemptOver else { return nil }
            state.attempt += 1
            state.isAttemptOver = false
            state.channel = nil
            return state.attempt
        }
        guard let attempt = begun else { return }
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(self.surroundings.settings.connectTimeout.timeAmount)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.writeBufferWaterMark, value: .peer)
            .channelInitializer { self.prepare($0, attempt) }
        let connected =
            self.peerAddress.socketAddress.map { bootstrap.connect(to: $0) }
            ?? bootstrap.connect(host: self.peerAddress.host, port: self.peerAddress.port)
        connected.hop(to: self.eventLoop).whenComplete { result in
            switch result {
            case .success(let channel): self.connected(attempt, channel)
            case .failure(let error):
                self.attemptFailed(attempt, nil, .unreachable(address: self.address, reason: "\(error)"))
            }
        }
    }

    private func prepare(_ channel: any Channel, _ attempt: UInt64) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let peer = VerifiedPeer()
            let security = self.surroundings.security
            let tls = try NIOSSLClientHandler(
                context: security.contexts.client, serverHostname: nil,
                customVerificationCallback: security.verification(into: peer))
            try channel.pipeline.syncOperations.addHandlers(
                tls, InitiatorHandler(self, attempt: attempt, verified: peer))
        }
    }

    private func connected(_ attempt: UInt64, _ channel: any Channel) {
        let isWanted = self.state.withLockedValue { state in
            switch state.phase {
            case .closed: return false
            case .ready: return state.channel === channel
            case .away:
                guard state.attempt == attempt, !state.isAttemptOver else { return false }
                state.channel = channel
                return true
            }
        }
        if !isWanted { channel.close(promise: nil) }
    }

    /// TLS and greeting are done. False when the connection was closed meanwhile.
    func greeted(
        _ attempt: UInt64, _ channel: any Channel, _ handler: InitiatorHandler, _ peer: RemotePeer
    ) -> Bool {
        let bound = NIOLoopBound(handler, eventLoop: self.eventLoop)
        let isWanted = self.state.withLockedValue { state in
            guard Self.isCurrent(attempt, channel, state) else { return false }
            state.isAttemptOver = true
            state.channel = channel
            state.phase = .ready(bound, peer)
            state.failures = 0
            // The handler drains right after this.
            state.drainIsScheduled = true
            return true
        }
        guard isWanted else { return false }
        self.surroundings.logger.info(
            "connected", metadata: ["address": "\(self.address)", "peer": "\(peer.identity)"])
        self.surroundings.events(.up(address: self.address, peer))
        return true
    }

    /// What a channel reports counts while its attempt goes on and no other channel was taken for it.
    private static func isCurrent(_ attempt: UInt64, _ channel: (any Channel)?, _ state: State) -> Bool {
        guard case .away = state.phase, state.attempt == attempt, !state.isAttemptOver else { return false }
        guard let channel, let taken = state.channel else { return true }
        return taken === channel
    }

    /// No greeting came about. Whoever reports it first counts: the channel or the one that connects it.
    func attemptFailed(_ attempt: UInt64, _ channel: (any Channel)?, _ error: TransportError) {
        let counts = self.state.withLockedValue { state in
            guard Self.isCurrent(attempt, channel, state) else { return false }
            state.isAttemptOver = true
            return true
        }
        if counts { self.lost(nil, reason: error.description) { _ in error } }
    }

    /// A connection that stood is gone.
    func connectionLost(_ peer: RemotePeer, reason: String) {
        self.lost(peer, reason: reason) { .connectionLost(reason: reason, sent: $0) }
    }

    private func lost(_ peer: RemotePeer?, reason: String, _ failure: (_ sent: Bool) -> TransportError) {
        let (calls, failures) = self.state.withLockedValue { state -> ([CallTable.Call], Int?) in
            if case .closed = state.phase { return ([], nil) }
            state.phase = .away
            state.drainIsScheduled = false
            state.channel = nil
            state.raft.removeAll()
            state.failures += 1
            return (state.calls.removeAll(), state.failures)
        }
        guard let failures else { return }
        // The first failure is worth a line; the same every second is not.
        self.surroundings.logger.log(
            level: failures == 1 ? .notice : .debug, "no connection",
            metadata: ["address": "\(self.address)", "reason": "\(reason)"])
        for call in calls { call.completion(.failure(failure(call.isSent))) }
        self.surroundings.events(.down(address: self.address, peer, reason: reason))
        self.eventLoop.scheduleTask(in: Self.backoff(failures, self.surroundings.settings)) { self.connect() }
    }

    /// Doubles from the least to the greatest wait; of that, between half and all is taken, so that peers that lost the
    /// same server don't come back in step.
    private static func backoff(_ failures: Int, _ settings: TransportSettings) -> TimeAmount {
        let least = settings.backoffMin.rawValue
        let doublings = UInt64(min(max(failures - 1, 0), 20))
        let (grown, overflow) = least.multipliedReportingOverflow(by: 1 << doublings)
        let full = overflow ? settings.backoffMax.rawValue : min(grown, settings.backoffMax.rawValue)
        return Nanoseconds(UInt64.random(in: full / 2...full)).timeAmount
    }

    // MARK: Answers

    func answered(_ number: UInt64, _ response: PeerResponse) {
        let completion = self.state.withLockedValue { $0.calls.answered(number) }
        completion?(.success(response))
    }
}
