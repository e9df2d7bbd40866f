import DNSCodec
import Testing

struct NameTests {
    @Test func namesCompareAndHashWithoutRegardToASCIICase() throws {
        let lower = try DNSName("web.service.consul.")
        let mixed = try DNSName("WeB.Service.CONSUL")
        #expect(lower == mixed)
        #expect(Set([lower, mixed]).count == 1)
        #expect(try DNSName("é.consul.") != DNSName("É.consul."))
    }

    @Test func aNameKeepsTheCaseItWasWrittenIn() throws {
        #expect(try DNSName("WeB.Consul.").description == "WeB.Consul.")
        #expect(try DNSName("WeB.Consul.").lowercased.description == "web.consul.")
    }

    @Test func theRootIsWrittenAsADotOrNothing() throws {
        #expect(try DNSName(".").isRoot)
        #expect(try DNSName("").isRoot)
        #expect(DNSName.root.description == ".")
        #expect(DNSName.root.wireLength == 1)
    }

    @Test func aDotWithinALabelIsEscapedInText() throws {
        let name = try DNSName(labels: [Array("a.b".utf8), [0, 92, 200]])
        #expect(name.description == "a\\.b.\\000\\\\\\200.")
        #expect(try DNSName(name.description) == name)
    }

    @Test(arguments: ["a..b", "..", ".a"])
    func anEmptyLabelIsRefused(_ text: String) {
        #expect(throws: DNSCodecError.emptyLabel) { try DNSName(text) }
    }

    @Test(arguments: ["a\\", "a\\25", "a\\256", "a\\2x5"])
    func aBrokenEscapeIsRefused(_ text: String) {
        #expect(throws: DNSCodecError.badEscape) { try DNSName(text) }
    }

    @Test func aLabelOf63BytesIsTheLongest() throws {
        let longest = String(repeating: "x", count: 63)
        #expect(try DNSName(longest).labels == [Array(longest.utf8)])
        #expect(throws: DNSCodecError.labelTooLong) { try DNSName(longest + "x") }
    }

    @Test func aNameOf255BytesIsTheLongest() throws {
        // Three labels of 63 take 192 bytes, one of 61 takes 62, the root's zero is the 255th.
        let labels = [63, 63, 63, 61].map { [UInt8](repeating: 97, count: $0) }
        #expect(try DNSName(labels: labels).wireLength == 255)
        let tooLong = [63, 63, 63, 62].map { [UInt8](repeating: 97, count: $0) }
        #expect(throws: DNSCodecError.nameTooLong) { try DNSName(labels: tooLong) }
        let suffix = try DNSName(labels: Array(labels.prefix(3)))
        #expect(throws: DNSCodecError.nameTooLong) { try suffix.appending(suffix) }
    }

    @Test func belowMeansWholeLabels() throws {
        let domain = try DNSName("consul.")
        #expect(try DNSName("a.CONSUL.").isAtOrBelow(domain))
        #expect(domain.isAtOrBelow(domain))
        #expect(try !DNSName("notconsul.").isAtOrBelow(domain))
        #expect(try !DNSName("consul.example.").isAtOrBelow(domain))
        #expect(try DNSName("example.").isAtOrBelow(.root))
        #expect(try !DNSName("consul.").isAtOrBelow(DNSName("a.consul.")))
    }
}
