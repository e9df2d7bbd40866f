import Certificates
import Raft
import Registry
import Storage
import Units

/// The log on its way from the thread that opens it to the storage thread.
// Sendable by turns: one thread uses it at a time; the opening thread before `take`, nobody after.
final class OpenedLog: @unchecked Sendable {
    private let directory: String
    private let settings: StorageSettings
    let snapshots: SnapshotStore
    private var storage: LogStorage?
    private(set) var recovery: Recovery

    init(directory: String, settings: StorageSettings) throws(StorageError) {
        let storage = try LogStorage(directory: directory, settings: settings)
        let snapshots = try SnapshotStore(directory: "\(directory)/snapshots")
        self.recovery = try storage.recover(snapshots: snapshots)
        self.directory = directory
        self.settings = settings
        self.snapshots = snapshots
        self.storage = storage
    }

    /// Uses the storage on the calling thread.
    func use<Value>(_ body: (LogStorage) throws(StorageError) -> Value) throws(StorageError) -> Value {
        guard let storage else { throw .invalid("the log was handed over") }
        return try body(storage)
    }

    /// Reads everything again from disk: what counts is what a restart would find.
    func reopen() throws(StorageError) {
        self.storage = nil
        let storage = try LogStorage(directory: self.directory, settings: self.settings)
        self.recovery = try storage.recover(snapshots: self.snapshots)
        self.storage = storage
    }

    /// Gives the directory up, when nobody has taken the storage.
    func close() { self.storage = nil }

    /// Hands the storage over, once.
    func take() -> LogStorage? {
        defer { self.storage = nil }
        return self.storage
    }

    /// The name that the newest configuration has for a server; nil when it has none.
    func name(of id: NodeID) -> String? {
        let restored = self.recovery.restored
        let newest = restored.configurations.last?.configuration ?? restored.snapshot?.configuration
        return newest?.member(id)?.name
    }

    /// Nothing was ever written to it: no entry, no snapshot, and nothing that was lost.
    var isEmpty: Bool {
        let restored = self.recovery.restored
        return restored.lastIndex == .zero && restored.snapshot == nil && restored.quarantinedUntil == nil
    }
}

/// What a server's data directory holds. All of it blocks.
struct ServerFiles: Sendable {
    var log: OpenedLog
    var authority: CertificateAuthority
    var credentials: NodeCredentials
    var nodeID: NodeID
    /// Why the certificate could not be written, if it could not.
    var unsaved: CertificatesError?

    /// Opens the directory, making what a first start has to make. The lock comes first: a second process on the
    /// directory changes nothing.
    static func open(_ settings: ServerSettings) throws(StartError) -> ServerFiles {
        guard NodeIdentity.isValid(name: settings.nodeName) else {
            throw .setting("node name '\(settings.nodeName)' is not allowed: 1 to 128 of A-Z a-z 0-9 . _ -")
        }
        let log: OpenedLog
        do throws(StorageError) {
            log = try OpenedLog(directory: Self.logDirectory(settings.dataDirectory), settings: settings.storage)
        } catch {
            throw StartError(error, directory: settings.dataDirectory)
        }
        let isFirstStart: Bool
        do throws(StorageError) {
            isFirstStart = try log.use { storage throws(StorageError) in storage.identity == nil }
        } catch {
            throw StartError(error, directory: settings.dataDirectory)
        }
        let secret = try Self.secret(settings, isFirstStart: isFirstStart)
        let identity = try Self.identity(log, secret, settings)
        if let name = log.name(of: identity), name != settings.nodeName {
            throw .setting(
                "the data directory belongs to the server '\(name)', not to '\(settings.nodeName)': to rename a server, let "
                    + "it leave and start it anew")
        }
        return try Self.certified(log, secret, identity, settings)
    }

    static func logDirectory(_ dataDirectory: String) -> String { "\(dataDirectory)/raft" }

    /// The cluster's key: as it stands in the directory; else from the join token; else, where one server is a whole
    /// cluster, a fresh one.
    private static func secret(_ settings: ServerSettings, isFirstStart: Bool) throws(StartError) -> ClusterSecret {
        let path = "\(settings.dataDirectory)/\(ClusterSecret.fileName)"
        if let secret = try Self.keptSecret(path) {
            // A token that is no longer needed may have expired; one of another cluster is a mistake to be told.
            if let text = settings.joinToken, let token = try? JoinToken.parse(text, expecting: .server),
                token.clusterID != secret.clusterID
            {
                throw .otherCluster(directory: secret.clusterID, key: token.clusterID)
            }
            return secret
        }
        do throws(CertificatesError) {
            if let text = settings.joinToken {
                let token = try JoinToken.parse(text, expecting: .server)
                guard let secret = token.clusterSecret else { throw .malformedToken("it holds no cluster secret") }
                try secret.save(to: path)
                return secret
            }
            if settings.expect == 1, settings.join.isEmpty, isFirstStart {
                let secret = ClusterSecret.generate()
                try secret.save(to: path)
                return secret
            }
        } catch {
            throw .key("\(error)")
        }
        throw .key(
            "no cluster key: a server needs a join token on its first start (join_token_file; `serai cluster init` makes "
                + "one). A single server with bootstrap_expect 1 and no retry_join makes its own.")
    }

    private static func keptSecret(_ path: String) throws(StartError) -> ClusterSecret? {
        do throws(CertificatesError) {
            return try ClusterSecret.load(from: path)
        } catch {
            if case .fileMissing = error { return nil }
            throw .key("\(error)")
        }
    }

    private static func identity(
        _ log: OpenedLog, _ secret: ClusterSecret, _ settings: ServerSettings
    ) throws(StartError) -> NodeID {
        do {
            let known = try log.use { storage throws(StorageError) in storage.identity }
            if let known {
                guard known.cluster == secret.clusterID else {
                    throw StartError.otherCluster(directory: known.cluster, key: secret.clusterID)
                }
                guard let id = NodeID(uuid: known.node) else {
                    throw StartError.storage(
                        "\(settings.dataDirectory): the stored node id '\(known.node)' is malformed")
                }
                return id
            }
            let id = NodeID(random: .random(in: .min ... .max))
            try log.use { storage throws(StorageError) in
                try storage.setIdentity(Identity(node: id.uuid, cluster: secret.clusterID))
            }
            return id
        } catch let error as StorageError {
            throw StartError(error, directory: settings.dataDirectory)
        } catch let error as StartError {
            throw error
        } catch {
            throw .storage("\(error)")
        }
    }

    private static func certified(
        _ log: OpenedLog, _ secret: ClusterSecret, _ id: NodeID, _ settings: ServerSettings
    ) throws(StartError) -> ServerFiles {
        do throws(CertificatesError) {
            let authority = try CertificateAuthority(secret)
            let key = try NodeKey.loadOrCreate(in: settings.dataDirectory)
            let identity = try NodeIdentity(
                clusterID: secret.clusterID, role: .server, name: settings.nodeName, nodeID: id)
            let credentials = try Self.issue(authority, identity, key, settings.datacenter)
            var files = ServerFiles(log: log, authority: authority, credentials: credentials, nodeID: id)
            do throws(CertificatesError) {
                try credentials.save(in: settings.dataDirectory)
            } catch {
                // On a full disk a server starts all the same: its key is there, and it signs anew at every start.
                files.unsaved = error
            }
            return files
        } catch {
            throw .key("\(error)")
        }
    }

    /// After a server has left, its log and its identity are of no use to it: the next start is a new server's.
    static func putAside(_ dataDirectory: String, of id: NodeID) throws(StorageError) {
        let files = PosixFileSystem()
        try files.rename(Self.logDirectory(dataDirectory), to: "\(dataDirectory)/raft.left-\(id)")
        try files.syncDirectory(dataDirectory)
    }

    /// A server signs for itself: it has the secret.
    static func issue(
        _ authority: CertificateAuthority, _ identity: NodeIdentity, _ key: NodeKey, _ datacenter: String,
        now: UnixSeconds = .now()
    ) throws(CertificatesError) -> NodeCredentials {
        try authority.issue(identity, key: key, dnsNames: ["server.\(datacenter).consul"], now: now)
    }
}
