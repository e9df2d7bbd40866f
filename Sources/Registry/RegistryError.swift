import Units

/// Why a registry can't go on, or can't be read. Each thrown by `apply` must stop the server: it can't tell what the
/// others made of the entry.
public enum RegistryError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The entry's envelope has a format that this version does not know.
    case unknownFormat(UInt32, LogIndex)
    /// The entry's command, or a choice within it, was written by a version that knows more.
    case unknownCommand(String, LogIndex)
    /// This server's state at the index (the first of the two) is not what the leader's was.
    case stateDiverged(LogIndex)
    /// A row stream that can't be read; the text says where and why.
    case badRow(String)

    public var description: String {
        switch self {
        case .unknownFormat(let format, let index):
            "log entry \(index) has format \(format), which this version does not know: upgrade this server"
        case .unknownCommand(let what, let index):
            "log entry \(index) holds \(what), which this version does not know: upgrade this server"
        case .stateDiverged(let index):
            "the state of this server at log index \(index) differs from the leader's"
        case .badRow(let why):
            "unreadable row stream: \(why)"
        }
    }
}
