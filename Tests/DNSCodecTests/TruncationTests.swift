import DNSCodec
import Testing

struct TruncationTests {
    @Test func whatFitsIsNotCut() throws {
        let message = Samples.large(count: 3)
        let decoded = try DNSMessage(decoding: message.encoded(limit: 512))
        #expect(decoded == message)
    }

    @Test func additionalRecordsGoFirstAndWithoutTC() throws {
        let message = Samples.large(count: 9)
        let bytes = try message.encoded(limit: 512)
        let decoded = try DNSMessage(decoding: bytes)
        #expect(bytes.count <= 512)
        #expect(decoded.answers == message.answers)
        #expect(decoded.additional.count < 9)
        #expect(decoded.additional == Array(message.additional.prefix(decoded.additional.count)))
        #expect(!decoded.truncated)
    }

    @Test func answersGoFromTheEndAndSetTC() throws {
        var message = Samples.large(count: 30)
        message.authority = [DNSRecord(name: Samples.name("consul."), data: .ns(Samples.name("a.consul.")))]
        let bytes = try message.encoded(limit: 512)
        let decoded = try DNSMessage(decoding: bytes)
        #expect(bytes.count <= 512)
        #expect(decoded.truncated)
        #expect((1..<30).contains(decoded.answers.count))
        #expect(decoded.answers == Array(message.answers.prefix(decoded.answers.count)))
        #expect(decoded.authority.isEmpty && decoded.additional.isEmpty)
    }

    @Test func noRecordThatHasRoomIsLeftOut() throws {
        let message = Samples.large(count: 30)
        let kept = try DNSMessage(decoding: message.encoded(limit: 512)).answers.count
        var oneMore = message
        oneMore.answers = Array(message.answers.prefix(kept + 1))
        oneMore.additional = []
        #expect(try oneMore.encoded().count > 512)
    }

    @Test func anAuthorityRecordThatIsCutSetsTC() throws {
        var message = Samples.large(count: 0)
        message.authority = (0..<40).map { number in
            DNSRecord(name: .root, data: .ns(Samples.name("name-server-\(number).example.")))
        }
        let decoded = try DNSMessage(decoding: message.encoded(limit: 512))
        #expect(decoded.truncated)
        #expect((1..<40).contains(decoded.authority.count))
    }

    @Test func theOPTRecordAlwaysStays() throws {
        let edns = DNSExtension(payloadSize: 512, options: [DNSExtension.Option(code: 8, data: [0, 1, 0, 0])])
        let message = Samples.large(count: 200, with: edns)
        let bytes = try message.encoded(limit: 512)
        let decoded = try DNSMessage(decoding: bytes)
        #expect(bytes.count <= 512)
        #expect(decoded.extension == edns)
        #expect(decoded.truncated)
    }

    @Test func aTCPAnswerEndsAt65535Bytes() throws {
        let message = Samples.large(count: 3000)
        let bytes = try message.encoded(limit: .max)
        #expect(bytes.count <= 65_535)
        let decoded = try DNSMessage(decoding: bytes)
        #expect(decoded.answers.count < 3000 || decoded.additional.count < 3000)
    }

    @Test func limitsBelow512CountAs512() throws {
        let message = Samples.large(count: 3)
        #expect(try message.encoded(limit: 0) == message.encoded(limit: 512))
    }
}
