import Certificates
import Logging
import Protocol
import Raft
import Registry
import Replica
import Synchronization
import Transport
import Units

// What operators do to the cluster: look at it, change its members, hand leadership over.
extension Server {
    public func raftStatus() async throws(ClusterError) -> PeerRaftStatus {
        if let leader = self.leader, !leader.isSelf {
            var request = PeerRequest()
            request.raftAdmin.kind = .list
            let response = await self.pool.ask(request, of: leader.member.address, timeout: .seconds(2))
            if case .raftStatus(let status) = response?.kind { return status }
        }
        return await self.statusHere()
    }

    func statusHere() async -> PeerRaftStatus {
        await withCheckedContinuation { continuation in
            let taken = self.loop.ask(.status { continuation.resume(returning: $0) })
            if !taken { continuation.resume(returning: PeerRaftStatus()) }
        }
    }

    public func raftAdmin(_ request: PeerRaftAdmin) async throws(ClusterError) {
        var attempts = Attempts(now: SystemClock.now(), timeout: .seconds(15))
        while true {
            if let leader = self.leader {
                let response =
                    leader.isSelf
                    ? await self.administer(request) : await self.askLeader(request, at: leader.member.address)
                if let response, response.error.isEmpty { return }
                if let response, response.errorCode >= 400 {
                    throw .refused(status: Int(response.errorCode), text: response.error)
                }
            }
            try await attempts.pause(at: SystemClock.now())
        }
    }

    private func askLeader(_ admin: PeerRaftAdmin, at address: String) async -> PeerResponse? {
        var request = PeerRequest()
        request.raftAdmin = admin
        return try? await self.pool.call(request, to: address, timeout: .seconds(10))
    }

    /// At the leader; elsewhere the answer says that this server does not lead.
    func administer(_ admin: PeerRaftAdmin) async -> PeerResponse {
        switch admin.kind {
        case .list:
            var response = PeerResponse()
            response.raftStatus = await self.statusHere()
            return response
        case .remove: return await self.remove(admin)
        case .transfer:
            let to = admin.nodeID == 0 ? nil : NodeID(admin.nodeID)
            return self.response(to: await self.administerHere(.transfer(to: to), timeout: .seconds(5)))
        case .promote:
            let change = MembershipChange(promote: [NodeID(admin.nodeID)])
            return self.response(to: await self.administerHere(.change(change), timeout: .seconds(10)))
        case .add:
            let member = Member(id: NodeID(admin.nodeID), name: admin.name, address: admin.address)
            return self.response(to: await self.administerHere(.join(member), timeout: .seconds(10)))
        case .snapshot:
            _ = self.loop.ask(.input(.snapshotNow))
            return Self.acknowledged
        case .UNRECOGNIZED: return .failure(400, "unknown request")
        }
    }

    private func remove(_ admin: PeerRaftAdmin) async -> PeerResponse {
        let members = self.loop.published.withLock { $0.configuration.allMembers }
        guard
            let member = members.first(where: {
                admin.nodeID != 0 ? $0.id.rawValue == admin.nodeID : $0.address == admin.address
            })
        else {
            let what = admin.nodeID != 0 ? "id \"\(NodeID(admin.nodeID).uuid)\"" : "address \"\(admin.address)\""
            return .failure(500, "\(what) was not found in the Raft configuration")
        }
        if member.id == self.nodeID {
            // Whoever leads afterwards removes this server; once removed, it could not revoke its own certificate.
            await self.handOver()
            if !self.isLeader { return RefusalWire.response(to: .notLeader(nil), mayApply: false) }
        }
        let reason = await self.administerHere(.change(MembershipChange(remove: [member.id])), timeout: .seconds(10))
        if reason == nil { await self.revoke(member) }
        return self.response(to: reason)
    }

    /// A removed server's certificate opens nothing any more.
    private func revoke(_ member: Member) async {
        var command = LogCommand()
        command.revokeNode.nodeID = member.id.rawValue
        command.revokeNode.name = member.name
        do throws(ClusterError) {
            _ = try await self.propose(command, identity: "operator", timeout: .seconds(10))
        } catch {
            self.logger.error("a removed server could not be revoked", metadata: ["name": "\(member.name)"])
        }
    }

    private func response(to reason: RefusalReason?) -> PeerResponse {
        switch reason {
        case nil: return Self.acknowledged
        case .invalid(let text): return .failure(500, text)
        case .membershipChangeInProgress: return .failure(500, "another membership change is in progress: try again")
        case .timedOut: return .failure(500, "the change was not confirmed in time: look at list-peers")
        case .some(let reason): return RefusalWire.response(to: reason, mayApply: false)
        }
    }

    /// nil: done.
    func administerHere(_ administration: Administration, timeout: Nanoseconds) async -> RefusalReason? {
        let deadline = SystemClock.now() + timeout
        return await withCheckedContinuation { continuation in
            let taken = self.loop.ask(
                .administer(administration, deadline: deadline) { continuation.resume(returning: $0) })
            if !taken { continuation.resume(returning: self.router.notTaken) }
        }
    }

    // MARK: - Leases

    /// Tells the leader, each second, which agents were heard of here within the last seconds. Runs until cancelled.
    func reportLeases() async {
        while !Task.isCancelled {
            do { try await Task.sleep(nanoseconds: 1_000_000_000) } catch { return }
            let now = SystemClock.now()
            let names = self.agents.withLock { agents -> [String] in
                agents.lastSeen = agents.lastSeen.filter { now.since($0.value) < .seconds(5) }
                return agents.lastSeen.keys.sorted()
            }
            guard !names.isEmpty, let leader = self.leader else { continue }
            if leader.isSelf {
                _ = self.loop.ask(.input(.leasesHeld(names: names)))
            } else {
                var request = PeerRequest()
                request.leaseReport.names = names
                _ = try? await self.pool.call(request, to: leader.member.address, timeout: .seconds(1))
            }
        }
    }
}

// MARK: - What the agent around this server asks

extension Server {
    /// This server's own figures.
    public func localRaftStatus() async -> PeerRaftStatus { await self.statusHere() }

    /// Transactions that the log's storage has written since the start.
    public var storageCommits: UInt64 { self.storageLoop.commits.load(ordering: .relaxed) }

    /// Time since a leader was heard of; zero on the leader.
    public var lastLeaderContact: Nanoseconds {
        let now = SystemClock.now()
        return self.loop.published.withLock { $0.isLeader ? .zero : now.since($0.lastLeaderContact) }
    }

    /// Seconds until this node's certificate expires; negative once it has.
    public var certificateExpiry: Int64 {
        self.security.credentials.expiry.rawValue - UnixSeconds.now().rawValue
    }

    /// The replicated state's hash at `appliedIndex`, in hexadecimal: equal on servers that have applied the same.
    public var stateHash: String {
        let registry = self.loop.published.withLock { $0.registry }
        let digits = registry.combinedHash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return "\(registry.appliedIndex):\(digits)"
    }

    /// Whom this server voted for in the term that it was in when its state was last published, and that term.
    public var vote: (term: Term, candidate: NodeID?) { self.loop.published.withLock { ($0.term, $0.vote) } }

    /// One more address to look for other servers at, while there is no cluster yet.
    public func addServer(_ address: String) {
        self.life.withLock { $0.founding }?.learn(address)
    }

    /// Removes a node that will not return: from the configuration when it is a server, and from the catalog. False when
    /// there is no such node. One that is alive is left alone.
    public func forget(_ name: String) async throws(ClusterError) -> Bool {
        let registry = try await self.view(.default, timeout: .seconds(10)).registry
        let member = self.loop.published.withLock { published in
            published.configuration.allMembers.first { $0.name == name }
        }
        guard registry.node(named: name).value != nil || member != nil else { return false }
        let health = registry.checks(onNode: name).value.first { $0.id == Registry.agentCheckID }
        if health?.status == .passing { return true }
        if let member {
            var request = PeerRaftAdmin()
            request.kind = .remove
            request.nodeID = member.id.rawValue
            try await self.raftAdmin(request)
        }
        var command = LogCommand()
        command.deregister.node = name
        _ = try await self.propose(command, identity: "operator", timeout: .seconds(10))
        return true
    }
}
