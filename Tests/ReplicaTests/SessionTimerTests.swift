import Protocol
import Raft
import Registry
import Replica
import Testing
import Units

@Suite struct SessionTimerTests {
    private func create(_ cluster: ReplicaCluster, ttlSeconds: UInt64, lockDelaySeconds: UInt64 = 0) -> String {
        cluster.run(milliseconds: 1000)
        let id = "11111111-2222-3333-4444-555555555555"
        var command = LogCommand()
        command.sessionCreate.id = id
        command.sessionCreate.node = "server-1"
        command.sessionCreate.ttlNs = ttlSeconds * 1_000_000_000
        command.sessionCreate.lockDelayNs = lockDelaySeconds * 1_000_000_000
        #expect(cluster.propose(command)?.sessionID == id)
        return id
    }

    private func acquire(_ key: String, _ session: String, _ cluster: ReplicaCluster) -> Bool? {
        var command = cluster.put(key, "held")
        command.kvPut.mode = .putAcquire
        command.kvPut.session = session
        return cluster.propose(command)?.ok
    }

    private func destroy(_ id: String, _ cluster: ReplicaCluster) {
        var command = LogCommand()
        command.sessionDestroy.ids = [id]
        #expect(cluster.propose(command)?.ok == true)
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

    @Test func aSessionWhoseEndIsDecidedIsNotRenewed() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        guard let leader = cluster.leader else { return }
        cluster.run(milliseconds: 19_900)
        // Its end is in the leader's log, and nobody has acknowledged it yet.
        cluster.now += 500
        cluster.step(leader, .tick)
        #expect(self.exists(id, cluster))
        let token = cluster.token()
        cluster.step(leader, .renewSession(token: token, id: id))
        #expect(cluster.renewed[token] == false)
        cluster.settle()
        #expect(!self.exists(id, cluster))
    }

    @Test func noSessionIsRenewedBeforeWhatTheLeaderInheritedIsApplied() {
        // The end of a session may be among the entries of an earlier leader that are not committed yet.
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        guard let old = cluster.leader else { return }
        cluster.cut = [old]
        while cluster.leader == nil {
            cluster.now += 10
            for other in cluster.ids where other != old { cluster.step(other, .tick) }
            for _ in 0..<20 where cluster.leader == nil { cluster.settleOnce() }
        }
        guard let new = cluster.leader else { return }
        #expect(cluster.replicas[new]?.raft.hasCommittedInTerm == false)
        let token = cluster.token()
        cluster.step(new, .renewSession(token: token, id: id))
        #expect(cluster.renewed[token] == nil && cluster.refusals[token]?.reason == .termNotCommitted)
        // Nor is anything proposed: what is inherited may name a later time than this server's clock shows.
        let early = cluster.token()
        cluster.step(new, .propose(token: early, envelope: LogEnvelope()))
        #expect(cluster.refusals[early]?.reason == .notLeader(nil) && cluster.refusals[early]?.mayApply == false)
        cluster.settle()
        cluster.step(new, .renewSession(token: token, id: id))
        #expect(cluster.renewed[token] == true)
    }

    @Test func timeGoesOnFromASnapshotThoughTheClockThatIsFoundIsBehind() throws {
        // By a clock an hour behind, the delay of a lock would end an hour from now: so far off that it counts for none.
        let cluster = ReplicaCluster(servers: 1)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 0, lockDelaySeconds: 30)
        #expect(self.acquire("lock", id, cluster) == true)
        self.destroy(id, cluster)
        cluster.step(cluster.ids[0], .snapshotNow)
        cluster.wallTime -= 3_600_000_000_000
        try cluster.restartFromSnapshot(cluster.ids[0])
        #expect(cluster.leader == nil)
        cluster.electLeader()
        let next = self.create(cluster, ttlSeconds: 0)
        #expect(self.acquire("lock", next, cluster) == false)
        cluster.run(milliseconds: 31_000)
        #expect(self.acquire("lock", next, cluster) == true)
    }

    @Test func whatARestoreBringsBackHasItsTimeAndNoMore() {
        let cluster = ReplicaCluster(servers: 1)
        cluster.electLeader()
        let id = self.create(cluster, ttlSeconds: 10)
        var agent = LogCommand()
        agent.register.node.name = "agent-1"
        agent.register.node.address = "10.0.0.1"
        agent.register.checks = [Replica.healthCheck(of: "agent-1", alive: true)]
        cluster.propose(agent)
        let backup = cluster.leaderRegistry
        self.destroy(id, cluster)
        var gone = LogCommand()
        gone.deregister.node = "agent-1"
        cluster.propose(gone)
        self.restore(backup, cluster)
        cluster.run(milliseconds: 8_000)
        #expect(self.exists(id, cluster))
        #expect(cluster.leaderRegistry.checks(onNode: "agent-1").value.map(\.status) == [.passing])
        cluster.run(milliseconds: 14_000)
        #expect(!self.exists(id, cluster))
        #expect(cluster.leaderRegistry.checks(onNode: "agent-1").value.map(\.status) == [.critical])
    }

    private func restore(_ backup: Registry, _ cluster: ReplicaCluster) {
        let bytes = backup.encodedRows(.restorable)
        var begin = LogCommand()
        begin.restoreBegin.id = 1
        begin.restoreBegin.totalBytes = UInt64(bytes.count)
        begin.restoreBegin.sha256 = .init(backup.hashes.restorable)
        var chunk = LogCommand()
        chunk.restoreChunk.id = 1
        chunk.restoreChunk.data = .init(bytes)
        var commit = LogCommand()
        commit.restoreCommit.id = 1
        for command in [begin, chunk, commit] { #expect(cluster.propose(command)?.ok == true) }
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
