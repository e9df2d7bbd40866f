import Synchronization
import Units

/// Texts and lists of texts that many rows share, kept once: names, tags, meta, the outputs of checks. Bounded: a place
/// is taken by whoever comes last, so that a text that is no longer seen goes. It changes nothing about a row but where
/// its bytes lie.
final class TextPool: Sendable {
    /// One for the whole process: only the thread that applies, and loading, come here.
    static let shared = TextPool()

    private static let places = 16_384
    /// Bytes of a text: what is larger is seldom shared, and would be kept for long.
    private static let textBytesMax = 256
    /// Bytes of a list or map with its texts: 16,384 of each are 32 MiB at most.
    private static let listBytesMax = 1024

    private struct Places {
        var texts = [String?](repeating: nil, count: TextPool.places)
        var lists = [[String]?](repeating: nil, count: TextPool.places)
        var maps = [StringMap?](repeating: nil, count: TextPool.places)
    }

    private let places = Mutex(Places())

    func text(_ text: String) -> String {
        // Up to 15 bytes stand in the string itself.
        if text.utf8.count <= 15 || text.utf8.count > Self.textBytesMax { return text }
        let place = Self.place(of: text)
        return self.places.withLock { places in
            if let kept = places.texts[place], kept.utf8.elementsEqual(text.utf8) { return kept }
            places.texts[place] = text
            return text
        }
    }

    func list(_ list: [String]) -> [String] {
        if list.isEmpty || Self.bytes(of: list) > Self.listBytesMax { return list }
        let texts = list.map { self.text($0) }
        let place = Self.place(of: texts)
        return self.places.withLock { places in
            if let kept = places.lists[place], Self.areSame(kept, texts) { return kept }
            places.lists[place] = texts
            return texts
        }
    }

    func map(_ map: StringMap) -> StringMap {
        if map.isEmpty || Self.bytes(of: map.pairs.flatMap { [$0.key, $0.value] }) > Self.listBytesMax { return map }
        let shared = StringMap(map.pairs.map { .init(key: self.text($0.key), value: self.text($0.value)) })
        let place = Self.place(of: shared.pairs.flatMap { [$0.key, $0.value] })
        return self.places.withLock { places in
            if let kept = places.maps[place], Self.areSame(kept, shared) { return kept }
            places.maps[place] = shared
            return shared
        }
    }

    /// With the headers of the array and of texts that stand on the heap.
    private static func bytes(of texts: [String]) -> Int {
        texts.reduce(32) { $0 + 16 + ($1.utf8.count > 15 ? 32 + $1.utf8.count : 0) }
    }

    // `String`'s own equality takes texts for one that have different bytes.

    private static func areSame(_ left: [String], _ right: [String]) -> Bool {
        left.elementsEqual(right) { $0.utf8.elementsEqual($1.utf8) }
    }

    private static func areSame(_ left: StringMap, _ right: StringMap) -> Bool {
        left.pairs.elementsEqual(right.pairs) {
            $0.key.utf8.elementsEqual($1.key.utf8) && $0.value.utf8.elementsEqual($1.value.utf8)
        }
    }

    private static func place(of text: String) -> Int {
        var hasher = RowHasher(seed: 0)
        hasher.text(text)
        return Self.place(hasher)
    }

    private static func place(of texts: [String]) -> Int {
        var hasher = RowHasher(seed: 1)
        hasher.texts(texts)
        return Self.place(hasher)
    }

    private static func place(_ hasher: RowHasher) -> Int {
        Int(truncatingIfNeeded: hasher.finished() & UInt128(Self.places - 1))
    }
}

extension Node {
    /// The same row, with texts that others share.
    func pooled(in pool: TextPool = .shared) -> Node {
        var node = self
        node.address = pool.text(self.address)
        node.datacenter = pool.text(self.datacenter)
        node.taggedAddresses = pool.map(self.taggedAddresses)
        node.meta = pool.map(self.meta)
        return node
    }
}

extension ServiceInstance {
    func pooled(in pool: TextPool = .shared) -> ServiceInstance {
        var service = self
        service.node = pool.text(self.node)
        service.id = pool.text(self.id)
        service.name = pool.text(self.name)
        service.kind = pool.text(self.kind)
        service.tags = pool.list(self.tags)
        service.address = pool.text(self.address)
        service.meta = pool.map(self.meta)
        return service
    }
}

extension HealthCheck {
    func pooled(in pool: TextPool = .shared) -> HealthCheck {
        var check = self
        check.node = pool.text(self.node)
        check.name = pool.text(self.name)
        check.notes = pool.text(self.notes)
        check.output = pool.text(self.output)
        check.serviceID = pool.text(self.serviceID)
        check.serviceName = pool.text(self.serviceName)
        check.serviceTags = pool.list(self.serviceTags)
        check.type = pool.text(self.type)
        check.interval = pool.text(self.interval)
        check.timeout = pool.text(self.timeout)
        return check
    }
}
