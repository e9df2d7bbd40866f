#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Small files that hold keys and certificates. All calls block: not for an event loop or a cooperative thread.
enum SecretFile {
    /// Larger files are refused; a key file has a few kilobytes at most.
    static let bytesMax = 256 * 1024

    /// Replaces the file in one step: written beside it, synced, renamed, and the directory synced. After a crash the
    /// old content or the new is there, never a mixture.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o600) throws(CertificatesError) {
        let temporary = "\(path).tmp"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else { throw Self.failure(temporary, "create") }
        do throws(CertificatesError) {
            try Self.writeAll(bytes, to: file, path: temporary)
            // The process's umask may have taken bits away, or an old temporary file may have had others.
            guard fchmod(file, mode) == 0 else { throw Self.failure(temporary, "set mode") }
            guard fsync(file) == 0 else { throw Self.failure(temporary, "sync") }
        } catch {
            close(file)
            unlink(temporary)
            throw error
        }
        guard close(file) == 0 else { throw Self.failure(temporary, "close") }
        guard rename(temporary, path) == 0 else { throw Self.failure(path, "rename") }
        try Self.syncDirectory(of: path)
    }

    /// `secret` files must not be readable or writable by group or others.
    static func read(_ path: String, secret: Bool) throws(CertificatesError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { throw .fileMissing(path: path) }
            throw Self.failure(path, "open")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.failure(path, "inspect") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .file(path: path, reason: "not a regular file") }
        if secret, status.st_mode & 0o077 != 0 {
            throw .filePermissions(path: path, mode: "0" + String(status.st_mode & 0o777, radix: 8))
        }
        guard status.st_size <= Self.bytesMax else { throw .fileDamaged(path: path, reason: "too large") }
        return try Self.readAll(file, path: path)
    }

    static func makeDirectory(_ path: String) throws(CertificatesError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw Self.failure(path, "create directory") }
    }

    private static func writeAll(_ bytes: [UInt8], to file: Int32, path: String) throws(CertificatesError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { SystemCalls.write(file, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                throw Self.failure(path, "write")
            }
            rest = rest.dropFirst(written)
        }
    }

    private static func readAll(_ file: Int32, path: String) throws(CertificatesError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while bytes.count <= Self.bytesMax {
            let count = chunk.withUnsafeMutableBytes { SystemCalls.read(file, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw Self.failure(path, "read")
            }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk.prefix(count))
        }
        throw .fileDamaged(path: path, reason: "too large")
    }

    private static func syncDirectory(of path: String) throws(CertificatesError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let joined = parts.joined(separator: "/")
        let directory = joined.isEmpty ? (path.hasPrefix("/") ? "/" : ".") : joined
        let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw Self.failure(directory, "open directory") }
        defer { close(file) }
        guard fsync(file) == 0 else { throw Self.failure(directory, "sync directory") }
    }

    private static func failure(_ path: String, _ what: String) -> CertificatesError {
        .file(path: path, reason: "can't \(what): \(String(cString: strerror(errno)))")
    }
}

/// The system's calls, under names that `SecretFile`'s own do not hide.
private enum SystemCalls {
    static func read(_ file: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.read(file, buffer, count)
        #elseif canImport(Musl)
        Musl.read(file, buffer, count)
        #elseif canImport(Darwin)
        Darwin.read(file, buffer, count)
        #endif
    }

    static func write(_ file: Int32, _ buffer: UnsafeRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.write(file, buffer, count)
        #elseif canImport(Musl)
        Musl.write(file, buffer, count)
        #elseif canImport(Darwin)
        Darwin.write(file, buffer, count)
        #endif
    }
}
