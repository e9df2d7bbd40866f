import HCL

/// What is wrong with a configuration; `description` is the whole text for a person.
public enum AgentConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No such key; the nearest one that exists, if any is near. Places are `file:line:column`, or `flags`.
    case unknownKey(key: String, nearest: String?, place: String)
    /// Consul has this key, we don't, and going on without would mislead.
    case lacking(key: String, why: String, place: String)
    case wrongKind(key: String, expected: String, found: String, place: String)
    /// Nil: what is wrong stands in no file.
    case invalid(key: String, why: String, place: String?)
    case unreadable(path: String, why: String)
    case malformed(HCLError)
    case unknownFlag(flag: String, nearest: String?)
    case badFlag(flag: String, why: String)

    public var description: String {
        switch self {
        case .unknownKey(let key, let nearest, let place):
            "\(place): invalid config key \(key)" + (nearest.map { " (did you mean \($0)?)" } ?? "")
        case .lacking(let key, let why, let place):
            "\(place): \(key) is Consul's, but not in Serai: \(why)"
        case .wrongKind(let key, let expected, let found, let place):
            "\(place): \(key) must be \(expected), not \(found)"
        case .invalid(let key, let why, let place):
            (place.map { "\($0): " } ?? "") + "\(key): \(why)"
        case .unreadable(let path, let why):
            "\(path): can't be read: \(why)"
        case .malformed(let error):
            "\(error)"
        case .unknownFlag(let flag, let nearest):
            "flag provided but not defined: -\(flag)" + (nearest.map { " (did you mean -\($0)?)" } ?? "")
        case .badFlag(let flag, let why):
            "-\(flag): \(why)"
        }
    }
}
