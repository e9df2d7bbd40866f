import DNSCodec

/// Messages that the tests share.
enum Samples {
    static func name(_ text: String) -> DNSName {
        (try? DNSName(text)) ?? .root
    }

    static var query: DNSMessage {
        DNSMessage(
            id: 0x1234, recursionDesired: true,
            questions: [DNSQuestion(name: self.name("Web.service.consul."), type: .srv)])
    }

    /// One record of each kind, EDNS and all flags.
    static var everything: DNSMessage {
        let owner = self.name("web.service.consul.")
        let target = self.name("n1.node.dc1.consul.")
        let authority = DNSStartOfAuthority(
            primary: self.name("ns.consul."), mailbox: self.name("hostmaster.consul."), serial: 4_000_000_000,
            refresh: 3600, retry: 600, expire: 86_400, minimum: 0)
        return DNSMessage(
            id: 0xFFFF, isResponse: true, opcode: 2, authoritative: true, recursionDesired: true,
            recursionAvailable: true,
            authenticData: true, checkingDisabled: true, responseCode: DNSResponseCode(rawValue: 0x123),
            questions: [DNSQuestion(name: owner, type: .any), DNSQuestion(name: .root, type: .ns, class: .any)],
            answers: [
                DNSRecord(name: owner, timeToLive: 1, data: .a([10, 0, 0, 1])),
                DNSRecord(name: owner, timeToLive: .max, data: .aaaa([UInt8](0..<16))),
                DNSRecord(name: owner, data: .cname(target)),
                DNSRecord(
                    name: owner,
                    data: .srv(DNSServiceLocation(priority: 1, weight: 65_535, port: 8080, target: target))),
            ],
            authority: [
                DNSRecord(name: self.name("consul."), data: .soa(authority)),
                DNSRecord(name: self.name("consul."), data: .ns(target)),
            ],
            additional: [
                DNSRecord(name: target, data: .txt([Array("a=b".utf8), [], [UInt8](repeating: 0, count: 255)])),
                DNSRecord(name: self.name("1.0.0.10.in-addr.arpa."), data: .ptr(target)),
                DNSRecord(name: .root, class: .any, data: .other(DNSRecordType(rawValue: 65_280), [1, 2, 3])),
            ],
            extension: DNSExtension(
                payloadSize: 1232, version: 0, dnssecOK: true,
                options: [DNSExtension.Option(code: DNSExtension.clientSubnet, data: [0, 1, 24, 0, 10, 0, 0])]))
    }

    /// An answer with `count` SRV records and an address for each target.
    static func large(count: Int, with extension: DNSExtension? = nil) -> DNSMessage {
        let owner = self.name("web.service.consul.")
        var message = DNSMessage(
            id: 7, isResponse: true, questions: [DNSQuestion(name: owner, type: .srv)], extension: `extension`)
        for number in 0..<count {
            let target = self.name("node-\(number).node.dc1.consul.")
            let location = DNSServiceLocation(
                priority: 1, weight: 1, port: UInt16(truncatingIfNeeded: number), target: target)
            message.answers.append(DNSRecord(name: owner, data: .srv(location)))
            message.additional.append(
                DNSRecord(name: target, data: .a([10, 0, UInt8(number >> 8), UInt8(number & 255)])))
        }
        return message
    }
}

/// A reproducible source of bytes.
struct TestNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (self.state >> 32) | (self.state << 32)
    }
}
