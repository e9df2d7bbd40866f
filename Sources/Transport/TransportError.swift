/// What can go wrong between two nodes. For a call, `surelyNotSent` tells whether the other side can't have seen the
/// request, so that a write may be tried elsewhere without being applied twice.
public enum TransportError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not `host:port`.
    case invalidAddress(String)
    case invalidSetting(String)
    /// No connection came about: resolving, connecting, TLS or the greeting failed.
    case unreachable(address: String, reason: String)
    /// The other side turned this node away, or this node the other: another cluster, version, role, a revoked node.
    case refused(address: String, reason: String)
    /// The address leads to this very node.
    case thisNode(address: String)
    /// Too many calls wait on this connection, or too many connections are open.
    case overloaded(String)
    case requestTooLarge(bytes: Int, limit: Int)
    /// The connection was closed by this process.
    case shutDown
    /// The call's deadline passed.
    case timedOut(sent: Bool)
    /// The task that made the call was cancelled.
    case cancelled(sent: Bool)
    case connectionLost(reason: String, sent: Bool)
    /// The TLS context can't be made from the credentials.
    case tls(String)
    /// The listener can't be bound.
    case bind(address: String, reason: String)
    /// A server did not give this node a certificate.
    case joinRefused(String)

    /// True when no byte of the request left this process.
    public var surelyNotSent: Bool {
        switch self {
        case .timedOut(let sent), .cancelled(let sent), .connectionLost(_, let sent): !sent
        case .invalidAddress, .invalidSetting, .unreachable, .refused, .thisNode, .overloaded, .requestTooLarge,
            .shutDown, .tls, .bind:
            true
        case .joinRefused: false
        }
    }

    public var description: String {
        switch self {
        case .invalidAddress(let address): "'\(address)' is not host:port"
        case .invalidSetting(let reason): "invalid transport setting: \(reason)"
        case .unreachable(let address, let reason): "can't reach \(address): \(reason)"
        case .refused(let address, let reason): "refused by or from \(address): \(reason)"
        case .thisNode(let address): "\(address) is this node itself"
        case .overloaded(let what): "overloaded: \(what)"
        case .requestTooLarge(let bytes, let limit): "the request has \(bytes) bytes, the limit is \(limit)"
        case .shutDown: "the connection is shut down"
        case .timedOut(let sent): "no answer in time\(sent ? "" : " (the request was not sent)")"
        case .cancelled(let sent): "cancelled\(sent ? "" : " (the request was not sent)")"
        case .connectionLost(let reason, let sent):
            "connection lost: \(reason)\(sent ? "" : " (the request was not sent)")"
        case .tls(let reason): "TLS: \(reason)"
        case .bind(let address, let reason): "can't listen on \(address): \(reason)"
        case .joinRefused(let reason): "not let in: \(reason)"
        }
    }
}
