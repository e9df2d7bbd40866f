import Protocol
import Registry
import Testing
import Units

struct ModelTests {
    @Test(arguments: [UInt64(1), 2, 3, 4, 5])
    func keysLocksAndSessionsAgreeWithANaiveModel(seed: UInt64) throws {
        var generator = CommandGenerator(seed: seed)
        var world = World()
        var model = NaiveModel()
        for name in ["n1", "n2", "n3"] { try world.register(node: name) }
        for step in 0..<3000 {
            if generator.random.chance(20) { world.pass(seconds: UInt64(generator.random.below(30))) }
            if generator.random.chance(1) { world.pass(seconds: 800) }
            model.index = world.index + 1
            model.now = world.now
            try self.step(&generator, &world, &model)
            model.tidy()
            for prefix in ["", "a", "a/", "a/b/", "b", "none"] where step % 5 == 0 {
                let answer = world.registry.kvEntries(prefix: ByteKey(prefix))
                #expect(answer.value == model.entries(under: prefix))
                #expect(answer.index == model.index(under: prefix))
            }
            let key = generator.key()
            let answer = world.registry.kvEntry(ByteKey(key))
            #expect(answer.value?.modifyIndex == model.keys[key]?.modify)
            #expect(answer.index == max(1, model.keys[key]?.modify ?? model.tableIndex))
        }
        #expect(world.registry.allSessions().value.map(\.id).sorted() == model.sessions.keys.sorted())
        #expect(world.tombstoneCount == model.graves.count)
    }

    private func step(_ generator: inout CommandGenerator, _ world: inout World, _ model: inout NaiveModel) throws {
        switch generator.random.below(10) {
        case 0..<6:
            let put = generator.put(world)
            let result = try world.run(.kvPut(put))
            let expected = model.put(put)
            #expect(result.kind == .ok(expected ?? false) || (expected == nil && !world.failure.isEmpty))
        case 6..<8:
            let delete = generator.delete(world)
            #expect(try world.run(.kvDelete(delete)).kind == .ok(model.delete(delete)))
        case 8:
            var session = generator.session()
            session.nodeChecks = []
            session.serviceChecks = []
            #expect(try world.run(.sessionCreate(session)).sessionID == session.id)
            model.sessions[session.id] = NaiveModel.Owner(
                deletes: session.behavior == .sessionDelete, delay: session.lockDelayNs)
        default:
            var destroy = LogSessionDestroy()
            destroy.ids = [generator.sessionID()]
            try world.run(.sessionDestroy(destroy))
            for id in destroy.ids { model.destroy(id) }
        }
    }
}
