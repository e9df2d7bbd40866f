import Protocol
import Registry
import Testing
import Units

private let idA = "aaaaaaaa-0000-0000-0000-000000000001"
private let idB = "bbbbbbbb-0000-0000-0000-000000000002"

struct RegisterTests {
    @Test func aNodeIsRegisteredWithEverythingItHas() throws {
        var world = World()
        var node = Make.node("n1", id: idA)
        node.datacenter = "dc1"
        node.meta = ["z": "1", "a": "2"]
        node.taggedAddresses = ["wan": "1.2.3.4", "lan": "10.0.0.1"]
        var register = LogRegister()
        register.node = node
        #expect(try world.run(.register(register)).ok)
        #expect(
            world.registry.node(named: "N1").value
                == Node(
                    id: idA, name: "n1", address: "10.0.0.1", datacenter: "dc1",
                    taggedAddresses: StringMap(["lan": "10.0.0.1", "wan": "1.2.3.4"]),
                    meta: StringMap(["a": "2", "z": "1"]), createIndex: 1, modifyIndex: 1))
        #expect(world.registry.node(withID: idA.uppercased()).value?.name == "n1")
        #expect(world.registry.node(withID: idB).value == nil)
    }

    @Test func rowsThatShareTheirTextsKeepEachItsOwnBytes() throws {
        var world = World()
        // One text to Swift, two to everybody else.
        for (node, text) in [("n1", "caf\u{E9} de la gare"), ("n2", "cafe\u{301} de la gare")] {
            var service = Make.service("web", tags: [text])
            service.meta = [text: text]
            try world.register(node: node, service: service)
        }
        let found = world.registry.instances(ofService: "web").value.map(\.service)
        #expect(found.map { $0.tags[0].utf8.count } == [16, 17])
        #expect(found.map { $0.meta.pairs[0].key.utf8.count } == [16, 17])
        #expect(found.map { $0.meta.pairs[0].value.utf8.count } == [16, 17])
    }

    @Test func aNodeNeedsANameAndAnAddress() throws {
        var world = World()
        try world.register(node: "", address: "10.0.0.1")
        #expect(world.failure == "Must provide node and address")
        try world.register(node: "n1", address: "")
        #expect(world.failure == "Must provide node and address")
        #expect(world.registry.allNodes().value.isEmpty)
    }

    @Test func identicalRegistrationsMoveNoIndexAndWakeNobody() throws {
        var world = World()
        let checks = [Make.check("c", service: "web"), Make.check("n")]
        try world.register(service: Make.service("web", tags: ["v1"]), checks: checks)
        let before = world.registry.hashes
        try world.register(service: Make.service("web", tags: ["v1"]), checks: checks)
        #expect(world.touched.isEmpty)
        #expect(world.registry.hashes == before)
        #expect(world.registry.health(ofService: "web").index == 1)
    }

    @Test func skipNodeUpdateLeavesTheNodeAlone() throws {
        var world = World()
        try world.register(address: "10.0.0.1")
        try world.register(address: "10.0.0.2", service: Make.service("web"), skipNodeUpdate: true)
        #expect(world.registry.node(named: "n1").value?.address == "10.0.0.1")
        #expect(world.registry.instances(ofService: "web").value.count == 1)
        try world.register(address: "10.0.0.2")
        #expect(world.registry.node(named: "n1").value?.address == "10.0.0.2")
        #expect(world.registry.node(named: "n1").value?.createIndex == 1)
        try world.register(node: "n2", address: "10.0.0.3", skipNodeUpdate: true)
        #expect(world.registry.node(named: "n2").value?.address == "10.0.0.3")
    }

    @Test func anAgentThatComesBackUnderANewIDLeavesNothingOfTheOldOne() throws {
        var world = World()
        let alive = Make.check("serfHealth")
        try world.register(id: idA, service: Make.service("old"), checks: [alive, Make.check("c", service: "old")])
        // While the old one lives, the name is its own.
        try world.register(id: idB, address: "10.0.0.2")
        #expect(world.failure.contains("is reserved by node \(idA)"))
        var dead = alive
        dead.status = "critical"
        try world.register(id: idA, checks: [dead])
        try world.register(id: idB, address: "10.0.0.2", service: Make.service("new"))
        #expect(world.registry.node(named: "n1").value?.id == idB)
        #expect(world.registry.node(withID: idA).value == nil)
        #expect(world.registry.nodeServices("n1").value?.services.map(\.id) == ["new"])
        #expect(world.registry.checks(onNode: "n1").value.isEmpty)
        #expect(world.registry.health(ofService: "old").value.isEmpty)
    }

    @Test func aNodeThatWasRegisteredByHandKeepsItsServicesUnderANewID() throws {
        var world = World()
        try world.register(id: idA, service: Make.service("web"))
        try world.register(id: idB)
        #expect(world.registry.node(named: "n1").value?.id == idB)
        #expect(world.registry.nodeServices("n1").value?.services.map(\.id) == ["web"])
    }

    @Test func aVerdictOnANodeThatWasDeregisteredDoesNotBringItBack() throws {
        var world = World()
        try world.register(address: "10.0.0.1", checks: [Make.check("serfHealth")])
        try world.deregister(node: "n1")
        let before = world.registry.hashes
        try world.register(address: "", checks: [Make.check("serfHealth")], skipNodeUpdate: true)
        #expect(world.failure == "Node \"n1\" is not registered")
        #expect(world.registry.hashes == before)
        #expect(world.registry.allNodes().value.isEmpty)
    }

    @Test func aRequestWithoutIDKeepsTheNodes() throws {
        var world = World()
        try world.register(id: idA)
        try world.register(address: "10.0.0.9")
        #expect(world.registry.node(named: "n1").value?.id == idA)
    }

    @Test func aNameOfALivingNodeIsReserved() throws {
        var world = World()
        try world.register(node: "n1", id: idA, checks: [Make.check("serfHealth")])
        try world.register(node: "N1", id: idB, address: "10.0.0.2")
        #expect(
            world.failure
                == "failed inserting node: Error while renaming Node ID: \"\(idB)\": Node name N1 is reserved by node "
                + "\(idA) with name n1 (10.0.0.1)")
        #expect(world.registry.node(named: "n1").value?.id == idA)
    }

    @Test func aNameOfADeadOrAgentlessNodeIsTakenOver() throws {
        var world = World()
        try world.register(node: "n1", id: idA)
        try world.register(node: "n1", id: idB)
        #expect(world.failure == "")
        #expect(world.registry.node(named: "n1").value?.id == idB)
        #expect(world.registry.node(withID: idA).value == nil)
        try world.register(node: "n1", checks: [Make.check("serfHealth", "critical")])
        try world.register(node: "n1", id: idA)
        #expect(world.registry.node(named: "n1").value?.id == idA)
    }

    @Test func aNodeWithoutIDIsAdoptedEvenWhenAlive() throws {
        var world = World()
        try world.register(node: "n1", checks: [Make.check("serfHealth")])
        try world.register(node: "n1", id: idA)
        #expect(world.failure == "")
        #expect(world.registry.node(named: "n1").value?.id == idA)
        #expect(world.registry.node(named: "n1").value?.createIndex == 1)
    }

    @Test func anIDWithANewNameRenamesTheNode() throws {
        var world = World()
        try world.register(node: "old", id: idA, service: Make.service("web"))
        try world.session("s1", node: "old")
        try world.register(node: "new", id: idA)
        #expect(world.registry.allNodes().value.map(\.name) == ["new"])
        #expect(world.registry.node(named: "new").value?.createIndex == 1)
        #expect(world.registry.instances(ofService: "web").value.isEmpty)
        #expect(!world.hasSession("s1"))
        try world.register(node: "alive", id: idB, checks: [Make.check("serfHealth")])
        try world.register(node: "alive", id: idA, address: "10.1.1.1")
        #expect(
            world.failure
                == "failed inserting node: Error while renaming Node ID: \"\(idA)\" (10.1.1.1): Node name alive is "
                + "reserved by node \(idB) with name alive (10.0.0.1)")
    }

    @Test func aServiceNeedsANameAndHasItsNameForID() throws {
        var world = World()
        var service = LogService()
        service.id = "x"
        try world.register(service: service)
        #expect(world.failure == "Must provide service name with ID")
        #expect(world.registry.allNodes().value.isEmpty)
        service.id = ""
        service.name = "web"
        try world.register(service: service)
        #expect(world.registry.nodeServices("n1").value?.services.map(\.id) == ["web"])
    }

    @Test func everythingOfARegistrationIsTakenBackWhenACheckFails() throws {
        var world = World()
        let hashes = world.registry.hashes
        try world.register(service: Make.service("web"), checks: [Make.check("c", service: "none")])
        #expect(world.failure == "failed inserting check: Missing service registration on node \"n1\"")
        #expect(world.registry.hashes == hashes)
        #expect(world.touched.isEmpty)
        try world.register(checks: [Make.check("c", node: "n2")])
        #expect(world.failure == "check node \"n2\" does not match node \"n1\"")
        try world.register(checks: [Make.check("c", "great")])
        #expect(world.failure == "Bad check status: \"great\"")
        #expect(world.registry.hashes == hashes)
    }

    @Test func aCheckIsCriticalUntilItSaysOtherwiseAndGoesByItsName() throws {
        var world = World()
        var check = LogCheck()
        check.name = "alive"
        try world.register(checks: [check])
        let stored = try #require(world.registry.checks(onNode: "n1").value.first)
        #expect(stored.id == "alive" && stored.status == .critical && stored.node == "n1")
    }

    @Test func checksCarryTheirServicesNameAndTags() throws {
        var world = World()
        try world.register(
            service: Make.service("web", id: "w1", tags: ["v1"]), checks: [Make.check("c", service: "w1")])
        var check = try #require(world.registry.checks(ofService: "web").value.first)
        #expect(check.serviceName == "web" && check.serviceTags == ["v1"])
        try world.register(service: Make.service("api", id: "w1", tags: ["v2"]))
        check = try #require(world.registry.checks(ofService: "api").value.first)
        #expect(check.serviceName == "api" && check.serviceTags == ["v2"] && check.modifyIndex == 2)
        #expect(world.registry.instances(ofService: "web").value.isEmpty)
    }

    @Test func deregisteringCascades() throws {
        var world = World()
        try world.register(
            service: Make.service("web"), checks: [Make.check("c", service: "web"), Make.check("node")])
        try world.register(service: Make.service("db"))
        try world.deregister(node: "n1", service: "WEB")
        #expect(world.registry.checks(onNode: "n1").value.map(\.id) == ["node"])
        try world.deregister(node: "n1", check: "node")
        #expect(world.registry.checks(onNode: "n1").value.isEmpty)
        try world.deregister(node: "n1")
        #expect(world.registry.catalogCounts == (0, 0, 0, 0))
        #expect(world.registry.nodeServices("n1").value == nil)
        try world.deregister(node: "n1")
        #expect(world.last.ok && world.touched.isEmpty)
        try world.deregister(node: "n1", service: "none")
        #expect(world.last.ok)
        try world.deregister(node: "")
        #expect(world.failure == "Must provide node")
    }

    @Test func namesWithAZeroByteDoNotRunIntoEachOther() throws {
        var world = World()
        try world.register(node: "a", service: Make.service("s", id: "\u{0}x"))
        try world.register(node: "a\u{0}", service: Make.service("s", id: "x"))
        #expect(world.registry.nodeServices("a").value?.services.count == 1)
        #expect(world.registry.nodeServices("a\u{0}").value?.services.count == 1)
        try world.deregister(node: "a")
        #expect(world.registry.instances(ofService: "s").value.map(\.service.id) == ["x"])
    }
}

struct CatalogQueryTests {
    private func world() throws -> World {
        var world = World()
        try world.register(
            node: "n2", service: Make.service("web", id: "w2", tags: ["v2", "eu"]),
            checks: [Make.check("w2", "warning", service: "w2")])
        try world.register(
            node: "n1", service: Make.service("web", id: "w1", tags: ["v1", "eu"]),
            checks: [Make.check("serfHealth"), Make.check("w1", service: "w1")])
        try world.register(
            node: "n1", service: Make.service("db"), checks: [Make.check("db", "critical", service: "db")])
        return world
    }

    @Test func servicesCarryTheSortedUnionOfTheirTags() throws {
        var world = try self.world()
        try world.register(node: "n1", service: Make.service("Web", id: "other", tags: ["z"]))
        let services = world.registry.allServices()
        #expect(services.value.map(\.name) == ["Web", "db", "web"])
        #expect(services.value.map(\.tags) == [["z"], [], ["eu", "v1", "v2"]])
        #expect(services.index == 4)
        let onN2 = world.registry.services { $0.node.name == "n2" }
        #expect(onN2.value == [ServiceSummary(name: "web", tags: ["eu", "v2"])])
    }

    @Test func instancesComeWithTheirNodesInOrder() throws {
        let registry = try self.world().registry
        let all = registry.instances(ofService: "WEB").value
        #expect(all.map(\.service.id) == ["w1", "w2"])
        #expect(all.map(\.node.name) == ["n1", "n2"])
        #expect(registry.instances(ofService: "web", tags: ["eu", "v2"]).value.map(\.service.id) == ["w2"])
        #expect(registry.instances(ofService: "web", tags: ["EU", "V2"]).value.map(\.service.id) == ["w2"])
        #expect(registry.instances(ofService: "web", tags: ["v1", "v2"]).value.isEmpty)
        #expect(registry.instances(ofService: "web", tags: [""]).value.isEmpty)
        #expect(registry.instances(ofService: "we").value.isEmpty)
    }

    @Test func healthCarriesNodeChecksAndTheInstancesOwn() throws {
        let registry = try self.world().registry
        let all = registry.health(ofService: "web").value
        #expect(all.map { $0.checks.map(\.id) } == [["serfHealth", "w1"], ["w2"]])
        #expect(all.map(\.status) == [.passing, .warning])
        #expect(registry.health(ofService: "web", passingOnly: true).value.map(\.service.id) == ["w1"])
        #expect(registry.health(ofService: "db", passingOnly: true).value.isEmpty)
        #expect(registry.health(ofService: "db").value.first?.status == .critical)
    }

    @Test func checksAreListedByServiceNodeAndState() throws {
        let registry = try self.world().registry
        #expect(registry.checks(ofService: "web").value.map(\.id) == ["w1", "w2"])
        #expect(registry.checks(onNode: "N1").value.map(\.id) == ["db", "serfHealth", "w1"])
        #expect(registry.checks(onNode: "n3").value.isEmpty)
        #expect(registry.checks(inState: .passing).value.map(\.id) == ["serfHealth", "w1"])
        #expect(registry.checks(inState: .warning).value.map(\.id) == ["w2"])
        #expect(registry.checks(inState: nil).value.count == 4)
    }

    @Test func aCheckLeavesItsOldState() throws {
        var world = try self.world()
        try world.register(node: "n1", checks: [Make.check("serfHealth", "critical")])
        #expect(world.registry.checks(inState: .passing).value.map(\.id) == ["w1"])
        #expect(world.registry.checks(inState: .critical).value.map(\.id) == ["db", "serfHealth"])
        try world.deregister(node: "n1", check: "serfHealth")
        #expect(world.registry.checks(inState: .critical).value.map(\.id) == ["db"])
    }

    @Test func aNodeComesWithItsServices() throws {
        let registry = try self.world().registry
        let found = try #require(registry.nodeServices("n1").value)
        #expect(found.node.name == "n1")
        #expect(found.services.map(\.id) == ["db", "w1"])
        #expect(registry.catalogCounts == (2, 2, 3, 4))
    }

    @Test func messagesAndRowsAreTheSame() throws {
        var service = Make.service("web", tags: ["b", "a"])
        service.kind = "connect-proxy"
        service.address = "10.1.1.1"
        service.meta = ["k": "v", "a": "b"]
        service.taggedAddresses["wan"] = LogServiceAddress.with(address: "1.2.3.4", port: 99)
        service.taggedAddresses["lan"] = LogServiceAddress.with(address: "10.0.0.1", port: 98)
        service.enableTagOverride = true
        service.socketPath = "/run/x"
        service.proxyJson = data("{}")
        service.connectJson = data("[]")
        let row = ServiceInstance(service, node: "n1")
        #expect(row.message == service)
        #expect(row.taggedAddresses.map(\.tag) == ["lan", "wan"])
        var node = Make.node("n1", id: idA)
        node.meta = ["a": "b"]
        #expect(Node(node).message == node)
    }
}

extension LogServiceAddress {
    static func with(address: String, port: UInt32) -> LogServiceAddress {
        var made = LogServiceAddress()
        made.address = address
        made.port = port
        return made
    }
}

struct CatalogIndexTests {
    @Test func aListOfServicesByTheirNodesMovesWithTheNodesToo() throws {
        var world = World()
        try world.register(service: Make.service("web"))
        let before = world.registry.services { $0.node.meta["zone"] == "b" }
        #expect(before.value.isEmpty && before.index == 1)
        var register = LogRegister()
        register.node = Make.node("n1")
        register.node.meta = ["zone": "b"]
        try world.run(.register(register))
        let after = world.registry.services { $0.node.meta["zone"] == "b" }
        #expect(after.value.map(\.name) == ["web"] && after.index == 2)
        #expect(before.watch.contains { key in world.touched.contains { key.isTouched(by: $0) } })
        #expect(world.registry.allServices().index == 1)
    }

    @Test func aServicesIndexMovesWithItsOwnChangesAlone() throws {
        var world = World()
        try world.register(service: Make.service("web"))
        try world.register(service: Make.service("db"))
        #expect(world.registry.health(ofService: "web").index == 1)
        #expect(world.registry.health(ofService: "db").index == 2)
        #expect(world.registry.allServices().index == 2)
        try world.register(checks: [Make.check("c", service: "db")])
        #expect(world.registry.health(ofService: "db").index == 3)
        #expect(world.registry.health(ofService: "web").index == 1)
        // A check is no change of the list of services.
        #expect(world.registry.allServices().index == 2)
        #expect(world.registry.checks(inState: nil).index == 3)
        #expect(world.registry.allNodes().index == 1)
    }

    @Test func aNodesOwnCheckMovesEveryServiceOnIt() throws {
        var world = World()
        try world.register(node: "n1", service: Make.service("web"))
        try world.register(node: "n1", service: Make.service("db"))
        try world.register(node: "n2", service: Make.service("other"))
        try world.register(node: "n1", checks: [Make.check("serfHealth")])
        #expect(world.registry.health(ofService: "web").index == 4)
        #expect(world.registry.health(ofService: "db").index == 4)
        #expect(world.registry.health(ofService: "other").index == 3)
        try world.deregister(node: "n1", check: "serfHealth")
        #expect(world.registry.instances(ofService: "web").index == 5)
    }

    @Test func aNodesAddressMovesEveryServiceOnIt() throws {
        var world = World()
        try world.register(node: "n1", service: Make.service("web"))
        try world.register(node: "n1", address: "10.0.0.7")
        #expect(world.registry.health(ofService: "web").index == 2)
    }

    @Test func aMissingServiceCarriesTheLatestExtinction() throws {
        var world = World()
        try world.register(node: "n1", service: Make.service("web"))
        try world.register(node: "n2", service: Make.service("web"))
        #expect(world.registry.health(ofService: "none").index == 2)
        try world.deregister(node: "n1", service: "web")
        #expect(world.registry.health(ofService: "web").index == 3)
        // Not extinct yet: before the first extinction, the catalog's own index stands for a missing service.
        #expect(world.registry.health(ofService: "none").index == 3)
        try world.deregister(node: "n2", service: "web")
        #expect(world.registry.health(ofService: "web").index == 4)
        try world.register(node: "n1", service: Make.service("db"))
        #expect(world.registry.health(ofService: "web").index == 4)
        #expect(world.registry.health(ofService: "none").index == 4)
        try world.register(node: "n1", service: Make.service("web"))
        #expect(world.registry.health(ofService: "web").index == 6)
    }

    @Test func aRenamedServiceMovesBothNames() throws {
        var world = World()
        try world.register(node: "n1", service: Make.service("web", id: "w"))
        try world.register(node: "n2", service: Make.service("web", id: "w"))
        try world.register(node: "n1", service: Make.service("api", id: "w"))
        #expect(world.registry.health(ofService: "web").index == 3)
        #expect(world.registry.health(ofService: "web").value.count == 1)
        #expect(world.registry.health(ofService: "api").index == 3)
    }

    @Test func aCheckThatMovesToAnotherServiceMovesBoth() throws {
        var world = World()
        try world.register(service: Make.service("a"))
        try world.register(service: Make.service("b"))
        try world.register(checks: [Make.check("c", service: "a")])
        try world.register(checks: [Make.check("c", service: "b")])
        #expect(world.registry.health(ofService: "a").index == 4)
        #expect(world.registry.health(ofService: "b").index == 4)
    }

    @Test func outputAloneIsAChange() throws {
        var world = World()
        try world.register(checks: [Make.check("c", output: "1")])
        try world.register(checks: [Make.check("c", output: "2")])
        let check = try #require(world.registry.checks(onNode: "n1").value.first)
        #expect(check.modifyIndex == 2 && check.createIndex == 1)
    }
}
