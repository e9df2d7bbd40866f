import Cluster
import HTTPAPI
import LocalAgent
import Protocol
import Units

/// The numbers of `/v1/agent/metrics` that belong to the process as a whole.
enum Metrics {
    static func collect(_ role: Facilities.Role, _ http: HTTPAPI) async -> [Metric] {
        var metrics: [Metric] = []
        func gauge(_ name: String, _ value: some BinaryInteger) {
            metrics.append(Metric(kind: .gauge, name: name, value: Double(value)))
        }
        gauge("consul.http.waiting", http.waitingCount)
        switch role {
        case .agent(let link):
            gauge("consul.client.known_servers", link.serverAddresses.count)
            let views = link.viewSize
            gauge("serai.views.count", views.views)
            gauge("serai.views.bytes", views.bytes)
            if let expiry = link.certificateExpiry { gauge("consul.agent.tls.cert.expiry", expiry) }
        case .server(let server):
            let status = await server.localRaftStatus()
            gauge("consul.server.isLeader", server.isLeader ? 1 : 0)
            gauge("consul.raft.applied_index", status.applied)
            gauge("consul.raft.commit_index", status.commit)
            gauge("consul.raft.last_index", status.lastIndex)
            gauge("consul.raft.term", status.term)
            gauge("consul.raft.peers", status.configuration.voters.count)
            gauge("consul.raft.leader.lastContact", server.lastLeaderContact.rawValue / 1_000_000)
            gauge("consul.agent.tls.cert.expiry", server.certificateExpiry)
            metrics.append(Metric(kind: .counter, name: "serai.storage.commits", value: Double(server.storageCommits)))
        }
        return metrics
    }
}
