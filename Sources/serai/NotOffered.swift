/// Verbs of Consul's that are known here and not offered: each says why, and what to use instead.
package enum NotOffered {
    private static let accessLists = "access lists are not offered yet: whoever reaches the HTTP API may do everything"
    private static let mesh = "the service mesh is not offered yet"
    private static let enterprise = "it belongs to Consul's enterprise edition"

    package static let reasons: [String: String] = [
        "acl": accessLists, "login": accessLists, "logout": accessLists,
        "config": "configuration entries come with the service mesh, which is not offered yet",
        "connect": mesh, "intention": mesh, "troubleshoot": mesh,
        "peering": "clusters can't be peered yet",
        "tls": "servers and agents make their own certificates: see cluster init and cluster token",
        "license": enterprise, "namespace": enterprise, "partition": enterprise,
        "resource": "Consul's version 2 of the catalog was withdrawn",
    ]

    static func answer(_ verb: String) -> String? {
        self.reasons[verb].map { "Error! \(Serai.programName) \(verb) is not offered: \($0)." }
    }
}
