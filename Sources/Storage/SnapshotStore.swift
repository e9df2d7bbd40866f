import Crypto
import GRDBSQLite
import Raft
import Registry
import Units

/// Snapshots of the registry: `snapshot-<index>-<term>.db`, a plain SQLite database, with its description beside it in
/// `snapshot-<index>-<term>.meta`. A snapshot counts once its description is there; the newest two are kept.
///
/// A value without state of its own: everything is in the directory, and any thread may use it. One thread at a time
/// writes, one receives.
public struct SnapshotStore: Sendable {
    public let directory: String
    let fileSystem: any FileSystem

    /// How many snapshots are kept: when the newest turns out bad, the one before it serves.
    public static let kept = 2
    private static let copyBytes = 1 << 20

    /// Makes the directory when there is none.
    public init(directory: String, fileSystem: any FileSystem = PosixFileSystem()) throws(StorageError) {
        self.directory = directory
        self.fileSystem = fileSystem
        try fileSystem.createDirectory(directory)
    }

    /// The newest snapshot that can be used.
    public struct Newest: Sendable {
        public var meta: SnapshotMeta?
        /// Loaded from `meta`; nil exactly when it is.
        public var registry: Registry?
        /// Snapshots that could not be used, and why; empty when all was well.
        public var findings: [String]
    }

    // MARK: - Writing

    /// Writes a snapshot of a registry. Row by row through SQLite's cache: memory stays bounded, whatever the size.
    /// Durable under its name when this returns; only then may the log be compacted.
    ///
    /// - Parameters:
    ///   - index: what the registry has applied; `term` and `chain` (16 bytes) are that entry's.
    ///   - configurationIndex: where `configuration`, the one in force at `index`, stands in the log.
    /// - Throws: `.diskFull` with nothing left behind; the older snapshots stay.
    public func write(
        _ registry: Registry, index: LogIndex, term: Term, configuration: Configuration, configurationIndex: LogIndex,
        chain: [UInt8]
    ) throws(StorageError) -> SnapshotMeta {
        let path = "\(self.directory)/writing.tmp"
        for suffix in ["", "-journal", "-wal"] { try self.fileSystem.remove(path + suffix) }
        var meta = SnapshotMeta(
            index: index, term: term, configuration: configuration, configurationIndex: configurationIndex,
            totalBytes: 0,
            sha256: [], chain: chain)
        do {
            try self.fill(path, registry, meta)
            try self.fileSystem.sync(path)
            meta.totalBytes = try self.fileSystem.size(path) ?? 0
            meta.sha256 = try self.digest(path)
            try self.publish(path, meta)
        } catch {
            try self.fileSystem.remove(path)
            throw error
        }
        try self.removeOld()
        return meta
    }

    private func fill(_ path: String, _ registry: Registry, _ meta: SnapshotMeta) throws(StorageError) {
        do {
            // No journal and no sync while it is made: a half-made file has no name that counts.
            let file = try SQLiteFile(
                path: path, vfs: self.fileSystem.vfsName,
                firstStatements: [
                    "PRAGMA page_size=4096", "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=OFF",
                    "PRAGMA synchronous=OFF", "PRAGMA cache_size=-8192", "PRAGMA temp_store=MEMORY",
                ])
            try file.execute("BEGIN IMMEDIATE")
            for sql in SnapshotSchema.tables { try file.execute(sql) }
            try file.execute("PRAGMA user_version=\(SnapshotSchema.format)")
            try file.execute("PRAGMA application_id=\(SnapshotSchema.applicationID)")
            let writer = try SnapshotRowWriter(file)
            try registry.forEachRow { row in try writer.write(row) }
            try self.describe(file, meta, rows: writer.count)
            try file.execute("COMMIT")
        } catch let failure as SQLiteFailure {
            throw failure.isFull ? .diskFull : .fatal("writing a snapshot: \(failure.text)")
        } catch let error as StorageError {
            throw error
        } catch {
            throw .fatal("writing a snapshot: \(error)")
        }
    }

    private func describe(_ file: SQLiteFile, _ meta: SnapshotMeta, rows: UInt64) throws(SQLiteFailure) {
        let text = try file.prepare("INSERT INTO snapshot VALUES(?1,?2)")
        let numbers: [(String, UInt64)] = [
            ("index", meta.index.rawValue), ("term", meta.term.rawValue),
            ("configuration_index", meta.configurationIndex.rawValue), ("rows", rows),
        ]
        for (key, number) in numbers {
            text.bind(1, key)
            text.bind(2, number)
            try text.run()
        }
        let members = SmallJSON.list(
            meta.configuration.allMembers.map { member in
                .object([
                    .init(key: "id", value: .text("\(member.id)")), .init(key: "name", value: .text(member.name)),
                    .init(key: "address", value: .text(member.address)),
                    .init(key: "voter", value: .number(meta.configuration.isVoter(member.id) ? 1 : 0)),
                ])
            })
        text.bind(1, "members")
        text.bind(2, members.encoded)
        try text.run()
    }

    /// Gives a complete, synced file its name, and then its description. Where a sync fails on the way, nothing is left
    /// that counts.
    func publish(_ path: String, _ meta: SnapshotMeta) throws(StorageError) {
        let name = Self.name(meta)
        if try self.description(name) == meta, try self.isWhole(self.path(name, "db"), meta) {
            // The same bytes are there already. Not only the same name and size: a damaged file must give way to a good one.
            return try self.fileSystem.remove(path)
        }
        // An older file of this name must not be taken for the new one, nor the other way round.
        try self.fileSystem.remove(self.path(name, "meta"))
        do {
            try self.giveNames(path, name, meta)
        } catch {
            for ending in ["meta", "meta.tmp", "db"] { try self.fileSystem.remove(self.path(name, ending)) }
            throw error
        }
    }

    private func giveNames(_ path: String, _ name: String, _ meta: SnapshotMeta) throws(StorageError) {
        try self.fileSystem.syncDirectory(self.directory)
        try self.fileSystem.rename(path, to: self.path(name, "db"))
        try self.fileSystem.syncDirectory(self.directory)
        let temporary = self.path(name, "meta.tmp")
        try self.fileSystem.remove(temporary)
        try self.fileSystem.write(temporary, at: 0, Self.encode(meta))
        try self.fileSystem.sync(temporary)
        try self.fileSystem.rename(temporary, to: self.path(name, "meta"))
        try self.fileSystem.syncDirectory(self.directory)
    }

    private func isWhole(_ path: String, _ meta: SnapshotMeta) throws(StorageError) -> Bool {
        guard try self.fileSystem.size(path) == meta.totalBytes else { return false }
        return try self.digest(path) == meta.sha256
    }

    /// Removes all but the newest; the description first, since without it a file no longer counts.
    func removeOld() throws(StorageError) {
        let old = try self.described().dropFirst(Self.kept)
        if old.isEmpty { return }
        for name in old { try self.fileSystem.remove(self.path(name, "meta")) }
        try self.fileSystem.syncDirectory(self.directory)
        for name in old { try self.fileSystem.remove(self.path(name, "db")) }
    }

    // MARK: - Names and descriptions

    static func name(_ meta: SnapshotMeta) -> String { "snapshot-\(meta.index)-\(meta.term)" }

    func path(_ name: String, _ ending: String) -> String { "\(self.directory)/\(name).\(ending)" }

    /// Names of the snapshots with a description, newest first.
    func described() throws(StorageError) -> [String] {
        var found: [(index: UInt64, term: UInt64, name: String)] = []
        for file in try self.fileSystem.list(self.directory)
        where file.hasPrefix("snapshot-") && file.hasSuffix(".meta") {
            let name = String(file.dropLast(".meta".count))
            let parts = name.split(separator: "-")
            guard parts.count == 3, let index = UInt64(parts[1]), let term = UInt64(parts[2]) else { continue }
            found.append((index, term, name))
        }
        return found.sorted { ($0.index, $0.term) > ($1.index, $1.term) }.map(\.name)
    }

    private static let magic: UInt64 = 0x5345_5241_4953_4E41

    static func encode(_ meta: SnapshotMeta) -> [UInt8] {
        let body = EntryCoding.encode(meta)
        var writer = ByteWriter()
        writer.put(Self.magic)
        writer.put(UInt32(SnapshotSchema.format))
        writer.put(CRC32C.checksum(body))
        writer.put(raw: body)
        return writer.bytes
    }

    /// nil when there is none, or it is damaged.
    func description(_ name: String) throws(StorageError) -> SnapshotMeta? {
        let path = self.path(name, "meta")
        guard let size = try self.fileSystem.size(path), size < 1 << 20 else { return nil }
        let bytes = try self.fileSystem.read(path, at: 0, count: Int(size))
        var reader = ByteReader(bytes)
        guard reader.take(UInt64.self) == Self.magic, let format = reader.take(UInt32.self),
            let checksum = reader.take(UInt32.self)
        else { return nil }
        let body = Array(bytes[reader.position...])
        guard CRC32C.checksum(body) == checksum else { return nil }
        if format > UInt32(SnapshotSchema.format) {
            throw .newerFormat(file: path, found: Int(format), supported: SnapshotSchema.format)
        }
        return EntryCoding.decodeMeta(body)
    }

    /// SHA-256 of the whole file, read piece by piece.
    func digest(_ path: String) throws(StorageError) -> [UInt8] {
        var hash = SHA256()
        var offset: UInt64 = 0
        while true {
            let piece = try self.fileSystem.read(path, at: offset, count: Self.copyBytes)
            if piece.isEmpty { break }
            piece.withUnsafeBytes { hash.update(bufferPointer: $0) }
            offset += UInt64(piece.count)
        }
        return Array(hash.finalize())
    }
}
