/// Everything that can go wrong in this room.
public enum StorageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another process (or another object of this one) has the directory; `owner` says which, as far as it is known.
    case locked(directory: String, owner: String)
    /// Written by a newer version than this one; nothing was touched.
    case newerFormat(file: String, found: Int, supported: Int)
    /// No space left. What was asked for is rolled back and the object stays usable.
    case diskFull
    /// A write, a sync or a read of the log failed, or a page is damaged: nobody can say any more what is on disk. The
    /// process must end; the object refuses everything from here on, and the next start re-reads the files.
    case fatal(String)
    /// What was read is not what was written (snapshots, the agent's own files).
    case corrupt(String)
    /// The caller asked for something that makes no sense here.
    case invalid(String)

    public var description: String {
        switch self {
        case .locked(let directory, let owner): "\(directory) is in use by \(owner)"
        case .newerFormat(let file, let found, let supported):
            "\(file) has format \(found), this version knows formats up to \(supported): use the newer version"
        case .diskFull: "no space left on the disk"
        case .fatal(let text): "storage failed: \(text)"
        case .corrupt(let text): "damaged data: \(text)"
        case .invalid(let text): text
        }
    }
}
