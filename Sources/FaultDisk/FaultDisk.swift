import CFaultVFS
import Storage

/// A disk in memory that forgets, tears and fails as it is told, for the simulator and the tests. SQLite reaches it
/// through a VFS of its own name, everything else through `FileSystem`; no real file is touched.
///
/// Deterministic: what varies comes from the seeds that are passed in.
///
/// Unchecked: the disk behind `handle` locks itself around every call, and `handle` never changes.
public final class FaultDisk: FileSystem, @unchecked Sendable {
    public let name: String
    private let handle: OpaquePointer

    /// What a crash does to the sectors (512 bytes) that no sync has made durable.
    public enum Crash: Int32, Sendable, CaseIterable {
        /// All are lost, and names without a sync of their directory.
        case loseAll = 0
        /// Each is kept or lost by the seed, not only a prefix of them.
        case subset = 1
        /// Each is kept, lost or torn in the middle.
        case torn = 2
        /// The process died, the machine did not: everything is kept.
        case keepAll = 3
    }

    public struct Counters: Equatable, Sendable {
        public var writes: UInt64
        /// Of files; directories have their own.
        public var syncs: UInt64
        public var directorySyncs: UInt64
        public var bytesWritten: UInt64
        /// Writes, syncs, creations, renames, removals.
        public var operations: UInt64
    }

    /// What was durable at some time.
    public final class Image {
        fileprivate let pointer: UnsafeMutableRawPointer
        fileprivate init(pointer: UnsafeMutableRawPointer) { self.pointer = pointer }
        deinit { fault_image_free(self.pointer) }
    }

    /// - Parameter name: letters, digits, "-" and "_"; of no other disk that lives.
    public init(name: String, seed: UInt64) {
        guard let handle = fault_disk_create(name, seed) else { preconditionFailure("no memory for a disk") }
        self.name = name
        self.handle = handle
    }

    private init(name: String, handle: OpaquePointer) {
        self.name = name
        self.handle = handle
    }

    deinit {
        fault_disk_set_hook(self.handle, nil, nil)
        fault_disk_destroy(self.handle)
    }

    // MARK: - Faults

    /// Power loss: handles open now are dead, locks and injected failures end.
    public func crash(seed: UInt64, _ mode: Crash) { fault_disk_crash(self.handle, seed, mode.rawValue) }

    /// A new disk that holds what this one would after a crash now; this one goes on.
    public func crashedCopy(name: String, seed: UInt64, _ mode: Crash) -> FaultDisk {
        guard let copy = fault_disk_crashed_copy(self.handle, name, seed, mode.rawValue) else {
            preconditionFailure("no memory for a disk")
        }
        return FaultDisk(name: name, handle: copy)
    }

    /// The nth write from now fails (1 is the next) and writes nothing; 0 takes it back.
    public func failWrite(nth: UInt64) { fault_disk_fail_write(self.handle, nth) }
    /// The nth sync of a file from now fails, and its sectors then count as clean without being durable.
    public func failSync(nth: UInt64) { fault_disk_fail_sync(self.handle, nth) }
    /// After the nth operation from now everything fails until the next crash, as for a process cut off.
    public func halt(afterOperations nth: UInt64) { fault_disk_halt(self.handle, nth) }
    /// Bytes that all files together may hold; nil for no limit.
    public func setCapacity(_ bytes: UInt64?) { fault_disk_set_capacity(self.handle, bytes ?? 0) }
    public var bytesUsed: UInt64 { fault_disk_used(self.handle) }
    /// Flips a bit, cached and durable; false beyond the file's end.
    public func flipBit(_ path: String, at offset: UInt64, bit: Int) -> Bool {
        fault_disk_flip_bit(self.handle, path, offset, Int32(bit)) == Int32(FAULT_OK)
    }
    /// What is durable now.
    public func image() -> Image { Image(pointer: fault_disk_image(self.handle)) }
    /// Goes back to an earlier content, as a restored backup does; open handles are dead.
    public func restore(_ image: Image) { fault_disk_restore(self.handle, image.pointer) }
    /// What SQLite is told about the time, milliseconds since 1970.
    public func setTime(milliseconds: Int64) { fault_disk_set_time(self.handle, milliseconds) }

    public var counters: Counters {
        let counters = fault_disk_counters(self.handle)
        return Counters(
            writes: counters.writes, syncs: counters.syncs, directorySyncs: counters.dir_syncs,
            bytesWritten: counters.bytes_written, operations: counters.operations)
    }

    /// Runs `observe` after every operation while `body` runs; it may make crashed copies, but not write here.
    public func observing<Result>(_ observe: () -> Void, during body: () throws -> Result) rethrows -> Result {
        try withoutActuallyEscaping(observe) { escapable in
            let box = Observer(call: escapable)
            fault_disk_set_hook(
                self.handle,
                { context in if let context { Unmanaged<Observer>.fromOpaque(context).takeUnretainedValue().call() } },
                Unmanaged.passUnretained(box).toOpaque())
            defer { fault_disk_set_hook(self.handle, nil, nil) }
            return try withExtendedLifetime(box) { try body() }
        }
    }

    private final class Observer {
        let call: () -> Void
        init(call: @escaping () -> Void) { self.call = call }
    }

    // MARK: - FileSystem

    public var vfsName: String? { self.name }

    public func createDirectory(_ path: String) throws(StorageError) {}

    public func size(_ path: String) throws(StorageError) -> UInt64? {
        var size: UInt64 = 0
        let result = fault_file_size(self.handle, path, &size)
        if result == Int32(FAULT_NO_FILE) { return nil }
        try Self.check(result, "stat", path)
        return size
    }

    public func list(_ directory: String) throws(StorageError) -> [String] {
        final class Names { var list: [String] = [] }
        let names = Names()
        fault_dir_list(
            self.handle, directory,
            { context, name in
                guard let context, let name else { return }
                Unmanaged<Names>.fromOpaque(context).takeUnretainedValue().list.append(String(cString: name))
            }, Unmanaged.passUnretained(names).toOpaque())
        return names.list
    }

    public func read(_ path: String, at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        let result = bytes.withUnsafeMutableBytes {
            fault_file_read(self.handle, path, offset, $0.baseAddress, count, &got)
        }
        try Self.check(result, "read", path)
        if got < count { bytes.removeLast(count - got) }
        return bytes
    }

    public func write(_ path: String, at offset: UInt64, _ bytes: [UInt8]) throws(StorageError) {
        let result = bytes.withUnsafeBytes { fault_file_write(self.handle, path, offset, $0.baseAddress, $0.count) }
        try Self.check(result, "write", path)
    }

    public func sync(_ path: String) throws(StorageError) {
        try Self.check(fault_file_sync(self.handle, path), "fdatasync", path)
    }
    public func syncDirectory(_ path: String) throws(StorageError) {
        try Self.check(fault_dir_sync(self.handle, path), "fsync", path)
    }
    public func rename(_ from: String, to: String) throws(StorageError) {
        try Self.check(fault_file_rename(self.handle, from, to), "rename", from)
    }
    public func remove(_ path: String) throws(StorageError) {
        let result = fault_file_remove(self.handle, path)
        if result != Int32(FAULT_NO_FILE) { try Self.check(result, "unlink", path) }
    }

    public func reserve(_ path: String, bytes: UInt64) throws(StorageError) {
        let have = try self.size(path) ?? 0
        if bytes > have { try self.write(path, at: have, [UInt8](repeating: 0, count: Int(bytes - have))) }
    }

    public func lock(_ path: String) throws(StorageError) -> any FileLock {
        var holder: UInt64 = 0
        let result = fault_lock_take(self.handle, path, &holder)
        if result == Int32(FAULT_BUSY) {
            throw .locked(directory: String(path.dropLast("/lock".count)), owner: "another process")
        }
        try Self.check(result, "flock", path)
        return Lock(disk: self, path: path, holder: holder)
    }

    private final class Lock: FileLock {
        let disk: FaultDisk
        let path: String
        let holder: UInt64
        init(disk: FaultDisk, path: String, holder: UInt64) {
            self.disk = disk
            self.path = path
            self.holder = holder
        }
        deinit { fault_lock_release(self.disk.handle, self.path, self.holder) }
    }

    private static func check(_ result: Int32, _ call: String, _ path: String) throws(StorageError) {
        switch Int(result) {
        case FAULT_OK: return
        case FAULT_FULL: throw .diskFull
        case FAULT_NO_FILE: throw .fatal("\(call) \(path): no such file")
        default: throw .fatal("\(call) \(path): input/output error")
        }
    }
}
