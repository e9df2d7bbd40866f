import DNSCodec
import Testing

/// No bytes make the decoder trap, and what it understands it can write and read again.
struct FuzzTests {
    /// Reads; when that succeeds, what was read must be writable and read back the same.
    private func checkRoundTrip(_ bytes: [UInt8]) throws -> Bool {
        guard let message = try? DNSMessage(decoding: bytes) else { return false }
        let written: [UInt8]
        do {
            written = try message.encoded()
        } catch {
            // The one thing that is read more generously than it is written.
            if error == .valueTooLarge(field: "OPT options") { return true }
            throw error
        }
        let again = try DNSMessage(decoding: written)
        if again.truncated && !message.truncated {
            #expect(again.answers == Array(message.answers.prefix(again.answers.count)))
        } else {
            #expect(again == message)
        }
        return true
    }

    @Test(arguments: 0..<8)
    func randomBytesNeverTrap(_ seed: Int) throws {
        var numbers = TestNumbers(seed: UInt64(seed))
        for _ in 0..<1500 {
            let length = Int.random(in: 0...96, using: &numbers)
            var bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &numbers) }
            // Small counts, so that more than the first question is reached.
            for position in [4, 6, 8, 10] where position < length { bytes[position] = 0 }
            for position in [5, 7, 9, 11] where position < length { bytes[position] &= 3 }
            _ = try self.checkRoundTrip(bytes)
        }
    }

    @Test(arguments: 0..<8)
    func mutatedMessagesNeverTrap(_ seed: Int) throws {
        var numbers = TestNumbers(seed: UInt64(1000 + seed))
        let samples = try [Samples.query.encoded(), Samples.everything.encoded(), Samples.large(count: 6).encoded()]
        var understood = 0
        for round in 0..<1500 {
            var bytes = samples[round % samples.count]
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                let position = Int.random(in: 0..<bytes.count, using: &numbers)
                switch Int.random(in: 0..<5, using: &numbers) {
                case 0: bytes[position] = UInt8.random(in: .min ... .max, using: &numbers)
                case 1: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
                case 2: bytes[position] = 0xC0 | UInt8.random(in: 0..<2, using: &numbers)
                case 3: bytes.remove(at: position)
                default: bytes.insert(UInt8.random(in: .min ... .max, using: &numbers), at: position)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            if try self.checkRoundTrip(bytes) { understood += 1 }
        }
        // Otherwise the mutations only ever met the first check.
        #expect(understood > 50)
    }

    @Test(arguments: 0..<4)
    func randomMessagesSurviveTheRoundTripAtEveryLimit(_ seed: Int) throws {
        var numbers = TestNumbers(seed: UInt64(2000 + seed))
        for _ in 0..<200 {
            let message = self.randomMessage(&numbers)
            #expect(try DNSMessage(decoding: message.encoded()) == message)
            let limit = Int.random(in: 512...1500, using: &numbers)
            let cut = try message.encoded(limit: limit)
            #expect(cut.count <= limit)
            let decoded = try DNSMessage(decoding: cut)
            let kept = decoded.answers + decoded.authority + decoded.additional
            let all = message.answers + message.authority + message.additional
            #expect(kept == Array(all.prefix(kept.count)))
            let required = message.answers.count + message.authority.count
            #expect(decoded.truncated == (decoded.answers.count + decoded.authority.count < required))
        }
    }

    private func randomName(_ numbers: inout TestNumbers) -> DNSName {
        // Few different labels, so that names share endings.
        let labels = (0..<Int.random(in: 0...5, using: &numbers)).map { _ in
            Array(["web", "DB", "node", "dc1", "consul", "x.y"].randomElement(using: &numbers)?.utf8 ?? "a".utf8)
        }
        return (try? DNSName(labels: labels)) ?? .root
    }

    private func randomRecord(_ numbers: inout TestNumbers) -> DNSRecord {
        func bytes(_ count: Int, _ numbers: inout TestNumbers) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &numbers) }
        }
        let data: DNSRecordData
        switch Int.random(in: 0..<7, using: &numbers) {
        case 0: data = .a(bytes(4, &numbers))
        case 1: data = .aaaa(bytes(16, &numbers))
        case 2: data = .cname(self.randomName(&numbers))
        case 3: data = .ptr(self.randomName(&numbers))
        case 4: data = .txt([bytes(Int.random(in: 0...20, using: &numbers), &numbers)])
        case 5:
            data = .srv(
                DNSServiceLocation(
                    priority: 1, weight: UInt16.random(in: 0...9, using: &numbers), port: 80,
                    target: self.randomName(&numbers)))
        default: data = .other(DNSRecordType(rawValue: 700), bytes(Int.random(in: 0...40, using: &numbers), &numbers))
        }
        return DNSRecord(
            name: self.randomName(&numbers), timeToLive: UInt32.random(in: 0...9, using: &numbers), data: data)
    }

    private func randomMessage(_ numbers: inout TestNumbers) -> DNSMessage {
        var message = DNSMessage(id: UInt16.random(in: .min ... .max, using: &numbers), isResponse: true)
        message.questions = [DNSQuestion(name: self.randomName(&numbers), type: .any)]
        for _ in 0..<Int.random(in: 0...20, using: &numbers) { message.answers.append(self.randomRecord(&numbers)) }
        for _ in 0..<Int.random(in: 0...3, using: &numbers) { message.authority.append(self.randomRecord(&numbers)) }
        for _ in 0..<Int.random(in: 0...20, using: &numbers) { message.additional.append(self.randomRecord(&numbers)) }
        if Bool.random(using: &numbers) { message.extension = DNSExtension(payloadSize: 1232) }
        return message
    }
}
