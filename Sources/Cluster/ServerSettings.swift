import Certificates
import Replica
import Storage
import Transport
import Units

/// What a server is started with.
public struct ServerSettings: Sendable {
    public var dataDirectory: String
    public var nodeName: String
    public var datacenter = "dc1"
    /// IP address that the RPC listener binds to.
    public var bindAddress = "0.0.0.0"
    /// IP address that others reach this server at; it stands in the configuration.
    public var advertiseAddress: String
    public var serverPort = 8300
    /// 0: nothing listens there.
    public var httpPort = 8500
    public var dnsPort = 8600
    /// Servers that found the cluster together; 0: this one founds none.
    public var expect = 0
    /// RPC addresses (`host:port`) to look for other servers at. This server's own may be among them.
    public var join: [String] = []
    /// Text of a server's join token; nil once `cluster.key` is there.
    public var joinToken: String?
    public var replica = ReplicaSettings()
    public var storage = StorageSettings()
    public var transport = TransportSettings()
    /// Ends the process, after something that no server may go on from. The text says what.
    public var fatal: @Sendable (String) -> Void

    public init(
        dataDirectory: String, nodeName: String, advertiseAddress: String, fatal: @escaping @Sendable (String) -> Void
    ) {
        self.dataDirectory = dataDirectory
        self.nodeName = nodeName
        self.advertiseAddress = advertiseAddress
        self.fatal = fatal
    }

    /// Where this server's RPC listener is reached.
    var address: String {
        self.advertiseAddress.contains(":")
            ? "[\(self.advertiseAddress)]:\(self.serverPort)" : "\(self.advertiseAddress):\(self.serverPort)"
    }
}

/// Why a server or an agent can't start. The texts are for the operator.
public enum StartError: Error, Sendable, CustomStringConvertible {
    case setting(String)
    /// Another process holds the data directory.
    case locked(String)
    case key(String)
    case otherCluster(directory: String, key: String)
    case storage(String)
    case network(String)

    public var description: String {
        switch self {
        case .setting(let text), .locked(let text), .key(let text), .storage(let text), .network(let text): text
        case .otherCluster(let directory, let key):
            "the data directory belongs to cluster \(directory), but the key is cluster \(key)'s: "
                + "use another data directory, or the right token"
        }
    }

    init(_ error: StorageError, directory: String) {
        switch error {
        case .locked(_, let owner):
            self = .locked("data directory \(directory) is in use by another process (\(owner))")
        case .newerFormat(let file, let found, let supported):
            self = .storage(
                "\(file) has format \(found), this version knows up to \(supported): run the version that wrote it, or newer"
            )
        case .diskFull: self = .storage("no space left on the disk of \(directory)")
        case .fatal(let text), .corrupt(let text), .invalid(let text): self = .storage("\(directory): \(text)")
        }
    }
}
