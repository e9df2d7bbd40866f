import Certificates
import NIOCore
import Protocol
import Raft
import Units

/// What this process says about itself in greetings, besides what stands in its certificate.
public struct LocalPeer: Sendable, Equatable {
    public var featureLevel: UInt32
    /// Where this node's own listener can be reached, `host:port`; empty for agents, which have none.
    public var rpcAddress: String
    public var datacenter: String

    public init(featureLevel: UInt32, rpcAddress: String = "", datacenter: String = "") {
        self.featureLevel = featureLevel
        self.rpcAddress = rpcAddress
        self.datacenter = datacenter
    }
}

/// Who stands at the other end of one connection: the identity is proved by its certificate, the rest is what it says.
public struct RemotePeer: Sendable, Hashable {
    public let identity: NodeIdentity
    public let featureLevel: UInt32
    /// Empty when the peer has no listener.
    public let rpcAddress: String
    public let datacenter: String
    /// Tells this process's connections apart; never used again.
    public let connection: UInt64
}

/// What a listener does with what arrives. All methods but `handle` and `sign` run on an event loop and must return
/// within microseconds: they hand over, they don't work.
public protocol PeerHandler: Sendable {
    /// Raft messages of one server in the order it sent them, a burst at a time. Sender and certificate agree, and they
    /// are addressed to this node.
    func received(raft messages: [Raft.Message], from peer: NodeIdentity)

    /// A forwarded write, the hot path: no task is made for it. Returns false to have `handle` called instead. `reply`
    /// may be called from any thread, once; later calls, and calls after the connection is gone, do nothing.
    func propose(
        _ envelope: LogEnvelope, from peer: NodeIdentity, reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool

    /// A forwarded HTTP request, when it is one of the hot ones: the same terms.
    func answer(
        _ request: PeerHTTPRequest, from peer: NodeIdentity, on loop: any EventLoop,
        reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool

    /// Any other request. The task is cancelled when the requester gives up or goes away.
    func handle(_ request: PeerRequest, from peer: NodeIdentity) async -> PeerResponse

    /// A request for a certificate from somebody who has none yet: nothing is known about the sender but the token in
    /// the request.
    func sign(_ request: PeerSignCertificate) async -> PeerResponse

    /// Once per accepted connection, in pairs. Connections of one peer may overlap: count them, or keep the newest.
    func peerUp(_ peer: RemotePeer)
    func peerDown(_ peer: RemotePeer)
}

extension PeerHandler {
    public func propose(
        _ envelope: LogEnvelope, from peer: NodeIdentity, reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool { false }
    public func answer(
        _ request: PeerHTTPRequest, from peer: NodeIdentity, on loop: any EventLoop,
        reply: @escaping @Sendable (PeerResponse) -> Void
    ) -> Bool { false }
    public func peerUp(_ peer: RemotePeer) {}
    public func peerDown(_ peer: RemotePeer) {}
}

/// A change of an outbound connection.
public enum PeerEvent: Sendable, Equatable {
    case up(address: String, RemotePeer)
    /// `peer` is nil when no greeting had been exchanged. Sent for each failed attempt too.
    case down(address: String, RemotePeer?, reason: String)
}

extension PeerResponse {
    /// An answer that says that the request failed. `notProposed`: certain that the write is not in the log.
    public static func failure(_ status: UInt32, _ text: String, notProposed: Bool = false) -> PeerResponse {
        var response = PeerResponse()
        response.error = text
        response.errorCode = status
        response.notProposed = notProposed
        return response
    }
}
