import DNSCodec
import Registry
import Synchronization
import Units

/// What a service, or whoever has an address, has to say, before instances are shuffled and counted.
struct PreparedAnswer: Sendable {
    struct Item: Sendable {
        /// A, AAAA, CNAME, SRV or PTR.
        var data: DNSRecordData
        var additional: [DNSRecord] = []
        /// Where a location's target is a host name whose address others know.
        var host: DNSName?
    }

    /// False when there is no instance that may be named: the name does not exist.
    var isThere: Bool
    var items: [Item] = []

    /// What it takes in memory, roughly and rather too much.
    var bytes: Int {
        self.items.reduce(256) { sum, item in
            item.additional.reduce(sum + 128 + item.data.roughSize) { $0 + 96 + $1.name.wireLength + $1.data.roughSize }
        }
    }
}

extension DNSRecordData {
    fileprivate var roughSize: Int {
        switch self {
        case .a, .aaaa: 48
        case .cname(let name), .ns(let name), .ptr(let name): 48 + name.wireLength
        case .srv(let location): 64 + location.target.wireLength
        case .soa: 640
        case .txt(let strings): strings.reduce(48) { $0 + 48 + $1.count }
        case .other(_, let bytes): 48 + bytes.count
        }
    }
}

/// Keeps what there is to say for as long as the catalog is the same. One catalog at a time: the first question
/// after a change of nodes, services or checks empties it; writes of keys and sessions don't. What would exceed the bound
/// empties it, too, so that it never costs more than that.
final class AnswerCache: Sendable {
    struct Key: Hashable, Sendable {
        enum Kind: Hashable, Sendable {
            /// In lower case, as the catalog folds names: bytes, for to text two spellings of one letter are the same.
            case addresses(service: ByteKey, tag: ByteKey?)
            case locations(service: ByteKey, tag: ByteKey?)
            case names(IPAddress)
        }

        var kind: Kind
        var domain: DNSName

        var bytes: Int {
            switch self.kind {
            case .addresses(let service, let tag), .locations(let service, let tag):
                2 * (service.count + (tag?.count ?? 0))
            case .names: 64
            }
        }
    }

    /// The hashes of the three tables, which apply keeps: they tell states apart also after a restore, when indexes go
    /// back.
    private struct Catalog: Equatable {
        var nodes: UInt128
        var services: UInt128
        var checks: UInt128

        init(_ registry: Registry) {
            let hashes = registry.hashes
            self.nodes = hashes.nodes
            self.services = hashes.services
            self.checks = hashes.checks
        }
    }

    private struct State {
        var catalog: Catalog?
        var entries: [Key: PreparedAnswer] = [:]
        var bytes = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: ByteCount) { self.limit = limit.rawValue }

    func answer(_ key: Key, in registry: Registry, make: () -> PreparedAnswer) -> PreparedAnswer {
        if self.limit <= 0 { return make() }
        let catalog = Catalog(registry)
        let found = self.state.withLock { state in state.catalog == catalog ? state.entries[key] : nil }
        if let found { return found }
        let made = make()
        let bytes = made.bytes + key.bytes
        // A single answer that takes much of the room would push all others out.
        if bytes > self.limit / 4 { return made }
        self.state.withLock { state in
            if state.catalog != catalog || state.bytes + bytes > self.limit {
                state = State(catalog: catalog)
            }
            if state.entries.updateValue(made, forKey: key) == nil { state.bytes += bytes }
        }
        return made
    }
}
