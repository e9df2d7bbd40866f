import FoundationEssentials
import Protocol
import Raft
import Registry
import Replica
import Testing
import Units

@Suite struct ReplicaTests {
    @Test func aWriteIsAnsweredOnceAQuorumHasItAndStandsOnEveryServer() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let result = cluster.propose(cluster.put("a", "1"))
        #expect(result?.ok == true)
        cluster.run(milliseconds: 200)
        for id in cluster.ids {
            #expect(cluster.replicas[id]?.registry.kvEntry(ByteKey("a")).value?.value == Array("1".utf8))
        }
    }

    @Test func aFollowerRefusesAndNamesTheLeader() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        let follower = cluster.ids.first { $0 != cluster.leader }
        #expect(cluster.propose(cluster.put("a", "1"), at: follower) == nil)
        #expect(cluster.refusals.values.first?.reason == .notLeader(cluster.leader))
        #expect(cluster.refusals.values.first?.mayApply == false)
    }

    @Test func aRetriedWriteIsAppliedOnceAndGetsTheFirstResult() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        var command = cluster.put("a", "1")
        command.kvPut.mode = .putCas
        let first = cluster.propose(command, client: 7, sequence: 1, lowest: 1)
        let second = cluster.propose(command, client: 7, sequence: 1, lowest: 1)
        #expect(first?.ok == true)
        #expect(second?.ok == true)
        #expect(second?.index == first?.index)
        let fresh = cluster.propose(command, client: 7, sequence: 2, lowest: 2)
        #expect(fresh?.ok == false)
    }

    @Test func aCommandThatNoMessageBetweenServersCouldCarryIsRefused() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        // One frame of 16 MiB carries a message between servers.
        #expect(cluster.propose(cluster.put("large", String(repeating: "x", count: 16 << 20))) == nil)
        guard case .invalid(let text)? = cluster.refusals.values.first?.reason else {
            Issue.record("not refused: \(cluster.refusals)")
            return
        }
        #expect(text.contains("bytes") && cluster.refusals.values.first?.mayApply == false)
        #expect(cluster.propose(cluster.put("small", "1"))?.ok == true)
    }

    @Test func aLeaderThatWasCutOffTellsItsCallersThatTheirWritesMayStillApply() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        guard let old = cluster.leader else {
            Issue.record("no leader")
            return
        }
        cluster.cut = [old]
        #expect(cluster.propose(cluster.put("lost", "1"), at: old) == nil)
        cluster.run(milliseconds: 5000)
        #expect(cluster.refusals.values.contains { $0.reason == .lostLeadership && $0.mayApply })
        #expect(cluster.leader != nil && cluster.leader != old)
        cluster.cut = []
        cluster.run(milliseconds: 500)
        #expect(cluster.replicas[old]?.registry.kvEntry(ByteKey("lost")).value == nil)
    }

    @Test func noServerAnswersBeforeItKnowsWhatIsCommitted() {
        let cluster = ReplicaCluster(servers: 3)
        #expect(cluster.ids.allSatisfy { cluster.replicas[$0]?.isReady == false })
        cluster.electLeader()
        cluster.run(milliseconds: 300)
        #expect(cluster.ids.allSatisfy { cluster.replicas[$0]?.isReady == true })
    }

    @Test func aReadOnAFollowerSeesEveryWriteAcknowledgedBefore() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.propose(cluster.put("a", "1"))
        guard let follower = cluster.ids.first(where: { $0 != cluster.leader }) else { return }
        let token = cluster.token()
        cluster.step(follower, .read(token: token))
        cluster.settle()
        cluster.run(milliseconds: 20)
        #expect(cluster.readable.contains(token))
        #expect(cluster.replicas[follower]?.registry.kvEntry(ByteKey("a")).value != nil)
    }

    @Test func everyServerRegistersItselfInTheCatalogAndDisappearsWhenRemoved() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 1000)
        #expect(cluster.leaderRegistry.instances(ofService: "consul").value.count == 3)
        #expect(
            cluster.leaderRegistry.checks(inState: .passing).value.map(\.id) == [
                "serfHealth", "serfHealth", "serfHealth",
            ])
        guard let leader = cluster.leader, let gone = cluster.ids.first(where: { $0 != leader }) else { return }
        cluster.step(leader, .changeMembership(token: cluster.token(), MembershipChange(remove: [gone])))
        cluster.run(milliseconds: 2000)
        #expect(cluster.leaderRegistry.allNodes().value.count == 2)
    }

    /// Two writers that each correct the other would wake every watcher of the nodes, for ever.
    @Test func whatAServersAgentSaysOfItsNodeIsLeftAsItIs() throws {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 2000)
        let leader = try #require(cluster.leader)
        var node = try #require(cluster.replicas[leader]?.registry.node(named: "server-2").value).message
        node.meta["consul-version"] = "1.22.1"
        node.taggedAddresses["lan"] = "10.9.9.9"
        var command = LogCommand()
        command.register.node = node
        #expect(cluster.propose(command) != nil)
        let written = try #require(cluster.replicas[leader]?.registry.node(named: "server-2").value)
        #expect(written.meta["consul-version"] == "1.22.1")
        cluster.run(milliseconds: 130_000)
        #expect(cluster.replicas[leader]?.registry.node(named: "server-2").value == written)
    }

    @Test func aServerThatIsSilentTurnsCriticalAndPassesAgainWhenItIsBack() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 1000)
        guard let leader = cluster.leader, let silent = cluster.ids.first(where: { $0 != leader }) else { return }
        cluster.cut = [silent]
        cluster.run(milliseconds: 8000)
        #expect(cluster.leaderRegistry.checks(inState: .critical).value.isEmpty)
        cluster.run(milliseconds: 6000)
        #expect(cluster.leaderRegistry.checks(inState: .critical).value.count == 1)
        cluster.cut = []
        cluster.run(milliseconds: 3000)
        #expect(cluster.leaderRegistry.checks(inState: .critical).value.isEmpty)
    }

    @Test func aNewLeaderDoesNotTakeADeadServerForAlive() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 1000)
        guard let leader = cluster.leader, let dead = cluster.ids.first(where: { $0 != leader }),
            let next = cluster.ids.first(where: { $0 != leader && $0 != dead })
        else { return }
        cluster.cut = [dead]
        cluster.run(milliseconds: 14_000)
        #expect(cluster.leaderRegistry.checks(inState: .critical).value.count == 1)
        cluster.step(leader, .transferLeadership(token: cluster.token(), to: next))
        for _ in 0..<300 {
            cluster.run(milliseconds: 10)
            guard let registry = cluster.replicas[next]?.registry else { return }
            #expect(registry.checks(inState: .critical).value.count == 1)
        }
        #expect(cluster.leader == next)
    }

    @Test func anAgentsNodeGetsItsHealthCheckFromItsLease() {
        let cluster = ReplicaCluster(servers: 1)
        cluster.electLeader()
        var command = LogCommand()
        command.register.node.name = "agent-1"
        command.register.node.address = "10.0.0.1"
        cluster.propose(command)
        guard let leader = cluster.leader else { return }
        cluster.step(leader, .leasesHeld(names: ["agent-1"]))
        cluster.run(milliseconds: 600)
        #expect(cluster.leaderRegistry.checks(onNode: "agent-1").value.map(\.status) == [.passing])
        cluster.run(milliseconds: 11_000)
        #expect(cluster.leaderRegistry.checks(onNode: "agent-1").value.map(\.status) == [.critical])
        cluster.step(leader, .leasesHeld(names: ["agent-1"]))
        cluster.run(milliseconds: 600)
        #expect(cluster.leaderRegistry.checks(onNode: "agent-1").value.map(\.status) == [.passing])
    }

    @Test func aNewIncarnationOfAServerTakesThePlaceOfTheOldInOneChange() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 500)
        guard let leader = cluster.leader, let old = cluster.ids.first(where: { $0 != leader }),
            let name = cluster.replicas[leader]?.raft.configuration.member(old)?.name
        else { return }
        cluster.cut = [old]
        cluster.run(milliseconds: 3000)
        let new = NodeID(random: 99 << 32)
        cluster.start(new, founded: nil)
        let member = Member(id: new, name: name, address: "127.0.0.9:8300")
        let token = cluster.token()
        cluster.step(leader, .join(token: token, member))
        cluster.run(milliseconds: 3000)
        #expect(cluster.administered[token] == .some(nil))
        let voters = cluster.replicas[leader]?.raft.configuration.voters.map(\.id) ?? []
        #expect(voters.contains(new))
        #expect(!voters.contains(old))
        #expect(voters.count == 3)
    }

    @Test func aSecondServerWithALivingServersNameIsRefused() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 500)
        guard let leader = cluster.leader, let other = cluster.ids.first(where: { $0 != leader }),
            let name = cluster.replicas[leader]?.raft.configuration.member(other)?.name
        else { return }
        let token = cluster.token()
        cluster.step(
            leader, .join(token: token, Member(id: NodeID(random: 5 << 40), name: name, address: "127.0.0.9:1")))
        guard case .some(.some(.invalid(let text))) = cluster.administered[token] else {
            Issue.record("not refused: \(String(describing: cluster.administered[token]))")
            return
        }
        #expect(text.contains("is alive at"))
    }

    @Test func aSnapshotIsMadeAtTheThreshold() {
        var settings = ReplicaSettings()
        settings.snapshotThreshold = 50
        settings.trailingLogs = 10
        let cluster = ReplicaCluster(servers: 1, settings: settings)
        cluster.electLeader()
        for number in 0..<120 { cluster.propose(cluster.put("k\(number)", "v")) }
        #expect(cluster.snapshots.count >= 2)
        #expect(cluster.replicas[cluster.ids[0]]?.raft.firstIndex ?? .zero > LogIndex(30))
    }

    @Test func aSnapshotThatCouldNotBeWrittenIsNotTriedAgainWithEachEntry() {
        var settings = ReplicaSettings()
        settings.snapshotThreshold = 160
        let cluster = ReplicaCluster(servers: 1, settings: settings)
        cluster.snapshotsFail = true
        cluster.electLeader()
        for number in 0..<240 { cluster.propose(cluster.put("k\(number)", "v")) }
        #expect((2...10).contains(cluster.failedSnapshots))
        cluster.snapshotsFail = false
        for number in 0..<20 { cluster.propose(cluster.put("k\(number)", "w")) }
        #expect(cluster.snapshots.count == 1)
    }

    @Test func serversCompareTheirStateThroughTheLogAndOneThatDiffersStops() {
        let cluster = ReplicaCluster(servers: 3)
        cluster.electLeader()
        cluster.run(milliseconds: 500)
        guard let odd = cluster.ids.first(where: { $0 != cluster.leader }) else { return }
        cluster.propose(cluster.put("once", "written"))
        // A state that is not the cluster's: as if a bit had flipped in memory.
        for number in 0..<1500 {
            if number == 700 { cluster.flip(odd) }
            cluster.propose(cluster.put("k\(number % 50)", "\(number)"))
        }
        cluster.run(milliseconds: 1000)
        #expect(cluster.halts.count == 1)
    }
}

extension ReplicaCluster {
    /// Changes a server's state behind the log's back.
    func flip(_ id: NodeID) {
        guard var replica = self.replicas[id] else { return }
        var rows: [Row] = []
        replica.registry.forEachRow { row in
            guard case .kv(var entry) = row, entry.key == ByteKey("once") else {
                rows.append(row)
                return
            }
            entry.flags ^= 1
            rows.append(.kv(entry))
        }
        do {
            replica.registry = try Registry(rows: rows)
        } catch {
            Issue.record("the rows don't load: \(error)")
        }
        self.replicas[id] = replica
    }
}
