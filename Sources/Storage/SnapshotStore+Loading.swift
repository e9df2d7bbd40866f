import Raft
import Registry
import Units

extension SnapshotStore {
    /// The newest snapshot whose file is whole and loads; a bad one is reported and the one before it taken. Reads
    /// every byte of what it returns.
    ///
    /// - Throws: `.newerFormat` when a snapshot was written by a newer version: an older one must not stand in for it.
    public func newest() throws(StorageError) -> Newest {
        var findings: [String] = []
        for name in try self.described() {
            guard let meta = try self.description(name), Self.name(meta) == name else {
                findings.append("\(name): its description is damaged")
                continue
            }
            do {
                return Newest(meta: meta, registry: try self.load(meta), findings: findings)
            } catch {
                guard case .corrupt(let text) = error else { throw error }
                findings.append("\(name): \(text)")
            }
        }
        return Newest(meta: nil, registry: nil, findings: findings)
    }

    /// Checks the file's size and SHA-256, and makes a registry of it.
    ///
    /// - Throws: `.corrupt` when the file is missing, not what `meta` says, or can't be loaded.
    public func load(_ meta: SnapshotMeta) throws(StorageError) -> Registry {
        let path = self.path(Self.name(meta), "db")
        try self.check(path, meta)
        return try self.registry(from: path, meta)
    }

    func check(_ path: String, _ meta: SnapshotMeta) throws(StorageError) {
        guard let size = try self.fileSystem.size(path) else { throw .corrupt("the file is missing") }
        if size != meta.totalBytes { throw .corrupt("the file has \(size) bytes instead of \(meta.totalBytes)") }
        if try self.digest(path) != meta.sha256 { throw .corrupt("the file's SHA-256 is wrong") }
    }

    func registry(from path: String, _ meta: SnapshotMeta) throws(StorageError) -> Registry {
        do {
            let file = try SQLiteFile(
                path: path, vfs: self.fileSystem.vfsName, readOnly: true, firstStatements: ["PRAGMA trusted_schema=OFF"]
            )
            let format = Int(try file.integer("PRAGMA user_version") ?? 0)
            if format > SnapshotSchema.format {
                throw StorageError.newerFormat(file: path, found: format, supported: SnapshotSchema.format)
            }
            var registry = Registry()
            var rows: Int64 = 0
            for (table, _) in SnapshotSchema.loadOrder {
                let statement = try file.prepare("SELECT * FROM \(table) ORDER BY rowid")
                while try statement.step() {
                    try registry.load(SnapshotRowReader.row(table, statement))
                    rows += 1
                }
            }
            if try file.integer("SELECT value FROM snapshot WHERE key='rows'") != rows {
                throw StorageError.corrupt("it holds \(rows) rows, not as many as were written")
            }
            if registry.appliedIndex != meta.index {
                throw StorageError.corrupt("it holds the state after \(registry.appliedIndex), not \(meta.index)")
            }
            return registry
        } catch let failure as SQLiteFailure {
            throw failure.isIO ? .fatal("reading a snapshot: \(failure.text)") : .corrupt(failure.text)
        } catch let error as StorageError {
            throw error
        } catch {
            throw .corrupt("\(error)")
        }
    }

    // MARK: - Sending

    /// A piece of a snapshot's file for a follower; nil when this file is no longer here, and when it turns out shorter
    /// than it was. `checksum` is CRC-32C of `data`.
    public func readChunk(
        _ meta: SnapshotMeta, offset: UInt64, maxBytes: Int
    ) throws(StorageError) -> (data: [UInt8], checksum: UInt32, isLast: Bool)? {
        let name = Self.name(meta)
        guard offset <= meta.totalBytes, maxBytes > 0, try self.description(name) == meta,
            try self.fileSystem.size(self.path(name, "db")) == meta.totalBytes
        else { return nil }
        let wanted = Int(min(UInt64(maxBytes), meta.totalBytes - offset))
        let data = try self.fileSystem.read(self.path(name, "db"), at: offset, count: wanted)
        if data.count != wanted { return nil }
        return (data, CRC32C.checksum(data), offset + UInt64(wanted) == meta.totalBytes)
    }

    // MARK: - Receiving

    /// Stores a received piece. What is out of place or damaged is not stored, so the result is always what to send
    /// next: the number of bytes that are here. Not durable before `finish`; a transfer resumes where it stopped, even
    /// after a restart.
    public func storeChunk(_ chunk: Message.SnapshotChunk) throws(StorageError) -> UInt64 {
        let part = self.partName(chunk.meta)
        try self.removeParts(except: part)
        let path = "\(self.directory)/\(part)"
        let have = try self.fileSystem.size(path) ?? 0
        let end = chunk.offset + UInt64(chunk.data.count)
        guard chunk.offset == have, end <= chunk.meta.totalBytes, CRC32C.checksum(chunk.data) == chunk.checksum
        else { return min(have, chunk.meta.totalBytes) }
        if !chunk.data.isEmpty { try self.fileSystem.write(path, at: have, chunk.data) }
        return end
    }

    /// Checks a completely received file (size, SHA-256 of the whole, SQLite's own structure), loads it, and makes it
    /// durable under its name. Then the log may be replaced (`LogStorage.replaceLog`).
    ///
    /// - Throws: any error with what was received thrown away: it must be sent again. What a failed sync has left can be
    ///   read, and a second sync says yes to it, but a power loss takes it.
    public func finish(_ meta: SnapshotMeta) throws(StorageError) -> Registry {
        let path = "\(self.directory)/\(self.partName(meta))"
        guard try self.fileSystem.size(path) != nil else {
            guard try self.description(Self.name(meta)) == meta else { throw .corrupt("nothing of it is here") }
            return try self.load(meta)
        }
        let registry: Registry
        do {
            try self.fileSystem.sync(path)
            try self.check(path, meta)
            try self.checkStructure(path)
            registry = try self.registry(from: path, meta)
        } catch {
            try self.fileSystem.remove(path)
            throw error
        }
        try self.publish(path, meta)
        try self.removeOld()
        return registry
    }

    func checkStructure(_ path: String) throws(StorageError) {
        do {
            let file = try SQLiteFile(path: path, vfs: self.fileSystem.vfsName, readOnly: true, firstStatements: [])
            let answer = try file.text("PRAGMA quick_check(1)") ?? ""
            if answer != "ok" { throw StorageError.corrupt(answer) }
        } catch let failure as SQLiteFailure {
            throw failure.isIO ? .fatal("reading a snapshot: \(failure.text)") : .corrupt(failure.text)
        } catch let error as StorageError {
            throw error
        } catch {
            throw .corrupt("\(error)")
        }
    }

    /// Named by its hash, too: a snapshot of the same index from another server has other bytes.
    private func partName(_ meta: SnapshotMeta) -> String {
        let hash = meta.sha256.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return "\(Self.name(meta))-\(hash).part"
    }

    private func removeParts(except part: String) throws(StorageError) {
        for file in try self.fileSystem.list(self.directory) where file.hasSuffix(".part") && file != part {
            try self.fileSystem.remove("\(self.directory)/\(file)")
        }
    }
}
