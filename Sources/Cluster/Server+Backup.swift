import Crypto
import Glibc
import Logging
import Protocol
import Raft
import Registry
import Storage
import Synchronization
import Units

/// A backup on its way out: the bytes of a snapshot file, closed by a trailer that holds their SHA-256.
public final class Backup: Sendable {
    /// The log index whose state it holds.
    public let index: LogIndex
    private let file: BackupFile
    private let thread: BlockingThread

    init(index: LogIndex, file: BackupFile, thread: BlockingThread) {
        self.index = index
        self.file = file
        self.thread = thread
    }

    /// The next piece; nil at the end.
    public func next() async throws -> [UInt8]? {
        let file = self.file
        return try await self.thread.run { try file.next() }
    }
}

/// The file behind a backup. It has no name any more: nothing is left when the last reference goes.
// Sendable by confinement: used on the files thread alone.
final class BackupFile: @unchecked Sendable {
    private let descriptor: Int32
    private var hash = SHA256()
    private var isFinished = false
    private static let pieceBytes = 256 * 1024

    /// Opens the file; the caller removes its name.
    init(path: String) throws(StorageError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .fatal("open \(path): \(String(cString: strerror(errno)))") }
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }

    func next() throws(StorageError) -> [UInt8]? {
        if self.isFinished { return nil }
        var piece = [UInt8](repeating: 0, count: Self.pieceBytes)
        let count = piece.withUnsafeMutableBytes { read(self.descriptor, $0.baseAddress, $0.count) }
        if count < 0 { throw .fatal("reading the backup: \(String(cString: strerror(errno)))") }
        if count == 0 {
            self.isFinished = true
            return BackupTrailer.bytes(self.hash)
        }
        piece.removeLast(piece.count - count)
        self.hash.update(data: piece)
        return piece
    }
}

/// What closes a backup: eight bytes of marking and the SHA-256 of all before. SQLite passes over it.
enum BackupTrailer {
    static let marking = Array("SERAIBK1".utf8)
    static let count = 40

    static func bytes(_ hash: SHA256) -> [UInt8] { Self.marking + Array(hash.finalize()) }
}

extension Server {
    /// Writes the state as a snapshot file. `stale`: this server's own state, without asking the leader.
    public func backup(stale: Bool) async throws(ClusterError) -> Backup {
        let view = try await self.view(stale ? .stale : .consistent, timeout: .seconds(10))
        let registry = view.registry
        let configuration = self.loop.published.withLock { $0.configuration }
        let directory = "\(self.settings.dataDirectory)/backup-\(UInt64.random(in: .min ... .max))"
        do {
            let file = try await self.files.run {
                defer { Self.removeDirectory(directory) }
                let store = try SnapshotStore(directory: directory)
                let meta = try store.write(
                    registry, index: registry.appliedIndex, term: registry.appliedTerm, configuration: configuration,
                    configurationIndex: registry.appliedIndex, chain: [UInt8](repeating: 0, count: 16))
                return try BackupFile(path: store.path(of: meta))
            }
            return Backup(index: registry.appliedIndex, file: file, thread: self.files)
        } catch StorageError.diskFull {
            throw .refused(status: 500, text: "no space left on this server's disk for the backup")
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .refused(status: 500, text: "the backup could not be made: \(error)")
        }
    }

    private static func removeDirectory(_ directory: String) {
        let files = PosixFileSystem()
        for name in (try? files.list(directory)) ?? [] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    /// What an interrupted backup left behind.
    static func removeLeftovers(in dataDirectory: String) {
        for name in (try? PosixFileSystem().list(dataDirectory)) ?? [] where name.hasPrefix("backup-") {
            Self.removeDirectory("\(dataDirectory)/\(name)")
        }
    }

    /// Replaces the cluster's keys, sessions and catalog by a backup's, through the log. Returns once the restored state
    /// is in force on this server. Nothing changes when the backup turns out damaged (status 400).
    public func restore(_ next: @Sendable () async throws -> [UInt8]?) async throws(ClusterError) {
        let directory = "\(self.settings.dataDirectory)/backup-\(UInt64.random(in: .min ... .max))"
        let restored: (rows: [UInt8], hash: [UInt8])
        do {
            restored = try await self.receive(next, in: directory)
        } catch {
            try? await self.files.run { Self.removeDirectory(directory) }
            throw error
        }
        try await self.replicate(rows: restored.rows, hash: restored.hash)
        _ = try await self.view(.consistent, timeout: .seconds(10))
    }

    private func receive(
        _ next: @Sendable () async throws -> [UInt8]?, in directory: String
    ) async throws(ClusterError) -> (rows: [UInt8], hash: [UInt8]) {
        let path = "\(directory)/backup.db"
        do {
            try await self.files.run { try PosixFileSystem().createDirectory(directory) }
            var size: UInt64 = 0
            while let piece = try await next() {
                let offset = size
                size += UInt64(piece.count)
                guard size <= Registry.largestRestore else {
                    throw ClusterError.refused(
                        status: 413, text: "the backup is larger than \(Registry.largestRestore) bytes")
                }
                try await self.files.run { try PosixFileSystem().write(path, at: offset, piece) }
            }
            let total = size
            guard total > 0 else { throw ClusterError.refused(status: 400, text: "the backup is empty") }
            return try await self.files.run {
                defer { Self.removeDirectory(directory) }
                try Self.checkTrailer(path, size: total)
                let registry = try SnapshotStore(directory: directory).readArchive(path)
                return (registry.encodedRows(.restorable), registry.hashes.restorable)
            }
        } catch let error as ClusterError {
            throw error
        } catch StorageError.corrupt(let text) {
            throw .refused(status: 400, text: "the backup can't be used: \(text)")
        } catch StorageError.newerFormat(_, let found, let supported) {
            throw .refused(
                status: 400, text: "the backup has format \(found), this version knows up to \(supported)")
        } catch StorageError.diskFull {
            throw .refused(status: 500, text: "no space left on this server's disk for the backup")
        } catch is CancellationError {
            throw .shuttingDown
        } catch {
            throw .refused(status: 500, text: "the backup could not be read: \(error)")
        }
    }

    /// A backup without a trailer is a bare snapshot file: SQLite's own checks must do.
    private static func checkTrailer(_ path: String, size: UInt64) throws(StorageError) {
        let files = PosixFileSystem()
        guard size > UInt64(BackupTrailer.count) else { throw .corrupt("it is too short") }
        let end = size - UInt64(BackupTrailer.count)
        let trailer = try files.read(path, at: end, count: BackupTrailer.count)
        guard trailer.starts(with: BackupTrailer.marking) else { return }
        var hash = SHA256()
        var offset: UInt64 = 0
        while offset < end {
            let piece = try files.read(path, at: offset, count: Int(min(1 << 20, end - offset)))
            if piece.isEmpty { throw .corrupt("it is cut off") }
            hash.update(data: piece)
            offset += UInt64(piece.count)
        }
        if BackupTrailer.bytes(hash) != trailer { throw .corrupt("its SHA-256 is wrong") }
        if truncate(path, off_t(end)) != 0 { throw .fatal("truncate \(path): \(String(cString: strerror(errno)))") }
    }

    /// Bytes of one piece in the log.
    private static let restorePieceBytes = 256 * 1024

    private func replicate(rows: [UInt8], hash: [UInt8]) async throws(ClusterError) {
        let id = UInt64.random(in: 1 ... .max)
        var begin = LogCommand()
        begin.restoreBegin.id = id
        begin.restoreBegin.totalBytes = UInt64(rows.count)
        begin.restoreBegin.sha256 = .init(hash)
        try await self.proposeRestore(begin)
        var offset = 0
        while offset < rows.count {
            let end = min(offset + Self.restorePieceBytes, rows.count)
            var piece = LogCommand()
            piece.restoreChunk.id = id
            piece.restoreChunk.offset = UInt64(offset)
            piece.restoreChunk.data = .init(rows[offset..<end])
            try await self.proposeRestore(piece)
            offset = end
        }
        var commit = LogCommand()
        commit.restoreCommit.id = id
        try await self.proposeRestore(commit)
        self.logger.notice("a backup was restored", metadata: ["bytes": "\(rows.count)"])
    }

    private func proposeRestore(_ command: LogCommand) async throws(ClusterError) {
        let result = try await self.propose(command, identity: "operator", timeout: .seconds(30))
        if case .failure(let failure)? = result.kind { throw .refused(status: 500, text: failure.text) }
    }
}
