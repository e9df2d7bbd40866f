import DNSCodec
import DNSServer
import Testing

struct ServiceAnswerTests {
    /// Two nodes with one instance of `web` each.
    private func catalog() throws -> TestCatalog {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        try catalog.node("n2", "10.0.0.2")
        try catalog.service("web", on: "n1", port: 80, tags: ["v1", "Blue"])
        try catalog.service("web", on: "n2", port: 81, tags: ["v2"])
        return catalog
    }

    @Test(arguments: [
        "web.service.consul.", "WEB.Service.consul.", "web.service.dc1.consul.", "web.service.dc1.dc.consul.",
        "web.service.default.ns.dc1.consul.", "_web._tcp.service.consul.", "_web._TCP.consul.", "_web._tcp.dc1.consul.",
    ])
    func aServiceIsFoundUnderEachOfItsNames(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).answerTexts == ["A 10.0.0.1", "A 10.0.0.2"])
    }

    @Test(arguments: [
        "v1.web.service.consul.", "BLUE.web.service.consul.", "_web._v1.service.consul.",
        "_web._blue.service.dc1.consul.",
    ])
    func aTagChoosesInstances(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).answerTexts == ["A 10.0.0.1"])
    }

    @Test func aTagMayHoldDots() throws {
        var catalog = try self.catalog()
        try catalog.service("db", on: "n1", tags: ["v1.2"])
        #expect(try catalog.ask("v1.2.db.service.consul.", .a).answerTexts == ["A 10.0.0.1"])
    }

    @Test(arguments: [
        "none.service.consul.", "v3.web.service.consul.", "web.service.dc2.consul.", "web.service.team.ns.consul.",
        "_web._v9.service.consul.", "web.service.x.y.consul.",
    ])
    func whatIsNotThereIsNXDOMAIN(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).isUnknown)
        #expect(try self.catalog().ask(name, .srv).isUnknown)
    }

    @Test func aServiceWithoutARecordOfTheTypeIsThereButEmpty() throws {
        #expect(try self.catalog().ask("web.service.consul.", .aaaa).isEmptyButKnown)
        #expect(try self.catalog().ask("web.service.consul.", .txt).isEmptyButKnown)
    }

    @Test func criticalInstancesAreLeftOutAndWarningsStay() throws {
        var catalog = try self.catalog()
        try catalog.service("web", on: "n1", port: 80, status: "warning")
        #expect(try catalog.ask("web.service.consul.", .a).answerTexts == ["A 10.0.0.1", "A 10.0.0.2"])
        #expect(try catalog.ask("web.service.consul.", .a) { $0.onlyPassing = true }.answerTexts == ["A 10.0.0.2"])
        try catalog.service("web", on: "n1", port: 80, status: "critical")
        #expect(try catalog.ask("web.service.consul.", .a).answerTexts == ["A 10.0.0.2"])
        // A node that is down takes its instances along.
        try catalog.nodeCheck("n2", "critical")
        #expect(try catalog.ask("web.service.consul.", .a).isUnknown)
        #expect(try catalog.ask("n2.node.consul.", .a).answerTexts == ["A 10.0.0.2"])
    }

    @Test func locationsNameTheirNodesAndGiveTheirAddresses() throws {
        let answer = try self.catalog().ask("web.service.consul.", .srv)
        #expect(answer.answerTexts == ["SRV 1 1 80 n1.node.dc1.consul.", "SRV 1 1 81 n2.node.dc1.consul."])
        #expect(answer.additionalTexts == ["n1.node.dc1.consul. A 10.0.0.1", "n2.node.dc1.consul. A 10.0.0.2"])
    }

    @Test func eachLocationHasAnAddressOfItsOwnAlsoAtOneTarget() throws {
        var catalog = try self.catalog()
        for port: UInt32 in [5001, 5002, 5003] {
            try catalog.service("many", on: "n1", id: "many-\(port)", address: "10.9.0.1", port: port)
        }
        let answer = try catalog.ask("many.service.consul.", .srv)
        #expect(answer.answers.count == 3)
        #expect(answer.additionalTexts == [String](repeating: "0a090001.addr.dc1.consul. A 10.9.0.1", count: 3))
    }

    @Test func aServicesOwnAddressBecomesAName() throws {
        var catalog = try self.catalog()
        try catalog.service("db", on: "n1", address: "10.9.0.1", port: 5432)
        try catalog.service("db", on: "n2", address: "2001:db8::1", port: 5432)
        let answer = try catalog.ask("db.service.consul.", .srv)
        let v6 = "20010db8000000000000000000000001.addr.dc1.consul."
        #expect(answer.answerTexts == ["SRV 1 1 5432 0a090001.addr.dc1.consul.", "SRV 1 1 5432 \(v6)"])
        #expect(answer.additional.count == 2)
        // The names in the answer can be asked for.
        #expect(try catalog.ask("0a090001.addr.dc1.consul.", .a).answerTexts == ["A 10.9.0.1"])
        #expect(try catalog.ask("db.service.consul.", .a).answerTexts == ["A 10.9.0.1"])
        #expect(try catalog.ask("db.service.consul.", .aaaa).answers.count == 1)
        #expect(try catalog.ask("db.service.consul.", .any).answers.count == 2)
    }

    @Test func weightsFollowTheHealth() throws {
        var catalog = try self.catalog()
        try catalog.service("db", on: "n1", port: 1, weights: (10, 3), status: "passing")
        try catalog.service("db", on: "n2", port: 1, weights: (10, 3), status: "warning")
        #expect(
            try catalog.ask("db.service.consul.", .srv).answerTexts == [
                "SRV 1 10 1 n1.node.dc1.consul.", "SRV 1 3 1 n2.node.dc1.consul.",
            ])
    }

    @Test func aWeightOfNothingIsOne() throws {
        var catalog = try self.catalog()
        try catalog.service("db", on: "n1", port: 1, weights: (0, 0))
        #expect(try catalog.ask("db.service.consul.", .srv).answerTexts == ["SRV 1 1 1 n1.node.dc1.consul."])
    }

    @Test func aLocationCarriesItsNodesMetadataAndAnAddressRecordDoesNot() throws {
        var catalog = try self.catalog()
        try catalog.node("n1", "10.0.0.1", meta: ["rack": "7"])
        try catalog.service("db", on: "n1", address: "10.9.0.1", port: 1)
        #expect(
            try catalog.ask("db.service.consul.", .srv).additionalTexts == [
                "0a090001.addr.dc1.consul. A 10.9.0.1", "n1.node.dc1.consul. TXT rack=7",
            ])
        #expect(try catalog.ask("db.service.consul.", .srv) { $0.nodeMetaInAdditional = false }.additional.count == 1)
        #expect(try catalog.ask("db.service.consul.", .a).additional.isEmpty)
    }

    @Test func instancesAtOneAddressAreOneRecord() throws {
        var catalog = try self.catalog()
        try catalog.service("db", on: "n1", id: "db-1", port: 1)
        try catalog.service("db", on: "n1", id: "db-2", port: 2)
        try catalog.service("db", on: "n1", id: "db-3", port: 2)
        #expect(try catalog.ask("db.service.consul.", .a).answerTexts == ["A 10.0.0.1"])
        #expect(
            try catalog.ask("db.service.consul.", .srv).answerTexts == [
                "SRV 1 1 1 n1.node.dc1.consul.", "SRV 1 1 2 n1.node.dc1.consul.",
            ])
    }

    @Test func hostNamesAreAliasesOnlyWhereNothingElseIs() throws {
        var catalog = try self.catalog()
        try catalog.service("ext", on: "n1", address: "a.example.com", port: 443)
        #expect(try catalog.ask("ext.service.consul.", .a).answerTexts == ["CNAME a.example.com."])
        #expect(try catalog.ask("ext.service.consul.", .srv).answerTexts == ["SRV 1 1 443 a.example.com."])
        try catalog.service("ext", on: "n2", port: 443)
        #expect(try catalog.ask("ext.service.consul.", .a).answerTexts == ["A 10.0.0.2"])
    }

    @Test func aNodeWhoseNameIsNoDomainNameIsNamedByItsAddress() throws {
        var catalog = TestCatalog()
        try catalog.node("n1.example", "10.0.0.1")
        try catalog.node(String(repeating: "n", count: 64), "10.0.0.2")
        try catalog.service("web", on: "n1.example", port: 80)
        try catalog.service("web", on: String(repeating: "n", count: 64), port: 80)
        #expect(
            try catalog.ask("web.service.consul.", .srv).answerTexts == [
                "SRV 1 1 80 0a000002.addr.dc1.consul.", "SRV 1 1 80 n1.example.node.dc1.consul.",
            ])
        #expect(try catalog.ask("n1.example.node.dc1.consul.", .a).answerTexts == ["A 10.0.0.1"])
    }

    @Test func theSeedDecidesTheOrder() throws {
        var catalog = TestCatalog()
        for number in 1...8 {
            try catalog.node("n\(number)", "10.0.0.\(number)")
            try catalog.service("web", on: "n\(number)", port: 80)
        }
        func order(_ seed: UInt64) throws -> [String] {
            try catalog.ask("web.service.consul.", .a, seed: seed).answers.map(\.text)
        }
        #expect(try order(5) == order(5))
        let orders = try Set((0..<20).map(order))
        #expect(orders.count > 10)
        // Each instance comes first now and then.
        let firsts = try Set((0..<200).compactMap { try order($0).first })
        #expect(firsts.count == 8)
    }

    @Test func timesToLiveFollowTheServicesName() throws {
        let catalog = try self.catalog()
        func lifetime(_ table: [String: UInt32]) throws -> UInt32? {
            try catalog.ask("Web.service.consul.", .a) { $0.serviceTimeToLive = table }.answers.first?.timeToLive
        }
        #expect(try lifetime([:]) == 0)
        #expect(try lifetime(["*": 5]) == 5)
        #expect(try lifetime(["*": 5, "w*": 6, "we*": 7, "x*": 9]) == 7)
        #expect(try lifetime(["we*": 7, "web": 8]) == 8)
        let node = try catalog.ask("n1.node.consul.", .a) { $0.nodeTimeToLive = 30 }
        #expect(node.answers.map(\.timeToLive) == [30])
    }
}

struct SizeTests {
    private func catalog(_ count: Int) throws -> TestCatalog {
        var catalog = TestCatalog()
        for number in 0..<count {
            try catalog.node("node-\(number)", "10.1.\(number / 256).\(number % 256)")
            try catalog.service("web", on: "node-\(number)", port: 80)
        }
        return catalog
    }

    @Test(arguments: [DNSRecordType.a, .srv, .any])
    func plainUDPAnswersHoldThreeRecords(_ type: DNSRecordType) throws {
        let catalog = try self.catalog(10)
        let plain = try catalog.ask("web.service.consul.", type, edns: nil)
        #expect(plain.answers.count == 3)
        #expect(!plain.truncated)
        #expect(plain.additional.count == (type == .srv ? 3 : 0))
        #expect(try catalog.ask("web.service.consul.", type, edns: nil) { $0.udpAnswerLimit = 5 }.answers.count == 5)
        #expect(try catalog.ask("web.service.consul.", type).answers.count == 10)
        #expect(try catalog.ask("web.service.consul.", type, overTCP: true, edns: nil).answers.count == 10)
    }

    @Test func whatTheLimitLeavesOutIsMarkedWhenThatIsAsked() throws {
        let catalog = try self.catalog(10)
        func isMarked(_ type: DNSRecordType, edns: DNSExtension? = nil, overTCP: Bool = false) throws -> Bool {
            try catalog.ask("web.service.consul.", type, overTCP: overTCP, edns: edns) {
                $0.marksLimitedAnswers = true
            }.truncated
        }
        #expect(try isMarked(.a) && isMarked(.srv))
        #expect(try !isMarked(.a, overTCP: true))
        #expect(try !isMarked(.a, edns: DNSExtension(payloadSize: 1232)))
        #expect(try !isMarked(.aaaa))
    }

    @Test func namesCanBeWrittenOut() throws {
        let catalog = try self.catalog(3)
        let query = try DNSMessage(
            id: 1, questions: [DNSQuestion(name: try DNSName("web.service.consul."), type: .srv)]
        ).encoded()
        func size(_ compresses: Bool) throws -> (Int, DNSMessage) {
            var settings = try DNSSettings(datacenter: "dc1")
            settings.compressesNames = compresses
            let bytes = DNSResponder(settings: settings).answer(
                packet: query, overTCP: true, view: catalog.view, seed: 1, wallTime: 1)
            return (bytes.count, try DNSMessage(decoding: bytes))
        }
        let (small, one) = try size(true)
        let (large, other) = try size(false)
        #expect(one == other && large > small + 100)
    }

    @Test func theAddressLimitHoldsEverywhereButForSRV() throws {
        let catalog = try self.catalog(10)
        for overTCP in [false, true] {
            #expect(
                try catalog.ask("web.service.consul.", .a, overTCP: overTCP) { $0.addressRecordLimit = 4 }.answers.count
                    == 4)
            #expect(
                try catalog.ask("web.service.consul.", .srv, overTCP: overTCP) { $0.addressRecordLimit = 4 }.answers
                    .count == 10)
        }
    }

    @Test func anAnswerKeepsToTheClientsSize() throws {
        let catalog = try self.catalog(200)
        func size(_ edns: DNSExtension?, overTCP: Bool = false) throws -> (Int, DNSMessage) {
            let answer = try catalog.ask("web.service.consul.", .srv, overTCP: overTCP, edns: edns)
            return (try answer.encoded().count, answer)
        }
        #expect(try size(nil).0 <= 512)
        #expect(try size(DNSExtension(payloadSize: 100)).0 <= 512)
        let (medium, cut) = try size(DNSExtension(payloadSize: 1232))
        #expect(medium <= 1232 && cut.truncated)
        #expect(try size(DNSExtension(payloadSize: 65_535)).0 <= 4096)
        let (_, whole) = try size(nil, overTCP: true)
        #expect(whole.answers.count == 200 && whole.additional.count == 200 && !whole.truncated)
    }
}
