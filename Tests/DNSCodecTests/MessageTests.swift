import DNSCodec
import Testing

struct MessageTests {
    @Test func everyKindOfRecordSurvivesTheRoundTrip() throws {
        let message = Samples.everything
        #expect(try DNSMessage(decoding: message.encoded()) == message)
    }

    @Test func aQueryHasTheBytesOfRFC1035() throws {
        let bytes = try Samples.query.encoded()
        let question: [UInt8] = [3] + "Web".utf8 + [7] + "service".utf8 + [6] + "consul".utf8 + [0, 0, 33, 0, 1]
        #expect(bytes == [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0] + question)
    }

    @Test func theCaseOfTheQuestionIsEchoed() throws {
        let decoded = try DNSMessage(decoding: Samples.query.encoded())
        #expect(decoded.questions[0].name.description == "Web.service.consul.")
    }

    @Test func namesAreCompressedButSRVTargetsAreNot() throws {
        let owner = Samples.name("web.service.consul.")
        let target = Samples.name("a.service.consul.")
        var message = DNSMessage(questions: [DNSQuestion(name: owner, type: .a)])
        message.answers = [DNSRecord(name: owner, data: .cname(target))]
        // Header 12, question 20 + 4, then: pointer 2, fixed fields 10, "a" and a pointer 4.
        #expect(try message.encoded().count == 12 + 24 + 2 + 10 + 4)
        let location = DNSServiceLocation(priority: 0, weight: 0, port: 0, target: target)
        message.answers = [DNSRecord(name: owner, data: .srv(location))]
        #expect(try message.encoded().count == 12 + 24 + 2 + 10 + 6 + target.wireLength)
    }

    @Test func aLaterNamePointsIntoAnSRVTarget() throws {
        let message = Samples.large(count: 1)
        let bytes = try message.encoded()
        // The additional record: pointer 2, fixed fields 10, address 4.
        let question = message.questions[0].name.wireLength + 4
        #expect(bytes.count == 12 + question + 12 + 6 + 24 + 16)
        #expect(try DNSMessage(decoding: bytes) == message)
    }

    @Test func namesBeyondTheReachOfPointersAreStillWritten() throws {
        let message = Samples.large(count: 500)
        let bytes = try message.encoded()
        #expect(bytes.count > 0x4000)
        #expect(try DNSMessage(decoding: bytes) == message)
    }

    @Test func extendedResponseCodesTravelInTheOPTRecord() throws {
        var message = DNSMessage(isResponse: true, responseCode: .badVersion)
        #expect(try DNSMessage(decoding: message.encoded()).responseCode == .noError)
        message.extension = DNSExtension(payloadSize: 512)
        #expect(try DNSMessage(decoding: message.encoded()).responseCode == .badVersion)
    }

    @Test func valuesWithoutRoomOnTheWireAreRefused() {
        func encode(_ data: DNSRecordData) throws {
            _ = try DNSMessage(answers: [DNSRecord(name: .root, data: data)]).encoded()
        }
        #expect(throws: DNSCodecError.valueTooLarge(field: "A address")) { try encode(.a([1, 2, 3])) }
        #expect(throws: DNSCodecError.valueTooLarge(field: "AAAA address")) { try encode(.aaaa([1])) }
        #expect(throws: DNSCodecError.valueTooLarge(field: "TXT string")) {
            try encode(.txt([[UInt8](repeating: 0, count: 256)]))
        }
        #expect(throws: DNSCodecError.valueTooLarge(field: "TXT without a string")) { try encode(.txt([])) }
        #expect(throws: DNSCodecError.valueTooLarge(field: "TYPE99 data")) {
            try encode(.other(DNSRecordType(rawValue: 99), [UInt8](repeating: 0, count: 65_536)))
        }
        #expect(throws: DNSCodecError.badOPT) { try encode(.other(.opt, [])) }
    }
}

struct DecodingTests {
    private let header: [UInt8] = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]

    @Test func aPointerToItselfIsRefused() {
        #expect(throws: DNSCodecError.badPointer(offset: 12)) {
            try DNSMessage(decoding: self.header + [0xC0, 12, 0, 1, 0, 1])
        }
    }

    @Test func aPointerForwardsIsRefused() {
        #expect(throws: DNSCodecError.badPointer(offset: 12)) {
            try DNSMessage(decoding: self.header + [0xC0, 18, 0, 1, 0, 1, 0])
        }
    }

    @Test func aPointerIntoItsOwnNameIsRefused() {
        #expect(throws: DNSCodecError.badPointer(offset: 14)) {
            try DNSMessage(decoding: self.header + [1, 97, 0xC0, 12, 0, 1, 0, 1])
        }
    }

    @Test func manyPointersInARowEndAtTheFirst() throws {
        // Question n points to question n-1; the walk falls through all of them.
        var bytes = self.header
        bytes[5] = 200
        bytes += [1, 97, 0, 0, 1, 0, 1]
        var last = 12
        for _ in 1..<200 {
            let here = bytes.count
            bytes += [0xC0 | UInt8(last >> 8), UInt8(last & 255), 0, 1, 0, 1]
            last = here
        }
        let message = try DNSMessage(decoding: bytes)
        #expect(message.questions.count == 200)
        #expect(message.questions[199].name.description == "a.")
    }

    @Test func aNameThatGrowsBeyond255BytesByPointersIsRefused() {
        var bytes = self.header
        bytes[5] = 5
        var last = 0
        for number in 0..<5 {
            let here = bytes.count
            bytes += [63] + [UInt8](repeating: 97, count: 63)
            bytes += number == 0 ? [0] : [0xC0 | UInt8(last >> 8), UInt8(last & 255)]
            bytes += [0, 1, 0, 1]
            last = here
        }
        #expect(throws: DNSCodecError.nameTooLong) { try DNSMessage(decoding: bytes) }
    }

    @Test(arguments: [UInt8(0x40), 0x80])
    func reservedLabelTypesAreRefused(_ type: UInt8) {
        #expect(throws: DNSCodecError.badLabelType(offset: 12)) {
            try DNSMessage(decoding: self.header + [type, 0, 0, 1, 0, 1])
        }
    }

    @Test func everyShorterBeginningOfAMessageIsRefused() throws {
        let bytes = try Samples.everything.encoded()
        for length in 0..<bytes.count {
            #expect(throws: DNSCodecError.self) { try DNSMessage(decoding: Array(bytes[..<length])) }
        }
    }

    @Test func bytesAfterTheMessageAreRefused() throws {
        let bytes = try Samples.query.encoded()
        #expect(throws: DNSCodecError.trailingBytes(offset: bytes.count)) { try DNSMessage(decoding: bytes + [0]) }
    }

    @Test func countsThatPromiseTooMuchEndWithTheData() {
        #expect(throws: DNSCodecError.unexpectedEnd(offset: 12)) {
            try DNSMessage(decoding: [0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])
        }
    }

    @Test func recordDataOfTheWrongLengthIsRefused() {
        let start: [UInt8] = [0, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
        func record(_ type: UInt8, _ data: [UInt8], length: UInt8) -> [UInt8] {
            start + [0, type, 0, 1, 0, 0, 0, 0, 0, length] + data
        }
        #expect(throws: DNSCodecError.badRecordData(type: .a, offset: 23)) {
            try DNSMessage(decoding: record(1, [1, 2, 3], length: 3))
        }
        #expect(throws: DNSCodecError.badRecordData(type: .aaaa, offset: 23)) {
            try DNSMessage(decoding: record(28, [1, 2, 3, 4], length: 4))
        }
        // A name that runs past the length, one that ends before it, a string that is longer than its record.
        #expect(throws: DNSCodecError.badRecordData(type: .cname, offset: 23)) {
            try DNSMessage(decoding: record(5, [1, 97, 0], length: 2))
        }
        #expect(throws: DNSCodecError.badRecordData(type: .cname, offset: 23)) {
            try DNSMessage(decoding: record(5, [1, 97, 0, 9], length: 4))
        }
        #expect(throws: DNSCodecError.badRecordData(type: .txt, offset: 23)) {
            try DNSMessage(decoding: record(16, [5, 97], length: 2))
        }
        #expect(throws: DNSCodecError.badRecordData(type: .txt, offset: 23)) {
            try DNSMessage(decoding: record(16, [], length: 0))
        }
    }

    @Test func theOPTRecordHasItsPlace() {
        let opt: [UInt8] = [0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]
        func message(answers: UInt8, additional: UInt8, _ records: [UInt8]) -> [UInt8] {
            [0, 1, 0, 0, 0, 0, 0, answers, 0, 0, 0, additional] + records
        }
        #expect(throws: DNSCodecError.badOPT) { try DNSMessage(decoding: message(answers: 1, additional: 0, opt)) }
        #expect(throws: DNSCodecError.badOPT) {
            try DNSMessage(decoding: message(answers: 0, additional: 2, opt + opt))
        }
        #expect(throws: DNSCodecError.badOPT) {
            try DNSMessage(decoding: message(answers: 0, additional: 1, [1, 97] + opt))
        }
        let badOption = Array(opt.dropLast()) + [4, 0, 8, 0, 1]
        #expect(throws: DNSCodecError.badRecordData(type: .opt, offset: 23)) {
            try DNSMessage(decoding: message(answers: 0, additional: 1, badOption))
        }
        #expect(throws: Never.self) { try DNSMessage(decoding: message(answers: 0, additional: 1, opt)) }
    }

    @Test func aHeaderIsReadFromWhatIsOtherwiseBroken() {
        let header = DNSMessage.header(of: [0xAB, 0xCD, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xFF])
        #expect(header?.id == 0xABCD)
        #expect(header?.recursionDesired == true)
        #expect(DNSMessage.header(of: [1, 2, 3]) == nil)
    }
}
