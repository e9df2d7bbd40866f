import Protocol
import Registry
import Testing
import Units

/// Views: a registry of one topic, kept by differences, answers as the whole one does.
struct PartTests {
    private static let topics: [ViewTopic] = [
        .service(named: "web"), .service(named: "DB"), .service(named: "none"), .node(named: "N1"), .node(named: "n3"),
        .nodes, .services, .checks(nil), .checks(.critical), .keys(ByteKey("a/")), .keys(ByteKey("")),
    ]

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func aViewKeptByDifferencesAnswersAsTheWholeDoes(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        // What each view has, and what it was made from.
        var views = Self.topics.map { _ in PartialRegistry() }
        var parts = [RegistryPart?](repeating: nil, count: views.count)
        for _ in 0..<1500 {
            if generator.random.chance(10) { world.pass(seconds: UInt64(generator.random.below(400))) }
            try world.apply(generator.envelope(world))
            let chosen = generator.random.below(views.count)
            let topic = Self.topics[chosen]
            let part = world.registry.part(topic)
            // Now and then the older part is forgotten, and all is sent.
            let older = generator.random.chance(10) ? nil : parts[chosen]
            try views[chosen].take(#require(part.difference(from: older, bytesMax: 1 << 20)))
            parts[chosen] = part
            #expect(views[chosen].digest == part.digest)
            Self.compare(views[chosen].registry, world.registry, topic)
            var fresh = PartialRegistry()
            try fresh.take(#require(part.difference(from: nil, bytesMax: 1 << 20)))
            #expect(fresh.bytes == views[chosen].bytes)
        }
    }

    private static func compare(_ view: Registry, _ whole: Registry, _ topic: ViewTopic) {
        #expect(view.appliedIndex == whole.appliedIndex)
        switch topic {
        case .service(let key):
            let name = String(decoding: key.bytes, as: UTF8.self)
            #expect(view.health(ofService: name) == whole.health(ofService: name))
            #expect(view.instances(ofService: name) == whole.instances(ofService: name))
            #expect(view.checks(ofService: name) == whole.checks(ofService: name))
        case .node(let key):
            let name = String(decoding: key.bytes, as: UTF8.self)
            #expect(view.node(named: name) == whole.node(named: name))
            #expect(view.nodeServices(name) == whole.nodeServices(name))
            #expect(view.checks(onNode: name) == whole.checks(onNode: name))
        case .nodes: #expect(view.allNodes() == whole.allNodes())
        case .services: #expect(view.allServices() == whole.allServices())
        case .checks(let status): #expect(view.checks(inState: status) == whole.checks(inState: status))
        case .keys(let prefix):
            #expect(view.kvEntries(prefix: prefix) == whole.kvEntries(prefix: prefix))
            #expect(view.kvKeys(prefix: prefix) == whole.kvKeys(prefix: prefix))
        }
    }

    /// Whatever changes a topic's rows touches what it watches; and a service's rows are the same as long as its index is.
    @Test(arguments: [UInt64(5), 6])
    func noChangeEscapesTheWatch(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        for _ in 0..<1500 {
            if generator.random.chance(10) { world.pass(seconds: UInt64(generator.random.below(400))) }
            let before = world.registry
            let applied = try world.apply(generator.envelope(world))
            for topic in Self.topics {
                let old = before.part(topic)
                if world.registry.part(topic).digest == old.digest { continue }
                if case .keys(let prefix) = topic {
                    // Tombstones that are collected alter no answer but its index.
                    let values = [before, world.registry].map { $0.kvEntries(prefix: prefix).value }
                    if values[0] == values[1] { continue }
                }
                if case .service(let name) = topic {
                    let text = String(decoding: name.bytes, as: UTF8.self)
                    #expect(before.serviceIndex(named: text) != world.registry.serviceIndex(named: text))
                }
                let isTouched = applied.touched.contains { touch in old.watch.contains { $0.isTouched(by: touch) } }
                #expect(isTouched || applied.everythingTouched, "\(topic)")
            }
        }
    }

    @Test func topicsKeepTheirMeaningOverTheWire() {
        for topic in Self.topics { #expect(ViewTopic(kind: topic.kind, key: topic.key) == topic) }
        #expect(ViewTopic(kind: 0, key: []) == nil)
        #expect(ViewTopic(kind: 7, key: []) == nil)
        #expect(ViewTopic(kind: 5, key: Array("fine".utf8)) == nil)
    }

    @Test func aDifferenceThatIsTooLargeIsNone() throws {
        var world = World()
        try world.register(node: "n1")
        #expect(world.registry.part(.nodes).difference(from: nil, bytesMax: 10) == nil)
        #expect(world.registry.part(.nodes).difference(from: world.registry.part(.nodes), bytesMax: 0) != nil)
    }

    @Test func bytesThatAreCutOrChangedAreRefusedOrAnswerableButNeverATrap() throws {
        var world = World()
        try world.register(node: "n1")
        try world.register(node: "n2", checks: [Make.check("c")])
        let bytes = try #require(world.registry.part(.checks(nil)).difference(from: nil, bytesMax: 1 << 20))
        var view = PartialRegistry()
        for length in 0..<bytes.count {
            #expect(throws: RegistryError.self) { try view.take(Array(bytes[..<length])) }
        }
        #expect(throws: RegistryError.self) { try view.take(bytes + [0]) }
        #expect(view.digest == PartialRegistry().digest)
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 0x55
            try? view.take(changed)
        }
    }
}
