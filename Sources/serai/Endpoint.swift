import Units

/// How an agent's address and the paths asked of it are written.
package enum Endpoint {
    /// Scheme and authority of `address` in Consul's forms: `host:port`, `http://…`, `https://…`, `unix://path`.
    package static func base(of address: String, secure: Bool) throws -> String {
        var text = address
        while text.hasSuffix("/") { text.removeLast() }
        if text.hasPrefix("unix://") {
            return "http+unix://" + PercentEncoding.of(text.dropFirst("unix://".count))
        }
        if text.hasPrefix("http://") || text.hasPrefix("https://") { return text }
        if text.contains("://") {
            throw CommandFailure(
                "Error connecting to agent: Unknown protocol scheme: \(address.prefix { $0 != ":" }) "
                    + "(http, https and unix are known)")
        }
        return (secure ? "https://" : "http://") + text
    }
}
