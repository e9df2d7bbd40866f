/// How a TLS connection of a probe is made.
public struct ProbeTLS: Sendable, Equatable {
    /// The name to ask for and to verify; nil is the host that is connected to.
    public var serverName: String?
    public var skipVerify: Bool

    public init(serverName: String? = nil, skipVerify: Bool = false) {
        self.serverName = serverName
        self.skipVerify = skipVerify
    }
}

/// Passing on 2xx, warning on 429, critical on everything else (Consul's health check definitions).
public struct HTTPProbe: Sendable, Equatable {
    public struct Header: Sendable, Equatable {
        public var name: String
        public var values: [String]

        public init(name: String, values: [String]) {
            self.name = name
            self.values = values
        }
    }

    /// `http://…` or `https://…`.
    public var url: String
    public var method: String
    public var headers: [Header]
    public var body: String
    public var followsRedirects: Bool
    public var tls: ProbeTLS

    public init(
        url: String, method: String = "GET", headers: [Header] = [], body: String = "", followsRedirects: Bool = true,
        tls: ProbeTLS = ProbeTLS()
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.body = body
        self.followsRedirects = followsRedirects
        self.tls = tls
    }
}

/// `host:port` as definitions write it.
public struct HostPort: Sendable, Equatable {
    /// A name, an IPv4 address or an IPv6 address without brackets.
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Splits `host:port` or `[v6]:port`; nil when it is neither.
    public init?(_ target: some StringProtocol) {
        guard let colon = target.lastIndex(of: ":") else { return nil }
        var host = String(target[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, let port = UInt16(target[target.index(after: colon)...]), port > 0 else { return nil }
        self.init(host: host, port: Int(port))
    }

    /// `host:port`, IPv6 in brackets.
    public var text: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}

/// Passing when a connection is made (and, with `tls`, its handshake is done).
public struct TCPProbe: Sendable, Equatable {
    public var address: HostPort
    public var tls: ProbeTLS?

    public init(host: String, port: Int, tls: ProbeTLS? = nil) {
        self.address = HostPort(host: host, port: port)
        self.tls = tls
    }

    /// Nil when the target is not `host:port`.
    public init?(_ target: String, tls: ProbeTLS? = nil) {
        guard let address = HostPort(target) else { return nil }
        self.address = address
        self.tls = tls
    }

    public var target: String { self.address.text }
}

/// Sends an empty datagram. Critical when the other side refuses it; passing on an answer, and when nothing comes back
/// within the timeout: many services are silent about what they can't read.
public struct UDPProbe: Sendable, Equatable {
    public var address: HostPort

    public init(_ address: HostPort) { self.address = address }
}

/// Calls `grpc.health.v1.Health/Check`: passing when the answer is SERVING.
public struct GRPCProbe: Sendable, Equatable {
    public var address: HostPort
    /// "" asks about the server as a whole.
    public var service: String
    public var tls: ProbeTLS?

    public init(address: HostPort, service: String = "", tls: ProbeTLS? = nil) {
        self.address = address
        self.service = service
        self.tls = tls
    }

    /// Splits `host:port` or `host:port/service`; nil when it is neither.
    public init?(_ target: String, tls: ProbeTLS? = nil) {
        let parts = target.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = HostPort(parts[0]) else { return nil }
        self.init(address: address, service: parts.count > 1 ? String(parts[1]) : "", tls: tls)
    }

    public var target: String { self.service.isEmpty ? self.address.text : "\(self.address.text)/\(self.service)" }
}

/// Passing when an HTTP/2 PING is acknowledged.
public struct H2PingProbe: Sendable, Equatable {
    public var address: HostPort
    public var tls: ProbeTLS?

    public init(address: HostPort, tls: ProbeTLS? = nil) {
        self.address = address
        self.tls = tls
    }
}

/// Runs a program: 0 is passing, 1 a warning, anything else critical.
public struct ScriptProbe: Sendable, Equatable {
    /// The program, looked for in `PATH` unless it holds a slash, and its arguments. Not empty.
    public var arguments: [String]

    public init(arguments: [String]) { self.arguments = arguments }
}

/// Asks systemd about a unit.
public struct OSServiceProbe: Sendable, Equatable {
    public var unit: String
    /// What prints a unit's state, once the unit's name is put behind it.
    package var query = ["systemctl", "is-active", "--"]
    /// Is there when systemd is what started this machine (sd_booted(3)).
    package var marker = "/run/systemd/system"

    public init(unit: String) { self.unit = unit }
}

/// Runs a program in a container, by the Docker engine's API: judged as a script.
public struct DockerProbe: Sendable, Equatable {
    public var container: String
    /// Not empty.
    public var arguments: [String]
    /// `unix:///path` or `tcp://host:port`.
    public var engine: String

    public static let defaultEngine = "unix:///var/run/docker.sock"

    public init(container: String, arguments: [String], engine: String = DockerProbe.defaultEngine) {
        self.container = container
        self.arguments = arguments
        self.engine = engine
    }
}
