import ArgumentParser
import Foundation

package enum OutputFormat: String, ExpressibleByArgument {
    case pretty
    case json
}

/// What every verb that speaks to an agent takes. Each `(CONSUL_…)` has a `SERAI_…` of the same name that goes before it.
struct APIOptions: ParsableArguments {
    @Option(
        name: .customLong("http-addr"),
        help: .init(
            "The agent's HTTP API: host:port, http://…, https://… or unix://… (CONSUL_HTTP_ADDR).", valueName: "address"
        ))
    var address: String?

    @Option(name: .customLong("token"), help: .init("The request's token (CONSUL_HTTP_TOKEN).", valueName: "token"))
    var token: String?

    @Option(
        name: .customLong("token-file"),
        help: .init("File that holds the token (CONSUL_HTTP_TOKEN_FILE).", valueName: "file"))
    var tokenFile: String?

    @Option(
        name: .customLong("ca-file"),
        help: .init("PEM file of the CA that https is checked with (CONSUL_CACERT).", valueName: "file"))
    var caFile: String?

    @Option(
        name: .customLong("ca-path"),
        help: .init("Folder of PEM files of such CAs (CONSUL_CAPATH).", valueName: "folder"))
    var caPath: String?

    @Option(
        name: .customLong("client-cert"),
        help: .init("PEM file of the certificate to show (CONSUL_CLIENT_CERT).", valueName: "file"))
    var clientCertificate: String?

    @Option(
        name: .customLong("client-key"),
        help: .init("PEM file of that certificate's key (CONSUL_CLIENT_KEY).", valueName: "file"))
    var clientKey: String?

    @Option(
        name: .customLong("tls-server-name"),
        help: .init("Name that the agent's certificate must have (CONSUL_TLS_SERVER_NAME).", valueName: "name"))
    var serverName: String?

    @Option(
        name: .customLong("datacenter"),
        help: .init("Datacenter to ask; the agent's own by default.", valueName: "name"))
    var datacenter: String?

    @Option(
        name: .customLong("namespace"), help: .init("Only default exists (CONSUL_NAMESPACE).", valueName: "name"))
    var namespace: String?

    @Option(
        name: .customLong("partition"), help: .init("Only default exists (CONSUL_PARTITION).", valueName: "name"))
    var partition: String?

    @Flag(name: .customLong("stale"), help: "Let any server answer, from a state that may lag.")
    var stale = false

    @Option(name: .customLong("format"), help: .init("pretty for people, json for programs.", valueName: "form"))
    var format: OutputFormat = .pretty

    /// The agent these options and the environment name.
    func client() throws -> APIClient {
        let environment = CommandEnvironment.process
        try Self.demandDefault(environment.value(self.namespace, or: "NAMESPACE"), "namespace")
        try Self.demandDefault(environment.value(self.partition, or: "PARTITION"), "partition")
        let secure = try environment.truth("HTTP_SSL") ?? false
        let address = environment.value(self.address, or: "HTTP_ADDR") ?? "127.0.0.1:8500"
        return APIClient(
            base: try Endpoint.base(of: address, secure: secure),
            token: try self.requestToken(environment), credentials: environment["HTTP_AUTH"],
            datacenter: self.datacenter, stale: self.stale,
            tls: TLSFiles(
                caFile: environment.value(self.caFile, or: "CACERT"),
                caPath: environment.value(self.caPath, or: "CAPATH"),
                certificate: environment.value(self.clientCertificate, or: "CLIENT_CERT"),
                key: environment.value(self.clientKey, or: "CLIENT_KEY"),
                serverName: environment.value(self.serverName, or: "TLS_SERVER_NAME"),
                verify: try environment.truth("HTTP_SSL_VERIFY") ?? true))
    }

    private func requestToken(_ environment: CommandEnvironment) throws -> String? {
        if let token, !token.isEmpty { return token }
        guard let path = environment.value(self.tokenFile, or: "HTTP_TOKEN_FILE") else {
            return environment["HTTP_TOKEN"]
        }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw CommandFailure("Error connecting to agent: Error loading token file: \(Files.openFailure(path))")
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func demandDefault(_ name: String?, _ kind: String) throws {
        if let name, name != "default" {
            throw CommandFailure(
                "Error! -\(kind) \(name): \(kind)s belong to Consul's enterprise edition; here is only default")
        }
    }
}
