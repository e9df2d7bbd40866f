import DNSCodec
import DNSServer
import Testing

/// Names that stand for others of ours.
struct AliasTests {
    private func catalog() throws -> TestCatalog {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        try catalog.node("n6", "2001:db8::6")
        try catalog.service("web", on: "n1", port: 80)
        try catalog.service("web", on: "n6", port: 80)
        return catalog
    }

    @Test func anAliasOfOursIsFollowed() throws {
        var catalog = try self.catalog()
        try catalog.node("alias", "web.service.consul")
        let answer = try catalog.ask("alias.node.consul.", .a)
        #expect(answer.answers.map(\.text) == ["CNAME web.service.consul.", "A 10.0.0.1"])
        #expect(answer.answers.map(\.name.description) == ["alias.node.consul.", "web.service.consul."])
        #expect(
            try catalog.ask("alias.node.consul.", .aaaa).answers.map(\.data.type) == [.cname, .aaaa])
        // What it leads to is not there: the alias is all there is to say.
        try catalog.node("nowhere", "none.service.consul")
        #expect(try catalog.ask("nowhere.node.consul.", .a).answerTexts == ["CNAME none.service.consul."])
    }

    @Test func aLocationsHostOfOursGetsItsAddress() throws {
        var catalog = try self.catalog()
        try catalog.service("inner", on: "n1", address: "n1.node.consul", port: 8080)
        let answer = try catalog.ask("inner.service.consul.", .srv)
        #expect(answer.answerTexts == ["SRV 1 1 8080 n1.node.consul."])
        #expect(answer.additionalTexts == ["n1.node.consul. A 10.0.0.1"])
    }

    @Test func aCircleEnds() throws {
        var catalog = try self.catalog()
        try catalog.node("a", "b.node.consul")
        try catalog.node("b", "a.node.consul")
        try catalog.node("self", "self.node.consul")
        #expect(
            try catalog.ask("a.node.consul.", .a).answerTexts == ["CNAME a.node.consul.", "CNAME b.node.consul."])
        #expect(try catalog.ask("self.node.consul.", .a).isEmptyButKnown)
    }

    @Test func aLongChainIsFollowedThreeDeep() throws {
        var catalog = try self.catalog()
        for number in 0..<6 { try catalog.node("c\(number)", "c\(number + 1).node.consul") }
        try catalog.node("c6", "10.0.0.6")
        #expect(try catalog.ask("c0.node.consul.", .a).answers.count == 4)
        #expect(try catalog.ask("c4.node.consul.", .a).answers.map(\.text).last == "A 10.0.0.6")
    }

    @Test func anAliasStandsAloneOnlyWhereNoInstanceHasAnAddress() throws {
        var catalog = try self.catalog()
        try catalog.service("mix", on: "n1", address: "a.example.com", port: 1)
        try catalog.service("mix", on: "n6", address: "2001:db8::7", port: 1)
        // An AAAA stands beside it, so there is no alias for A either.
        #expect(try catalog.ask("mix.service.consul.", .a).isEmptyButKnown)
        #expect(try catalog.ask("mix.service.consul.", .aaaa).answers.count == 1)
    }
}

/// What is kept between questions.
struct AnswerCacheTests {
    private func ask(_ responder: DNSResponder, _ catalog: TestCatalog, _ name: String) throws -> DNSMessage {
        let query = DNSMessage(id: 7, questions: [DNSQuestion(name: try DNSName(name), type: .a)])
        return try DNSMessage(
            decoding: responder.answer(
                packet: try query.encoded(), overTCP: true, view: catalog.view, seed: 1, wallTime: 1))
    }

    @Test(arguments: [0, 2000, 8_388_608])
    func anAnswerIsAsNewAsTheCatalog(_ bytes: Int) throws {
        var settings = try DNSSettings(datacenter: "dc1")
        settings.answerCache = .init(bytes)
        let responder = DNSResponder(settings: settings)
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        for round in 1...20 {
            try catalog.service("web", on: "n1", address: "10.9.0.\(round)", port: 80)
            for name in ["web.service.consul.", "WEB.Service.consul.", "x.service.consul."] {
                let answer = try self.ask(responder, catalog, name)
                #expect(answer.answerTexts == (name.hasPrefix("x") ? [] : ["A 10.9.0.\(round)"]))
                // The case of the question, not of who asked first.
                #expect(answer.answers.allSatisfy { $0.name.description == name })
            }
            try catalog.nodeCheck("n1", "critical")
            #expect(try self.ask(responder, catalog, "web.service.consul.").responseCode == .nameError)
            try catalog.nodeCheck("n1", "passing")
            #expect(try self.ask(responder, catalog, "web.service.consul.").responseCode == .noError)
        }
    }

    @Test func whoHasAnAddressIsKeptAsLongAsItIsTrue() throws {
        let responder = DNSResponder(settings: try DNSSettings(datacenter: "dc1"))
        var catalog = TestCatalog()
        func names() throws -> [String] {
            let query = DNSMessage(
                id: 7, questions: [DNSQuestion(name: try DNSName("1.0.0.10.in-addr.arpa."), type: .ptr)])
            let bytes = responder.answer(
                packet: try query.encoded(), overTCP: true, view: catalog.view, seed: 1, wallTime: 1)
            return try DNSMessage(decoding: bytes).answerTexts
        }
        for _ in 0..<2 { #expect(try names() == []) }
        try catalog.node("n1", "10.0.0.1")
        for _ in 0..<2 { #expect(try names() == ["PTR n1.node.dc1.consul."]) }
        try catalog.node("n2", "10.0.0.2")
        try catalog.service("web", on: "n2", address: "10.0.0.1", port: 80)
        for _ in 0..<2 { #expect(try names() == ["PTR n1.node.dc1.consul.", "PTR web.service.dc1.consul."]) }
        try catalog.node("n1", "10.0.0.3")
        #expect(try names() == ["PTR web.service.dc1.consul."])
    }

    @Test func namesThatOnlyLookTheSameAreKeptApart() throws {
        let responder = DNSResponder(settings: try DNSSettings(datacenter: "dc1"))
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        // One letter, and the same of two scalars; and a case that only Unicode knows.
        let names = ["caf\u{E9}", "cafe\u{301}", "caf\u{C9}"]
        for (place, name) in names.enumerated() {
            try catalog.service(name, on: "n1", address: "10.9.0.\(place)", port: 80, tags: [name])
        }
        for (place, name) in names.enumerated() {
            #expect(
                try self.ask(responder, catalog, "\(name).service.consul.").answerTexts == ["A 10.9.0.\(place)"])
        }
        #expect(try self.ask(responder, catalog, "\(names[0]).\(names[0]).service.consul.").answers.count == 1)
        #expect(try self.ask(responder, catalog, "\(names[1]).\(names[0]).service.consul.").answers.isEmpty)
    }

    @Test func tagsAndDomainsAreKeptApart() throws {
        var settings = try DNSSettings(datacenter: "dc1", alternativeDomain: "mesh.example")
        settings.nodeTimeToLive = 5
        let responder = DNSResponder(settings: settings)
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        try catalog.service("web", on: "n1", port: 80, tags: ["v1"])
        for _ in 0..<2 {
            #expect(try self.ask(responder, catalog, "v1.web.service.consul.").answers.count == 1)
            #expect(try self.ask(responder, catalog, "v2.web.service.consul.").answers.isEmpty)
            #expect(try self.ask(responder, catalog, "web.service.mesh.example.").answers.count == 1)
        }
    }
}
