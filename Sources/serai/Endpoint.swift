/// How an agent's address and the paths asked of it are written.
package enum Endpoint {
    /// Scheme and authority of `address` in Consul's forms: `host:port`, `http://…`, `https://…`, `unix://path`.
    package static func base(of address: String, secure: Bool) throws -> String {
        var text = address
        while text.hasSuffix("/") { text.removeLast() }
        if text.hasPrefix("unix://") {
            return "http+unix://" + self.percentEncoded(text.dropFirst("unix://".count), keeping: "")
        }
        if text.hasPrefix("http://") || text.hasPrefix("https://") { return text }
        if text.contains("://") {
            throw CommandFailure(
                "Error connecting to agent: Unknown protocol scheme: \(address.prefix { $0 != ":" }) "
                    + "(http, https and unix are known)")
        }
        return (secure ? "https://" : "http://") + text
    }

    /// Unreserved characters (RFC 3986 §2.3) and those of `keeping` stay; every other byte becomes `%XX`.
    package static func percentEncoded(_ text: some StringProtocol, keeping: String) -> String {
        let kept = Set(keeping.utf8)
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            case _ where kept.contains(byte):
                result.append(byte)
            default:
                result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
