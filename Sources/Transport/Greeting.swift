import Certificates
import Protocol
import Units

/// The first frame in both directions. What it says about identity must agree with the certificate, which alone counts.
enum Greeting {
    static let version: UInt32 = 1

    static func hello(_ identity: NodeIdentity, _ local: LocalPeer) -> PeerHello {
        var hello = PeerHello()
        hello.version = Self.version
        hello.featureLevel = local.featureLevel
        hello.clusterID = identity.clusterID
        hello.nodeID = identity.nodeID.rawValue
        hello.name = identity.name
        hello.role = identity.role.rawValue
        hello.rpcAddress = local.rpcAddress
        hello.datacenter = local.datacenter
        return hello
    }

    static func refusal(_ reason: String) -> PeerHello {
        var hello = PeerHello()
        hello.version = Self.version
        hello.refusal = String(reason.prefix(1000))
        return hello
    }

    /// Why the other side is turned away; nil when it is welcome.
    static func complaint(
        about hello: PeerHello, certified peer: NodeIdentity, own: NodeIdentity, security: TransportSecurity
    ) -> String? {
        if hello.version != Self.version {
            return "protocol version \(hello.version) is spoken there, version \(Self.version) here"
        }
        if hello.clusterID != own.clusterID {
            return "cluster is \(hello.clusterID.prefix(64)), here it is \(own.clusterID)"
        }
        if hello.role != peer.role.rawValue {
            return "role '\(hello.role.prefix(32))' does not match the certificate's role '\(peer.role)'"
        }
        if hello.nodeID != peer.nodeID.rawValue {
            return "node id \(NodeID(hello.nodeID)) does not match the certificate's \(peer.nodeID)"
        }
        if !hello.name.utf8.elementsEqual(peer.name.utf8) {
            return "name '\(hello.name.prefix(128))' does not match the certificate's '\(peer.name)'"
        }
        if hello.rpcAddress.utf8.count > 300 || hello.datacenter.utf8.count > 128 {
            return "rpc address or datacenter is too long"
        }
        return security.refusalText(for: peer)
    }

    static func remote(_ hello: PeerHello, _ identity: NodeIdentity, connection: UInt64) -> RemotePeer {
        RemotePeer(
            identity: identity, featureLevel: hello.featureLevel, rpcAddress: hello.rpcAddress,
            datacenter: hello.datacenter, connection: connection)
    }
}
