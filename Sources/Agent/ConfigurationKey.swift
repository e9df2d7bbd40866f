/// What a key may hold.
indirect enum ConfigurationShape: Sendable, Equatable {
    case flag
    case count
    case text
    /// Text such as `10s`.
    case duration
    /// A list of texts; one text stands for a list of one.
    case texts
    case textMap
    /// Lists of texts by name: HTTP headers.
    case textsMap
    /// One object of the vocabulary with this name.
    case block(String)
    /// Such objects, one or a list of them.
    case blocks(String)
    /// Such objects by names of the user's own.
    case map(String)
    /// Whatever is written.
    case any

    /// What people call it; in the table of keys and in errors.
    var words: String {
        switch self {
        case .flag: "true or false"
        case .count: "a whole number"
        case .text: "text"
        case .duration: "a duration such as \"10s\" or \"150ms\""
        case .texts: "a list of texts"
        case .textMap: "an object whose values are texts"
        case .textsMap: "an object whose values are lists of texts"
        case .block: "one block"
        case .blocks: "a block or a list of objects"
        case .map: "an object whose values are objects"
        case .any: "any"
        }
    }
}

/// One key of the configuration's vocabulary: Consul's, or one of the few of our own.
struct ConfigurationKey: Sendable {
    enum Standing: Sendable, Equatable {
        /// Has its effect from the next start on.
        case used
        /// Taken over by a reload, too.
        case live
        /// Consul's, without effect here, and harmless to leave out: a warning.
        case ignored
        /// Consul's, which we lack and whose absence would open or lose something: an error, save for the values that turn
        /// it off (`false`, `-1`, `""`, `0`, empty).
        case refused
        /// One of those that the row of its block speaks for.
        case spokenFor
    }

    /// As people write it, with dots between the names of blocks.
    var path: String
    var shape: ConfigurationShape
    var standing: Standing
    /// What it does; or why it has no effect or is refused.
    var about: String
    /// Names within a block that is ignored or refused as a whole.
    var names: [String] = []

    var name: String { self.path.split(separator: ".").last.map(String.init) ?? self.path }

    static func used(_ path: String, _ shape: ConfigurationShape, _ about: String) -> Self {
        Self(path: path, shape: shape, standing: .used, about: about)
    }

    static func live(_ path: String, _ shape: ConfigurationShape, _ about: String) -> Self {
        Self(path: path, shape: shape, standing: .live, about: about)
    }

    static func ignored(_ path: String, _ why: String) -> Self {
        Self(path: path, shape: .any, standing: .ignored, about: why)
    }

    static func refused(_ path: String, _ why: String) -> Self {
        Self(path: path, shape: .any, standing: .refused, about: why)
    }

    /// A block whose names are known, so that a misspelt one is told, and that is ignored as a whole.
    static func ignored(_ path: String, _ names: String, _ why: String) -> Self {
        var key = Self.ignored(path, why)
        key.names = names.split(separator: " ").map(String.init)
        return key
    }

    static func refused(_ path: String, _ names: String, _ why: String) -> Self {
        var key = Self.refused(path, why)
        key.names = names.split(separator: " ").map(String.init)
        return key
    }
}

/// The keys that may stand in one object.
struct ConfigurationVocabulary: Sendable {
    private var keys: [String: ConfigurationKey] = [:]
    /// Service and check definitions take the API's spelling, too: `DeregisterCriticalServiceAfter`.
    let takesCamelCase: Bool

    init(_ keys: [ConfigurationKey] = [], takesCamelCase: Bool = false) {
        self.takesCamelCase = takesCamelCase
        for key in keys { self.add(key) }
    }

    mutating func add(_ key: ConfigurationKey) {
        // A block's own row stays when its keys have rows, too.
        let folded = self.folded(key.name)
        if self.keys[folded] == nil || key.standing != .spokenFor { self.keys[folded] = key }
    }

    /// Without regard to case, as in Consul.
    subscript(name: String) -> ConfigurationKey? { self.keys[self.folded(name)] }

    var names: [String] { self.keys.values.map(\.name) }

    private func folded(_ name: String) -> String {
        let lowered = name.lowercased()
        return self.takesCamelCase ? lowered.filter { $0 != "_" } : lowered
    }
}

extension ConfigurationKeys {
    /// Every vocabulary by its name: the outermost is "", a block's is its path, and those of definitions stand in angle
    /// brackets.
    static let vocabularies: [String: ConfigurationVocabulary] = {
        var found = definitions
        for key in all {
            var names = key.path.split(separator: ".").map(String.init)
            names.removeLast()
            var key = key
            if !key.names.isEmpty {
                found[key.path] = ConfigurationVocabulary(
                    key.names.map {
                        ConfigurationKey(path: "\(key.path).\($0)", shape: .any, standing: .spokenFor, about: key.about)
                    })
                key.shape = .block(key.path)
            }
            found[names.joined(separator: "."), default: .init()].add(key)
            // The blocks around it, if they have no row of their own.
            while let block = names.popLast() {
                let blockPath = (names + [block]).joined(separator: ".")
                let row = ConfigurationKey(path: blockPath, shape: .block(blockPath), standing: .spokenFor, about: "")
                found[names.joined(separator: "."), default: .init()].add(row)
            }
        }
        return found
    }()

    /// Keys that are written otherwise in `new` and that only a start takes over.
    static func changed(from old: AgentConfiguration, to new: AgentConfiguration) -> [String] {
        all.filter { key in
            key.standing == .used && old.written.value(at: key.path) != new.written.value(at: key.path)
        }.map(\.path)
    }

    /// The known name nearest to `name` by edit distance; nil when none is near.
    static func nearest(to name: String, among names: some Sequence<String>) -> String? {
        let allowed = max(1, name.utf8.count / 3)
        var best: (distance: Int, name: String)?
        for candidate in names {
            let distance = editDistance(Array(name.utf8), Array(candidate.utf8))
            guard distance <= allowed else { continue }
            // The smaller name wins a tie: dictionaries have no order.
            if let found = best, (found.distance, found.name) < (distance, candidate) { continue }
            best = (distance, candidate)
        }
        return best?.name
    }

    /// How many letters are to be put in, left out or changed. Names longer than any of ours are as far as can be.
    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        if left.count > 128 { return left.count }
        var previous = Array(0...right.count)
        for (row, byte) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                let substitution = previous[column] + (byte == other ? 0 : 1)
                current.append(min(substitution, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[right.count]
    }
}
