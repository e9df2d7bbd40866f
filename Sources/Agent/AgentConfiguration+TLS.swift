import HTTPAPI

// HTTPS and sockets in the file system. RPC has certificates of its own and takes none of these keys.
extension AgentConfiguration {
    private static let whatHTTPSNeeds = "HTTPS needs a certificate and its key: set tls.https.cert_file and key_file"

    mutating func takeHTTPS(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        func text(_ key: String) -> String? {
            let all = ["tls.https.\(key)", "tls.defaults.\(key)", key].lazy.compactMap { reader.text($0) }
            return all.first { !$0.isEmpty }
        }
        let verifies =
            reader.flag("tls.https.verify_incoming") ?? reader.flag("tls.defaults.verify_incoming")
            ?? reader.flag("verify_incoming_https") ?? reader.flag("verify_incoming") ?? false
        let certificate = text("cert_file")
        let key = text("key_file")
        guard self.ports.https != nil else {
            if certificate != nil || text("ca_file") != nil {
                self.warnings.append(
                    "tls: certificates have no effect without ports.https: RPC is always mutual TLS under the "
                        + "cluster's own CA")
            }
            return
        }
        guard let certificate, let key else {
            throw .invalid(key: "ports.https", why: Self.whatHTTPSNeeds, place: nil)
        }
        var settings = TLSListenerSettings(certificateFile: certificate, keyFile: key)
        settings.authorityFile = text("ca_file")
        settings.authorityFolder = text("ca_path")
        settings.verifiesClients = verifies
        if verifies, settings.authorityFile == nil, settings.authorityFolder == nil {
            throw .invalid(
                key: "verify_incoming", why: "needs ca_file or ca_path: whose clients are to be let in?", place: nil)
        }
        if let version = text("tls_min_version") { settings.minimumVersion = try Self.version(version) }
        self.https = settings
    }

    /// Both of Consul's spellings. What is older than 1.2 is accepted and means 1.2.
    private static func version(_ text: String) throws(AgentConfigurationError) -> TLSListenerSettings.Version {
        switch text.lowercased() {
        case "tlsv1_3", "tls13": .tls13
        case "tlsv1_2", "tls12", "tlsv1_1", "tls11", "tlsv1_0", "tls10", "tls_auto": .tls12
        default:
            throw .invalid(key: "tls_min_version", why: "must be TLSv1_2 or TLSv1_3, not \(text)", place: nil)
        }
    }

    mutating func takeUnixSockets(_ reader: ConfigurationReader) throws(AgentConfigurationError) {
        self.unixSockets = UnixSocketPermissions(
            user: reader.text("unix_sockets.user"), group: reader.text("unix_sockets.group"),
            mode: reader.text("unix_sockets.mode"))
        do throws(UnixSocketPermissions.Failure) {
            try self.unixSockets.validate()
        } catch {
            // Its text begins with the key.
            let parts = "\(error)".split(separator: ": ", maxSplits: 1).map(String.init)
            throw .invalid(key: parts[0], why: parts.count > 1 ? parts[1] : "can't be used", place: nil)
        }
    }
}
