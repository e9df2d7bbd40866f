import Units

/// Everything that can go wrong in this room. `description` is written for an operator's terminal and never holds key
/// material.
public enum CertificatesError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A file could not be read, written or synced; `reason` is the system's text.
    case file(path: String, reason: String)
    /// The file does not exist.
    case fileMissing(path: String)
    /// A file with secrets can be read by others; it is refused until its mode is 0600 or narrower.
    case filePermissions(path: String, mode: String)
    /// A file's content is not what this room wrote.
    case fileDamaged(path: String, reason: String)
    case malformedToken(String)
    /// The token's MAC was not made with this cluster's key.
    case tokenMACMismatch
    case tokenExpired(at: UnixSeconds, now: UnixSeconds)
    case tokenRole(expected: NodeRole, found: NodeRole)
    /// Token or certificate belongs to another cluster.
    case foreignCluster(expected: String, found: String)
    case malformedCertificate(String)
    /// No certificate of the chain was issued by the cluster's CA.
    case untrustedCertificate(String)
    case certificateExpired(notAfter: UnixSeconds, now: UnixSeconds)
    case certificateNotYetValid(notBefore: UnixSeconds, now: UnixSeconds)
    case malformedIdentity(String)
    /// A certificate signing request was turned down; the text names the field.
    case signingRefused(String)
    case malformedKey(String)
    /// A sealed value was not sealed by this cluster's key for this context, or was changed since.
    case sealBroken(String)
    case invalidSetting(String)

    public var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .fileMissing(let path): "\(path): no such file"
        case .filePermissions(let path, let mode):
            "\(path) holds a secret but has mode \(mode): run chmod 600 on it, and check who could read it until now"
        case .fileDamaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .malformedToken(let reason): "malformed join token: \(reason)"
        case .tokenMACMismatch: "the join token was not made with this cluster's key"
        case .tokenExpired(let expiry, let now):
            "the join token expired at \(expiry) (now \(now), unix seconds): make a new one with serai cluster token"
        case .tokenRole(let expected, let found): "this is a join token for role \(found), role \(expected) is needed"
        case .foreignCluster(let expected, let found): "belongs to cluster \(found), this cluster is \(expected)"
        case .malformedCertificate(let reason): "malformed certificate: \(reason)"
        case .untrustedCertificate(let reason): "certificate not trusted: \(reason)"
        case .certificateExpired(let notAfter, let now):
            "certificate expired at \(notAfter) (now \(now), unix seconds): renew it, or check the clock"
        case .certificateNotYetValid(let notBefore, let now):
            "certificate is valid only from \(notBefore) (now \(now), unix seconds): check the clock"
        case .malformedIdentity(let reason): "malformed node identity: \(reason)"
        case .signingRefused(let reason): "certificate request refused: \(reason)"
        case .malformedKey(let reason): "malformed private key: \(reason)"
        case .sealBroken(let reason): "sealed value can't be opened: \(reason)"
        case .invalidSetting(let reason): "invalid certificate setting: \(reason)"
        }
    }
}

/// Runs `body` and turns whatever a library throws into this room's error.
func rethrowing<Value>(
    _ wrap: (String) -> CertificatesError, _ body: () throws -> Value
) throws(CertificatesError) -> Value {
    do {
        return try body()
    } catch let error as CertificatesError {
        throw error
    } catch {
        throw wrap("\(error)")
    }
}
