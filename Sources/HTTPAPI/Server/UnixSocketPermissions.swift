import Glibc
import NIOPosix

/// Who may use a socket in the file system: `unix_sockets`. What is nil stays as the process made it.
public struct UnixSocketPermissions: Sendable, Equatable {
    /// A name or a number.
    public var user: String?
    /// A name or a number; Consul takes numbers alone.
    public var group: String?
    /// Octal digits, as `chmod` takes them.
    public var mode: String?

    public init(user: String? = nil, group: String? = nil, mode: String? = nil) {
        self.user = user
        self.group = group
        self.mode = mode
    }

    public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
        case unknownUser(String)
        case unknownGroup(String)
        case badMode(String)
        case refused(path: String, what: String, reason: String)

        public var description: String {
            switch self {
            case .unknownUser(let name): "unix_sockets.user: there is no user \(name)"
            case .unknownGroup(let name): "unix_sockets.group: there is no group \(name)"
            case .badMode(let text): "unix_sockets.mode: must be octal digits up to 0777, such as \"0660\", not \(text)"
            case .refused(let path, let what, let reason): "\(path): its \(what) can't be changed: \(reason)"
            }
        }
    }

    /// What is wrong before there is any socket. Looks users and groups up, which may ask other machines: not for an event
    /// loop.
    public func validate() throws(Failure) {
        _ = try self.userID()
        _ = try self.groupID()
        _ = try self.bits()
    }

    /// The socket takes connections before this, with the permissions that the process's umask leaves.
    func apply(to path: String) async throws(Failure) {
        let result: Result<Void, Failure>
        do {
            result = try await NIOThreadPool.singleton.runIfActive {
                do throws(Failure) {
                    try self.applyHere(to: path)
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
        } catch {
            result = .failure(.refused(path: path, what: "owner", reason: "\(error)"))
        }
        try result.get()
    }

    private func applyHere(to path: String) throws(Failure) {
        let user = try self.userID()
        let group = try self.groupID()
        if user != nil || group != nil, chown(path, user ?? uid_t.max, group ?? gid_t.max) != 0 {
            throw .refused(path: path, what: "owner", reason: String(cString: strerror(errno)))
        }
        if let bits = try self.bits(), chmod(path, bits) != 0 {
            throw .refused(path: path, what: "mode", reason: String(cString: strerror(errno)))
        }
    }

    private func userID() throws(Failure) -> uid_t? {
        guard let user = self.user, !user.isEmpty else { return nil }
        if let number = uid_t(user) { return number }
        var entry = passwd()
        guard let id = Self.lookUp(&entry, { getpwnam_r(user, $0, $1, $2, $3) }, \.pw_uid) else {
            throw .unknownUser(user)
        }
        return id
    }

    private func groupID() throws(Failure) -> gid_t? {
        guard let group = self.group, !group.isEmpty else { return nil }
        if let number = gid_t(group) { return number }
        var entry = Glibc.group()
        guard let id = Self.lookUp(&entry, { getgrnam_r(group, $0, $1, $2, $3) }, \.gr_gid) else {
            throw .unknownGroup(group)
        }
        return id
    }

    /// By the functions that several threads may call at once, with room for a group of many members.
    private static func lookUp<Entry, ID>(
        _ entry: inout Entry,
        _ ask: (
            UnsafeMutablePointer<Entry>, UnsafeMutablePointer<CChar>, Int,
            UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>
        ) -> Int32,
        _ id: (Entry) -> ID
    ) -> ID? {
        var room = [CChar](repeating: 0, count: 4096)
        while true {
            var found: UnsafeMutablePointer<Entry>?
            let error = room.withUnsafeMutableBufferPointer { buffer -> Int32 in
                guard let base = buffer.baseAddress else { return EINVAL }
                return ask(&entry, base, buffer.count, &found)
            }
            if error == ERANGE, room.count < 1 << 24 {
                room = [CChar](repeating: 0, count: room.count * 2)
            } else if error != EINTR {
                return found == nil ? nil : id(entry)
            }
        }
    }

    private func bits() throws(Failure) -> mode_t? {
        guard let mode = self.mode, !mode.isEmpty else { return nil }
        guard let bits = mode_t(mode, radix: 8), bits <= 0o777 else { throw .badMode(mode) }
        return bits
    }
}
