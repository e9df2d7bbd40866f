import ArgumentParser
import Foundation

enum OutputFormat: String, ExpressibleByArgument {
    case pretty
    case json
}

/// What every verb that speaks to an agent takes.
struct APIOptions: ParsableArguments {
    @Option(
        name: .customLong("http-addr"),
        help: "Address of the agent's HTTP API: host:port, http://…, https://… or unix://… (CONSUL_HTTP_ADDR).")
    var address: String?

    @Option(name: .customLong("token"), help: "Token of the request (CONSUL_HTTP_TOKEN).")
    var token: String?

    @Option(name: .customLong("token-file"), help: "File that holds the token (CONSUL_HTTP_TOKEN_FILE).")
    var tokenFile: String?

    @Option(name: .customLong("datacenter"), help: "Datacenter to ask; the agent's own by default.")
    var datacenter: String?

    @Flag(name: .customLong("stale"), help: "Let any server answer, from a state that may lag.")
    var stale = false

    @Option(name: .customLong("ca-file"), help: "PEM file of the CA that https is checked with (CONSUL_CACERT).")
    var caFile: String?

    @Option(name: .customLong("format"), help: "pretty for people, json for programs.")
    var format: OutputFormat = .pretty

    /// The agent these options and the environment name.
    func client() throws -> APIClient {
        let environment = ProcessInfo.processInfo.environment
        func named(_ given: String?, _ variable: String) -> String? {
            if let given { return given }
            guard let value = environment[variable], !value.isEmpty else { return nil }
            return value
        }
        var token = named(self.token, "CONSUL_HTTP_TOKEN")
        if self.token == nil, let path = named(self.tokenFile, "CONSUL_HTTP_TOKEN_FILE") {
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                throw CommandFailure("Error loading token file: \(path) can't be read")
            }
            token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let secure = ["true", "1"].contains(environment["CONSUL_HTTP_SSL"]?.lowercased() ?? "")
        return APIClient(
            base: try Endpoint.base(of: named(self.address, "CONSUL_HTTP_ADDR") ?? "127.0.0.1:8500", secure: secure),
            token: token, datacenter: self.datacenter, stale: self.stale,
            caFile: named(self.caFile, "CONSUL_CACERT"),
            verify: !["false", "0"].contains(environment["CONSUL_HTTP_SSL_VERIFY"]?.lowercased() ?? ""))
    }
}
