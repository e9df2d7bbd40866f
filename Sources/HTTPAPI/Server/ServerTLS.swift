import Glibc
import NIOCore
import NIOSSL
import NIOTLS
import Synchronization

/// What the HTTPS listener proves itself with, and whom it lets in: `tls.https`, or `tls.defaults` where that is silent.
public struct TLSListenerSettings: Sendable, Equatable {
    /// `tls_min_version`; what is older than 1.2 is not offered (RFC 8996).
    public enum Version: String, Sendable, CaseIterable {
        case tls12 = "TLSv1_2"
        case tls13 = "TLSv1_3"
    }

    /// PEM: the listener's certificate, then those that lead to its root.
    public var certificateFile: String
    /// PEM, not encrypted.
    public var keyFile: String
    /// PEM: whose clients are let in.
    public var authorityFile: String?
    /// A folder of such files.
    public var authorityFolder: String?
    /// Only clients with a certificate of the authorities' are let in.
    public var verifiesClients = false
    public var minimumVersion = Version.tls12
    /// How long a client may take to shake hands.
    public var handshakeTimeout = TimeAmount.seconds(5)

    public init(certificateFile: String, keyFile: String) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}

/// Why TLS can't be offered. Says which file, what is wrong with it, and so what to mend.
public enum ServerTLSError: Error, Sendable, Equatable, CustomStringConvertible {
    case unreadable(file: String, reason: String)
    case malformed(file: String, reason: String)
    /// `verify_incoming` without anybody to trust.
    case noAuthorities
    case refused(reason: String)

    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "\(file): can't be read: \(reason)"
        case .malformed(let file, let reason): "\(file): \(reason)"
        case .noAuthorities: "verify_incoming is set, but neither ca_file nor ca_path says whose clients to let in"
        case .refused(let reason): reason
        }
    }
}

/// The TLS of a listener, from files that may be read again: connections made afterwards see the new certificate, those
/// that are open keep theirs.
public final class ServerTLS: Sendable {
    private let current: Mutex<(settings: TLSListenerSettings, context: NIOSSLContext)>

    /// Reads the files; blocks for as long as that takes.
    public init(_ settings: TLSListenerSettings) throws(ServerTLSError) {
        self.current = Mutex((settings, try Self.context(settings)))
    }

    /// From now on what another holds: made anew from the same files, it has what they say today.
    public func take(_ other: ServerTLS) {
        let new = other.current.withLock { $0 }
        self.current.withLock { $0 = new }
    }

    /// The first handlers of a connection.
    func addHandlers(to channel: any Channel) throws {
        let (settings, context) = self.current.withLock { $0 }
        try channel.pipeline.syncOperations.addHandlers([
            NIOSSLServerHandler(context: context), HandshakeDeadline(settings.handshakeTimeout),
        ])
    }

    private static func context(_ settings: TLSListenerSettings) throws(ServerTLSError) -> NIOSSLContext {
        let chain = try self.certificates(in: settings.certificateFile)
        let key = try self.key(in: settings.keyFile)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = settings.minimumVersion == .tls13 ? .tlsv13 : .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        if settings.verifiesClients {
            let authorities = try self.authorities(settings)
            if authorities.isEmpty { throw .noAuthorities }
            configuration.trustRoots = .certificates(authorities)
            // A client's certificate names no host; it must be there all the same.
            configuration.certificateVerification = .noHostnameVerification
        }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .refused(
                reason: "\(settings.keyFile) is not the key of the first certificate in \(settings.certificateFile), "
                    + "or TLS can't use them: \(error)")
        }
    }

    private static func authorities(_ settings: TLSListenerSettings) throws(ServerTLSError) -> [NIOSSLCertificate] {
        var found: [NIOSSLCertificate] = []
        if let file = settings.authorityFile { found += try self.certificates(in: file) }
        if let folder = settings.authorityFolder {
            for file in try TextFile.names(in: folder) { found += try self.certificates(in: "\(folder)/\(file)") }
        }
        return found
    }

    private static func certificates(in file: String) throws(ServerTLSError) -> [NIOSSLCertificate] {
        let bytes = try TextFile.read(file)
        do {
            let found = try NIOSSLCertificate.fromPEMBytes(bytes)
            if found.isEmpty { throw ServerTLSError.malformed(file: file, reason: "holds no certificate in PEM form") }
            return found
        } catch {
            throw .malformed(file: file, reason: "holds no certificate in PEM form")
        }
    }

    private static func key(in file: String) throws(ServerTLSError) -> NIOSSLPrivateKey {
        let bytes = try TextFile.read(file)
        do {
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
        } catch {
            throw .malformed(file: file, reason: "holds no private key in PEM form, or one with a passphrase")
        }
    }
}

/// Small files, read whole.
private enum TextFile {
    private static let limit = 1 << 20
    private static let filesMax = 1000

    static func read(_ path: String) throws(ServerTLSError) -> [UInt8] {
        // A pipe that nobody writes to would never be open.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw .unreadable(file: path, reason: Self.reason) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .malformed(file: path, reason: "is not a file")
        }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = piece.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .unreadable(file: path, reason: Self.reason) }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            if bytes.count > Self.limit { throw .malformed(file: path, reason: "is larger than 1 MiB") }
        }
    }

    /// The files of a folder in order of their names, hidden ones left out.
    static func names(in folder: String) throws(ServerTLSError) -> [String] {
        guard let directory = opendir(folder) else { throw .unreadable(file: folder, reason: Self.reason) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(".") || entry.pointee.d_type == UInt8(DT_DIR) { continue }
            names.append(name)
            if names.count > Self.filesMax {
                throw .malformed(file: folder, reason: "holds more than \(Self.filesMax) files")
            }
        }
        return names.sorted()
    }

    private static var reason: String { String(cString: strerror(errno)) }
}

/// Ends a connection whose client does not come to the end of its handshake: it would hold a place for nothing.
private final class HandshakeDeadline: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let time: TimeAmount
    private var alarm: Scheduled<Void>?

    init(_ time: TimeAmount) { self.time = time }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        self.alarm = context.eventLoop.scheduleTask(in: self.time) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.alarm?.cancel() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
        if case .handshakeCompleted? = event as? TLSUserEvent {
            self.alarm?.cancel()
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
    }
}
