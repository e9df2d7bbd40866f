import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

extension AgentConfiguration {
    /// What the machine says of itself; handed in so that tests don't depend on theirs.
    public struct Machine: Sendable {
        public var hostName: String
        /// Addresses of the interfaces that are up, without loopback and link-local ones.
        public var addresses: [String]
        public var workingDirectory: String
        /// Every address of every interface, for templates.
        public var interfaces: [Interface]

        public init(
            hostName: String, addresses: [String], workingDirectory: String, interfaces: [Interface] = []
        ) {
            self.hostName = hostName
            self.addresses = addresses
            self.workingDirectory = workingDirectory
            self.interfaces = interfaces
        }

        /// One address of an interface.
        public struct Interface: Sendable, Equatable {
            public var name: String
            public var address: String
            /// Bits of the network.
            public var prefix: Int
            /// `up`, `loopback`, `broadcast`, `pointtopoint`, `multicast`.
            public var flags: Set<String>
            /// The way to everywhere leads through it.
            public var isDefault: Bool

            public init(name: String, address: String, prefix: Int, flags: Set<String>, isDefault: Bool = false) {
                self.name = name
                self.address = address
                self.prefix = prefix
                self.flags = flags
                self.isDefault = isDefault
            }
        }
    }
}

extension AgentConfiguration.Machine.Interface {
    var isSix: Bool { self.address.contains(":") }
    var isUp: Bool { self.flags.contains("up") }

    /// Packets from it go beyond the link (RFC 6890).
    var isForwardable: Bool { !Self.local.contains { $0.contains(self.address) } }
    /// Not from the whole internet's addresses (RFC 1918, 4193, 6598, 6890).
    var isPrivate: Bool { Network.isPrivate(self.address) }

    private static let local = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"].compactMap(Network.init)
}

extension AgentConfiguration.Machine {
    /// This machine.
    public static var current: Self {
        let interfaces = Self.read()
        let addresses = interfaces.filter { $0.isUp && !$0.flags.contains("loopback") && $0.isForwardable }
        return Self(
            hostName: ProcessInfo.processInfo.hostName, addresses: addresses.map(\.address),
            workingDirectory: FileManager.default.currentDirectoryPath, interfaces: interfaces)
    }

    private static func read() -> [Interface] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        let standard = Self.defaultInterface()
        var found: [Interface] = []
        for entry in sequence(first: first, next: { $0?.pointee.ifa_next }) {
            guard let entry, let address = Self.text(entry.pointee.ifa_addr) else { continue }
            let name = String(cString: entry.pointee.ifa_name)
            found.append(
                Interface(
                    name: name, address: address, prefix: Self.bits(entry.pointee.ifa_netmask),
                    flags: Self.flags(entry.pointee.ifa_flags), isDefault: name == standard))
        }
        return found
    }

    private static func flags(_ bits: UInt32) -> Set<String> {
        let names: [(Int, String)] = [
            (Int(IFF_UP), "up"), (Int(IFF_LOOPBACK), "loopback"), (Int(IFF_BROADCAST), "broadcast"),
            (Int(IFF_POINTOPOINT), "pointtopoint"), (Int(IFF_MULTICAST), "multicast"),
        ]
        return Set(names.filter { Int(bits) & $0.0 != 0 }.map(\.1))
    }

    private static func text(_ address: UnsafeMutablePointer<sockaddr>?) -> String? {
        guard let address else { return nil }
        let family = Int32(address.pointee.sa_family)
        guard family == AF_INET || family == AF_INET6 else { return nil }
        let size = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, socklen_t(size), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
        else { return nil }
        let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.split(separator: "%").first.map(String.init)
    }

    /// How many bits of a mask are set.
    private static func bits(_ mask: UnsafeMutablePointer<sockaddr>?) -> Int {
        guard let mask else { return 0 }
        if Int32(mask.pointee.sa_family) == AF_INET {
            return mask.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                $0.pointee.sin_addr.s_addr.nonzeroBitCount
            }
        }
        return mask.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
            withUnsafeBytes(of: pointer.pointee.sin6_addr) { $0.reduce(0) { $0 + $1.nonzeroBitCount } }
        }
    }

    /// The interface of the route to 0.0.0.0/0 (`proc(5)`, `/proc/net/route`); nil where there is none.
    private static func defaultInterface() -> String? {
        guard let bytes = FileManager.default.contents(atPath: "/proc/net/route") else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
            let columns = line.split(whereSeparator: \.isWhitespace)
            if columns.count > 7, columns[1] == "00000000", columns[7] == "00000000" { return String(columns[0]) }
        }
        return nil
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`.
struct Network: Sendable {
    private let bytes: [UInt8]
    private let prefix: Int

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let bytes = Self.bytes(String(parts[0])), let prefix = Int(parts[1]),
            (0...bytes.count * 8).contains(prefix)
        else { return nil }
        self.bytes = bytes
        self.prefix = prefix
    }

    private static let ofTheHouse = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].compactMap(Network.init)
    private static let ofTheSite = ["fc00::/7"].compactMap(Network.init)
    private static let ofTheCarrier = ["100.64.0.0/10"].compactMap(Network.init)
    private static let inner = ofTheHouse + ofTheSite + ofTheCarrier + ["198.18.0.0/15"].compactMap(Network.init)

    /// What stands for every address of a machine, and is none that others could reach.
    static let unspecified = ["0.0.0.0/32", "::/128"].compactMap(Network.init)

    /// What templates may select by. Of RFC 6890 those that an interface may have and that lead beyond its link.
    static let ofRFC: [String: [Network]] = [
        "1918": ofTheHouse, "4193": ofTheSite, "6598": ofTheCarrier, "6890": inner,
    ]

    /// Not from the whole internet's addresses.
    static func isPrivate(_ address: String) -> Bool { self.inner.contains { $0.contains(address) } }

    func contains(_ address: String) -> Bool {
        guard let other = Self.bytes(address), other.count == self.bytes.count else { return false }
        let whole = self.prefix / 8
        guard other.prefix(whole).elementsEqual(self.bytes.prefix(whole)) else { return false }
        let rest = self.prefix % 8
        if rest == 0 { return true }
        let difference: UInt8 = other[whole] ^ self.bytes[whole]
        return difference >> UInt8(8 - rest) == 0
    }

    private static func bytes(_ text: String) -> [UInt8]? {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        if inet_pton(AF_INET6, text, &six) == 1 { return withUnsafeBytes(of: six) { Array($0) } }
        return nil
    }
}
