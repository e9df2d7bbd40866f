import DNSCodec
import DNSServer
import Testing

/// What is no plain question.
struct ProtocolTests {
    private let catalog = TestCatalog()

    private func answer(_ packet: [UInt8]) throws -> [UInt8] {
        let responder = DNSResponder(settings: try DNSSettings(datacenter: "dc1"))
        return responder.answer(packet: packet, overTCP: false, view: self.catalog.view, seed: 1, wallTime: 1)
    }

    private func code(_ query: DNSMessage) throws -> DNSResponseCode {
        let answer = try DNSMessage(decoding: try self.answer(query.encoded()))
        #expect(answer.isResponse && answer.id == query.id)
        return answer.responseCode
    }

    private func query(_ change: (inout DNSMessage) -> Void) throws -> DNSMessage {
        var query = DNSMessage(id: 5, questions: [DNSQuestion(name: try DNSName("consul."), type: .soa)])
        change(&query)
        return query
    }

    @Test func answersAndRubbishGetNoAnswer() throws {
        #expect(try self.answer([]).isEmpty)
        #expect(try self.answer([1, 2, 3]).isEmpty)
        #expect(try self.answer(self.query { $0.isResponse = true }.encoded()).isEmpty)
    }

    @Test func eachKindOfOddQuestionHasItsCode() throws {
        #expect(try self.code(self.query { _ in }) == .noError)
        #expect(try self.code(self.query { $0.opcode = 5 }) == .notImplemented)
        #expect(try self.code(self.query { $0.questions = [] }) == .formatError)
        #expect(try self.code(self.query { $0.questions.append($0.questions[0]) }) == .formatError)
        #expect(try self.code(self.query { $0.questions[0].class = DNSClass(rawValue: 3) }) == .refused)
        #expect(try self.code(self.query { $0.questions[0].class = .any }) == .noError)
        #expect(try self.code(self.query { $0.questions[0].type = .axfr }) == .notImplemented)
        #expect(try self.code(self.query { $0.extension = DNSExtension(payloadSize: 512, version: 1) }) == .badVersion)
    }

    @Test func aBrokenQuestionIsAFormatError() throws {
        let bytes = try self.query { _ in }.encoded()
        let answer = try DNSMessage(decoding: try self.answer(Array(bytes.dropLast())))
        #expect(answer.responseCode == .formatError && answer.id == 5)
    }

    @Test func aClientSubnetIsEchoedWithoutAScope() throws {
        let subnet = DNSExtension.Option(code: DNSExtension.clientSubnet, data: [0, 1, 24, 16, 10, 0, 0])
        let cookie = DNSExtension.Option(code: 10, data: [1, 2, 3, 4, 5, 6, 7, 8])
        let query = try self.query { $0.extension = DNSExtension(payloadSize: 1232, options: [cookie, subnet]) }
        let answer = try DNSMessage(decoding: try self.answer(query.encoded()))
        #expect(answer.extension?.options == [DNSExtension.Option(code: 8, data: [0, 1, 24, 0, 10, 0, 0])])
    }

    @Test func aFailureIsAServerFailure() throws {
        let responder = DNSResponder(settings: try DNSSettings(datacenter: "dc1"))
        let query = try self.query { _ in }
        let answer = try DNSMessage(decoding: responder.failure(packet: query.encoded(), overTCP: false))
        #expect(answer.responseCode == .serverFailure && answer.questions == query.questions)
    }

    @Test(arguments: 0..<4)
    func noPacketMakesTheResponderTrap(_ seed: Int) throws {
        var catalog = TestCatalog()
        try catalog.node("n1", "10.0.0.1")
        try catalog.service("web", on: "n1", port: 80)
        let responder = DNSResponder(settings: try DNSSettings(datacenter: "dc1"))
        let names = [
            "web.service.consul.", "n1.node.dc1.consul.", "_web._tcp.consul.", "1.0.0.10.in-addr.arpa.",
            "0a000001.addr.consul.",
        ]
        var state = UInt64(seed) &* 7919 &+ 1
        func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        var answered = 0
        for round in 0..<1000 {
            let name = try DNSName(names[round % names.count])
            let query = DNSMessage(
                id: 1, questions: [DNSQuestion(name: name, type: .any)], extension: DNSExtension(payloadSize: 512))
            var bytes = try query.encoded()
            for _ in 0..<next(4) { bytes[next(bytes.count)] = UInt8(next(256)) }
            let answer = responder.answer(
                packet: bytes, overTCP: next(2) == 0, view: catalog.view, seed: 1, wallTime: 1)
            if answer.isEmpty { continue }
            answered += 1
            #expect(throws: Never.self) { try DNSMessage(decoding: answer) }
        }
        #expect(answered > 500)
    }
}
