/// What this room needs of files besides SQLite. `PosixFileSystem` is the real one; the simulator has a disk of its own
/// that forgets, tears and fails as it is told. Implementations may be used from any thread.
///
/// Errors are `.diskFull` where there is no space, `.locked` from `lock`, and `.fatal` for everything else.
public protocol FileSystem: Sendable {
    /// The SQLite VFS whose files are these files; nil for SQLite's default.
    var vfsName: String? { get }
    /// Makes the directory and its parents; fine when it is there already. The new entries are durable.
    func createDirectory(_ path: String) throws(StorageError)
    /// Bytes in the file; nil when there is none.
    func size(_ path: String) throws(StorageError) -> UInt64?
    /// Names (not paths) in the directory, sorted; empty when there is no such directory.
    func list(_ directory: String) throws(StorageError) -> [String]
    /// Up to `count` bytes; fewer only at the file's end.
    func read(_ path: String, at offset: UInt64, count: Int) throws(StorageError) -> [UInt8]
    /// Makes the file if need be, and fills a gap before `offset` with zeros. Not durable before `sync`.
    func write(_ path: String, at offset: UInt64, _ bytes: [UInt8]) throws(StorageError)
    /// Makes the file's content durable (its name only after `syncDirectory`).
    func sync(_ path: String) throws(StorageError)
    /// Makes the names in the directory durable: creations, renames, removals.
    func syncDirectory(_ path: String) throws(StorageError)
    /// Replaces `to` if there is one. Not durable before `syncDirectory`.
    func rename(_ from: String, to: String) throws(StorageError)
    /// Fine when there is none. Not durable before `syncDirectory`.
    func remove(_ path: String) throws(StorageError)
    /// Makes the file hold `bytes` bytes of really allocated space.
    func reserve(_ path: String, bytes: UInt64) throws(StorageError)
    /// Takes the lock file for as long as the result lives. Throws `.locked` with what the holder wrote about itself.
    func lock(_ path: String) throws(StorageError) -> any FileLock
}

/// A lock that ends with its last reference, or with the process.
public protocol FileLock: AnyObject {}

func parentDirectory(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}
