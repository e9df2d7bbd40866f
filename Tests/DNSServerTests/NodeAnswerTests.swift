import DNSCodec
import DNSServer
import Testing

struct NodeAnswerTests {
    private func catalog() throws -> TestCatalog {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1", meta: ["rack": "7", "rfc1035-note": "hello"])
        try catalog.node("n6", "2001:db8::6")
        try catalog.node("named", "host.example.com")
        return catalog
    }

    @Test(arguments: [
        "n1.node.consul.", "N1.NODE.Consul.", "n1.node.dc1.consul.", "n1.node.dc1.dc.consul.",
        "n1.node.default.ap.dc1.dc.consul.",
    ])
    func aNodeIsFoundUnderEachOfItsNames(_ name: String) throws {
        let answer = try self.catalog().ask(name, .a)
        #expect(answer.answerTexts == ["A 10.0.0.1"])
        #expect(answer.authoritative && answer.responseCode == .noError)
        #expect(answer.answers.map(\.timeToLive) == [0])
    }

    @Test func metadataGoesAlongAsText() throws {
        let catalog = try self.catalog()
        #expect(
            try catalog.ask("n1.node.consul.", .a).additionalTexts == [
                "n1.node.consul. TXT hello", "n1.node.consul. TXT rack=7",
            ])
        #expect(try catalog.ask("n1.node.consul.", .a) { $0.nodeMetaInAdditional = false }.additional.isEmpty)
        #expect(try catalog.ask("n1.node.consul.", .txt).answerTexts == ["TXT hello", "TXT rack=7"])
        #expect(try catalog.ask("n1.node.consul.", .any).answerTexts == ["A 10.0.0.1", "TXT hello", "TXT rack=7"])
    }

    @Test func longMetadataIsSplitIntoStrings() throws {
        var catalog = TestCatalog()
        let value = String(repeating: "x", count: 400)
        try catalog.node("n1", "10.0.0.1", meta: ["k": value])
        let answer = try catalog.ask("n1.node.consul.", .txt)
        guard case .txt(let strings) = answer.answers.first?.data else {
            Issue.record("no TXT")
            return
        }
        #expect(strings.map(\.count) == [255, 147])
        #expect(strings.joined().elementsEqual("k=\(value)".utf8))
    }

    @Test func addressesComeByTheirFamily() throws {
        let catalog = try self.catalog()
        #expect(try catalog.ask("n6.node.consul.", .aaaa).answerTexts == ["AAAA 20:1:d:b8:0:0:0:0:0:0:0:0:0:0:0:6"])
        #expect(try catalog.ask("n6.node.consul.", .a).isEmptyButKnown)
        #expect(try catalog.ask("n1.node.consul.", .aaaa).isEmptyButKnown)
        #expect(try catalog.ask("n1.node.consul.", .srv).isEmptyButKnown)
    }

    @Test func aNodeWithAHostNameIsACNAME() throws {
        let catalog = try self.catalog()
        for type in [DNSRecordType.a, .aaaa, .any] {
            #expect(try catalog.ask("named.node.consul.", type).answerTexts == ["CNAME host.example.com."])
        }
    }

    @Test(arguments: [
        "none.node.consul.", "n1.node.dc2.consul.", "n1.node.dc1.peer.consul.", "a.n1.node.consul.", "what.consul.",
    ])
    func whatIsNotThereIsNXDOMAIN(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).isUnknown)
    }

    @Test(arguments: [
        "node.consul.", "service.consul.", "dc1.consul.", "node.dc1.consul.", "_tcp.service.consul.", "addr.consul.",
    ])
    func namesBetweenOthersExistWithoutRecords(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).isEmptyButKnown)
    }

    @Test(arguments: ["n1.query.consul.", "n1.connect.consul.", "n1.ingress.consul.", "n1.virtual.consul."])
    func namesThatThisVersionDoesNotServeAreNXDOMAIN(_ name: String) throws {
        #expect(try self.catalog().ask(name, .a).isUnknown)
    }

    @Test func addressNamesAreDecoded() throws {
        let catalog = try self.catalog()
        #expect(try catalog.ask("0a000102.addr.dc1.consul.", .a).answerTexts == ["A 10.0.1.2"])
        #expect(try catalog.ask("0A000102.addr.consul.", .any).answerTexts == ["A 10.0.1.2"])
        #expect(try catalog.ask("0a000102.addr.consul.", .aaaa).isEmptyButKnown)
        // It means the same in every datacenter.
        #expect(try catalog.ask("0a000102.addr.dc9.consul.", .a).answerTexts == ["A 10.0.1.2"])
        let v6 = "20010db8000000000000000000000001"
        #expect(try catalog.ask("\(v6).addr.consul.", .aaaa).answerTexts == ["AAAA 20:1:d:b8:0:0:0:0:0:0:0:0:0:0:0:1"])
        for name in ["0a0001.addr.consul.", "0a00010g.addr.consul.", "x.0a000102.addr.consul."] {
            #expect(try catalog.ask(name, .a).isUnknown)
        }
    }

    @Test func reverseNamesLeadToNodes() throws {
        let catalog = try self.catalog()
        #expect(try catalog.ask("1.0.0.10.in-addr.arpa.", .ptr).answerTexts == ["PTR n1.node.dc1.consul."])
        let v6 = "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
        #expect(try catalog.ask(v6, .ptr).answerTexts == ["PTR n6.node.dc1.consul."])
        #expect(try catalog.ask("1.0.0.10.in-addr.arpa.", .a).isEmptyButKnown)
        #expect(try catalog.ask("2.0.0.10.in-addr.arpa.", .ptr).isUnknown)
        #expect(try catalog.ask("0.0.10.in-addr.arpa.", .ptr).isEmptyButKnown)
        #expect(try catalog.ask("x.0.0.10.in-addr.arpa.", .ptr).isUnknown)
        #expect(try catalog.ask("+1.0.0.10.in-addr.arpa.", .ptr).isUnknown)
        #expect(try catalog.ask("9.1.0.0.10.in-addr.arpa.", .ptr).isUnknown)
    }

    @Test func reverseNamesLeadToServicesAndToNodesWithDots() throws {
        var catalog = try self.catalog()
        try catalog.node("a.b", "10.0.0.7")
        try catalog.service("web", on: "n1", address: "10.9.0.1", port: 80)
        try catalog.service("web", on: "a.b", address: "10.9.0.1", port: 81)
        try catalog.service("db", on: "a.b", address: "10.9.0.1", port: 82)
        #expect(
            try catalog.ask("1.0.9.10.in-addr.arpa.", .ptr).answerTexts == [
                "PTR db.service.dc1.consul.", "PTR web.service.dc1.consul.",
            ])
        #expect(try catalog.ask("7.0.0.10.in-addr.arpa.", .ptr).answerTexts == ["PTR a.b.node.dc1.consul."])
    }

    @Test func theZoneHasItsAuthorityAndServers() throws {
        var catalog = try self.catalog()
        for name in ["s1", "s2", "s3", "s4"] {
            try catalog.node(name, "10.0.1.\(name.dropFirst())")
            try catalog.service("consul", on: name, port: 8300)
        }
        let authority = try catalog.ask("consul.", .soa)
        #expect(authority.answerTexts == ["SOA ns.consul. hostmaster.consul. 1700000000"])
        #expect(authority.authority.count == 3 && authority.additional.count == 3)
        let servers = try catalog.ask("consul.", .ns) { $0.nodeTimeToLive = 30 }
        #expect(servers.answers.allSatisfy { $0.timeToLive == 30 })
        #expect(servers.answers.count == 3)
        #expect(Set(servers.answerTexts).isSubset(of: Set((1...4).map { "NS s\($0).node.dc1.consul." })))
        #expect(servers.additional.count == 3)
        #expect(try catalog.ask("consul.", .a).isEmptyButKnown)
        #expect(try catalog.ask("ns.consul.", .a).answers.count == 3)
        #expect(try catalog.ask("consul.", .any).answers.count == 4)
    }

    @Test func otherDomainsAreRefused() throws {
        for name in ["example.com.", "notconsul.", ".", "com."] {
            let answer = try self.catalog().ask(name, .a)
            #expect(answer.responseCode == .refused && answer.authority.isEmpty && !answer.authoritative)
        }
    }

    @Test func aSecondDomainAnswersUnderItsOwnName() throws {
        var catalog = try self.catalog()
        try catalog.service("web", on: "n1", port: 80)
        let answer = try catalog.ask("web.service.mesh.example.", .srv) {
            $0.alternativeDomain = try? DNSName("mesh.example.")
        }
        #expect(answer.answerTexts == ["SRV 1 1 80 n1.node.dc1.mesh.example."])
        #expect(try catalog.ask("web.service.consul.", .srv).answerTexts == ["SRV 1 1 80 n1.node.dc1.consul."])
    }
}
