import Certificates
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL

/// Names that a TLS connection agrees on before a byte of ours flows (ALPN, RFC 7301).
enum ApplicationProtocol {
    /// Both ends show certificates.
    static let peer = "serai-peer-1"
    /// The connecting side may have no certificate; it can ask for one and for nothing else.
    static let join = "serai-join"
}

/// This node's certificate and what it checks others by, as TLS contexts. One per process, shared by listener and pool;
/// replaceable while they run.
public final class TransportSecurity: Sendable {
    struct Contexts: Sendable {
        let credentials: NodeCredentials
        let verifier: CertificateVerifier
        let server: NIOSSLContext
        let client: NIOSSLContext
    }

    private let current: NIOLockedValueBox<Contexts>
    private let now: @Sendable () -> UnixSeconds
    private let refusal: @Sendable (NodeIdentity) -> String?

    /// `now` is what validity is checked against. `refusal` turns nodes away that have a good certificate, with the
    /// text that they are told: revoked ones. It is called on event loops and must be quick.
    public init(
        _ credentials: NodeCredentials,
        now: @escaping @Sendable () -> UnixSeconds = { .now() },
        refusal: @escaping @Sendable (NodeIdentity) -> String? = { _ in nil }
    ) throws(TransportError) {
        self.current = NIOLockedValueBox(try Self.contexts(credentials))
        self.now = now
        self.refusal = refusal
    }

    public var credentials: NodeCredentials { self.contexts.credentials }

    /// Uses a renewed certificate from the next handshake on; connections that stand are kept. The identity must be the
    /// one that this process started with.
    public func update(_ credentials: NodeCredentials) throws(TransportError) {
        let identity = self.contexts.credentials.identity
        guard credentials.identity == identity else {
            throw .tls("the new certificate is for \(credentials.identity), this node is \(identity)")
        }
        let contexts = try Self.contexts(credentials)
        self.current.withLockedValue { $0 = contexts }
    }

    var contexts: Contexts { self.current.withLockedValue { $0 } }
    var identity: NodeIdentity { self.contexts.credentials.identity }

    func refusalText(for identity: NodeIdentity) -> String? { self.refusal(identity) }

    /// Why a peer whose connection stands is no longer welcome; nil while it is. What was checked when it came does not
    /// count for ever.
    func complaint(about peer: VerifiedPeer, _ identity: NodeIdentity) -> String? {
        if let until = peer.acceptedUntil, until < self.now() {
            return "the certificate of \(identity) has expired"
        }
        return self.refusal(identity)
    }

    /// Fills `peer` with what the peer's certificates prove.
    func verification(into peer: VerifiedPeer) -> NIOSSLCustomVerificationCallback {
        let verifier = self.contexts.verifier
        let now = self.now
        return { certificates, promise in
            promise.succeed(peer.verify(certificates, with: verifier, now: now()))
        }
    }

    // MARK: Making contexts

    private static func contexts(_ credentials: NodeCredentials) throws(TransportError) -> Contexts {
        do {
            let leaf = try NIOSSLCertificate(bytes: credentials.certificateDER, format: .der)
            let authority = try NIOSSLCertificate(bytes: credentials.caDER, format: .der)
            let key = try NIOSSLPrivateKey(bytes: Array(credentials.key.pem.utf8), format: .pem)
            // The CA is sent along: a joining agent knows only its hash.
            var server = TLSConfiguration.makeServerConfiguration(
                certificateChain: [.certificate(leaf), .certificate(authority)], privateKey: .privateKey(key))
            server.trustRoots = .certificates([authority])
            // Optional to TLS, since joining agents have none; `AcceptorHandler` closes a connection without a verified
            // certificate before it reads a byte, unless it asked for the bootstrap protocol.
            server.certificateVerification = .optionalVerification
            server.applicationProtocols = [ApplicationProtocol.peer, ApplicationProtocol.join]
            var client = TLSConfiguration.makeClientConfiguration()
            client.certificateChain = [.certificate(leaf), .certificate(authority)]
            client.privateKey = .privateKey(key)
            client.trustRoots = .certificates([authority])
            client.certificateVerification = .noHostnameVerification
            client.applicationProtocols = [ApplicationProtocol.peer]
            return Contexts(
                credentials: credentials, verifier: try credentials.verifier(),
                server: try Self.context(server), client: try Self.context(client))
        } catch {
            throw .tls("\(error)")
        }
    }

    /// A client without a certificate, for `JoinClient`.
    static func joinContext() throws(TransportError) -> NIOSSLContext {
        var client = TLSConfiguration.makeClientConfiguration()
        client.trustRoots = .certificates([])
        client.certificateVerification = .noHostnameVerification
        client.applicationProtocols = [ApplicationProtocol.join]
        do {
            return try Self.context(client)
        } catch {
            throw .tls("\(error)")
        }
    }

    private static func context(_ configuration: TLSConfiguration) throws -> NIOSSLContext {
        var configuration = configuration
        configuration.minimumTLSVersion = .tlsv13
        configuration.shutdownTimeout = .seconds(1)
        return try NIOSSLContext(configuration: configuration)
    }
}

/// What one connection's TLS handshake has found out about the other side.
final class VerifiedPeer: Sendable {
    private enum Outcome: Sendable {
        /// The peer showed no certificate, or the handshake has not got that far.
        case unknown
        case verified(NodeIdentity, acceptedUntil: UnixSeconds)
        case failed(String)
    }

    private let outcome = NIOLockedValueBox(Outcome.unknown)

    func verify(
        _ certificates: [NIOSSLCertificate], with verifier: CertificateVerifier, now: UnixSeconds
    ) -> NIOSSLVerificationResult {
        do {
            let found = try verifier.check(chainDER: try certificates.map { try $0.toDERBytes() }, now: now)
            self.outcome.withLockedValue { $0 = .verified(found.identity, acceptedUntil: found.acceptedUntil) }
            return .certificateVerified
        } catch {
            self.outcome.withLockedValue { $0 = .failed("\(error)") }
            return .failed
        }
    }

    var identity: NodeIdentity? {
        guard case .verified(let identity, _) = self.outcome.withLockedValue({ $0 }) else { return nil }
        return identity
    }

    var acceptedUntil: UnixSeconds? {
        guard case .verified(_, let until) = self.outcome.withLockedValue({ $0 }) else { return nil }
        return until
    }

    var failure: String? {
        guard case .failed(let reason) = self.outcome.withLockedValue({ $0 }) else { return nil }
        return reason
    }
}
