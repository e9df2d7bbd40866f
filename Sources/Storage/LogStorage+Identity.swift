import Raft
import Units

extension LogStorage {
    /// Stores who this server is, in `raft.db` and in the promise; durable when it returns. Allowed before `recover`.
    public func setIdentity(_ identity: Identity) throws(StorageError) {
        if self.isRecovered || self.broken != nil { try self.ensureUsable() }
        guard identity.node.utf8.count <= 128, identity.cluster.utf8.count <= 128 else {
            throw .invalid("node and cluster ids are at most 128 bytes long")
        }
        let statements = self.statements
        try self.transaction("storing the identity") { () throws(SQLiteFailure) in try statements.write(identity) }
        self.identity = identity
        // Before recovery nobody knows yet what the log holds, and the old promise stands.
        var promise = self.isRecovered ? self.currentPromise() : self.promise
        promise.node = identity.node
        promise.cluster = identity.cluster
        try self.write(promise)
    }

    /// Stores what was promised to a founder; durable when it returns. Refused in quarantine: a server that has lost
    /// its disk may have promised something else before.
    public func setBootstrapPromise(_ promise: BootstrapPromise) throws(StorageError) {
        try self.ensureUsable()
        if let mark = self.quarantinedUntil { throw .invalid("in quarantine until \(mark): no bootstrap promise") }
        let file = self.file
        let encoded = Self.encode(promise)
        try self.transaction("storing the bootstrap promise") { () throws(SQLiteFailure) in
            let row = try file.prepare("INSERT OR REPLACE INTO bootstrap(id,promise,sum) VALUES(1,?1,?2)")
            row.bind(1, encoded)
            row.bind(2, Int64(CRC32C.checksum(encoded)))
            try row.run()
        }
        self.bootstrapPromise = promise
    }

    private static func encode(_ promise: BootstrapPromise) -> [UInt8] {
        var writer = ByteWriter()
        writer.put(promise.founder.rawValue)
        writer.put(promise.ballot)
        writer.put(sized: EntryCoding.encode(promise.configuration))
        return writer.bytes
    }

    private static func decode(_ bytes: [UInt8]) -> BootstrapPromise? {
        var reader = ByteReader(bytes)
        guard let founder = reader.take(UInt64.self), let ballot = reader.take(UInt64.self),
            let configuration = reader.takeSized().flatMap(EntryCoding.decodeConfiguration), reader.isAtEnd
        else { return nil }
        return BootstrapPromise(founder: NodeID(founder), ballot: ballot, configuration: configuration)
    }

    func loadIdentity() throws(StorageError) {
        do {
            let row = try self.file.prepare("SELECT node,cluster FROM identity WHERE id=1")
            if try row.step() { self.identity = Identity(node: row.text(0), cluster: row.text(1)) }
            let bootstrap = try self.file.prepare("SELECT promise,sum FROM bootstrap WHERE id=1")
            if try bootstrap.step() {
                let bytes = bootstrap.bytes(0)
                if bootstrap.integer(1) == Int64(CRC32C.checksum(bytes)) { self.bootstrapPromise = Self.decode(bytes) }
                if self.bootstrapPromise == nil { self.suspect("what was promised to a founder is damaged") }
            }
        } catch {
            // Damaged pages: `recover` meets them too, and says so.
            if !error.isDamage { throw self.fail(error, "reading the identity") }
        }
        if self.promise.node.isEmpty { return }
        let promised = Identity(node: self.promise.node, cluster: self.promise.cluster)
        if let identity, identity != promised {
            // A flipped bit must not make this server somebody else. The promise has a checksum over its copy.
            self.suspect(
                "raft.db says that this is server \(identity.node) of \(identity.cluster), the promise says otherwise")
        } else if self.identity == nil {
            self.suspect("raft.db has lost the identity of server \(promised.node)")
        }
        self.identity = promised
    }

    private func suspect(_ finding: String) {
        self.openingFindings.append(finding)
        self.mustQuarantine = true
    }
}
