import Foundation
import Testing
import Units
import serai

@Suite("Addresses")
struct AddressTests {
    @Test(
        "An agent's address may be written in each of Consul's forms",
        arguments: [
            ("127.0.0.1:8500", "http://127.0.0.1:8500"), ("http://host:1/", "http://host:1"),
            ("https://host", "https://host"), ("unix:///run/serai.sock", "http+unix://%2Frun%2Fserai.sock"),
        ])
    func addressForms(given: String, base: String) throws {
        #expect(try Endpoint.base(of: given, secure: false) == base)
    }

    @Test func withoutASchemeSecureMeansHTTPS() throws {
        #expect(try Endpoint.base(of: "host:8501", secure: true) == "https://host:8501")
    }

    @Test func anUnknownSchemeIsRefused() {
        #expect(throws: (any Error).self) { try Endpoint.base(of: "ftp://host", secure: false) }
    }

    @Test func everyByteThatIsNotUnreservedIsEncoded() {
        #expect(PercentEncoding.of("a b/ç%?#", keeping: "/") == "a%20b/%C3%A7%25%3F%23")
        #expect(PercentEncoding.of("a/b") == "a%2Fb")
    }
}
