import DNSCodec
import Registry
import Units

// Names that stand for others: what is ours is looked up at once, what is not is left to the recursors.

extension ResponderWork {
    /// Aliases that lead to aliases are followed so far, and no further; a circle ends there.
    static let maximumDepth = 3
    /// Host names of one answer that recursors are asked for.
    static let maximumOutside = 8

    /// Appends what the aliases among the answers stand for.
    mutating func followAliases() {
        for record in self.answers {
            guard case .cname(let target) = record.data else { continue }
            if self.settings.zone(of: target) == nil {
                if self.aliases.count < Self.maximumOutside, !self.aliases.contains(target) {
                    self.aliases.append(target)
                }
            } else if let inner = self.inner(target, type: self.question.type) {
                // In a circle the same aliases come again.
                self.answers += inner.answers.filter { Self.isAddressOrAlias($0) && !self.answers.contains($0) }
                self.aliases += inner.aliases
                self.wasLimited = self.wasLimited || inner.wasLimited
            }
        }
    }

    /// Puts a location's host beside it.
    mutating func addHost(_ target: DNSName) {
        if self.settings.zone(of: target) == nil {
            if self.hosts.count < Self.maximumOutside, !self.hosts.contains(target) { self.hosts.append(target) }
        } else if let inner = self.inner(target, type: .any) {
            self.addAdditional(inner.answers.filter(Self.isAddressOrAlias))
            // An alias that leads out has its address asked for as if it were the host.
            for name in inner.aliases where self.hosts.count < Self.maximumOutside && !self.hosts.contains(name) {
                self.hosts.append(name)
            }
        }
    }

    /// The answer to another question of our own zones; nil when it has none, or this one is deep enough already.
    private mutating func inner(_ name: DNSName, type: DNSRecordType) -> ResponderWork? {
        if self.depth >= Self.maximumDepth { return nil }
        self.hasFollowed = true
        var work = ResponderWork(
            settings: self.settings, registry: self.registry, cache: self.cache,
            question: DNSQuestion(name: name, type: type), isPlainUDP: self.isPlainUDP, order: self.order,
            wallTime: self.wallTime)
        work.depth = self.depth + 1
        work.run()
        self.order = work.order
        return work.code == .noError ? work : nil
    }

    private static func isAddressOrAlias(_ record: DNSRecord) -> Bool {
        switch record.data {
        case .a, .aaaa, .cname: true
        case .ns, .soa, .ptr, .txt, .srv, .other: false
        }
    }
}
