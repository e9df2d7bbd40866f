import NIOCore

/// `host:port`, `address:port` or `[IPv6 address]:port`.
public struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    public let host: String
    public let port: Int

    public init(_ text: String) throws(TransportError) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            throw .invalidAddress(String(text.prefix(300)))
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw .invalidAddress(String(text.prefix(300)))
        }
        guard (1...253).contains(host.utf8.count), host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .invalidAddress(String(text.prefix(300)))
        }
        self.host = String(host)
        self.port = Int(port)
    }

    /// nil for a name that must be looked up.
    var socketAddress: SocketAddress? { try? SocketAddress(ipAddress: self.host, port: self.port) }

    public var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}
