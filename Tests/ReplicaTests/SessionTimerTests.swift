import Protocol
import Raft
import Registry
import Replica
import Testing
import Units

@Suite struct SessionTimerTests {
    private func create(_ cluster: ReplicaCluster, ttlSeconds: UInt64) -> String {
        cluster.run(milliseconds: 1000)
        let id = "11111111-2222-3333-4444-555555555555"
        var command = LogCommand()
        command.sessionCreate.id = id
        command.sessionCreate.node = "server-1"
        command.sessionCreate.ttlNs = ttlSeconds * 1_000_000_000
        #expect(cluster.propose(command)?.sessionID == id)
        return id
    }

    private func exists(_ id: String, _ cluster: ReplicaCluster) -> Bool {
        cluster.leaderRegistry.session(id).value != nil
    }

    @Test func aSessionLivesForItsTTLAndIsGoneAfterTwice() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        cluster.run(milliseconds: 19_000)
        #expect(self.exists(id, cluster))
        cluster.run(milliseconds: 2000)
        #expect(!self.exists(id, cluster))
    }

    @Test func aRenewedSessionStartsAnew() {
        let cluster = ReplicaCluster(servers: 1)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        cluster.run(milliseconds: 15_000)
        let token = cluster.token()
        if let leader = cluster.leader { cluster.step(leader, .renewSession(token: token, id: id)) }
        #expect(cluster.renewed[token] == true)
        cluster.run(milliseconds: 18_000)
        #expect(self.exists(id, cluster))
        cluster.run(milliseconds: 3000)
        #expect(!self.exists(id, cluster))
    }

    @Test func anUnknownSessionIsNotRenewed() {
        let cluster = ReplicaCluster(servers: 1)
        cluster.electLeader()
        let token = cluster.token()
        if let leader = cluster.leader { cluster.step(leader, .renewSession(token: token, id: "nobody")) }
        #expect(cluster.renewed[token] == false)
    }

    @Test func aNewLeaderGrantsFullLeasesFirst() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        cluster.run(milliseconds: 15_000)
        guard let old = cluster.leader else { return }
        cluster.cut = [old]
        cluster.run(milliseconds: 4000)
        // 19 s have passed; the new leader counts 20 s from its own start.
        cluster.run(milliseconds: 10_000)
        #expect(self.exists(id, cluster))
        cluster.run(milliseconds: 10_000)
        #expect(!self.exists(id, cluster))
    }
}
