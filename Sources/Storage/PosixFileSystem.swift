#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Real files. Stateless: each call opens what it needs.
public struct PosixFileSystem: FileSystem {
    public init() {}

    public var vfsName: String? { nil }

    public func createDirectory(_ path: String) throws(StorageError) {
        if path.isEmpty || path == "/" || path == "." { return }
        var status = stat()
        if stat(path, &status) == 0 {
            if status.st_mode & S_IFMT == S_IFDIR { return }
            throw .invalid("\(path) is not a directory")
        }
        let parent = parentDirectory(path)
        try self.createDirectory(parent)
        if mkdir(path, 0o700) != 0 && errno != EEXIST { throw Self.failure("mkdir", path) }
        try self.syncDirectory(parent)
    }

    public func size(_ path: String) throws(StorageError) -> UInt64? {
        var status = stat()
        if stat(path, &status) == 0 { return UInt64(max(0, status.st_size)) }
        if errno == ENOENT { return nil }
        throw Self.failure("stat", path)
    }

    public func list(_ directory: String) throws(StorageError) -> [String] {
        guard let stream = opendir(directory) else {
            if errno == ENOENT { return [] }
            throw Self.failure("opendir", directory)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    public func read(_ path: String, at offset: UInt64, count: Int) throws(StorageError) -> [UInt8] {
        let file = try Self.open(path, O_RDONLY)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                pread(file, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset) + off_t(filled))
            }
            if got < 0 && errno == EINTR { continue }
            if got < 0 { throw Self.failure("read", path) }
            if got == 0 { break }
            filled += got
        }
        if filled < count { bytes.removeLast(count - filled) }
        return bytes
    }

    public func write(_ path: String, at offset: UInt64, _ bytes: [UInt8]) throws(StorageError) {
        let file = try Self.open(path, O_WRONLY | O_CREAT)
        defer { close(file) }
        var written = 0
        while written < bytes.count {
            let put = bytes.withUnsafeBytes { buffer in
                pwrite(
                    file, buffer.baseAddress.map { $0 + written }, bytes.count - written, off_t(offset) + off_t(written)
                )
            }
            if put < 0 && errno == EINTR { continue }
            if put < 0 { throw Self.failure("write", path) }
            written += put
        }
    }

    public func sync(_ path: String) throws(StorageError) {
        let file = try Self.open(path, O_RDWR)
        defer { close(file) }
        try Self.flush(file, path)
    }

    public func syncDirectory(_ path: String) throws(StorageError) {
        let directory = try Self.open(path, O_RDONLY | O_DIRECTORY)
        defer { close(directory) }
        if fsync(directory) != 0 { throw Self.failure("fsync", path) }
    }

    public func rename(_ from: String, to: String) throws(StorageError) {
        #if canImport(Glibc)
        let status = Glibc.rename(from, to)
        #elseif canImport(Musl)
        let status = Musl.rename(from, to)
        #else
        let status = Darwin.rename(from, to)
        #endif
        if status != 0 { throw Self.failure("rename", from) }
    }

    public func remove(_ path: String) throws(StorageError) {
        if unlink(path) != 0 && errno != ENOENT { throw Self.failure("unlink", path) }
    }

    public func reserve(_ path: String, bytes: UInt64) throws(StorageError) {
        let file = try Self.open(path, O_WRONLY | O_CREAT)
        defer { close(file) }
        #if canImport(Darwin)
        let status: CInt = ftruncate(file, off_t(bytes)) == 0 ? 0 : errno
        #else
        let status = posix_fallocate(file, 0, off_t(bytes))
        #endif
        if status == ENOSPC || status == EDQUOT { throw .diskFull }
        if status != 0 { throw .fatal("cannot reserve space in \(path): error \(status)") }
    }

    public func lock(_ path: String) throws(StorageError) -> any FileLock {
        let file = try Self.open(path, O_RDWR | O_CREAT)
        if flock(file, LOCK_EX | LOCK_NB) != 0 {
            let reason = errno
            close(file)
            guard reason == EWOULDBLOCK else { throw Self.failure("flock", path, reason) }
            let holder = String(decoding: try self.read(path, at: 0, count: 256), as: UTF8.self)
            let line = holder.split(separator: "\n").first.map(String.init) ?? "another process"
            throw .locked(directory: parentDirectory(path), owner: line)
        }
        let held = PosixFileLock(descriptor: file)
        // The text only helps whoever comes second; the lock itself is the kernel's and ends with the process.
        let text = Array("pid \(getpid())\n".utf8)
        let put = text.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        if put != text.count || ftruncate(file, off_t(text.count)) != 0 {
            // A full disk must not keep the server from starting: it may be here to compact.
            if errno != ENOSPC && errno != EDQUOT { throw Self.failure("write", path) }
        }
        return held
    }

    private static func open(_ path: String, _ flags: CInt) throws(StorageError) -> CInt {
        while true {
            #if canImport(Glibc)
            let file = Glibc.open(path, flags | O_CLOEXEC, 0o600)
            #elseif canImport(Musl)
            let file = Musl.open(path, flags | O_CLOEXEC, 0o600)
            #else
            let file = Darwin.open(path, flags | O_CLOEXEC, 0o600)
            #endif
            if file >= 0 { return file }
            if errno != EINTR { throw Self.failure("open", path) }
        }
    }

    private static func flush(_ file: CInt, _ path: String) throws(StorageError) {
        #if canImport(Darwin)
        // fsync does not reach the drive's platter there (fcntl(2)).
        if fcntl(file, F_FULLFSYNC) == -1 { throw Self.failure("fsync", path) }
        #else
        if fdatasync(file) != 0 { throw Self.failure("fdatasync", path) }
        #endif
    }

    private static func failure(_ call: String, _ path: String, _ number: CInt = errno) -> StorageError {
        if number == ENOSPC || number == EDQUOT { return .diskFull }
        return .fatal("\(call) \(path): \(String(cString: strerror(number)))")
    }
}

final class PosixFileLock: FileLock {
    private let descriptor: CInt
    init(descriptor: CInt) { self.descriptor = descriptor }
    deinit { close(self.descriptor) }
}
