import Registry
import Units

/// What a server keeps for its agents' views: the newest rows of each topic, and what leads to them from the versions
/// before. Many agents follow the same topics, so each is taken out of the registry, and each difference made, once.
package actor ViewBoard {
    package struct Settings: Sendable {
        /// Topics kept, and rows of all their versions.
        package var topicsMax = 4096
        package var rowsMax = 1_000_000
        /// Versions before the newest that a difference may lead from; from others all rows are sent.
        package var versionsMax = 4
        /// Of an encoded difference: it has to go into one frame.
        package var differenceBytesMax = 12 << 20
        package init() {}
    }

    package struct Version: Sendable {
        package var part: RegistryPart
        package var digest: [UInt8]
    }

    private struct Entry {
        /// As long as it is the same, so is the newest version.
        var mark: [UInt128]
        var newest: Version
        var older: [Version] = []
        /// To the newest version, by the digest of where they lead from; nil: larger than it may be.
        var differences: [[UInt8]: [UInt8]?] = [:]
        var lastUse: UInt64

        var rows: Int { self.older.reduce(self.newest.part.rowCount) { $0 + $1.part.rowCount } }
    }

    private let settings: Settings
    private var entries: [ViewTopic: Entry] = [:]
    package private(set) var rows = 0
    private var uses: UInt64 = 0

    package init(settings: Settings = Settings()) { self.settings = settings }

    /// The topic's version in this state, or a later one.
    package func version(of topic: ViewTopic, in registry: Registry) -> Version {
        self.uses += 1
        let mark = registry.mark(of: topic)
        if var entry = self.entries[topic] {
            entry.lastUse = self.uses
            if entry.newest.part.appliedIndex >= registry.appliedIndex || entry.mark == mark {
                self.entries[topic] = entry
                return entry.newest
            }
            self.rows -= entry.rows
            let part = registry.part(topic)
            let digest = part.digest
            if digest != entry.newest.digest {
                entry.older.append(entry.newest)
                entry.older.removeFirst(max(0, entry.older.count - self.settings.versionsMax))
            }
            entry.newest = Version(part: part, digest: digest)
            entry.mark = mark
            entry.differences = [:]
            self.keep(entry, topic)
            return entry.newest
        }
        let part = registry.part(topic)
        let version = Version(part: part, digest: part.digest)
        self.keep(Entry(mark: mark, newest: version, lastUse: self.uses), topic)
        return version
    }

    /// What leads from the rows with this digest to `version`; from nothing when they are not known any more. Nil: too
    /// large for an agent to hold.
    package func difference(to version: Version, of topic: ViewTopic, from digest: [UInt8]) -> [UInt8]? {
        let entry = self.entries[topic]
        let isNewest =
            entry?.newest.digest == version.digest
            && entry?.newest.part.appliedIndex == version.part.appliedIndex
        let known = (entry.map { [$0.newest] } ?? []) + (entry?.older ?? [])
        let older = digest.isEmpty ? nil : known.first { $0.digest == digest }
        let name = older == nil ? [] : digest
        if isNewest, let made = entry?.differences[name] { return made }
        let made = version.part.difference(from: older?.part, bytesMax: self.settings.differenceBytesMax)
        if isNewest { self.entries[topic]?.differences[name] = .some(made) }
        return made
    }

    private func keep(_ entry: Entry, _ topic: ViewTopic) {
        self.entries[topic] = entry
        self.rows += entry.rows
        while self.rows > self.settings.rowsMax || self.entries.count > self.settings.topicsMax {
            guard let oldest = self.entries.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
            self.entries[oldest.key] = nil
            self.rows -= oldest.value.rows
        }
    }
}
